"""Windows about groups of sources, cut from a field and put together in batches of few shapes."""

import dataclasses

import numpy as np

SIDES = (48, 64, 96, 128)
"""Sides of windows in pixels; windows of one side and number of sources make batches, so both are few."""
COUNTS = (1, 2, 4, 8, 16)
"""Numbers of sources that a window is padded to."""
MOST_SOURCES = COUNTS[-1]
_LARGE_SIDES = (192, 256)
# Semi-axes that the window of a single source reaches at least.
_SEMI_AXES = 3.0
# Side in pixels of the largest window that is read, not fitted.
_WIDEST = 2048
BATCH = 32
# Numbers in one array (n, source, y, x, band) of a batch.
_BATCH_NUMBERS = 1 << 22
# Part of the light of a pixel by which models are wrong whatever their parameters: PSFs are not known better.
_MODEL_ERROR = 0.02


@dataclasses.dataclass
class Unit:
    """Sources that are looked at together, and their window.

    Parameters
    ----------
    group : int
    sources : int array, (n,)
        Rows in the table of sources.
    x0, y0, side : int
        Lower-left pixel of the window in the field, and its side.
    truncated : bool
        Whether the source is larger than the window.
    """

    group: int
    sources: np.ndarray
    x0: int
    y0: int
    side: int
    truncated: bool = False

    @property
    def count(self):
        """Number of sources that the window is padded to."""
        return next(count for count in COUNTS if count >= len(self.sources))


def make_units(sources, rows, pad):
    """Put the sources of a group into windows.

    Parameters
    ----------
    sources : dict of arrays
        See `galzoo.field.tiles.detect_tile`.
    rows : int array
        Those of the group.
    pad : int
        Pixels between the box of a source and the edge of its window.

    Returns
    -------
    list of Unit
        One where at most `MOST_SOURCES` fit into the largest window, else several of near sources. A source that is
        larger than that gets a window of its own, of up to 256 pixels, about its position if it is larger still
        (`truncated`).
    """
    low = np.array([sources["x0"][rows].min(), sources["y0"][rows].min()])
    high = np.array([sources["x1"][rows].max(), sources["y1"][rows].max()])
    need = int((high - low).max()) + 2 * pad
    group = int(sources["group"][rows[0]])
    alone = len(rows) == 1
    if alone:
        # Peaks about a large galaxy take pixels of its rim from its box.
        place, reach = np.array([sources["x"][rows[0]], sources["y"][rows[0]]]), _SEMI_AXES * sources["a"][rows[0]]
        low, high = np.minimum(low, np.floor(place - reach)), np.maximum(high, np.ceil(place + reach) + 1)
        low, high = low.astype(int), high.astype(int)
        need = int((high - low).max()) + 2 * pad
    if alone or len(rows) <= MOST_SOURCES and need <= SIDES[-1]:
        side = next((side for side in SIDES + (_LARGE_SIDES if alone else ()) if side >= need), _LARGE_SIDES[-1])
        truncated = need > side
        if truncated:
            low = high = np.round([sources["x"][rows[0]], sources["y"][rows[0]]]).astype(int)
        x0, y0 = ((low + high - side) // 2).tolist()
        return [Unit(group, rows, x0, y0, side, truncated)]
    places = np.stack([sources["x"][rows], sources["y"][rows]], axis=-1)
    order = np.argsort(places[:, np.argmax(np.ptp(places, axis=0))], kind="stable")
    half = len(rows) // 2
    return [unit for part in (order[:half], order[half:]) for unit in make_units(sources, np.sort(rows[part]), pad)]


def wide_unit(unit, sources, number, reach):
    """Return a unit of the source `number` of another alone, with a window of `reach` semi-axes on each side of it."""
    row = unit.sources[number]
    half = int(np.clip(np.ceil(reach * sources["a"][row]), unit.side // 2, _WIDEST // 2))
    x0, y0 = int(round(sources["x"][row])) - half, int(round(sources["y"][row])) - half
    return Unit(unit.group, unit.sources[[number]], x0, y0, 2 * half + 1)


def group_unit(unit, sources, number):
    """Return a unit of the source `number` of another alone, with a window about it that holds all of its group."""
    row, group = unit.sources[number], np.flatnonzero(sources["group"] == unit.group)
    place = int(round(sources["x"][row])), int(round(sources["y"][row]))
    ends = [(sources[f"{axis}0"][group].min(), sources[f"{axis}1"][group].max()) for axis in "xy"]
    half = max(abs(end - centre) for centre, pair in zip(place, ends, strict=True) for end in pair)
    half = int(np.clip(np.ceil(half), unit.side // 2, _WIDEST // 2))
    return Unit(unit.group, unit.sources[[number]], place[0] - half, place[1] - half, 2 * half + 1)


def owners(unit, rows, sources, fwhm):
    """Return which source is brightest in each pixel of a window, as rows of `sources`, int (y, x).

    By distance alone a faint source beside a large galaxy would own half of that one's light. Before anything is
    fitted, light is taken to be the signal-to-noise ratio of the peak over 1 + (distance / FWHM)^2.

    Parameters
    ----------
    unit : Unit
    rows : int array
        Sources to choose from; of those without a signal-to-noise ratio the least of the others is taken.
    sources : dict of arrays
    fwhm : float
        Pixels.
    """
    y, x = np.ogrid[unit.y0 : unit.y0 + unit.side, unit.x0 : unit.x0 + unit.side]
    snr = np.asarray(sources["snr"], float)[rows]
    known = np.isfinite(snr) & (snr > 0)
    snr = np.where(known, snr, snr[known].min() if known.any() else 1.0)
    most, owner = np.full((unit.side, unit.side), -np.inf), np.full((unit.side, unit.side), rows[0])
    for row, peak in zip(rows, snr, strict=True):
        light = peak / (1 + ((x - sources["x"][row]) ** 2 + (y - sources["y"][row]) ** 2) / fwhm**2)
        owner = np.where(light > most, row, owner)
        most = np.maximum(light, most)
    return owner


def cut(field, segmentation, unit):
    """Read the window of a unit.

    Returns
    -------
    dict of arrays
        What `Field.read` gives, ``own`` (y, x), True on the group's footprint, and ``other``, True on that of others;
        ``inside``, the rows and columns of the window that are in the field, (y0, y1, x0, x1); ``model_variance``
        (y, x, band), by which models may be wrong beside the noise.
    """
    y0, x0, side = unit.y0, unit.x0, unit.side
    planes = field.read(y0, y0 + side, x0, x0 + side)
    labels = np.zeros((side, side), np.int32)
    top, bottom, left, right = max(y0, 0), min(y0 + side, field.shape[0]), max(x0, 0), min(x0 + side, field.shape[1])
    labels[top - y0 : bottom - y0, left - x0 : right - x0] = segmentation[top:bottom, left:right]
    planes["own"] = labels == unit.group + 1
    planes["other"] = (labels != 0) & ~planes["own"]
    light = np.where(planes["mask"], 0, np.maximum(planes["image"], 0))
    planes["model_variance"] = np.float32(_MODEL_ERROR**2) * light**2
    planes["inside"] = (top - y0, bottom - y0, left - x0, right - x0)
    return planes


def batch_size(side, count, bands):
    """Return how many windows go into a batch, so that the memory of one is bounded."""
    return int(np.clip(_BATCH_NUMBERS // (side**2 * count * bands), 1, BATCH))


def window_batch(units, planes, sources, psf, count):
    """Put windows of one side together.

    Parameters
    ----------
    units : list of Unit
    planes : list of dict
        As of `cut`, one a unit.
    sources : dict of arrays
        With ``x, y`` in pixels of the field.
    psf : callable
        ``psf(x, y)`` returns PSFs (n, p, p, band) at n positions in pixels.
    count : int
        Number of sources that positions are padded to.

    Returns
    -------
    dict of arrays
        ``image, variance, model_variance, mask`` (n, y, x, band), where light of other groups is masked; ``psf``
        (n, p, p, band), at the middle of each window; ``positions`` (n, source, 2) in pixels of the window;
        ``n_sources`` (n,).
    """
    places = np.zeros((len(units), count, 2), np.float32)
    for row, unit in enumerate(units):
        places[row, : len(unit.sources), 0] = sources["x"][unit.sources] - unit.x0
        places[row, : len(unit.sources), 1] = sources["y"][unit.sources] - unit.y0
    batch = {key: np.stack([one[key] for one in planes]) for key in ("image", "variance", "model_variance", "mask")}
    batch["positions"] = places
    batch["n_sources"] = np.array([len(unit.sources) for unit in units], np.int32)
    middle = [(unit.x0 + (unit.side - 1) / 2, unit.y0 + (unit.side - 1) / 2) for unit in units]
    batch["psf"] = np.asarray(psf(*np.array(middle).T), np.float32)
    hide(batch, np.stack([one["other"] for one in planes]))
    return batch


def hide(batch, pixels):
    """Mask pixels (n, y, x) of a batch in all bands, in place."""
    batch["mask"] = batch["mask"] | pixels[..., None]
    batch["image"] = np.where(batch["mask"], np.float32(0), batch["image"])
