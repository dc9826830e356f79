"""Narrow gaps of masked pixels, such as bad columns and trails, filled so that a star across one is one peak."""

import numpy as np

# Widest gap, in FWHM of the PSF and in pixels, and the noise of a pixel in parts of the light by which it is filled.
_WIDEST, _MOST, _NOISE = 1.7, 8, 0.02


def bridge_gaps(planes, fwhm):
    """Return planes whose narrow gaps hold what their neighbours along a row or a column say.

    A masked pixel takes the narrower of its gaps. It is predicted from the two pixels at either side by the correlation
    that light has behind a Gaussian PSF, which makes the top of a star where the gap is on it.

    Parameters
    ----------
    planes : dict of arrays, (y, x, band)
        ``image`` without sky, ``variance`` and ``mask``.
    fwhm : float
        Of the PSF in pixels; gaps of more than 1.7 times that, or of more than 8 pixels, stay.

    Returns
    -------
    dict of arrays
        The planes; those given where nothing is filled.
    """
    mask = planes["mask"]
    if not mask.any():
        return planes
    image, variance, left = (planes[key].copy() for key in ("image", "variance", "mask"))
    before, after = np.stack([_distances(mask, axis) for axis in (0, 1)], axis=1)
    widths = before + after - 1
    narrow, width = widths.argmin(axis=0), widths.min(axis=0)
    fill = mask & (width <= min(round(_WIDEST * fwhm), _MOST))
    for axis in (0, 1):
        at = np.array(np.nonzero(fill & (narrow == axis)))
        near = np.stack([-before[axis][tuple(at)], after[axis][tuple(at)]])
        far = near + np.array([[-1], [1]])
        seen = np.stack([_good(mask, at, axis, offset) for offset in far])
        kinds, kind = np.unique(np.concatenate([near, seen]), axis=1, return_inverse=True)
        for number, (*edges, start, end) in enumerate(kinds.T):
            offsets = np.array([*edges, *[edges[0] - 1] * start, *[edges[1] + 1] * end])
            weight = _weights(offsets, fwhm / 2.3548)
            which = at[:, kind == number]
            taps = np.repeat(which[:, None], len(offsets), axis=1)
            taps[axis] += offsets[:, None]
            known = planes["variance"][tuple(taps)]
            image[tuple(which)] = weight @ planes["image"][tuple(taps)]
            variance[tuple(which)] = np.maximum(np.square(weight) @ known, known.max(axis=0))
            left[tuple(which)] = False
    return {**planes, "image": image, "variance": variance, "mask": left}


def _distances(mask, axis):
    """Return how far the next good pixels before and after each pixel are along an axis; more than any gap if none."""
    lines = np.moveaxis(mask, axis, 0)
    index = np.arange(len(lines), dtype=np.int32)[:, None, None]
    none = len(lines) + _MOST
    last = np.maximum.accumulate(np.where(lines, -none, index), axis=0)
    following = np.minimum.accumulate(np.where(lines, 2 * none, index)[::-1], axis=0)[::-1]
    return np.moveaxis(index - last, 0, axis), np.moveaxis(following - index, 0, axis)


def _good(mask, at, axis, offset):
    """Return whether the pixels so far off others along an axis are in the field and good."""
    place = at[axis] + offset
    inside = (place >= 0) & (place < mask.shape[axis])
    at = at.copy()
    at[axis] = np.where(inside, place, 0)
    return inside & ~mask[tuple(at)]


def _weights(offsets, sigma):
    """Return the weights by which pixels so far off predict one, behind a Gaussian PSF of `sigma` pixels."""
    apart = offsets[:, None] - offsets[None]
    known = np.exp(-(apart**2) / (4 * sigma**2)) + _NOISE * np.eye(len(offsets))
    return np.linalg.solve(known, np.exp(-(offsets**2) / (4 * sigma**2)))
