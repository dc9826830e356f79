"""A chunk of groups: cut, fitted, mended where the residual asks for it, judged and measured."""

import dataclasses

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.field.windows import MOST_SOURCES, Fit, batch_size, cut, fit, make_units
from galzoo.tasks.deblend import flags as judging
from galzoo.tasks.deblend import residual_sources as second_look

# Numbers in the source images of a chunk, which are all in memory.
_CHUNK_NUMBERS = 1 << 22
# Windows leave so many FWHM about the footprints, and so many pixels.
_PAD_FWHM, _PAD_PIXELS = 1.5, 4


def plan(sources, bands, fwhm):
    """Put groups into chunks, and choose the sizes of batches.

    Parameters
    ----------
    sources : dict of arrays
        As of `galzoo.field.detection.collect`.
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
    pad = int(np.ceil(_PAD_FWHM * fwhm)) + _PAD_PIXELS
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
    chunks, chunk, held = [], [], 0
    for units in groups:
        size = sum(unit.side**2 * unit.count * bands for unit in units)
        # A chunk of one kind of window is a whole number of batches.
        kind = units[0].side, units[0].count
        whole = len(chunk) % sizes[kind] == 0 or len(units) > 1 or kind != (chunk[0].side, chunk[0].count)
        if chunk and held + size > _CHUNK_NUMBERS and whole:
            chunks, chunk, held = [*chunks, chunk], [], 0
        chunk, held = [*chunk, *units], held + size
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
        A row a source: ``x, y, group, n_in_group, snr, row, flags, flux, flux_error, shape, shape_error`` and what
        `galzoo.tasks.deblend.flags.measure` says; ``stamps`` (n, y, x, band) with ``stamp_mask``, ``stamp_x, stamp_y``
        (their lower-left pixels); models of the windows, ``model`` (all pixels in a row) and ``box`` (window, x0, y0,
        side).
    """
    planes = [cut(field, segmentation, unit) for unit in units]
    split = _split(units)
    hidden = [np.zeros(one["own"].shape, bool) for one in planes]
    for i in split:
        hidden[i] = planes[i]["own"] & ~_nearest(units[i], sources)

    def fitted(units, planes, sources, **options):
        return fit(deblend, units, planes, sources, psf, sizes, **options)

    # Smooth galaxies first: whatever else is let into the model would hide the sources that are missing.
    fits = fitted(units, planes, sources, hidden=hidden, smooth=True)
    others = _others(units, fits, split)
    # Once more: every window now without what the others were found to be.
    fits = _again(fitted, units, planes, fits, others, sources, split, smooth=True)
    others = _others(units, fits, split)
    if settings.add_sources:
        sources, units, fits = _add(fitted, units, planes, fits, others, sources, detection)
        others = _others(units, fits, split)
    rough = [i for i in range(len(units)) if judging.rough(planes[i], fits[i], detection.correlation, others[i])]
    fits = _again(fitted, units, planes, fits, others, sources, rough)
    others = _others(units, fits, split)
    rows = [
        _rows(unit, one, result, other, sources, detection, settings)
        for unit, one, result, other in zip(units, planes, fits, others, strict=True)
    ]
    found = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    groups, inverse, count = np.unique(found["group"], return_inverse=True, return_counts=True)
    found["n_in_group"] = count[inverse]
    found["box"] = np.array([(unit.x0, unit.y0, unit.side) for unit in units])
    found["model"] = np.concatenate([one.image.sum(axis=0).ravel() for one in fits])
    return found


def _again(fitted, units, planes, fits, others, sources, places, smooth=False):
    """Return the fits with the windows `places` fitted again, less the other windows' models; "added" flags stay."""
    less = [_less(planes[i], others[i]) for i in places]
    fits = list(fits)
    for i, new in zip(places, fitted([units[i] for i in places], less, sources, smooth=smooth), strict=True):
        new.flags |= fits[i].flags & FLAGS["added"]
        fits[i] = new
    return fits


def _split(units):
    """Return the numbers of the windows whose group has several."""
    many = {}
    for unit in units:
        many[unit.group] = many.get(unit.group, 0) + 1
    return [i for i, unit in enumerate(units) if many[unit.group] > 1]


def _nearest(unit, sources):
    """Return the pixels of a window that are nearer to its sources than to others of the group, (y, x)."""
    from scipy.spatial import cKDTree

    rows = np.flatnonzero(sources["group"] == unit.group)
    tree = cKDTree(np.stack([sources["x"][rows], sources["y"][rows]], axis=-1))
    y, x = np.mgrid[: unit.side, : unit.side]
    _, which = tree.query(np.stack([x.ravel() + unit.x0, y.ravel() + unit.y0], axis=-1))
    return np.isin(rows[which], unit.sources).reshape(unit.side, unit.side)


def _others(units, fits, split):
    """Return for each window the models of its group's other windows, (y, x, band); None where there are none."""
    found = [None] * len(units)
    for i in split:
        unit, model = units[i], np.zeros(fits[i].image.shape[1:], np.float32)
        for j in split:
            other = units[j]
            if j == i or other.group != unit.group:
                continue
            y0, y1 = max(unit.y0, other.y0), min(unit.y0 + unit.side, other.y0 + other.side)
            x0, x1 = max(unit.x0, other.x0), min(unit.x0 + unit.side, other.x0 + other.side)
            if y0 < y1 and x0 < x1:
                part = fits[j].image[:, y0 - other.y0 : y1 - other.y0, x0 - other.x0 : x1 - other.x0]
                model[y0 - unit.y0 : y1 - unit.y0, x0 - unit.x0 : x1 - unit.x0] += np.nan_to_num(part).sum(axis=0)
        found[i] = model
    return found


def _less(planes, model):
    """Return planes with a model subtracted."""
    if model is None:
        return planes
    return {**planes, "image": np.where(planes["mask"], np.float32(0), planes["image"] - model)}


def _add(fitted, units, planes, fits, others, sources, detection):
    """Fit windows again with sources where the residual suggests them; keep, one after the other, those proven."""
    units, fits = list(units), list(fits)
    active, parts = range(len(units)), set()
    for _ in range(second_look.ROUNDS):
        trials = [
            (i, trial)
            for i in active
            for trial in second_look.trials(units[i], planes[i], fits[i], detection, others[i])
        ]
        proven = _proven(fitted, units, planes, fits, others, sources, detection, trials)
        for i, found in proven.items():
            if any(len(rows) < len(units[i].sources) for (rows, _), _ in found):
                parts.add(i)
            for (rows, _), new in found:
                fits[i] = _joined(fits[i], rows, new)
            sources, units[i] = _moved(sources, units[i], fits[i], detection.fwhm)
        active = list(proven)
    # Errors know of all neighbours only where all are fitted together.
    fits = _again(fitted, units, planes, fits, others, sources, sorted(parts), smooth=True)
    return sources, units, fits


def _proven(fitted, units, planes, fits, others, sources, detection, trials):
    """Return the trials that the data want, with their fits, of each window: number -> list of both, the best first."""
    if not trials:
        return {}
    tried, less, ends = [], [], np.cumsum([len(places) for _, (_, places) in trials])
    for (i, (rows, places)), end in zip(trials, ends, strict=True):
        far = np.delete(fits[i].image, rows, axis=0).sum(axis=0)
        less.append(_less(planes[i], far if others[i] is None else others[i] + far))
        tried.append(dataclasses.replace(units[i], sources=np.arange(end - len(places), end)))
    x, y = np.concatenate([places for _, (_, places) in trials]).T
    new = fitted(tried, less, {"x": x, "y": y, "row": sources["row"]}, smooth=True)
    gains = [
        second_look.gain(one, fits[i].image[rows].sum(axis=0), result, detection.correlation)
        for (i, (rows, _)), one, result in zip(trials, less, new, strict=True)
    ]
    found = {}
    for place in np.argsort(-np.array(gains), kind="stable"):
        i, trial = trials[place]
        kept = found.get(i, [])
        room = len(units[i].sources) + len(kept) < MOST_SOURCES
        if gains[place] > 0 and room and all(second_look.apart(trial, other, detection.fwhm) for other, _ in kept):
            found[i] = [*kept, (trial, new[place])]
    return found


def _joined(old, rows, new):
    """Return a fit with the sources `rows` as in a new one, whose last source is put at the end."""

    def join(before, after):
        before = np.concatenate([before, after[-1:]])
        before[rows] = after[:-1]
        return before

    joined = Fit(*(join(getattr(old, one.name), getattr(new, one.name)) for one in dataclasses.fields(Fit)))
    joined.flags[:-1] = old.flags
    joined.flags[-1] |= FLAGS["added"]
    return joined


def _moved(sources, unit, result, fwhm):
    """Return the table of sources with new rows for a window, where they were fitted, and the window with these."""
    known, n = len(unit.sources), len(result.positions)
    rows = np.append(unit.sources, np.repeat(unit.sources[:1], n - known))
    copies = {key: values[rows] for key, values in sources.items()}
    copies["x"], copies["y"] = result.positions.T.copy()
    sigma = fwhm / 2.3548
    for key, value in {"a": sigma, "b": sigma, "theta": 0.0, "snr": np.nan, "row": -1}.items():
        copies[key][known:] = value
    first = len(sources["x"])
    unit = dataclasses.replace(unit, sources=first + np.arange(n))
    return {key: np.concatenate([values, copies[key]]) for key, values in sources.items()}, unit


def _rows(unit, planes, result, others, sources, detection, settings):
    """Return what is known of the sources of a window."""
    flags = judging.judge(unit, planes, result, detection.fwhm, others)
    found = judging.measure(unit, planes, result, sources, detection, others)
    start = np.stack([sources["x"][unit.sources], sources["y"][unit.sources]], axis=-1)
    lost = (flags & FLAGS["fallback"]) > 0
    places = np.where(lost[:, None] | ~np.isfinite(result.positions), start, result.positions)
    found |= {
        "x": places[:, 0], "y": places[:, 1], "flags": flags, "flux": result.flux, "flux_error": result.flux_error,
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
    return found


def _stamp(plane, unit, corner, size, outside):
    """Return the square of `size` pixels whose lower-left pixel in the field is `corner`, of a plane of a window."""
    x, y = corner[0] - unit.x0, corner[1] - unit.y0
    stamp = np.full((size, size, plane.shape[-1]), outside, plane.dtype)
    top, bottom, left, right = max(y, 0), min(y + size, unit.side), max(x, 0), min(x + size, unit.side)
    if top < bottom and left < right:
        stamp[top - y : bottom - y, left - x : right - x] = plane[top:bottom, left:right]
    return stamp
