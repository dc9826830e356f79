"""How often vectors are where: a mixture of Gaussians, what new galaxies are drawn from."""

import keras
import numpy as np
from keras import ops

# Variance of a direction of a Gaussian, at least, in units of the mean one.
_LEAST = 1e-4


@keras.saving.register_keras_serializable(package="galzoo")
class Mixture(keras.layers.Layer):
    """Gaussians of full covariance; before `fit` all are the standard normal distribution, the prior of a VAE.

    Parameters
    ----------
    number : int
        Of Gaussians.
    length : int
        Of vectors.
    """

    def __init__(self, number, length, **kwargs):
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})
        self.number, self.length = int(number), int(length)
        self.share = self.add_weight(shape=(number,), initializer=keras.initializers.Constant(1 / number), name="share")
        self.mean = self.add_weight(shape=(number, length), initializer="zeros", name="mean")
        self.scale = self.add_weight(shape=(number, length, length), initializer="zeros", name="scale")
        self.scale.assign(np.repeat(np.eye(length, dtype="float32")[None], number, axis=0))
        self.built = True

    def fit(self, vectors, iterations=60, seed=0):
        """Fit the mixture to vectors (n, length) by expectation maximisation (Dempster, Laird & Rubin 1977)."""
        vectors, random = np.asarray(vectors, np.float64), np.random.default_rng(seed)
        n, number, length = len(vectors), self.number, self.length
        whole = np.cov(vectors.T).reshape(length, length)
        least = (_LEAST * np.trace(whole) / length + 1e-9) * np.eye(length)
        share, mean = np.full(number, 1 / number), vectors[random.choice(n, number, replace=n < number)]
        scale = np.repeat(np.linalg.cholesky(whole + least)[None], number, axis=0)
        for _ in range(iterations):
            told = _log_parts(vectors, share, mean, scale)
            told = np.exp(told - told.max(axis=1, keepdims=True))
            told /= told.sum(axis=1, keepdims=True)
            members = told.sum(axis=0) + 1e-9
            share, mean = members / members.sum(), (told.T @ vectors) / members[:, None]
            for k in range(number):
                apart = vectors - mean[k]
                found = (apart * told[:, k, None]).T @ apart
                # The spread of all counts as one member, so that few members do not make a needle.
                scale[k] = np.linalg.cholesky((found + whole) / (members[k] + 1) + least)
        for weight, value in ((self.share, share), (self.mean, mean), (self.scale, scale)):
            weight.assign(value.astype("float32"))

    def sample(self, n, seed=0, temperature=1.0):
        """Draw n vectors (n, length); `temperature` multiplies the variance of each Gaussian."""
        random = np.random.default_rng(seed)
        share, mean, scale = self._arrays()
        which = random.choice(self.number, n, p=share / share.sum())
        noise = np.sqrt(temperature) * random.normal(size=(n, self.length))
        return (mean[which] + np.einsum("nij,nj->ni", scale[which], noise)).astype("float32")

    def log_density(self, vectors):
        """Return the logarithm of the density at vectors (n, length), in nats, (n,)."""
        parts = _log_parts(np.asarray(vectors, np.float64), *self._arrays())
        largest = parts.max(axis=1)
        return largest + np.log(np.exp(parts - largest[:, None]).sum(axis=1))

    def _arrays(self):
        return [ops.convert_to_numpy(weight).astype(np.float64) for weight in (self.share, self.mean, self.scale)]

    def get_config(self):
        return {**super().get_config(), "number": self.number, "length": self.length}


def _log_parts(vectors, share, mean, scale):
    """Return the logarithm of share times density of each Gaussian at each vector, (n, number)."""
    parts = []
    for part, middle, factor in zip(share, mean, scale, strict=True):
        whitened = np.linalg.solve(factor, (vectors - middle).T)
        size = np.log(np.diag(factor)).sum() + 0.5 * len(middle) * np.log(2 * np.pi)
        parts.append(np.log(max(part, 1e-30)) - 0.5 * np.square(whitened).sum(axis=0) - size)
    return np.stack(parts, axis=1)
