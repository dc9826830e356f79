"""Backbone with feature pyramid, and the heads."""

import keras
import numpy as np
from keras import layers, ops

from galzoo.layers.blocks import Patches, double

# The share of cells with a centre, or of anchors with a source, that training starts from, and the logarithm of the
# distance to the edges of boxes.
_RARE, _START_REACH = 0.01, 1.5


@keras.saving.register_keras_serializable(package="galzoo")
class Pyramid(keras.layers.Layer):
    """Residual backbone with a feature pyramid (Lin et al. 2017), shaped for CPUs.

    Parameters
    ----------
    channels : sequence of int
        Of each level; the first has 2 pixels to a cell, each further one twice as many.
    blocks : sequence of int
        Residual blocks of each level.
    width : int
        Channels of the maps that are returned.

    Notes
    -----
    Called with (n, y, x, plane), sizes multiples of the coarsest stride, and with planes (n, y, x, more) that are
    added behind the stem, or None. Squares of pixels become channels in place of strided convolutions at full
    resolution. There are no norms: blocks start as nothing (De & Smith 2020), so that what is seen of a source depends
    neither on the size of the image nor on what else is in it.

    References
    ----------
    Lin et al. 2017, arXiv:1612.03144; De & Smith 2020, arXiv:2002.10444.
    """

    def __init__(self, channels=(32, 64, 96, 128, 128), blocks=(1, 2, 2, 2, 1), width=48, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.blocks, self.width = tuple(channels), tuple(blocks), int(width)
        self.patches = Patches(2)

    def build(self, planes):
        self.stem = layers.Conv2D(self.channels[0], 3, padding="same", name="stem")
        self.stem.build((None, None, None, 4 * planes))
        self.downs, self.stacks, self.laterals, self.smooths = [], [], [], []
        for level, channels in enumerate(self.channels):
            if level:
                down = layers.Conv2D(channels, 1, name=f"down_{level}")
                down.build((None, None, None, 4 * self.channels[level - 1]))
                self.downs.append(down)
            stack = []
            for block in range(self.blocks[level]):
                pair = [
                    layers.Conv2D(channels, 3, padding="same", name=f"block_{level}_{block}_0"),
                    layers.Conv2D(
                        channels, 3, padding="same", kernel_initializer="zeros", name=f"block_{level}_{block}_1"
                    ),
                ]
                for layer in pair:
                    layer.build((None, None, None, channels))
                stack.append(pair)
            self.stacks.append(stack)
            lateral = layers.Conv2D(self.width, 1, name=f"lateral_{level}")
            lateral.build((None, None, None, channels))
            smooth = layers.Conv2D(self.width, 3, padding="same", name=f"smooth_{level}")
            smooth.build((None, None, None, self.width))
            self.laterals.append(lateral)
            self.smooths.append(smooth)

    def call(self, inputs, more=None):
        x = self.stem(self.patches(inputs))
        if more is not None:
            x = x + more
        maps = []
        for level, stack in enumerate(self.stacks):
            if level:
                x = self.downs[level - 1](self.patches(ops.silu(x)))
            for first, second in stack:
                x = x + second(ops.silu(first(ops.silu(x))))
            maps.append(ops.silu(x))
        result, above = [], None
        for level in reversed(range(len(maps))):
            here = self.laterals[level](maps[level])
            above = here if above is None else here + double(above)
            result.append(ops.silu(self.smooths[level](above)))
        return result[::-1]

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "blocks": self.blocks, "width": self.width}


def perceptron(name, inputs, hidden, outputs, bias="zeros"):
    """Return a small network of dense layers; the last starts as nothing but its bias and is in single precision."""
    network = keras.Sequential(name=name)
    for number, units in enumerate(hidden):
        network.add(layers.Dense(units, activation="silu", name=f"{name}_{number}"))
    last = layers.Dense(outputs, kernel_initializer="zeros", bias_initializer=bias, dtype="float32", name=f"{name}_out")
    network.add(last)
    network.build((None, inputs))
    return network


def dense_head(name, inputs, outputs, bias="zeros"):
    """Return a 3x3 convolution and a 1x1 one, which starts as nothing but its bias."""
    network = keras.Sequential(name=name)
    network.add(layers.Conv2D(inputs, 3, padding="same", activation="silu", name=f"{name}_0"))
    last = {"kernel_initializer": "zeros", "bias_initializer": bias, "dtype": "float32"}
    network.add(layers.Conv2D(outputs, 1, name=f"{name}_out", **last))
    network.build((None, None, None, inputs))
    return network


def mask_head(inputs, filters, size=14):
    """Return the network from `size` x `size` features to twice as many logits on a side, two for each pixel."""
    network = keras.Sequential(name="mask_head")
    for number in range(2):
        network.add(layers.Conv2D(filters, 3, padding="same", activation="silu", name=f"mask_{number}"))
    network.add(layers.Conv2DTranspose(filters // 2, 2, strides=2, activation="silu", name="mask_up"))
    network.add(layers.Conv2D(2, 1, kernel_initializer="zeros", dtype="float32", name="mask_out"))
    network.build((None, size, size, inputs))
    return network


class StartBias(keras.initializers.Initializer):
    """Start of the proposals: rare; of centres in the middle of the cell, with a box of some pixels."""

    def __init__(self, anchors=0):
        self.anchors = anchors

    def __call__(self, shape, dtype=None):
        bias = np.zeros(shape, "float32")
        if self.anchors:
            bias[::5] = np.log(_RARE / (1 - _RARE))
        else:
            bias[0] = np.log(_RARE / (1 - _RARE))
            bias[3:7] = _START_REACH
        return ops.convert_to_tensor(bias, dtype=dtype)

    def get_config(self):
        return {"anchors": self.anchors}
