import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.scenes import Scenes
from galzoo.data.scenes_fits import write_fits
from galzoo.errors import InputError
from galzoo.field.open_field import open_field


def scenes(**changes):
    rng = np.random.default_rng(0)
    planes = {"image": rng.normal(size=(2, 40, 40, 2)), "variance": np.full((2, 40, 40, 2), 2.0)}
    psf = np.zeros((1, 5, 5, 2))
    psf[:, 2, 2] = 1
    return Scenes(**{**planes, "psf": psf, "bands": ["r", "i"], "pixel_scale": 0.2, **changes})


def test_the_field_that_is_read_is_the_scene(tmp_path):
    made = scenes()
    files = write_fits(made, 1, tmp_path / "field")
    with open_field(files["image"], variance=files["variance"], subtract_sky=False) as field:
        assert [name.lower() for name in field.bands] == ["r", "i"]
        assert field.pixel_scale == pytest.approx(0.2, rel=1e-3)
    for band in range(2):
        np.testing.assert_allclose(fits.getdata(files["image"], 1 + band), made.image[1, ..., band])
    assert fits.getdata(files["psf"][1]).sum() == pytest.approx(1)


def test_only_scenes_with_a_flux_scale(tmp_path):
    with pytest.raises(InputError, match="nJy with variance"):
        write_fits(scenes(unit="adu"), 0, tmp_path)
    with pytest.raises(InputError, match="nJy with variance"):
        write_fits(scenes(variance=None), 0, tmp_path)
