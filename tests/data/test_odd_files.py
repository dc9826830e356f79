"""Files that are not what they seem are read as what they are, or refused in a line that says what they are."""

import os

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from galzoo.data.columns import find_columns, pixel_position, sky_positions
from galzoo.data.fits import open_mosaic
from galzoo.data.info_fits import describe_fits
from galzoo.data.planes import open_fits, open_planes
from galzoo.data.psf import read_psf
from galzoo.data.tables import read_table
from galzoo.data.zeropoint import flux_scale
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.tasks.classify.labels import read_labels
from tests.data.test_doors import header, noise, write


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_fits_under_the_name_of_a_picture_is_fits(tmp_path, suffix):
    """Pillow reads FITS, and its pixels would be scaled as those of a picture of 16 bits."""
    image = noise() + 700
    path = write(tmp_path / "a.fits", image).rename(tmp_path / f"a.{suffix}")
    with open_mosaic(path, ["r"]) as mosaic:
        assert mosaic.unit == "nJy"
        np.testing.assert_array_equal(mosaic.gather([0], [0], 64)["image"][0, ..., 0], image)
    with open_field(path, bands=["r"]) as field:
        assert field.bands == ("r",)


def test_pictures_without_a_known_scale(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png", format="TIFF")
    with pytest.raises(InputError, match="a.png: not a readable picture .it holds real numbers"):
        open_planes(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x89PNG\r\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"II*\x00", "TIFF"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"#ASDF 1", "ASDF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS; fetch the file itself"),
        (b"<!DOCTYPE html><html>", "web page; fetch the file itself"),
    ],
)
def test_other_files_are_named(tmp_path, start, what):
    (tmp_path / "a.fits").write_bytes(start + b"\0" * 100)
    with pytest.raises(InputError, match=f"a.fits: is no FITS file but an? {what}"):
        open_fits(tmp_path / "a.fits")
    with pytest.raises(InputError, match="a.fits: (is|not a catalogue)"):
        read_table(tmp_path / "a.fits")


@pytest.mark.parametrize(("start", "what"), [(b"\x1f\x9d\x90", "compress"), (b"\x28\xb5\x2f\xfd", "zstd")])
def test_packed_in_other_ways(tmp_path, start, what):
    (tmp_path / "a.fits.Z").write_bytes(start + b"x" * 100)
    for read in (open_planes, read_table):
        with pytest.raises(InputError, match=f"a.fits.Z: is .*packed by {what}; unpack it"):
            read(tmp_path / "a.fits.Z")


def test_folders_and_pipes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (open_planes, read_table):
        with pytest.raises(InputError, match=": is a folder; name a file in it"):
            read(tmp_path)
        with pytest.raises(InputError, match="pipe: is a pipe, .* write it to a file"):
            read(tmp_path / "pipe")


@pytest.mark.parametrize("scale", [0.2 / 3600, 200e3])
def test_pixels_of_another_unit(tmp_path, scale):
    """PIXSCALE in degrees, or in microarcsec."""
    fits.writeto(tmp_path / "a.fits", noise(), fits.Header({"PIXSCALE": scale, "MAGZERO": 31.4}))
    with pytest.raises(InputError, match="a.fits: pixels of .* arcsec by its header; pass --pixel-scale"):
        open_mosaic(tmp_path / "a.fits")
    open_mosaic(tmp_path / "a.fits", pixel_scale=0.2).close()


@pytest.mark.parametrize(("key", "value"), [("BZERO", "5"), ("BSCALE", True), ("BLANK", "-1"), ("BLANK", -1.0)])
def test_a_scaling_of_pixels_that_is_no_number(tmp_path, key, value):
    """astropy ends in an error of NumPy's, and passes over such a BLANK."""
    fits.PrimaryHDU(np.arange(4096, dtype=np.int16).reshape(64, 64), header(MAGZERO=31.4)).writeto(tmp_path / "a.fits")
    card = fits.Card(key, value).image
    data = (tmp_path / "a.fits").read_bytes()
    # In the place of a blank card behind the end.
    data = data.replace(f"{'END':160}".encode(), f"{card}{'END':80}".encode(), 1)
    (tmp_path / "a.fits").write_bytes(data)
    with pytest.raises(InputError, match=f"a.fits: {key} is {value!r}, no .*number; mend that card"):
        open_planes(tmp_path / "a.fits")
    assert any(line.strip().startswith(f"its header: {key} is") for line in describe_fits(tmp_path / "a.fits"))


def test_damage_that_shows_when_pixels_are_read(tmp_path):
    fits.CompImageHDU(noise(), header(MAGZERO=31.4)).writeto(tmp_path / "a.fits")
    data = bytearray((tmp_path / "a.fits").read_bytes())
    data[-5000:-2880] = b"x" * 2120
    (tmp_path / "a.fits").write_bytes(data)
    plane = open_planes(tmp_path / "a.fits")[0]
    with pytest.raises(InputError, match="a.fits: truncated or damaged .*fetch it again"):
        plane.read(0, 64, 0, 64)
    plane.close()
    assert any("pixels are damaged" in line for line in describe_fits(tmp_path / "a.fits"))


def test_two_extensions_of_one_name(tmp_path):
    hdus = [fits.ImageHDU(noise(), header(MAGZERO=31.4), name="SCI") for _ in range(2)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match=r"name one as .*a.fits\[EXT\].*\[1\] SCI ImageHDU, \[2\] SCI"):
        open_field(tmp_path / "a.fits")
    with open_field(f"{tmp_path}/a.fits[SCI,2]", bands=["r"]) as field:
        assert field.bands == ("r",)


@pytest.mark.parametrize("scale", [0, -0.2, float("nan"), float("inf")])
def test_impossible_pixel_scales(tmp_path, scale):
    with pytest.raises(InputError, match="pixel scale .* is not above 0; give arcsec per pixel"):
        open_mosaic(write(tmp_path / "a.fits", noise()), pixel_scale=scale)


def test_logarithms_are_no_fluxes():
    with pytest.raises(InputError, match="BUNIT is dex.Jy.: pixels are logarithms"):
        flux_scale({"BUNIT": "dex(Jy)", "MAGZERO": 25.0})


def write_psfs(path, names, sigma=(1.5, 3.0), **cards):
    grid = np.arange(-20, 21)
    hdus = [fits.PrimaryHDU()]
    for name, width in zip(names, sigma, strict=True):
        made = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / width**2)
        hdus.append(fits.ImageHDU(made / made.sum(), fits.Header(cards), name=name))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def test_psfs_in_extensions_are_found_by_their_bands(tmp_path):
    path = write_psfs(tmp_path / "psf.fits", ("g", "r"))
    psf = read_psf(path, ("r", "g"), 64, 0.2)[0]
    np.testing.assert_array_less(psf[20, 20, 0], psf[20, 20, 1])
    np.testing.assert_array_equal(read_psf(path, ("r",), 64, 0.2)[0, ..., 0], psf[..., 0])
    with pytest.raises(InputError, match="psf.fits: no extension named i"):
        read_psf(path, ("r", "i"), 64, 0.2)


@pytest.mark.parametrize("scale", [0.2 / 3600, 200.0])
def test_psf_pixels_of_another_unit(tmp_path, scale):
    """PIXSCALE in degrees, or in milliarcsec."""
    path = write_psfs(tmp_path / "psf.fits", ("r",), (2.0,), PIXSCALE=scale)
    with pytest.raises(InputError, match="psf.fits: 41 x 41 pixels .* times as wide as the image's .* mend PIXSCALE"):
        read_psf(path, ("r",), 64, 0.2)


def test_psf_models_are_no_images(tmp_path):
    fits.BinTableHDU.from_columns([fits.Column("psf_mask", "D", array=[1.0])]).writeto(tmp_path / "a.psf")
    with pytest.raises(InputError, match="a.psf: no image .* draw its model as an image .of PSFEx's by galsim"):
        read_psf(tmp_path / "a.psf", ("r",), 64, 0.2)


@pytest.mark.parametrize("text", ["id,ra,dec,ra\n1,150.1,2.2,3\n", "# ra dec ra\n150.1 2.2 3\n", "x\ty\ty\n1\t2\t3\n"])
def test_two_columns_of_one_position(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match="a.csv: 2 columns are called (ra|y); give each a name of its own"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("x,y,flag,flag\n1,2,0,1\n")
    table = read_table(tmp_path / "a.csv")
    assert pixel_position(table, find_columns(table), "y") == [2]


@pytest.mark.parametrize(
    ("text", "what"), [('{"ra": [1]}', "JSON"), ("# Region file format: DS9\nfk5\n", "a region file of DS9")]
)
def test_files_that_are_no_catalogues(tmp_path, text, what):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=f"a.txt: is {what}; write the catalogue as FITS, ECSV or CSV"):
        read_table(tmp_path / "a.txt")


def test_words_for_no_value(tmp_path):
    words = ["", "NaN", "nan", "NULL", "null", "N/A", "NA", "None", "--", "-", "..."]
    (tmp_path / "a.csv").write_text("id,ra,dec\n0,150,−2.5\n" + "".join(f"1,{word},2\n" for word in words))
    table = read_table(tmp_path / "a.csv")
    ra, dec, _ = sky_positions(table, find_columns(table))
    np.testing.assert_array_equal(np.isnan(ra), [False] + [True] * len(words))
    assert dec[0] == -2.5


def test_labels_of_no_value_are_the_same_words_in_any_file(tmp_path):
    """But "none" in small letters is a class, such as that of galaxies without a bar."""
    values = ["none", "bar", "None", "NA", "nan", "N/A", "none", "bar", ""]
    stamps = fits.BinTableHDU.from_columns([fits.Column("bar", "4A", array=values)])
    stamps.writeto(tmp_path / "a.fits")
    (tmp_path / "a.csv").write_text("bar,n\n" + "".join(f"{value},1\n" for value in values))
    table = read_table(tmp_path / "a.csv")
    for name in ("a.csv", "a.fits"):
        labels = read_labels(tmp_path / name, "bar", table[["n"]], least=2)
        assert labels.names == ["bar", "none"]
        np.testing.assert_array_equal(labels.number, [1, 0, -1, -1, -1, -1, 1, 0, -1])


def test_labels_of_nothing_belong_to_no_stamp(tmp_path):
    """A row whose id is missing has a number behind its mask, which may be that of a stamp."""
    (tmp_path / "a.csv").write_text("id,type\n,E\n1,S\n2,S\n3,E\n4,E\n")
    stamps = read_table_of(tmp_path, "id,n\n0,1\n1,1\n2,1\n3,1\n4,1\n")
    labels = read_labels(tmp_path / "a.csv", "type", stamps, least=2)
    np.testing.assert_array_equal(labels.number, [-1, 1, 1, 0, 0])


def read_table_of(folder, text):
    (folder / "b.csv").write_text(text)
    return read_table(folder / "b.csv")


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (("DATA", "MASK", "VAR", "BKG"), None), (("SCI", "SKY"), None), (("IMAGE", "MODEL"), None),
        (("SCI", "CHI2", "NOBS"), None), (("SCI", "TEMPLATE"), None), (("IMAGE", "BKG_RMS"), None),
        (("g", "g_err", "r", "r_err"), ("G", "R")), (("F606W", "F814W", "F814W_SKY"), ("F606W", "F814W")),
    ],
)  # fmt: skip
def test_what_is_made_of_an_image_is_no_band(tmp_path, names, bands):
    """Or sources would be sought in the sum of an image and its sky."""
    hdus = [fits.ImageHDU(noise(number), header(MAGZERO=31.4), name=name) for number, name in enumerate(names)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    with open_field(tmp_path / "a.fits", subtract_sky=False) as field:
        assert field.bands == (bands or ("a",))
        if bands is None:
            np.testing.assert_array_equal(field.read(0, 64, 0, 64)["image"][..., 0], noise(0))


@pytest.mark.parametrize("value", [99.0, -99.0, 99.99])
def test_zero_points_that_are_not_known(tmp_path, value):
    fits.writeto(tmp_path / "a.fits", noise(), header(MAGZERO=value))
    with pytest.raises(InputError, match="a.fits: zero point .* cannot be one of AB magnitudes; pass --zero-point"):
        open_mosaic(tmp_path / "a.fits")
