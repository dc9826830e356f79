"""What `galzoo data info` says of FITS files."""

import gzip
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galzoo.data.info import describe
from galzoo.errors import InputError


@pytest.fixture
def written(tmp_path):
    """An image with all that a header can say, its flags, and a table; in one file."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [1.0, 1.0], [-0.25 / 3600, 0.25 / 3600]
    pixels = np.random.default_rng(0).normal(7.0, 2.0, (60, 80)).astype(np.float32)
    pixels[:6] = np.nan
    image = fits.ImageHDU(pixels, wcs.to_header(), name="SCI")
    image.header.update({"MAGZERO": 27.0, "SATURATE": 5e4, "FILTER": "i"})
    table = fits.BinTableHDU.from_columns([fits.Column("ra", "D", "deg", array=[1.0, 2.0, 3.0])], name="CAT")
    flags = fits.ImageHDU(np.zeros((60, 80), np.int16), name="MASK")
    path = tmp_path / "field.fits"
    fits.HDUList([fits.PrimaryHDU(), image, flags, table]).writeto(path)
    return path


def test_an_image_is_described_by_what_its_header_says(written, tmp_path):
    lines = describe(written)
    text = "\n".join(lines)
    assert "[1] SCI: 80 x 60 pixels, 0.25 arcsec each, AB zero point 27, saturated at 50000, filter i" in text
    # The middle is 39.5 and 29.5 pixels from the first one.
    ra, dec = map(float, re.search(r"centre at ra, dec ([\d.]+), ([\d.]+)", text).groups())
    assert ra == pytest.approx(150 - 39.5 * 0.25 / 3600 / np.cos(np.radians(2.0)), abs=2e-5)
    assert dec == pytest.approx(2 + 29.5 * 0.25 / 3600, abs=2e-5)
    level, scatter, bad = map(float, re.search(r"median ([\d.]+), scatter ([\d.]+),.* ([\d.]+) % not", text).groups())
    assert (level, scatter, bad) == (pytest.approx(7, abs=0.15), pytest.approx(2, abs=0.15), 10.0)
    assert "[3] CAT: table of 3 rows: ra [deg]" in text
    assert "[0] PRIMARY: no image" in text
    # Flags need no zero point, and the image has one.
    assert "--zero-point" not in text
    packed = tmp_path / "odd.name"
    packed.write_bytes(gzip.compress(written.read_bytes()))
    assert describe(packed)[1:] == lines[1:]


def test_what_a_header_lacks_is_said_with_the_option(tmp_path):
    path = tmp_path / "plain.fits"
    fits.PrimaryHDU(np.zeros((20, 30))).writeto(path)
    text = "\n".join(describe(path))
    assert "[0] PRIMARY: 30 x 20 pixels\n" in text
    assert "--pixel-scale" in text
    assert "--zero-point" in text
    assert "1e+02 % exactly 0" in text


def test_bands_are_those_that_other_commands_read(tmp_path):
    """BAND0, BAND1, ... of a cube, and BAND where there is no FILTER."""
    for shape, cards, said in (
        ((2, 20, 30), {"BAND0": "g", "BAND1": "z"}, "bands g, z"),
        ((2, 20, 30), {"BAND0": "g"}, None),
        ((20, 30), {"BAND": "r"}, "filter r"),
        ((20, 30), {"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "filter F814W"),
        ((20, 30), {"FILTER": "r DECam SDSS c0002 6415.0 1480.0"}, "filter r"),
    ):
        path = tmp_path / "cube.fits"
        fits.writeto(path, np.ones(shape, "f4"), fits.Header(cards), overwrite=True)
        line = describe(path)[1]
        assert line.endswith(f", {said}") if said else "band" not in line


def test_contradictions_are_told_not_raised(written):
    with fits.open(written, "update") as hdus:
        hdus[1].header["PIXSCALE"] = 0.4
    assert "PIXSCALE says 0.4 arcsec per pixel and WCS 0.25" in "\n".join(describe(written))


def test_a_damaged_file_is_one_line(written):
    written.write_bytes(written.read_bytes()[:9000])
    with pytest.raises(InputError, match="truncated"):
        describe(written)
