"""Sky level and sky noise of a large image on a mesh of fixed cells, so that they do not depend on how it is tiled."""

import numpy as np

from galzoo.errors import InputError

CELL = 128
"""Pixels on a side of a cell."""
_CLIP = 3.0
# Standard deviation of a unit Gaussian that is cut at 3 sigma.
_CLIPPED_SIGMA = 0.98658
# Share of the pixels of which the mean is taken for their median.
_MIDDLE = 0.4
# A cell with fewer good pixels takes the values of its neighbours.
_LEAST_PIXELS = 50
# Beyond this skewness the cell is full of light, and the median is the safer level (SExtractor).
_CROWDED = 0.3


class Mesh:
    """Level and noise of the sky at any pixel, by linear interpolation between the middles of cells.

    Between these and the border the level goes on as it goes between the last two cells, the noise is constant.

    Parameters
    ----------
    level, rms : array, (cell_y, cell_x, band)
    dead : bool array, (cell_y, cell_x, band)
        Cells without noise: the image is empty there.
    shape : (int, int)
        Size of the image in pixels, (y, x).

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393, section 4: clipped at 3 sigma, mode 2.5 median - 1.5 mean, 3 x 3 median
    filter.
    """

    def __init__(self, level, rms, dead, shape):
        self.level, self.rms, self.dead, self.shape = level, rms, dead, tuple(shape)

    def at(self, y0, y1, x0, x1):
        """Return level, rms (float64) and dead (bool) in the pixels [y0, y1) x [x0, x1), each (y, x, band)."""
        places = [
            _places(start, stop, size, cells)
            for start, stop, size, cells in zip((y0, x0), (y1, x1), self.shape, self.level.shape[:2], strict=True)
        ]
        return (
            _interpolate(self.level, *places),
            _interpolate(self.rms, *map(_held, places)),
            self.dead[places[0][2]][:, places[1][2]],
        )


def measure_sky(read, shape, names, need_noise, cell=CELL, first=None):
    """Measure the sky of an image.

    Parameters
    ----------
    read : callable
        ``read(y0, y1, x0, x1)`` returns pixels (y, x, band), NaN where bad; it is called row of cells by row of cells.
    shape : (int, int)
        Size of the image in pixels, (y, x).
    names : sequence of str
        Name of each band in errors.
    need_noise : bool
        Whether the variance will be taken from here.
    cell : int
        Side of a cell in pixels.
    first : Mesh, optional
        An earlier measurement, taken for bands of which `read` leaves nothing.

    Returns
    -------
    Mesh

    Raises
    ------
    InputError
        If a band has no good pixel in a whole cell, or no noise where `need_noise`.
    """
    rows, columns = (_edges(size, cell) for size in shape)
    level = np.full((len(rows) - 1, len(columns) - 1, len(names)), np.nan)
    rms = level.copy()
    for row, (y0, y1) in enumerate(zip(rows[:-1], rows[1:], strict=True)):
        strip = read(y0, y1, 0, shape[1])
        for column, (x0, x1) in enumerate(zip(columns[:-1], columns[1:], strict=True)):
            for band in range(len(names)):
                level[row, column, band], rms[row, column, band] = _clipped(strip[:, x0:x1, band])
    for band in range(len(names)):
        if first is not None and not (np.nan_to_num(rms[..., band]) > 0).any():
            level[..., band], rms[..., band] = first.level[..., band], first.rms[..., band]
    for band, name in enumerate(names):
        if not np.isfinite(level[..., band]).any():
            zeros = "; exact zeros are no data without --variance, --rms or --weight" if need_noise else ""
            raise InputError(f"{name}: it has too few good pixels to see the sky; check image, mask and noise{zeros}")
        if need_noise and not np.nanmax(rms[..., band]) > 0:
            raise InputError(f"{name}: the sky has no noise to estimate; give --variance, --rms or --weight")
    # With a noise map a part without noise is the image's own affair.
    dead = (rms == 0) & need_noise
    for values in (level, rms):
        values[dead] = np.nan
        for band in range(len(names)):
            values[..., band] = _smooth(values[..., band])
    return Mesh(level, rms, dead, shape)


def _edges(size, cell):
    return np.round(np.linspace(0, size, max(1, round(size / cell)) + 1)).astype(int)


def _clipped(pixels):
    """Return mode and standard deviation of pixels, clipped until nothing changes; NaN where too few are good."""
    values = np.sort(pixels, axis=None)
    values = values[: np.searchsorted(values, np.inf)]
    if len(values) < min(_LEAST_PIXELS, pixels.size // 4 + 1):
        return np.nan, np.nan
    even = _spread_ties(values)
    # The MAD starts the clipping: a bright star would stretch the standard deviation over everything.
    middle = _middle(even)
    spread = 1.4826 * np.median(np.abs(values - middle))
    spread = spread if spread > 0 else values.std()
    low, high = 0, len(values)
    for _ in range(20):
        new = (
            np.searchsorted(values, middle - _CLIP * spread),
            np.searchsorted(values, middle + _CLIP * spread, "right"),
        )
        if new == (low, high) or new[1] - new[0] < 2:
            break
        low, high = new
        middle, spread = _middle(even[low:high]), values[low:high].std()
    kept = values[low:high]
    mean = kept.mean()
    # Rounding leaves a trace of spread in an image that is constant.
    if spread <= 1e-7 * abs(middle):
        return middle, 0.0
    mode = 2.5 * middle - 1.5 * mean if abs(mean - middle) < _CROWDED * spread else middle
    return mode, spread / _CLIPPED_SIGMA


def _middle(values):
    """Return the mean of the middle part of sorted values.

    The pixels of many cameras are whole counts, and lie in steps still where each was calibrated a little differently:
    one pixel alone, the median, is off by up to half a step.
    """
    out = int((1 - _MIDDLE) / 2 * len(values))
    return values[out : len(values) - out].mean()


def _spread_ties(values):
    """Return sorted values, those that are tied evenly from half-way to the value below to half-way to that above."""
    steps, first, many = np.unique(values, return_index=True, return_counts=True)
    if len(steps) < 2:
        return values
    between = (steps[1:] + steps[:-1]) / 2
    edges = np.concatenate([[2 * steps[0] - between[0]], between, [2 * steps[-1] - between[-1]]])
    share = (np.arange(len(values)) - np.repeat(first, many) + 0.5) / np.repeat(many, many)
    return np.repeat(edges[:-1], many) + share * np.repeat(np.diff(edges), many)


def _smooth(values):
    """Median of 3 x 3 cells; cells without a value take the median of all."""
    from scipy.ndimage import generic_filter

    if not np.isfinite(values).any():
        return np.zeros_like(values)
    filled = np.where(np.isfinite(values), values, np.nanmedian(values))
    return generic_filter(filled, np.median, size=3, mode="nearest")


def _places(start, stop, size, cells):
    """Return for each pixel of an axis the cell before it, the share of the next, and the cell that it is in.

    The share is below 0 or above 1 outside the middles of the border cells.
    """
    cell = (np.arange(start, stop) + 0.5) * cells / size
    before = np.clip(np.floor(cell - 0.5).astype(int), 0, max(cells - 2, 0))
    share = cell - 0.5 - before if cells > 1 else np.zeros(stop - start)
    return before, share, np.clip(cell.astype(int), 0, cells - 1)


def _held(places):
    """Return places whose shares end at the middles of the border cells: a noise must not be continued below 0."""
    before, share, cell = places
    return before, np.clip(share, 0, 1), cell


def _interpolate(values, rows, columns):
    # Element by element: matrix products would round by the size of the piece.
    (row, down, _), (column, right, _) = rows, columns
    next_row, next_column = np.minimum(row + 1, values.shape[0] - 1), np.minimum(column + 1, values.shape[1] - 1)
    right, down = right[None, :, None], down[:, None, None]
    upper = values[row][:, column] * (1 - right) + values[row][:, next_column] * right
    lower = values[next_row][:, column] * (1 - right) + values[next_row][:, next_column] * right
    return upper * (1 - down) + lower * down
