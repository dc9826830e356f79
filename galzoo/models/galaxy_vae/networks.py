"""Encoder from planes to a vector, and decoder back, of stamps of one size.

Both are residual blocks and, beside them, a fixed linear map, which is nothing until `set_components` makes it that of
the principal components of the data: the blocks then learn what these leave.
"""

import keras
import numpy as np
from keras import layers, ops

from galzoo.layers.blocks import NormalizedStack, Overlap, Patches, Upsample

PATCH = 4
"""Pixels of a cell of the first level; each further level halves the side."""

# Pixels on a side up to which the linear maps see and draw.
_SEEN, _DRAWN = 32, 64
# Images are linear in the decoder's last layer above 1/16 of the softened scale, exponential below.
_SHARPNESS = 16.0
# Maximally flat, and 0 at the Nyquist frequency.
_NO_LATTICE = (-1 / 16, 4 / 16, 10 / 16, 4 / 16, -1 / 16)
# Blank sky before training: 0.018 of the softened scale.
_SKY = 0.018


def positive(values):
    """Return what is not negative, nearly linear above 0 and exponential below."""
    return ops.softplus(_SHARPNESS * values) / _SHARPNESS


def before_positive(values):
    """Return the numbers that `positive` turns into `values`, of those that are below blank sky into that."""
    values = np.maximum(values, _SKY)
    return values + np.log(-np.expm1(-_SHARPNESS * values)) / _SHARPNESS


def _coarse(size, most):
    """Return the least factor by which `size` pixels become at most `most`."""
    return next(factor for factor in range(1, size + 1) if size % factor == 0 and size // factor <= most)


@keras.saving.register_keras_serializable(package="galzoo")
class WithoutLattice(keras.layers.Layer):
    """Take the frequencies of a lattice of 2 pixels out of images (n, y, x, band), and hardly any others.

    Colour of JPEG pictures is stored in squares of 2 pixels. Principal components and blocks learn that pattern, and
    smooth reconstructions show it more than the pictures do. The kernel, (-1, 4, 10, 4, -1) / 16 along each axis, is 0
    at a period of 2 pixels, .75 at 4 and .98 at 8.
    """

    def call(self, images):
        for axis in (1, 2):
            padding = [(0, 0)] * 4
            padding[axis] = (2, 2)
            padded, side = ops.pad(images, padding, mode="reflect"), images.shape[axis]
            moved = [ops.take(padded, np.arange(start, start + side), axis=axis) for start in range(5)]
            images = sum(weight * one for weight, one in zip(_NO_LATTICE, moved, strict=True))
        return images

    def compute_output_shape(self, input_shape):
        return input_shape


def make_encoder(size, planes, channels, blocks, hidden, latent):
    """Return the network from (n, size, size, planes) to mean and logarithm of the deviation, (n, 2 latent)."""
    inputs = x = keras.Input((size, size, planes))
    for level, width in enumerate(channels):
        x = Patches(2 if level else PATCH)(x)
        x = layers.Dense(width)(x)
        x = NormalizedStack(blocks, 2 * width)(x)
    x = layers.Dense(hidden, activation="silu")(layers.Flatten()(x))
    factor = _coarse(size, _SEEN)
    seen = layers.AveragePooling2D(factor)(inputs) if factor > 1 else inputs
    linear = layers.Dense(latent, use_bias=False, kernel_initializer="zeros", dtype="float32", name="linear")
    linear.trainable = False
    mean = layers.Dense(latent, dtype="float32", name="mean")(x)
    mean = layers.Add(dtype="float32")([mean, linear(layers.Flatten()(seen))])
    deviation = layers.Dense(latent, dtype="float32", name="deviation")(x)
    return keras.Model(inputs, layers.Concatenate(dtype="float32")([mean, deviation]), name="encoder")


def make_decoder(size, bands, channels, blocks, hidden, latent):
    """Return the network from (n, latent) to scaled images before `positive`, (n, size, size, bands)."""
    side = size // PATCH // 2 ** (len(channels) - 1)
    inputs = keras.Input((latent,))
    x = layers.Dense(hidden, activation="silu")(inputs)
    x = layers.Reshape((side, side, channels[-1]))(layers.Dense(side * side * channels[-1])(x))
    for level in reversed(range(len(channels))):
        x = NormalizedStack(blocks, 2 * channels[level])(x)
        if level:
            x = Upsample(channels[level - 1])(x)
    x = Overlap(bands, PATCH, dtype="float32", name="squares")(x)
    factor = _coarse(size, _DRAWN)
    sky = keras.initializers.Constant(before_positive(_SKY))
    linear = layers.Dense(
        (size // factor) ** 2 * bands, kernel_initializer="zeros", bias_initializer=sky, dtype="float32", name="linear"
    )
    linear.trainable = False
    drawn = layers.Reshape((size // factor, size // factor, bands))(linear(inputs))
    if factor > 1:
        drawn = layers.UpSampling2D(factor, interpolation="bilinear", dtype="float32")(drawn)
    drawn = WithoutLattice(dtype="float32")(layers.Add(dtype="float32")([x, drawn]))
    return keras.Model(inputs, drawn, name="decoder")


def set_components(encoder, decoder, found, see, draw):
    """Make encoder and decoder probabilistic principal components (Tipping & Bishop 1999), their blocks silent.

    Parameters
    ----------
    encoder, decoder : keras.Model
        Of `make_encoder` and `make_decoder`.
    found : galzoo.models.galaxy_vae.components.Components
        Of images flattened from (size, size, band).
    see : array, (component, size, size, band)
        What the encoder multiplies images with.
    draw : array, (component, size, size, band)
        What the decoder adds to the mean.

    Notes
    -----
    Dimensions beyond the components stay silent. Pixels that do not count are taken to be those of the mean.
    """
    number, size, _, bands = see.shape
    kernel = np.zeros(encoder.get_layer("linear").kernel.shape, "float32")
    grid = kernel.reshape(_cells(size, _SEEN), _cells(size, _SEEN), -1, kernel.shape[1])
    mean = found.mean.reshape(size, size, bands)
    grid[:, :, :bands, :number] = np.moveaxis(_binned(see, _SEEN, np.sum), 0, -1)
    grid[:, :, bands : 2 * bands, :number] = -np.moveaxis(_binned(see * mean, _SEEN, np.sum), 0, -1)
    encoder.get_layer("linear").kernel.assign(kernel)
    for name in ("mean", "deviation"):
        encoder.get_layer(name).kernel.assign(np.zeros(encoder.get_layer(name).kernel.shape))
    deviation = np.zeros(kernel.shape[1])
    deviation[:number] = 0.5 * np.log(found.noise / found.variance)
    # `GalaxyVAE.encode` takes 1 off.
    encoder.get_layer("deviation").bias.assign(deviation + 1.0)
    linear = decoder.get_layer("linear")
    kernel = np.zeros(linear.kernel.shape, "float32")
    kernel[:number] = _binned(draw, _DRAWN, np.mean).reshape(number, -1)
    linear.kernel.assign(kernel)
    linear.bias.assign(before_positive(_binned(mean[None], _DRAWN, np.mean).ravel()))
    squares = decoder.get_layer("squares")
    squares.kernel.assign(np.zeros(squares.kernel.shape))


def _cells(size, most):
    return size // _coarse(size, most)


def _binned(planes, most, function):
    """Return planes (n, size, size, band) on the grid of a linear map that sees or draws at most so many pixels."""
    number, size, _, bands = planes.shape
    cells = _cells(size, most)
    return function(planes.reshape(number, cells, size // cells, cells, size // cells, bands), axis=(2, 4))


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
