"""Principal components of images: what a galaxy VAE starts from."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Components:
    """Probabilistic principal components of vectors of length d.

    Parameters
    ----------
    mean : array, (d,)
    basis : array, (component, d)
        Unit vectors, by falling variance.
    variance : array, (component,)
        Of the vectors along each.
    noise : float
        Variance in each other direction.
    """

    mean: np.ndarray
    basis: np.ndarray
    variance: np.ndarray
    noise: float

    @property
    def loading(self):
        """Standard deviation without noise along each component, (component,)."""
        return np.sqrt(np.maximum(self.variance - self.noise, 1e-6 * self.variance))


def principal_components(values, weight, number):
    """Find the components of images of which some pixels do not count.

    Parameters
    ----------
    values : array, (n, d)
    weight : array, (n, d)
        1 where a value counts, else 0: it is then taken to be that of the mean.
    number : int
        Of components; n - 1 at most.

    Returns
    -------
    Components

    References
    ----------
    Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611.
    """
    mean = np.sum(values * weight, axis=0) / np.maximum(weight.sum(axis=0), 1)
    apart = ((values - mean) * weight).astype(np.float32)
    number = min(number, len(apart) - 1, apart.shape[1])
    # Of n vectors the products with each other tell all, and there are fewer of them than of pixels.
    products = (apart @ apart.T).astype(np.float64) / len(apart)
    variance, mixing = np.linalg.eigh(products)
    variance, mixing = variance[::-1][:number], mixing[:, ::-1][:, :number]
    variance = np.maximum(variance, 1e-9 * max(variance[0], 1e-30))
    basis = (mixing / np.sqrt(len(apart) * variance)).T @ apart
    rest = max(np.trace(products) - variance.sum(), 0.0) / max(apart.shape[1] - number, 1)
    return Components(mean, basis, variance, float(max(rest, 1e-6 * variance[-1])))
