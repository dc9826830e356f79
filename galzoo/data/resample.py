"""Bring images to another pixel scale: flux kept, noise carried along, one linear operator for image and PSF."""

import functools

import numpy as np

from galzoo.errors import InputError

_ORDER = 5
# Beyond this step a well-sampled PSF need not stay so: average sub-samples instead of picking points.
_AVERAGE_ABOVE = 1.25
# A pixel that takes more than this share of its weights from bad ones is bad; weights below the other are none.
_MASK_WEIGHT, _NOTHING = 0.1, 1e-9


@functools.lru_cache(maxsize=256)
def _matrix(n_in, n_out, ratio, centre):
    """Return the (n_out, n_in) matrix of quintic spline interpolation along an axis; rows off the input are 0."""
    from scipy.interpolate import make_interp_spline

    parts = 1 if ratio <= _AVERAGE_ABOVE else int(np.ceil(2 * ratio))
    offsets = (np.arange(parts) + 0.5) / parts - 0.5
    places = centre + ratio * (np.arange(n_out)[:, None] - (n_out - 1) / 2 + offsets)
    off = (places.min(axis=1) < -0.5) | (places.max(axis=1) > n_in - 0.5)
    spline = make_interp_spline(np.arange(n_in), np.eye(n_in), k=min(_ORDER, n_in - 1))
    matrix = spline(np.clip(places, 0, n_in - 1)).mean(axis=1)
    matrix[off] = 0
    return matrix


def resample(image, ratio, size, centre=None):
    """Interpolate images onto pixels of another size.

    Parameters
    ----------
    image : array, (..., y, x)
    ratio : float
        New pixel scale over the old one.
    size : int
        Side of the result in new pixels.
    centre : (float, float), optional
        Where the middle of the result lies in the input, as x, y; the middle of the input by default.

    Returns
    -------
    float64 array, (..., size, size)
        Flux per new pixel: the sum over an object stays. Off the input it is 0.

    Notes
    -----
    Quintic splines: a Gaussian of sigma 1 px keeps its flux to 1e-4. Apply it to the PSF as well as to the image.
    """
    rows, columns = _operators(np.shape(image), ratio, size, centre)
    return rows @ np.asarray(image, float) @ columns.T * ratio**2


def resample_variance(variance, ratio, size, centre=None):
    """Carry the variance of independent pixels through `resample`; the covariance that arises is not described."""
    rows, columns = _operators(np.shape(variance), ratio, size, centre)
    return rows**2 @ np.asarray(variance, float) @ (columns**2).T * ratio**4


def resample_mask(mask, ratio, size, centre=None):
    """Return True where `resample` takes from bad pixels, or from off the input."""
    rows, columns = (np.abs(matrix) for matrix in _operators(np.shape(mask), ratio, size, centre))
    seen = (rows.sum(axis=1) > 0)[:, None] & (columns.sum(axis=1) > 0)
    # Sums of weights differ with the place between pixels: as shares, or every other pixel along an edge would be bad.
    rows, columns = (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), _NOTHING) for matrix in (rows, columns))
    return (rows @ np.asarray(mask, float) @ columns.T > _MASK_WEIGHT) | ~seen


def _operators(shape, ratio, size, centre):
    if not ratio > 0:
        raise InputError(f"pixel ratio {ratio} must be above 0; give the new pixel scale over the old one")
    height, width = shape[-2:]
    x, y = ((width - 1) / 2, (height - 1) / 2) if centre is None else centre
    return _matrix(height, size, float(ratio), float(y)), _matrix(width, size, float(ratio), float(x))
