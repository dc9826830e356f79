"""Detection and deblending in turn: what is found is fitted, the residual is searched, until nothing new is found."""

import dataclasses
import logging
import shutil

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.pieces import WORK, output_folder
from galzoo.field.psf import field_psf
from galzoo.metrics.matching import match
from galzoo.presets import card_for
from galzoo.tasks.deblend.run import Settings as FitSettings
from galzoo.tasks.deblend.run import deblend_field
from galzoo.tasks.detect.choose_detector import choose_detector, fit_detector
from galzoo.tasks.detect.completeness import against_truth, read_truth
from galzoo.tasks.detect.find import Pieces, find
from galzoo.tasks.detect.finders import DetectorFinder
from galzoo.tasks.detect.measure import FLAGS
from galzoo.tasks.detect.products import write_products
from galzoo.tasks.detect.run import Search, Settings

logger = logging.getLogger(__name__)

# A source of the residual nearer to one that is known, in FWHM of the PSF, is that one.
_NEW = 0.5


def detect_iterated(
    paths, output, preset=None, detector=None, residual=None, residual_detector=None, deblender=None, rounds=4,
    psf=None, seeing=None, truth=None, columns=None, settings=None, progress=False, restart=False, fit=None, **options,
):  # fmt: skip
    """Find the sources of a field as `galzoo.tasks.detect.run.detect_field` does, and then those that a fit leaves.

    Parameters
    ----------
    paths, output, preset, detector, psf, seeing, truth, columns, settings, progress, restart, options
        As of `detect_field`.
    residual : str or Path, optional
        Preset of the role "residual"; by default the second look of ``galzoo deblend``, which fits once more with
        every source that a residual suggests and keeps what proves itself.
    residual_detector : Detector, optional
        Used instead.
    deblender : str or Path, optional
        Preset that deblends; the packaged one that fits by default.
    rounds : int
        Most times that the field is deblended.
    fit : callable, optional
        Used instead of a preset that deblends, see `galzoo.tasks.deblend.run.deblend_field`.

    Returns
    -------
    list of Path
        As of `detect_field`; and ``deblended/``, the products of the last deblending.

    Raises
    ------
    InputError
        If a preset or the field cannot be used.
    """
    settings = settings or Settings()
    if rounds < 1:
        raise InputError(f"--rounds is {rounds}; give 1 or more")
    if settings.inject:
        raise InputError("--inject and --iterate given; artificial sources are searched for without --iterate")
    output = output_folder(output)
    for task, role, name in (("detect", "model", preset), ("detect", "residual", residual), ("deblend", "model", deblender)):
        if name is not None:
            card_for(task, name, role)
    with open_field(paths, **options) as opened:
        known = psf if callable(psf) or isinstance(psf, np.ndarray) else field_psf(opened, psf, seeing)
        listed = None if truth is None else read_truth(truth, columns, opened)
        search = Search.of(opened, preset, detector, known, settings)
        field = search.field
        look = None
        if residual is not None or residual_detector is not None:
            name = "the residual detector"
            chosen = (
                choose_detector(residual, field, "residual")
                if residual_detector is None
                else fit_detector(residual_detector, field, name)
            )
            look = chosen[0]
        rows, instances = search.run(settings.tile, None, progress)
        rows["flags"] = rows["flags"].astype(int)
        fit_settings = FitSettings(tile=settings.tile, stamp_size=0, report=False, add_sources=look is None)
        for turn in range(1, rounds + 1):
            if not len(rows["x"]):
                break
            deblend_field(
                paths, output / "deblended", preset=deblender, deblender=fit, psf=search.psf_of, settings=fit_settings,
                catalogue=QTable({"x": rows["x"], "y": rows["y"]}), progress=progress, restart=restart, **options,
            )  # fmt: skip
            new = _new_sources(field, search, look, rows, output / "deblended", settings)
            logger.warning("%s: round %d finds %d more sources", field.name, turn, len(new["x"]))
            if not len(new["x"]):
                break
            rows = _joined(rows, new)
        if len(rows["x"]) > len(np.unique(instances[instances > 0])):
            rows, instances = _owned(field, search, rows, settings)
        about = search.about | {"rounds": turn if len(rows["x"]) else 0}
        search = dataclasses.replace(search, about=about)
        scores = {} if listed is None else {"truth": against_truth(field, rows, listed, settings.match, search.fwhm)}
        written = write_products(field, rows, instances, search, output, settings, scores)
    shutil.rmtree(output / WORK, ignore_errors=True)
    return written
