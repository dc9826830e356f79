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


@keras.saving.register_keras_serializable(package="galzoo")
class NormalizedStack(keras.layers.Layer):
    """Residual blocks of ConvNeXt (Liu et al. 2022): 5x5 a channel, norm, 1x1, SiLU, 1x1, added; norm and SiLU last.

    Parameters
    ----------
    blocks : int
        Number of residual blocks.
    hidden : int
        Channels between the two 1x1 convolutions of a block.

    Notes
    -----
    The norm is over the channels of each position alone, so that nothing depends on the size of the stamp or on what
    else is in it, and it costs a quarter of a group norm on a CPU.

    References
    ----------
    Liu et al. 2022, arXiv:2201.03545; Ba, Kiros & Hinton 2016, arXiv:1607.06450.
    """

    def __init__(self, blocks=2, hidden=32, **kwargs):
        super().__init__(**kwargs)
        self.blocks = int(blocks)
        self.hidden = int(hidden)

    def build(self, input_shape):
        channels = int(input_shape[-1])
        self.spatial, self.norms, self.wides, self.narrows = [], [], [], []
        for index in range(self.blocks):
            self.spatial.append(layers.DepthwiseConv2D(5, padding="same", name=f"spatial_{index}"))
            self.norms.append(layers.LayerNormalization(name=f"norm_{index}"))
            self.wides.append(layers.Dense(self.hidden, name=f"wide_{index}"))
            # Each block starts as nothing, so that a deep stack starts as a shallow one.
            self.narrows.append(layers.Dense(channels, kernel_initializer="zeros", name=f"narrow_{index}"))
            for layer in (self.spatial[-1], self.norms[-1], self.wides[-1]):
                layer.build(input_shape)
            self.narrows[-1].build((*input_shape[:-1], self.hidden))
        self.last = layers.LayerNormalization(name="norm_last")
        self.last.build(input_shape)

    def call(self, inputs):
        x = inputs
        for spatial, norm, wide, narrow in zip(self.spatial, self.norms, self.wides, self.narrows, strict=True):
            x = x + narrow(ops.silu(wide(norm(spatial(x)))))
        return ops.silu(self.last(x))

    def get_config(self):
        return {**super().get_config(), "blocks": self.blocks, "hidden": self.hidden}


@keras.saving.register_keras_serializable(package="galzoo")
class Patches(keras.layers.Layer):
    """Turn squares of `size` pixels into the channels of one position each; what is missing at the far sides is 0.

    Parameters
    ----------
    size : int
        Pixels on a side of a square.
    """

    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.size = int(size)

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        size = self.size
        rows, columns = -(-height // size), -(-width // size)
        padding = ((0, 0), (0, rows * size - height), (0, columns * size - width), (0, 0))
        x = ops.pad(inputs, padding) if height % size or width % size else inputs
        x = ops.reshape(x, (-1, rows, size, columns, size * channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4)), (-1, rows, columns, size * size * channels))

    def compute_output_shape(self, input_shape):
        rows, columns = (None if size is None else -(-size // self.size) for size in input_shape[1:3])
        return (input_shape[0], rows, columns, self.size**2 * input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="galzoo")
class Overlap(keras.layers.Layer):
    """Draw each position as a square of twice the spacing, the squares added where they overlap.

    A transposed convolution of kernel ``2 * size`` and stride `size` as one matrix product. Every pixel is drawn by
    four squares, so that no seam has to be where squares of `size` pixels meet; the map goes on beyond its rim.

    Parameters
    ----------
    filters : int
        Output channels.
    size : int
        Pixels between the squares.
    bias_initializer : str or Initializer
        Of the bias of the output channels.
    """

    def __init__(self, filters, size=4, bias_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        if size % 2:
            raise ValueError(f"size is {size}; it must be even, so that half of it can be cut off on each side")
        self.filters, self.size = int(filters), int(size)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        shape = (int(input_shape[-1]), 4 * self.size**2 * self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer=self.bias_initializer)

    def call(self, inputs):
        size, filters = self.size, self.filters
        inputs = ops.concatenate([inputs[:, :1], inputs, inputs[:, -1:]], axis=1)
        inputs = ops.concatenate([inputs[:, :, :1], inputs, inputs[:, :, -1:]], axis=2)
        rows, columns = inputs.shape[1:3]
        squares = ops.matmul(inputs, self.kernel)
        squares = ops.reshape(squares, (-1, rows, columns, 2, size, 2, size * filters))
        # Quarter (i, j) of the square at a position belongs to the tile i rows down and j columns to the right of it.
        tiles = 0.0
        for i in (0, 1):
            for j in (0, 1):
                quarter = squares[:, :, :, i, :, j]
                tiles = tiles + ops.pad(quarter, ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0), (0, 0)))
        image = ops.transpose(tiles, (0, 1, 3, 2, 4))
        image = ops.reshape(image, (-1, (rows + 1) * size, (columns + 1) * size, filters))
        rim = size + size // 2
        return image[:, rim:-rim, rim:-rim] + self.bias

    def compute_output_shape(self, input_shape):
        rows, columns = (None if size is None else size * self.size for size in input_shape[1:3])
        return (input_shape[0], rows, columns, self.filters)

    def get_config(self):
        initializer = keras.initializers.serialize(self.bias_initializer)
        return {**super().get_config(), "filters": self.filters, "size": self.size, "bias_initializer": initializer}
