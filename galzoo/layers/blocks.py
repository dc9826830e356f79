"""Convolution blocks that more than one family uses."""

import functools

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(package="galzoo")
class ResidualStack(keras.layers.Layer):
    """Residual blocks of the VQ-VAE (van den Oord et al. 2017): ReLU, 3x3, ReLU, 1x1, added to the input; ReLU last.

    Parameters
    ----------
    blocks : int
        Number of residual blocks.
    hidden : int
        Channels of the 3x3 convolution inside a block.
    """

    def __init__(self, blocks=2, hidden=32, **kwargs):
        super().__init__(**kwargs)
        self.blocks = int(blocks)
        self.hidden = int(hidden)

    def build(self, input_shape):
        channels = int(input_shape[-1])
        self.convolutions = []
        for index in range(self.blocks):
            wide = layers.Conv2D(self.hidden, 3, padding="same", name=f"wide_{index}")
            narrow = layers.Conv2D(channels, 1, name=f"narrow_{index}")
            wide.build(input_shape)
            narrow.build((*input_shape[:-1], self.hidden))
            self.convolutions += [wide, narrow]

    def call(self, inputs):
        x = inputs
        for wide, narrow in zip(self.convolutions[::2], self.convolutions[1::2], strict=True):
            x = x + narrow(ops.relu(wide(ops.relu(x))))
        return ops.relu(x)

    def get_config(self):
        return {**super().get_config(), "blocks": self.blocks, "hidden": self.hidden}


@functools.lru_cache(maxsize=32)
def _bilinear(size):
    """Return the matrix (2 * size, size) that doubles an axis by linear interpolation, the rim continued outwards."""
    place = np.clip((np.arange(2 * size) - 0.5) / 2, 0, size - 1)
    low = np.minimum(place.astype(int), size - 2) if size > 1 else np.zeros(2, int)
    matrix = np.zeros((2 * size, size), "float32")
    rows = np.arange(2 * size)
    matrix[rows, low] = 1 - (place - low)
    matrix[rows, np.minimum(low + 1, size - 1)] += place - low
    return matrix


def double(image):
    """Double the size of feature maps (n, y, x, channel) by bilinear interpolation.

    Two matrix products: several times faster on a CPU than shifting and interleaving.
    """
    rows, columns, channels = image.shape[1:]
    image = ops.matmul(ops.cast(_bilinear(rows), image.dtype), ops.reshape(image, (-1, rows, columns * channels)))
    image = ops.matmul(ops.cast(_bilinear(columns), image.dtype), ops.reshape(image, (-1, columns, channels)))
    return ops.reshape(image, (-1, 2 * rows, 2 * columns, channels))


@keras.saving.register_keras_serializable(package="galzoo")
class Upsample(keras.layers.Layer):
    """Double the size of a feature map, to `filters` channels.

    Parameters
    ----------
    filters : int
        Output channels.
    method : {"resize", "transposed"}
        "resize": bilinear interpolation, then a 3x3 convolution, which cannot leave a checkerboard (Odena et al. 2016).
        "transposed": the 4x4 transposed convolution of the original VQ-VAE.
    """

    def __init__(self, filters, method="resize", **kwargs):
        super().__init__(**kwargs)
        self.filters = int(filters)
        self.method = method

    def build(self, input_shape):
        if self.method == "transposed":
            self.convolution = layers.Conv2DTranspose(self.filters, 4, strides=2, padding="same", name="convolution")
            self.convolution.build(input_shape)
        else:
            # Narrowing at the small size first makes the interpolation four times cheaper.
            self.narrow = layers.Conv2D(self.filters, 1, name="narrow")
            self.narrow.build(input_shape)
            self.convolution = layers.Conv2D(self.filters, 3, padding="same", name="convolution")
            self.convolution.build((*input_shape[:-1], self.filters))

    def call(self, inputs):
        if self.method == "transposed":
            return self.convolution(inputs)
        return self.convolution(double(self.narrow(inputs)))

    def compute_output_shape(self, input_shape):
        rows, columns = (None if size is None else 2 * size for size in input_shape[1:3])
        return (input_shape[0], rows, columns, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "method": self.method}
