"""Pixels keep their values on the way in: units, types, compression, pictures, order of bands."""

import bz2
import dataclasses
import gzip
import lzma
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from galzoo import Stamps
from galzoo.data.bands import checked, in_order, magnitude_columns, observed, spelt
from galzoo.data.fits import open_mosaic
from galzoo.data.maps import variance_of
from galzoo.data.planes import Plane, open_planes
from galzoo.data.psf import fwhm_of, read_psf
from galzoo.errors import InputError
from galzoo.field.cutouts import cutouts_from_files
from tests.conftest import make_stamps

RNG = np.random.default_rng(11)
SKY = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 50.5, "CRPIX2": 50.5,
    "CDELT1": -0.2 / 3600, "CDELT2": 0.2 / 3600,
}  # fmt: skip


def write(path, pixels, **cards):
    fits.PrimaryHDU(pixels, fits.Header(SKY | cards)).writeto(path)
    return path


@pytest.mark.parametrize("kind", ["rms", "weight"])
@pytest.mark.parametrize("point", [-48.6, 0.0, 60.0])
def test_noise_in_units_beyond_single_precision(tmp_path, kind, point):
    """A variance of 100 nJy^2 in any unit: weights in erg/s/cm2/Hz overflow a float32, squares of rms underflow."""
    sigma = 10 / 10 ** (0.4 * (31.4 - point))
    field = write(tmp_path / "field.fits", RNG.normal(0, sigma, (100, 100)), MAGZERO=point)
    noise = write(tmp_path / "noise.fits", np.full((100, 100), sigma if kind == "rms" else sigma**-2))
    Table({"x": [50.0], "y": [40.0]}).write(tmp_path / "xy.csv")
    cutouts_from_files(field, tmp_path / "a.h5", size=16, catalogue=tmp_path / "xy.csv", **{kind: [noise]})
    stamps = Stamps.load(tmp_path / "a.h5")
    assert not stamps.mask.any()
    np.testing.assert_allclose(stamps.variance, 100.0, rtol=1e-5)
    assert stamps.image.std() == pytest.approx(10, rel=0.2)


def test_variance_is_infinite_where_the_noise_is_no_number_above_zero():
    noise = np.array([2.0, 0.0, -2.0, np.nan, np.inf])
    np.testing.assert_array_equal(variance_of(noise, "weight"), [0.5, *[np.inf] * 4])
    np.testing.assert_array_equal(variance_of(noise, "rms"), [4.0, *[np.inf] * 4])
    np.testing.assert_array_equal(variance_of(noise, "variance"), [2.0, *[np.inf] * 4])


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_unpacking_keeps_whole_numbers(tmp_path, kind):
    """Rice-compressed maps of more stamps than are read one by one go through a temporary file."""
    values = RNG.integers(0, min(np.iinfo(kind).max, 2**40), (40, 40)).astype(kind)
    values[3, 4] = np.iinfo(kind).max if np.iinfo(kind).max < 2**40 else 2**40 + 1
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values, compression_type="GZIP_1")])
    hdus.writeto(tmp_path / "labels.fits")
    (plane,) = open_planes(tmp_path / "labels.fits")
    plane.expect(1000)
    found = plane.read(0, 40, 0, 40)
    assert np.issubdtype(found.dtype, np.integer)
    np.testing.assert_array_equal(found.astype(np.int64), values.astype(np.int64))
    plane.close()


def test_labels_that_a_float_cannot_hold_are_refused(tmp_path):
    field = write(tmp_path / "field.fits", np.ones((60, 60), np.float32), MAGZERO=31.4)
    Table({"x": [30.0], "y": [30.0]}).write(tmp_path / "xy.csv")
    for top, words in ((1 << 20, None), (1 << 25, "labels of 33554432 as 32-bit floats")):
        labels = write(tmp_path / f"labels{top}.fits", np.full((60, 60), top, np.float32))
        options = {"size": 16, "catalogue": tmp_path / "xy.csv", "segmentation": labels}
        if words is None:
            cutouts_from_files(field, tmp_path / "a.h5", **options)
        else:
            with pytest.raises(InputError, match=words):
                cutouts_from_files(field, tmp_path / "a.h5", **options)


@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open])
def test_compressed_files_are_unpacked_once(tmp_path, opener, monkeypatch):
    """Scaled pixels too, whose sections would unpack the stream for every row; and whatever the file is called."""
    pixels = RNG.normal(size=(64, 48)).astype(np.float32)
    write(tmp_path / "plain.fits", pixels)
    with fits.open(tmp_path / "plain.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 2.0, 1.0
    packed = tmp_path / "packed.fits"
    with opener(packed, "wb") as stream:
        stream.write((tmp_path / "plain.fits").read_bytes())
    opened = []
    monkeypatch.setattr(opener.__module__ + ".open", lambda *args: opened.append(args) or opener(*args))
    (plane,) = open_planes(packed)
    for y in range(0, 60, 4):
        np.testing.assert_allclose(plane.read(y, y + 4, 5, 20), 2 * pixels[y : y + 4, 5:20] + 1, rtol=1e-6)
    assert len(opened) == 1
    plane.close()
    data = packed.read_bytes()
    packed.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"packed.fits: truncated or damaged"):
        open_planes(packed)


def test_pictures_of_sixteen_bits_keep_their_range(tmp_path):
    pixels = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    with open_mosaic(tmp_path / "deep.png") as mosaic:
        image = mosaic.gather([0], [0], 64)["image"][0]
    np.testing.assert_allclose(image, np.repeat(pixels[..., None] / 257.0, 3, axis=-1), atol=1e-3)


@pytest.mark.parametrize(
    "cards",
    [{"PIXSCALE": 0.05}, {"PIXELSCL": 0.05, "OVERSAMP": 4}, {"PIXSCL": 0.05}, {"SECPIX": 0.05}, {"PSF_SAMP": 0.25},
     {"CDELT1": 0.05, "CDELT2": 0.05, "CUNIT1": "arcsec", "CUNIT2": "arcsec"},
     {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CDELT1": -0.05 / 3600, "CDELT2": 0.05 / 3600, "CUNIT1": "deg"}],
    ids=lambda cards: next(iter(cards)),
)  # fmt: skip
def test_psf_files_name_their_pixels_in_many_ways(tmp_path, cards):
    y, x = np.indices((81, 81)) - 40
    psf = np.exp(-(x**2 + y**2) / (2 * (16 / 2.3548) ** 2))
    fits.PrimaryHDU(psf, fits.Header(cards)).writeto(tmp_path / "psf.fits")
    assert fwhm_of(read_psf(tmp_path / "psf.fits", ["r"], 65, 0.2)[0, ..., 0]) == pytest.approx(4, rel=0.05)


def test_an_oversampled_psf_without_its_scale_is_refused(tmp_path):
    psf = np.exp(-(np.hypot(*(np.indices((41, 41)) - 20)) ** 2) / 50)
    fits.PrimaryHDU(psf, fits.Header({"OVERSAMP": 4})).writeto(tmp_path / "psf.fits")
    with pytest.raises(InputError, match="oversampled"):
        read_psf(tmp_path / "psf.fits", ["r"], 41, 0.2)
    assert read_psf(tmp_path / "psf.fits", ["r"], 41, 0.2, psf_scale=0.05).shape == (1, 9, 9, 1)


def test_bands_go_by_name():
    stamps = make_stamps(bands=("g", "r", "i"))
    turned = in_order(stamps, ("i", "g", "r"))
    assert turned.bands == ("i", "g", "r")
    for key in ("image", "variance", "psf"):
        if getattr(stamps, key) is not None:
            np.testing.assert_array_equal(getattr(turned, key), getattr(stamps, key)[..., [2, 0, 1]])
    assert in_order(stamps, ["g", "r", "i"]) is stamps
    for others in (("g", "r"), ("g", "r", "z"), ("a", "b", "c")):
        with pytest.raises(InputError, match="the bands g, r, i"):
            in_order(dataclasses.replace(stamps), others)


def test_names_of_bands_that_files_cannot_hold_are_refused():
    assert checked(["g", 5]) == ("g", "5")
    with pytest.raises(InputError, match="^a.fits: band 'g' is named twice"):
        checked(["g", "r", "g"], "a.fits")
    for odd in ("g/r", "", "ü", "g\n"):
        with pytest.raises(InputError, match="^band .* cannot be written to files"):
            checked(["r", odd])
    with pytest.raises(InputError, match="^a.fits: band 'bbb.* is too long for columns of FITS"):
        checked(["r", 41 * "b"], "a.fits")


def test_bands_are_spelt_as_the_model_spells_them():
    assert spelt(["F606W", "G", "i", "NB1"], ["f606w", "g", "i"]) == ("f606w", "g", "i", "NB1")
    # Not where two would have one name, nor where the model knows both.
    assert spelt(["y", "Y"], ["y"]) == ("y", "Y")
    assert spelt(["y", "Y"], ["Y", "y"]) == ("y", "Y")


def test_magnitudes_are_of_their_bands():
    assert magnitude_columns(["g", "i"], {"simulation": {"reference": "i", "band": "r"}}) == {
        "mag_g": "g", "mag_i": "i", "mag": "i",
    }  # fmt: skip
    assert magnitude_columns(["g"], {}) == {"mag_g": "g", "mag": None}


def test_bands_are_observed_where_a_pixel_is_good():
    """Of four stamps of two bands: one pixel is good; that is not a number, has no noise, or is masked."""
    image, variance = np.full((4, 5, 6, 2), np.nan), np.ones((4, 5, 6, 2))
    image[:, 3, 4, 1] = 1
    image[1] = np.nan
    variance[2] = np.inf
    mask = np.zeros(image.shape, bool)
    mask[3, 3, 4, 1] = True
    seen = SimpleNamespace(image=image, variance=variance, mask=mask)
    assert observed(seen).tolist() == [[False, True], [False, False], [False, False], [False, False]]
    assert observed(SimpleNamespace(image=image, variance=None, mask=None))[:, 1].tolist() == [True, False, True, True]


def test_every_plane_is_turned_to_the_order_of_the_model():
    @dataclasses.dataclass
    class Images:
        bands: tuple
        image: np.ndarray
        variance: np.ndarray
        mask: np.ndarray
        psf: np.ndarray
        truth: np.ndarray
        model: np.ndarray
        isolated: np.ndarray

    parts = {name: RNG.normal(size=(2, 4, 5, 3)) for name in (field.name for field in dataclasses.fields(Images)[1:])}
    parts["truth"] = None
    turned = in_order(Images(bands=("g", "r", "i"), **parts), ("r", "i", "g"))
    assert turned.bands == ("r", "i", "g")
    assert turned.truth is None
    for name, part in parts.items():
        assert part is None or np.array_equal(getattr(turned, name), part[..., [1, 2, 0]]), name


def test_layers_of_a_cube_are_named_by_its_header(tmp_path):
    """As in cut-outs of the Legacy Surveys, where every layer has a name and the image none."""
    pixels = RNG.normal(size=(2, 20, 30)).astype(np.float32)
    for cards, names in (
        ({"BAND0": "g", "BAND1": "z"}, ["g", "z"]),
        ({"BAND0": "g", "BAND1": " "}, [None, None]),
        ({"BAND0": "g", "BAND1": "z", "FILTER": "r"}, ["r", "r"]),
    ):
        fits.writeto(tmp_path / "cube.fits", pixels, fits.Header(cards), overwrite=True)
        planes = open_planes(tmp_path / "cube.fits")
        assert [plane.header.get("FILTER") for plane in planes] == names
        np.testing.assert_array_equal(planes[1].read(3, 9, 4, 20), pixels[1, 3:9, 4:20])
        assert planes[1].shape == (20, 30)
        for plane in planes:
            plane.close()


@pytest.mark.parametrize(("whole", "counts"), [(0.4, False), (0.6, True), (1.0, True)])
def test_counts_are_whole_numbers_for_the_most_part(whole, counts):
    """Whatever is 0 or no number; rows are taken from all over the image, as its first may be of another kind."""
    pixels = RNG.uniform(0.1, 0.9, (400, 50))
    pixels[RNG.random(pixels.shape) < whole] = 7
    pixels[:, :20], pixels[:, 20] = 0, np.nan
    pixels[1:3] = 1.5 if counts else 2
    assert Plane("a", pixels, fits.Header()).holds_counts is counts
    assert Plane("a", np.zeros((4, 4), np.uint8), fits.Header()).holds_counts


def test_a_packed_image_is_unpacked_for_many_pieces_only(tmp_path):
    pixels = RNG.integers(0, 99, (64, 48)).astype(np.int16)
    fits.CompImageHDU(pixels, compression_type="RICE_1").writeto(tmp_path / "packed.fits")
    (plane,) = open_planes(tmp_path / "packed.fits")
    plane.expect(100)
    assert not isinstance(plane._source, np.memmap)
    plane.expect(101)
    assert isinstance(plane._source, np.memmap)
    np.testing.assert_array_equal(plane.read(10, 20, 5, 48), pixels[10:20, 5:48])
    plane.close()
