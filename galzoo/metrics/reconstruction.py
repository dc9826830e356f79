"""How well a noiseless model image fits a noisy one.

Chi squared per pixel is the number to quote: for a model that is right and does not fit the noise its expectation is 1,
whatever the brightness. The normalised squared error depends on the signal-to-noise: even the true image has a floor
(`nmse_floor`), so the two belong side by side.
"""

import numpy as np

from galzoo.errors import InputError

# Widths in pixels of the Gaussian filters of `signal_to_noise`: from a point source to a large galaxy.
FILTER_SIGMAS = (1.5, 2.5, 4.0, 6.5)


def _check(**planes):
    shapes = {key: np.shape(plane) for key, plane in planes.items() if plane is not None}
    first = next(iter(shapes.values()))
    if len(first) != 4 or any(shape != first for shape in shapes.values()):
        listed = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise InputError(f"shapes are {listed}; all must be the same (n, y, x, band)")


def inverse_variance(variance, mask=None):
    """Return float64 weights: 1 / variance, and 0 where it is masked, infinite, NaN or not positive.

    Parameters
    ----------
    variance : array, (n, y, x, band)
    mask : bool array, same shape, optional
        True = bad.
    """
    variance = np.asarray(variance, dtype=np.float64)
    good = np.isfinite(variance) & (variance > 0)
    if mask is not None:
        good &= ~np.asarray(mask, dtype=bool)
    return np.divide(1.0, variance, out=np.zeros_like(variance), where=good)


def chi2_per_pixel(image, model, variance, mask=None):
    """Return chi squared per good pixel of each stamp.

    Parameters
    ----------
    image, model : array, (n, y, x, band)
        Observed, and noiseless prediction, in one unit.
    variance : array, same shape
        Unit squared; absent bands have infinite variance and do not count.
    mask : bool array, same shape, optional
        True = bad.

    Returns
    -------
    array, (n,)
        1 on average for a true model; NaN for a stamp without a good pixel.

    Raises
    ------
    InputError
        If shapes differ.
    """
    _check(image=image, model=model, variance=variance, mask=mask)
    image = np.asarray(image, dtype=np.float64)
    weight = np.where(np.isfinite(image), inverse_variance(variance, mask), 0.0)
    residual = np.where(weight > 0, image - np.asarray(model, dtype=np.float64), 0.0)
    return _ratio(np.sum(residual**2 * weight, axis=(1, 2, 3)), np.count_nonzero(weight, axis=(1, 2, 3)))


def nmse(image, model, mask=None):
    """Return the normalised squared error of each stamp, sum (model - image)^2 / sum image^2.

    Parameters
    ----------
    image : array, (n, y, x, band)
        The reference: an observed image, or the truth.
    model : array, same shape
    mask : bool array, same shape, optional
        True = bad.

    Returns
    -------
    array, (n,)
        0 for a perfect model, 1 for an empty one; NaN where the reference is zero everywhere.
    """
    _check(image=image, model=model, mask=mask)
    image = np.asarray(image, dtype=np.float64)
    good = _good(image, mask)
    error = np.where(good, np.asarray(model, dtype=np.float64) - image, 0.0)
    return _ratio(np.sum(error**2, axis=(1, 2, 3)), np.sum(np.where(good, image, 0.0) ** 2, axis=(1, 2, 3)))


def nmse_floor(image, variance, mask=None):
    """Return the `nmse` that the true noiseless image is expected to have, (n,): sum variance / sum image^2."""
    _check(image=image, variance=variance, mask=mask)
    image, variance = np.asarray(image, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    good = _good(image, mask) & (inverse_variance(variance) > 0)
    signal = np.sum(np.where(good, image, 0.0) ** 2, axis=(1, 2, 3))
    return _ratio(np.sum(np.where(good, variance, 0.0), axis=(1, 2, 3)), signal)


def signal_to_noise(image, variance, mask=None):
    """Estimate the signal-to-noise of the object at the centre of each stamp, all bands together.

    The flux through a centred round Gaussian filter over its error, for the best of a few widths; bands are added in
    quadrature, less the 1 that noise alone contributes to each. For catalogues that have no such column.

    Parameters
    ----------
    image, variance : array, (n, y, x, band)
    mask : bool array, same shape, optional
        True = bad.

    Returns
    -------
    array, (n,)
        Within about 10 % of the signal-to-noise of a matched filter for a round galaxy.
    """
    _check(image=image, variance=variance, mask=mask)
    image = np.asarray(image, dtype=np.float64)
    weight = np.where(np.isfinite(image), inverse_variance(variance, mask), 0.0)
    image = np.where(weight > 0, image, 0.0)
    y, x = np.indices(image.shape[1:3])
    radius2 = (y - (image.shape[1] - 1) / 2) ** 2 + (x - (image.shape[2] - 1) / 2) ** 2
    best = np.zeros(len(image))
    for sigma in FILTER_SIGMAS:
        template = np.exp(-0.5 * radius2 / sigma**2)[None, :, :, None]
        noise2 = np.sum(template**2 * weight, axis=(1, 2))
        signal = np.maximum(np.sum(template * image * weight, axis=(1, 2)), 0.0)
        snr2 = np.divide(signal**2, noise2, out=np.zeros_like(signal), where=noise2 > 0)
        total = np.sum(snr2, axis=-1) - np.count_nonzero(noise2, axis=-1)
        best = np.maximum(best, np.sqrt(np.maximum(total, 0.0)))
    return best


def negative_share(image):
    """Return the share of pixels below zero in each stamp, (n,); a galaxy has none.

    Values within 1e-6 of the stamp's peak count as zero: simulated truth has them from rounding in its transforms.
    """
    _check(image=image)
    image = np.asarray(image)
    floor = -1e-6 * np.abs(image).max(axis=(1, 2, 3), keepdims=True)
    return np.mean(image < floor, axis=(1, 2, 3))


def _good(image, mask):
    good = np.isfinite(image)
    return good if mask is None else good & ~np.asarray(mask, dtype=bool)


def _ratio(top, bottom):
    bottom = np.asarray(bottom, dtype=np.float64)
    return np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom > 0)
