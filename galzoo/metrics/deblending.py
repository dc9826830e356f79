"""How well sources of a blend are told apart: flux, colour, shape, likeness and error bars, source by source.

Arrays have a slot for each source, padded; NaN stands for no source, a source that was not found, and a measurement
that failed. Every measure compares with the isolated noiseless image of the source, as observed.
"""

import numpy as np

from galzoo.errors import InputError
from galzoo.metrics.shape import adaptive_moments

# Share of a Gaussian's probability within one and within 1.96 standard deviations.
LEVELS = {0.68: 1.0, 0.95: 1.959964}
# Likeness is measured on the box around the pixels above this share of the true peak, and at least so many pixels wide.
BOX_LEVEL, BOX_LEAST = 0.01, 11


def blendedness(isolated):
    """Return how much of each source's light lies on light of others.

    Parameters
    ----------
    isolated : array, (n, source, y, x, band)
        Noiseless sources; 0 where there is none.

    Returns
    -------
    array, (n, source, band)
        1 - sum(S_k^2) / sum(S_k S), with S the sum of all sources: 0 for a source alone, 1/2 for two equal ones at one
        place, towards 1 for a faint one on a bright one. NaN where there is no light.

    References
    ----------
    Bosch et al. 2018, PASJ 70, S5, section 4.9.11 (noiseless, with the sources themselves as weights).
    """
    isolated = _five(isolated, "isolated").astype(np.float64)
    own = np.einsum("nsyxb,nsyxb->nsb", isolated, isolated)
    shared = np.einsum("nsyxb,nyxb->nsb", isolated, isolated.sum(axis=1))
    return 1 - np.divide(own, shared, out=np.full(own.shape, np.nan), where=shared > 0)


def nearest_separation(positions, n_sources):
    """Return the distance of each source to the nearest other one.

    Parameters
    ----------
    positions : array, (n, source, 2)
        x, y in pixels, padded.
    n_sources : int array, (n,)

    Returns
    -------
    array, (n, source)
        Pixels; NaN for a source alone and where there is none.
    """
    positions = np.asarray(positions, dtype=np.float64)
    present = present_sources(positions, n_sources)
    distance = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    others = present[:, None] & present[:, :, None] & ~np.eye(positions.shape[1], dtype=bool)
    nearest = np.where(others, distance, np.inf).min(axis=-1, initial=np.inf)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def present_sources(positions, n_sources):
    """Return which slots hold a source, bool (n, source)."""
    return np.arange(np.shape(positions)[1]) < np.asarray(n_sources)[:, None]


def relative_error(flux, truth):
    """Return (flux - truth) / truth; NaN where the true flux is not positive."""
    flux, truth = _alike(flux, truth)
    return np.divide(flux - truth, truth, out=np.full(truth.shape, np.nan), where=truth > 0)


def magnitude_error(flux, truth):
    """Return the magnitude less the true one; NaN where a flux is not positive."""
    flux, truth = _alike(flux, truth)
    good = (flux > 0) & (truth > 0)
    return -2.5 * np.log10(np.where(good, flux, np.nan) / np.where(good, truth, 1.0))


def colour_error(flux, truth):
    """Return the error of the colours of neighbouring bands, (..., band - 1): first less second, g - r and so on."""
    return -np.diff(magnitude_error(flux, truth), axis=-1)


def pulls(flux, truth, error):
    """Return (flux - truth) / error, of standard deviation 1 where errors are right; NaN where there is none."""
    flux, truth = _alike(flux, truth)
    error = np.asarray(error, dtype=np.float64)
    return np.divide(flux - truth, error, out=np.full(truth.shape, np.nan), where=error > 0)


def covered(flux, truth, error=None, samples=None, level=0.68):
    """Return whether the central interval of a level holds the true flux.

    Parameters
    ----------
    flux, truth : array, (n, source, band)
    error : array, same shape, optional
        Standard deviation; used as that of a Gaussian where there are no samples.
    samples : array, (draw, n, source, band), optional
        Of the posterior; the interval lies between its quantiles.
    level : {0.68, 0.95}

    Returns
    -------
    array, same shape
        1 or 0; NaN where there is no flux.

    Raises
    ------
    InputError
        If the level is another, or there is neither error nor samples.
    """
    flux, truth = _alike(flux, truth)
    if level not in LEVELS:
        raise InputError(f"level is {level}; use {' or '.join(map(str, LEVELS))}")
    if samples is not None:
        low, high = np.quantile(np.asarray(samples, dtype=np.float64), [0.5 - level / 2, 0.5 + level / 2], axis=0)
        inside = (low <= truth) & (truth <= high)
        known = np.isfinite(flux) & np.isfinite(truth) & np.isfinite(low)
    elif error is not None:
        pull = pulls(flux, truth, error)
        inside, known = np.abs(pull) <= LEVELS[level], np.isfinite(pull)
    else:
        raise InputError("coverage needs the error of the fluxes or samples of the posterior; give one of them")
    return np.where(known, inside, np.nan)


def source_moments(image, positions, present):
    """Measure each source's adaptive moments in a window around its place.

    Parameters
    ----------
    image : array, (n, source, y, x)
        Sources in one band, or in a sum of bands.
    positions : array, (n, source, 2)
        x, y in pixels: where to start.
    present : bool array, (n, source)
        Which to measure.

    Returns
    -------
    dict of arrays, (n, source)
        ``e1, e2`` (distortion of the image as observed, PSF included) and ``sigma`` (pixels); NaN where the
        measurement fails.

    References
    ----------
    Hirata & Seljak 2003, MNRAS 343, 459, by GalSim's HSM.
    """
    present = np.asarray(present, dtype=bool)
    result = {key: np.full(present.shape, np.nan) for key in ("e1", "e2", "sigma")}
    slots = np.nonzero(present)
    if len(slots[0]):
        windows = np.stack([_window(image[slot], positions[slot]) for slot in zip(*slots, strict=True)])
        moments = adaptive_moments(windows[..., None])
        for key, values in result.items():
            values[slots] = moments[key][:, 0]
    return result


def _window(image, position):
    """Return a square of odd side, as wide as the image, with the pixel at `position` in its centre; 0 outside."""
    half = max(image.shape) // 2
    x, y = (int(round(float(value))) for value in position)
    result = np.zeros((2 * half + 1, 2 * half + 1))
    rows, columns = (
        slice(max(centre - half, 0), max(min(centre + half + 1, size), 0))
        for centre, size in zip((y, x), image.shape, strict=True)
    )
    part = image[rows, columns]
    top, left = rows.start - y + half, columns.start - x + half
    result[top : top + part.shape[0], left : left + part.shape[1]] = part
    return result


def likeness(image, truth, present):
    """Return peak signal-to-noise ratio and structural similarity of each source to its isolated image.

    Both are measured on the box around the pixels above 1 % of the true peak, at least 11 pixels wide, so that empty
    sky does not count; the true peak is the range of the data.

    Parameters
    ----------
    image, truth : array, (n, source, y, x)
        In one band.
    present : bool array, (n, source)

    Returns
    -------
    dict of arrays, (n, source)
        ``psnr`` in dB, ``ssim``; NaN where there is no light.

    References
    ----------
    Wang et al. 2004, IEEE Transactions on Image Processing 13, 600 (SSIM; windows of 7 pixels).
    """
    from skimage.metrics import structural_similarity

    present = np.asarray(present, dtype=bool)
    result = {key: np.full(present.shape, np.nan) for key in ("psnr", "ssim")}
    for slot in zip(*np.nonzero(present), strict=True):
        true = np.asarray(truth[slot], dtype=np.float64)
        peak = true.max()
        if not (peak > 0 and np.isfinite(image[slot]).all()):
            continue
        box = tuple(
            _stretch(np.flatnonzero((true > BOX_LEVEL * peak).any(axis=axis)), size)
            for axis, size in ((1, true.shape[0]), (0, true.shape[1]))
        )
        made, true = np.asarray(image[slot], dtype=np.float64)[box], true[box]
        error = np.mean((made - true) ** 2)
        result["psnr"][slot] = 10 * np.log10(peak**2 / error) if error > 0 else np.inf
        if min(true.shape) >= 7:
            result["ssim"][slot] = structural_similarity(made, true, data_range=peak)
    return result


def _stretch(lit, size):
    """Return the slice of the lit pixels, widened to the least box where the image has room."""
    start, stop = int(lit[0]), int(lit[-1]) + 1
    missing = max(BOX_LEAST - (stop - start), 0)
    start = max(start - (missing + 1) // 2, 0)
    stop = min(max(stop + missing // 2, start + BOX_LEAST), size)
    return slice(max(min(start, stop - BOX_LEAST), 0), stop)


def flux_conservation(flux, truth, present):
    """Return the sum of the sources' fluxes over the true sum of each scene, less 1.

    Parameters
    ----------
    flux, truth : array, (n, source, band)
        A source without a flux (NaN) counts as 0.
    present : bool array, (n, source)

    Returns
    -------
    array, (n, band)
        0 where all light is given to some source; NaN where there is none.
    """
    flux, truth = _alike(flux, truth)
    present = np.asarray(present, dtype=bool)[..., None]
    given = np.where(present & np.isfinite(flux), flux, 0.0).sum(axis=1)
    return relative_error(given, np.where(present, truth, 0.0).sum(axis=1))


def _alike(flux, truth):
    flux, truth = np.asarray(flux, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if flux.shape != truth.shape:
        raise InputError(f"fluxes have shape {flux.shape}, the true ones {truth.shape}; they must be the same")
    return flux, truth


def _five(array, name):
    array = np.asarray(array)
    if array.ndim != 5:
        raise InputError(f"{name} has shape {array.shape}; sources are (n, source, y, x, band)")
    return array
