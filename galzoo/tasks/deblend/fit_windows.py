"""Windows of a field, handed to a deblender in batches, and what came out for each."""

import dataclasses

import numpy as np

from galzoo.field.windows import batch_size, hide, window_batch

# Standard deviations in pixels with which positions are believed: of a catalogue, and of peaks among other sources.
_LISTED_ERROR, _DETECTED_ERROR = 0.3, 1.0


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
    position_error : array, (n, 2)
        NaN where the deblender does not say.
    """

    image: np.ndarray
    flux: np.ndarray
    flux_error: np.ndarray
    flux_width: np.ndarray
    positions: np.ndarray
    shape: np.ndarray
    shape_error: np.ndarray
    flags: np.ndarray
    position_error: np.ndarray


def fit(deblend, units, planes, sources, psf, sizes, hidden=None, smooth=False, grow=True):
    """Deblend units in batches.

    Parameters
    ----------
    deblend : callable
        Takes a batch of NumPy arrays, returns `Deblended`.
    units : list of Unit
    planes : list of dict
        As of `galzoo.field.windows.cut`, one a unit.
    sources : dict of arrays
    psf : callable
        ``psf(x, y)`` returns PSFs (n, p, p, band) at n positions in pixels.
    sizes : dict
        (side, count) to the number of windows in a batch.
    hidden : list of bool arrays, (y, x), optional
        Pixels not to fit, beside bad ones and those of other groups.
    smooth : bool
        Passed on in the batch: leave in the residual what smooth profiles cannot show.
    grow : bool
        Passed on in the batch where it is not so: sources may be fitted to more pixels as they become larger.

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
            batch = window_batch([units[i] for i in chosen], [planes[i] for i in chosen], sources, psf, count)
            batch |= {"smooth": smooth, "position_error": error} | ({} if grow else {"grow": False})
            if hidden is not None:
                hide(batch, np.stack([hidden[i] for i in chosen]))
            answer = deblend(batch)
            for row, number in enumerate(chosen):
                found[number] = _take(answer, row, units[number])
    return found


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
        position_error=part(answer.position_error, 2),
    )
