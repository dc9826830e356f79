import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.colours import ColourPrior

RED, BLUE = np.array([0.2, 1.0, 1.8]), np.array([1.4, 1.0, 0.6])


def galaxies(n, seed=0):
    """Return fluxes of red and blue galaxies, of any brightness."""
    rng = np.random.default_rng(seed)
    sed = np.where(rng.random((n, 1)) < 0.6, RED, BLUE) + 0.05 * rng.normal(size=(n, 3))
    return sed * rng.lognormal(2.0, 1.0, size=(n, 1))


@pytest.fixture(scope="module")
def prior():
    prior = ColourPrior(3, components=2)
    prior.adapt(galaxies(2000))
    return prior


def solved(prior, flux, variance):
    matrix, vector = prior.site(flux, variance)
    weight = 1 / variance
    whole = matrix + weight[..., None] * np.eye(3)
    return np.linalg.solve(whole, (weight * flux + vector)[..., None])[..., 0], np.linalg.inv(whole)


def test_the_mixture_finds_the_kinds_of_galaxies(prior):
    means = keras.ops.convert_to_numpy(prior.means)[:2]
    shares = keras.ops.convert_to_numpy(prior.shares)[:2]
    order = np.argsort(means[:, 0])
    np.testing.assert_allclose(means[order], [RED, BLUE], atol=0.03)
    np.testing.assert_allclose(shares[order] / shares.sum(), [0.6, 0.4], atol=0.05)


def test_bands_help_each_other_and_errors_are_right(prior):
    truth = galaxies(1500, seed=1)
    sigma = np.array([0.5, 0.1, 0.5]) * truth.mean(axis=1, keepdims=True)
    noisy = truth + sigma * np.random.default_rng(2).normal(size=truth.shape)
    found, covariance = solved(prior, noisy, sigma**2)
    gain = np.std((noisy - truth) / sigma, axis=0) / np.std((found - truth) / sigma, axis=0)
    assert np.all(gain[[0, 2]] > 1.7)
    pulls = (found - truth) / np.sqrt(np.einsum("nbb->nb", covariance))
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 0.2)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.15)


def test_the_unit_and_the_brightness_do_not_matter(prior):
    flux, variance = np.array([[2.0, 3.0, 4.0]]), np.full((1, 3), 0.3)
    matrix, vector = prior.site(flux, variance)
    other, shifted = prior.site(1e3 * flux, 1e6 * variance)
    np.testing.assert_allclose(1e6 * other, matrix, rtol=1e-6)
    np.testing.assert_allclose(1e3 * shifted, vector, rtol=1e-6)


def test_a_band_without_data_is_left_alone(prior):
    matrix, vector = prior.site(np.array([[2.0, 3.0, 4.0]]), np.array([[0.3, np.inf, 0.3]]))
    assert np.all(matrix[:, 1] == 0)
    assert np.all(matrix[:, :, 1] == 0)
    assert np.all(vector[:, 1] == 0)
    assert matrix[0, 0, 0] > 0
    nothing = prior.site(np.zeros((1, 3)), np.full((1, 3), np.inf))
    assert np.all(nothing[0] == 0)
    assert np.all(nothing[1] == 0)


def test_a_new_prior_says_nothing():
    matrix, vector = ColourPrior(3).site(np.ones((4, 3)), np.ones((4, 3)))
    assert not matrix.any()
    assert not vector.any()


@pytest.mark.parametrize(
    ("flux", "message"), [(np.ones((50, 2)), "give .n, 3."), (np.ones((3, 3)), "3 galaxies with light are too few")]
)
def test_bad_galaxies(flux, message):
    with pytest.raises(InputError, match=message):
        ColourPrior(3, components=2).adapt(flux)
