"""Two-dimensional Fourier transforms of real images as matrix products, on any back end."""

import functools
import math

import numpy as np
from keras import ops

# A spectrum has shape (n, band, kx, 2, ky): half of the x frequencies, the real and the imaginary part, all of the y
# frequencies. Grids are odd, so no frequency is its own mirror image and half-pixel phases keep images real.


def padded_size(image, kernel):
    """Return the odd grid on which an `image` axis and a `kernel` axis (pixels) convolve without wrapping.

    Only what reaches the image counts: half of the kernel on either side.
    """
    size = image + math.ceil(kernel / 2) + 1
    return size + 1 - size % 2


@functools.lru_cache(maxsize=128)
def _forward_x(size, grid, centre):
    """Return the matrix (x, 2 * kx) from pixels to the real and imaginary parts of the half spectrum."""
    phase = 2 * np.pi / grid * np.outer(np.arange(size) - centre, np.arange(grid // 2 + 1))
    return np.concatenate([np.cos(phase), -np.sin(phase)], axis=1).astype("float32")


@functools.lru_cache(maxsize=128)
def _inverse_x(size, grid):
    """Return the matrix (2 * kx, x) from the half spectrum to real pixels."""
    phase = 2 * np.pi / grid * np.outer(np.arange(grid // 2 + 1), np.arange(size))
    # Every frequency but 0 stands for its mirror image too.
    weight = np.where(np.arange(grid // 2 + 1) == 0, 1, 2)[:, None] / grid
    return np.concatenate([weight * np.cos(phase), -weight * np.sin(phase)]).astype("float32")


@functools.lru_cache(maxsize=128)
def _forward_y(size, grid, centre):
    """Return the matrix (2 * y, 2 * ky) that transforms complex columns."""
    # Signed frequencies: a half-pixel phase is not the same one grid further on.
    phase = 2 * np.pi * np.outer(np.arange(size) - centre, np.fft.fftfreq(grid))
    cos, sin = np.cos(phase), np.sin(phase)
    return np.block([[cos, -sin], [sin, cos]]).astype("float32")


@functools.lru_cache(maxsize=128)
def _inverse_y(size, grid):
    """Return the matrix (2 * ky, 2 * y) that transforms complex columns back."""
    return np.ascontiguousarray(_forward_y(size, grid, 0.0).T) / np.float32(grid)


def frequencies(grid):
    """Return kx (kx, 1, 1) and ky (ky,) of a spectrum in radians per pixel, for a `grid` of (y, x) pixels."""
    kx = 2 * np.pi * np.arange(grid[1] // 2 + 1) / grid[1]
    ky = 2 * np.pi * np.fft.fftfreq(grid[0])
    return kx[:, None, None], ky


def spectrum(image, grid, centre=(0.0, 0.0)):
    """Transform real images.

    Parameters
    ----------
    image : tensor, (n, y, x, band)
        Images; they are zero outside their pixels.
    grid : (int, int)
        Odd grid size (y, x) in pixels.
    centre : (float, float)
        Pixel (y, x) to be the origin; it need not be an integer.

    Returns
    -------
    tensor, (n, band, kx, 2, ky)
    """
    y, x = image.shape[1:3]
    bands = image.shape[3]
    columns = grid[1] // 2 + 1
    flat = ops.reshape(ops.transpose(image, (0, 3, 1, 2)), (-1, x))
    rows = ops.matmul(flat, _forward_x(x, grid[1], centre[1]))
    rows = ops.transpose(ops.reshape(rows, (-1, y, 2, columns)), (0, 3, 2, 1))
    result = ops.matmul(ops.reshape(rows, (-1, 2 * y)), _forward_y(y, grid[0], centre[0]))
    return ops.reshape(result, (-1, bands, columns, 2, grid[0]))


def inverse(values, grid, shape):
    """Transform back and keep the first `shape` (y, x) pixels; inverse of `spectrum` with the origin at pixel 0.

    Parameters
    ----------
    values : tensor, (n, band, kx, 2, ky)
    grid, shape : (int, int)
        Size (y, x) of the grid and of the result.

    Returns
    -------
    tensor, (n, y, x, band)
    """
    y, x = shape
    bands = values.shape[1]
    columns = grid[1] // 2 + 1
    rows = ops.matmul(ops.reshape(values, (-1, 2 * grid[0])), _inverse_y(y, grid[0]))
    rows = ops.transpose(ops.reshape(rows, (-1, columns, 2, y)), (0, 3, 2, 1))
    pixels = ops.matmul(ops.reshape(rows, (-1, 2 * columns)), _inverse_x(x, grid[1]))
    return ops.transpose(ops.reshape(pixels, (-1, bands, y, x)), (0, 2, 3, 1))


def multiply(first, second):
    """Return the complex product of two spectra; either may have 1 for n or band."""
    a, b = first[..., 0, :], first[..., 1, :]
    c, d = second[..., 0, :], second[..., 1, :]
    return ops.stack([a * c - b * d, a * d + b * c], axis=-2)
