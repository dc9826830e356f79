"""The joint fit of stars: a blend by dense least squares, pulls, errors, and doubtful stars that are not fitted."""

import numpy as np
import pytest
from scipy.stats import norm

from galzoo.field.star_light import StarLight
from galzoo.inference.star_fit import Prior, expected, fit_stars

SIGMA, SKY = 1.3, 4.0


def psf(side=21, bands=2):
    line = norm.pdf(np.arange(side) - (side - 1) / 2, scale=SIGMA)
    image = np.outer(line, line)
    return np.repeat((image / image.sum())[..., None], bands, axis=-1)


def light(shape, places, flux, sigma=SIGMA):
    y, x = np.indices(shape)
    image = np.zeros((*shape, flux.shape[1]))
    for (px, py), one in zip(places, flux, strict=True):
        image += (norm.pdf(x, px, sigma) * norm.pdf(y, py, sigma))[..., None] * one
    return image


def prior(places, flux, place_error=0.3, flux_error=300.0, probability=1.0):
    places, flux = np.asarray(places, float), np.asarray(flux, float)
    errors = np.full(places.shape, place_error), np.full(flux.shape, flux_error)
    return Prior(places, errors[0], flux, errors[1], np.full(len(places), probability))


NOBODY = prior(np.zeros((0, 2)), np.zeros((0, 2)))


def crowd(seed, gain=None, shape=(40, 40), number=40):
    """Return an image with noise, its places and fluxes, and stars as a network might say them."""
    random = np.random.default_rng(seed)
    places = random.uniform(3, shape[0] - 4, (number, 2))
    flux = 150 * random.uniform(0.05, 1, (number, 1)) ** -1 * random.uniform(0.8, 1.2, (number, 2))
    clean = light(shape, places, flux)
    variance = np.full(clean.shape, SKY) + (0 if gain is None else clean / gain)
    image = clean + np.sqrt(variance) * random.normal(size=clean.shape)
    said = prior(places + 0.2 * random.normal(size=places.shape), flux * np.exp(0.3 * random.normal(size=flux.shape)))
    said.flux_errors[:] = 0.6 * said.flux
    return image, places, flux, said


def test_a_blend_of_two_is_that_of_a_dense_fit():
    places, flux = np.array([[14.2, 15.7], [16.9, 15.1]]), np.array([[800.0, 500.0], [600.0, 900.0]])
    image = light((31, 31), places, flux) + np.sqrt(SKY) * np.random.default_rng(0).normal(size=(31, 31, 2))
    start = prior(places + 0.2, 0.8 * flux, 50.0, 1e6)
    found = fit_stars(image, np.full(image.shape, SKY), psf(), start, NOBODY)
    # Fluxes at the fitted places are linear; all pixels, not only the near ones, say the same within the noise.
    design = np.stack([light((31, 31), one[None], np.ones((1, 1)))[..., 0].ravel() for one in found.places], axis=-1)
    near = np.linalg.lstsq(design, image.reshape(-1, 2), rcond=None)[0]
    np.testing.assert_allclose(found.flux, near, atol=0.5 * found.flux_errors.max())
    np.testing.assert_allclose(found.flux, flux, rtol=0.15)
    np.testing.assert_allclose(found.places, places, atol=4 * found.place_errors.max())
    assert 0.85 < found.chi2 < 1.15


def test_errors_are_those_of_the_data():
    pulls = []
    for seed in range(6):
        image, places, flux, said = crowd(seed, gain=4.0)
        found = fit_stars(image, np.full(image.shape, SKY), psf(), said, NOBODY, np.full(2, 4.0))
        assert 0.9 < found.chi2 < 1.15
        pulls.append((found.flux - flux) / found.flux_errors)
        before, after = (np.median(np.abs(np.log(one / flux))) for one in (said.flux, np.maximum(found.flux, 1)))
        assert after < 0.6 * before
        before, after = (np.median(np.abs(one - places)) for one in (said.places, found.places))
        assert after < 0.7 * before
    low, middle, high = np.quantile(np.concatenate(pulls), (0.1587, 0.5, 0.8413))
    assert 0.75 < (high - low) / 2 < 1.3
    assert abs(middle) < 0.25


def test_the_error_of_a_star_alone_is_known():
    image = light((31, 31), np.array([[15.0, 15.0]]), np.array([[1000.0, 1000.0]]))
    start = prior([[15.0, 15.0]], [[1000.0, 1000.0]], 10.0, 1e6)
    found = fit_stars(image, np.full(image.shape, SKY), psf(), start, NOBODY)
    # sqrt(variance / sum psf^2), and for the place with the sum of the squared slopes of both bands.
    area = 4 * np.pi * SIGMA**2
    np.testing.assert_allclose(found.flux_errors, np.sqrt(SKY * area), rtol=0.02)
    np.testing.assert_allclose(found.place_errors, np.sqrt(SKY * area * 2 * SIGMA**2 / 2) / 1000, rtol=0.05)
    np.testing.assert_allclose(found.flux, 1000, rtol=1e-3)


def test_a_doubtful_star_leaves_its_light_to_no_other():
    places, flux = np.array([[15.0, 15.0], [17.5, 15.0]]), np.array([[1000.0, 1000.0], [300.0, 300.0]])
    image = light((31, 31), places, flux)
    sky = np.full(image.shape, SKY)
    first = prior(places[:1], flux[:1], 0.3, 400.0)
    alone = fit_stars(image, sky, psf(), first, NOBODY)
    known = fit_stars(image, sky, psf(), first, prior(places[1:], flux[1:], 0.3, 30.0))
    assert alone.flux[0, 0] > 1050
    assert abs(known.flux[0, 0] - 1000) < 10
    # What is not sure adds to the error.
    doubtful = fit_stars(image, sky, psf(), first, prior(places[1:], flux[1:], 0.3, 30.0, probability=0.5))
    assert doubtful.flux_errors[0, 0] > 1.1 * known.flux_errors[0, 0]


@pytest.mark.parametrize("bad", ["all", "centre"])
def test_bad_pixels_say_nothing(bad):
    image = light((31, 31), np.array([[15.0, 15.0]]), np.array([[1000.0, 1000.0]]))
    sky = np.full(image.shape, SKY)
    sky[(slice(None), slice(None)) if bad == "all" else (slice(14, 17), slice(14, 17))] = np.inf
    image[~np.isfinite(sky)] = np.nan
    found = fit_stars(image, sky, psf(), prior([[15.2, 15.0]], [[700.0, 700.0]]), NOBODY)
    assert np.isfinite(found.flux).all()
    expected = 700 if bad == "all" else 1000
    np.testing.assert_allclose(found.flux, expected, rtol=0.03)
    assert found.told[0] == (bad != "all")
    # Where no pixel speaks the prior stays.
    if bad == "all":
        np.testing.assert_allclose(found.flux_errors, 300, rtol=1e-6)
        assert np.isnan(found.chi2)


def test_stars_of_which_no_pixel_tells_are_left_out():
    """One among bad pixels and one beyond the image, of which nothing was known before either."""
    places, flux = np.array([[8.0, 15.0], [24.0, 15.0], [60.0, 15.0]]), np.full((3, 2), 1000.0)
    image = light((31, 31), places, flux)
    sky = np.full(image.shape, SKY)
    sky[:, 16:] = np.inf
    image[:, 16:] = np.nan
    said = prior(places + [0.2, 0.0], 0.8 * flux, np.inf, np.inf)
    found = fit_stars(image, sky, psf(), said, NOBODY)
    np.testing.assert_array_equal(found.told, [True, False, False])
    np.testing.assert_allclose(found.places[0], places[0], atol=0.01)
    np.testing.assert_allclose(found.flux[0], 1000, rtol=0.01)
    np.testing.assert_array_equal(found.flux[1:], said.flux[1:])
    assert np.isinf(found.flux_errors[1:]).all()
    assert 0 < found.flux_errors[0, 0] < 30
    # They stay in the model as they were known.
    assert found.model[15, 24, 0] == pytest.approx(
        light((31, 31), said.places[1:2], said.flux[1:2])[15, 24, 0], rel=0.02
    )
    # A pixel at its foot is enough to tell of it.
    sky[15, 25] = SKY
    image[15, 25] = light((31, 31), places, flux)[15, 25, 0]
    said.flux_errors[:], said.place_errors[:] = 300, 0.3
    assert fit_stars(image, sky, psf(), said, NOBODY).told.tolist() == [True, True, False]


def test_no_star_is_darker_than_nothing():
    place, flux = np.array([[15.0, 15.0]]), np.array([[500.0, 500.0]])
    image = -light((31, 31), place, flux)
    found = fit_stars(image, np.full(image.shape, SKY), psf(), prior(place, flux, 0.3, 1e6), NOBODY)
    np.testing.assert_array_equal(found.flux, 0)


def test_a_star_does_not_leap():
    """A quarter of a pixel in each of four steps, along x and y."""
    place, flux = np.array([[17.0, 15.0]]), np.array([[5000.0, 5000.0]])
    image = light((31, 31), place, flux)
    found = fit_stars(image, np.full(image.shape, SKY), psf(), prior([[15.0, 15.0]], flux, 10.0, 1e6), NOBODY)
    np.testing.assert_allclose(found.places, [[16.0, 15.0]], atol=0.01)


def test_chi_squared_is_that_of_good_pixels():
    image = np.sqrt(SKY) * np.random.default_rng(2).normal(size=(60, 60, 2))
    sky = np.full(image.shape, SKY)
    sky[:, :40] = np.inf
    found = fit_stars(image, sky, psf(), prior([[50.0, 30.0]], [[1.0, 1.0]], 0.1, 1.0), NOBODY)
    assert found.chi2 == pytest.approx(1.0, abs=0.1)


def test_what_is_known_of_a_flux_counts_by_its_error():
    place = np.array([[15.0, 15.0]])
    image = light((31, 31), place, np.array([[1000.0, 1000.0]]))
    start = prior(place, [[700.0, 940.0]], 1e-3, 1.0)
    start.flux_errors[:] = 6.0, 12.0
    found = fit_stars(image, np.full(image.shape, SKY), psf(), start, NOBODY)
    data = SKY * 4 * np.pi * SIGMA**2
    weight = 1 / start.flux_errors[0] ** 2
    np.testing.assert_allclose(found.flux[0], (1000 / data + start.flux[0] * weight) / (1 / data + weight), atol=1.0)


def test_each_of_many_stars_in_one_place_has_its_own_error():
    places, flux = np.full((12, 2), 15.0), np.full((12, 2), 100.0)
    start = prior(places, flux)
    start.flux_errors[:] = start.place_errors[:] = 1e-3 * np.arange(1, 13)[:, None]
    image = light((31, 31), places, flux)
    found = fit_stars(image, np.full(image.shape, SKY), psf(), start, NOBODY)
    np.testing.assert_allclose(found.flux_errors, start.flux_errors, rtol=1e-3)


def test_a_doubtful_star_shines_by_its_probability_and_scatters_by_all_that_is_unknown():
    """That of a star of uncertain flux that may not be there."""
    star = prior([[10.0, 10.0]], [[200.0, 400.0]], flux_error=50.0, probability=0.3)
    stamp = StarLight(psf())
    mean, variance = expected(stamp, (21, 21, 2), star)
    draws = np.where(np.random.default_rng(0).uniform(size=200_000) < 0.3, 1, 0)
    fluxes = draws * np.random.default_rng(1).normal(200, 50, 200_000)
    unit = stamp.add(np.zeros((21, 21, 1)), star.places, np.ones((1, 1)))[..., 0]
    np.testing.assert_allclose(mean[..., 0], 60 * unit, atol=1e-9)
    assert variance[10, 10, 0] == pytest.approx(fluxes.var() * unit[10, 10] ** 2, rel=0.01)
