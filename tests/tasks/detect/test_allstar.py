"""CHI and SHARP of stars, of what is wider, and of what is narrower."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from scipy.stats import norm

from galzoo.tasks.detect.allstar import allstar, fit_quality, write_allstar

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


def test_quality_is_of_good_pixels_within_one_and_a_half_fwhm():
    """A FWHM is 3.5 pixels: what lies eight pixels off does not count, nor what is masked."""
    place, flux = np.array([[30.0, 30.0]]), np.array([[8000.0]])
    image = flux[0] * gaussian(*place[0], SIGMA) + NOISE * np.random.default_rng(0).normal(size=SHAPE)
    expected = fit_quality(Field(image), place, flux, psf_of)
    image[30, 38] += 1e4

    class Masked(Field):
        def read(self, *window):
            planes = super().read(*window)
            bad = planes["image"] == 1e5
            return planes | {"mask": planes["mask"] | bad}

    np.testing.assert_allclose(fit_quality(Field(image), place, flux, psf_of), expected)
    image[31, 32] = 1e5
    np.testing.assert_allclose(fit_quality(Masked(image), place, flux, psf_of), expected, atol=0.1)


def test_sharp_is_by_how_much_a_star_of_any_shape_is_wider():
    """The PSF is wider than high."""
    y, x = np.indices(SHAPE)

    def light(more):
        return norm.pdf(x, 100.3, np.sqrt(9 + more)) * norm.pdf(y, 30.2, np.sqrt(3.24 + more))

    def wide(x, y):
        psf = norm.pdf(np.arange(31) - 15, scale=1.8)[:, None] * norm.pdf(np.arange(31) - 15, scale=3.0)
        return np.repeat(psf[None, ..., None], len(x), axis=0)

    for more in (0.0, 0.1):
        found = fit_quality(Field(1000 * light(more)), np.array([[100.3, 30.2]]), np.array([[1000.0]]), wide)
        assert found[0, 0, 1] == pytest.approx(more, rel=0.1, abs=0.006)


def test_the_psf_is_that_of_the_middle_of_a_square():
    asked = []

    def seen(x, y):
        asked.append((x[0], y[0]))
        return psf_of(x, y)

    fit_quality(Field(np.zeros(SHAPE)), np.array([[10.0, 10.0], [450.0, 10.0]]), np.ones((2, 1)), seen)
    assert asked == [(191.5, 29.5), (441.5, 29.5)]


def test_where_no_pixel_is_good_nothing_is_said():
    found = fit_quality(Field(np.full(SHAPE, np.nan)[:0]), np.array([[10.0, 10.0]]), np.ones((1, 1)), psf_of)
    assert np.isnan(found).all()


def table():
    """Three stars in two bands; the second has no light in r, the third an error that does not fit the form."""
    columns = {"id": [1, 2, 3], "x": [4.0, 10.0, 20.0] * u.pix, "y": [7.0, 8.0, 9.0] * u.pix}
    columns |= {"flux_g": [5.0, 6.0, 7.0] * u.nJy, "flux_r": [50.0, np.nan, 70.0] * u.nJy}
    for band, magnitude in (("g", [20.0, 21.0, 22.0]), ("r", [20.5, np.nan, 22.5])):
        columns |= {f"mag_{band}": magnitude * u.mag, f"mag_err_{band}": [0.01, 0.02, 30.0] * u.mag}
    return QTable(columns)


def test_the_form_is_that_of_daophot():
    quality = np.array([[1.1, -0.2], [1.2, 0.3], [250.0, np.nan]])
    lines = allstar(table(), "r", (60, 500), quality, gain=2.5).splitlines()
    header = lines[1].split()
    assert (header[1:3], header[7]) == (["500", "60"], "2.50")
    rows = [[float(value) for value in line.split()] for line in lines[3:]]
    assert rows == [
        [1, 5, 8, 20.5, 0.01, 0, 0, 1.1, -0.2],
        [3, 21, 10, 22.5, pytest.approx(9.9999), 0, 0, 99, 0],
    ]


def test_every_band_has_a_file_of_its_own_quality(monkeypatch, tmp_path):
    asked = []

    def quality(field, places, flux, psf_of):
        asked.append((places, flux))
        return np.array([[[1.0, 0.1], [2.0, 0.2]]] * 3)

    monkeypatch.setattr("galzoo.tasks.detect.allstar.fit_quality", quality)
    field = Field(np.zeros(SHAPE))
    field.bands = ("g", "r")
    written = write_allstar(field, table(), psf_of, tmp_path)
    assert [path.name for path in written] == ["stars_g.als", "stars_r.als"]
    for path, expected in zip(written, ([1.0, 0.1], [2.0, 0.2]), strict=True):
        assert [float(value) for value in path.read_text().splitlines()[3].split()[-2:]] == expected
    np.testing.assert_array_equal(asked[0][0], [[4, 7], [10, 8], [20, 9]])
    np.testing.assert_array_equal(asked[0][1], [[5, 50], [6, 0], [7, 70]])
