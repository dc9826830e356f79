"""Encoder from planes to a vector, and decoder back, of stamps of one size."""

import keras
from keras import layers

from galzoo.layers.blocks import NormalizedStack, Overlap, Patches, Upsample

PATCH = 4
"""Pixels of a cell of the first level; each further level halves the side."""

# A decoder output below this is blank sky from the first step on: softplus(-4) = 0.018 of the noise.
_SKY_BIAS = -4.0


def make_encoder(size, planes, channels, blocks, hidden, latent):
    """Return the network from (n, size, size, planes) to mean and logarithm of the deviation, (n, 2 latent)."""
    encoder = keras.Sequential(name="encoder")
    for level, width in enumerate(channels):
        encoder.add(Patches(2 if level else PATCH))
        encoder.add(layers.Dense(width))
        encoder.add(NormalizedStack(blocks, 2 * width))
    encoder.add(layers.Flatten())
    encoder.add(layers.Dense(hidden, activation="silu"))
    encoder.add(layers.Dense(2 * latent, dtype="float32"))
    encoder.build((None, size, size, planes))
    return encoder


def make_decoder(size, bands, channels, blocks, hidden, latent):
    """Return the network from (n, latent) to scaled images before softplus, (n, size, size, bands)."""
    side = size // PATCH // 2 ** (len(channels) - 1)
    decoder = keras.Sequential(name="decoder")
    decoder.add(layers.Dense(hidden, activation="silu"))
    decoder.add(layers.Dense(side * side * channels[-1]))
    decoder.add(layers.Reshape((side, side, channels[-1])))
    for level in reversed(range(len(channels))):
        decoder.add(NormalizedStack(blocks, 2 * channels[level]))
        if level:
            decoder.add(Upsample(channels[level - 1]))
    decoder.add(Overlap(bands, PATCH, keras.initializers.Constant(_SKY_BIAS), dtype="float32"))
    decoder.build((None, latent))
    return decoder


def make_translation(latent, hidden):
    """Return the network from a vector to what is added to it for the second of two surveys; nothing at first."""
    translation = keras.Sequential(name="translation")
    translation.add(layers.Dense(hidden, activation="silu", dtype="float32"))
    translation.add(layers.Dense(latent, kernel_initializer="zeros", dtype="float32"))
    translation.build((None, latent))
    return translation


def fit_to(planes, shape):
    """Return planes (n, y, x, plane) of `shape` (y, x) pixels: the middle, or with 0 around them."""
    for axis, size in zip((1, 2), shape, strict=True):
        have = planes.shape[axis]
        start = abs(have - size) // 2
        if have > size:
            planes = planes[:, start : start + size] if axis == 1 else planes[:, :, start : start + size]
        elif have < size:
            padding = [(0, 0)] * 4
            padding[axis] = (start, size - have - start)
            planes = keras.ops.pad(planes, padding)
    return planes
