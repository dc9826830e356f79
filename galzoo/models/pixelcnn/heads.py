"""The last layers: what the network says about one code or one pixel, its log-probability, and draws from it."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import RecipeError

HEADS = ("codes", "gaussian", "logistic")
"""What a position of a map may hold."""
# Scales of a mixture below exp of this would let the density of a constant pixel grow without bound.
_LEAST_LOG_SCALE = -5.0
_LOG_2PI = float(np.log(2 * np.pi))
# Levels of an 8-bit picture, and half of the distance between two on the scale of -1 to 1.
_LEVELS, _HALF = 255, 1.0 / 255


def check_head(head, codec, guidance=1.0):
    """Raise `RecipeError` if a prior has no such head, or codec and guidance do not go together with it."""
    if head not in HEADS:
        raise RecipeError(f"head {head!r} is unknown; use {', '.join(HEADS)}")
    if (head == "codes") != (codec is not None):
        needs = "is over pixels; drop the codec"
        if codec is None:
            needs = "needs a codec: name a vqvae preset with parts.codec"
        raise RecipeError(f"head {head!r} {needs}")
    if not 0 <= guidance < np.inf or (guidance != 1.0 and head != "codes"):
        raise RecipeError(f"guidance is {guidance}; give 1, or for the head 'codes' any number from 0 on")


class CodeHead(keras.layers.Layer):
    """Say how probable each of `size` codes is.

    Parameters
    ----------
    size : int
        Number of codes, K.
    """

    dtype_of_values = "int32"

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = int(size)
        # Numbers that the network gives, uniform numbers that a draw takes, and numbers that a value has.
        self.parameters, self.uniforms, self.depth = self.size, 1, 1

    def log_prob(self, logits, codes):
        """Return log p (...) of `codes` (..., 1) from `logits` (..., K)."""
        return ops.take_along_axis(ops.log_softmax(logits, axis=-1), codes, axis=-1)[..., 0]

    def draw(self, logits, uniform, temperature, top_k=None):
        """Return codes (n, 1) by inversion of the cumulative distribution at `uniform` (n, 1)."""
        if top_k is not None and top_k < self.size:
            least = ops.top_k(logits, top_k)[0][..., -1:]
            logits = ops.where(logits < least, -1e9, logits)
        cumulative = ops.cumsum(ops.softmax(logits / temperature, axis=-1), axis=-1)
        below = ops.sum(ops.cast(cumulative < uniform * cumulative[..., -1:], "int32"), axis=-1, keepdims=True)
        return ops.minimum(below, self.size - 1)

    def mix(self, given, open_, weight):
        """Return the logits of classifier-free guidance (Ho & Salimans 2022, equation 6)."""
        return open_ + weight * (given - open_)


class MixtureHead(keras.layers.Layer):
    """A mixture for each pixel; its components are independent in the bands, the pixel as a whole is not.

    Parameters
    ----------
    bands : int
    mixtures : int
        Components of the mixture.
    kind : {"gaussian", "logistic"}
        A density over real values, or a logistic one integrated over the 256 levels of 8-bit pictures, with all beyond
        the ends in the first and last (Salimans et al. 2017, equation 2).
    """

    dtype_of_values = "float32"

    def __init__(self, bands, mixtures=1, kind="gaussian", **kwargs):
        super().__init__(**kwargs)
        self.bands, self.mixtures, self.kind = int(bands), int(mixtures), kind
        self.parameters, self.uniforms = self.mixtures * (1 + 2 * self.bands), 1 + self.bands
        self.depth = self.bands

    def _split(self, parameters):
        """Return log-weights (..., m), means and log-scales (..., m, band)."""
        m, b = self.mixtures, self.bands
        lead = tuple(ops.shape(parameters)[:-1])
        means = ops.reshape(parameters[..., m : m + m * b], (*lead, m, b))
        scales = ops.reshape(parameters[..., m + m * b :], (*lead, m, b))
        return ops.log_softmax(parameters[..., :m], axis=-1), means, ops.maximum(scales, _LEAST_LOG_SCALE)

    def log_prob(self, parameters, values):
        """Return log p of `values` (..., band): of a density, or of levels given on the scale of -1 to 1."""
        log_weights, means, scales = self._split(parameters)
        offset = ops.expand_dims(values, -2) - means
        if self.kind == "gaussian":
            each = -0.5 * (ops.square(offset * ops.exp(-scales)) + _LOG_2PI) - scales
        else:
            inverse = ops.exp(-scales)
            above, below = inverse * (offset + _HALF), inverse * (offset - _HALF)
            # log(sigmoid(a) - sigmoid(b)) without cancellation, for a > b.
            width = above - below
            middle = ops.log(-ops.expm1(-width)) - ops.softplus(-above) - ops.softplus(below)
            values = ops.expand_dims(values, -2)
            each = ops.where(values < -1 + _HALF, -ops.softplus(-above), middle)
            each = ops.where(values > 1 - _HALF, -ops.softplus(below), each)
        return ops.logsumexp(log_weights + ops.sum(each, axis=-1), axis=-1)

    def draw(self, parameters, uniform, temperature, top_k=None):
        """Return values (n, band) from `uniform` (n, 1 + band): the component, then each band by inversion."""
        log_weights, means, scales = self._split(parameters)
        cumulative = ops.cumsum(ops.softmax(log_weights / temperature, axis=-1), axis=-1)
        below = ops.sum(ops.cast(cumulative < uniform[:, :1] * cumulative[:, -1:], "int32"), axis=-1)
        chosen = ops.one_hot(ops.minimum(below, self.mixtures - 1), self.mixtures)[..., None]
        mean = ops.sum(chosen * means, axis=1)
        scale = ops.exp(ops.sum(chosen * scales, axis=1)) * temperature
        place = ops.clip(uniform[:, 1:], 1e-6, 1 - 1e-6)
        if self.kind == "gaussian":
            return mean + scale * np.sqrt(2.0).astype("float32") * ops.erfinv(2 * place - 1)
        value = mean + scale * (ops.log(place) - ops.log1p(-place))
        level = ops.clip(ops.round((value + 1) * 0.5 * _LEVELS), 0, _LEVELS)
        return level * (2.0 / _LEVELS) - 1

    def mix(self, given, open_, weight):
        """Return the given parameters: guidance is defined for codes alone."""
        return given
