"""Sources turned, resized, seen through a PSF and put anywhere in a scene, by matrix products alone.

A stamp goes to a spectrum once; what is done to the galaxy is done to the spectrum; and one product for each axis
brings it to the pixels of the scene, with the sub-pixel shift in it.
"""

import functools
import math

import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.psf import FLOOR

# Spectra have shape (n, 2, 2, kx, ky, band): real and imaginary part of sum(image * exp(+i k r)), at kx and at -kx, and
# only frequencies from 0 up. Products run fastest with short axes (bands) beside the one that is not summed.


@functools.lru_cache(maxsize=64)
def _frequencies(grid, number=None):
    """Return the lowest `number` frequencies from 0 up of an odd `grid`, in radians per pixel."""
    return (2 * np.pi / grid * np.arange(number or grid // 2 + 1)).astype("float32")


@functools.lru_cache(maxsize=64)
def _waves(size, grid, number=None):
    """Return cosines and sines (2 k, pixel) of the `grid`'s frequencies about the middle of `size` pixels."""
    phase = np.outer(_frequencies(grid, number).astype(float), np.arange(size) - (size - 1) / 2)
    return np.concatenate([np.cos(phase), np.sin(phase)]).astype("float32")


def _odd(size):
    """Return the smallest odd whole number that is not below `size`."""
    return math.ceil(size) // 2 * 2 + 1


def _turn_phase(pair, offset, frequency):
    """Move lines by `offset` (n, line): turn the cosine and sine parts of `pair` (n, 2, k, band, line)."""
    phase = frequency[:, None, None] * offset[:, None, None, :]
    cos, sin = ops.cos(phase), ops.sin(phase)
    real, imaginary = pair[:, 0], pair[:, 1]
    return ops.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], axis=1)


def _along_first(matrix, image):
    """Multiply the first axis of pixels, (n, a, b, c), by `matrix` (out, a) or (n, out, a)."""
    first, second, third = image.shape[1:]
    flat = ops.matmul(matrix, ops.reshape(image, (-1, first, second * third)))
    return ops.reshape(flat, (-1, flat.shape[1], second, third))


def _offsets(slope, size):
    """Return how far (n, line) a shear of `slope` (n,) moves each of `size` lines."""
    return slope[:, None] * (np.arange(size, dtype="float32") - (size - 1) / 2)


def _shear(image, slope, size):
    """Move each line of (n, pixel, band, line) along the first axis by its shear; keep `size` pixels."""
    first, bands, lines = image.shape[1:]
    grid = _odd(1.5 * max(first, lines))
    number = grid // 2 + 1
    pair = ops.reshape(_along_first(_waves(first, grid), image), (-1, 2, number, bands, lines))
    pair = _turn_phase(pair, _offsets(slope, lines), _frequencies(grid))
    weight = np.tile(np.where(np.arange(number) == 0, 1, 2), 2).astype("float32") / grid
    return _along_first(_waves(size, grid).T * weight, ops.reshape(pair, (-1, 2 * number, bands, lines)))


def _weights(grid, number):
    """Return the weights (k,) of kx and of ky: kx = 0 is there twice, and only half of the plane is there."""
    single = np.arange(number) == 0
    return [np.where(single, *pair).astype("float32") / grid for pair in ((0.5, 1), (1, 2))]


def _swap(image):
    return ops.transpose(image, (0, 3, 2, 1))


def spectrum(image, grid, number, angle=None, stretch=None, model_sigma=None, weighted=False):
    """Return spectra of images about the middle of their stamps, which may be turned and stretched.

    Parameters
    ----------
    image : tensor, (n, y, x, band)
        Well-sampled images; they are zero outside their pixels.
    grid : int
        Odd number of pixels of which `number` frequencies are made.
    number : int
        Frequencies from 0 up on each axis, ``grid // 2 + 1`` at most.
    angle : tensor, (n,), optional
        Radians to turn by, from +x towards +y, within a quarter of pi of 0.
    stretch : tensor, (n,), optional
        Factor by which sizes grow; the flux stays.
    model_sigma : float, optional
        Sigma in pixels of a Gaussian to take out of the image before it is stretched.
    weighted : bool
        Give each frequency the weight that it has in the inverse transform, so that `pixels` need not.

    Returns
    -------
    tensor, (n, 2, 2, kx, ky, band)
        Real and imaginary part, frequencies kx and -kx.

    Notes
    -----
    An image is turned by three shears (Unser, Thevenaz & Yaroslavsky 1995, IEEE Trans. Image Process. 4, 1371), each
    exact for images without power beyond 0.92 of the Nyquist frequency. Light in the corners of the stamp, farther out
    than half its side, may be lost. The Gaussian is taken out along each axis as `galzoo.layers.psf.convolve` does it
    in two dimensions.
    """
    bands = image.shape[3]
    image = ops.transpose(ops.cast(image, "float32"), (0, 1, 3, 2))
    if angle is not None:
        slope = ops.tan(angle / 2)
        side = max(image.shape[1], image.shape[3])
        y, x = (size + 2 * (math.ceil(0.05 * side) + 1) for size in (image.shape[1], image.shape[3]))
        image = _shear(image, slope, y)
        image = _swap(_shear(_swap(image), -ops.sin(angle), x))
    y, x = image.shape[1], image.shape[3]
    along_y, along_x = (_forward(size, grid, number, stretch, model_sigma) for size in (y, x))
    if weighted:
        weight_x, weight_y = _weights(grid, number)
        along_x, along_y = along_x * np.tile(weight_x, 2)[:, None], along_y * np.tile(weight_y, 2)[:, None]
    pair = ops.reshape(_along_first(along_y, image), (-1, 2, number, bands, x))
    if angle is not None:
        offset = _offsets(slope, x)
        offset = offset if stretch is None else offset * ops.reshape(stretch, (-1, 1))
        pair = _turn_phase(pair, offset, _frequencies(grid, number))
    rows = ops.reshape(ops.transpose(pair, (0, 4, 1, 2, 3)), (-1, x, 2 * number, bands))
    parts = ops.reshape(_along_first(along_x, rows), (-1, 2, number, 2, number, bands))
    cos_cos, cos_sin, sin_cos, sin_sin = (parts[:, a, :, b] for a in (0, 1) for b in (0, 1))
    real = ops.stack([cos_cos - sin_sin, cos_cos + sin_sin], axis=1)
    imaginary = ops.stack([cos_sin + sin_cos, cos_sin - sin_cos], axis=1)
    return ops.stack([real, imaginary], axis=1)


def _forward(size, grid, number, stretch, model_sigma):
    """Return the matrix (2 k, pixel), or one for each `stretch`, from pixels to cosine and sine parts."""
    k = _frequencies(grid, number)
    if stretch is None:
        gain = np.ones_like(k) if model_sigma is None else _gain(np.exp(-0.5 * (model_sigma * k) ** 2))
        return _waves(size, grid, number) * np.tile(gain, 2)[:, None]
    k = ops.reshape(stretch, (-1, 1)) * k
    phase = k[:, :, None] * (np.arange(size, dtype="float32") - (size - 1) / 2)
    # Beyond the Nyquist frequency of the stamp there is nothing but its mirror image.
    gain = ops.cast(k <= np.pi, "float32")
    if model_sigma is not None:
        gain = gain * _gain(ops.exp(-0.5 * ops.square(model_sigma * k)))
    return ops.concatenate([ops.cos(phase) * gain[:, :, None], ops.sin(phase) * gain[:, :, None]], axis=1)


def _gain(gaussian):
    """Return the factor that undoes a transfer function `gaussian`; exactly 1 at frequency 0."""
    return gaussian * (1 + FLOOR**2) / (gaussian**2 + FLOOR**2)


def model_transfer(grid, number, model_sigma, bands):
    """Return the weighted spectrum (1, 2, 2, kx, ky, band) of the model frame's Gaussian."""
    line = np.exp(-0.5 * (model_sigma * _frequencies(grid, number)) ** 2)
    gaussian = np.outer(*(line * weight for weight in _weights(grid, number)))
    gaussian = np.repeat(gaussian[..., None], bands, axis=-1)
    return np.stack([np.stack([gaussian] * 2), np.zeros((2, *gaussian.shape))])[None].astype("float32")


def _backward(positions, size, grid, number, axis, factor=1.0):
    """Return cosines and sines about `positions` (n,), stacked on `axis` and flat, 0 where too far for the grid."""
    offset = np.arange(size, dtype="float32") - ops.reshape(positions, (-1, 1))
    k = _frequencies(grid, number)
    inside = (ops.cast(ops.abs(offset) < grid / 2, "float32") * factor)[:, :, None]
    phase = offset[:, :, None] * k
    waves = ops.stack([ops.cos(phase) * inside, ops.sin(phase) * inside], axis=axis)
    return ops.reshape(waves, (-1, size, 2 * number))


def pixels(spectra, transfer, positions, size, grid, factor=None):
    """Return the images of sources on the grid of a scene.

    Parameters
    ----------
    spectra : tensor, (n, 2, 2, kx, ky, band)
        Of the sources, from `spectrum`.
    transfer : tensor, (m, 2, 2, kx, ky, band)
        Spectra to multiply them by: those of the PSFs, ``weighted``; each serves n / m sources that follow each other.
    positions : tensor, (n, 2)
        Pixel (x, y) of the scene for the origin of each spectrum.
    size : int
        Pixels on a side of the scene.
    grid : int
        As for `spectrum`: light farther than ``grid / 2`` from a position is not drawn.
    factor : tensor, (n,), optional
        Factor of each source.

    Returns
    -------
    tensor, (n, y, x, band)
    """
    number, bands = spectra.shape[3], spectra.shape[5]
    # Long rows, as TensorFlow is slow at repeating short ones.
    row = 2 * number * number * bands
    sources = ops.reshape(spectra, (ops.shape(transfer)[0], -1, 2, row))
    planes = ops.reshape(transfer, (-1, 1, 2, row))
    a, b, c, d = sources[:, :, 0], sources[:, :, 1], planes[:, :, 0], planes[:, :, 1]
    real, imaginary = (ops.reshape(part, (-1, 2, number, number, bands)) for part in (a * c - b * d, a * d + b * c))
    # With S, D the sum and difference of the values at kx and -kx, the real part of exp(-i ky y) (S cos(kx x) -
    # i D sin(kx x)) has these four coefficients.
    cosines = [real[:, 0] + real[:, 1], imaginary[:, 0] + imaginary[:, 1]]
    sines = [imaginary[:, 0] - imaginary[:, 1], real[:, 1] - real[:, 0]]
    waves = ops.reshape(ops.stack(cosines + sines, axis=2), (-1, 2 * number, 2 * number, bands))
    factor = 1.0 if factor is None else ops.reshape(factor, (-1, 1))
    along_x = _backward(positions[:, 0], size, grid, number, 3)
    along_y = _backward(positions[:, 1], size, grid, number, 2, factor)
    columns = ops.transpose(_along_first(along_x, waves), (0, 2, 1, 3))
    return _along_first(along_y, columns)


def grid_of(stamp, psf, stretch=1.0):
    """Return the odd grid on which a `stamp` (pixels), grown by up to `stretch`, and a `psf` convolve."""
    return _odd(stretch * stamp + math.ceil(psf / 2))


def frequencies_of(grid, cutoff=1.0):
    """Return how many frequencies of a `grid` there are up to `cutoff` of the Nyquist frequency."""
    return math.ceil(cutoff * (grid // 2)) + 1


def place(truth, psf, positions, size, model_sigma, factor=None):
    """Return what a telescope sees of sources that are put at any position of a scene.

    Parameters
    ----------
    truth : tensor, (n, source, y, x, band)
        Noiseless images in the model frame, one for each source.
    psf : tensor, (n, py, px, band) or (1, py, px, band)
        PSFs of unit sum with the pixel response, centred on ``((py - 1) / 2, (px - 1) / 2)``.
    positions : tensor, (n, source, 2)
        Pixel (x, y) of the scene on which the middle of each stamp comes to lie; any real numbers.
    size : int
        Pixels on a side of the scene.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.
    factor : tensor, (n, source), optional
        Factor of the flux of each source.

    Returns
    -------
    tensor, (n, source, size, size, band)
        Noiseless sources, one by one. Nothing that leaves the scene comes back on the other side.

    Raises
    ------
    InputError
        If the shapes do not fit each other.

    Notes
    -----
    The difference kernel is that of `galzoo.layers.psf.convolve`.
    """
    truth = ops.convert_to_tensor(truth)
    if len(truth.shape) != 5:
        raise InputError(f"truth has shape {tuple(truth.shape)}; sources to place are (n, source, y, x, band)")
    sources, bands = truth.shape[1], truth.shape[-1]
    check_psf(psf, bands)
    side, kernel = max(truth.shape[2:4]), max(psf.shape[1:3])
    grid = grid_of(side, kernel)
    number = frequencies_of(grid)
    spectra = spectrum(ops.reshape(truth, (-1, *truth.shape[2:])), grid, number, model_sigma=model_sigma)
    transfer = spectrum(psf, grid, number, weighted=True)
    scenes = pixels(spectra, transfer, ops.reshape(ops.cast(positions, "float32"), (-1, 2)), size, grid, factor)
    return ops.reshape(scenes, (-1, sources, size, size, bands))


def check_psf(psf, bands):
    """Raise `InputError` unless `psf` is (n, y, x, band) with so many bands."""
    if len(psf.shape) != 4 or psf.shape[-1] != bands:
        raise InputError(f"psf has shape {tuple(psf.shape)}; it must be (n, y, x, band) with {bands} bands")
