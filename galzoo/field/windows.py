"""Windows about groups of sources: cut from a field, handed to a deblender in batches of few shapes, and taken back."""

import dataclasses

import numpy as np

from galzoo.contracts.deblended import Deblended
from galzoo.data.resample import resample, resample_mask, resample_variance
from galzoo.errors import InputError

SIDES = (48, 64, 96, 128)
"""Sides of windows in pixels; windows of one side and number of sources make batches, so both are few."""
COUNTS = (1, 2, 4, 8, 16)
"""Numbers of sources that a window is padded to."""
MOST_SOURCES = COUNTS[-1]
_LARGE_SIDES = (192, 256)
BATCH = 32
# Standard deviations in pixels with which positions are believed: of a catalogue, and of peaks among other sources.
_LISTED_ERROR, _DETECTED_ERROR = 0.3, 1.0
# Numbers in one array (n, source, y, x, band) of a batch.
_BATCH_NUMBERS = 1 << 22


@dataclasses.dataclass
class Unit:
    """Sources that are fitted together, and their window.

    Parameters
    ----------
    group : int
    sources : int array, (n,)
        Rows in the table of sources.
    x0, y0, side : int
        Lower-left pixel of the window in the field, and its side.
    """

    group: int
    sources: np.ndarray
    x0: int
    y0: int
    side: int

    @property
    def count(self):
        """Number of sources that the window is padded to."""
        return next(count for count in COUNTS if count >= len(self.sources))


@dataclasses.dataclass
class Fit:
    """What came out for a unit; `n` sources, window of `y` x `x` pixels.

    Parameters
    ----------
    image : array, (n, y, x, band)
    flux, flux_error, flux_width : array, (n, band)
        NaN where the deblender does not say.
    positions : array, (n, 2)
        x, y in pixels of the field.
    shape, shape_error : array, (n, 3)
        e1, e2, half-light radius in pixels; NaN where the deblender does not say.
    flags : int array, (n,)
    """

    image: np.ndarray
    flux: np.ndarray
    flux_error: np.ndarray
    flux_width: np.ndarray
    positions: np.ndarray
    shape: np.ndarray
    shape_error: np.ndarray
    flags: np.ndarray


def make_units(sources, rows, pad):
    """Put the sources of a group into windows.

    Parameters
    ----------
    sources : dict of arrays
        See `galzoo.field.detection.detect_tile`.
    rows : int array
        Those of the group.
    pad : int
        Pixels between the box of a source and the edge of its window.

    Returns
    -------
    list of Unit
        One where at most `MOST_SOURCES` fit into the largest window, else several of near sources. A source that is
        larger than that gets a window of its own, of up to 256 pixels, about its position if it is larger still.
    """
    low = np.array([sources["x0"][rows].min(), sources["y0"][rows].min()])
    high = np.array([sources["x1"][rows].max(), sources["y1"][rows].max()])
    need = int((high - low).max()) + 2 * pad
    group = int(sources["group"][rows[0]])
    alone = len(rows) == 1
    if alone or len(rows) <= MOST_SOURCES and need <= SIDES[-1]:
        side = next((side for side in SIDES + (_LARGE_SIDES if alone else ()) if side >= need), _LARGE_SIDES[-1])
        if need > side:
            low = high = np.round([sources["x"][rows[0]], sources["y"][rows[0]]]).astype(int)
        x0, y0 = ((low + high - side) // 2).tolist()
        return [Unit(group, rows, x0, y0, side)]
    places = np.stack([sources["x"][rows], sources["y"][rows]], axis=-1)
    order = np.argsort(places[:, np.argmax(np.ptp(places, axis=0))], kind="stable")
    half = len(rows) // 2
    return [unit for part in (order[:half], order[half:]) for unit in make_units(sources, np.sort(rows[part]), pad)]


def cut(field, segmentation, unit):
    """Read the window of a unit.

    Returns
    -------
    dict of arrays
        What `Field.read` gives, ``own`` (y, x), True on the group's footprint, and ``other``, True on that of others.
    """
    y0, x0, side = unit.y0, unit.x0, unit.side
    planes = field.read(y0, y0 + side, x0, x0 + side)
    labels = np.zeros((side, side), np.int32)
    top, bottom, left, right = max(y0, 0), min(y0 + side, field.shape[0]), max(x0, 0), min(x0 + side, field.shape[1])
    labels[top - y0 : bottom - y0, left - x0 : right - x0] = segmentation[top:bottom, left:right]
    planes["own"] = labels == unit.group + 1
    planes["other"] = (labels != 0) & ~planes["own"]
    planes["off"] = bool(top > y0 or left > x0 or bottom < y0 + side or right < x0 + side)
    return planes


def batch_size(side, count, bands):
    """Return how many windows go into a batch, so that the memory of one is bounded."""
    return int(np.clip(_BATCH_NUMBERS // (side**2 * count * bands), 1, BATCH))


def fit(deblend, units, planes, sources, psf, sizes, hidden=None, smooth=False):
    """Deblend units in batches.

    Parameters
    ----------
    deblend : callable
        Takes a batch of NumPy arrays, returns `Deblended`.
    units : list of Unit
    planes : list of dict
        As of `cut`, one a unit.
    sources : dict of arrays
    psf : callable
        ``psf(x, y)`` returns PSFs (n, p, p, band) at n positions in pixels.
    sizes : dict
        (side, count) to the number of windows in a batch.
    hidden : list of bool arrays, (y, x), optional
        Pixels not to fit, beside bad ones and those of other groups.
    smooth : bool
        Passed on in the batch: leave in the residual what smooth profiles cannot show.

    Returns
    -------
    list of Fit
    """
    found = [None] * len(units)
    error = _LISTED_ERROR if (sources["row"] >= 0).any() else _DETECTED_ERROR
    shapes = {}
    for number, unit in enumerate(units):
        shapes.setdefault((unit.side, unit.count), []).append(number)
    for (side, count), numbers in sorted(shapes.items()):
        size = sizes.get((side, count)) or batch_size(side, count, planes[0]["image"].shape[-1])
        for start in range(0, len(numbers), size):
            chosen = numbers[start : start + size]
            batch = _batch([units[i] for i in chosen], [planes[i] for i in chosen], sources, psf, count)
            batch |= {"smooth": smooth, "position_error": error}
            if hidden is not None:
                _hide(batch, np.stack([hidden[i] for i in chosen]))
            answer = deblend(batch)
            for row, number in enumerate(chosen):
                found[number] = _take(answer, row, units[number])
    return found


def _batch(units, planes, sources, psf, count):
    places = np.zeros((len(units), count, 2), np.float32)
    for row, unit in enumerate(units):
        places[row, : len(unit.sources), 0] = sources["x"][unit.sources] - unit.x0
        places[row, : len(unit.sources), 1] = sources["y"][unit.sources] - unit.y0
    batch = {key: np.stack([one[key] for one in planes]) for key in ("image", "variance", "mask")}
    batch["positions"] = places
    batch["n_sources"] = np.array([len(unit.sources) for unit in units], np.int32)
    middle = [(unit.x0 + (unit.side - 1) / 2, unit.y0 + (unit.side - 1) / 2) for unit in units]
    batch["psf"] = np.asarray(psf(*np.array(middle).T), np.float32)
    _hide(batch, np.stack([one["other"] for one in planes]))
    return batch


def _hide(batch, pixels):
    batch["mask"] = batch["mask"] | pixels[..., None]
    batch["image"] = np.where(batch["mask"], np.float32(0), batch["image"])


def _take(answer, row, unit):
    n, bands = len(unit.sources), answer.flux.shape[-1]

    def part(values, *size):
        return np.full((n, *size), np.nan) if values is None else np.asarray(values[row, :n], float)

    return Fit(
        image=np.asarray(answer.image[row, :n], np.float32),
        flux=part(answer.flux, bands),
        flux_error=part(answer.flux_error, bands),
        flux_width=part(answer.flux_width, bands),
        positions=part(answer.positions, 2) + [unit.x0, unit.y0],
        shape=part(answer.shape, 3),
        shape_error=part(answer.shape_error, 3),
        flags=np.zeros(n, int) if answer.flags is None else np.asarray(answer.flags[row, :n], int),
    )


def with_bands(deblend, bands, known):
    """Let a model of the bands `known` deblend data of `bands`: absent bands have no weight.

    Parameters
    ----------
    deblend : callable
    bands, known : sequence of str

    Returns
    -------
    callable
        `deblend` itself where the bands are the same.

    Raises
    ------
    InputError
        If a band of the data is none of the model's.
    """
    if tuple(bands) == tuple(known):
        return deblend
    odd = [band for band in bands if band not in known]
    if odd:
        raise InputError(f"band {odd[0]!r} is none of the model's ({', '.join(known)}); say which it is with --as")
    place = [list(known).index(band) for band in bands]

    def filled(plane, value):
        wide = np.full((*plane.shape[:-1], len(known)), value, plane.dtype)
        wide[..., place] = plane
        return wide

    def run(batch):
        wide = dict(batch)
        for key, value in (("image", 0), ("variance", np.inf), ("mask", True)):
            wide[key] = filled(batch[key], value)
        # A PSF must not be empty, whatever its weight.
        wide["psf"] = np.repeat(batch["psf"][..., :1], len(known), axis=-1)
        wide["psf"][..., place] = batch["psf"]
        answer = deblend(wide)
        changes = {
            key: None if getattr(answer, key) is None else getattr(answer, key)[..., place]
            for key in ("image", "flux", "flux_error", "flux_width", "samples", "residual")
        }
        return dataclasses.replace(answer, **changes)

    return run


def with_pixels(deblend, ratio):
    """Let a model of other pixels deblend: windows, PSFs, positions and answers are brought to and fro, keeping flux.

    Parameters
    ----------
    deblend : callable
    ratio : float
        Pixel scale of the model over that of the data.

    Returns
    -------
    callable
    """

    def there(function, plane, side):
        return np.moveaxis(function(np.moveaxis(plane, -1, 1), ratio, side), 1, -1)

    def run(batch):
        old = batch["image"].shape[1]
        new = int(np.ceil(old / ratio))
        middle, new_middle = (old - 1) / 2, (new - 1) / 2
        variance = np.where(np.isfinite(batch["variance"]), batch["variance"], 0)
        moved = dict(batch)
        moved["mask"] = there(resample_mask, batch["mask"] | ~np.isfinite(batch["variance"]), new)
        new_variance = there(resample_variance, variance, new)
        moved["mask"] |= ~(new_variance > 0)
        moved["variance"] = np.where(moved["mask"], np.inf, new_variance).astype(np.float32)
        moved["image"] = np.where(moved["mask"], 0, there(resample, batch["image"], new)).astype(np.float32)
        side = int(np.ceil(batch["psf"].shape[1] / ratio)) // 2 * 2 + 1
        psf = there(resample, batch["psf"], side)
        moved["psf"] = (psf / psf.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
        moved["positions"] = ((batch["positions"] - middle) / ratio + new_middle).astype(np.float32)
        if "position_error" in batch:
            moved["position_error"] = batch["position_error"] / ratio
        answer = deblend(moved)
        image = np.moveaxis(resample(np.moveaxis(answer.image, -1, 2), 1 / ratio, old), 2, -1).astype(np.float32)
        size = np.array([1, 1, ratio])
        return Deblended(
            image=image, flux=answer.flux, positions=(answer.positions - new_middle) * ratio + middle,
            present=answer.present, flux_error=answer.flux_error, flux_width=answer.flux_width, samples=answer.samples,
            shape=None if answer.shape is None else answer.shape * size,
            shape_error=None if answer.shape_error is None else answer.shape_error * size,
            chi2=answer.chi2, flags=answer.flags,
        )  # fmt: skip

    return run
