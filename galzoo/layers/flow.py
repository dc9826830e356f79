"""A normalising flow of affine coupling layers: a density that can be evaluated, drawn from and inverted exactly."""

import math

import keras
import numpy as np
from keras import layers, ops

# Bound of the log-scale of one coupling; stronger stretches come from several.
_LARGEST_LOG_SCALE = 1.5


@keras.saving.register_keras_serializable(package="galzoo")
class CouplingFlow(keras.layers.Layer):
    """A flow from a standard normal to latent vectors, in terms of a condition (RealNVP; Dinh et al. 2017).

    Parameters
    ----------
    size : int
        Length of a vector, at least 2.
    couplings : int
        Number of coupling layers; each moves one half of the vector in terms of the other, halves taking turns.
    hidden : int
        Units of the two hidden layers of each coupling's network.
    condition : int
        Length of the condition; 0 for none.
    seed : int
        Of the fixed permutations between the couplings.

    Notes
    -----
    A new flow is the identity up to permutations: the last layer of each network starts at 0.

    References
    ----------
    Dinh, Sohl-Dickstein & Bengio 2017, arXiv:1605.08803.
    """

    def __init__(self, size, couplings=6, hidden=64, condition=0, seed=0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.size, self.couplings, self.hidden = int(size), int(couplings), int(hidden)
        self.condition, self.seed = int(condition), int(seed)
        rng = np.random.default_rng(self.seed)
        self._orders = [rng.permutation(self.size) for _ in range(self.couplings)]
        self._half = self.size // 2
        self.networks = []
        for _ in range(self.couplings):
            network = keras.Sequential(
                [
                    layers.Dense(self.hidden, activation="gelu", dtype="float32"),
                    layers.Dense(self.hidden, activation="gelu", dtype="float32"),
                    layers.Dense(2 * (self.size - self._half), kernel_initializer="zeros", dtype="float32"),
                ]
            )
            network.build((None, self._half + self.condition))
            self.networks.append(network)
        self.built = True

    def _step(self, network, kept, condition):
        known = kept if condition is None else ops.concatenate([kept, condition], axis=-1)
        # Layer by layer: a Sequential would insist on the rank that it was built with.
        for layer in network.layers:
            known = layer(known)
        shift, scale = ops.split(known, 2, axis=-1)
        return shift, _LARGEST_LOG_SCALE * ops.tanh(scale / _LARGEST_LOG_SCALE)

    def forward(self, base, condition=None):
        """Map base vectors to latent vectors.

        Parameters
        ----------
        base : tensor, (..., size)
            Standard normal under the flow's density.
        condition : tensor, (..., condition), optional

        Returns
        -------
        latent : tensor, (..., size)
        log_det : tensor, (...)
            Logarithm of the determinant of the Jacobian.
        """
        x, total = base, 0.0
        for network, order in zip(self.networks, self._orders, strict=True):
            kept, moved = x[..., : self._half], x[..., self._half :]
            shift, scale = self._step(network, kept, condition)
            x = ops.concatenate([kept, moved * ops.exp(scale) + shift], axis=-1)
            x = ops.take(x, order, axis=-1)
            total = total + ops.sum(scale, axis=-1)
        return x, total

    def inverse(self, latent, condition=None):
        """Map latent vectors to base vectors; arguments and results as `forward`, the other way round."""
        x, total = latent, 0.0
        for network, order in zip(self.networks[::-1], self._orders[::-1], strict=True):
            x = ops.take(x, np.argsort(order), axis=-1)
            kept, moved = x[..., : self._half], x[..., self._half :]
            shift, scale = self._step(network, kept, condition)
            x = ops.concatenate([kept, (moved - shift) * ops.exp(-scale)], axis=-1)
            total = total - ops.sum(scale, axis=-1)
        return x, total

    def log_prob(self, latent, condition=None):
        """Return the log-density (...) of latent vectors (..., size), in nats."""
        base, log_det = self.inverse(latent, condition)
        return log_det - 0.5 * ops.sum(ops.square(base), axis=-1) - 0.5 * self.size * math.log(2 * math.pi)

    def call(self, latent, condition=None):
        return self.log_prob(latent, condition)

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "couplings": self.couplings,
            "hidden": self.hidden,
            "condition": self.condition,
            "seed": self.seed,
        }
