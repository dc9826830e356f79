"""The encoders and decoders of a VQ-VAE, of two kinds: "strided" and "patch".

"strided" is the published one: convolutions of stride 2 down to the map of codes, ReLU residual blocks there, and the
same way up. "patch" reaches the map of codes in its first layer and leaves it in its last, so that all of its work is
done in wide layers at a small size, where a CPU is fastest, in normalised residual blocks, which train faster. Vectors
and images are in single precision, whatever the layers between are in.
"""

import keras
from keras import layers

from galzoo.layers.blocks import NormalizedStack, Overlap, Patches, ResidualStack, Upsample

KINDS = ("strided", "patch")
# A decoder output below this is blank sky from the first step on: softplus(-4) = 0.018 of the noise.
_SKY_BIAS = -4.0


def make_encoder(kind, hidden, blocks, block_hidden, downsample, code_dim, normalize):
    """Return the network from scaled images to vectors, one for each square of ``2**downsample`` pixels."""
    encoder = keras.Sequential(name="encoder")
    if kind == "patch":
        encoder.add(Patches(2**downsample))
        encoder.add(layers.Conv2D(hidden, 1))
        encoder.add(NormalizedStack(blocks, block_hidden))
    else:
        for step in reversed(range(downsample)):
            encoder.add(layers.Conv2D(hidden // 2**step, 4, strides=2, padding="same", activation="relu"))
        encoder.add(layers.Conv2D(hidden, 3, padding="same"))
        encoder.add(ResidualStack(blocks, block_hidden))
    encoder.add(layers.Conv2D(code_dim, 1, dtype="float32"))
    if normalize:
        encoder.add(layers.BatchNormalization(momentum=0.9, center=False, scale=False, dtype="float32"))
    return encoder


def make_decoder(kind, bands, hidden, blocks, block_hidden, downsample, upsampling):
    """Return the network from vectors of codes to scaled images before softplus, (n, y, x, bands)."""
    decoder = keras.Sequential([layers.Conv2D(hidden, 3, padding="same")], name="decoder")
    start = keras.initializers.Constant(_SKY_BIAS)
    if kind == "patch":
        decoder.add(NormalizedStack(blocks, block_hidden))
        decoder.add(Overlap(bands, 2**downsample, bias_initializer=start, dtype="float32"))
        return decoder
    decoder.add(ResidualStack(blocks, block_hidden))
    # The original ends in its last transposed convolution; interpolation needs one more layer to sharpen.
    steps = downsample if upsampling == "resize" else downsample - 1
    for step in range(steps):
        decoder.add(Upsample(hidden // 2 ** (step + 1), upsampling))
        decoder.add(layers.ReLU())
    if upsampling == "resize":
        decoder.add(layers.Conv2D(bands, 3, padding="same", bias_initializer=start, dtype="float32"))
    else:
        decoder.add(
            layers.Conv2DTranspose(bands, 4, strides=2, padding="same", bias_initializer=start, dtype="float32")
        )
    return decoder
