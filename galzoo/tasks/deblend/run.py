"""The task `deblend`: the sources of a field of any size, taken apart group by group.

Sources are found tile by tile and groups fitted chunk by chunk. Each finished piece is a file in a work folder, so a
run that was killed goes on where it stopped.
"""

import dataclasses
import logging
import os
import shutil

import numpy as np

from galzoo.data.columns import find_columns, read_table
from galzoo.data.cutouts import positions as catalogue_positions
from galzoo.data.plain import identifiers
from galzoo.errors import InputError
from galzoo.field import tiles as tiling
from galzoo.field.detection import detection_for
from galzoo.field.open_field import open_field
from galzoo.field.pieces import held, output_folder, request_stamp, save_piece, work_folder
from galzoo.field.psf import constant_psf, contradiction, field_psf, mean_fwhm, measured_psf
from galzoo.presets import card_for
from galzoo.progress import track
from galzoo.resources import release
from galzoo.tasks.deblend.choose_preset import choose_deblender
from galzoo.tasks.deblend.detector_positions import detected_positions, detector_of
from galzoo.tasks.deblend.fit_groups import fit_chunk, plan
from galzoo.tasks.deblend.halos import halo_rows, paint_halos, take_off

logger = logging.getLogger(__name__)

# FWHM of the filter in pixels where the PSF is not known.
_GUESSED_FWHM = 3.0
# Catalogue rows that are nearer than this, in pixels, are one source.
_SAME_PLACE = 0.05


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a field is deblended.

    Parameters
    ----------
    threshold : float
        Least signal-to-noise of a detection.
    add_sources : bool
        Add sources where the residual asks for them, and fit these groups again.
    tile : int
        Side of a tile in pixels; bounds the memory.
    stamp_size : int
        Side of the stamps in pixels; 0 for no stamps.
    report : bool
        Draw pictures and write the report.
    """

    threshold: float = 5.0
    add_sources: bool = True
    tile: int = 1024
    stamp_size: int = 64
    report: bool = True

    def __post_init__(self):
        if not 0 < self.threshold < np.inf:
            raise InputError(f"--threshold is {self.threshold}; give a signal-to-noise above 0, e.g. 5")
        if self.stamp_size and not 4 <= self.stamp_size <= 512:
            raise InputError(f"--stamp-size is {self.stamp_size}; give 4 to 512 pixels, or 0 for no stamps")
        if self.tile < 64:
            raise InputError(f"--tile is {self.tile}; give 64 pixels or more")


def deblend_field(
    paths, output, preset=None, deblender=None, method="map", catalogue=None, columns=None, psf=None, seeing=None,
    settings=None, progress=False, restart=False, detector=None, prior=None, conform=False, **options,
):  # fmt: skip
    """Deblend a field and write catalogue, images, stamps, pictures and a report.

    Parameters
    ----------
    paths : path or sequence of paths
        See `galzoo.field.open_field.open_field`, which takes `options`.
    output : str or Path
        Folder to write; made if absent.
    preset : str or Path, optional
        Preset or run of a family that deblends; the packaged one that fits the bands best by default.
    deblender : callable, optional
        Used instead of a preset: takes a batch of NumPy arrays with the keys image, variance, mask, psf, positions and
        n_sources, and returns `galzoo.contracts.deblended.Deblended` in the bands of the field. Where the batch's
        ``smooth`` is True, sources that are missing should show in the residual; ``position_error`` is the standard
        deviation in pixels of the positions.
    method : str
        "encoder", "map" or "hmc"; see the family.
    catalogue : path or Table, optional
        Positions of the sources; detected by default.
    columns : dict, optional
        Names of its columns, see `galzoo.data.columns.find_columns`.
    psf : path, sequence of paths, array (1, p, p, band) or callable, optional
        PSF images, one a band; or ``psf(x, y)`` for n positions in the field, which returns (n, p, p, band).
    seeing : float, optional
        FWHM of a Gaussian PSF in arcsec; where there is no `psf` either, the stack of the field's stars.
    settings : Settings, optional
    progress : bool
        Show bars.
    restart : bool
        Begin anew although there is an unfinished run in `output`.
    detector : str, Path or galzoo.contracts.detections.Detector, optional
        Preset of a family that detects: positions are its own where it is sure, see
        `galzoo.tasks.deblend.detector_positions`.
    prior : str or Path, optional
        Preset or run that is a prior over pixels: what the preset answers is fitted again under it, see
        `galzoo.inference.pixels`.
    conform : bool
        Bring windows to the pixels of the preset, see `galzoo.tasks.deblend.choose_preset.choose_deblender`.

    Returns
    -------
    list of Path
        What was written, see `galzoo.tasks.deblend.products.write_products`.

    Raises
    ------
    InputError
        If files are missing, damaged or do not fit each other or the preset.
    """
    from galzoo.tasks.deblend.products import write_products

    settings = settings or Settings()
    inputs = paths, psf, catalogue, list(options.values())
    output = output_folder(output, "deblend", *inputs, bands=options.get("bands") or ())
    if detector is not None and catalogue is not None:
        raise InputError("both --detector and --catalog given; positions come from one of them")
    if detector is not None and not hasattr(detector, "detect"):
        card_for("detect", detector)
    if preset is not None and deblender is None:
        # What is wrong with it is said before a large field is read.
        card_for("deblend", preset)
    with held(output), open_field(paths, **options) as field:
        known = psf if callable(psf) or isinstance(psf, np.ndarray) else field_psf(field, psf, seeing)
        ids, listed = _listed(catalogue, columns, field)
        deblend, field, about = choose_deblender(preset, deblender, method, field, prior, conform)
        field.say_noise()
        key = {
            "field": request_stamp(paths, options, psf, catalogue),
            "about": about,
            "settings": dataclasses.asdict(settings),
        }
        key |= {"seeing": seeing, "columns": columns, "method": method, "detector": detector, "conform": conform}
        detect = None if detector is None else detector_of(detector, field)
        work = work_folder(output, key, restart)
        psf_of = None if known is None else constant_psf(known, field)
        detection = _detection(field, psf_of, settings)
        places = listed
        sources, segmentation = _find(field, work, detection, places, settings.tile, progress)
        if psf_of is None and len(sources["x"]):
            psf_of = constant_psf(measured_psf(field, sources), field)
            detection = dataclasses.replace(detection, fwhm=mean_fwhm(psf_of, field))
        elif len(sources["x"]):
            contradiction(field, sources, psf_of)
        if detect is not None and psf_of is not None:
            places = detected_positions(field, detect, psf_of, sources, segmentation, settings.tile, work / "detected")
            sources, segmentation = _find(field, work / "detected", detection, places, settings.tile, progress, "at")

        def again(seen, left, number):
            return _find(seen, work, detection, left, settings.tile, progress, f"less_{number}")

        less, sources, segmentation, halos, large = take_off(field, sources, segmentation, places, detection, again)
        if detect is not None:
            # These are rows of no catalogue of the user's.
            sources["row"][:] = large["row"][:] = -1
        chunks, sizes = plan(sources, len(field.bands), detection.fwhm) if len(sources["x"]) else ([], {})
        done = []
        for number, rows in enumerate(track(chunks, "deblending", progress)):
            path = work / f"fit_{number:05d}.npz"
            if not path.is_file():
                result = fit_chunk(deblend, less, segmentation, sources, rows, psf_of, detection, sizes, settings)
                save_piece(path, result)
                release(segmentation)
            done.append(path)
        if halos:
            groups = sources["group"].max(initial=-1) + 1 + np.arange(len(halos))
            done.append(work / "large.npz")
            save_piece(done[-1], halo_rows(field, halos, large, detection, settings) | {"group": groups})
            paint_halos(segmentation, halos, groups)
        summary = about | {"fwhm": detection.fwhm, "correlation": detection.correlation, "method": method}
        written = write_products(field, done, segmentation, psf_of, ids, output, work, settings, summary)
        del segmentation
    shutil.rmtree(work)
    return written


def _listed(catalogue, columns, field):
    """Return names and positions (n, 2) in pixels of the catalogue's rows that are used; None without a catalogue."""
    if catalogue is None:
        return None, None
    name = str(catalogue) if isinstance(catalogue, str | os.PathLike) else "catalogue"
    ids = (columns or {}).get("id")
    table = read_table(catalogue, ids) if isinstance(catalogue, str | os.PathLike) else catalogue
    found = find_columns(table, columns, name)
    x, y = catalogue_positions(field.mosaic, table, found, columns, name)
    finite = np.isfinite(x) & np.isfinite(y)
    inside = finite & (x > -0.5) & (x < field.shape[1] - 0.5) & (y > -0.5) & (y < field.shape[0] - 0.5)
    if not inside.any():
        size = f"{field.shape[1]}x{field.shape[0]}"
        raise InputError(f"{name}: none of {len(x)} positions is on the field ({size}); check WCS and columns")
    rows = np.flatnonzero(inside)
    places = np.stack([x[rows], y[rows]], axis=-1)
    _, first = np.unique(np.round(places / _SAME_PLACE), axis=0, return_index=True)
    for count, what in (
        (int(np.sum(~finite)), "have no finite position"), (int(np.sum(finite & ~inside)), "are off the field"),
        (len(rows) - len(first), "repeat the position of another"),
    ):  # fmt: skip
        if count:
            logger.warning("%s: %d of %d rows %s and were dropped", name, count, len(x), what)
    first = np.sort(first)
    rows, places = rows[first], places[first]
    ids = identifiers(table[found["id"]], f"{name}: {found['id']}")[rows] if "id" in found else (rows + 1).astype(str)
    return ids, places


def _detection(field, psf_of, settings):
    fwhm = _GUESSED_FWHM if psf_of is None else mean_fwhm(psf_of, field)
    return detection_for(field, fwhm, settings.threshold)


def _find(field, work, detection, listed, tile, progress, name="tile"):
    """Return the sources of a field and the label image of their groups, on disk."""
    paths = []
    for number, core in enumerate(track(tiling.tiles(field.shape, tile), "finding sources", progress)):
        path = work / f"{name}_{number:05d}.npz"
        if not path.is_file():
            save_piece(path, tiling.detect_tile(field, core, detection, listed))
        paths.append(path)
    small = (*tiling.SOURCE_KEYS, "x0", "x1", "y0", "y1", "group", "peak_y", "peak_x")
    parts = []
    for path in paths:
        with np.load(path) as file:
            parts.append({key: file[key] for key in small})
    sources, numbers = tiling.collect(parts)
    segmentation = np.memmap(work / "segmentation.dat", np.int32, "w+", shape=field.shape)
    for path, own in zip(paths, numbers, strict=True):
        with np.load(path) as file:
            tiling.paint(segmentation, [file], [own])
    return sources, segmentation
