"""Mosaics: every kind of file gives the same pixels in nJy, and what cannot be used is refused in one line."""

import bz2
import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galzoo.data.fits import open_mosaic
from galzoo.data.zeropoint import flux_scale
from galzoo.errors import InputError


def header(shift=0.0, **cards):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [40.5 + shift, 30.5]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    result = wcs.to_header()
    result.update({"MAGZERO": 27.0, **cards})
    return result


@pytest.fixture
def pixels():
    return np.random.default_rng(1).normal(size=(60, 80)).astype(np.float32)


def write(path, data, head=None, **options):
    fits.PrimaryHDU(data, header() if head is None else head).writeto(path, **options)
    return path


def read(mosaic):
    with mosaic:
        return mosaic.gather([8], [4], 32)["image"][0, ..., 0]


def variants(folder, data):
    yield write(folder / "plain.fits", data)
    extra = fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(data * 0, name="OTHER"), fits.ImageHDU(data, header(), "SCI")]
    )
    extra.writeto(folder / "multi.fits")
    yield f"{folder / 'multi.fits'}[SCI]"
    yield f"{folder / 'multi.fits'}[2]"
    first = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, header(), "SCI"), fits.ImageHDU(data * 0, name="WHT")])
    first.writeto(folder / "first.fits")
    yield folder / "first.fits"
    raw = (folder / "plain.fits").read_bytes()
    (folder / "zipped.fits.gz").write_bytes(gzip.compress(raw))
    yield folder / "zipped.fits.gz"
    (folder / "zipped.fits.bz2").write_bytes(bz2.compress(raw))
    yield folder / "zipped.fits.bz2"


def test_every_kind_of_file_gives_the_same_pixels(tmp_path, pixels):
    expected = pixels[4:36, 8:40] * 10 ** (0.4 * (31.4 - 27))
    for path in variants(tmp_path, pixels):
        mosaic = open_mosaic(path)
        assert mosaic.pixel_scale == pytest.approx(0.2)
        np.testing.assert_allclose(read(mosaic), expected, rtol=1e-6, err_msg=str(path))


@pytest.mark.parametrize("pieces", [1, 1000])
def test_rice_by_pieces_and_unpacked(tmp_path, pixels, pieces):
    hdu = fits.CompImageHDU(pixels, header(), compression_type="RICE_1", quantize_level=16)
    hdu.writeto(tmp_path / "rice.fits.fz")
    mosaic = open_mosaic(tmp_path / "rice.fits.fz")
    mosaic.expect(pieces)
    expected = pixels[4:36, 8:40] * 10 ** (0.4 * (31.4 - 27))
    assert np.std(read(mosaic) - expected) < 0.03 * expected.std()


def test_scaled_integers_are_converted(tmp_path, pixels):
    hdu = fits.PrimaryHDU(np.round(pixels * 100).astype(np.int16), header())
    hdu.header["BSCALE"] = 0.01
    hdu.writeto(tmp_path / "integers.fits")
    np.testing.assert_allclose(read(open_mosaic(tmp_path / "integers.fits", unit="")), pixels[4:36, 8:40], atol=0.006)


def test_cube_and_one_file_a_band(tmp_path, pixels):
    cube = np.stack([pixels, 2 * pixels])
    write(tmp_path / "cube.fits", cube)
    files = [write(tmp_path / f"{band}.fits", layer) for band, layer in zip("gr", cube, strict=True)]
    with open_mosaic(tmp_path / "cube.fits", ["g", "r"]) as one, open_mosaic(files, ["g", "r"]) as two:
        first, second = one.gather([0], [0], 60)["image"], two.gather([0], [0], 60)["image"]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first[..., 1], 2 * first[..., 0], rtol=1e-6)


def test_weight_and_rms_become_variance_and_mask(tmp_path, pixels):
    weight = np.full(pixels.shape, 4.0, np.float32)
    weight[20, 20] = 0
    image = write(tmp_path / "image.fits", pixels)
    paths = (
        write(tmp_path / "weight.fits", weight),
        write(tmp_path / "rms.fits", np.sqrt(1 / np.maximum(weight, 1e-30))),
    )
    flags = np.zeros(pixels.shape, np.int16)
    flags[10, 12] = 3
    flags = write(tmp_path / "flags.fits", flags)
    scale = 10 ** (0.4 * (31.4 - 27))
    with open_mosaic(image, weight=paths[0], flags=flags) as mosaic:
        found = mosaic.gather([0], [0], 40)
    assert found["mask"][0, 20, 20, 0]
    assert np.isinf(found["variance"][0, 20, 20, 0])
    assert found["mask"][0, 10, 12, 0]
    assert found["mask"].sum() == 2
    assert found["variance"][0, 0, 0, 0] == pytest.approx(0.25 * scale**2, rel=1e-5)
    with open_mosaic(image, rms=paths[1]) as mosaic:
        assert mosaic.gather([0], [0], 40)["variance"][0, 0, 0, 0] == pytest.approx(0.25 * scale**2, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "unit", "value"), [("rms", "nJy", 2e3), ("variance", "nJy2", 4e6), ("weight", "nJy-2", 2.5e-7)]
)
def test_noise_in_another_unit_than_the_image_is_brought_to_it(tmp_path, pixels, kind, unit, value):
    """Of 2 uJy, which the map says in nJy."""
    image = write(tmp_path / "image.fits", pixels, fits.Header({"BUNIT": "uJy"}))
    noise = write(tmp_path / "noise.fits", np.full_like(pixels, value), fits.Header({"BUNIT": unit}))
    with open_mosaic(image, pixel_scale=0.2, **{kind: noise}) as mosaic:
        np.testing.assert_allclose(mosaic.gather([0], [0], 40)["variance"], 4e6, rtol=1e-6)


def test_surface_brightness_is_of_the_pixels(tmp_path, pixels):
    """Of 0.2 arcsec: 0.04 square arcsec."""
    image = write(tmp_path / "image.fits", pixels, fits.Header({"BUNIT": "MJy/sr"}))
    expected = pixels[4:36, 8:40] * 1e15 * 0.04 * np.deg2rad(1 / 3600) ** 2
    np.testing.assert_allclose(read(open_mosaic(image, pixel_scale=0.2)), expected, rtol=1e-5)


def test_zero_points_are_those_of_their_bands(tmp_path, pixels):
    image = write(tmp_path / "image.fits", np.stack([pixels, pixels]), fits.Header())
    for points in ([31.4, 28.9], {"r": 28.9, "g": 31.4}):
        with open_mosaic(image, ["g", "r"], zero_point=points, pixel_scale=0.2) as mosaic:
            np.testing.assert_allclose(mosaic.scales, [1, 10])


def test_pixels_that_nothing_on_the_sky_can_have_are_bad(tmp_path, pixels):
    """1e15 nJy are an AB magnitude of -6."""
    pixels[10, 12], pixels[11, 12], pixels[12, 12] = 2e6, -2e6, 0.5e6
    with open_mosaic(write(tmp_path / "image.fits", pixels, fits.Header({"BUNIT": "Jy"})), pixel_scale=0.2) as mosaic:
        found = mosaic.gather([0], [0], 40)
    assert np.argwhere(found["mask"][0, ..., 0]).tolist() == [[10, 12], [11, 12]]
    assert found["image"][0, 10:13, 12, 0].tolist() == [0, 0, pytest.approx(0.5e15)]


def test_zero_points_from_headers():
    assert flux_scale({"BUNIT": "nanomaggy"}) == pytest.approx(3630.78, rel=1e-4)
    assert flux_scale({"BUNIT": "uJy"}) == pytest.approx(1e3)
    assert flux_scale({"FLUXMAG0": 10 ** (0.4 * 27)}) == pytest.approx(10 ** (0.4 * 4.4))
    # WFC3/IR F160W: the handbook gives 25.94 to 25.96.
    hst = {"PHOTFLAM": 1.9275602e-20, "PHOTPLAM": 15369.176}
    assert 31.4 - 2.5 * np.log10(flux_scale(hst)) == pytest.approx(25.95, abs=0.02)
    assert flux_scale({**hst, "BUNIT": "ELECTRONS", "EXPTIME": 100.0}) == pytest.approx(flux_scale(hst) / 100)
    # 1 MJy/sr in pixels of 0.03 arcsec (JWST).
    assert flux_scale({"BUNIT": "MJy/sr"}, pixel_area=9e-4) == pytest.approx(1e15 * 9e-4 * 2.3504e-11, rel=1e-3)
    assert flux_scale({"MAGZERO": 20.0}, zero_point=31.4) == 1


@pytest.mark.parametrize(
    ("stated", "given", "says"),
    [
        ({"MAGZERO": 27.0}, 25.0, "zero point of 27.00; the 25.00"),
        ({"BUNIT": "nanomaggy"}, 25.0, "zero point of 22.50; the 25.00"),
        ({"FLUXMAG0": 10**10.8}, 25.0, "zero point of 27.00; the 25.00"),
        ({"MAGZERO": 27.0}, 27.01, None),
        ({"BUNIT": "nJy", "MAGZERO": 27.0}, 31.4, None),
        ({"MAGZERO": 27.0, "MAGZPT": 25.0}, 25.0, None),
        ({"BUNIT": "count"}, 25.0, None),
    ],
)
def test_a_zero_point_that_is_not_that_of_the_header_is_said(stated, given, says, caplog):
    assert flux_scale(stated, zero_point=given, name="here") == pytest.approx(10 ** (0.4 * (31.4 - given)))
    assert len(caplog.messages) == (says is not None)
    assert says is None or f"here: its header has a {says} that was given is taken" == caplog.messages[0]


def refuse(match, *arguments, **options):
    with pytest.raises(InputError, match=match) as caught:
        open_mosaic(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used_are_refused(tmp_path, pixels):
    good = write(tmp_path / "good.fits", pixels)
    refuse("no such file", tmp_path / "absent.fits")
    (tmp_path / "cut.fits").write_bytes(good.read_bytes()[:9000])
    refuse("truncated", tmp_path / "cut.fits")
    (tmp_path / "cut.fits.gz").write_bytes(gzip.compress(good.read_bytes())[:4000])
    refuse("truncated|readable", tmp_path / "cut.fits.gz")
    (tmp_path / "text.fits").write_text("not FITS")
    refuse("not a readable FITS", tmp_path / "text.fits")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "table.fits")
    refuse("no image", tmp_path / "table.fits")
    refuse(r"no extension \[SCI\]", f"{good}[SCI]")
    refuse("1 images for 2 bands", good, ["g", "r"])
    refuse("shape", [good, write(tmp_path / "small.fits", pixels[:50])], ["g", "r"])
    moved = write(tmp_path / "moved.fits", pixels, header(shift=3))
    refuse("3.00 px off", [good, moved], ["g", "r"])
    refuse("pass --zero-point", write(tmp_path / "unknown.fits", pixels, header(MAGZERO=None)))
    refuse("no WCS", write(tmp_path / "bare.fits", pixels, fits.Header({"MAGZERO": 25.0})))
    refuse("give one kind", good, weight=good, rms=good)
    refuse("2 zero points", good, zero_point=[25.0, 26.0])
