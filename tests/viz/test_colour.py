import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.viz.colour import _colour_key, to_rgb


def blob(*fluxes, noise=0.0):
    y, x = np.indices((24, 24)) - 11.5
    image = np.exp(-0.5 * (x**2 + y**2) / 9)[..., None] * np.array(fluxes)
    return image + noise * np.random.default_rng(0).normal(size=image.shape)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
def test_any_number_of_bands(bands):
    picture = to_rgb(blob(*range(1, bands + 1), noise=0.01))
    assert picture.shape == (24, 24, 3)
    assert picture.dtype == np.uint8
    assert picture[12, 12].max() > 200
    assert picture[0, 0].max() < 100


def test_one_band_is_grey():
    picture = to_rgb(blob(5.0, noise=0.1), ["F160W"])
    assert np.ptp(picture.astype(int), axis=-1).max() == 0


@pytest.mark.parametrize("bands", [("g", "r", "i"), ("i", "r", "g"), ("F160W", "F435W", "F814W"), ("VIS", "Y", "H")])
def test_reddest_band_is_red(bands):
    order = np.argsort([_colour_key(name) for name in bands])
    fluxes = np.ones(3)
    fluxes[order[-1]] = 40
    red, _, blue = to_rgb(blob(*fluxes, noise=0.01), bands)[12, 12].astype(int)
    assert red > blue + 50


@pytest.mark.parametrize(
    ("bands", "noise"),
    [("ugrizy", (9, 2, 3, 4, 9, 20)), ("ugriz", (30, 7, 10, 15, 60)), ("gri", (2, 3, 4)), ("grz", (1, 2, 5))],
)
def test_galaxies_have_the_colours_that_astronomers_know(bands, noise):
    """AB colours of an old galaxy and of a star-forming disc at z = 0.1, with bands of very different depth."""
    colours = {"old": {"u": 2.0, "g": 0.95, "r": 0, "i": -0.4, "z": -0.7, "y": -0.85}}
    colours["disc"] = {"u": 1.05, "g": 0.25, "r": 0, "i": -0.1, "z": -0.2, "y": -0.2}
    seen = {}
    for name, magnitudes in colours.items():
        flux = 2000 * 10 ** (-0.4 * np.array([magnitudes[band] for band in bands]))
        variance = np.broadcast_to(np.square(noise), (24, 24, len(bands)))
        image = blob(*flux) + np.random.default_rng(0).normal(size=variance.shape) * noise
        seen[name] = to_rgb(image, tuple(bands), variance)[10:14, 10:14].mean(axis=(0, 1))
    red, green, blue = seen["old"]
    # White to yellow to orange.
    assert red > green - 5
    assert green > blue
    assert green > 0.5 * red
    red, green, blue = seen["disc"]
    assert blue > red
    assert green < 1.05 * max(red, blue)
    # Near white, not neon.
    assert min(red, green) > 0.45 * blue


def test_filters_are_in_order_of_wavelength():
    names = ["F225W", "F435W", "F606W", "F814W", "F105W", "F125W", "F160W"]
    keys = [_colour_key(name) for name in names]
    assert keys == sorted(keys)
    assert _colour_key("HSC-G") < _colour_key("lsst_i") < _colour_key("NIR_H")
    assert _colour_key("band1") is None


def test_pictures_are_shown_as_they_are():
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(picture, ("r", "g", "b")), picture)
    np.testing.assert_array_equal(to_rgb(picture[..., :1])[..., 2], picture[..., 0])


def test_bad_pixels_and_constant_images_do_not_crash():
    image = blob(5.0, 5.0, noise=0.1)
    image[3, 3] = np.nan
    image[4, 4] = np.inf
    assert to_rgb(image).shape == (24, 24, 3)
    assert to_rgb(np.zeros((8, 8, 1))).max() < 120
    assert to_rgb(np.full((8, 8, 2), np.nan)).shape == (8, 8, 3)
    assert to_rgb(image, variance=np.full(image.shape, np.inf)).shape == (24, 24, 3)


def test_like_shares_the_stretch():
    bright, faint = blob(10.0, noise=0.05), blob(5.0)
    alone, shared = to_rgb(faint), to_rgb(faint, like=bright)
    assert shared[12, 12, 0] < alone[12, 12, 0]


def test_bad_shapes_are_refused():
    for call in (
        lambda: to_rgb(np.zeros((8, 8))),
        lambda: to_rgb(np.zeros((8, 8, 2)), ["r"]),
        lambda: to_rgb(np.zeros((8, 8, 1)), like=np.zeros((9, 9, 1))),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("like", [False, True])
def test_bands_that_were_not_observed_are_left_out(like):
    """A model's guess at them would colour its image, and their zeros the observed one."""
    image = blob(3.0, 5.0, 9.0, noise=0.1)
    variance = np.full(image.shape, 0.01)
    variance[..., [0, 2]] = np.inf
    mask = np.zeros(image.shape, bool)
    picture = to_rgb(image, ("g", "r", "i"), variance, mask, like=image if like else None)
    alone = to_rgb(image[..., 1:2], ("r",), variance[..., 1:2], mask[..., 1:2])
    np.testing.assert_array_equal(picture, alone)
    # Where there is no noise at all, all that is there is shown.
    assert to_rgb(image, ("g", "r", "i"), np.full(image.shape, np.inf)).any()
