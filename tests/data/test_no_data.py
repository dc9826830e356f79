"""What gaps are filled with is no measurement, whatever number it is."""

import logging

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.fits import open_mosaic
from galzoo.data.no_data import fills_of
from galzoo.data.planes import Plane
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from tests.data.test_doors import header, noise, write


@pytest.mark.parametrize("fill", [-9999, -99, -123.456, -1e30, 1e30, -3.4e38])
def test_a_filled_gap_is_masked(tmp_path, fill, caplog):
    """Or it would be the level of the sky in a third of the cells, and light or a hole in every stamp."""
    image = noise(size=192) + 5
    gap = np.zeros(image.shape, bool)
    gap[:60], gap[100:180:9, 100] = True, True
    path = write(tmp_path / "a.fits", np.where(gap, np.float32(fill), image))
    with open_field(path, bands=["r"]) as field:
        planes = field.read(0, 192, 0, 192)
    np.testing.assert_array_equal(planes["mask"][..., 0], gap)
    assert np.abs(planes["image"]).max() < 6
    assert np.median(planes["variance"][~planes["mask"]]) == pytest.approx(1, abs=0.1)
    with open_mosaic(path, ["r"]) as mosaic:
        cut = mosaic.gather([90], [90], 64)
    np.testing.assert_array_equal(cut["mask"][0, ..., 0], gap[90:154, 90:154])
    assert np.abs(cut["image"]).max() < 15
    assert fill > 0 or f"a.fits: pixels of exactly {np.float32(fill):g}" in caplog.text


def test_integers_have_gaps_too(tmp_path):
    image = np.round(30 * noise(size=96) + 2000)
    for kind, fill in (("i2", -32768), ("u2", 0)):
        filled = image.astype(kind)
        filled[:, :30] = fill
        with open_field(write(tmp_path / f"{kind}.fits", filled), bands=["r"]) as field:
            mask = field.read(0, 96, 0, 96)["mask"][..., 0]
        np.testing.assert_array_equal(mask, np.arange(96)[None] < np.full((96, 1), 30))


def test_a_noise_map_does_not_make_a_fill_a_measurement(tmp_path):
    image = noise(size=96)
    image[:40] = -9999
    fits.writeto(tmp_path / "rms.fits", np.ones_like(image), header())
    with open_field(write(tmp_path / "a.fits", image), bands=["r"], rms=tmp_path / "rms.fits") as field:
        assert field.read(0, 96, 0, 96)["mask"][:40].all()


def test_dark_pixels_are_no_gaps():
    """Holes differ from each other, and near the sky -99 is a measurement."""
    image = noise(size=128)
    image[:40, :40] -= np.linspace(30, 90, 1600).reshape(40, 40)
    wide = np.round(60 * noise(size=128))
    wide[5, 5] = wide[70, 9] = -99
    for pixels in (image, wide, np.zeros((64, 64)), np.full((64, 64), np.nan)):
        assert fills_of(Plane("image", pixels, {})) == []


def test_a_saturation_level_below_the_sky_is_of_another_unit(tmp_path, caplog):
    path = write(tmp_path / "a.fits", noise() + 100, SATURATE=65.0)
    with caplog.at_level(logging.WARNING), open_field(path, bands=["r"]) as field:
        assert not field.read(0, 64, 0, 64)["mask"].any()
    assert "a.fits: its header says that pixels saturate at 65, below its sky" in caplog.text
    with pytest.raises(InputError, match=r"a.fits: --saturation 50 is below its sky, (99|100)"):
        open_field(path, bands=["r"], saturation=50)
    with pytest.raises(InputError, match="a.fits: --saturation is nan"):
        open_field(path, bands=["r"], saturation=np.nan)
    with open_field(path, bands=["r"], saturation=102) as field:
        assert 0 < field.read(0, 64, 0, 64)["saturated"].mean() < 0.1


@pytest.mark.parametrize(
    ("kind", "unit", "factor"), [("rms", "uJy", 1e-3), ("variance", "uJy2", 1e-6), ("weight", "1/uJy2", 1e6)]
)
def test_noise_in_another_unit_of_flux(tmp_path, kind, unit, factor):
    """A map in uJy beside an image in nJy would be wrong by a thousand."""
    path = write(tmp_path / "a.fits", noise(), BUNIT="nJy")
    value = {"rms": 2.0, "variance": 4.0, "weight": 0.25}[kind]
    fits.writeto(tmp_path / "map.fits", np.full((64, 64), value * factor, "f4"), header(BUNIT=unit))
    with open_field(path, bands=["r"], **{kind: tmp_path / "map.fits"}) as field:
        np.testing.assert_allclose(field.read(0, 64, 0, 64)["variance"], 4, rtol=1e-5)
    with open_mosaic(path, ["r"], **{kind: tmp_path / "map.fits"}) as mosaic:
        np.testing.assert_allclose(mosaic.gather([8], [8], 16)["variance"], 4, rtol=1e-5)
