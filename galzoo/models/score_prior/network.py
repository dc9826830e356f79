"""The network of the score prior: a small U-net for images of any size, told the noise level and the condition."""

import keras
import numpy as np
from keras import layers, ops

from galzoo.layers.blocks import Overlap, double

# Widths, in pixels, of the bumps about the middle of the stamp that tell a pixel how far out it is.
_BUMPS = 2.0, 4.0, 8.0, 16.0
# Cycles of the noise level's logarithm, in radians per unit, that the network is told by sine and cosine.
_CYCLES = 0.25, 0.5, 1.0, 2.0
# Waves, in cells of the last level, by which a cell knows in what direction from the middle it lies.
_WAVES = 32.0, 16.0, 8.0
LEVEL_FEATURES = 2 * len(_CYCLES)


def level_features(log_sigma):
    """Return what tells the network the noise level, (n, LEVEL_FEATURES), from its logarithm (n,)."""
    phase = log_sigma[:, None] * np.float32(_CYCLES)
    return ops.concatenate([ops.sin(phase), ops.cos(phase)], axis=-1)


def place_maps(height, width):
    """Return bumps about the middle of the stamp and a map of ones, float32 (1, y, x, bumps + 1)."""
    y, x = (np.arange(size, dtype="float32") - (size - 1) / 2 for size in (height, width))
    radius2 = y[:, None] ** 2 + x[None] ** 2
    maps = [np.exp(-0.5 * radius2 / bump**2) for bump in _BUMPS]
    return np.stack([*maps, np.ones_like(radius2)], axis=-1)[None].astype("float32")


@keras.saving.register_keras_serializable(package="galzoo")
class ToldBlock(keras.layers.Layer):
    """Residual block: norm over channels, SiLU, 3x3, scaled and shifted by what is told, SiLU, 3x3, added.

    Called with maps (n, y, x, channel) and what is told (n, features). All of it can be differentiated twice.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = int(channels)
        self.norm = layers.LayerNormalization(name="norm")
        self.first = layers.Conv2D(self.channels, 3, padding="same", name="first")
        self.told = layers.Dense(2 * self.channels, kernel_initializer="zeros", name="told")
        # Each block starts as nothing, so that a deep network starts as a shallow one.
        self.second = layers.Conv2D(self.channels, 3, padding="same", kernel_initializer="zeros", name="second")

    def build(self, input_shape, told_shape=None):
        for layer in (self.norm, self.first, self.second):
            layer.build(input_shape)
        self.told.build(told_shape)

    def call(self, inputs, told):
        x = self.first(ops.silu(self.norm(inputs)))
        scale, shift = ops.split(self.told(told)[:, None, None], 2, axis=-1)
        return inputs + self.second(ops.silu(x * (1.0 + scale) + shift))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


def directions(height, width):
    """Return sines and cosines of the offsets from the middle, float32 (1, y, x, 4 * waves)."""
    offsets = np.meshgrid(*(np.arange(size) - (size - 1) / 2 for size in (height, width)), indexing="ij")
    phase = np.stack(offsets, axis=-1)[..., None] * (2 * np.pi / np.array(_WAVES))
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=-1)
    return waves.reshape(1, height, width, -1).astype("float32")


@keras.saving.register_keras_serializable(package="galzoo")
class Attention(keras.layers.Layer):
    """Each position looks at all others by what they are and where: norm, self-attention, added.

    Parameters
    ----------
    channels : int
    heads : int
    """

    def __init__(self, channels, heads=4, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.heads = int(channels), int(heads)
        self.norm = layers.LayerNormalization(name="norm")
        self.look = layers.MultiHeadAttention(
            self.heads, self.channels // self.heads, attention_axes=(1, 2), name="look"
        )
        # It starts as nothing.
        self.outward = layers.Dense(self.channels, kernel_initializer="zeros", name="outward")

    def build(self, input_shape):
        placed = (None, None, None, self.channels + 4 * len(_WAVES))
        self.norm.build(input_shape)
        self.look.build(placed, input_shape, placed)
        self.outward.build((None, None, None, placed[-1]))

    def call(self, inputs):
        seen = self.norm(inputs)
        where = ops.cast(directions(*inputs.shape[1:3]), seen.dtype)
        where = ops.broadcast_to(where, (ops.shape(inputs)[0], *where.shape[1:]))
        placed = ops.concatenate([seen, where], axis=-1)
        return inputs + self.outward(self.look(placed, seen, placed))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "heads": self.heads}


@keras.saving.register_keras_serializable(package="galzoo")
class Trunk(keras.layers.Layer):
    """Feature maps of half the size of an image, from the image and what is told.

    Parameters
    ----------
    bands : int
    channels : sequence of int
        Of each level: the first has half of the pixels along a side, each further one half of that.
    depth : int
        Blocks at the last level.
    features : int
        Length of what is told.
    attention : bool
        Each position of the last level looks at all others, before its last block.
    raw : bool
        Hand on the last maps beside their norm, which does not say how bright a pixel is: twice as many channels.

    Notes
    -----
    Strided kernels overlap and maps grow by bilinear interpolation, so that no grid is left in the image. Images are
    padded with zeros to a multiple of `step` pixels; a map of ones tells where they end.
    """

    def __init__(self, bands, channels=(48, 96, 128), depth=2, features=128, attention=False, raw=False, **kwargs):
        super().__init__(**kwargs)
        self.bands, self.channels, self.depth = int(bands), tuple(channels), int(depth)
        self.features, self.attention, self.raw = int(features), bool(attention), bool(raw)
        self.step = 2 ** len(self.channels)
        levels = range(len(self.channels) - 1)
        self.entry = layers.Conv2D(self.channels[0], 4, strides=2, padding="same", name="entry")
        self.down = [ToldBlock(self.channels[level], name=f"down_{level}") for level in levels]
        self.shrink = [
            layers.Conv2D(self.channels[level + 1], 4, strides=2, padding="same", name=f"shrink_{level}")
            for level in levels
        ]
        self.middle = [ToldBlock(self.channels[-1], name=f"middle_{index}") for index in range(self.depth)]
        self.together = Attention(self.channels[-1], name="together") if self.attention else None
        self.grow = [layers.Dense(self.channels[level], name=f"grow_{level}") for level in levels]
        self.up = [ToldBlock(self.channels[level], name=f"up_{level}") for level in levels]
        self.last = layers.LayerNormalization(name="last")

    def build(self, input_shape, told_shape=None):
        told = (None, self.features)
        self.entry.build((None, None, None, self.bands + len(_BUMPS) + 1))
        for level, (channels, below) in enumerate(zip(self.channels[:-1], self.channels[1:], strict=True)):
            self.down[level].build((None, None, None, channels), told)
            self.shrink[level].build((None, None, None, channels))
            self.grow[level].build((None, None, None, below))
            self.up[level].build((None, None, None, channels), told)
        for block in self.middle:
            block.build((None, None, None, self.channels[-1]), told)
        if self.together is not None:
            self.together.build((None, None, None, self.channels[-1]))
        self.last.build((None, None, None, self.channels[0]))

    def call(self, image, told):
        height, width = image.shape[1:3]
        places = ops.cast(place_maps(height, width), image.dtype)
        places = ops.broadcast_to(places, (ops.shape(image)[0], *places.shape[1:]))
        x = ops.concatenate([image, places], axis=-1)
        x = ops.pad(x, ((0, 0), self._padding(height), self._padding(width), (0, 0)))
        x = self.entry(x)
        kept = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x, told)
            kept.append(x)
            x = shrink(x)
        for index, block in enumerate(self.middle):
            if self.together is not None and index == self.depth - 1:
                x = self.together(x)
            x = block(x, told)
        for level in reversed(range(len(kept))):
            x = self.up[level](kept[level] + double(self.grow[level](x)), told)
        found = ops.silu(self.last(x))
        return ops.concatenate([found, x], axis=-1) if self.raw else found

    def cut(self, maps, height, width):
        """Cut maps of the padded size to the size of the image."""
        (top, _), (left, _) = self._padding(height), self._padding(width)
        return maps[:, top : top + height, left : left + width]

    def _padding(self, size):
        total = -size % self.step
        return total // 2, total - total // 2

    def get_config(self):
        arguments = {name: getattr(self, name) for name in ("bands", "depth", "features", "attention", "raw")}
        return {**super().get_config(), "channels": list(self.channels), **arguments}


def zero_head(filters, channels, bias="zeros", name=None):
    """Return a layer that draws maps (n, y, x, channels) at twice their size and starts as its bias."""
    head = Overlap(filters, size=2, bias_initializer=bias, name=name)
    head.build((None, None, None, channels))
    head.kernel.assign(ops.zeros(head.kernel.shape))
    return head
