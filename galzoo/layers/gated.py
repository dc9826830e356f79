"""Gated causal layers: what a PixelCNN is made of, and the same layers one position at a time for sampling.

The kernels hold only pixels that a position may see, so there is no mask, no weight that is never used, and nothing to
leak through: rows above come through the vertical stack, the row itself through the horizontal one, which is the cure
of the blind spot (van den Oord et al. 2016, arXiv:1606.05328).
"""

import math

import keras
import numpy as np
from keras import ops

from galzoo.errors import RecipeError


@keras.saving.register_keras_serializable(package="galzoo")
class GatedBlock(keras.layers.Layer):
    """One layer of both stacks of a Gated PixelCNN.

    Parameters
    ----------
    channels : int
        Channels p of each stack.
    first : bool
        The first layer sees the map itself, so neither the position nor (vertical stack) its row may be read; later
        layers read features, which have seen neither.
    last : bool
        The last layer: its vertical stack feeds nothing but the horizontal one, and is not made.
    rows, columns : int
        Rows above that the vertical kernel covers, and columns to each side (vertical) or to the left (horizontal).

    Notes
    -----
    Called with ``(vertical, horizontal, context)``, (n, y, x, c), (n, y, x, c) and (n or 1, y or 1, x or 1, 2p), where
    the context holds what is known beforehand: condition and place. Gives both stacks, (n, y, x, p), of which the last
    layer's vertical one is its input. Both have residual connections where the channels allow; the gate takes its own
    half of a 2p-channel payload.

    For sampling, `row` computes the vertical stack of one row from the rows above, and `step` the horizontal stack at
    one position from the positions to its left; both give what `call` gives.
    """

    def __init__(self, channels, first=False, last=False, rows=1, columns=1, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.first, self.last = int(channels), bool(first), bool(last)
        self.rows, self.columns = int(rows), int(columns)

    def build(self, vertical_shape, horizontal_shape=None, context_shape=None):
        depth, payload = vertical_shape[-1], 2 * self.channels
        height = self.rows + (0 if self.first else 1)
        width = self.columns + (0 if self.first else 1)
        self.residual = depth == self.channels
        shapes = {
            "vertical_kernel": (height, 2 * self.columns + 1, depth, payload),
            "cross": (payload, payload),
            "horizontal_kernel": (1, width, depth, payload),
            "horizontal_out": (self.channels, self.channels),
            "horizontal_bias": (payload,),
            "horizontal_out_bias": (self.channels,),
            "vertical_bias": (payload,),
        }
        if not self.last:
            shapes |= {"vertical_out": (self.channels, self.channels), "vertical_out_bias": (self.channels,)}
        for name, shape in shapes.items():
            start = "zeros" if "bias" in name else "glorot_uniform"
            setattr(self, name, self.add_weight(shape=shape, initializer=start, name=name))

    def call(self, vertical, horizontal, context):
        above = ops.pad(vertical, ((0, 0), (self.rows, 0), (self.columns, self.columns), (0, 0)))
        left = ops.pad(horizontal, ((0, 0), (0, 0), (self.columns, 0), (0, 0)))
        if self.first:
            above, left = above[:, :-1], left[:, :, :-1]
        seen = self._seen(ops.conv(above, self.vertical_kernel))
        own = ops.conv(left, self.horizontal_kernel)
        return self._vertical(seen, vertical, context), self._horizontal(own, seen, horizontal, context)

    def row(self, rows, context):
        """Return the vertical stack of one row, (n, 1, x, p), and what it passes to the horizontal one, (n, 1, x, 2p).

        Parameters
        ----------
        rows : tensor, (n, rows, x, c) or, after the first layer, (n, rows + 1, x, c)
            The rows above and, after the first layer, the row itself as the layer before gives it.
        context : tensor, (n or 1, 1, x or 1, 2p)
        """
        seen = self._seen(ops.conv(ops.pad(rows, ((0, 0), (0, 0), (self.columns,) * 2, (0, 0))), self.vertical_kernel))
        here = None if self.first else rows[:, -1:]
        return self._vertical(seen, here, context), ops.matmul(seen, self.cross)

    def step(self, left, crossed, context):
        """Return the horizontal stack at one position, (n, p).

        Parameters
        ----------
        left : tensor, (n, columns, c) or, after the first layer, (n, columns + 1, c)
            The positions to the left and, after the first layer, the position itself as the layer before gives it.
        crossed : tensor, (n, 2p)
            What `row` passed at this position.
        context : tensor, (n or 1, 2p)
        """
        own = ops.matmul(ops.reshape(left, (-1, left.shape[1] * left.shape[2])), self._flat_kernel())
        result = (
            ops.matmul(_gate(own + crossed + self.horizontal_bias + context), self.horizontal_out)
            + self.horizontal_out_bias
        )
        return result + left[:, -1] if self.residual and not self.first else result

    def _flat_kernel(self):
        kernel = self.horizontal_kernel
        return ops.reshape(kernel, (kernel.shape[1] * kernel.shape[2], kernel.shape[3]))

    def _seen(self, convolved):
        return convolved + self.vertical_bias

    def _vertical(self, seen, vertical, context):
        if self.last:
            return vertical
        result = ops.matmul(_gate(seen + context), self.vertical_out) + self.vertical_out_bias
        return result + vertical if self.residual and not self.first else result

    def _horizontal(self, own, seen, horizontal, context):
        payload = own + ops.matmul(seen, self.cross) + self.horizontal_bias + context
        result = ops.matmul(_gate(payload), self.horizontal_out) + self.horizontal_out_bias
        # The first layer's input holds the position itself, which must not be handed on.
        return result + horizontal if self.residual and not self.first else result

    def compute_output_spec(self, vertical, horizontal, context):
        spec = keras.KerasTensor((*vertical.shape[:3], self.channels), dtype=self.compute_dtype)
        return spec, spec

    def get_config(self):
        arguments = {name: getattr(self, name) for name in ("channels", "first", "last", "rows", "columns")}
        return {**super().get_config(), **arguments}


def _gate(payload):
    """Return tanh of one half of the channels times the sigmoid of the other."""
    signal, gate = ops.split(payload, 2, axis=-1)
    return ops.tanh(signal) * ops.sigmoid(gate)


@keras.saving.register_keras_serializable(package="galzoo")
class CausalAttention(keras.layers.Layer):
    """Let each position look at itself and all before it in raster order, however far (PixelSNAIL).

    Parameters
    ----------
    channels : int
        Channels p of the features, which are of the horizontal stack: they have not seen their own position.
    heads : int
        Attention heads; p must be divisible by their number.

    Notes
    -----
    Called with features (n, y, x, p) and gives what is added to them, of the same shape. For sampling, `step` gives the
    same at one position from the keys and values of the positions before it.

    Raises
    ------
    RecipeError
        If the heads do not divide the channels.

    References
    ----------
    Chen et al. 2018, arXiv:1712.09763.
    """

    def __init__(self, channels, heads=4, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.heads = int(channels), int(heads)
        if self.channels % self.heads:
            raise RecipeError(f"{self.channels} channels cannot be shared by {self.heads} heads; give a multiple")
        self.norm = keras.layers.LayerNormalization(name="norm")
        self.inward = keras.layers.Dense(3 * self.channels, use_bias=False, name="inward")
        # Attention starts as nothing: the gated layers learn first what is near.
        self.outward = keras.layers.Dense(self.channels, kernel_initializer="zeros", name="outward")

    def build(self, input_shape):
        self.norm.build(input_shape)
        self.inward.build(input_shape)
        self.outward.build((*input_shape[:-1], self.channels))

    def call(self, features):
        rows, columns = features.shape[1:3]
        query, key, value = self._project(ops.reshape(features, (-1, rows * columns, self.channels)))
        mixed = self._attend(query, key, value, np.tri(rows * columns, dtype=bool))
        return ops.reshape(mixed, (-1, rows, columns, self.channels))

    def empty(self, n, positions):
        """Return keys and values of no position yet, each (n, positions, heads, p / heads), for `step`."""
        zeros = ops.zeros((n, positions, self.heads, self.channels // self.heads), self.compute_dtype)
        return zeros, zeros

    def step(self, feature, keys, values, position):
        """Return what `call` adds at one position, (n, p), and the keys and values with those of this position.

        Parameters
        ----------
        feature : tensor, (n, p)
        keys, values : tensor, (n, positions, heads, p / heads)
        position : int tensor, ()
            In raster order.
        """
        query, key, value = self._project(feature[:, None])
        places = ops.arange(keys.shape[1])
        here = ops.reshape(places == position, (1, -1, 1, 1))
        keys, values = ops.where(here, key, keys), ops.where(here, value, values)
        mixed = self._attend(query, keys, values, (places <= position)[None])
        return mixed[:, 0], keys, values

    def _project(self, features):
        """Return queries, keys and values, each (n, positions, heads, p / heads)."""
        joint = self.inward(self.norm(features))
        shape = (-1, features.shape[1], self.heads, self.channels // self.heads)
        return [ops.reshape(part, shape) for part in ops.split(joint, 3, axis=-1)]

    def _attend(self, query, key, value, seen):
        scores = ops.einsum("nqhc,nkhc->nhqk", query, key) / math.sqrt(self.channels // self.heads)
        # In single precision: a softmax over hundreds of places.
        scores = ops.where(seen, ops.cast(scores, "float32"), np.float32(-1e9))
        share = ops.cast(ops.softmax(scores, axis=-1), self.compute_dtype)
        mixed = ops.einsum("nhqk,nkhc->nqhc", share, value)
        return self.outward(ops.reshape(mixed, (-1, query.shape[1], self.channels)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "heads": self.heads}
