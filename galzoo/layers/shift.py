"""Sub-pixel shifts of images."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError


def _sinc(offset):
    """Return ``sin(pi x) / (pi x)`` with a finite gradient at 0, where the Taylor series takes over."""
    near = ops.abs(offset) < 1e-3
    angle = np.pi * ops.where(near, ops.ones_like(offset), offset)
    return ops.where(near, 1 - (np.pi * offset) ** 2 / 6, ops.sin(angle) / angle)


def _matrix(shift, size):
    """Return the matrices (n, size, size) that move the pixels of an axis by `shift` (n,)."""
    pixel = np.arange(size, dtype="float32")
    return _sinc((pixel[:, None] - pixel) - ops.reshape(shift, (-1, 1, 1)))


def shift_image(image, shift):
    """Move images by fractions of a pixel; what leaves the image is lost and nothing comes back on the other side.

    Parameters
    ----------
    image : tensor, (n, y, x, band)
        Well-sampled images, in any unit.
    shift : tensor, (n, 2)
        Pixels to move by, as (dx, dy); positive is to larger x and y.

    Returns
    -------
    tensor, (n, y, x, band)

    Raises
    ------
    InputError
        If the shapes do not fit each other.

    Notes
    -----
    A Fourier phase on a grid padded with zeros for ever is a convolution with ``sinc(x - dx) sinc(y - dy)``, which is
    what is done here: it is real, has no Nyquist frequency to treat apart, and cannot wrap.
    """
    image = ops.convert_to_tensor(image)
    shift = ops.cast(shift, "float32")
    if len(image.shape) != 4:
        raise InputError(f"image has shape {tuple(image.shape)}; images to shift are (n, y, x, band)")
    if len(shift.shape) != 2 or shift.shape[1] != 2:
        raise InputError(f"shift has shape {tuple(shift.shape)}; it must be (n, 2) with dx and dy in pixels")
    if None not in (image.shape[0], shift.shape[0]) and image.shape[0] != shift.shape[0]:
        raise InputError(f"{shift.shape[0]} shifts for {image.shape[0]} images; give one each")
    dtype = image.dtype
    planes = ops.transpose(ops.cast(image, "float32"), (0, 3, 1, 2))
    along_x = ops.transpose(_matrix(shift[:, 0], image.shape[2]), (0, 2, 1))[:, None]
    along_y = _matrix(shift[:, 1], image.shape[1])[:, None]
    moved = ops.matmul(along_y, ops.matmul(planes, along_x))
    return ops.cast(ops.transpose(moved, (0, 2, 3, 1)), dtype)


@keras.saving.register_keras_serializable(package="galzoo")
class Shift(keras.layers.Layer):
    """Move images by fractions of a pixel, called with ``(image, shift)``; see `shift_image`."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, image, shift):
        return shift_image(image, shift)

    def compute_output_shape(self, image_shape, shift_shape=None):
        return image_shape
