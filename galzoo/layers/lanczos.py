"""Lanczos kernels about places, by which stars are put on pixels."""

import numpy as np
from keras import ops

# Half the width of the kernel, pixels.
_REACH = 5


def lanczos_lines(places, side, before):
    """Return Lanczos kernels of unit sum about places (n, star), on `side` pixels from ``-before``, (n, star, side)."""
    pixel = np.arange(-before, side - before).astype("float32")
    places = places[..., None]
    at = pixel - places
    # sin(pi at) sin(pi at / reach) without a sine a pixel.
    sign = np.where(pixel % 2 == 0, -1, 1).astype("float32")
    step = np.float32(np.pi / _REACH)
    part = places - ops.floor(places)
    parity = 1 - 2 * (ops.floor(places) - 2 * ops.floor(0.5 * places))
    wave = ops.sin(np.float32(np.pi) * part) * parity
    cos, sin = ops.cos(step * places), ops.sin(step * places)
    window = (sign * np.sin(step * pixel)) * cos - (sign * np.cos(step * pixel)) * sin
    square = ops.square(at)
    # On a pixel's middle the kernel is 1 there.
    near = square < 1e-5
    kernel = ops.where(near, 1.0, wave * window / ops.where(near, 1.0, np.float32(np.pi) * step * square))
    kernel = ops.where(square < _REACH**2, kernel, 0.0)
    # The sum over all pixels, those beyond the grid as well, is 1 within .006; it is made 1.
    taps = np.arange(1 - _REACH, _REACH + 1).astype("float32") - part
    bare = ops.square(taps) < 1e-5
    total = ops.sin(np.float32(np.pi) * taps) * ops.sin(step * taps)
    total = ops.where(bare, 1.0, total / ops.where(bare, 1.0, np.float32(np.pi) * step * ops.square(taps)))
    return kernel / ops.sum(total, axis=-1, keepdims=True)
