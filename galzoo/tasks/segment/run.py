"""The task `segment`: the class of every pixel of a field of any size, and the sources that they make up."""

import dataclasses
import logging
import shutil

import numpy as np

from galzoo.contracts.segmentation import Segmented
from galzoo.data.bands import spelt
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.pieces import held, output_folder, request_stamp, work_folder
from galzoo.packaged_preset import packaged_preset
from galzoo.presets import card_for, load_card, load_for, model_checksum
from galzoo.tasks.segment.segments import THRESHOLD, find_segments, split_segments
from galzoo.tasks.segment.votes import STRIDE, check_windows, chosen_stride, vote_field

logger = logging.getLogger(__name__)

# Pixel scales that differ by more are warned about, and by more than the second, refused: the network knows sizes in
# pixels only.
_SAME_SCALE, _MOST_SCALE = 0.25, 2.0
_ROWS = 256


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a field is segmented.

    Parameters
    ----------
    stride : int, optional
        Pixels between the windows that vote; 1 is the published vote, exact and slow. By default 1 where there are at
        most 10,000 windows (139 x 139 pixels for windows of 40), else 7.
    threshold : float
        Largest share of votes for the background of a pixel that is certainly a source's; 0 as published.
    distance : int
        Peaks of light that are nearer, in pixels, are one source; 0 takes nothing apart.
    band : str, optional
        Of the light that sources are taken apart by and classes are weighted by; the model's first by default.
    tile : int
        Side of a tile in pixels; bounds the memory.
    report : bool
        Draw pictures and write the report.
    """

    stride: int | None = None
    threshold: float = THRESHOLD
    distance: int = 20
    band: str | None = None
    tile: int = 1024
    report: bool = True

    def __post_init__(self):
        if self.stride is not None and self.stride < 1:
            raise InputError(f"--stride is {self.stride}; give 1 (exact, slow) or more, such as {STRIDE}")
        if not 0 <= self.threshold < 1:
            raise InputError(f"--threshold is {self.threshold}; give a share of votes from 0 to below 1")
        if self.distance < 0:
            raise InputError(f"--distance is {self.distance}; give pixels, or 0 to take nothing apart")
        if self.tile < 64:
            raise InputError(f"--tile is {self.tile}; give 64 pixels or more")


def segment_field(paths, output, preset=None, settings=None, progress=False, restart=False, **options):
    """Segment a field and write class planes, segmentation, catalogue, pictures and a report.

    Parameters
    ----------
    paths : path or sequence of paths
        See `galzoo.field.open_field.open_field`, which takes `options`.
    output : str or Path
        Folder to write; made if absent.
    preset : str or Path, optional
        Preset or run of a family that segments; the packaged one whose bands the field has by default.
    settings : Settings, optional
    progress : bool
        Show bars.
    restart : bool
        Begin anew although there is an unfinished run in `output`.

    Returns
    -------
    list of Path
        What was written, see `galzoo.tasks.segment.products.write_products`.

    Raises
    ------
    InputError
        If files are missing, damaged or do not fit each other or the preset.
    """
    from galzoo.tasks.segment.products import write_products

    settings = settings or Settings()
    output = output_folder(output, "segment", paths, list(options.values()), bands=options.get("bands") or ())
    if preset is not None:
        # What is wrong with it is said before a large field is read.
        card_for("segment", preset)
    with held(output), open_field(paths, **options) as field:
        if preset is None:
            preset = packaged_preset("segment", field, True, (1 / _MOST_SCALE, _MOST_SCALE))
        _check_scale(field, load_card(preset), preset)
        model = load_for("segment", preset)
        field = field.renamed(spelt(field.bands, model.bands))
        band = _band(settings.band, field, model)
        settings = _decided(settings, field, model)
        # What is wrong with the field is said before there is anything to go on with.
        band_order(field, model)
        check_windows(field.shape, model, settings.stride, field.name)
        request = {"field": request_stamp(paths, options, None), "stride": settings.stride, "tile": settings.tile}
        request |= {"preset": str(preset), "model": model_checksum(preset)}
        work = work_folder(output, request, restart)
        segmented = segment(model, field, settings, progress, work)
        about = {key: request[key] for key in ("preset", "model")}
        written = write_products(field, segmented, band, output, settings, about)
    shutil.rmtree(work)
    return written


def segment(model, field, settings=None, progress=False, work=None):
    """Segment an open field.

    Parameters
    ----------
    model : galzoo.contracts.segmentation.Segmenter
    field : galzoo.field.field.Field
        Its bands are found by their names, in any order; others may be there.
    settings : Settings, optional
    progress : bool
    work : Path, optional
        Folder for planes that are then files mapped into memory, and for the votes of finished tiles, which are not
        cast again; without, all is in memory.

    Returns
    -------
    Segmented

    Raises
    ------
    InputError
        If the field lacks a band or is smaller than a window.
    """
    settings = _decided(settings or Settings(), field, model)
    order = band_order(field, model)
    check_windows(field.shape, model, settings.stride, field.name)

    def plane(name, shape, dtype):
        return np.zeros(shape, dtype) if work is None else np.memmap(work / name, dtype, "w+", shape=shape)

    counts = plane("counts.dat", (*field.shape, len(model.classes)), np.uint16)
    vote_field(model, field, order, counts, settings.stride, settings.tile, progress, work)
    votes = plane("votes.dat", (len(model.classes), *field.shape), np.float32)
    windows = np.zeros(field.shape, np.uint16)
    light = plane("light.dat", field.shape, np.float32)
    weighing = field.bands.index(_band(settings.band, field, model))
    for y0 in range(0, field.shape[0], _ROWS):
        rows = slice(y0, min(y0 + _ROWS, field.shape[0]))
        planes = field.read(rows.start, rows.stop, 0, field.shape[1])
        light[rows] = planes["image"][..., weighing]
        # Where no band is good, the windows have judged nothing but their surroundings.
        lost = planes["mask"][..., order].all(axis=-1)
        total = np.where(lost, 0, counts[rows].sum(axis=-1))
        windows[rows] = total
        share = counts[rows] / np.maximum(total, 1)[..., None]
        votes[:, rows] = np.moveaxis(np.where(total[..., None] > 0, share, 0), -1, 0)
    labels = find_segments(votes[-1], windows > 0, settings.threshold)
    labels = split_segments(labels, light, settings.distance)
    return Segmented(votes, windows, labels, model.classes)


def _decided(settings, field, model):
    """Return settings whose stride is a number."""
    return dataclasses.replace(settings, stride=chosen_stride(field.shape, model.window, settings.stride))


def band_order(field, model):
    """Return which bands of a field are those of a model, in its order; `InputError` names one that is not there."""
    missing = [band for band in model.bands if band not in field.bands]
    if missing:
        raise InputError(
            f"{field.name}: no band {missing[0]}; the field has {', '.join(field.bands)}, the model needs "
            f"{', '.join(model.bands)}: name the files' bands with --bands, and what the model calls them with --as"
        )
    return [field.bands.index(band) for band in model.bands]


def _band(name, field, model):
    if name is None:
        return model.bands[0]
    if name not in field.bands:
        raise InputError(f"--band is {name}, the field has {', '.join(field.bands)}; give one of them")
    return name


def _check_scale(field, card, preset):
    scale = card.get("data", {}).get("pixel_scale_arcsec")
    if scale is None:
        logger.warning("%s: its pixel scale is not known; taken to be that of the field", preset)
        return
    ratio = max(scale / field.pixel_scale, field.pixel_scale / scale)
    message = f"{field.name}: pixels of {field.pixel_scale:.4g} arcsec, preset {preset} has learnt from {scale:.4g}"
    if ratio > _MOST_SCALE:
        raise InputError(f"{message}; resample the field, or train on images like it")
    if ratio > 1 + _SAME_SCALE:
        logger.warning("%s; classes depend on sizes in pixels, so take them with care", message)
