"""What headers and pixels say in odd ways is understood, or refused in a line."""

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from galzoo.data.fits import open_mosaic, without_data
from galzoo.data.planes import Plane
from galzoo.data.sky import pixel_to_sky, read_wcs
from galzoo.data.zeropoint import AB_NJY, flux_scale
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.provenance import provenance

SIZE = 64


def header(**cards):
    found = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
    found["CRPIX1"] = found["CRPIX2"] = SIZE / 2
    found["CDELT1"], found["CDELT2"] = -0.2 / 3600, 0.2 / 3600
    found.update(cards)
    return found


def noise(seed=0, size=SIZE):
    return np.random.default_rng(seed).normal(size=(size, size)).astype("f4")


def write(path, image, **cards):
    fits.writeto(path, image, header(MAGZERO=AB_NJY, **cards), overwrite=True)
    return path


def test_zeros_side_by_side_are_no_data(tmp_path):
    """Or a third of a cell without exposure would be the level of the sky."""
    image = noise(size=192) + 5
    empty = image.copy()
    empty[:40] = empty[:, :30] = 0
    nan = np.where(empty == 0, np.float32(np.nan), empty)
    read = {}
    for name, pixels in (("zero", empty), ("nan", nan)):
        with open_field(write(tmp_path / f"{name}.fits", pixels), bands=["r"]) as field:
            read[name] = field.read(0, 192, 0, 192)
    assert read["zero"]["mask"][:40].all()
    assert not read["zero"]["mask"][40:, 30:].any()
    for key in ("image", "variance", "mask"):
        np.testing.assert_array_equal(read["zero"][key], read["nan"][key])
    with open_mosaic(tmp_path / "zero.fits", ["r"]) as mosaic:
        cut = mosaic.gather([20], [60], 32)
    np.testing.assert_array_equal(cut["mask"][0, :, :, 0], np.arange(32)[None] < np.full((32, 1), 10))


def empty_of(image, *window, noise=None):
    """Return which pixels of a window are no data; `noise` is that of a pixel in a map."""
    plane = Plane("image", image, {})
    y0, y1, x0, x1 = window or (0, image.shape[0], 0, image.shape[1])
    own = image[y0:y1, x0:x1]
    return without_data(plane, y0, y1, x0, x1, own, None if noise is None else np.full(own.shape, noise))


def test_zeros_that_are_measured_stay():
    counts = np.random.default_rng(1).poisson(0.1, (64, 64)).astype("f4")
    assert not empty_of(counts).any()
    lone = noise()
    lone[10, 10] = lone[20, 20:22] = 0
    assert not empty_of(lone).any()


def test_what_is_no_data_does_not_depend_on_the_window():
    """Neither on which other pixels are in it, nor on its edges."""
    counts = np.random.default_rng(1).poisson(0.05, (96, 80)).astype("f4")
    counts[40:60, 30:50] = 0
    # A cosmic ray's worth of resampled pixels is no flux image; in a window it may be all there is.
    counts[50, 38:42] = 1.25
    flux = np.random.default_rng(2).normal(size=(96, 80)).astype("f4")
    # Rounded in one part; and zeros of which some windows see two columns of three, or a part of the empty corner.
    flux[:30, :30] = np.round(flux[:30, :30] * 10)
    flux[20:24, 60:62] = flux[70:, 60:] = flux[5:9, 5:8] = 0
    for image, noise_of in ((counts, None), (flux, None), (flux, 1.0)):
        whole = empty_of(image, noise=noise_of)
        for y0 in range(0, 96, 16):
            for x0 in range(0, 80, 10):
                window = (y0, y0 + 16, x0, x0 + 10)
                found = empty_of(image, *window, noise=noise_of)
                np.testing.assert_array_equal(found, whole[y0 : y0 + 16, x0 : x0 + 10])
    assert not empty_of(counts).any()
    empty = empty_of(flux)
    assert empty[70:, 60:].all()
    assert empty[5:9, 5:8].all()
    assert not empty[20:24, 60:62].any()


@pytest.mark.parametrize("kind", ["rms", "weight", "variance"])
def test_a_gap_is_no_data_although_a_noise_map_is_constant(tmp_path, kind, caplog):
    """A chip gap, oblique; its ragged edge too, but not a few zeros."""
    image = noise(size=192) + 5
    y, x = np.indices(image.shape)
    gap = abs(x - 60 - 0.4 * y) < 7
    image[gap] = image[150, 30] = image[170:173, 20:24] = 0
    path, options = write(tmp_path / "image.fits", image), {kind: write(tmp_path / "map.fits", np.ones_like(image))}
    said = "image.fits: areas of exactly 0 are taken as no data, though the noise map has noise there"
    with open_field(path, bands=["r"], **options) as field:
        planes = field.read(0, 192, 0, 192)
    np.testing.assert_array_equal(planes["mask"][..., 0], gap)
    assert caplog.text.count(said) == 1
    with open_mosaic(path, ["r"], **options) as mosaic:
        cut = mosaic.gather([40, 60], [40, 60], 64)
    np.testing.assert_array_equal(cut["mask"][1, ..., 0], gap[60:124, 60:124])
    assert np.isfinite(cut["variance"][..., 0][~cut["mask"][..., 0]]).all()
    assert caplog.text.count(said) == 2


def test_gaps_that_a_noise_map_has_too_are_not_said(tmp_path, caplog):
    image, weight = noise(), np.ones((SIZE, SIZE), "f4")
    image[:20] = weight[:20] = 0
    weight = write(tmp_path / "weight.fits", weight)
    with open_field(write(tmp_path / "image.fits", image), bands=["r"], weight=weight) as field:
        np.testing.assert_array_equal(field.read(0, SIZE, 0, SIZE)["mask"][:, 5, 0], np.arange(SIZE) < 20)
    assert "exactly 0" not in caplog.text


def test_zeros_of_images_that_have_many_stay_with_a_noise_map(caplog):
    """Without noise outside of sources, and clipped at 0 below the sky."""
    bare = np.zeros((SIZE, SIZE), "f4")
    bare[20:40, 20:40] = 1 + noise()[:20, :20] ** 2
    clipped = np.clip(ndimage.gaussian_filter(noise(), 2) + 0.1, 0, None)
    for image in (bare, clipped):
        assert empty_of(image).any()
        assert not empty_of(image, noise=1.0).any()
    assert caplog.text.count("image: most pixels are exactly 0, and measured by the noise map") == 1


def test_a_zero_point_must_be_possible():
    with pytest.raises(InputError, match="zero point 100000 cannot be one of AB magnitudes"):
        flux_scale({"MAGZERO": 1e5}, name="a.fits")
    with pytest.raises(InputError, match="-200 cannot"):
        flux_scale({}, zero_point=-200.0)


def test_a_unit_and_another_zero_point_are_said(caplog):
    assert flux_scale({"BUNIT": "uJy", "MAGZERO": 22.5}, name="a.fits") == pytest.approx(1000)
    assert "a.fits: BUNIT uJy is a zero point of 23.90, the header has 22.50 too" in caplog.text
    caplog.clear()
    assert flux_scale({"BUNIT": "nanomaggy", "MAGZERO": 22.5}) == pytest.approx(10 ** (0.4 * (AB_NJY - 22.5)))
    assert not caplog.records


def test_capitals_of_a_frame_do_not_matter():
    places = [pixel_to_sky(read_wcs(header(RADESYS=name), "a.fits"), 3.0, 5.0) for name in ("FK5", "fk5", "Fk5 ")]
    np.testing.assert_array_equal(places[0], places[1])
    np.testing.assert_array_equal(places[0], places[2])
    with pytest.raises(InputError, match="RADESYS NONSENSE"):
        pixel_to_sky(read_wcs(header(RADESYS="nonsense"), "a.fits"), 3.0, 5.0)


def test_bands_of_other_pixels_are_refused(tmp_path):
    """One has a WCS, the other says its scale."""
    first, second = write(tmp_path / "g.fits", noise()), tmp_path / "r.fits"
    fits.writeto(second, noise(1), fits.Header({"PIXSCALE": 0.168, "MAGZERO": AB_NJY}))
    with pytest.raises(InputError, match=r"r.fits: pixels of 0.168 arcsec beside others of 0.2;"):
        open_mosaic([first, second], ["g", "r"])
    fits.writeto(second, noise(1), fits.Header({"PIXSCALE": 0.195, "MAGZERO": AB_NJY}), overwrite=True)
    with open_mosaic([first, second], ["g", "r"]) as mosaic:
        assert mosaic.pixel_scale == pytest.approx(0.2)


def test_long_names_fit_into_the_header_of_a_catalogue(tmp_path):
    band = "a_band_of_a_survey_with_a_rather_long_name"
    with open_field(write(tmp_path / "field.fits", noise()), bands=[band]) as field:
        found = provenance(field, {"preset": "/a/folder/" + 12 * "that/is/deep/" + "run", "fwhm": 3.0})
    assert found["PRESET"].endswith("run")
    assert found["ZEROPT1"] == pytest.approx(AB_NJY, abs=1e-5)
