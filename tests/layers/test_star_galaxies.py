"""Galaxies among the stars of made fields, and bands that are off each other."""

import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.star_galaxies import draw_galaxies, galaxy_light
from galzoo.layers.star_psf import draw_psfs
from galzoo.layers.starfield import StarField
from tests.layers.test_starfield import PLAIN, fields


def light_of(side=81, bands=1, colours=0.0, **changes):
    """Return the light of one galaxy of 1000 electrons in the middle."""
    galaxy = {
        "places": np.array([[[40.0, 40.0]]]), "radius": np.array([[4.0]]), "bulge": np.zeros((1, 1)),
        "knots": np.zeros((1, 1)), "angle": np.zeros((1, 1)), "ratio": np.ones((1, 1)),
        "clumps": np.zeros((1, 1, 3, 2)),
    }  # fmt: skip
    galaxy = {key: keras.ops.cast(value, "float32") for key, value in (galaxy | changes).items()}
    electrons, colours = (np.full((1, 1, bands), value, "float32") for value in (1000.0, colours))
    return np.asarray(galaxy_light(galaxy, electrons, colours, side, 0))[0]


def half_light_radius(light):
    y, x = np.indices(light.shape) - 40.0
    order = np.argsort(np.hypot(x, y), axis=None)
    return np.hypot(x, y).ravel()[order][np.searchsorted(np.cumsum(light.ravel()[order]), 0.5 * light.sum())]


class TestLight:
    def test_a_disc_has_its_flux_and_half_light_radius(self):
        light = light_of()[..., 0]
        assert light.sum() == pytest.approx(1000, rel=5e-3)
        assert half_light_radius(light) == pytest.approx(4, abs=0.3)

    def test_a_bulge_is_more_concentrated_than_a_disc(self):
        disc, bulge = light_of()[..., 0], light_of(bulge=np.ones((1, 1)))[..., 0]
        assert half_light_radius(bulge) == pytest.approx(4, abs=0.6)
        assert bulge.max() > 3 * disc.max()
        assert bulge[40, 75] > 3 * disc[40, 75]

    def test_it_is_turned_and_flat(self):
        light = light_of(angle=np.full((1, 1), np.pi / 6), ratio=np.full((1, 1), 0.4))[..., 0]
        y, x = np.indices(light.shape) - 40.0
        xx, yy, xy = ((light * one).sum() / light.sum() for one in (x * x, y * y, x * y))
        assert 0.5 * np.arctan2(2 * xy, xx - yy) == pytest.approx(np.pi / 6, abs=0.01)
        root = np.hypot(xx - yy, 2 * xy)
        assert np.sqrt((xx + yy - root) / (xx + yy + root)) == pytest.approx(0.4, abs=0.03)

    def test_knots_are_where_they_are_said(self):
        clumps = np.zeros((1, 1, 3, 2))
        clumps[..., 0] = 3.0
        plain, knotted = light_of()[..., 0], light_of(knots=np.full((1, 1), 0.3), clumps=clumps)[..., 0]
        row, column = np.unravel_index((knotted - 0.7 * plain).argmax(), plain.shape)
        # .8 half-light radii of 4 pixels each.
        assert (row, column) == (40, 50)
        assert (knotted - 0.7 * plain).sum() == pytest.approx(300, rel=0.02)

    def test_colours_are_those_of_bulges_and_leave_the_flux(self):
        light = light_of(bands=2, colours=[0.0, 1.0], bulge=np.full((1, 1), 0.5))
        np.testing.assert_allclose(light.sum(axis=(0, 1)), 1000, rtol=5e-3)
        assert light[40, 40, 1] > 1.3 * light[40, 40, 0]


def test_numbers_and_brightness():
    n, seed = 200, keras.random.SeedGenerator(3)
    one = np.ones(n, "float32")
    drawn = draw_galaxies(0.002 * one, 50 * one, 100 * one, 30, 60, 6, seed)
    there = np.asarray(drawn["electrons"]) > 0
    assert there.sum(axis=1).mean() == pytest.approx(0.002 * 3600, rel=0.07)
    flux = np.asarray(drawn["electrons"])[there]
    assert flux.min() > 49.9
    assert flux.max() < 5001
    places, radius = np.asarray(drawn["places"]), np.asarray(drawn["radius"])[there]
    assert places.min() > -6.6
    assert places.max() < 53.6
    # Brighter ones are larger.
    assert np.median(radius[flux > 300]) > 1.4 * np.median(radius[flux < 80])
    assert radius.max() <= 12


def test_a_field_tells_galaxies_from_stars():
    options = {
        "n": 12,
        "size": 64,
        "density": (0.002, 0.002),
        "limit": (500, 501),
        "span": (2, 2.1),
        "fwhm": (2.5, 2.6),
    }
    made = fields(galaxies=(0.002, 0.002), seed=2, **options, **PLAIN)
    kinds = [made["source_class"][made["source_class"] >= 0] == kind for kind in (0, 1)]
    assert all(0.3 < kind.mean() < 0.7 for kind in kinds)
    assert (np.diff(made["flux"][..., 0], axis=1) <= 0).all()
    # At the same flux the middle of a galaxy is fainter.
    peak = {0: [], 1: []}
    for row in range(12):
        for (x, y), flux, kind in zip(
            made["positions"][row], made["flux"][row], made["source_class"][row], strict=True
        ):
            if kind >= 0:
                peak[int(kind)].append(made["image"][row, int(np.round(y)), int(np.round(x)), 0] / flux[0])
    assert np.median(peak[0]) < 0.7 * np.median(peak[1])
    plain = fields(seed=2, **options, **PLAIN)
    assert (plain["source_class"] != 0).all()


def test_bands_are_off_each_other_and_what_is_told_is_not():
    true, told = draw_psfs(300, 3, 25, (3.0, 3.1), 0.05, keras.random.SeedGenerator(1), band_shift=0.5)
    line = np.arange(25) - 12.0

    def middle(psf):
        return np.einsum("nyxb,x->nb", psf, line), np.einsum("nyxb,y->nb", psf, line)

    for off in middle(np.asarray(told)):
        assert np.abs(off).max() < 0.02
    for off in middle(np.asarray(true)):
        assert np.abs(off[:, 0]).max() < 0.02
        # Standard deviations from 0 to half a pixel.
        assert off[:, 1:].std() == pytest.approx(0.5 / np.sqrt(3), rel=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band_shift": 3.0}, "band_shift is 3.0; give 0 to 2"),
        ({"band_shift": 0.1, "given_psf": True}, "0 with given_psf"),
        ({"galaxies": (0.1, 0.01)}, "galaxies"),
        ({"galaxies": (0.0, 0.01)}, "galaxies"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        StarField(**options)
