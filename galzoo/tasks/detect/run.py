"""The task `detect`: how many sources a field has, where, of what kind, and how sure that is."""

import dataclasses
import logging
import shutil

import numpy as np

from galzoo.contracts.catalogues import CatalogueSampler
from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.errors import InputError
from galzoo.field.detection import Detection, detection_for
from galzoo.field.open_field import open_field
from galzoo.field.pieces import held, output_folder, request_stamp, work_folder
from galzoo.field.psf import constant_psf, contradiction, field_psf, gaussian_of, mean_fwhm, measured_psf
from galzoo.field.tiles import detect_tile
from galzoo.files import write_json
from galzoo.presets import card_for, model_checksum
from galzoo.tasks.detect.choose_detector import check_width, choose_detector, fit_detector, in_bands
from galzoo.tasks.detect.find import Pieces, find
from galzoo.tasks.detect.finders import BLOCK, MARGIN, ClassicalFinder, DetectorFinder, snr_of
from galzoo.tasks.detect.refine import refined, with_limit
from galzoo.tasks.detect.wake import awake

logger = logging.getLogger(__name__)

# FWHM in pixels where no PSF is known, and sides of squares in the middle of the field on which it is measured: a
# larger one where the one before has too few sources, unless so much of it is light of sources. A crowded field is one
# group, of which SEP holds each pixel once a level.
_GUESSED_FWHM, _MIDDLES, _ENOUGH, _CROWDED = 3.0, (256, 512, 1024), 200, 0.5
# Catalogues drawn where nothing is said.
_SAMPLES = 50
# Settings by which what is found differs.
_OF_THE_SEARCH = ("threshold", "tile", "samples", "refine", "faintest", "wake")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a field is searched.

    Parameters
    ----------
    threshold : float
        Least probability.
    tile : int
        Side of a tile in pixels; bounds the memory.
    coco : bool
        Write the masks as COCO JSON too.
    report : bool
        Draw pictures and write the report.
    inject : int
        Number of artificial sources by which completeness is measured; 0 for none.
    inject_magnitudes : (float, float), optional
        AB range of these in the middle band; about the depth of the field by default.
    seed : int
        Of the artificial sources.
    match : float
        Arcsec within which a detection is a source of a truth list.
    inject_kind : {"both", "star", "galaxy"}
        What artificial sources are.
    samples : int, optional
        Catalogues drawn from the posterior; by default 50 where the detector can, else none.
    daophot : bool
        Write the catalogue in the form of DAOPHOT's ALLSTAR too.
    refine : bool
        Fit the stars of a detector that says fluxes together, see `galzoo.tasks.detect.refine`.
    faintest : float, optional
        AB magnitude in the first band of the detector of the faintest star that counts, where it can be told.
    wake : bool
        Fit PSF and sky to the field by what the detector says of it, see `galzoo.tasks.detect.wake`.
    """

    threshold: float = 0.5
    tile: int = 1024
    coco: bool = False
    report: bool = True
    inject: int = 0
    inject_magnitudes: tuple | None = None
    seed: int = 0
    match: float = 1.0
    inject_kind: str = "both"
    samples: int | None = None
    daophot: bool = False
    refine: bool = False
    faintest: float | None = None
    wake: bool = False

    def __post_init__(self):
        if not 0 < self.threshold < 1:
            raise InputError(f"--threshold is {self.threshold}; give a probability between 0 and 1, e.g. 0.5")
        if self.tile < 64:
            raise InputError(f"--tile is {self.tile}; give 64 pixels or more")
        if self.inject < 0:
            raise InputError(f"--inject is {self.inject}; give a number of artificial sources, 0 or more")
        if self.seed < 0:
            raise InputError(f"--seed is {self.seed}; give a whole number, 0 or more")
        if not 0 < self.match < np.inf:
            raise InputError(f"--match is {self.match}; give a distance in arcsec above 0, e.g. 1")
        if self.inject_kind not in ("both", "star", "galaxy"):
            raise InputError(f"--inject-kind is {self.inject_kind!r}; give both, star or galaxy")
        if self.samples is not None and self.samples < 0:
            raise InputError(f"--samples is {self.samples}; give a number of catalogues, 0 or more")
        if self.faintest is not None and not np.isfinite(self.faintest):
            raise InputError(f"--faintest is {self.faintest}; give an AB magnitude, e.g. 22.3")
        pair = self.inject_magnitudes
        if pair is not None and not (len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
            raise InputError(f"--inject-magnitudes is {pair}; give the brighter and the fainter limit, e.g. 20,26")


def detect_field(
    paths, output, preset=None, detector=None, psf=None, seeing=None, truth=None, columns=None, settings=None,
    progress=False, restart=False, **options,
):  # fmt: skip
    """Find the sources of a field and write catalogue, instance map, regions, pictures and a report.

    Parameters
    ----------
    paths : path or sequence of paths
        See `galzoo.field.open_field.open_field`, which takes `options`.
    output : str or Path
        Folder to write; made if absent.
    preset : str or Path, optional
        Preset or run of a family that detects; the classical detection by default.
    detector : galzoo.contracts.detections.Detector, optional
        Used instead of a preset.
    psf, seeing
        As in `galzoo.tasks.deblend.run.deblend_field`.
    truth : path or Table, optional
        Catalogue of what is there; completeness and purity are measured by it.
    columns : dict, optional
        Names of its columns, see `galzoo.data.columns.find_columns`; ``mag`` names the magnitude.
    settings : Settings, optional
    progress : bool
        Show bars.
    restart : bool
        Begin anew although there is an unfinished run in `output`.

    Returns
    -------
    list of Path
        What was written, see `galzoo.tasks.detect.products.write_products`.

    Raises
    ------
    InputError
        If files are missing, damaged or do not fit each other or the preset.
    """
    from galzoo.tasks.detect.completeness import against_truth, by_injection, read_truth
    from galzoo.tasks.detect.products import write_products

    settings = settings or Settings()
    inputs = paths, psf, truth, list(options.values())
    output = output_folder(output, "detect", *inputs, bands=options.get("bands") or ())
    if preset is not None and detector is None:
        card_for("detect", preset)
    with held(output), open_field(paths, **options) as field:
        known = psf if callable(psf) or isinstance(psf, np.ndarray) else field_psf(field, psf, seeing)
        listed = None if truth is None else read_truth(truth, columns, field)
        search = Search.of(field, preset, detector, known, settings)
        field = search.field
        if search.detect is None:
            field.say_noise()
        key = {"field": request_stamp(paths, options, psf, truth), "seeing": seeing}
        # What a field says of itself is fitted anew in each run, and may end a rounding error apart.
        key["about"] = {name: search.about[name] for name in search.about if name not in search.fitted}
        key["settings"] = {name: getattr(settings, name) for name in _OF_THE_SEARCH}
        work = work_folder(output, key, restart)
        rows, instances = search.run(settings.tile, Pieces(work), progress)
        scores = {}
        if listed is not None:
            scores["truth"] = against_truth(field, rows, listed, settings.match, search.fwhm)
        if settings.inject:
            folder = work / "injected"
            folder.mkdir(exist_ok=True)
            scores["injected"] = by_injection(search, rows, settings, Pieces(folder), progress)
        written = write_products(field, rows, instances, search, output, settings, scores)
        written += _star_products(search, rows, output, work, settings, progress)
        del instances
    shutil.rmtree(work)
    return written


def _star_products(search, rows, output, work, settings, progress):
    """Write what a detector that draws catalogues has besides, and return the paths."""
    from galzoo.tasks.detect.allstar import write_allstar
    from galzoo.tasks.detect.posterior import draw_field, write_posterior
    from galzoo.tasks.detect.products import make_catalogue
    from galzoo.tasks.detect.star_images import write_images

    written, field = [], search.field
    if "wake" in search.about:
        written.append(output / "wake.json")
        write_json(written[-1], search.about["wake"])
    if search.sample is not None:
        n = _SAMPLES if settings.samples is None else settings.samples
        if n:
            pieces = draw_field(search.finder(), search.sample, n, work, settings.seed, progress)
            written += write_posterior(field, pieces, n, output)
        # Of galaxies no shape is known: their light stays in the residual.
        stars = {key: rows[key] for key in ("x", "y", "flux")}
        if "star" in search.classes:
            star = rows["class_probability"][:, search.classes.index("star")] >= 0.5
            stars = {key: values[star] for key, values in stars.items()}
        written += write_images(field, stars, search.psf_of, output, work)
    if settings.daophot:
        written += write_allstar(field, make_catalogue(field, rows, search.classes), search.psf_of, output)
    return written


@dataclasses.dataclass(frozen=True)
class Search:
    """A field, its PSF, and what finds its sources.

    Parameters
    ----------
    field : Field
    psf_of : callable
        ``psf_of(x, y)`` returns PSFs (n, p, p, band).
    fwhm : float
        Of the PSF, pixels.
    detect : callable or None
        ``detect(batch, threshold)``; the classical detection where there is none.
    threshold : float
    classes : tuple of str
        Names of the classes.
    about : dict
        What the report says.
    classical : galzoo.field.detection.Detection
        How the classical detection looks at this field.
    sample : callable, optional
        ``sample(batch, n, seed)`` draws catalogues in the bands of the field.
    margin : int
        Pixels about a block that the detector is shown too.
    """

    field: object
    psf_of: object
    fwhm: float
    detect: object
    threshold: float
    classes: tuple
    about: dict
    classical: object
    sample: object = None
    margin: int = MARGIN

    @classmethod
    def of(cls, field, preset, detector, known, settings):
        """Prepare to search a field by a preset, a detector, or the classical detection where both are None."""
        detect, classes, method, sample, margin = None, ("galaxy", "star"), "SEP", None, MARGIN
        if preset is not None or detector is not None:
            method = str(preset) if detector is None else type(detector).__name__
            chosen = choose_detector(preset, field) if detector is None else fit_detector(detector, field, method)
            detect, field, model = chosen
            classes, margin = tuple(model.classes), getattr(model, "margin", MARGIN)
            if isinstance(model, CatalogueSampler):
                sample = in_bands(model.posterior, field.bands, model.bands)
            if settings.faintest is not None:
                if not getattr(model, "limited", False):
                    raise InputError(f"--faintest: {method} cannot be told which stars count; leave it out")
                flux = magnitude_to_njy(settings.faintest)
                detect, sample = with_limit(detect, flux), sample and with_limit(sample, flux)
        elif settings.refine or settings.wake or settings.faintest is not None:
            option = "--refine" if settings.refine else "--wake" if settings.wake else "--faintest"
            raise InputError(f"{option} is for a preset that measures stars; add --preset, e.g. starnet_sdss")
        weights = tuple((1 / field.noise_levels()).tolist())
        sources = _middle_sources(field, weights)
        psf_of = constant_psf(_measured(field, sources) if known is None else known, field)
        if known is not None:
            contradiction(field, sources, psf_of)
        fwhm = mean_fwhm(psf_of, field)
        classical = detection_for(field, fwhm, snr_of(settings.threshold), halos=True)
        about = {"method": method, "fwhm_pixels": fwhm, "noise_correlation": classical.correlation}
        if preset is not None and detector is None:
            about |= {"preset": method, "model": model_checksum(preset)}
            check_width(preset, field, fwhm)
        if sample is None and settings.samples:
            raise InputError(
                f"--samples is {settings.samples}, but {method} draws no catalogues; leave it out, or --preset"
            )
        search = cls(field, psf_of, fwhm, detect, settings.threshold, classes, about, classical, sample, margin)
        if settings.wake:
            search = awake(search, method)
        return dataclasses.replace(search, detect=refined(detect, method)) if settings.refine else search

    @property
    def fitted(self):
        """Names in `about` of what was fitted to the field."""
        return ("wake", "fwhm_pixels") if "wake" in self.about else ()

    def finder(self, field=None, threshold=None):
        """Return what hands the field to the detector block by block."""
        field = self.field if field is None else field
        threshold = self.threshold if threshold is None else threshold
        # Whatever the margin, blocks with theirs are of one size.
        block = BLOCK + 2 * (MARGIN - self.margin)
        return DetectorFinder(field, self.detect, self.psf_of, threshold, block=block, margin=self.margin)

    def run(self, tile, pieces=None, progress=False, field=None, threshold=None):
        """Return rows and instance map, see `galzoo.tasks.detect.find.find`."""
        field = self.field if field is None else field
        threshold = self.threshold if threshold is None else threshold
        if self.detect is None:
            weights = tuple((1 / field.noise_levels()).tolist())
            detection = dataclasses.replace(self.classical, weights=weights, threshold=snr_of(threshold))
            finder = ClassicalFinder(field, detection)
        else:
            finder = self.finder(field, threshold)
        rows, instances = find(field, finder, self.psf_of, tile, pieces, progress)
        return self.with_classes(rows), instances

    def with_classes(self, rows):
        """Return rows whose sources have class probabilities: by how much the half-light radius is that of the PSF."""
        known = rows["class_probability"]
        unknown = ~np.isfinite(known).all(axis=1)
        if known.shape[1] != 2 or not unknown.any():
            return rows
        starlike = np.stack([1 - rows["starlike"], rows["starlike"]], axis=-1)
        return rows | {"class_probability": np.where(unknown[:, None], starlike, known)}


def _middle_sources(field, weights):
    """Return the sources in the middle of a field, of which some may be stars, for its PSF."""
    for side in _MIDDLES:
        ends = [(max(length // 2 - side // 2, 0), min(length // 2 + side // 2, length)) for length in field.shape]
        sources = detect_tile(field, (*ends[0], *ends[1]), Detection(_GUESSED_FWHM, weights), margins=(0, 0))
        if len(sources["x"]) >= _ENOUGH or len(sources["pixel_y"]) > _CROWDED * side**2:
            break
    return sources


def _measured(field, sources):
    """Return a PSF measured on compact sources of a field; a guess where there is none."""
    try:
        return measured_psf(field, sources)
    except InputError:
        logger.warning(
            "%s: no compact source to measure the seeing on; taken to be %.2f arcsec. Give --psf or --seeing",
            field.name, _GUESSED_FWHM * field.pixel_scale,
        )  # fmt: skip
        return gaussian_of(_GUESSED_FWHM, len(field.bands))
