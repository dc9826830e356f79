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

# Spectra have shape (n, 2, 2, kx, ky, band): real and imaginary part, kx and -kx, and only frequencies from 0 up.


@functools.lru_cache(maxsize=64)
def _waves(size, grid, number=None):
    """Return cosines and sines (2, k, pixel) of the `grid`'s frequencies about the middle of `size` pixels."""
    phase = np.outer(_frequencies(grid, number), np.arange(size) - (size - 1) / 2)
    return np.stack([np.cos(phase), np.sin(phase)]).astype("float32")


def _frequencies(grid, number=None):
    """Return the lowest `number` frequencies from 0 up of an odd `grid`, in radians per pixel."""
    return 2 * np.pi / grid * np.arange(number or grid // 2 + 1)


def _odd(size):
    """Return the smallest odd whole number that is not below `size`."""
    return math.ceil(size) // 2 * 2 + 1


def _turn_phase(pair, offset, frequency):
    """Move lines by `offset` (n, line): turn the cosine and sine parts of `pair` (n, 2, k, line, band)."""
    phase = ops.reshape(frequency.astype("float32"), (1, -1, 1, 1)) * offset[:, None, :, None]
    cos, sin = ops.cos(phase), ops.sin(phase)
    real, imaginary = pair[:, 0], pair[:, 1]
    return ops.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], axis=1)


def _along_first(matrix, image):
    """Multiply the first axis of pixels, (n, a, b, band), by `matrix` (out, a) or (n, out, a)."""
    first, second, bands = image.shape[1:]
    flat = ops.matmul(matrix, ops.reshape(image, (-1, first, second * bands)))
    return ops.reshape(flat, (-1, flat.shape[1], second, bands))


def _shear(image, slope, size):
    """Move each line along the first axis by `slope` times its distance from the middle; keep `size` pixels."""
    first, second, bands = image.shape[1:]
    grid = _odd(1.5 * max(first, second))
    number = grid // 2 + 1
    pair = ops.reshape(_along_first(_waves(first, grid).reshape(-1, first), image), (-1, 2, number, second, bands))
    offset = slope[:, None] * (np.arange(second, dtype="float32") - (second - 1) / 2)
    pair = _turn_phase(pair, offset, _frequencies(grid))
    weight = np.where(np.arange(number) == 0, 1, 2).astype("float32")[:, None] / grid
    back = (weight * _waves(size, grid)).reshape(-1, size).T
    return _along_first(back, ops.reshape(pair, (-1, 2 * number, second, bands)))


def _swap(image):
    return ops.transpose(image, (0, 2, 1, 3))


def spectrum(image, grid, number, angle=None, stretch=None):
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

    Returns
    -------
    tensor, (n, 2, 2, kx, ky, band)
        Real and imaginary part, frequencies kx and -kx.

    Notes
    -----
    An image is turned by three shears (Unser, Thevenaz & Yaroslavsky 1995, IEEE Trans. Image Process. 4, 1371), each
    exact for images without power beyond 0.92 of the Nyquist frequency. Light in the corners of the stamp, farther out
    than half its side, may be lost.
    """
    image = ops.cast(image, "float32")
    slope = None
    if angle is not None:
        angle = ops.cast(angle, "float32")
        slope = ops.tan(angle / 2)
        side = max(image.shape[1:3])
        kept = [size + 2 * (math.ceil(0.05 * side) + 1) for size in image.shape[1:3]]
        image = _shear(image, slope, kept[0])
        image = _swap(_shear(_swap(image), -ops.sin(angle), kept[1]))
    y, x, bands = image.shape[1:]
    along_y, along_x = _forward(y, grid, number, stretch), _forward(x, grid, number, stretch)
    pair = ops.reshape(_along_first(along_y, image), (-1, 2, number, x, bands))
    if slope is not None:
        offset = slope[:, None] * (np.arange(x, dtype="float32") - (x - 1) / 2)
        scale = 1.0 if stretch is None else ops.reshape(stretch, (-1, 1))
        pair = _turn_phase(pair, offset * scale, _frequencies(grid, number))
    # (n, 2, ky, x, band) to (n, x, 2 ky, band), and from there cosines and sines of x.
    rows = ops.reshape(ops.transpose(pair, (0, 3, 1, 2, 4)), (-1, x, 2 * number, bands))
    parts = ops.reshape(_along_first(along_x, rows), (-1, 2, number, 2, number, bands))
    cos_cos, cos_sin, sin_cos, sin_sin = (parts[:, a, :, b] for a in (0, 1) for b in (0, 1))
    real = ops.stack([cos_cos - sin_sin, cos_cos + sin_sin], axis=1)
    imaginary = ops.stack([-cos_sin - sin_cos, sin_cos - cos_sin], axis=1)
    return ops.stack([real, imaginary], axis=1)


def _forward(size, grid, number, stretch):
    """Return the matrix (2 k, pixel), or one for each `stretch`, from pixels to cosine and sine parts."""
    if stretch is None:
        return _waves(size, grid, number).reshape(2 * number, size)
    phase = np.outer(_frequencies(grid, number), np.arange(size) - (size - 1) / 2).astype("float32")
    phase = ops.reshape(stretch, (-1, 1, 1)) * phase
    return ops.concatenate([ops.cos(phase), ops.sin(phase)], axis=1)


def model_gain(grid, number, model_sigma, stretch=None):
    """Return the factor (1 or n, 1, 1, kx, ky, 1) that takes the Gaussian of the model frame out of a spectrum.

    Where the image is stretched so is its Gaussian, and beyond the Nyquist frequency of the stamp there is nothing.
    See `galzoo.layers.psf.convolve` for the damping.
    """
    k = _frequencies(grid, number).astype("float32")
    stretch = np.ones(1, "float32") if stretch is None else stretch
    k = ops.reshape(stretch, (-1, 1)) * k
    line = ops.where(k <= np.pi, ops.exp(-0.5 * model_sigma**2 * ops.square(k)), 0.0)
    gaussian = line[:, :, None] * line[:, None, :]
    gain = gaussian * (1 + FLOOR**2) / (ops.square(gaussian) + FLOOR**2)
    return gain[:, None, None, :, :, None]


def model_transfer(grid, number, model_sigma):
    """Return the spectrum (1, 2, 2, kx, ky, 1) of the model frame's Gaussian."""
    line = np.exp(-0.5 * (model_sigma * _frequencies(grid, number)) ** 2)
    gaussian = np.outer(line, line)
    return np.stack([np.stack([gaussian] * 2), np.zeros((2, *gaussian.shape))])[None, ..., None].astype("float32")


def _backward(positions, size, grid, number, factor=None):
    """Return the matrices (n, pixel, 2 k) from cosine and sine parts to pixels, for sources at `positions` (n,)."""
    offset = np.arange(size, dtype="float32") - ops.reshape(positions, (-1, 1))
    inside = ops.cast(ops.abs(offset) < grid / 2, "float32")
    if factor is not None:
        inside = inside * ops.reshape(factor, (-1, 1))
    k = _frequencies(grid, number).astype("float32")
    phase = offset[:, :, None] * k
    waves = ops.concatenate([ops.cos(phase), ops.sin(phase)], axis=2)
    return waves * inside[:, :, None]


def pixels(spectra, transfer, positions, size, grid, factor=None):
    """Return the images of sources on the grid of a scene.

    Parameters
    ----------
    spectra : tensor, (n, 2, 2, kx, ky, band)
        Of the sources, from `spectrum`.
    transfer : tensor, (n or 1, 2, 2, kx, ky, band or 1)
        Spectrum to multiply them by: that of the PSF.
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
    a, b, c, d = spectra[:, 0], spectra[:, 1], transfer[:, 0], transfer[:, 1]
    real, imaginary = a * c - b * d, a * d + b * c
    # With S, D the sum and difference of the values at kx and -kx, the real part of exp(i ky y) (S cos kx x + i D sin
    # kx x) has these four coefficients; kx = 0 is in both, ky = 0 is not in the half that is left out.
    plus = [real[:, 0] + real[:, 1], -imaginary[:, 0] - imaginary[:, 1]]
    minus = [imaginary[:, 1] - imaginary[:, 0], real[:, 1] - real[:, 0]]
    waves = ops.stack([ops.stack(plus, axis=2), ops.stack(minus, axis=2)], axis=1)
    weight_x = np.tile(np.where(np.arange(number) == 0, 0.5, 1), 2).astype("float32") / grid
    weight_y = np.tile(np.where(np.arange(number) == 0, 1, 2), 2).astype("float32") / grid
    along_x = _backward(positions[:, 0], size, grid, number) * weight_x
    along_y = _backward(positions[:, 1], size, grid, number, factor) * weight_y
    columns = _along_first(along_x, ops.reshape(waves, (-1, 2 * number, 2 * number, bands)))
    return _along_first(along_y, _swap(columns))


def grid_of(stamp, psf, stretch=1.0):
    """Return the odd grid on which a `stamp` (pixels), grown by up to `stretch`, and a `psf` convolve."""
    return _odd(stretch * stamp + math.ceil(psf / 2))


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
    grid = grid_of(max(truth.shape[2:4]), max(psf.shape[1:3]))
    number = grid // 2 + 1
    spectra = spectrum(ops.reshape(truth, (-1, *truth.shape[2:])), grid, number) * model_gain(grid, number, model_sigma)
    transfer = (
        ops.repeat(spectrum(psf, grid, number), sources, axis=0) if psf.shape[0] != 1 else spectrum(psf, grid, number)
    )
    flat = ops.reshape(ops.cast(positions, "float32"), (-1, 2))
    scenes = pixels(spectra, transfer, flat, size, grid, None if factor is None else ops.reshape(factor, (-1,)))
    return ops.reshape(scenes, (-1, sources, size, size, bands))


def check_psf(psf, bands):
    """Raise `InputError` unless `psf` is (n, y, x, band) with so many bands."""
    if len(psf.shape) != 4 or psf.shape[-1] != bands:
        raise InputError(f"psf has shape {tuple(psf.shape)}; it must be (n, y, x, band) with {bands} bands")
