"""The scatter of the sky is that of its noise map, or it is said; where pixels are correlated, too."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from galzoo import Stamps
from galzoo.data.noise_scatter import noise_correlation
from galzoo.domain import in_domain
from galzoo.errors import InputError
from galzoo.field.cutouts import cutouts_from_files
from galzoo.field.open_field import open_field
from tests.data.test_doors import noise
from tests.data.test_maps import write

SIZE = 128
SAID = "check that the map is"


def drizzled():
    """Return noise of which a pixel scatters a third as much as one of independent pixels would."""
    return ndimage.uniform_filter(noise(size=SIZE), 3, mode="wrap")


def test_correlation_is_what_sums_scatter_more():
    assert noise_correlation(noise(size=SIZE)) == pytest.approx(1, abs=0.1)
    smooth = drizzled()
    smooth[5:9] = np.nan
    assert noise_correlation(smooth) == pytest.approx(3, rel=0.1)
    assert noise_correlation(np.zeros((9, 9))) == noise_correlation(np.full((9, 9), np.nan)) == 1


@pytest.mark.parametrize(("pixels", "value", "said"), [(drizzled(), 1, False), (drizzled(), 4, True),
                                                       (noise(size=SIZE), 1.6, False), (noise(size=SIZE), 3, True),
                                                       (noise(size=SIZE), 0.3, True)])  # fmt: skip
def test_a_map_above_the_scatter_of_the_sky_is_said(tmp_path, caplog, pixels, value, said):
    """In fields, and where stamps are cut; maps of drizzled images may have the noise of independent pixels."""
    image, path = write(tmp_path / "image.fits", pixels), write(tmp_path / "map.fits", np.full((SIZE, SIZE), value))
    with open_field(image, ["r"], rms=path):
        assert (SAID in caplog.text) == said
    caplog.clear()
    (tmp_path / "xy.csv").write_text("x,y\n30,30\n60,60\n")
    cutouts_from_files(image, tmp_path / "a.h5", 32, tmp_path / "xy.csv", bands=["r"], rms=path)
    assert (SAID in caplog.text) == said
    caplog.clear()
    stamps = dataclasses.replace(Stamps.load(tmp_path / "a.h5"), meta={})
    in_domain(stamps, {"name": "a", "data": {"bands": ["r"], "pixel_scale_arcsec": 0.2, "unit": "nJy"}})
    assert (SAID in caplog.text) == said


@pytest.mark.parametrize("unit", ["s", "sec", "SECONDS", "ks", "hr"])
@pytest.mark.parametrize("kind", ["weight", "rms", "variance"])
def test_a_map_of_exposure_times_is_refused(tmp_path, unit, kind):
    image = write(tmp_path / "image.fits", noise(size=SIZE))
    path = write(tmp_path / "map.fits", np.full((SIZE, SIZE), 53.9), BUNIT=unit)
    with pytest.raises(InputError, match=f"map.fits: BUNIT is {unit}: it holds an exposure time, given as a.*; leave"):
        open_field(image, ["r"], **{kind: path})


@pytest.mark.parametrize("name", ["exptime.fits", "EXPMAP.fits", "field-exposure.fits", "a_exp.fits"])
def test_a_map_that_is_called_an_exposure_time_is_said(tmp_path, caplog, name):
    image = write(tmp_path / "image.fits", noise(size=SIZE))
    fits.writeto(tmp_path / name, np.full((SIZE, SIZE), 1, "f4"))
    with open_field(image, ["r"], weight=tmp_path / name):
        assert f"{name}: by its name an exposure time, but it is taken as an inverse variance (--weight)" in caplog.text
    for own in ("EXPOSURE", "EXP"):
        path = write(tmp_path / "map.fits", np.ones((SIZE, SIZE)), own)
        with pytest.raises(InputError, match=f"the extension is called {own}: it holds an exposure time, given as"):
            open_field(image, ["r"], weight=path)
