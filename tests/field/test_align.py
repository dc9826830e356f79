"""Images of one sky on pixels of their own, brought together."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galzoo.errors import InputError
from galzoo.field.align import align
from galzoo.field.open_field import open_field

SIDE, SCALE = 96, 0.4
# Fluxes and places of stars on the sky, arcsec from (150, 2).
STARS = np.array([[0.0, 0.0, 300.0], [8.3, -6.1, 200.0], [-11.2, 4.7, 100.0]])


def sky(crpix=(48.5, 48.5), angle=0.0, scale=SCALE):
    """Return the WCS of an image that is shifted and turned."""
    wcs = WCS(naxis=2)
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], crpix
    wcs.wcs.cd = scale / 3600 * np.array([[-cosine, sine], [sine, cosine]])
    return wcs


def write(path, wcs, band, shape=(SIDE, SIDE), sigma=1.6, **cards):
    """Write an image of the stars, and return its pixels."""
    y, x = np.indices(shape)
    # Exact zeros would be no data.
    image = np.full(shape, 0.01, np.float32)
    ra, dec = 150 + STARS[:, 0] / 3600 / np.cos(np.radians(2)), 2 + STARS[:, 1] / 3600
    for (x0, y0), flux in zip(wcs.all_world2pix(np.stack([ra, dec], axis=-1), 0), STARS[:, 2], strict=True):
        image += flux / (2 * np.pi * sigma**2) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))
    header = wcs.to_header()
    header.update({"FILTER": band, "MAGZERO": 25.0, **cards})
    fits.PrimaryHDU(image, header).writeto(path, overwrite=True)
    return image


@pytest.mark.parametrize("angle", [0.0, 7.0])
def test_each_star_lands_where_the_first_image_has_it(tmp_path, angle):
    true = write(tmp_path / "r.fits", sky(), "r")
    write(tmp_path / "g.fits", sky((53.2, 45.9), angle), "g", (90, 110), MAGZERO=24.0, PIXSCALE=SCALE)
    bands = align([tmp_path / "r.fits", tmp_path / "g.fits"], tmp_path / "both.fits")
    assert bands == ("r", "g")
    with fits.open(tmp_path / "both.fits") as hdus:
        np.testing.assert_array_equal(hdus["r"].data, true)
        seen = np.isfinite(hdus["g"].data)
        assert seen.mean() > 0.8
        # A spline through stars of 1.6 pixels is true to a few thousandths of the peak.
        assert np.abs(np.where(seen, hdus["g"].data - true, 0)).max() < 4e-3 * true.max()
        assert abs(np.nansum(hdus["g"].data - 0.01) / STARS[:, 2].sum() - 1) < 2e-3
        # What belongs to the image goes with it, what says its pixels does not.
        assert (hdus["g"].header["MAGZERO"], hdus["r"].header["MAGZERO"]) == (24.0, 25.0)
        assert WCS(hdus["g"].header).wcs.crpix.tolist() == [48.5, 48.5]
        assert "CD1_1" not in hdus["g"].header
        assert [hdu.header["EXTNAME"] for hdu in hdus[1:]] == ["r", "g"]


def test_what_holds_no_data_is_nan(tmp_path):
    write(tmp_path / "r.fits", sky(), "r")
    write(tmp_path / "g.fits", sky((58.5, 48.5)), "g")
    with fits.open(tmp_path / "g.fits", "update") as hdus:
        hdus[0].data[40, 30] = np.nan
    align([tmp_path / "r.fits", tmp_path / "g.fits"], tmp_path / "both.fits")
    found = np.isnan(fits.getdata(tmp_path / "both.fits", "g"))
    # Its ten columns too few, and the pixels beside the one without data.
    expected = np.zeros((SIDE, SIDE), bool)
    expected[:, SIDE - 10 :] = True
    expected[39:42, 19:22] = True
    np.testing.assert_array_equal(found, expected)


def test_nothing_rings_about_what_is_masked_or_ends(tmp_path):
    """On a sky of 1000 a spline through zeros would be 100 off beside them."""
    level = np.full((SIDE, SIDE), 1000, np.float32)
    level += np.random.default_rng(0).normal(size=level.shape).astype(np.float32)
    for band, shift in (("r", 0.0), ("g", 0.0), ("i", 0.5)):
        image, header = level.copy(), sky((48.5 + shift, 48.5)).to_header()
        image[30:36, 40:44], header["FILTER"] = np.nan, band
        fits.PrimaryHDU(image, header).writeto(tmp_path / f"{band}.fits")
    align([tmp_path / f"{band}.fits" for band in "rgi"], tmp_path / "all.fits")
    with fits.open(tmp_path / "all.fits") as hdus:
        assert np.nanmax(np.abs(hdus["g"].data - level)) < 1e-2
        assert np.nanmax(np.abs(hdus["i"].data - 1000)) < 6
        assert np.isnan(hdus["i"].data[30:36, 40:44]).all()


def test_cards_that_are_of_the_image_stay_its_own(tmp_path):
    write(tmp_path / "r.fits", sky(), "r", **{"DATE-OBS": "2001-01-01T00:00:00"})
    write(tmp_path / "g.fits", sky((50.0, 48.5)), "g", CHECKSUM="abc", **{"DATE-OBS": "2011-11-11T00:00:00"})
    align([tmp_path / "r.fits", tmp_path / "g.fits"], tmp_path / "both.fits")
    with fits.open(tmp_path / "both.fits") as hdus:
        assert hdus["g"].header["DATE-OBS"] == "2011-11-11T00:00:00"
        assert "CHECKSUM" not in hdus["g"].header


def test_what_is_read_is_not_written_over(tmp_path):
    write(tmp_path / "r.fits", sky(), "r")
    before = (tmp_path / "r.fits").read_bytes()
    with pytest.raises(InputError, match="r.fits: is read, and would be written over"):
        align(str(tmp_path / "r.fits"), tmp_path / "r.fits")
    assert (tmp_path / "r.fits").read_bytes() == before
    with pytest.raises(InputError, match="no image; give one a band"):
        align([], tmp_path / "out.fits")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"wcs": sky(scale=0.2)}, {}, "g.fits.*: pixels of 0.2 arcsec, .*r.fits.* has 0.4"),
        ({"wcs": sky((5000.0, 48.5))}, {}, "g.fits.*: no part of .*r.fits"),
        ({"band": "r"}, {}, "band 'r' is named twice"),
        ({"band": ""}, {}, "g.fits.*: no FILTER in its header; name all with --bands"),
        ({}, {"bands": ["r"]}, "1 names for 2 images"),
        ({"plain": True}, {}, "g.fits.*: no WCS"),
    ],
)
def test_bad_input(tmp_path, change, options, message):
    write(tmp_path / "r.fits", sky(), "r")
    if change.pop("plain", False):
        fits.PrimaryHDU(np.zeros((SIDE, SIDE), "f4"), fits.Header({"FILTER": "g"})).writeto(tmp_path / "g.fits")
    else:
        write(tmp_path / "g.fits", **{"wcs": sky((50.0, 48.5)), "band": "g", **change})
    with pytest.raises(InputError, match=message):
        align([tmp_path / "r.fits", tmp_path / "g.fits"], tmp_path / "both.fits", **options)
    assert not (tmp_path / "both.fits").exists()


def test_images_off_each_other_are_told_of_it(tmp_path):
    write(tmp_path / "r.fits", sky(), "r")
    write(tmp_path / "g.fits", sky((50.0, 48.5)), "g")
    with pytest.raises(InputError, match="1.50 px off .*; first galzoo data align"):
        open_field([tmp_path / "r.fits", tmp_path / "g.fits"])
