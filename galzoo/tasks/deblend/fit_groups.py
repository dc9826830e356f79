"""A chunk of groups: cut, fitted, fitted again where the residual asks for it, flagged and measured."""

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.field.photometry import KRON_REACH
from galzoo.field.windows import batch_size, cut, group_unit, make_units, wide_unit
from galzoo.tasks.deblend.chunk import Chunk, WindowFitter, mates
from galzoo.tasks.deblend.flags import (
    aperture,
    at_edge,
    correlated_errors,
    hosts,
    judge,
    leader,
    measure,
    unseen,
    whole_shape,
)
from galzoo.tasks.deblend.psf_flux import psf_fluxes

# Numbers in the source images of a chunk, which are all in memory; its sources, whose fits an interruption loses.
_CHUNK_NUMBERS, _CHUNK_SOURCES = 1 << 22, 128
# Windows leave so many FWHM about the footprints, and so many pixels.
_PAD_FWHM, _PAD_PIXELS = 1.5, 4


def margin(fwhm):
    """Return the pixels that windows leave about footprints."""
    return int(np.ceil(_PAD_FWHM * fwhm)) + _PAD_PIXELS


def plan(sources, bands, fwhm):
    """Put groups into chunks, and choose the sizes of batches.

    Parameters
    ----------
    sources : dict of arrays
        As of `galzoo.field.tiles.collect`.
    bands : int
    fwhm : float
        Pixels.

    Returns
    -------
    chunks : list of list of Unit
        Groups of like windows together, all windows of a group in one chunk.
    sizes : dict
        (side, count) to windows a batch: no more than there are in the field.
    """
    pad = margin(fwhm)
    starts = np.flatnonzero(np.diff(sources["group"], prepend=-1))
    ends = np.append(starts[1:], len(sources["group"]))
    groups = [make_units(sources, np.arange(start, end), pad) for start, end in zip(starts, ends, strict=True)]
    groups.sort(key=lambda units: (len(units) > 1, units[0].side, units[0].count))
    counts = {}
    for units in groups:
        for unit in units:
            counts[unit.side, unit.count] = counts.get((unit.side, unit.count), 0) + 1
    sizes = {
        (side, count): min(batch_size(side, count, bands), 1 << int(np.ceil(np.log2(many))))
        for (side, count), many in counts.items()
    }
    chunks, chunk, held, number = [], [], 0, 0
    for units in groups:
        size = sum(unit.side**2 * unit.count * bands for unit in units)
        count = sum(unit.count for unit in units)
        # A chunk of one kind of window is a whole number of batches.
        kind = units[0].side, units[0].count
        whole = len(chunk) % sizes[kind] == 0 or len(units) > 1 or kind != (chunk[0].side, chunk[0].count)
        full = held + size > _CHUNK_NUMBERS or number + count > _CHUNK_SOURCES
        if chunk and full and whole:
            chunks, chunk, held, number = [*chunks, chunk], [], 0, 0
        chunk, held, number = [*chunk, *units], held + size, number + count
    return [*chunks, chunk], sizes


def fit_chunk(deblend, field, segmentation, sources, units, psf, detection, sizes, settings):
    """Deblend the groups of a chunk.

    Parameters
    ----------
    deblend : callable
    field : Field
    segmentation : int array, (y, x)
        Group number + 1.
    sources : dict of arrays
    units : list of Unit
    psf : callable
    detection : galzoo.field.detection.Detection
    sizes : dict
        See `plan`.
    settings : galzoo.tasks.deblend.run.Settings

    Returns
    -------
    dict of arrays
        A row a source: ``x, y, position_error, group, n_in_group, snr, row, flags, flux, flux_error, shape,
        shape_error``, ``psf_flux, psf_flux_err`` and what `galzoo.tasks.deblend.flags.measure` says; ``stamps``
        (n, y, x, band) with ``stamp_mask``, ``stamp_x, stamp_y`` (their lower-left pixels); models of the windows,
        ``model`` (all pixels in a row) and ``box`` (window, x0, y0,
        side).
    """
    planes = [cut(field, segmentation, unit) for unit in units]
    chunk = Chunk(WindowFitter(deblend, psf, sizes), sources, units, planes, detection)
    if settings.add_sources:
        chunk.add_sources()
    chunk.refine()
    chunk.join_added()
    chunk.leave_out()
    chunk.give_back()
    of_group = mates(chunk.units)
    rows = [
        _rows(
            field,
            segmentation,
            unit,
            one,
            result,
            other,
            chunk.sources,
            detection,
            settings,
            of_group[unit.group],
            psf,
            split=number in chunk.split,
        )  # fmt: skip
        for number, (unit, one, result, other) in enumerate(
            zip(chunk.units, planes, chunk.fits, chunk.others, strict=True)
        )
    ]
    found = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    groups, inverse, count = np.unique(found["group"], return_inverse=True, return_counts=True)
    found["n_in_group"] = count[inverse]
    found["box"] = np.array([(unit.x0, unit.y0, unit.side) for unit in units])
    found["model"] = np.concatenate([one.image.sum(axis=0).ravel() for one in chunk.fits])
    return found


def _rows(field, segmentation, unit, planes, result, others, sources, detection, settings, mates, psf, split=False):
    """Return what is known of the sources of a window; `split` says that it is one of several of its group.

    `mates` are the rows of all sources of the group.
    """
    first = leader(unit, sources)
    flags = judge(unit, planes, result, detection.fwhm, others, first if split else None)
    found = measure(unit, planes, result, sources, detection, mates, others)
    for row in np.flatnonzero(flags & FLAGS["truncated"]):
        # What is cut beside a brighter source is a part of that one's light, and its aperture that of its own side.
        if row != first:
            continue
        whole = wide_unit(unit, sources, row, KRON_REACH)
        known = sources
        if split:
            whole = group_unit(unit, sources, row)
            known = whole_shape(whole, cut(field, segmentation, whole), sources, detection.weights)
        flux = aperture(whole, cut(field, segmentation, whole), known, detection, whole.sources)
        found["aperture_flux"][row], found["aperture_flux_err"][row] = flux[0][0], flux[1][0]
    start = np.stack([sources["x"][unit.sources], sources["y"][unit.sources]], axis=-1)
    lost = (flags & FLAGS["fallback"]) > 0
    places = np.where(lost[:, None] | ~np.isfinite(result.positions), start, result.positions)
    flags[hosts(unit, result)] |= FLAGS["shared"]
    flags[at_edge(unit, planes, sources, places, detection.fwhm)] |= FLAGS["edge"]
    # Where a band saw nothing its flux is what other bands make of it, not a measurement.
    blind = unseen(unit, planes, places, detection.fwhm)
    flags[(blind | (result.flux > 0)).all(axis=-1)] &= ~FLAGS["negative_flux"]
    found |= {"flux": result.flux, "flux_error": result.flux_error}
    found["psf_flux"], error = psf_fluxes(unit, planes, result, places, psf, others)
    found["psf_flux_err"] = error * detection.correlation
    found |= correlated_errors(found, detection.correlation)
    if getattr(field, "halos", ()):
        sigma = np.hypot(detection.fwhm, 2 * np.nan_to_num(result.shape[:, 2])) / 2.3548
        found["flux_error"] = np.hypot(found["flux_error"], field.flux_error(*places.T, sigma))
    for name in ("flux", "aperture_flux", "psf_flux"):
        found[name] = np.where(blind, np.nan, found[name])
    for name in ("flux_error", "flux_like_err", "aperture_flux_err", "psf_flux_err"):
        found[name] = np.where(blind, np.inf, found[name])
    found |= {
        "x": places[:, 0], "y": places[:, 1], "flags": flags,
        "position_error": np.where(lost[:, None], np.nan, result.position_error),
        "shape": result.shape, "shape_error": result.shape_error, "group": sources["group"][unit.sources],
        "snr": sources["snr"][unit.sources], "row": sources["row"][unit.sources],
    }  # fmt: skip
    size = settings.stamp_size
    if size:
        corner = np.floor(places - (size - 1) / 2 + 0.5).astype(int)
        # Where nothing was fitted, the stamp shows the data.
        seen = np.where(lost[:, None, None, None], planes["image"][None], result.image)
        cuts = [_stamp(image, unit, place, size, 0) for image, place in zip(seen, corner, strict=True)]
        masks = [_stamp(planes["mask"], unit, place, size, True) for place in corner]
        found |= {"stamps": np.stack(cuts), "stamp_mask": np.stack(masks)}
        found |= {"stamp_x": corner[:, 0], "stamp_y": corner[:, 1]}
    # Neither seen nor fitted: its aperture would hold its neighbours' light once more.
    kept = ~(lost & (flags & FLAGS["added"] > 0))
    return {key: values[kept] for key, values in found.items()}


def _stamp(plane, unit, corner, size, outside):
    """Return the square of `size` pixels whose lower-left pixel in the field is `corner`, of a plane of a window."""
    x, y = corner[0] - unit.x0, corner[1] - unit.y0
    stamp = np.full((size, size, plane.shape[-1]), outside, plane.dtype)
    top, bottom, left, right = max(y, 0), min(y + size, unit.side), max(x, 0), min(x + size, unit.side)
    if top < bottom and left < right:
        stamp[top - y : bottom - y, left - x : right - x] = plane[top:bottom, left:right]
    return stamp
