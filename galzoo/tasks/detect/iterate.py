"""Detection and deblending in turn: what is found is fitted, the residual is searched, until nothing new is found."""

import dataclasses
import logging
import shutil

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from galzoo.contracts.deblended import FLAGS as FIT_FLAGS
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.pieces import held, output_folder, request_stamp, work_folder
from galzoo.field.psf import field_psf
from galzoo.field.tiles import tiles
from galzoo.metrics.matching import match
from galzoo.presets import card_for
from galzoo.tasks.deblend.run import Settings as FitSettings
from galzoo.tasks.deblend.run import deblend_field
from galzoo.tasks.detect.choose_detector import choose_detector, fit_detector
from galzoo.tasks.detect.completeness import against_truth, read_truth
from galzoo.tasks.detect.find import MEASURED_KEYS, Pieces, find
from galzoo.tasks.detect.finders import ROW_KEYS, DetectorFinder, rank
from galzoo.tasks.detect.footprints import pixels_of
from galzoo.tasks.detect.measure import FLAGS, measure_tile
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
    inputs = paths, psf, truth, list(options.values())
    output = output_folder(output, "detect", *inputs, bands=options.get("bands") or ())
    wanted = (("detect", preset, "model"), ("detect", residual, "residual"), ("deblend", deblender, "model"))
    for task, name, role in wanted:
        if name is not None:
            card_for(task, name, role)
    with held(output), open_field(paths, **options) as opened:
        known = psf if callable(psf) or isinstance(psf, np.ndarray) else field_psf(opened, psf, seeing)
        listed = None if truth is None else read_truth(truth, columns, opened)
        search = Search.of(opened, preset, detector, known, settings)
        field, look = search.field, None
        if residual_detector is not None:
            look = fit_detector(residual_detector, field, "the residual detector")[0]
        elif residual is not None:
            look = choose_detector(residual, field, "residual")[0]
        request = {"field": request_stamp(paths, options, psf, truth), "about": search.about, "residual": residual}
        request |= {"threshold": settings.threshold, "tile": settings.tile, "deblender": deblender, "seeing": seeing}
        work = work_folder(output, request, restart)
        rows, instances = search.run(settings.tile, Pieces(work), progress)
        before, turn = len(rows["x"]), 0
        while turn < rounds and len(rows["x"]):
            turn += 1
            deblend_field(
                paths, output / "deblended", preset=deblender, deblender=fit, psf=search.psf_of,
                settings=FitSettings(tile=settings.tile, stamp_size=0, report=False, add_sources=look is None),
                catalogue=QTable({"x": rows["x"], "y": rows["y"]}), progress=progress, restart=restart, **options,
            )  # fmt: skip
            if look is None:
                rows, new = _second_look(rows, output / "deblended", search, settings)
            else:
                new = _residual_sources(rows, output / "deblended", search, look, settings, work / f"round_{turn}")
            logger.warning("%s: round %d finds %d more sources", field.name, turn, len(new["x"]))
            if not len(new["x"]):
                break
            rows = {key: np.concatenate([rows[key], new[key]]) for key in (*ROW_KEYS, "flags")}
        if len(rows["x"]) > before:
            rows, instances = _measured(field, search, rows, instances, settings.tile, before)
        search = dataclasses.replace(search, about=search.about | {"rounds": turn, "added": len(rows["x"]) - before})
        scores = {} if listed is None else {"truth": against_truth(field, rows, listed, settings.match, search.fwhm)}
        written = write_products(field, rows, instances, search, output, settings, scores)
        del instances
    shutil.rmtree(work)
    return [*written, output / "deblended"]


def _row(search, places, probability):
    """Return rows of sources at places (n, 2) of which nothing else is known than a probability."""
    n, bands, reach = len(places), len(search.field.bands), search.fwhm
    rows = {"x": places[:, 0], "y": places[:, 1], "probability": probability}
    sizes = {"class_probability": (len(search.classes),), "flux": (bands,), "flux_error": (bands,)}
    sizes |= {"position_error": (2,), "shape": (3,)}
    rows |= {key: np.full((n, *size), np.nan) for key, size in sizes.items()}
    rows |= {"depth": np.zeros(n), "piece": np.zeros(n, int), "box": np.hstack([places - reach, places + reach])}
    return rows | {"flags": np.full(n, FLAGS["residual"])}


def _second_look(rows, folder, search, settings):
    """Return the rows where the fit has moved them, and those of sources that the fit added."""
    table = QTable.read(folder / "catalogue.ecsv")
    added = (np.asarray(table["flags"]) & FIT_FLAGS["added"]) > 0
    kept = table[~added & ((np.asarray(table["flags"]) & FIT_FLAGS["fallback"]) == 0)]
    own = np.asarray(kept["id"]).astype(int) - 1
    rows = rows | {"x": rows["x"].copy(), "y": rows["y"].copy()}
    rows["x"][own], rows["y"][own] = kept["x"].value, kept["y"].value
    new = table[added]
    places = np.stack([new["x"].value, new["y"].value], axis=-1).reshape(-1, 2)
    height, width = search.field.shape
    inside = (places > -0.5).all(axis=1) & (places < [width - 0.5, height - 0.5]).all(axis=1)
    flux, error = (
        np.stack([new[f"{name}_{band}"].value for band in search.field.bands], axis=-1) for name in ("flux", "flux_err")
    )
    snr = np.sqrt(np.nansum(np.maximum(flux, 0) ** 2 / np.where(error > 0, error, np.inf) ** 2, axis=1))
    # The fit has proven them, so that none is below the threshold.
    return rows, _row(search, places[inside], np.maximum(rank(snr), settings.threshold)[inside])


def _residual_sources(rows, folder, search, look, settings, work):
    """Return the rows of sources that a detector finds in the residual and that are not known yet."""
    work.mkdir(exist_ok=True)
    with fits.open(folder / "model.fits") as hdus:
        model = [hdu.data for hdu in hdus[1:]]
        finder = DetectorFinder(search.field, look, search.psf_of, settings.threshold, model)
        found, _ = find(search.field, finder, search.psf_of, settings.tile, Pieces(work), measure=False)
        del model
    found["flags"] = np.full(len(found["x"]), FLAGS["residual"])
    if found["class_probability"].shape[1] != rows["class_probability"].shape[1]:
        found["class_probability"] = np.full((len(found["x"]), rows["class_probability"].shape[1]), np.nan)
    places = [np.stack([one["x"], one["y"]], axis=-1) for one in (found, rows)]
    new = np.ones(len(found["x"]), bool)
    new[match(*places, _NEW * search.fwhm).found] = False
    return {key: found[key][new] for key in (*ROW_KEYS, "flags")}


def _measured(field, search, rows, instances, tile, before):
    """Return rows and instance map, measured anew, once sources `before` and on have taken the pixels nearest them."""
    places, kept = np.stack([rows["x"], rows["y"]], axis=-1), rows["flags"] & FLAGS["residual"]
    for number in range(before, len(places)):
        _, y, x, _ = pixels_of(rows["box"][number : number + 1], None, field.shape)
        owner = instances[y, x]
        distance = np.hypot(x - places[number, 0], y - places[number, 1])
        other = np.hypot(x - places[owner - 1, 0], y - places[owner - 1, 1])
        own = (owner == 0) | (distance < other)
        instances[y[own], x[own]] = number + 1
    rows = {key: rows[key] for key in ROW_KEYS}
    parts = [measure_tile(field, instances, rows, core, search.psf_of) for core in tiles(field.shape, tile)]
    found = {key: np.concatenate([part[key] for part in parts]) for key in MEASURED_KEYS}
    order = np.argsort(found.pop("row"), kind="stable")
    rows |= {key: values[order] for key, values in found.items()}
    rows["flags"] = rows["flags"] | kept
    return search.with_classes(rows), instances
