"""Stamps of other bands or pixels than a preset's are said, or brought there with their flux."""

import dataclasses

import numpy as np
import pytest

from galzoo.domain import in_domain
from galzoo.errors import InputError
from tests.conftest import make_stamps

CARD = {"name": "mine", "data": {"bands": ["g", "r"], "pixel_scale_arcsec": 0.2, "unit": "nJy"}}


def test_its_own_domain_is_silent(caplog):
    stamps = make_stamps(n=2, bands=("g", "r"))
    assert in_domain(stamps, CARD, conform=True) is stamps
    assert in_domain(make_stamps(n=2), {"name": "run"}) is not None
    assert caplog.text == ""


def test_another_scale_warns_or_conforms(caplog):
    stamps = dataclasses.replace(make_stamps(n=4, size=48, bands=("g", "r")), pixel_scale=0.3)
    assert in_domain(stamps, CARD) is stamps
    assert "pixels of 0.3 arcsec where mine has 0.2" in caplog.text
    assert "--conform" in caplog.text
    there = in_domain(stamps, CARD, conform=True)
    assert there.pixel_scale == 0.2
    assert there.shape == (72, 72)
    # The same field, so the same flux, within the noise of 48 x 48 pixels.
    np.testing.assert_allclose(there.image.sum(axis=(1, 2)), stamps.image.sum(axis=(1, 2)), atol=4 * 48)


def test_other_bands_are_refused_or_conform(caplog):
    """A warning of what then fails would be one of two opposite lines."""
    stamps = dataclasses.replace(make_stamps(n=2, bands=("r",)), pixel_scale=0.2)
    with pytest.raises(InputError, match=r"bands r, mine has g, r; --conform brings .* or use a preset of the same"):
        in_domain(stamps, CARD)
    assert caplog.text == ""
    there = in_domain(stamps, CARD, conform=True)
    assert there.bands == ("g", "r")
    assert np.isinf(there.variance[..., 0]).all()
    assert np.isfinite(there.variance[..., 1]).any()


def test_pictures_are_refused(caplog):
    stamps = dataclasses.replace(make_stamps(n=2), pixel_scale=0.4)
    card = {"name": "mine", "data": {"bands": ["r"], "pixel_scale_arcsec": 0.2, "unit": ""}}
    in_domain(stamps, card)
    assert "ask for pictures of that scale" in caplog.text
    assert "--conform" not in caplog.text
    with pytest.raises(InputError, match="mine is for 8-bit pictures.*leave out --conform"):
        in_domain(stamps, card, conform=True)
    pictures = dataclasses.replace(stamps, image=np.zeros(stamps.image.shape, np.uint8), variance=None, unit="")
    with pytest.raises(InputError, match="stamps are 8-bit pictures"):
        in_domain(pictures, card, conform=True)


def test_capitals_of_bands_do_not_matter():
    stamps = make_stamps(n=2, bands=("G", "R"))
    assert in_domain(stamps, CARD).bands == ("g", "r")
    np.testing.assert_array_equal(in_domain(stamps, CARD).image, stamps.image)


def test_stamps_without_variance_conform_with_that_of_their_sky():
    """As models estimate it: of the rim, bad pixels aside."""
    noise = np.random.default_rng(1).normal(0, 3.0, (3, 48, 48, 2)).astype("float32")
    noise[:, :2, :, 0] = np.nan
    stamps = dataclasses.replace(
        make_stamps(n=3, size=48, bands=("g", "r")), image=noise, variance=None, mask=None, pixel_scale=0.4
    )
    there = in_domain(stamps, CARD, conform=True)
    # Pixels of a quarter of the area have a quarter of the noise of a pixel, and what resampling makes alike.
    total = there.image[..., 1].sum(axis=(1, 2))
    np.testing.assert_allclose(total, stamps.image[..., 1].sum(axis=(1, 2)), atol=3.0 * 48)
    sure = np.isfinite(there.variance[..., 1]) & ~there.mask[..., 1]
    assert 0.2 < np.median(there.variance[..., 1][sure]) / 9.0 * 16 < 5


@pytest.mark.parametrize("conform", [False, True])
def test_no_band_in_common_asks_for_another_preset(conform):
    """Not for another name: a band that is called what it is not has the fluxes of another."""
    with pytest.raises(InputError, match=r"bands i, mine has g, r: none in common; use a preset") as caught:
        in_domain(make_stamps(n=2, bands=("i",)), CARD, conform=conform)
    assert "--bands" not in str(caught.value)


@pytest.mark.parametrize("bands", [("b", "g"), ("x", "y")])
def test_colours_of_pictures_are_named(bands):
    card = {"name": "mine", "data": {"bands": ["g", "r"], "pixel_scale_arcsec": 0.2, "unit": ""}}
    with pytest.raises(InputError, match=r"name the colours so .*--bands g,r"):
        in_domain(make_stamps(n=2, bands=bands), card)


def test_flux_in_another_unit_is_brought(caplog):
    """Or what is faint would be taken for bright, by a thousand."""
    stamps = make_stamps(n=2, bands=("g", "r"))
    small = dataclasses.replace(
        stamps, unit="uJy", image=stamps.image / 1e3, variance=stamps.variance / 1e6, truth=stamps.truth / 1e3
    )
    there = in_domain(small, CARD)
    assert there.unit == "nJy"
    for key in ("image", "variance", "truth"):
        np.testing.assert_allclose(getattr(there, key), getattr(stamps, key), rtol=1e-5)
    assert caplog.text == ""


@pytest.mark.parametrize(("unit", "said"), [("ct", "stamps are in ct where mine has nJy"), ("", "display-stretched")])
def test_other_units_are_said(unit, said, caplog):
    stamps = dataclasses.replace(make_stamps(n=2, bands=("g", "r")), unit=unit)
    assert in_domain(stamps, CARD) is stamps
    assert said in caplog.text


def test_a_mask_whose_ones_are_good_is_said(caplog):
    stamps = make_stamps(n=2, bands=("g", "r"))
    for share, said in ((0.97, True), (0.3, False)):
        caplog.clear()
        mask = np.random.default_rng(0).random(stamps.image.shape) < share
        in_domain(dataclasses.replace(stamps, mask=mask), CARD)
        assert ("97 % of the pixels of the stamps are masked; True means bad" in caplog.text) == said


@pytest.mark.parametrize(("factor", "said"), [(1e4, True), (1e-4, True), (1.5, False)])
def test_a_variance_that_is_not_that_of_the_sky_is_said(factor, said, caplog):
    """Such as a weight, or a standard deviation."""
    stamps = make_stamps(n=4, bands=("g", "r"))
    in_domain(dataclasses.replace(stamps, variance=stamps.variance * factor), CARD)
    assert ("stamps, band r: its sky scatters by" in caplog.text) == said
