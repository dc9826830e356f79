"""Catalogues have right ascension and declination whatever the frame of the image: ICRS, from 0 to 360 degrees."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from galzoo.contracts.segmentation import Segmented
from galzoo.data.columns import find_columns
from galzoo.field.array_field import ArrayField
from galzoo.field.open_field import open_field
from galzoo.tasks.detect.products import position_angle
from galzoo.tasks.detect.run import Settings, detect_field
from galzoo.tasks.screen.field import _sky as screened_sky
from galzoo.tasks.segment.catalogue import make_catalogue

SCALE = 0.2 / 3600
PLACES = np.array([[40.0, 30.0], [75.0, 62.0], [22.0, 81.0]])


def header(kind):
    """Return the WCS of an image near the wrap of right ascension in a frame."""
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.cdelt = [50.0, 50.0], [-SCALE, SCALE]
    names, value = {
        "icrs": (["RA---TAN", "DEC--TAN"], [359.999, 10.0]),
        "galactic": (["GLON-TAN", "GLAT-TAN"], [110.0, -33.0]),
        "declination first": (["DEC--TAN", "RA---TAN"], [10.0, 359.999]),
    }[kind]
    wcs.wcs.ctype, wcs.wcs.crval = names, value
    return wcs.to_header()


@pytest.fixture
def path(tmp_path, request):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(110, 105)) + sum(gaussian(*place) for place in PLACES)
    made = fits.PrimaryHDU(image.astype(np.float32), header(request.param))
    made.header["MAGZERO"] = 31.4
    made.writeto(tmp_path / "field.fits")
    return tmp_path / "field.fits"


def gaussian(x, y, flux=4000.0, sigma=1.6):
    rows, columns = np.indices((110, 105))
    return flux * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


FRAMES = ("icrs", "galactic", "declination first")


@pytest.mark.parametrize("path", FRAMES, indirect=True)
def test_detected_sources(path, tmp_path):
    settings = Settings(report=False)
    detect_field(path, tmp_path / "out", bands=["r"], seeing=1.6 * 2.355 * 0.2, settings=settings)
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    check(table["ra"], table["dec"], table["x"], table["y"], path)
    # Sizes on the sky; half of a Gaussian's light is within 1.18 sigma.
    np.testing.assert_allclose(table["half_light_radius"].to_value("arcsec"), 1.177 * 1.6 * 0.2, rtol=0.05)
    for name in "ab":
        np.testing.assert_allclose(table[name].to_value("arcsec"), 1.6 * 0.2, rtol=0.15)
    flux, error = (table[name].to_value("nJy") for name in ("flux_r", "flux_err_r"))
    np.testing.assert_allclose(flux, 4000, rtol=0.03)
    np.testing.assert_allclose(table["mag_err_r"].to_value("mag"), 1.0857 * error / flux, rtol=1e-3)
    # A step along the major axis goes where the position angle says.
    with fits.open(path) as hdus:
        wcs = WCS(hdus[0].header)
    theta = np.array([0.3, 1.2])
    angle = position_angle(wcs, np.array([40.0, 60.0]), np.array([30.0, 70.0]), theta)
    for start, one, found in zip([(40.0, 30.0), (60.0, 70.0)], theta, angle, strict=True):
        ends = [wcs.pixel_to_world(start[0] + s * np.cos(one), start[1] + s * np.sin(one)).icrs for s in (0, 1)]
        assert (ends[0].position_angle(ends[1]).to_value("deg") - found + 90) % 180 - 90 == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("path", FRAMES, indirect=True)
def test_segmented_sources(path):
    with open_field(path, bands=["r"]) as field:
        labels = np.zeros(field.shape, np.int32)
        for number, (x, y) in enumerate(PLACES, 1):
            labels[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7] = number
        votes = np.ones((2, *field.shape), np.float32) / 2
        table = make_catalogue(field, Segmented(votes, np.ones(labels.shape, int), labels, ("disk", "background")), "r")
    check(table["ra"], table["dec"], table["x"], table["y"], path)
    flux, error = (table[name].to_value("nJy") for name in ("flux_r", "flux_err_r"))
    # A square of 13 pixels of noise 1.
    np.testing.assert_allclose(error, 13, rtol=0.1)
    np.testing.assert_allclose(table["mag_err_r"].to_value("mag"), 1.0857 * error / flux, rtol=1e-3)


def check(ra, dec, x, y, path):
    """Compare with what astropy says, of each source."""
    assert len(x) == len(PLACES)
    true = WCS(fits.getheader(path)).pixel_to_world(x.value, y.value)
    assert SkyCoord(ra, dec).separation(true.icrs).max() < 1e-3 * u.arcsec
    assert ra.min() >= 0 * u.deg
    assert ra.max() < 360 * u.deg
    nearest = np.hypot(x.value[:, None] - PLACES[:, 0], y.value[:, None] - PLACES[:, 1]).min(axis=1)
    assert nearest.max() < 0.3


def test_screened_sources_of_an_image_without_wcs_are_where_their_catalogue_says():
    field = ArrayField(np.zeros((40, 40, 1)), np.ones((40, 40, 1)), bands=("r",))
    true = SkyCoord([10.0, 359.0, 80.0], [-5.0, 40.0, 2.0], unit="deg")
    rows, x = np.array([0, 2]), np.arange(3.0)
    for names, place in ((("ra", "dec"), (true.ra, true.dec)), (("GLON", "GLAT"), (true.galactic.l, true.galactic.b))):
        table = QTable(dict(zip(names, place, strict=True)))
        ra, dec = screened_sky(table, find_columns(table, None, "list"), field, x, x, rows)
        assert SkyCoord(ra, dec, unit="deg").separation(true[rows]).max() < 1e-3 * u.arcsec


def test_an_empty_catalogue_has_the_columns(tmp_path):
    field = ArrayField(np.zeros((40, 40, 1)), np.ones((40, 40, 1)), bands=("r",), wcs=WCS(header("galactic")))
    labels, votes = np.zeros((40, 40), np.int32), np.ones((2, 40, 40), np.float32)
    table = make_catalogue(field, Segmented(votes, np.ones(labels.shape, int), labels, ("disk", "background")), "r")
    assert len(table["ra"]) == len(table["dec"]) == 0
    assert len(position_angle(field.wcs, *np.zeros((3, 0)))) == 0
