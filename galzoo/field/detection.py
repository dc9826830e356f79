"""Classical detection: what is bright behind a matched filter, and where its sources are.

References
----------
Bertin & Arnouts 1996, A&AS 117, 393. Barbary 2016, JOSS 1, 58.
"""

import contextlib
import dataclasses

import numpy as np
from scipy import ndimage

from galzoo.data.extraction import extract
from galzoo.errors import InputError
from galzoo.field.coadd import coadd

_DEBLEND_LEVELS, _DEBLEND_CONTRAST, _LEAST_PIXELS = 32, 0.005, 3
# A peak with less than that part of a footprint's light is a source all the same where so much of its height is above
# the median of a ring of these radii about it, in FWHM: in the halo of a bright star that part is too much to ask.
_ANY_CONTRAST, _STANDS_OUT, _RING = 1e-5, 0.5, (1.25, 2.0)
# SEP takes peaks apart behind a filter of this part of the FWHM, since the matched one would merge near pairs; centres
# are measured in a window of the other part, where a neighbour pulls less.
_SPLIT_FILTER, _CENTRE_WINDOW = 0.4, 0.7
FOOTPRINT = 2.0
"""Signal-to-noise down to which light is the source's."""
_FOOTPRINT_PART = 0.4
# Places and side of the windows in which the correlation of the noise is measured.
_PROBES, _PROBE_SIDE, _PROBE_LEAST = 3, 256, 200
# Pixels above the first number of standard deviations, those about them above the second, and those within a FWHM of
# both are not sky; in units of what this part of the cells is below.
_BRIGHT, _FAINT, _QUIET = 4.0, 1.5, 0.25
# Least side of the cells, and how many pixels of sky one has.
_CELL, _LEAST_SKY = 64, 500


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
    footprint : float, optional
        Light counts as the source's down to this signal-to-noise behind a filter of 0.4 FWHM; by default 2, and 0.4
        of `threshold` where that is less: a source at the threshold has then a footprint.
    correlation : float
        Standard deviation of the filtered sky in units of what independent pixels would have; at least 1.
    footprint_correlation : float, optional
        The same behind the filter of footprints; `correlation` by default.
    grow : float
        Footprints that are nearer than twice this, in FWHM, are one group.
    halos : bool
        Find what stands out of the light of something much brighter too, which SEP by itself leaves to that.
    """

    fwhm: float
    weights: tuple
    threshold: float = 5.0
    footprint: float | None = None
    correlation: float = 1.0
    footprint_correlation: float | None = None
    grow: float = 0.5
    halos: bool = False

    @property
    def footprint_level(self):
        """Threshold of footprints in units of the noise of independent pixels."""
        level = min(FOOTPRINT, _FOOTPRINT_PART * self.threshold) if self.footprint is None else self.footprint
        return level * (self.footprint_correlation or self.correlation)


def detection_for(field, fwhm, threshold, halos=False):
    """Return the `Detection` for a field, with the correlation of its noise.

    Parameters
    ----------
    field : Field
    fwhm : float
        Of the PSF in pixels.
    threshold : float
    halos : bool
    """
    found = Detection(fwhm, tuple((1 / field.noise_levels()).tolist()), threshold, halos=halos)
    return dataclasses.replace(
        found,
        correlation=noise_correlation(field, found),
        footprint_correlation=noise_correlation(field, found, _SPLIT_FILTER * fwhm),
    )


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


def noise_correlation(field, detection, fwhm=None):
    """Return how much wider the filtered sky scatters than independent pixels would, at least 1.

    Measured in a few windows at fixed places, so that it does not depend on tiles, cell by cell where nothing is seen:
    the halo of a large galaxy raises the scatter of a whole window. 1 for fields of less than 200 pixels a side.

    Parameters
    ----------
    field : Field
    detection : Detection
    fwhm : float, optional
        Of the filter in pixels; that of the detection by default.
    """
    # A stamp about a bright object has no sky to tell correlated noise from light.
    if min(field.shape) < _PROBE_LEAST:
        return 1.0
    fwhm, found, windows = fwhm or detection.fwhm, [], set()
    for row in range(_PROBES):
        for column in range(_PROBES):
            window = []
            for size, place in zip(field.shape, (row, column), strict=True):
                start = int(max(size - _PROBE_SIDE, 0) * place / (_PROBES - 1))
                window += [start, min(start + _PROBE_SIDE, size)]
            windows.add(tuple(window))
    for window in sorted(windows):
        image, error, mask = coadd(field.read(*window), detection.weights)
        found += _sky_scatter(significance(image, error, mask, fwhm), mask, fwhm)
    # Of the emptiest half of the cells, as what is faint is not seen.
    found = [scatter for _, scatter in sorted(found, reverse=True)[: (len(found) + 1) // 2]]
    return float(max(1.0, np.median(found))) if found else 1.0


def _sky_scatter(values, mask, fwhm):
    """Return the share of empty pixels and the scatter of `values` there, for each cell that has sky."""
    # Correlated noise is bright too, so what counts as light is known only after a first look.
    noise, cells = quiet_scatter(values, mask), _cells(values.shape)
    light = ndimage.binary_propagation(values > _BRIGHT * noise, mask=values > _FAINT * noise)
    sky = ~mask & ~ndimage.binary_dilation(light, disc(fwhm))
    return [
        (sky[cell].mean(), _scatter(_level(values[cell], sky[cell]))) for cell in cells if sky[cell].sum() > _LEAST_SKY
    ]


def quiet_scatter(values, mask):
    """Return the scatter of `values` that a quarter of the cells is below; of all at once where no cell has enough."""
    found = [_scatter(values[cell][~mask[cell]]) for cell in _cells(values.shape) if np.sum(~mask[cell]) > _LEAST_SKY]
    return float(np.quantile(found, _QUIET)) if found else faint_scatter(values[~mask])


def _cells(shape):
    """Return the cells of a window: of 64 to 127 pixels a side where it has so many."""
    rows, columns = (np.linspace(0, size, max(size // _CELL, 1) + 1).astype(int) for size in shape)
    return [
        (slice(y0, y1), slice(x0, x1))
        for y0, y1 in zip(rows[:-1], rows[1:], strict=True)
        for x0, x1 in zip(columns[:-1], columns[1:], strict=True)
    ]


def _level(values, good):
    """Return the good pixels of a cell without the plane that fits them: a halo is steep."""
    y, x = np.nonzero(good)
    terms = np.stack([np.ones(len(x)), x, y], axis=-1)
    return values[good] - terms @ np.linalg.lstsq(terms, values[good])[0]


def _scatter(values):
    """Return the standard deviation of values below their median."""
    middle = np.median(values)
    low = values[values < middle]
    return 1.4826 * np.median(middle - low) if len(low) else 0.0


def faint_scatter(values):
    """Return the standard deviation of values below their median, at least 1: sources only add on the other side."""
    return float(max(1.0, _scatter(values))) if len(values) else 1.0


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
    level = detection.footprint_level
    try:
        objects, labels = extract(image, level, contrast=_DEBLEND_CONTRAST, **settings)
    except InputError:  # where a huge footprint has more peaks than SEP can hold
        objects, labels = extract(image, level, contrast=1.0, **settings)
    least = detection.threshold * detection.correlation
    peak_x, peak_y = _bright_peaks(objects, snr, least)
    if detection.halos:
        with contextlib.suppress(InputError):
            objects, _ = extract(image, level, contrast=_ANY_CONTRAST, **settings)
            x, y = _standing_out(*_bright_peaks(objects, snr, least), peak_x, peak_y, snr, least, detection.fwhm)
            peak_x, peak_y = np.append(peak_x, x), np.append(peak_y, y)
    more_y, more_x = _lone_peaks(snr, mask, least, peak_y, peak_x)
    peak_x, peak_y = np.append(peak_x, more_x), np.append(peak_y, more_y)
    seen = (labels > 0) | (~mask & (snr >= least))
    parts, _ = ndimage.label(seen, np.ones((3, 3)))
    footprint = np.isin(parts, parts[peak_y, peak_x]) & (parts > 0)
    x, y = _centres(image, mask, peak_x, peak_y, detection.fwhm)
    sources = {"x": x, "y": y, "snr": snr[peak_y, peak_x], "row": np.full(len(x), -1), "line": peak_y, "column": peak_x}
    return sources, footprint


def _bright_peaks(objects, snr, least):
    """Return the brightest pixels, x and y, of SEP's objects that are above the threshold behind the matched filter."""
    x, y = objects["xcpeak"].astype(int), objects["ycpeak"].astype(int)
    bright = snr[y, x] >= least
    return x[bright], y[bright]


def _standing_out(x, y, known_x, known_y, snr, least, fwhm):
    """Return those of some peaks, x and y, that are no part of a known one: a FWHM off, and high above what is around.

    They are so where the matched filter has the threshold, and half of what it has at the peak, above its median in a
    ring about it.
    """
    from scipy.spatial import cKDTree

    if len(known_x):
        far = cKDTree(np.stack([known_x, known_y], axis=-1)).query(np.stack([x, y], axis=-1))[0] > fwhm
        x, y = x[far], y[far]
    reach = int(_RING[1] * fwhm) + 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    ring = (np.hypot(dx, dy) > _RING[0] * fwhm) & (np.hypot(dx, dy) < _RING[1] * fwhm)
    rows, columns = (
        np.clip(place[:, None] + off[ring], 0, size - 1)
        for place, off, size in zip((y, x), (dy, dx), snr.shape, strict=True)
    )
    height = snr[y, x] - np.median(snr[rows, columns], axis=1)
    stands = (height >= least) & (height >= _STANDS_OUT * snr[y, x])
    return x[stands], y[stands]


def _lone_peaks(snr, mask, least, peak_y, peak_x):
    """Return the brightest pixels, y and x, of parts above the threshold behind the matched filter without a peak yet.

    Faint sources may have no footprint behind the small filter.
    """
    parts, count = ndimage.label(~mask & (snr >= least), np.ones((3, 3)))
    lone = np.setdiff1d(np.arange(1, count + 1), parts[peak_y, peak_x])
    found = np.array(ndimage.maximum_position(snr, parts, lone), int).reshape(-1, 2)
    return found[:, 0], found[:, 1]


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


def discs(shape, places, radii):
    """Return which pixels (y, x) are within a radius, or one each, of places (n, 2), x and y; these may be outside."""
    found = np.zeros(shape, bool)
    for (x, y), radius in zip(places, np.broadcast_to(radii, len(places)), strict=True):
        reach = int(np.ceil(radius))
        y0, x0 = max(int(y) - reach, 0), max(int(x) - reach, 0)
        part = found[y0 : max(int(y) + reach + 2, 0), x0 : max(int(x) + reach + 2, 0)]
        line, column = np.ogrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
        part |= (column - x) ** 2 + (line - y) ** 2 <= radius**2
    return found
