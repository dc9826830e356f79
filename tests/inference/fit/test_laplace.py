"""Fluxes by least squares, against sums over pixels."""

import numpy as np
import pytest

from galzoo.inference.fit import laplace
from galzoo.inference.fit.laplace import Normal

RNG = np.random.default_rng(7)


def problem(images, data):
    """Return the arguments of a `Normal` of one scene: images (source, pixel) of every band, data (band, pixel)."""
    bands = len(data)
    normal = np.einsum("sp,tp->st", images, images)[None, None, :, None, :, None]
    right = np.einsum("sp,bp->bs", images, data)[None, ..., None]
    return np.repeat(normal, bands, axis=1), right, (data**2).sum(axis=1)[None]


def bumps(*places, width=3.0, pixels=60):
    return np.exp(-0.5 * ((np.arange(pixels) - np.array(places)[:, None]) / width) ** 2)


@pytest.mark.parametrize(("depth", "held"), [(1.0, False), (8.0, True)])
def test_what_is_darker_than_its_noise_allows_is_held_at_nothing(depth, held):
    images = bumps(20, 26)
    sigma = 1 / np.sqrt((images[1] ** 2).sum())
    data = 50 * images[0] - depth * sigma * images[1]
    flux = Normal(*problem(images, data[None])).flux[0, :, 0]
    if held:
        assert flux[1] == pytest.approx(0, abs=1e-3)
        assert flux[0] == pytest.approx(images[0] @ data / (images[0] @ images[0]), rel=1e-3)
    else:
        assert flux[1] < -0.5 * sigma


def test_how_two_in_one_place_share_their_light_is_as_open_as_the_light_is_much():
    """Each part is believed to be equal to within six tenths of the whole and three errors of a flux."""
    image, total = bumps(30, 30), 400.0
    error = 1 / np.sqrt((image[0] ** 2).sum())
    found = Normal(*problem(image, total * image[:1]))
    np.testing.assert_allclose(found.flux[0, :, 0], total / 2, rtol=1e-3)
    spread = np.sqrt([1, -1] @ found.inverse[0] @ [1, -1])
    # The ridge for the sake of rounding takes a hundredth off.
    assert spread == pytest.approx(np.sqrt(2) * (0.6 * total + 3 * error), rel=0.03)
    # What both have together is as sure as one alone.
    assert np.sqrt([1, 1] @ found.inverse[0] @ [1, 1]) == pytest.approx(error, rel=1e-3)


def test_rounding_of_products_of_sources_in_one_place_leaves_variances_positive():
    normal, right, power = problem(bumps(30, 30, 30), 400 * bumps(30))
    # Single precision may take this off, along the difference of the first and the last.
    difference = np.array([1, 0, -1]) / np.sqrt(2)
    normal = normal - 3e-7 * normal[0, 0, 0, 0, 0, 0] * np.einsum("s,t->st", difference, difference)[:, None, :, None]
    found = Normal(normal, right, power)
    assert (np.diag(found.inverse[0]) > 0).all()
    assert np.isfinite(found.width()).all()
    np.testing.assert_allclose(found.flux[0].sum(), 400, rtol=1e-4)


def test_chi_squared_is_that_of_the_pixels():
    images, data = bumps(20, 25, 40), RNG.normal(size=(2, 60)) + 30 * bumps(22, 38)
    found = Normal(*problem(images, data))
    residual = data - np.einsum("sb,sp->bp", found.flux[0], images)
    assert found.chi2()[0] == pytest.approx((residual**2).sum(), rel=1e-8)


def test_the_energy_has_what_is_known_of_fluxes():
    images, data = bumps(20, 40), RNG.normal(size=(2, 60)) + 30 * bumps(20, 40)
    root = RNG.normal(size=(4, 4))
    prior, vector = (root @ root.T)[None], 20 * RNG.normal(size=(1, 2, 2))
    found = Normal(*problem(images, data), known=(prior, vector))
    flux = found.flux[0].T.ravel()
    known = flux @ prior[0] @ flux - 2 * flux @ vector.ravel()
    assert found.energy()[0] == pytest.approx(found.chi2()[0] + known, rel=1e-9)
    # It is least there.
    for step in 0.01 * np.eye(4):
        residual = data - np.einsum("bs,sp->bp", (flux + step).reshape(2, 2), images)
        more = (residual**2).sum() + (flux + step) @ prior[0] @ (flux + step) - 2 * (flux + step) @ vector.ravel()
        assert more > found.energy()[0]


def test_no_source_gives_more_light_than_it_has():
    """Three in one place may each take the light of the two others, and lose their own, once."""
    found = Normal(*problem(bumps(30, 30, 30), 600 * bumps(30)))
    np.testing.assert_allclose(found.contamination()[0, :, 0], 2 * 200 + 200, rtol=1e-3)


def test_the_width_of_a_flux_is_that_of_the_likelihood_alone():
    """Of two nearly in one place: how they share their light is not in it."""
    images = bumps(30, 30.005)
    found = Normal(*problem(images, 400 * images[:1]))
    wanted = np.sqrt(np.diag(np.linalg.inv(images @ images.T)))
    answer = laplace.posterior(found, np.zeros((1, 2, 0)), np.zeros(0), 0, RNG)
    np.testing.assert_allclose(answer["flux_width"][0, :, 0], wanted, rtol=0.1)
    assert np.all(answer["flux_error"][0, :, 0] < 0.6 * wanted)


def test_one_step_is_three_of_the_prior_s_deviations_at_most():
    g, h = RNG.normal(size=(2, 50))
    data, seen = 3.0 * (g + 12.0 * h), []

    def evaluate(theta, rows):
        seen.append(theta[0, 0, 0])
        design = np.stack([g + theta[0, 0, 0] * h, h])
        return (design @ design.T).reshape(1, 1, 1, 2, 1, 2), (design @ data).reshape(1, 1, 1, 2), [[data @ data]]

    def numbers(theta, rows):
        normal, right, power = evaluate(theta, rows)
        return normal, right, np.array(power)

    laplace.minimise(numbers, np.zeros((1, 1, 1)), np.ones((1, 1), bool), np.full(1, 1e-4), 30)
    assert max(np.abs(np.diff(seen))) == pytest.approx(3.0)
