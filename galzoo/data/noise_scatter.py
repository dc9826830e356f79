"""Whether the sky scatters as its noise map says, where pixels may be correlated."""

import logging

import numpy as np

from galzoo.data.maps import OPTIONS

logger = logging.getLogger(__name__)

# The scatter of pixels, times their correlation, over what a noise map says: higher in a crowd.
_SAME_NOISE = 0.5, 2.5
# Noise is correlated over so many pixels, seen on pixels within so many standard deviations of the sky.
_REACH, _FAINT = 2, 3.0


def compare_noise(name, scatter, variance, kind, pixels=None):
    """Say where the scatter of the sky is not that of a noise map by far: one given as another kind is, or a mask.

    A map of resampled images may have the noise of independent pixels, which scatter more than those there are.

    Parameters
    ----------
    name : str
        Of the image, for the warning.
    scatter : float
        In nJy.
    variance : array
        As `galzoo.data.maps.variance_of` has it of a part of the map, nJy^2.
    kind : {"weight", "rms", "variance"}
    pixels : callable, optional
        Returns some of the pixels for `noise_correlation`, asked for where they scatter less than the map says.
    """
    values = variance[np.isfinite(variance)]
    if not len(values) or not scatter > 0:
        return
    said = np.sqrt(np.median(values))
    ratio = scatter / said
    if ratio < _SAME_NOISE[0] and pixels is not None:
        ratio *= noise_correlation(pixels())
    if not _SAME_NOISE[0] < ratio < _SAME_NOISE[1]:
        logger.warning(
            "%s: its sky scatters by %.3g nJy, the noise map says %.3g; check that the map is %s, in the unit "
            "of the image", name, scatter, said, OPTIONS[kind].rpartition(" (")[0],
        )  # fmt: skip


def noise_correlation(pixels):
    """Return how much more sums over sky pixels scatter than those of independent ones would, at least 1.

    Light too faint to be seen raises it.

    Parameters
    ----------
    pixels : array, (..., y, x)
        NaN where bad.
    """
    sky = np.asarray(pixels, np.float64)
    good = sky[np.isfinite(sky)]
    if not len(good):
        return 1.0
    sky = sky - np.median(good)
    limit = _FAINT * 1.4826 * np.median(np.abs(good - np.median(good)))
    seen = np.isfinite(sky) & (np.abs(sky) <= limit)
    sky = np.where(seen, sky, 0)
    total = own = np.sum(sky**2) / max(seen.sum(), 1)
    for y in range(_REACH + 1):
        for x in range(-_REACH if y else 1, _REACH + 1):
            here = ..., slice(y, None), slice(max(x, 0), sky.shape[-1] + min(x, 0))
            there = ..., slice(0, sky.shape[-2] - y), slice(max(-x, 0), sky.shape[-1] - max(x, 0))
            both = np.sum(seen[here] & seen[there])
            total += 2 * np.sum(sky[here] * sky[there]) / max(both, 1)
    return float(np.sqrt(max(1.0, total / own))) if own > 0 else 1.0
