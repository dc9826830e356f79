"""Networks of StarNet: what is made of PSFs, and a small U-Net that every block of which is told of them."""

import keras
from keras import layers, ops


class Block(keras.layers.Layer):
    """Two 3x3 convolutions added to their input, scaled and shifted by what is known of the field (FiLM).

    Parameters
    ----------
    channels : int
    told : int
        Length of the vector that describes the field.

    References
    ----------
    Perez et al. 2018, arXiv:1709.07871.
    """

    def __init__(self, channels, told, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.first = layers.Conv2D(channels, 3, padding="same", name="first")
        # Each block starts as nothing.
        self.second = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros", name="second")
        self.film = layers.Dense(2 * channels, kernel_initializer="zeros", name="film")
        self.first.build((None, None, None, channels))
        self.second.build((None, None, None, channels))
        self.film.build((None, told))
        self.built = True

    def call(self, x, told):
        scale, shift = ops.split(self.film(told)[:, None, None], 2, axis=-1)
        inner = self.first(ops.silu(x)) * (1 + scale) + shift
        return x + self.second(ops.silu(inner))


class Backbone(keras.layers.Layer):
    """A U-Net: blocks on all pixels, on 2 x 2 and on 4 x 4, and back.

    Parameters
    ----------
    planes : int
        Channels of the input.
    channels, blocks : sequence of int
        Channels and blocks of each level, the finest first; the blocks of the finest are used twice, down and up.
    told : int
        As for `Block`.
    """

    def __init__(self, planes, channels, blocks, told, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(channels[0], 3, padding="same", name="stem")
        self.stem.build((None, None, None, planes))
        self.down, self.shrink, self.grow, self.up = [], [], [], []
        for level, (width, number) in enumerate(zip(channels, blocks, strict=True)):
            self.down.append([Block(width, told, name=f"down_{level}_{i}") for i in range(number)])
            if level + 1 < len(channels):
                deeper = channels[level + 1]
                self.shrink.append(layers.Conv2D(deeper, 2, strides=2, name=f"shrink_{level}"))
                self.shrink[-1].build((None, None, None, width))
                # Four sub-pixels of each cell, put in place by reshaping.
                self.grow.append(layers.Dense(4 * width, name=f"grow_{level}"))
                self.grow[-1].build((None, None, None, deeper))
                self.up.append([Block(width, told, name=f"up_{level}_{i}") for i in range(number)])
        self.built = True

    def call(self, planes, told):
        x, kept = self.stem(planes), []
        for level, blocks in enumerate(self.down):
            for block in blocks:
                x = block(x, told)
            if level < len(self.shrink):
                kept.append(x)
                x = self.shrink[level](ops.silu(x))
        for level in reversed(range(len(self.shrink))):
            x = kept[level] + unfold(self.grow[level](ops.silu(x)))
            for block in self.up[level]:
                x = block(x, told)
        return ops.silu(x)


def unfold(x):
    """Turn maps (n, y, x, 4 c) into maps of twice the size (n, 2 y, 2 x, c)."""
    rows, columns, channels = x.shape[1], x.shape[2], x.shape[3] // 4
    x = ops.reshape(x, (-1, rows, columns, 2, 2, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 2 * rows, 2 * columns, channels))


def perceptron(name, inputs, hidden, outputs):
    """Return dense layers with SiLU between them."""
    network = keras.Sequential(
        [*(layers.Dense(h, activation="silu") for h in hidden), layers.Dense(outputs)], name=name
    )
    network.build((None, inputs))
    return network
