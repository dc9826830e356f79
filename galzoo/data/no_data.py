"""Pixels that hold no measurement, by their values: zeros where no exposure reached, and what gaps are filled with."""

import logging

import numpy as np

logger = logging.getLogger(__name__)

# Numbers that gaps are filled with, and the least integers of 16 and 32 bits; near the sky -99 may be a measurement.
_MARKS = (-99.0, -999.0, -9999.0, -99999.0, -32768.0, -2147483648.0)
# Marks lie so many standard deviations below the sky; another value does if it is the least and comes so often.
_FAR, _OFTEN = 20.0, 3
# Zeros are a gap in blocks of so many a side, whatever a noise map says; unless they are more than this part of the
# image, or this part of its pixels are zeros in shorter rows.
_BLOCK, _MOST_ZERO, _MOST_SCATTERED = 5, 0.5, 0.01
# Rows that are looked at, spread over the image, and the least number of pixels that tell of the sky.
_ROWS, _LEAST = 64, 50


def some_rows(read, shape):
    """Return rows spread over an image, (rows, x), as `read` of y0, y1, x0, x1 gives them."""
    rows = np.unique(np.linspace(0, shape[0] - 1, _ROWS).astype(int))
    return np.stack([read(row, row + 1, 0, shape[1])[0] for row in rows])


def sky_of(plane):
    """Return median and scatter of a plane's pixels, and those looked at; NaN where there are too few.

    Pixels like the one beside them are left out: they may be what a gap is filled with.
    """
    values = some_rows(plane.read, plane.shape).astype(np.float64)
    sky = values[:, :-1][values[:, :-1] != values[:, 1:]]
    sky = sky[np.isfinite(sky)]
    if len(sky) < _LEAST:
        return np.nan, np.nan, values
    middle = np.median(sky)
    return middle, 1.4826 * np.median(np.abs(sky - middle)), values


def fills_of(plane):
    """Return the values, far below the sky, that a plane has in place of measurements; say which they are.

    Parameters
    ----------
    plane : Plane

    Returns
    -------
    list of float
    """
    middle, scatter, values = sky_of(plane)
    limit = middle - _FAR * scatter
    low = values[values < limit]
    if not len(low):
        return []
    found = [mark for mark in _MARKS if (low == mark).any()]
    least = low[np.isfinite(low)].min(initial=np.inf)
    if least not in found and scatter > 0 and np.sum(low == least) >= _OFTEN:
        found.append(float(least))
    for fill in found:
        logger.warning(
            "%s: pixels of exactly %g, far below the sky (%.4g), are taken as no data", plane.name, fill, middle
        )
    return found


def has_gaps(plane):
    """Return whether areas of exact zeros of a plane are gaps, though a noise map may say that they are measured.

    They are, unless most of the image is 0, as where it has no noise, or zeros lie scattered, as where it is clipped.
    """
    from scipy import ndimage

    zero = some_rows(plane.read, plane.shape) == 0
    alone = zero & ~ndimage.binary_opening(zero, np.ones((1, _BLOCK), bool))
    return zero.mean() < _MOST_ZERO and alone.mean() < _MOST_SCATTERED


def without_data(plane, y0, y1, x0, x1, pixels, noise=None):
    """Return which pixels of a window hold no data, bool (y, x).

    Exact zeros, 3 by 3 and more of them, are where no exposure reached a coadd; where a noise map says otherwise 5 by 5
    are, see `has_gaps`, which a log line says. In counts zeros are a measurement, so images of whole numbers have none.

    Parameters
    ----------
    plane : Plane
        The answer for a pixel is the same in every window.
    y0, y1, x0, x1 : int
        The window.
    pixels : array, (y, x)
        What `plane` has in it.
    noise : array, (y, x), optional
        What the noise map of `plane` has in it: above 0 where it takes a pixel for measured.
    """
    filled = np.isin(pixels, plane.fills) if plane.fills else np.zeros(pixels.shape, bool)
    empty = pixels == 0
    measured = empty if noise is None else empty & (noise > 0)
    if not measured.any() or plane.holds_counts:
        return filled
    if noise is not None and not plane.has_gaps:
        if measured.mean() > _MOST_ZERO:
            _say_once(plane, "%s: most pixels are exactly 0, and measured by the noise map; --flags masks some")
        return filled
    from scipy import ndimage

    # Of a gap the ragged edge, too, where a few pixels do not tell of one.
    size, edge = (3, 0) if noise is None else (_BLOCK, _BLOCK)
    # A block that holds a pixel reaches so much further; beyond the image nothing is known against it.
    reach = size - 1 + edge
    low_y, low_x = max(y0 - reach, 0), max(x0 - reach, 0)
    wide = plane.read(low_y, min(y1 + reach, plane.shape[0]), low_x, min(x1 + reach, plane.shape[1])) == 0
    block = np.ones((size, size), bool)
    gap = ndimage.binary_dilation(ndimage.binary_erosion(wide, block, border_value=1), block) & wide
    if edge:
        gap = ndimage.binary_dilation(gap, iterations=edge, mask=wide)
    gap = gap[y0 - low_y : y1 - low_y, x0 - low_x : x1 - low_x]
    if noise is not None and (gap & measured).any():
        _say_once(plane, "%s: areas of exactly 0 are taken as no data, though the noise map has noise there")
    return filled | gap


def _say_once(plane, text):
    if not plane.gaps_said:
        plane.gaps_said = True
        logger.warning(text, plane.name)
