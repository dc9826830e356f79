"""The two networks: a generator with branches, and a discriminator that judges single galaxies."""

import keras
from keras import layers, ops

from galzoo.layers.blocks import Upsample

# Running means follow within some tens of steps, so that short trainings can be used.
_MOMENTUM = 0.9
_LEAK = 0.2


def _convolution(filters, kernel, stride=1, bias=True):
    # Batch normalisation right behind a convolution takes its bias away; Adam would only follow rounding errors there.
    return layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=bias)


def _normalisation():
    return layers.BatchNormalization(momentum=_MOMENTUM)


def _prelu():
    # One slope a channel: a slope a pixel, as published, would lock the network to one stamp size.
    return layers.PReLU(shared_axes=[1, 2])


class Blocks(keras.layers.Layer):
    """Residual blocks of SRGAN (Ledig et al. 2017, figure 4): conv, BN, PReLU, conv, BN, added to the input.

    Parameters
    ----------
    blocks : int
        Number of blocks.
    """

    def __init__(self, blocks, **kwargs):
        super().__init__(**kwargs)
        self.blocks = int(blocks)

    def build(self, input_shape):
        filters = int(input_shape[-1])
        # Kept in flat lists: Keras does not save layers in lists of lists.
        self.convolutions = [_convolution(filters, 3, bias=False) for _ in range(2 * self.blocks)]
        self.norms = [_normalisation() for _ in range(2 * self.blocks)]
        self.slopes = [_prelu() for _ in range(self.blocks)]
        for layer in (*self.convolutions, *self.norms, *self.slopes):
            layer.build(input_shape)

    def call(self, x, training=False):
        for block, slope in enumerate(self.slopes):
            first, second = 2 * block, 2 * block + 1
            inner = slope(self.norms[first](self.convolutions[first](x), training=training))
            x = x + self.norms[second](self.convolutions[second](inner), training=training)
        return x


class Generator(keras.layers.Layer):
    """A trunk that all galaxies share, and a branch for each.

    Parameters
    ----------
    bands : int
        Bands of each output.
    branches : int
        Branches.
    filters : int
        Channels of trunk and branches.
    trunk_blocks, branch_blocks : int
        Residual blocks.
    stride : {1, 2}
        2 runs trunk and branches at half the resolution; the last convolution then also sees the input as it is.
    whole : bool
        Add an output without blocks of its own, for the sum of all galaxies.

    Notes
    -----
    Called with (n, y, x, channel); returns (n, branch, y, x, band), the whole last. Any stamp size.
    """

    def __init__(self, bands, branches, filters, trunk_blocks, branch_blocks, stride=1, whole=False, **kwargs):
        super().__init__(**kwargs)
        self.stride = int(stride)
        self.heads = int(branches) + bool(whole)
        self.entry, self.entry_slope = _convolution(filters, 9, self.stride), _prelu()
        self.trunk = Blocks(trunk_blocks)
        self.join, self.join_norm = _convolution(filters, 3, bias=False), _normalisation()
        self.branches = [Blocks(branch_blocks if head < branches else 0) for head in range(self.heads)]
        # Half of the channels go on at full size, where the 9 x 9 convolution is the dear one.
        self.fine = max(filters // 2, 1)
        self.upsample = [Upsample(self.fine) for _ in range(self.heads)] if self.stride > 1 else []
        # A quiet start: tanh is not saturated, and the parts of a flux are even.
        start = keras.initializers.VarianceScaling(0.01)
        self.exits = [
            layers.Conv2D(bands, 9, padding="same", kernel_initializer=start, dtype="float32")
            for _ in range(self.heads)
        ]
        self.filters = int(filters)

    def build(self, input_shape):
        features = (None, None, None, self.filters)
        self.entry.build(input_shape)
        for layer in (self.entry_slope, self.trunk, self.join, self.join_norm, *self.branches, *self.upsample):
            layer.build(features)
        last = self.filters if self.stride == 1 else self.fine + int(input_shape[-1])
        for layer in self.exits:
            layer.build((None, None, None, last))

    def call(self, inputs, training=False):
        rows, columns = inputs.shape[1:3]
        spare = [-size % self.stride for size in (rows, columns)]
        padded = inputs
        if any(spare):
            padded = ops.pad(inputs, ((0, 0), (0, spare[0]), (0, spare[1]), (0, 0)), mode="symmetric")
        entry = self.entry_slope(self.entry(padded))
        shared = entry + self.join_norm(self.join(self.trunk(entry, training=training)), training=training)
        outputs = []
        for head, branch in enumerate(self.branches):
            features = branch(shared, training=training)
            if self.stride > 1:
                features = ops.concatenate([self.upsample[head](features), padded], axis=-1)
            outputs.append(self.exits[head](features)[:, :rows, :columns])
        return ops.stack(outputs, axis=1)


class Discriminator(keras.layers.Layer):
    """Tell true single galaxies from a generator's.

    Convolution and leaky ReLU, then blocks of convolution, leaky ReLU and batch normalisation at 1, 2, 2, 4, 4, 8, 8
    times the filters, every other one with stride 2, as published; then a mean over the stamp, where the original
    flattens, so that any stamp size will do; a dense layer and one logit.

    Parameters
    ----------
    filters : int
        Channels of the first layer; 64 as published.
    dense : int
        Units of the dense layer; 1024 as published.
    """

    def __init__(self, filters, dense, **kwargs):
        super().__init__(**kwargs)
        steps = [(1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)]
        self.first = _convolution(filters, 3)
        self.convolutions = [_convolution(times * filters, 3, stride) for times, stride in steps]
        self.norms = [_normalisation() for _ in steps]
        self.dense, self.logit = layers.Dense(dense), layers.Dense(1, dtype="float32")

    def build(self, input_shape):
        shape = (None, None, None, int(input_shape[-1]))
        self.first.build(shape)
        channels = self.first.filters
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build((None, None, None, channels))
            channels = convolution.filters
            norm.build((None, None, None, channels))
        self.dense.build((None, channels))
        self.logit.build((None, self.dense.units))

    def call(self, image, training=False):
        x = ops.leaky_relu(self.first(image), _LEAK)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(ops.leaky_relu(convolution(x), _LEAK), training=training)
        x = ops.leaky_relu(self.dense(ops.mean(x, axis=(1, 2))), _LEAK)
        return self.logit(x)[:, 0]
