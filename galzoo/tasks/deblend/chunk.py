"""Windows of some groups that are fitted together: again, where the residual asks for more sources or for structure."""

import dataclasses
import itertools

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.field.windows import MOST_SOURCES, owners
from galzoo.tasks.deblend import residual_sources
from galzoo.tasks.deblend.fit_windows import Fit, fit
from galzoo.tasks.deblend.flags import beyond, rough

# Of the signal-to-noise of another source: below, a source is faint beside it.
_FAINT = 0.2
# In FWHM: a peak is no further from the place of its source.
_FARTHEST = 0.5
# Of an added source whose light was another's, fitted alone.
_LEAST_SNR = 5.0


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
        of_group = mates(units)
        for i in self.split:
            owner = owners(units[i], of_group[units[i].group], sources, detection.fwhm)
            self.hidden[i] = planes[i]["own"] & ~np.isin(owner, units[i].sources)
        # Smooth galaxies first: whatever else is let into the model would hide the sources that are missing.
        self.fits = fitter(units, planes, sources, hidden=self.hidden, smooth=True)
        self.others = _others(self.units, self.fits, self.split)
        # Once more: every window now without what the others were found to be.
        self._again(self.split, smooth=True)

    def _again(self, places, **options):
        """Fit the windows `places` again, less the other windows' models; flags "added" stay."""
        less = [_less(self.planes[i], self.others[i]) for i in places]
        fits = self.fitter([self.units[i] for i in places], less, self.sources, **options)
        for i, new in zip(places, fits, strict=True):
            new.flags |= self.fits[i].flags & FLAGS["added"]
            self.fits[i] = new
        self.others = _others(self.units, self.fits, self.split)

    def _in_turn(self, changed, first):
        """Fit windows again from which sources are gone, and those that overlap with them, one of a group at a time.

        Each without what those before it have become: all at once they would take the light that is free twice.

        Parameters
        ----------
        changed : sequence of int
        first : set of int
            Windows whose turn is first; then the brightest come, whose the light is rather than of faint ones.
        """
        places = {j for i in changed for j in range(len(self.units)) if j == i or self._overlap(i, j)}
        # All sources of a window may be gone.
        snr = np.nan_to_num(self.sources["snr"], nan=0.0)
        brightest = [snr[unit.sources].max(initial=0.0) for unit in self.units]
        turns = {}
        for i in sorted(places, key=lambda i: (i not in first, -brightest[i], i)):
            turns.setdefault(self.units[i].group, []).append(i)
        self.others = _others(self.units, self.fits, self.split)
        for some in itertools.zip_longest(*turns.values()):
            self._again([i for i in some if i is not None])

    def _overlap(self, i, j):
        """Return whether two windows are of one group and have pixels in common."""
        one, other = self.units[i], self.units[j]
        return one.group == other.group and _shared(one, other) is not None

    def _astray(self, i):
        """Return which sources of the window `i`, faint beside another, are larger than it or on that, bool (n,)."""
        places, brighter = self.fits[i].positions, self._brighter(i)
        near = residual_sources.distances(places) < residual_sources.SAME * self.detection.fwhm
        return beyond(self.planes[i], self.fits[i]) & brighter.any(axis=1) | (near & brighter).any(axis=1)

    def _brighter(self, i):
        """Return for each source of the window `i` beside which it is faint, bool (n, n)."""
        # Added ones have no signal-to-noise; listed places on dark sky have negative ones.
        snr = np.maximum(np.nan_to_num(self.sources["snr"][self.units[i].sources], nan=0.0), 0)
        return snr[:, None] < _FAINT * snr

    def _strayed(self, unit, fit):
        """Return how far sources of a window are from where they were seen, in FWHM (n,)."""
        seen = np.stack([self.sources["x"][unit.sources], self.sources["y"][unit.sources]], axis=-1)
        return np.hypot(*(fit.positions - seen).T) / self.detection.fwhm

    def _keep(self, i, rows):
        """Keep some of the sources of the window `i`."""
        one = self.fits[i]
        self.units[i] = dataclasses.replace(self.units[i], sources=self.units[i].sources[rows])
        self.fits[i] = Fit(*(getattr(one, field.name)[rows] for field in dataclasses.fields(Fit)))

    def refine(self):
        """Fit again, with all that a model can show, the windows in which smooth galaxies leave more than noise."""
        correlation = self.detection.correlation
        found = zip(self.planes, self.fits, self.others, strict=True)
        self._again([i for i, (one, result, other) in enumerate(found) if rough(one, result, correlation, other)])

    def join_added(self):
        """Take added sources away that the fit has put onto another of their group, and fit these windows again.

        Again as long as there are some: the fit brings together what is left.
        """
        for _ in range(MOST_SOURCES):
            window = np.repeat(np.arange(len(self.units)), [len(unit.sources) for unit in self.units])
            group = np.array([unit.group for unit in self.units])[window]
            places, flux, flags = (
                np.concatenate([getattr(one, name) for one in self.fits]) for name in ("positions", "flux", "flags")
            )
            added, dark = flags & FLAGS["added"] > 0, (flux <= 0).any(axis=-1)
            gone = np.zeros(len(window), bool)
            for number in np.unique(group[added]):
                own = np.flatnonzero(group == number)
                gone[own] = residual_sources.repeated(places[own], added[own], dark[own], self.detection.fwhm)
            if not gone.any():
                return
            # What each had is first of all that of the source in whose place it was.
            apart = np.hypot(*(places[gone][:, None] - places[~gone]).transpose(2, 0, 1))
            apart[group[gone][:, None] != group[~gone]] = np.inf
            first = set(window[~gone][np.nanargmin(apart, axis=1)].tolist())
            changed = np.unique(window[gone]).tolist()
            for i in changed:
                self._keep(i, ~gone[window == i])
            self._in_turn(changed, first)

    def leave_out(self):
        """Fit windows again without faint sources that have the light of a brighter one: its wings, or its place.

        What such a source had is left to all windows of its group; then it is fitted to what these leave. If it is
        still larger than its window or leaves its place, or nothing is left, it is kept as `truncated`, without a
        model: how bright it is is what detection says, as the fit was wrong. One that was added is in the data, but not
        as large: its window is fitted again on the pixels of the first fit alone.
        """
        added = [one.flags & FLAGS["added"] > 0 for one in self.fits]
        self._again([i for i in range(len(self.units)) if (self._astray(i) & added[i]).any()], grow=False)
        alone = {}
        for i, unit in enumerate(self.units):
            out = self._astray(i) & ~added[i]
            if out.any():
                alone[i] = dataclasses.replace(unit, sources=unit.sources[out])
                self._keep(i, ~out)
        if not alone:
            return
        self._in_turn(list(alone), set())
        self.join_added()
        self._fit_alone(alone)

    def give_back(self):
        """Give bright sources the light of faint ones that left their place for it, and fit these to what is left.

        A galaxy that no one profile fits draws what was seen beside it into its middle, and is two profiles there.
        Images and fluxes are added, shapes are means by flux, and errors those of independent fluxes, which is more
        than they are.
        """
        alone, flags = {}, {}
        for i, unit in enumerate(self.units):
            one, brighter, moved = self.fits[i], self._brighter(i), self._strayed(unit, self.fits[i])
            lit = np.nan_to_num(one.flux).sum(axis=-1) > 0
            # Without a model it has no light to give.
            far = (moved > 1) & lit
            apart = residual_sources.distances(one.positions) / self.detection.fwhm
            apart[~brighter] = np.inf
            apart[:, far | ~lit] = np.inf
            apart[~np.isfinite(apart)] = np.inf
            gone = far & (apart.min(axis=1, initial=np.inf) < 1)
            for row in np.flatnonzero(gone):
                _add(one, int(np.argmin(apart[row])), row)
            if gone.any():
                alone[i] = dataclasses.replace(unit, sources=unit.sources[gone])
                flags[i] = one.flags[gone] & FLAGS["added"]
                self._keep(i, ~gone)
        if alone:
            self.others = _others(self.units, self.fits, self.split)
            self._fit_alone(alone, flags)

    def _fit_alone(self, alone, flags=None):
        """Fit sources to what is left beside all others, and keep those it does not show without a model.

        `alone` has windows of these sources by the number of that which they were in, `flags` what they have of old.
        """
        left = [_less(self.planes[i], _total(self.fits[i], self.others[i])) for i in alone]
        found = self.fitter(list(alone.values()), left, self.sources, smooth=True, grow=False)
        for (i, unit), rest, one in zip(alone.items(), left, found, strict=True):
            one.flags |= (flags or {}).get(i, 0)
            flux, width = one.flux.sum(axis=-1), np.sqrt(np.nansum(one.flux_width**2, axis=-1))
            # What was added has nothing but its light to speak for it.
            least = np.where(one.flags & FLAGS["added"], _LEAST_SNR * width, 0)
            without = beyond(rest, one) | ~(flux > least) | (self._strayed(unit, one) > 1)
            one.image[without], one.flux[without] = 0, np.nan
            one.flags[without] |= FLAGS["truncated"]
            both = [(getattr(self.fits[i], field.name), getattr(one, field.name)) for field in dataclasses.fields(Fit)]
            self.fits[i] = Fit(*(np.concatenate(pair) for pair in both))
            rows = np.concatenate([self.units[i].sources, unit.sources])
            self.units[i] = dataclasses.replace(self.units[i], sources=rows)
        self.others = _others(self.units, self.fits, self.split)

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


def mates(units):
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
            shared = _shared(unit, other)
            if shared:
                y0, y1, x0, x1 = shared
                part = fits[j].image[:, y0 - other.y0 : y1 - other.y0, x0 - other.x0 : x1 - other.x0]
                model[y0 - unit.y0 : y1 - unit.y0, x0 - unit.x0 : x1 - unit.x0] += np.nan_to_num(part).sum(axis=0)
        found[i] = model
    return found


def _shared(one, other):
    """Return the pixels of the field that two windows have in common, (y0, y1, x0, x1); None where there are none."""
    y0, y1 = max(one.y0, other.y0), min(one.y0 + one.side, other.y0 + other.side)
    x0, x1 = max(one.x0, other.x0), min(one.x0 + one.side, other.x0 + other.side)
    return (y0, y1, x0, x1) if y0 < y1 and x0 < x1 else None


def _total(fit, others):
    """Return the model of all sources of a window, and of others in it, (y, x, band)."""
    return np.nan_to_num(fit.image).sum(axis=0) + (0 if others is None else others)


def _less(planes, model):
    """Return planes with a model subtracted."""
    if model is None:
        return planes
    return {**planes, "image": np.where(planes["mask"], np.float32(0), planes["image"] - model)}


def _add(one, host, row):
    """Make a source of a fit a part of another, `host`, in place."""
    flux = [max(np.nansum(one.flux[number]), 0) for number in (host, row)]
    share = flux[1] / max(sum(flux), 1e-30)
    for values in (one.image, one.flux):
        values[host] += np.nan_to_num(values[row])
    for values in (one.flux_error, one.flux_width):
        values[host] = np.hypot(values[host], np.nan_to_num(values[row]))
    one.shape[host] = (1 - share) * one.shape[host] + share * one.shape[row]


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
    start = np.stack([copies["x"], copies["y"]], axis=-1)[:known]
    step = result.positions[:known] - start
    # A source that goes further has gone to another.
    step *= np.minimum(1, _FARTHEST * fwhm / np.maximum(np.hypot(*step.T), 1e-9))[:, None]
    copies["x"], copies["y"] = np.vstack([start + step, result.positions[known:]]).T.copy()
    sigma = fwhm / 2.3548
    for key, value in {"a": sigma, "b": sigma, "theta": 0.0, "snr": np.nan, "row": -1}.items():
        copies[key][known:] = value
    first = len(sources["x"])
    unit = dataclasses.replace(unit, sources=first + np.arange(n))
    return {key: np.concatenate([values, copies[key]]) for key, values in sources.items()}, unit
