"""Right ascension and declination of what is cut out, detected and deblended, against astropy."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from galzoo.data.stamps import Stamps
from galzoo.field.cutouts import cutouts_from_files
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field import fields

SHAPE = (96, 150)
# x, y, flux, size: no two alike, none near the middle of the field or on its diagonal.
SOURCES = [(31.3, 60.6, 9e3, 0.0), (77.8, 18.4, 8e3, 1.0), (118.1, 71.2, 7e3, 0.5), (52.6, 26.9, 9e3, 0.3)]
PLACES = np.array(SOURCES)[:, :2]
# A tenth of a pixel; one pixel off, or x and y exchanged, is ten times that or more.
NEAR = 0.1 * fields.SCALE * u.arcsec


@pytest.fixture(params=["turned", "mirrored"])
def wcs(request):
    """Turned by no round angle, with north and east at not quite a right angle, and far from its reference pixel."""
    angle, hand = np.deg2rad(37.0), -1 if request.param == "turned" else 1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = WCS(naxis=2)
    found.wcs.ctype, found.wcs.crval, found.wcs.crpix = ["RA---TAN", "DEC--TAN"], [213.7, -47.2], [-40.0, 321.0]
    found.wcs.cd = fields.SCALE / 3600 * turn @ [[hand, 0.004], [0.006, 1.0]]
    return WCS(found.to_header())


@pytest.fixture
def field(tmp_path, wcs):
    cards = {key: value for key, value in wcs.to_header().items() if key != "WCSAXES"}
    return fields.write(tmp_path / "field.fits", fields.draw(SHAPE, SOURCES), **cards)


def sky_of(wcs, places):
    return wcs.pixel_to_world(*np.asarray(places).T)


def assert_on(table, wcs, places):
    """Each place has one row of the table, with its right ascension and declination."""
    found = SkyCoord(table["ra"], table["dec"])
    order, distance, _ = sky_of(wcs, places).match_to_catalog_sky(found)
    assert sorted(order.tolist()) == list(range(len(places)))
    assert distance.max() < NEAR
    return order


def peak_of(image):
    """Return the centroid (x, y) of the light about the brightest pixel, all bands."""
    white = image.sum(axis=-1)
    y, x = np.unravel_index(white.argmax(), white.shape)
    part = white[y - 5 : y + 6, x - 5 : x + 6]
    grid = np.arange(-5, 6)
    return x + (part.sum(axis=0) * grid).sum() / part.sum(), y + (part.sum(axis=1) * grid).sum() / part.sum()


def bands_of(field):
    return [f"{field}[{band}]" for band in fields.BANDS]


def write_catalogue(folder, **columns):
    Table(columns).write(folder / "catalogue.csv")
    return folder / "catalogue.csv"


def assert_stamps(path, wcs):
    """Stamps are of the sources in their order, and say where in the stamp, in the field and on the sky these are."""
    stamps = Stamps.load(path)
    table = stamps.catalogue
    np.testing.assert_array_equal(assert_on(table, wcs, PLACES), range(len(PLACES)))
    peaks = np.array([peak_of(image) for image in stamps.image])
    np.testing.assert_allclose(np.stack([table["x"].value, table["y"].value], axis=-1), peaks, atol=0.1)
    np.testing.assert_allclose(peaks, 15.5, atol=0.6)


def test_cut_outs_of_places_on_the_sky(field, wcs, tmp_path):
    sky = sky_of(wcs, PLACES)
    listed = write_catalogue(tmp_path, ra=sky.ra.deg, dec=sky.dec.deg)
    cutouts_from_files(bands_of(field), tmp_path / "out.h5", 32, listed)
    assert_stamps(tmp_path / "out.h5", wcs)
    table = Stamps.load(tmp_path / "out.h5").catalogue
    np.testing.assert_allclose([table["x_mosaic"].value, table["y_mosaic"].value], PLACES.T, atol=1e-3)


@pytest.mark.parametrize(("names", "first"), [(("x", "y"), 0), (("X_IMAGE", "Y_IMAGE"), 1)])
def test_cut_outs_of_pixels_counted_from_0_and_from_1(field, wcs, tmp_path, names, first):
    listed = write_catalogue(tmp_path, **dict(zip(names, (PLACES + first).T, strict=True)))
    cutouts_from_files(bands_of(field), tmp_path / "out.h5", 32, listed)
    assert_stamps(tmp_path / "out.h5", wcs)


def test_cut_outs_of_what_is_detected(field, wcs, tmp_path):
    cutouts_from_files(bands_of(field), tmp_path / "out.h5", 32, where="snr>50")
    stamps = Stamps.load(tmp_path / "out.h5")
    order = assert_on(stamps.catalogue, wcs, PLACES)
    peaks = np.array([peak_of(image) for image in stamps.image[order]])
    inside = np.stack([stamps.catalogue["x"].value, stamps.catalogue["y"].value], axis=-1)[order]
    np.testing.assert_allclose(inside, peaks, atol=0.1)


@pytest.mark.parametrize("listed", [False, True])
def test_deblended_sources(field, wcs, tmp_path, listed):
    sky = sky_of(wcs, PLACES)
    given = write_catalogue(tmp_path, ra=sky.ra.deg, dec=sky.dec.deg) if listed else None
    settings = Settings(report=False, stamp_size=32)
    fields.write_psf(tmp_path / "psf.fits")
    deblend_field(
        field, tmp_path / "out", deblender=fields.least_squares, catalogue=given, psf=tmp_path / "psf.fits",
        settings=settings,
    )  # fmt: skip
    for name in ("catalogue.ecsv", "catalogue.fits"):
        order = assert_on(QTable.read(tmp_path / "out" / name), wcs, PLACES)
    assert_on(Stamps.load(tmp_path / "out" / "stamps.h5").catalogue, wcs, PLACES)
    stamps = Stamps.load(tmp_path / "out" / "stamps.h5")
    inside = np.stack([stamps.catalogue["x"].value, stamps.catalogue["y"].value], axis=-1)
    np.testing.assert_allclose(inside, [peak_of(image) for image in stamps.image], atol=0.1)
    # The images that are written lie on the same sky, and the light is where the catalogue says.
    for name in ("model.fits", "segmentation.fits"):
        with fits.open(tmp_path / "out" / name) as hdus:
            seen = WCS(hdus[-1].header).world_to_pixel(sky)
            np.testing.assert_allclose(np.transpose(seen), PLACES, atol=1e-3)
    model = np.moveaxis([fits.getdata(tmp_path / "out" / "model.fits", band) for band in fields.BANDS], 0, -1)
    for place, row in zip(PLACES, order, strict=True):
        x, y = np.round(place).astype(int) - 12
        near = peak_of(model[max(y, 0) : y + 25, max(x, 0) : x + 25])
        np.testing.assert_allclose(np.array(near) + [max(x, 0), max(y, 0)], place, atol=0.1)
        assert QTable.read(tmp_path / "out" / "catalogue.ecsv")["n_in_group"][row] == 1
