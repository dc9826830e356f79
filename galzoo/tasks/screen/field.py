"""Screen the sources of a catalogue on a field."""

import dataclasses
from types import SimpleNamespace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from galzoo.data.columns import find_columns, read_table, select, sky_positions
from galzoo.data.cutouts import positions
from galzoo.data.plain import plain
from galzoo.data.sky import pixel_to_sky, to_icrs
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.pieces import output_folder
from galzoo.field.provenance import provenance
from galzoo.field.psf import field_psf
from galzoo.field.same_depth import say_depth
from galzoo.field.same_pixels import RATIOS, RESAMPLE, same_pixels
from galzoo.packaged_preset import packaged_preset, say_absent
from galzoo.presets import card_for, hyper_parameters, load_for, model_checksum
from galzoo.tasks.screen.flags import FLAGS

# Stamps of one call of the model; share of bad pixels, neighbours' not counted, that is flagged.
_TOGETHER, _BAD_SHARE = 128, 0.05
# Neighbours' light is masked above so many times the noise of a pixel behind a Gaussian of this width in pixels.
_LIT, _SMOOTHING = 0.8, 1.5
_SIZE, _LEAST_SIZE, _LARGEST_SIZE = 48, 16, 512
# Share of blends among training scenes where the preset does not say it.
_TRAINED_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a catalogue is screened; the options of `galzoo screen`.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    prevalence: float = 0.2
    passes: int = 50
    seed: int = 0
    size: int | None = None
    where: str | None = None
    report: bool = True

    def __post_init__(self):
        if not 0 < self.prevalence < 1:
            raise InputError(f"--prevalence is {self.prevalence}; give the share of blends, between 0 and 1")
        if self.passes < 1:
            raise InputError(f"--passes is {self.passes}; give 1 or more")
        if self.seed < 0:
            raise InputError(f"--seed is {self.seed}; give 0 or more")
        if self.size is not None and not _LEAST_SIZE <= self.size <= _LARGEST_SIZE:
            raise InputError(f"--size is {self.size}; give {_LEAST_SIZE} to {_LARGEST_SIZE} pixels")


def screen_field(
    paths, catalogue, output, preset=None, settings=None, columns=None, psf=None, seeing=None, **options
):  # fmt: skip
    """Screen a catalogue on a field and write what was found.

    Parameters
    ----------
    paths : path or sequence of paths
        See `galzoo.field.open_field.open_field`, which takes `options`.
    catalogue : path
        Table with sky or pixel positions.
    output : str or Path
        Folder to write; made if absent.
    preset : str or Path, optional
        Preset or run of a family that screens; by default the packaged one of the nearest bands and pixels.
    settings : Settings, optional
    columns : dict, optional
        See `galzoo.data.columns.find_columns`.
    psf, seeing
        See `galzoo.field.psf.field_psf`.

    Returns
    -------
    list of Path
        See `galzoo.tasks.screen.products.write_products`.

    Raises
    ------
    InputError
        If files are missing, damaged or do not fit each other or the preset.
    """
    from galzoo.tasks.screen.products import write_products

    settings = settings or Settings()
    inputs = paths, catalogue, psf, list(options.values())
    output = output_folder(output, "screen", *inputs, bands=options.get("bands") or ())
    if preset is not None:
        card_for("screen", preset)
    table = read_table(catalogue, (columns or {}).get("id"))
    if not len(table):
        raise InputError(f"{catalogue}: has no rows; give a catalogue of sources")
    found = find_columns(table, columns, str(catalogue))
    with open_field(paths, **options) as field:
        x, y = positions(field, table, found, columns, str(catalogue))
        chosen = _chosen(table, settings.where, str(catalogue))
        inside = (x > -0.5) & (y > -0.5) & (x < field.shape[1] - 0.5) & (y < field.shape[0] - 0.5)
        if not inside.any():
            raise InputError(
                f"{catalogue}: none of its {len(table)} sources lies on {field.name}; is it of this field?"
            )
        if not (inside & chosen).any():
            raise InputError(f"{catalogue}: no source on the field is left by --where {settings.where!r}")
        preset = packaged_preset("screen", field, ratios=RATIOS, mend=RESAMPLE) if preset is None else preset
        # What does not fit is said before the network is loaded, where its file tells.
        if {"bands", "pixel_scale"} <= set(told := hyper_parameters(preset)):
            _order(field, SimpleNamespace(**told), preset)
        card, model = card_for("screen", preset), load_for("screen", preset)
        order = _order(field, model, preset)
        say_absent(field, model.bands, preset)
        say_depth(field, card, preset)
        size = settings.size or _trained_size(card)
        known = field_psf(field, psf, seeing)
        rows = np.flatnonzero(chosen)
        result = screen_rows(model, field, x, y, rows, size, order, known, settings)
        made_with = {"preset": str(preset), "model": model_checksum(preset)}
        header = provenance(field, made_with)
    trained = trained_share(card)
    result["p_blend"] = corrected(result["p_blend_trained"], settings.prevalence, trained)
    result["id"] = plain(table[found["id"]])[rows] if "id" in found else rows + 1
    result["x"], result["y"] = x[rows], y[rows]
    result["ra"], result["dec"] = _sky(table, found, field, x, y, rows)
    about = {
        "field": field.name, "catalogue": str(catalogue), **made_with, "passes": settings.passes,
        "prevalence": settings.prevalence, "trained_share": trained, "stamp_size": size,
    }  # fmt: skip
    return write_products(result, output, about, header, settings.report)


def screen_rows(model, field, x, y, rows, size, order, psf=None, settings=None):
    """Return what a model says of the sources of some rows.

    Parameters
    ----------
    model : galzoo.contracts.counts.Counter
    field : Field
    x, y : arrays, (all sources,)
        Pixels; NaN where a source has none.
    rows : int array, (n,)
        Sources that are screened; the others mask their own light.
    size : int
        Side of a stamp.
    order : sequence of int or None
        Band of the field of each band of the model.
    psf : array, (1, p, p, band), optional
        Of the field.
    settings : Settings, optional

    Returns
    -------
    dict of arrays
        ``probability`` (n, class), ``p_blend_trained``, ``entropy``, ``mutual_information``, ``flags``, and ``stamp``
        (n, y, x) of the first band that is there; NaN where a source is off the field or has no light.
    """
    settings, n = settings or Settings(), len(rows)
    places = np.stack([x, y], axis=-1)
    usable = np.flatnonzero(np.isfinite(places).all(axis=-1))
    tree = cKDTree(places[usable])
    flags, found = np.zeros(n, np.int32), None
    stamp = np.zeros((n, size, size), np.float32)
    first = next(band for band, source in enumerate(order) if source is not None)
    for start in range(0, n, _TOGETHER):
        parts, kept = [], []
        for index in range(start, min(start + _TOGETHER, n)):
            row = rows[index]
            if not np.isfinite(places[row]).all() or not _on(field, places[row]):
                flags[index] = FLAGS["off_field"]
                continue
            near = usable[tree.query_ball_point(places[row], size)]
            planes, flags[index] = cut(field, places[row], places[near[near != row]], size)
            stamp[index] = planes["image"][..., order[first]]
            if flags[index] & FLAGS["no_light"]:
                continue
            parts.append({key: _arranged(planes[key], order, value) for key, value in _EMPTY.items()})
            kept.append(index)
        if not kept:
            continue
        batch = {key: np.stack([part[key] for part in parts]) for key in _EMPTY}
        if psf is not None:
            wide = np.stack([psf[0, ..., source or 0] for source in order], axis=-1)
            batch["psf"] = np.repeat(wide[None], len(kept), axis=0)
        counts = model.count(batch, settings.passes, settings.seed + start)
        if found is None:
            width = counts.probability.shape[1]
            found = {"probability": np.full((n, width), np.nan)}
            found |= {key: np.full(n, np.nan) for key in ("p_blend_trained", "entropy", "mutual_information")}
        found["probability"][kept], found["p_blend_trained"][kept] = counts.probability, counts.blended
        found["entropy"][kept], found["mutual_information"][kept] = counts.entropy, counts.mutual_information
    if found is None:
        raise InputError(f"{field.name}: no source of the catalogue has a good pixel; check the maps and flags")
    return found | {"flags": flags, "stamp": stamp}


_EMPTY = {"image": 0, "variance": np.inf, "mask": True}


def _arranged(plane, order, value):
    """Return the bands of a plane (y, x, band) in the model's order, `value` where absent."""
    empty = np.full(plane.shape[:2], value, plane.dtype)
    return np.stack([empty if source is None else plane[..., source] for source in order], axis=-1)


def _on(field, place):
    return -0.5 < place[0] < field.shape[1] - 0.5 and -0.5 < place[1] < field.shape[0] - 0.5


def cut(field, place, others, size):
    """Return the stamp of a source with its neighbours' light masked, and its flags.

    Parameters
    ----------
    field : Field
    place : array, (2,)
        x, y.
    others : array, (m, 2)
        Sources that the catalogue lists apart.
    size : int

    Returns
    -------
    planes : dict of arrays, (y, x, band)
        ``image, variance, mask``.
    flags : int
        Bits of `FLAGS`.
    """
    x0, y0 = (int(np.floor(value - (size - 1) / 2 + 0.5)) for value in place)
    planes = field.read(y0, y0 + size, x0, x0 + size)
    flags = 0
    if x0 < 0 or y0 < 0 or x0 + size > field.shape[1] or y0 + size > field.shape[0]:
        flags |= FLAGS["edge"]
    if planes["mask"].all(axis=-1).mean() > _BAD_SHARE:
        flags |= FLAGS["bad_pixels"]
    if planes["saturated"].any():
        flags |= FLAGS["saturated"]
    theirs = neighbours(planes, place - (x0, y0), others - (x0, y0))[..., None]
    mask = planes["mask"] | theirs
    if mask.all():
        flags |= FLAGS["no_light"]
    return {"image": np.where(mask, 0, planes["image"]), "variance": planes["variance"], "mask": mask}, flags


def neighbours(planes, place, others):
    """Return which pixels (y, x) have light and are nearer to another source than to the one at `place`."""
    if not len(others):
        return np.zeros(planes["image"].shape[:2], bool)
    smooth = ndimage.gaussian_filter(planes["image"], (_SMOOTHING, _SMOOTHING, 0))
    lit = np.any(smooth > _LIT * np.sqrt(planes["variance"]), axis=-1)
    rows, columns = np.indices(lit.shape)

    def distance(x, y):
        return (columns - x) ** 2 + (rows - y) ** 2

    nearest = np.min([distance(*other) for other in others], axis=0)
    return lit & (nearest < distance(*place))


def corrected(blend, prevalence, trained):
    """Return probabilities of a blend for another share of blends than that of training (Saerens et al. 2002)."""
    odds = prevalence / (1 - prevalence) * (1 - trained) / trained
    return blend * odds / (blend * odds + 1 - blend)


def trained_share(card):
    """Return the share of blends among the scenes that a preset was evaluated on; 0.5 where that is not known."""
    share = (card.get("metrics") or {}).get("blended_share")
    return share if share and 0 < share < 1 else _TRAINED_SHARE


def band_order(field, model, preset):
    """Return the band of the field of each of the model's bands, None where it is absent."""
    lower = [band.lower() for band in field.bands]
    odd = [band for band in field.bands if band.lower() not in [known.lower() for known in model.bands]]
    if odd:
        raise InputError(
            f"{field.name}: band {odd[0]!r} is none of those of {preset} ({', '.join(model.bands)}); say which it is "
            "with --as, or leave it out with --as -"
        )
    return [lower.index(band.lower()) if band.lower() in lower else None for band in model.bands]


def _order(field, model, preset):
    """Return `band_order` of a model whose pixels those of the field are."""
    same_pixels(field, model, preset)
    return band_order(field, model, preset)


def _chosen(table, where, name):
    if not where:
        return np.ones(len(table), bool)
    numbered = table.copy()
    numbered["_row"] = np.arange(len(table))
    chosen = np.zeros(len(table), bool)
    chosen[plain(select(numbered, where, name)["_row"])] = True
    return chosen


def _trained_size(card):
    data = card["recipe"]["data"]
    return int((data.get("make") or {}).get("size") or (data.get("options") or {}).get("stamp_size") or _SIZE)


def _sky(table, found, field, x, y, rows):
    if field.wcs is not None:
        return tuple(np.asarray(one, float) for one in pixel_to_sky(field.wcs, x[rows], y[rows]))
    if {"ra", "dec"} <= set(found):
        lon, lat, frame = sky_positions(table, found)
        # What is in the frame of an image that does not say its own cannot be brought to another.
        if frame != "image":
            return to_icrs(lon[rows], lat[rows], frame)
    return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
