"""What a field says of its PSF and sky."""

import numpy as np
from scipy.stats import norm

from galzoo.inference.star_fit import fit_stars
from galzoo.inference.star_wake import CHANGES, edge_to_edge, fit_change, sky_plane
from tests.inference.test_star_fit import NOBODY, SKY, light, prior, psf

SHAPE = (31, 31)
NONE = np.zeros((0, 2)), np.zeros((0, 2))


def field(places, flux, seed=0):
    return light(SHAPE, places, flux) + np.sqrt(SKY) * np.random.default_rng(seed).normal(size=(*SHAPE, 2))


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
        fitted = fit_stars(image, np.full(image.shape, SKY), psf(), prior(places, flux), NOBODY)
        change = fit_change(image, fitted, psf(), NONE)
        assert change.psf.shape == (2, len(CHANGES))
        assert np.abs(change.of(psf()) - psf()).max() < 0.02 * psf().max()
        assert np.abs(change.sky[:, 0]).max() < 0.4
        assert np.abs(change.sky).max() < 0.8

    def test_beyond_the_square_the_sky_is_that_of_its_edge(self):
        plane = sky_plane([[1.0, 2.0, 0.0], [0.0, 0.0, 5.0]], [-1, 0, 1, 9], [0.5, -3])
        np.testing.assert_allclose(plane[..., 0], [[-1, 1, 3, 3]] * 2)
        np.testing.assert_allclose(plane[..., 1], [[2.5] * 4, [-5] * 4])
