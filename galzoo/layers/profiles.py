"""Profiles of galaxies as sums of Gaussians."""

import numpy as np

# Profiles end at 8 half-light radii, as in SDSS (Strauss et al. 2002, section 4.4.5.1).
_TRUNCATION = 8.0


def expand(index, radius, widths, steps=2000):
    """Return the weights, of sum 1, with which round Gaussians make a Sersic profile.

    Parameters
    ----------
    index : float
        Sersic index, 0.5 or more.
    radius : float
        Half-light radius.
    widths : array, (gaussian,)
        Standard deviations of the Gaussians, in the unit of `radius`.
    steps : int
        Of expectation maximisation, which finds the mixture of least Kullback-Leibler distance to the light in rings.

    Returns
    -------
    array, (gaussian,), float32

    References
    ----------
    b_n: Ciotti & Bertin 1999, A&A 352, 447. Mixtures of Gaussians for galaxies: Hogg & Lang 2013, arXiv:1210.6563.
    """
    edges = np.concatenate([[0.0], np.geomspace(1e-3, _TRUNCATION, 400)]) * radius
    middle = (edges[1:] + edges[:-1]) / 2
    b = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)
    light = middle * np.exp(-b * (middle / radius) ** (1 / index)) * np.diff(edges)
    light /= light.sum()
    inside = 1 - np.exp(-0.5 * (edges[:, None] / widths.astype(float)) ** 2)
    rings = np.diff(inside, axis=0)
    weights = np.full(len(widths), 1 / len(widths))
    for _ in range(steps):
        weights = weights * (rings.T @ (light / np.maximum(rings @ weights, 1e-300)))
        weights /= weights.sum()
    return weights.astype("float32")
