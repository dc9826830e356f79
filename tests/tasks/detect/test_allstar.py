"""CHI and SHARP of stars, of what is wider, and of what is narrower."""

import numpy as np
from scipy.stats import norm

from galzoo.tasks.detect.allstar import fit_quality

SIGMA, NOISE, SHAPE = 1.5, 2.0, (60, 500)


class Field:
    """A field of one band in memory, with infinities beyond its edges."""

    shape = SHAPE

    def __init__(self, image):
        self.image = image

    def read(self, y0, y1, x0, x1):
        before = max(-y0, 0), max(-x0, 0)
        part = self.image[max(y0, 0) : y1, max(x0, 0) : x1]
        pad = [(before[axis], size - before[axis] - part.shape[axis]) for axis, size in enumerate((y1 - y0, x1 - x0))]
        mask = np.pad(np.zeros(part.shape, bool), pad, constant_values=True)[..., None]
        image = np.pad(part, pad)[..., None]
        return {"image": image, "mask": mask, "variance": np.where(mask, np.inf, NOISE**2)}


def gaussian(px, py, sigma):
    y, x = np.indices(SHAPE)
    return norm.pdf(x, px, sigma) * norm.pdf(y, py, sigma)


def psf_of(x, y):
    line = norm.pdf(np.arange(25) - 12, scale=SIGMA)
    return np.repeat((np.outer(line, line) / line.sum() ** 2)[None, ..., None], len(x), axis=0)


def test_stars_are_0_galaxies_positive_and_spikes_negative():
    # One on each square, and one whose light reaches from one to the other.
    places = np.array([[30.3, 30.1], [90.2, 20.4], [150.7, 40.0], [383.6, 30.0], [450.0, 1.0]])
    flux, sigma = np.full((5, 1), 8000.0), [SIGMA, 1.8, 1.3, SIGMA, SIGMA]
    image = sum(one[0] * gaussian(*place, s) for place, one, s in zip(places, flux, sigma, strict=True))
    image = image + NOISE * np.random.default_rng(0).normal(size=SHAPE)
    chi, sharp = np.moveaxis(fit_quality(Field(image), places, flux, psf_of)[:, 0], -1, 0)
    stars = [0, 3, 4]
    np.testing.assert_allclose(chi[stars], 1, atol=0.25)
    np.testing.assert_allclose(sharp[stars], 0, atol=0.05)
    # Differences of squares of widths; what is linear in them is a good part of it.
    np.testing.assert_allclose(sharp[1:3], [1.8**2 - SIGMA**2, 1.3**2 - SIGMA**2], rtol=0.4)
    assert chi[1] > 3
    assert chi[2] > 3


def test_where_no_pixel_is_good_nothing_is_said():
    found = fit_quality(Field(np.full(SHAPE, np.nan)[:0]), np.array([[10.0, 10.0]]), np.ones((1, 1)), psf_of)
    assert np.isnan(found).all()
