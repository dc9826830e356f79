"""Vector quantisers: learnt codebooks (gradient or moving average) and finite scalar quantisation."""

import math

import keras
import numpy as np
from keras import ops

from galzoo.errors import RecipeError

# Vectors that the diversity term looks at, and the inverse temperature of its soft assignment: neighbouring codes of a
# full 8-dimensional codebook of 512 have cosines that differ by about 0.1.
_SOFT_VECTORS = 2048
_SHARPNESS = 20.0
# Steps after which the correction of the averages for their start at zero is nil, for any decay in use.
_SETTLED = 1e5


@keras.saving.register_keras_serializable(package="galzoo")
class VectorQuantizer(keras.layers.Layer):
    """Replace each vector by the nearest entry of a learnt codebook.

    Parameters
    ----------
    codebook_size : int
        Number of codes, K.
    mode : {"ema", "gradient"}
        How the codebook learns: exponential moving averages of the vectors assigned to each code (van den Oord et al.
        2017, appendix A.1), or a loss term as in the paper's equation 3.
    commitment : float
        Weight of the term that ties the encoder to its code, beta in equation 3.
    decay : float
        Of the moving averages. They are corrected for their start at zero, as in Adam.
    epsilon : float
        Laplace smoothing of the counts, so that a code never used is not divided by zero.
    cosine : bool
        Compare directions: vectors and codes are put on the unit sphere (Yu et al. 2022, ViT-VQGAN).
    diversity : float
        Weight of a term that asks for an even use of the codes: the entropy that the batch's average soft assignment
        lacks to log K (as in Yu et al. 2024, arXiv:2310.05737). Blank sky fills most cells of a stamp; without it a
        handful of codes stand for nearly all cells. 0 switches it off. Needs `cosine`.
    restart_below : float
        A code used less than this fraction of its fair share (vectors of the batch over codes) on average is moved to a
        vector of the batch (Dhariwal et al. 2020, Jukebox); 0 switches it off. Mode "ema" only.
    rate : float
        Price of a nat: of two codes that are nearly as near, the one that is used more is taken. The code of the least
        squared distance less `rate` times the logarithm of its share is chosen (Chou, Lookabaugh & Gray 1989, entropy
        constrained vector quantisation), so that cells of blank sky share a few codes and a prior has less to learn.
        Mode "ema" only.

    Notes
    -----
    Input (..., D) and output: a dict of ``quantised`` (..., D) with the straight-through gradient, ``codes`` (...)
    int32, and ``loss`` (scalar). The loss is the mean over vectors and elements of the squared distance; with `cosine`
    the sum over elements, since elements of unit vectors shrink with D.
    """

    def __init__(
        self,
        codebook_size=512,
        mode="ema",
        commitment=0.25,
        decay=0.99,
        epsilon=1e-5,
        cosine=False,
        restart_below=0.0,
        diversity=0.0,
        rate=0.0,
        **kwargs,
    ):
        # Codes and their averages do not fit in half precision.
        super().__init__(**{"dtype": "float32", **kwargs})
        if mode not in ("ema", "gradient"):
            raise RecipeError(f"quantiser mode {mode!r} is unknown; use 'ema' or 'gradient'")
        if codebook_size < 2:
            raise RecipeError(f"codebook_size is {codebook_size}; it must be at least 2")
        self.codebook_size = int(codebook_size)
        self.mode = mode
        self.commitment = float(commitment)
        self.decay = float(decay)
        self.epsilon = float(epsilon)
        self.cosine = bool(cosine)
        self.restart_below = float(restart_below)
        self.diversity = float(diversity)
        self.rate = float(rate)
        if self.rate and mode != "ema":
            raise RecipeError("rate needs quantizer=ema: the shares of the codes are its moving averages")
        if self.diversity and not self.cosine:
            raise RecipeError("diversity needs cosine=true: its soft assignment is a softmax of cosines")

    def build(self, input_shape):
        size, dim = self.codebook_size, int(input_shape[-1])
        # Replicas see different batches: without aggregation their codebooks would drift apart unnoticed.
        shared = {"trainable": False, "aggregation": "mean", "dtype": "float32"}
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(size, dim),
            initializer=keras.initializers.VarianceScaling(distribution="uniform", mode="fan_out"),
            trainable=self.mode == "gradient",
            aggregation="mean",
            dtype="float32",
        )
        if self.mode == "ema":
            self.steps = self.add_weight(name="steps", shape=(), initializer="zeros", **shared)
            self.hidden_counts = self.add_weight(name="hidden_counts", shape=(size,), initializer="zeros", **shared)
            self.hidden_sums = self.add_weight(name="hidden_sums", shape=(size, dim), initializer="zeros", **shared)

    @property
    def codebook(self):
        """The K codes as used, shape (K, D); on the unit sphere in cosine mode."""
        table = ops.convert_to_tensor(self.embeddings)
        return ops.normalize(table, axis=-1) if self.cosine else table

    def lookup(self, codes):
        """Return the vectors of integer `codes`, shape (..., D)."""
        return ops.take(self.codebook, codes, axis=0)

    def call(self, inputs, training=False):
        vectors = ops.cast(inputs, "float32")
        if self.cosine:
            vectors = ops.normalize(vectors, axis=-1)
        shape = ops.shape(vectors)
        flat = ops.reshape(vectors, (-1, vectors.shape[-1]))
        codebook = self.codebook
        codes = self._cheapest(ops.stop_gradient(flat), ops.stop_gradient(codebook))
        chosen = ops.take(codebook, codes, axis=0)

        reduce = (lambda x: ops.mean(ops.sum(x, axis=-1))) if self.cosine else ops.mean
        loss = self.commitment * reduce(ops.square(ops.stop_gradient(chosen) - flat))
        if self.mode == "gradient":
            loss = loss + reduce(ops.square(chosen - ops.stop_gradient(flat)))
        if self.diversity and training:
            loss = loss + self.diversity * self._unevenness(flat, codebook)
        if self.mode == "ema" and training:
            self._update(ops.stop_gradient(flat), codes)

        quantised = flat + ops.stop_gradient(chosen - flat)
        return {
            "quantised": ops.cast(ops.reshape(quantised, shape), self.compute_dtype),
            "codes": ops.reshape(codes, shape[:-1]),
            "loss": loss,
        }

    def _cheapest(self, flat, codebook):
        """Return the index of the code of each row: the nearest, or with a `rate` the least in distance and nats."""
        # |v|^2 is the same for every code, so it is left out of the expanded square.
        cost = ops.sum(ops.square(codebook), axis=-1) - 2.0 * ops.matmul(flat, ops.transpose(codebook))
        if self.rate:
            counts = ops.maximum(self.hidden_counts, self.epsilon)
            cost = cost - self.rate * ops.log(counts / ops.sum(counts))
        return ops.cast(ops.argmin(cost, axis=-1), "int32")

    def _unevenness(self, flat, codebook):
        """Return log K less the entropy of the average soft assignment, in nats."""
        # A part of the batch is enough for an average, and the softmax over K is not cheap.
        step = max(1, (flat.shape[0] or 0) // _SOFT_VECTORS)
        cosines = ops.matmul(flat[::step], ops.transpose(ops.stop_gradient(codebook)))
        average = ops.mean(ops.softmax(_SHARPNESS * cosines, axis=-1), axis=0)
        return math.log(self.codebook_size) + ops.sum(average * ops.log(average + 1e-9))

    def _update(self, flat, codes):
        """Move the averages, and with them the codebook, by one batch."""
        counts = ops.segment_sum(ops.ones_like(flat[:, 0]), codes, num_segments=self.codebook_size)
        sums = ops.segment_sum(flat, codes, num_segments=self.codebook_size)
        steps = self.steps + 1.0
        hidden_counts = self.hidden_counts + (1.0 - self.decay) * (counts - self.hidden_counts)
        hidden_sums = self.hidden_sums + (1.0 - self.decay) * (sums - self.hidden_sums)
        debias = 1.0 - ops.power(self.decay, steps)

        if self.restart_below > 0:
            # Evenly spaced vectors of a shuffled batch are as good as random ones and need no random state.
            total = ops.shape(flat)[0]
            rows = ops.cast(ops.arange(self.codebook_size), "int32") * ops.maximum(total // self.codebook_size, 1)
            fresh = ops.take(flat, rows % total, axis=0)
            least = self.restart_below * ops.cast(total, "float32") / self.codebook_size
            dead = hidden_counts / debias < least
            start = least * debias
            hidden_counts = ops.where(dead, start, hidden_counts)
            hidden_sums = ops.where(dead[:, None], start * fresh, hidden_sums)

        average_counts = hidden_counts / debias
        total_count = ops.sum(average_counts)
        smoothed = (average_counts + self.epsilon) / (total_count + self.codebook_size * self.epsilon) * total_count
        embeddings = hidden_sums / debias / smoothed[:, None]
        self.steps.assign(steps)
        self.hidden_counts.assign(hidden_counts)
        self.hidden_sums.assign(hidden_sums)
        self.embeddings.assign(ops.normalize(embeddings, axis=-1) if self.cosine else embeddings)

    def adapt(self, vectors, iterations=10, seed=0):
        """Start the codebook at the k-means centres of `vectors`.

        Parameters
        ----------
        vectors : array, (n, D) or (..., D)
            Encoder outputs of some batches; at least one vector a code.
        iterations : int
            Lloyd iterations.
        seed : int
            For the choice of the first centres.
        """
        flat = np.asarray(vectors, dtype=np.float32).reshape(-1, np.shape(vectors)[-1])
        if self.cosine:
            flat = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-12)
        random = np.random.default_rng(seed)
        centres = flat[random.choice(len(flat), self.codebook_size, replace=len(flat) < self.codebook_size)]
        for _ in range(iterations):
            nearest = np.argmin(np.sum(centres**2, axis=-1) - 2 * flat @ centres.T, axis=-1)
            counts = np.bincount(nearest, minlength=self.codebook_size)
            sums = np.zeros_like(centres)
            np.add.at(sums, nearest, flat)
            empty = counts == 0
            centres = np.where(empty[:, None], centres, sums / np.maximum(counts, 1)[:, None])
            centres[empty] = flat[random.choice(len(flat), int(empty.sum()))]
            if self.cosine:
                centres /= np.maximum(np.linalg.norm(centres, axis=-1, keepdims=True), 1e-12)
        self.embeddings.assign(centres)
        if self.mode == "ema":
            # The averages go on from here: from zero, the first batch would throw away every code that it does not use.
            nearest = np.argmin(np.sum(centres**2, axis=-1) - 2 * flat @ centres.T, axis=-1)
            counts = np.maximum(np.bincount(nearest, minlength=self.codebook_size), 1).astype(np.float32)
            self.steps.assign(_SETTLED)
            self.hidden_counts.assign(counts)
            self.hidden_sums.assign(counts[:, None] * centres)

    def get_config(self):
        keys = ("codebook_size", "mode", "commitment", "decay", "epsilon", "cosine", "restart_below", "diversity")
        return {**super().get_config(), **{key: getattr(self, key) for key in (*keys, "rate")}}


@keras.saving.register_keras_serializable(package="galzoo")
class FiniteScalarQuantizer(keras.layers.Layer):
    """Round each element of a bounded vector to a few levels (Mentzer et al. 2023, arXiv:2309.15505).

    Parameters
    ----------
    levels : sequence of int
        Levels an element; the codebook has their product, e.g. [8, 8, 8] for 512. The input has as many elements.

    Notes
    -----
    Same output as `VectorQuantizer`, with a loss of 0: there is no codebook to learn and no code can die.
    """

    def __init__(self, levels=(8, 8, 8), **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.levels = [int(level) for level in levels]
        if not self.levels or min(self.levels) < 2:
            raise RecipeError(f"levels is {self.levels}; give two or more levels for each element")
        self.codebook_size = math.prod(self.levels)
        self._basis = np.cumprod([1, *self.levels[:-1]]).astype("int32")

    def build(self, input_shape):
        if int(input_shape[-1]) != len(self.levels):
            raise RecipeError(f"vectors have {input_shape[-1]} elements but {len(self.levels)} levels were given")

    def _bound(self, vectors):
        """Squash to the open interval that rounds to exactly `levels` values (equation 2, with its shift)."""
        levels = np.asarray(self.levels, "float32")
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = np.where(levels % 2 == 0, 0.5, 0.0).astype("float32")
        shift = np.arctanh(offset / half).astype("float32")
        return ops.tanh(vectors + shift) * half - offset

    def call(self, inputs, training=False):
        bounded = self._bound(ops.cast(inputs, "float32"))
        rounded = bounded + ops.stop_gradient(ops.round(bounded) - bounded)
        half = np.asarray(self.levels) // 2
        digits = ops.cast(ops.round(bounded), "int32") + half.astype("int32")
        return {
            "quantised": ops.cast(rounded / half.astype("float32"), self.compute_dtype),
            "codes": ops.sum(digits * self._basis, axis=-1),
            "loss": ops.zeros(()),
        }

    def lookup(self, codes):
        """Return the vectors of integer `codes`, shape (..., D), each element in [-1, 1]."""
        digits = (ops.cast(codes, "int32")[..., None] // self._basis) % np.asarray(self.levels, "int32")
        half = np.asarray(self.levels) // 2
        return ops.cast(digits - half.astype("int32"), "float32") / half.astype("float32")

    @property
    def codebook(self):
        """The K vectors, shape (K, D)."""
        return self.lookup(ops.arange(self.codebook_size, dtype="int32"))

    def adapt(self, vectors, iterations=10, seed=0):
        """Do nothing: the levels are fixed."""

    def get_config(self):
        return {**super().get_config(), "levels": self.levels}
