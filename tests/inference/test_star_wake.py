"""What a field says of its PSF and sky."""

import numpy as np
import pytest
from scipy.stats import norm

from galzoo.inference.star_fit import fit_stars
from galzoo.inference.star_wake import CHANGES, Change, _changes, edge_to_edge, fit_change, sky_plane
from tests.inference.test_star_fit import NOBODY, SKY, light, prior, psf

SHAPE = (31, 31)
NONE = np.zeros((0, 2)), np.zeros((0, 2))
SIGMA_SQUARE = 1.3**2


def field(places, flux, seed=0):
    return light(SHAPE, places, flux) + np.sqrt(SKY) * np.random.default_rng(seed).normal(size=(*SHAPE, 2))


def fit(image, stars, others=NOBODY):
    return fit_stars(image, np.full(image.shape, SKY), psf(), stars, others)


class TestWake:
    def test_a_wider_psf_a_shift_between_bands_and_the_sky_are_found(self):
        random = np.random.default_rng(3)
        shape, places = (64, 64), random.uniform(6, 57, (60, 2))
        flux = 3000 * random.uniform(0.2, 1, (60, 2))
        y, x = np.indices(shape)
        image = np.zeros((*shape, 2))
        for (px, py), one in zip(places, flux, strict=True):
            # Band 0 is wider than the PSF told, 1.3; band 1 is .2 pixels to the right.
            image[..., 0] += one[0] * norm.pdf(x, px, 1.4) * norm.pdf(y, py, 1.4)
            image[..., 1] += one[1] * norm.pdf(x, px + 0.2, 1.3) * norm.pdf(y, py, 1.3)
        # The sky of band 0 grows by 4 from the middle to the right edge, that of band 1 falls by 3 to the upper one.
        image += [3.0, -2.0] + np.sqrt(SKY) * random.normal(size=image.shape)
        image[..., 0] += 4 * (x / 31.5 - 1)
        image[..., 1] -= 3 * (y / 31.5 - 1)
        variance, told = np.full(image.shape, SKY), psf()
        line = edge_to_edge(64)
        sky, first = np.zeros((2, 3)), None
        for _ in range(4):
            start = prior(places, flux, 0.2, 2000.0)
            left = image - sky_plane(sky, line, line)
            fitted = fit_stars(left, variance, told, start, NOBODY)
            change = fit_change(left, fitted, told, NONE)
            told, sky = change.of(told), sky + change.sky
            first = change if first is None else first
        line = np.arange(21) - 10
        lines = told.sum(axis=0) / told.sum(axis=(0, 1))
        middle = (line[:, None] * lines).sum(axis=0)
        width = np.sqrt(((line[:, None] - middle) ** 2 * lines).sum(axis=0))
        # The first band says where stars are: half a shift of both would do as well, but its PSF is not moved.
        np.testing.assert_allclose(middle, [0, 0.2], atol=0.03)
        np.testing.assert_allclose(width, [1.4, 1.3], atol=0.03)
        np.testing.assert_allclose(sky, [[3, 4, 0], [-2, 0, -3]], atol=0.35)
        assert change.after < 1.15
        assert first.before > 1.5
        np.testing.assert_allclose(told.sum(axis=(0, 1)), 1)

    def test_where_nothing_is_wrong_nothing_changes(self):
        random = np.random.default_rng(5)
        places, flux = random.uniform(4, 26, (12, 2)), 2000 * random.uniform(0.3, 1, (12, 2))
        image = field(places, flux)
        fitted = fit(image, prior(places, flux))
        change = fit_change(image, fitted, psf(), NONE)
        assert change.psf.shape == (2, len(CHANGES))
        assert np.abs(change.of(psf()) - psf()).max() < 0.02 * psf().max()
        assert np.abs(change.sky[:, 0]).max() < 0.4
        assert np.abs(change.sky).max() < 0.8

    def test_beyond_the_square_the_sky_is_that_of_its_edge(self):
        plane = sky_plane([[1.0, 2.0, 0.0], [0.0, 0.0, 5.0]], [-1, 0, 1, 9], [0.5, -3])
        np.testing.assert_allclose(plane[..., 0], [[-1, 1, 3, 3]] * 2)
        np.testing.assert_allclose(plane[..., 1], [[2.5] * 4, [-5] * 4])

    def test_stars_that_were_not_fitted_tell_of_the_psf_too(self):
        random = np.random.default_rng(6)
        places, flux = random.uniform(8, 22, (10, 2)), np.full((10, 2), 3000.0)
        image = light(SHAPE, places, flux, 1.45)
        known = prior(places, flux, 1e-3, 1e-3)
        fitted = fit(image, known[:1], known[1:])
        width = CHANGES.index("width")
        change = fit_change(image, fitted, psf(), (places[1:], flux[1:]))
        # A Gaussian grows by half of the change of its variance times its second derivative.
        np.testing.assert_allclose(change.psf[:, width], 1.45**2 - 1.3**2, rtol=0.35)
        assert change.after < 0.3 * change.before

    def test_light_from_beyond_the_edge_says_nothing(self):
        random = np.random.default_rng(7)
        places, flux = random.uniform(8, 22, (8, 2)), 2000 * random.uniform(0.3, 1, (8, 2))
        image = field(places, flux)
        fitted = fit(image, prior(places, flux))
        clean = fit_change(image, fitted, psf(), NONE)
        rim = np.ones(SHAPE, bool)
        rim[5:-5, 5:-5] = False
        image[rim] += 50.0
        np.testing.assert_allclose(fit_change(image, fitted, psf(), NONE).psf, clean.psf, atol=1e-9)

    def test_a_psf_changes_by_a_half_at_most(self):
        places, flux = np.array([[15.0, 15.0]]), np.array([[9000.0, 9000.0]])
        image = light(SHAPE, places, flux, 3.0)
        fitted = fit(image, prior(places, flux, 1e-3, 1.0))
        assert np.abs(fit_change(image, fitted, psf(), NONE).psf).max() == pytest.approx(0.5)

    def test_changes_are_what_they_are_called(self):
        line = np.arange(21) - 10
        psf_of = {}
        for number, name in enumerate(CHANGES):
            amounts = np.zeros((2, len(CHANGES)))
            amounts[:, number] = 0.2
            changed = Change(amounts, np.zeros((2, 3)), 1.0, 1.0).of(psf())[..., 0]
            x, y = changed.sum(axis=0), changed.sum(axis=1)
            psf_of[name] = x @ line, y @ line, x @ line**2 - (x @ line) ** 2, y @ line**2 - (y @ line) ** 2
        assert psf_of["x"][:2] == pytest.approx((0.2, 0), abs=0.01)
        assert psf_of["y"][:2] == pytest.approx((0, 0.2), abs=0.01)
        own = SIGMA_SQUARE
        assert psf_of["width"][2:] == pytest.approx((own + 0.2, own + 0.2), abs=0.02)
        assert psf_of["ellipse along x"][2:] == pytest.approx((own + 0.2, own - 0.2), abs=0.02)
        assert psf_of["wing"][2] == psf_of["wing"][3] > own + 0.3
        # Drawn out along the diagonal the widths along x and y stay.
        assert psf_of["ellipse along y"][2:] == pytest.approx((own, own), abs=0.02)

    def test_a_changed_psf_is_nowhere_negative(self):
        amounts = np.full((2, len(CHANGES)), -0.5)
        changed = Change(amounts, np.zeros((2, 3)), 1.0, 1.0).of(psf())
        assert changed.min() >= 0
        np.testing.assert_allclose(changed.sum(axis=(0, 1)), 1)

    def test_the_first_band_says_where_stars_are(self):
        """Both are moved alike, which is where the stars are."""
        places, flux = np.array([[12.0, 15.0], [20.0, 11.0]]), np.full((2, 2), 5000.0)
        image = light(SHAPE, places + [0.3, 0], flux)
        fitted = fit(image, prior(places, flux, 0.01, 1.0))
        change = fit_change(image, fitted, psf(), NONE)
        np.testing.assert_array_equal(change.psf[0, :2], 0)
        assert np.abs(change.psf[1, 0]) < 0.1

    def test_edges_are_at_one(self):
        np.testing.assert_allclose(edge_to_edge(2), [-1, 1])
        np.testing.assert_allclose(edge_to_edge(1), [0])
        np.testing.assert_allclose(edge_to_edge(5, np.array([-2, 1, 4])), [-2, -0.5, 1])

    def test_each_change_keeps_the_light(self):
        np.testing.assert_allclose(_changes(psf()).sum(axis=(0, 1)), 0, atol=1e-6)
