"""A chunk of groups: cut, fitted, fitted again where the residual asks for it, flagged and measured."""

import dataclasses

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.field.photometry import KRON_REACH
from galzoo.field.windows import MOST_SOURCES, batch_size, cut, group_unit, make_units, owners, wide_unit
from galzoo.tasks.deblend import residual_sources
from galzoo.tasks.deblend.fit_windows import Fit, fit
from galzoo.tasks.deblend.flags import (
    aperture,
    at_edge,
    correlated_errors,
    judge,
    leader,
    measure,
    rough,
    unseen,
    whole_shape,
)

# Numbers in the source images of a chunk, which are all in memory; its sources, whose fits an interruption loses.
_CHUNK_NUMBERS, _CHUNK_SOURCES = 1 << 22, 128
# Windows leave so many FWHM about the footprints, and so many pixels.
_PAD_FWHM, _PAD_PIXELS = 1.5, 4


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
        shape_error`` and what `galzoo.tasks.deblend.flags.measure` says; ``stamps`` (n, y, x, band) with
        ``stamp_mask``, ``stamp_x, stamp_y``
        (their lower-left pixels); models of the windows, ``model`` (all pixels in a row) and ``box`` (window, x0, y0,
        side).
    """
    planes = [cut(field, segmentation, unit) for unit in units]
    chunk = Chunk(WindowFitter(deblend, psf, sizes), sources, units, planes, detection)
    if settings.add_sources:
        chunk.add_sources()
    chunk.refine()
    chunk.join_added()
    mates = _mates(chunk.units)
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
            mates[unit.group],
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


@dataclasses.dataclass(frozen=True)
class WindowFitter:
    """Fits windows in batches; see `galzoo.tasks.deblend.fit_windows.fit`.

    Parameters
    ----------
    deblend, psf : callable
    sizes : dict
        (side, count) to windows a batch.
    """

    deblend: object
    psf: object
    sizes: dict

    def __call__(self, units, planes, sources, **options):
        """Return the `Fit` of each unit."""
        return fit(self.deblend, units, planes, sources, self.psf, self.sizes, **options)


class Chunk:
    """Windows of some groups with all their pixels, and what was fitted to them last.

    Parameters
    ----------
    fitter : WindowFitter
    sources : dict of arrays
        Grows by those that are added.
    units : list of Unit
    planes : list of dict
        Of `galzoo.field.windows.cut`, one a unit.
    detection : galzoo.field.detection.Detection

    Attributes
    ----------
    fits : list of Fit
    others : list of array (y, x, band) or None
        Models of other windows of the same group in each window.
    hidden : list of bool arrays, (y, x)
        Pixels of each window that are those of other windows of the same group.
    """

    def __init__(self, fitter, sources, units, planes, detection):
        self.fitter, self.detection, self.planes = fitter, detection, planes
        self.sources, self.units = sources, list(units)
        self.split = _split(units)
        self.hidden = [np.zeros(one["own"].shape, bool) for one in planes]
        mates = _mates(units)
        for i in self.split:
            owner = owners(units[i], mates[units[i].group], sources, detection.fwhm)
            self.hidden[i] = planes[i]["own"] & ~np.isin(owner, units[i].sources)
        # Smooth galaxies first: whatever else is let into the model would hide the sources that are missing.
        self.fits = fitter(units, planes, sources, hidden=self.hidden, smooth=True)
        self.others = _others(self.units, self.fits, self.split)
        # Once more: every window now without what the others were found to be.
        self._again(self.split, smooth=True)

    def _again(self, places, smooth=False):
        """Fit the windows `places` again, less the other windows' models; flags "added" stay."""
        less = [_less(self.planes[i], self.others[i]) for i in places]
        fits = self.fitter([self.units[i] for i in places], less, self.sources, smooth=smooth)
        for i, new in zip(places, fits, strict=True):
            new.flags |= self.fits[i].flags & FLAGS["added"]
            self.fits[i] = new
        self.others = _others(self.units, self.fits, self.split)

    def refine(self):
        """Fit again, with all that a model can show, the windows in which smooth galaxies leave more than noise."""
        correlation = self.detection.correlation
        found = zip(self.planes, self.fits, self.others, strict=True)
        self._again([i for i, (one, result, other) in enumerate(found) if rough(one, result, correlation, other)])

    def join_added(self):
        """Take added sources away that the fit has put onto another, and fit these windows again."""
        joined = []
        for i, (unit, one) in enumerate(zip(self.units, self.fits, strict=True)):
            kept = ~residual_sources.repeated(one.positions, one.flags & FLAGS["added"] > 0, self.detection.fwhm)
            if not kept.all():
                self.units[i] = dataclasses.replace(unit, sources=unit.sources[kept])
                self.fits[i] = Fit(*(getattr(one, field.name)[kept] for field in dataclasses.fields(Fit)))
                joined.append(i)
        self._again(joined)

    def add_sources(self):
        """Fit windows again with sources where the residual suggests them; keep, one after the other, those proven."""
        active, parts = range(len(self.units)), set()
        for _ in range(residual_sources.ROUNDS):
            trials = [
                (i, trial)
                for i in active
                for trial in residual_sources.trials(
                    self.units[i], self.planes[i], self.fits[i], self.detection, self.others[i], self.hidden[i]
                )
            ]
            proven = self._proven(trials)
            for i, found in proven.items():
                if any(len(rows) < len(self.units[i].sources) for (rows, _), _ in found):
                    parts.add(i)
                for (rows, _), new in found:
                    self.fits[i] = _joined(self.fits[i], rows, new)
                self.sources, self.units[i] = _moved(self.sources, self.units[i], self.fits[i], self.detection.fwhm)
            active = list(proven)
        # Errors know of all neighbours only where all are fitted together.
        self._again(sorted(parts), smooth=True)

    def _proven(self, trials):
        """Return the trials that the data want, with their fits, of each window: number -> list of both, best first."""
        if not trials:
            return {}
        units, planes, fits, others = self.units, self.planes, self.fits, self.others
        tried, less, ends = [], [], np.cumsum([len(places) for _, (_, places) in trials])
        for (i, (rows, places)), end in zip(trials, ends, strict=True):
            far = np.delete(fits[i].image, rows, axis=0).sum(axis=0)
            less.append(_less(planes[i], far if others[i] is None else others[i] + far))
            tried.append(dataclasses.replace(units[i], sources=np.arange(end - len(places), end)))
        x, y = np.concatenate([places for _, (_, places) in trials]).T
        new = self.fitter(tried, less, {"x": x, "y": y, "row": self.sources["row"]}, smooth=True)
        gains = [
            residual_sources.gain(one, fits[i].image[rows].sum(axis=0), result, self.detection.correlation)
            for (i, (rows, _)), one, result in zip(trials, less, new, strict=True)
        ]
        found = {}
        for place in np.argsort(-np.array(gains), kind="stable"):
            i, trial = trials[place]
            kept = found.get(i, [])
            room = len(units[i].sources) + len(kept) < MOST_SOURCES
            apart = all(residual_sources.apart(trial, other, self.detection.fwhm) for other, _ in kept)
            if gains[place] > 0 and room and apart:
                found[i] = [*kept, (trial, new[place])]
        return found


def _split(units):
    """Return the numbers of the windows whose group has several."""
    many = {}
    for unit in units:
        many[unit.group] = many.get(unit.group, 0) + 1
    return [i for i, unit in enumerate(units) if many[unit.group] > 1]


def _mates(units):
    """Return the sources of each group, by its number; the table has rows of earlier places of theirs too."""
    found = {}
    for unit in units:
        found.setdefault(unit.group, []).append(unit.sources)
    return {group: np.concatenate(sources) for group, sources in found.items()}


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


def _rows(field, segmentation, unit, planes, result, others, sources, detection, settings, mates, split=False):
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
    flags[at_edge(unit, planes, sources, places, detection.fwhm)] |= FLAGS["edge"]
    # Where a band saw nothing its flux is what other bands make of it, not a measurement.
    blind = unseen(unit, planes, places, detection.fwhm)
    found |= {"flux": result.flux, "flux_error": result.flux_error}
    found |= correlated_errors(found, detection.correlation)
    for name in ("flux", "aperture_flux"):
        found[name] = np.where(blind, np.nan, found[name])
    for name in ("flux_error", "flux_like_err", "aperture_flux_err"):
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
