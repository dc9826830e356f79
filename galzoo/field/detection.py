"""Classical detection: what is bright behind a matched filter, and where its sources are.

References
----------
Bertin & Arnouts 1996, A&AS 117, 393. Barbary 2016, JOSS 1, 58.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from galzoo.data.extraction import extract
from galzoo.errors import InputError
from galzoo.field.coadd import coadd

_DEBLEND_LEVELS, _DEBLEND_CONTRAST, _LEAST_PIXELS = 32, 0.005, 3
# SEP takes peaks apart behind a filter of this part of the FWHM, since the matched one would merge near pairs; centres
# are measured in a window of the other part, where a neighbour pulls less.
_SPLIT_FILTER, _CENTRE_WINDOW = 0.4, 0.7
# Places and side of the windows in which the correlation of the noise is measured.
_PROBES, _PROBE_SIDE, _PROBE_LEAST = 3, 256, 200
# Pixels above this signal-to-noise, and those within a FWHM of them, are not sky.
_BRIGHT = 4.0
_LEAST_SKY = 500


@dataclasses.dataclass(frozen=True)
class Detection:
    """How sources are found.

    Parameters
    ----------
    fwhm : float
        FWHM of the matched filter in pixels, that of the PSF.
    weights : tuple of float
        Weight of each band in the sum. One over the noise of its sky finds more than the inverse variance, as surveys
        are deeper where galaxies are fainter.
    threshold : float
        Least signal-to-noise of a source's peak behind the matched filter.
    footprint : float
        Light counts as the source's down to this signal-to-noise of a pixel behind the filter.
    correlation : float
        Standard deviation of the filtered sky in units of what independent pixels would have; at least 1.
    grow : float
        Footprints that are nearer than twice this, in FWHM, are one group.
    """

    fwhm: float
    weights: tuple
    threshold: float = 5.0
    footprint: float = 2.5
    correlation: float = 1.0
    grow: float = 0.5


def significance(image, error, mask, fwhm):
    """Return the signal-to-noise of a point source of `fwhm` pixels at every pixel, by a matched filter, (y, x)."""
    from scipy.ndimage import correlate1d

    line = _line(fwhm)

    def smooth(values, kernel):
        return correlate1d(correlate1d(values, kernel, axis=0, mode="constant"), kernel, axis=1, mode="constant")

    weight = np.where(mask, 0, 1 / error**2)
    norm = np.sqrt(np.maximum(smooth(weight, line**2), 0))
    return np.where(norm > 0, smooth(weight * image, line) / np.where(norm > 0, norm, 1), 0)


def _line(fwhm):
    """Return a Gaussian of unit peak along a line, out to 1.25 FWHM."""
    reach = max(1, int(np.ceil(1.25 * fwhm)))
    return np.exp(-0.5 * (np.arange(-reach, reach + 1) / (fwhm / 2.3548)) ** 2)


def noise_correlation(field, detection):
    """Return how much wider the filtered sky scatters than independent pixels would, at least 1.

    Measured in a few windows at fixed places, where the sky is, so that it does not depend on tiles;
    1 for fields of less than 200 pixels a side.
    """
    found = []
    # A stamp about a bright object has no sky to tell correlated noise from light.
    if min(field.shape) < _PROBE_LEAST:
        return 1.0
    for row in range(_PROBES):
        for column in range(_PROBES):
            window = []
            for size, place in zip(field.shape, (row, column), strict=True):
                start = int(max(size - _PROBE_SIDE, 0) * place / (_PROBES - 1))
                window += [start, min(start + _PROBE_SIDE, size)]
            image, error, mask = coadd(field.read(*window), detection.weights)
            values = significance(image, error, mask, detection.fwhm)
            # Correlated noise is bright too, so what counts as light is known only after a first look.
            light = ndimage.binary_dilation(values > _BRIGHT * faint_scatter(values[~mask]), disc(detection.fwhm))
            if np.sum(~mask & ~light) > _LEAST_SKY:
                found.append(faint_scatter(values[~mask & ~light]))
    return float(np.median(found)) if found else 1.0


def faint_scatter(values):
    """Return the standard deviation of values below their median, at least 1: sources only add on the other side."""
    middle = np.median(values) if len(values) else 0
    low = values[values < middle]
    return float(max(1.0, 1.4826 * np.median(middle - low))) if len(low) else 1.0


def find_sources(image, error, mask, snr, detection):
    """Find sources in an image.

    Parameters
    ----------
    image, error, mask : array, (y, x)
        Of `galzoo.field.coadd.coadd`.
    snr : array, (y, x)
        Of `significance`.
    detection : Detection

    Returns
    -------
    sources : dict of arrays
        ``x, y`` in pixels, ``snr``, ``row`` (-1: of no catalogue), and ``line, column``, the pixel of the peak.
    footprint : bool array, (y, x)
        Light of those that are bright enough.
    """
    import sep

    sep.set_extract_pixstack(max(image.size, 300_000))
    line = _line(_SPLIT_FILTER * detection.fwhm)
    settings = {
        "error": error, "mask": mask, "least_area": _LEAST_PIXELS, "kernel": np.outer(line, line),
        "levels": _DEBLEND_LEVELS,
    }  # fmt: skip
    level = detection.footprint * detection.correlation
    try:
        objects, labels = extract(image, level, contrast=_DEBLEND_CONTRAST, **settings)
    except InputError:  # where a huge footprint has more peaks than SEP can hold
        objects, labels = extract(image, level, contrast=1.0, **settings)
    peak_x, peak_y = objects["xcpeak"].astype(int), objects["ycpeak"].astype(int)
    bright = snr[peak_y, peak_x] >= detection.threshold * detection.correlation
    parts, _ = ndimage.label(labels > 0, np.ones((3, 3)))
    footprint = np.isin(parts, parts[peak_y[bright], peak_x[bright]]) & (parts > 0)
    peak_x, peak_y = peak_x[bright], peak_y[bright]
    x, y = _centres(image, mask, peak_x, peak_y, detection.fwhm)
    sources = {"x": x, "y": y, "snr": snr[peak_y, peak_x], "row": np.full(len(x), -1), "line": peak_y, "column": peak_x}
    return sources, footprint


def _centres(image, mask, peak_x, peak_y, fwhm):
    """Return positions: windowed where they stay near the peak, else the peak itself."""
    import sep

    start_x, start_y = peak_x.astype(float), peak_y.astype(float)
    if not len(peak_x):
        return start_x, start_y
    x, y, flag = sep.winpos(image, start_x, start_y, _CENTRE_WINDOW * fwhm / 2.3548, mask=mask)
    near = (np.hypot(x - peak_x, y - peak_y) < max(0.5 * fwhm, 1)) & ((flag & sep.OBJ_TRUNC) == 0)
    return np.where(near, x, start_x), np.where(near, y, start_y)


def disc(radius):
    """Return the pixels within `radius` of the middle one, bool (y, x)."""
    reach = max(1, int(np.ceil(radius)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return x**2 + y**2 <= max(radius, 1) ** 2
