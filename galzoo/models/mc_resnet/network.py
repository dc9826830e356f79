"""ResNet-18 with dropout in its last block and its head, so that many random passes share nearly all of the work."""

import keras
import numpy as np
from keras import layers, ops

SPACING = 16
"""Pixels between the cells of the last map."""


def _normalized(name, shape):
    layer = layers.BatchNormalization(momentum=0.95, epsilon=1e-5, name=name)
    layer.build(shape)
    return layer


@keras.saving.register_keras_serializable(package="galzoo")
class BasicBlock(keras.layers.Layer):
    """Two 3x3 convolutions added to what goes in (He et al. 2016, figure 5), which is shrunk alike.

    Parameters
    ----------
    filters : int
        Output channels.
    stride : int
        Of the first convolution.
    """

    def __init__(self, filters, stride=1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stride = int(filters), int(stride)

    def build(self, input_shape):
        inner = (None, None, None, self.filters)
        common = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
        self.convolutions = [
            layers.Conv2D(self.filters, 3, strides=self.stride, name="first", **common),
            layers.Conv2D(self.filters, 3, name="second", **common),
        ]
        self.convolutions[0].build(input_shape)
        self.convolutions[1].build(inner)
        self.norms = [_normalized(f"norm_{index}", inner) for index in range(2)]
        self.bypass = None
        if self.stride > 1 or input_shape[-1] != self.filters:
            self.bypass = layers.Conv2D(self.filters, 1, strides=self.stride, name="bypass", **common)
            self.bypass.build(input_shape)

    def first(self, inputs, training=False):
        """Return what comes before the second convolution, and what is added after it."""
        inner = ops.relu(self.norms[0](self.convolutions[0](inputs), training=training))
        return inner, inputs if self.bypass is None else self.bypass(inputs)

    def second(self, inner, bypass, training=False):
        """Return the output of the block from what `first` gave."""
        return ops.relu(bypass + self.norms[1](self.convolutions[1](inner), training=training))

    def second_of_passes(self, inner, bypass, factors):
        """Return the outputs of `second` of several passes, in each of which whole channels of `inner` have factors.

        Parameters
        ----------
        inner, bypass : tensors, (n, y, x, channel)
            As from `first`.
        factors : tensor, (n, pass, channel)

        Returns
        -------
        tensor, (n * pass, y, x, filter)

        Notes
        -----
        A convolution is a sum over its input channels. What each channel gives is made once, and the passes are sums of
        it: the kernel's nine places are gone through once in place of once a pass.
        """
        rows, columns, channels = inner.shape[1:]
        padded = ops.pad(inner, ((0, 0), (1, 1), (1, 1), (0, 0)))
        places = [padded[:, y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
        places = ops.reshape(ops.stack(places, axis=-1), (-1, rows * columns, channels, 9))
        kernel = ops.reshape(self.convolutions[1].kernel, (9, channels, self.filters))
        each = ops.einsum("nsct,tcf->ncsf", places, ops.cast(kernel, places.dtype))
        each = ops.reshape(each, (-1, channels, rows * columns * self.filters))
        sums = ops.reshape(ops.matmul(factors, each), (-1, rows, columns, self.filters))
        return ops.relu(ops.repeat(bypass, factors.shape[1], axis=0) + self.norms[1](sums, training=False))

    def call(self, inputs, training=False):
        return self.second(*self.first(inputs, training), training)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}


@keras.saving.register_keras_serializable(package="galzoo")
class Trunk(keras.layers.Layer):
    """ResNet-18 up to the middle of its last block.

    Parameters
    ----------
    filters : int
        Channels of the first stage; 64 in the original, which doubles three times.
    stem_stride : {1, 2}
        Of the first convolution; with 1, for small stamps, cells of the last map are half as far apart.
    """

    def __init__(self, filters=32, stem_stride=2, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stem_stride = int(filters), int(stem_stride)

    def build(self, input_shape):
        self.stem = layers.Conv2D(self.filters, 5, strides=self.stem_stride, padding="same", use_bias=False)
        self.stem.build(input_shape)
        self.norm = _normalized("norm", (None, None, None, self.filters))
        self.blocks, channels = [], self.filters
        for stage in range(4):
            for index in range(2):
                width = self.filters * 2**stage
                block = BasicBlock(width, 2 if stage and not index else 1, name=f"block_{stage}_{index}")
                block.build((None, None, None, channels))
                self.blocks.append(block)
                channels = width

    def call(self, inputs, training=False):
        x = ops.relu(self.norm(self.stem(inputs), training=training))
        for block in self.blocks[:-1]:
            x = block(x, training=training)
        return self.blocks[-1].first(x, training)

    def last(self, inner, bypass, training=False):
        """Return the last map (n, y, x, 8 * filters) from what a call gave."""
        return self.blocks[-1].second(inner, bypass, training)

    def last_of_passes(self, inner, bypass, factors):
        """Return the last maps (n * pass, y, x, 8 * filters); see `BasicBlock.second_of_passes`."""
        return self.blocks[-1].second_of_passes(inner, bypass, factors)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "stem_stride": self.stem_stride}


@keras.saving.register_keras_serializable(package="galzoo")
class CountHead(keras.layers.Layer):
    """Logits of the number of sources, and a place and fluxes for each of the brightest, from the last map.

    Each source has weights over the cells of the map; its features and its rough place are the means under them.

    Parameters
    ----------
    classes : int
        Numbers told apart: 0, 1, ... and the last or more.
    sources : int
        How many are measured.
    bands : int
    hidden : int
        Width of the hidden layers.
    spacing : int
        Pixels between cells.

    Notes
    -----
    Called with the map and a function that applies dropout. Returns ``logits`` (n, class), ``positions`` (n, source, 2,
    2) and ``flux`` (n, source, band, 2); the last axis is mean and logarithm of the standard deviation.
    """

    def __init__(self, classes=4, sources=3, bands=1, hidden=128, spacing=SPACING, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.sources, self.bands = int(classes), int(sources), int(bands)
        self.hidden, self.spacing = int(hidden), int(spacing)

    def build(self, input_shape):
        channels = int(input_shape[-1])

        def dense(name, size, units, **options):
            layer = layers.Dense(units, name=name, **options)
            layer.build((None, size))
            return layer

        last = {"kernel_initializer": "zeros", "dtype": "float32"}
        self.where = dense("where", channels, self.sources, **last)
        self.counting = dense("counting", 2 * channels, self.hidden, activation="silu")
        self.logits = dense("logits", self.hidden, self.classes, **last)
        self.measuring = dense("measuring", 2 * channels + self.sources, self.hidden, activation="silu")
        self.measured = dense("measured", self.hidden, 4 + 2 * self.bands, **last)

    def call(self, features, drop):
        rows, columns, channels = features.shape[1:]
        cells = ops.reshape(features, (-1, rows * columns, channels))
        # Keras' softmax warns where there is one cell.
        share = self.where(cells)
        share = ops.exp(share - ops.max(share, axis=1, keepdims=True))
        share = share / ops.sum(share, axis=1, keepdims=True)
        own = ops.einsum("nck,ncs->nsk", cells, ops.cast(share, cells.dtype))
        x = (np.tile(np.arange(columns), rows) + 0.5) * self.spacing - 0.5
        y = (np.repeat(np.arange(rows), columns) + 0.5) * self.spacing - 0.5
        place = ops.einsum("ncs,cd->nsd", share, np.stack([x, y], axis=-1).astype("float32"))
        mean = ops.mean(cells, axis=1)
        pooled = drop(ops.concatenate([mean, ops.max(cells, axis=1)], axis=-1))
        logits = self.logits(drop(self.counting(pooled)))
        number = ops.broadcast_to(np.eye(self.sources, dtype="float32"), (ops.shape(own)[0],) + (self.sources,) * 2)
        around = ops.broadcast_to(mean[:, None], ops.shape(own))
        own = drop(ops.concatenate([own, around], axis=-1))
        own = ops.concatenate([own, ops.cast(number, own.dtype)], axis=-1)
        values = self.measured(drop(self.measuring(own)))
        values = ops.reshape(values, (-1, self.sources, 2 + self.bands, 2))
        # Offsets and their errors in units of 4 pixels, near the size of what is to be told apart.
        positions = ops.stack([place + 4 * values[:, :, :2, 0], values[:, :, :2, 1] + np.log(4.0)], axis=-1)
        flux = ops.stack([values[:, :, 2:, 0] + 2.0, values[:, :, 2:, 1]], axis=-1)
        return {"logits": logits, "positions": positions, "flux": flux}

    def get_config(self):
        names = ("classes", "sources", "bands", "hidden", "spacing")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
