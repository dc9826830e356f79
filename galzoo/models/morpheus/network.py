"""The U-Net of Morpheus, with the resizing that its weights were trained with."""

import functools

import keras
import numpy as np
from keras import layers, ops

# Cubic convolution of TensorFlow's first resize, Keys 1981 (IEEE ASSP 29, 1153).
_CUBIC = -0.75


@functools.cache
def doubling_matrix(size):
    """Return the matrix (2 size, size) that doubles an axis as the original network does.

    Bicubic with a = -0.75 and aligned corners: the first and last pixels keep their places, so that a pixel moves by up
    to a quarter of a pixel, by where it is in the image; pixels beyond the end repeat the last.
    `keras.layers.UpSampling2D` does neither.
    """
    matrix = np.zeros((2 * size, size))
    place = np.arange(2 * size) * (size - 1) / (2 * size - 1)
    # TensorFlow takes its weights from a table of 1024 steps a pixel.
    first = np.floor(place).astype(int)
    offset = np.round((place - first) * 1024) / 1024
    for tap in range(-1, 3):
        distance = np.abs(offset - tap)
        near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
        far = ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        np.add.at(matrix, (np.arange(2 * size), np.clip(first + tap, 0, size - 1)), weight)
    return matrix.astype("float32")


@keras.saving.register_keras_serializable(package="galzoo")
class Block(layers.Layer):
    """Batch normalisation, 3 x 3 convolution, ReLU."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = int(filters)
        self.norm = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name="norm")
        self.conv = layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="variance_scaling", name="conv"
        )

    def build(self, shape):
        self.norm.build(shape)
        self.conv.build(shape)
        self.built = True

    def call(self, x, training=False):
        return self.conv(self.norm(x, training=training))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable(package="galzoo")
class UNet(layers.Layer):
    """Logits of the classes from standardised images.

    Parameters
    ----------
    classes : int
    down, up : sequence of int
        Filters of each level, from full resolution down, and from the lowest level up.
    down_blocks, up_blocks : int
        Blocks of a level.
    middle : int
        Filters of the one block below all levels.

    Notes
    -----
    Any size: images are mirrored at their end up to a multiple of 2**levels, and cut again.
    """

    def __init__(self, classes, down=(8, 16, 32), up=(8, 16, 32), down_blocks=4, up_blocks=2, middle=16, **kwargs):
        super().__init__(**kwargs)
        self.arguments = {
            "classes": int(classes), "down": list(down), "up": list(up), "down_blocks": int(down_blocks),
            "up_blocks": int(up_blocks), "middle": int(middle),
        }  # fmt: skip
        self.down = [
            [Block(filters, name=f"down_{level}_{step}") for step in range(down_blocks)]
            for level, filters in enumerate(down)
        ]
        self.middle = Block(middle, name="middle")
        self.up = [
            [Block(filters, name=f"up_{level}_{step}") for step in range(up_blocks)] for level, filters in enumerate(up)
        ]
        self.pool = layers.MaxPooling2D(2)
        # Class probabilities are compared in single precision.
        self.last = layers.Conv2D(
            classes, 3, padding="same", kernel_initializer="variance_scaling", dtype="float32", name="last"
        )

    def build(self, shape):
        channels, skips = shape[-1], []
        for blocks in self.down:
            for block in blocks:
                block.build((None, None, None, channels))
                channels = block.filters
            skips.append(channels)
        self.middle.build((None, None, None, channels))
        channels = self.middle.filters
        for blocks, skip in zip(self.up, reversed(skips), strict=True):
            channels += skip
            for block in blocks:
                block.build((None, None, None, channels))
                channels = block.filters
        self.last.build((None, None, None, channels))
        self.built = True

    def call(self, x, training=False):
        height, width = x.shape[1:3]
        cell = 2 ** len(self.down)
        extra = [-height % cell, -width % cell]
        if any(extra):
            x = ops.pad(x, [(0, 0), (0, extra[0]), (0, extra[1]), (0, 0)], mode="symmetric")
        skips = []
        for blocks in self.down:
            for block in blocks:
                x = block(x, training=training)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x, training=training)
        for blocks, skip in zip(self.up, reversed(skips), strict=True):
            x = ops.concatenate([_double(x), skip], axis=-1)
            for block in blocks:
                x = block(x, training=training)
        return self.last(x)[:, :height, :width]

    def get_config(self):
        return {**super().get_config(), **self.arguments}


def _double(x):
    rows, columns = (ops.cast(doubling_matrix(size), x.dtype) for size in x.shape[1:3])
    return ops.einsum("ay,nyxc,bx->nabc", rows, x, columns)
