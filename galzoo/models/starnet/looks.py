"""What is seen of an image before the network: the noise of its sky, the middle of its PSF; and where cells start."""

import keras
import numpy as np
from keras import ops

from galzoo.layers.likelihood import weights

# The share of cells with a star that training starts from.
_RARE = 0.01
# Pixels of the window in which the least variance is that of the sky.
_SKY_WINDOW = 15


def sky_noise(variance, mask):
    """Return the noise of the sky (n, y, x, band), finite; 1 or 0 where a pixel is good; where it is known."""
    weight = weights(variance, mask)
    good = ops.cast(weight > 0, "float32")
    window = (1, _SKY_WINDOW)
    greatest = ops.max_pool(weight, window, strides=1, padding="same")
    greatest = ops.max_pool(greatest, window[::-1], strides=1, padding="same")
    found = greatest > 0
    return ops.where(found, 1 / ops.sqrt(ops.where(found, greatest, 1.0)), 1.0), good, found


def middle(psf, size):
    """Return PSFs (n, y, x, band) cut or padded to `size` pixels about their centre."""
    for axis in (1, 2):
        extra = psf.shape[axis] - size
        if extra > 0:
            psf = ops.take(psf, np.arange(extra // 2, extra // 2 + size), axis=axis)
        elif extra < 0:
            before = -extra // 2
            padding = [(0, 0)] * 4
            padding[axis] = (before, -extra - before)
            psf = ops.pad(psf, padding)
    return psf


@keras.saving.register_keras_serializable(package="galzoo", name="StarNetStart")
class StartBias(keras.initializers.Initializer):
    """Start of the cells: stars are rare."""

    def __init__(self, width):
        self.width = width

    def __call__(self, shape, dtype=None):
        bias = np.zeros(shape, "float32")
        bias[:: self.width] = np.log(_RARE / (1 - _RARE))
        return ops.convert_to_tensor(bias, dtype=dtype)

    def get_config(self):
        return {"width": self.width}
