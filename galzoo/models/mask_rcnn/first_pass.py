"""What a first pass that missed some sources would have fitted, for training on its residuals."""

import keras
import numpy as np
from keras import ops

from galzoo.layers import boxes as boxing

# Chance that a source is missed: on its own, and with a brighter one within so many pixels.
_MISSED, _MISSED_NEAR, _NEAR = 0.1, 0.5, 8.0
# Relative error of fluxes and errors of positions in pixels that even bright sources have, and of squared sizes.
_FLUX_ERROR, _POSITION_ERROR, _SIZE_ERROR = 0.02, 0.03, 0.1
# Pixels over which a source takes over the light of a missed one.
_SHARED = 3.0


def first_pass(batch, snr, size, seed):
    """Return the image (n, y, x, band) that a first pass would have fitted, and which sources it missed.

    Parameters
    ----------
    batch : dict
        ``positions, n_sources, flux, source_images`` and ``corners``.
    snr : tensor, (n, source)
        Signal-to-noise ratio of each.
    size : (int, int)
        Pixels (y, x) of the scene.
    seed : int or keras.random.SeedGenerator

    Notes
    -----
    Sources with a brighter neighbour are missed more often. Those that are found have errors of flux, place and size,
    larger for faint ones, and have taken over light of the missed ones beside them.
    """
    images = ops.cast(batch["source_images"], "float32")
    positions, flux = ops.cast(batch["positions"], "float32"), ops.cast(batch["flux"], "float32")
    most = positions.shape[1]
    there = np.arange(most) < ops.cast(batch["n_sources"], "int32")[:, None]
    draws = keras.random.uniform((ops.shape(positions)[0], most, 9), seed=seed)
    square = boxing.pairs_of(positions, positions)
    brighter = ops.logical_and(snr[:, None] > snr[:, :, None], there[:, None])
    crowded = ops.any(ops.logical_and(brighter, square < _NEAR**2), axis=-1)
    missed = ops.logical_and(there, draws[..., 0] < ops.where(crowded, _MISSED_NEAR, _MISSED))
    kept = ops.cast(ops.logical_and(there, ops.logical_not(missed)), "float32")

    # Box & Muller (1958).
    size_of = ops.sqrt(-2 * ops.log(ops.maximum(draws[..., 1:5], 1e-7)))
    normal = size_of * ops.cos(2 * np.pi * draws[..., 5:])
    uncertain = 1 / ops.maximum(snr, 1.0)
    share = ops.exp(-0.5 * square / _SHARED**2) * kept[..., None] * ops.cast(missed, "float32")[:, None]
    # What is missed is shared out once.
    share = share / ops.maximum(ops.sum(share, axis=1, keepdims=True), 1.0)
    taken = ops.matmul(share, flux)
    factor = ops.where(flux > 0, 1 + taken / ops.where(flux > 0, flux, 1.0), 1.0)
    factor = factor * (1 + ops.sqrt(_FLUX_ERROR**2 + uncertain**2) * normal[..., 0])[..., None]
    power = ops.sum(flux, axis=-1)
    total = power + ops.matmul(share, power[..., None])[..., 0]
    pull = (
        ops.matmul(share * power[:, None], positions) - ops.sum(share * power[:, None], axis=-1)[..., None] * positions
    )
    shift = pull / ops.maximum(total, 1e-6)[..., None]
    shift = shift + ops.sqrt(_POSITION_ERROR**2 + uncertain**2)[..., None] * normal[..., 1:3]
    shift = ops.clip(shift, -1.0, 1.0)
    wider = ops.clip(_SIZE_ERROR * normal[..., 3], -0.2, 0.2)

    moved = images - _scaled(shift[..., 0], _slope(images, 3)) - _scaled(shift[..., 1], _slope(images, 2))
    moved = moved + _scaled(wider, _bend(images, 3) + _bend(images, 2))
    moved = moved * (factor * kept[..., None])[:, :, None, None]
    return add_up(moved, ops.cast(batch["corners"], "int32"), size), missed


def _scaled(number, images):
    return number[..., None, None, None] * images


def _slope(images, axis):
    return (_next(images, axis, 1) - _next(images, axis, -1)) / 2


def _bend(images, axis):
    return (_next(images, axis, 1) + _next(images, axis, -1)) / 2 - images


def _next(images, axis, step):
    """Return images moved by one pixel, 0 beyond the rim."""
    padding = [(0, 0)] * 5
    padding[axis] = (0, 1) if step > 0 else (1, 0)
    index = [slice(None)] * 5
    index[axis] = slice(1, None) if step > 0 else slice(None, -1)
    return ops.pad(images, padding)[tuple(index)]


def add_up(images, corners, size):
    """Return the sums (n, y, x, band) of images (n, source, side, side, band) that lie at `corners`.

    Parameters
    ----------
    images : tensor
    corners : int tensor, (n, source, 2)
        Pixel of the scene, as x, y, on which the first of each image lies.
    size : (int, int)
        Pixels (y, x) of the scenes; what lies beyond is left out.
    """
    n, side, bands = ops.shape(images)[0], images.shape[2], images.shape[-1]
    x, y = (corners[..., axis, None] + np.arange(side, dtype="int32") for axis in (0, 1))
    x, y = x[:, :, None, :], y[:, :, :, None]
    inside = ops.logical_and(ops.logical_and(x >= 0, x < size[1]), ops.logical_and(y >= 0, y < size[0]))
    pixels = size[0] * size[1]
    index = ops.reshape(ops.arange(n, dtype="int32"), (-1, 1, 1, 1)) * pixels + y * size[1] + x
    index = ops.reshape(ops.where(inside, index, n * pixels), (-1,))
    total = ops.segment_sum(ops.reshape(images, (-1, bands)), index, n * pixels + 1)
    return ops.reshape(total[:-1], (-1, *size, bands))
