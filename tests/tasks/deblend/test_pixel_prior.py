from types import SimpleNamespace

import numpy as np
import pytest

import galzoo.tasks.deblend.pixel_prior as pixel_prior
from galzoo.contracts.deblended import Deblended
from galzoo.errors import InputError


class Flat:
    """A prior that says nothing, of single galaxies in F160W."""

    space, exact_log_prob, exact_score = "pixels", True, True
    bands, stamp_size, pixel_scale, unit, model_sigma = ("F160W",), (9, 9), 0.06, "nJy", 0.7

    def score(self, x, condition=None):
        return np.zeros_like(x)


def first(batch):
    image = np.where(batch["image"] > 3, batch["image"], 0)[:, None]
    return Deblended(image, image.sum(axis=(2, 3)), np.full((1, 1, 2), 8.0), np.ones((1, 1), bool))


def test_the_prior_takes_over_except_where_answers_are_to_be_smooth():
    rng = np.random.default_rng(0)
    axis = np.arange(17) - 8
    galaxy = 20 * np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / 2**2)
    image = (galaxy + rng.normal(size=(17, 17))).astype("float32")[None, ..., None]
    batch = {"image": image, "variance": np.ones_like(image)}
    deblend = pixel_prior.with_prior(first, Flat(), steps=60, weight=0)
    # Without a say of the prior the pixels of the stamp become the data's, where these are not negative.
    np.testing.assert_allclose(deblend(batch).image[0, 0, 4:13, 4:13], np.maximum(image[0, 4:13, 4:13], 0), atol=0.3)
    smooth = deblend({**batch, "smooth": True})
    np.testing.assert_array_equal(smooth.image, first(batch).image)


@pytest.mark.parametrize(
    ("changes", "bands", "said"),
    [
        ({"space": "codes"}, ("F160W",), "over codes"),
        ({"unit": ""}, ("F160W",), "noiseless ones in nJy"),
        ({"bands": ("g", "r")}, ("r", "i"), "bands g, r, the data have r, i"),
        ({"model_sigma": None}, ("F160W",), "noiseless ones in nJy"),
        ({"pixel_scale": 0.2}, ("F160W",), "pixels of 0.2 arcsec, the data have 0.06"),
        ({"pixel_scale": 0.0765}, ("F160W",), "within a factor of 1.25"),
        ({"pixel_scale": 0.047}, ("F160W",), "within a factor of 1.25"),
    ],
)
def test_priors_that_do_not_fit_are_refused(changes, bands, said, monkeypatch):
    prior = Flat()
    monkeypatch.setattr(pixel_prior, "load_for", lambda task, name: prior)
    assert pixel_prior.load_prior("SOME", ("F160W",), 0.065) is prior
    for name, value in changes.items():
        setattr(prior, name, value)
    with pytest.raises(InputError, match=said):
        pixel_prior.load_prior("SOME", bands, 0.06)


def test_what_a_prior_is_started_from_has_its_bands(monkeypatch):
    model = SimpleNamespace(bands=("u", "g", "r", "i", "z", "y", "F160W"))
    monkeypatch.setattr(pixel_prior, "load_for", lambda task, name: model)
    assert pixel_prior.first_deblender(("F160W",), 0.06)[0] == "vae_deblender_candels_h"
    assert pixel_prior.first_deblender(("i",), 0.168)[0] == "vae_deblender_lsst"
    with pytest.raises(InputError, match="deblends bands q"):
        pixel_prior.first_deblender(("q",), 0.168)


def test_what_an_answer_tells_a_prior():
    ranges = {"mag": (19.0, 24.0), "half_light_radius": (0.1, 1.0), "redshift": (0.0, 1.0)}
    prior = SimpleNamespace(condition_ranges=ranges, pixel_scale=0.2)
    flux = np.array([[[3631.0], [-1.0]], [[36.31], [5.0]]])
    shape = np.full((2, 2, 3), [0.1, 0.2, 2.5])
    answer = Deblended(
        np.zeros((2, 2, 3, 3, 1)), flux, np.zeros((2, 2, 2)), np.array([[True, True], [True, False]]), shape=shape
    )
    told = pixel_prior.told_by(prior, answer)
    # 3631 nJy are magnitude 22.5; 27.5 is fainter than what the prior knows; a negative flux says nothing.
    np.testing.assert_allclose(told["mag"], [22.5, np.nan, 24.0], atol=1e-3)
    np.testing.assert_allclose(told["half_light_radius"], 0.5)
    assert set(told) == {"mag", "half_light_radius"}


def test_a_pixelcnn_over_pixels_serves_and_one_over_codes_is_refused():
    prior = pixel_prior.load_prior("pixelcnn_hsc_i", ("i",), 0.168)
    assert prior.space == "pixels"
    with pytest.raises(InputError, match="over codes"):
        pixel_prior.load_prior("pixelcnn_lsst", ("u", "g", "r", "i", "z", "y"), 0.2)


@pytest.mark.parametrize("told", [False, True])
def test_what_is_told_and_how_sharp_the_frame_is_reach_the_fit(told, monkeypatch):
    prior, seen = Flat(), {}
    prior.condition_ranges = {"mag": (15.0, 30.0)}
    monkeypatch.setattr(
        pixel_prior, "deblend_pixels", lambda *given, **options: seen.update({"given": given}, **options)
    )
    image = np.full((1, 17, 17, 1), 4.0)
    pixel_prior.with_prior(first, prior, told=told, steps=3, weight=0.5)({"image": image})
    assert seen["given"][0] is prior
    assert seen["given"][3] == 0.7
    assert (seen["steps"], seen["weight"]) == (3, 0.5)
    if told:
        assert list(seen["condition"]) == ["mag"]
        np.testing.assert_allclose(seen["condition"]["mag"], 31.4 - 2.5 * np.log10(4 * 17 * 17), rtol=1e-6)
    else:
        assert seen["condition"] is None
