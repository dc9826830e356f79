"""Sky positions in any frame and under any distortion, against astropy's coordinates."""

import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, FK5, BarycentricMeanEcliptic, Galactic, SkyCoord, Supergalactic
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galzoo import Stamps
from galzoo.data import sky
from galzoo.data.sky import largest_shift, pixel_to_sky, read_wcs, scale_of, sky_to_pixel, to_icrs
from galzoo.errors import InputError
from galzoo.field.cutouts import cutouts_from_files

SIDE, SCALE = 200, 0.3
X, Y = np.array([31.0, 160.5, 99.5]), np.array([150.25, 42.0, 99.5])
SIP = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-5, "A_1_1": -1e-5,
    "B_0_2": 2e-5,
}  # fmt: skip
TPV = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_0": 0.0, "PV1_1": 1.0, "PV1_2": 0.0, "PV2_0": 0.0, "PV2_1": 1.0,
       "PV2_2": 0.0}  # fmt: skip


def make_header(side=SIDE, **cards):
    plain = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 214.3, "CRVAL2": -12.7, "CRPIX1": side / 2 + 0.5,
             "CRPIX2": side / 2 + 0.5, "CDELT1": -SCALE / 3600, "CDELT2": SCALE / 3600}  # fmt: skip
    return fits.Header({"NAXIS": 2, "NAXIS1": side, "NAXIS2": side, **plain, **cards, "MAGZERO": 31.4})


def write(path, header):
    pixels = np.zeros((header["NAXIS2"], header["NAXIS1"]), np.float32)
    fits.PrimaryHDU(pixels, header).writeto(path, overwrite=True)
    return path


def gnomonic(lon, lat, frame):
    """Return X, Y on the sky by offsets from the centre, without a WCS: near enough for 100 pixels (mas)."""
    centre = SkyCoord(lon * u.deg, lat * u.deg, frame=frame)
    dx, dy = -(X - (SIDE - 1) / 2) * SCALE, (Y - (SIDE - 1) / 2) * SCALE
    return centre.spherical_offsets_by(dx * u.arcsec, dy * u.arcsec).icrs


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, Galactic()),
        ({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, BarycentricMeanEcliptic()),
        ({"CTYPE1": "SLON-TAN", "CTYPE2": "SLAT-TAN"}, Supergalactic()),
        ({"EQUINOX": 1975.0, "RADESYS": "FK5"}, FK5(equinox="J1975")),
        ({"EQUINOX": 1950.0, "RADESYS": "FK4"}, FK4(equinox="B1950")),
        ({"RADESYS": "ICRS"}, "icrs"),
        ({"CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 214.3 * 3600, "CRVAL2": -12.7 * 3600, "CDELT1": -SCALE,
          "CDELT2": SCALE}, "icrs"),
    ],
)  # fmt: skip
def test_every_frame_is_brought_to_icrs_and_back(cards, frame):
    wcs, there = read_wcs(make_header(**cards)), gnomonic(214.3, -12.7, frame)
    ra, dec = pixel_to_sky(wcs, X, Y)
    assert SkyCoord(ra * u.deg, dec * u.deg).separation(there).max() < 0.005 * SCALE * u.arcsec
    x, y = sky_to_pixel(wcs, there.ra.deg, there.dec.deg)
    np.testing.assert_allclose([x, y], [X, Y], atol=0.005)


def test_declination_may_be_the_first_axis():
    header = make_header(CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=-12.7, CRVAL2=214.3)
    ra, dec = pixel_to_sky(read_wcs(header), [99.5, 99.5], [99.5, 109.5])
    # The second axis of the pixels is that of right ascension.
    np.testing.assert_allclose([ra[0], dec[0], dec[1] - dec[0]], [214.3, -12.7, 0], atol=1e-6)
    np.testing.assert_allclose((ra[1] - ra[0]) * np.cos(np.deg2rad(12.7)) * 3600, 10 * SCALE, rtol=1e-4)
    np.testing.assert_allclose(sky_to_pixel(read_wcs(header), ra, dec), [[99.5, 99.5], [99.5, 109.5]], atol=1e-6)


@pytest.mark.parametrize("centre", [-0.002, 0.0, 359.999, 360.0])
def test_right_ascension_wraps_and_is_never_negative(centre, tmp_path):
    path = write(tmp_path / "field.fits", make_header(CRVAL1=centre))
    Table({"x": [20.0, 180.0], "y": [50.0, 60.0]}).write(tmp_path / "xy.csv")
    cutouts_from_files(path, tmp_path / "a.h5", 16, tmp_path / "xy.csv")
    table = Stamps.load(tmp_path / "a.h5").catalogue
    offset = (table["ra"].value - centre + 180) % 360 - 180
    assert ((table["ra"].value >= 0) & (table["ra"].value < 360)).all()
    np.testing.assert_allclose(offset * np.cos(np.deg2rad(-12.7)) * 3600, [79.5 * SCALE, -80.5 * SCALE], rtol=1e-3)
    # A catalogue may count from -180 or from 0.
    Table({"ra": (table["ra"].value + 180) % 360 - 180, "dec": table["dec"].value}).write(tmp_path / "sky.csv")
    cutouts_from_files(path, tmp_path / "b.h5", 16, tmp_path / "sky.csv")
    np.testing.assert_allclose(Stamps.load(tmp_path / "b.h5").catalogue["x_mosaic"].value, [20, 180], atol=1e-4)


@pytest.mark.parametrize("cards", [SIP, TPV | {"PV1_4": 0.05, "PV2_7": 0.4}])
def test_rows_far_outside_a_distorted_image_are_dropped_and_said(cards, tmp_path, caplog):
    path = write(tmp_path / "field.fits", make_header(**cards))
    near = WCS(read_wcs(make_header(**cards)).to_header(relax=True)).pixel_to_world(60.0, 120.0).icrs
    far = SkyCoord([30.0, 214.3, 34.3], [40.0, 80.0, 12.7], unit="deg")  # the last is opposite
    rows = Table({"ra": [near.ra.deg, *far.ra.deg, -999.0], "dec": [near.dec.deg, *far.dec.deg, -99.0]})
    rows.write(tmp_path / "sky.csv")
    with caplog.at_level(logging.WARNING):
        assert cutouts_from_files(path, tmp_path / "a.h5", 16, tmp_path / "sky.csv") == 1
    assert "4 of 5 positions are off the mosaic" in caplog.text
    table = Stamps.load(tmp_path / "a.h5").catalogue
    np.testing.assert_allclose([table["x_mosaic"][0].value, table["y_mosaic"][0].value], [60, 120], atol=0.01)


@pytest.mark.parametrize("turn", [{}, {"CROTA2": 33.0}, {"PC1_1": 0.8, "PC1_2": 0.6, "PC2_1": -0.6, "PC2_2": 0.8}])
def test_tpv_polynomials_are_in_degrees_also_without_a_cd_matrix(turn):
    # Coefficients of no distortion at all: the same as the plain projection.
    found = pixel_to_sky(read_wcs(make_header(**TPV, **turn)), X, Y)
    np.testing.assert_allclose(found, WCS(make_header(**turn)).all_pix2world(X, Y, 0), atol=1e-9)
    bent = pixel_to_sky(read_wcs(make_header(**TPV | {"PV1_4": 1.0})), X, Y)
    plain = WCS(make_header()).all_pix2world(X, Y, 0)
    # One degree per degree squared, of half the field's hundredth of a degree: below a tenth of an arcsec.
    assert 0 < np.abs(bent[0] - plain[0]).max() * 3600 < 0.3


def test_left_over_sip_coefficients_count_only_with_the_suffix(caplog):
    cards = SIP | {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    found = pixel_to_sky(read_wcs(make_header(**cards), "drz.fits"), X, Y)
    np.testing.assert_allclose(found, WCS(make_header()).all_pix2world(X, Y, 0), atol=1e-10)
    assert "drz.fits: SIP" in caplog.text


def test_a_spectral_axis_of_length_one_changes_nothing(tmp_path):
    third = {"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CRPIX3": 1.0, "CDELT3": 1e6}
    for cards in ({}, SIP):
        flat, deep = make_header(**cards), make_header(**cards, **third)
        np.testing.assert_allclose(pixel_to_sky(read_wcs(deep), X, Y), pixel_to_sky(read_wcs(flat), X, Y), atol=1e-12)
    cube = np.arange(SIDE**2, dtype=np.float32).reshape(1, 1, SIDE, SIDE)
    fits.PrimaryHDU(cube, make_header(**third, CTYPE4="STOKES", CRVAL4=1.0)).writeto(tmp_path / "radio.fits")
    Table({"x": [60.0], "y": [120.0]}).write(tmp_path / "xy.csv")
    cutouts_from_files(tmp_path / "radio.fits", tmp_path / "a.h5", 15, tmp_path / "xy.csv", bands=["L"])
    assert Stamps.load(tmp_path / "a.h5").image[0, 7, 7, 0] == cube[0, 0, 120, 60]


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "XYZ"),
        ({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}, "HPLN"),
        ({"CDELT1": 0.0}, "singular"),
        ({"CTYPE2": "DEC--SIN"}, "Inconsistent"),
        ({"RADESYS": "GAPPT"}, "GAPPT"),
        ({"CTYPE1": "FREQ", "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN"}, "axes 2, 3"),
    ],
)
def test_what_cannot_be_placed_is_refused_in_one_line(cards, words):
    with pytest.raises(InputError, match=words) as caught:
        read_wcs(make_header(**cards), "odd.fits")
    assert str(caught.value).startswith("odd.fits: ")
    assert "\n" not in str(caught.value)


def test_no_sky_in_the_header_is_no_wcs():
    assert read_wcs(fits.Header({"MAGZERO": 1.0})) is None
    assert read_wcs(make_header(CTYPE1="LINEAR", CTYPE2="LINEAR")) is None


def test_scale_and_shift():
    wcs = read_wcs(make_header())
    assert scale_of(wcs) == pytest.approx(SCALE)
    assert largest_shift(wcs, read_wcs(make_header(CRPIX1=SIDE / 2 + 1.0)), (SIDE, SIDE)) == pytest.approx(
        0.5, rel=1e-3
    )
    assert largest_shift(wcs, read_wcs(make_header(CRVAL1=30.0)), (SIDE, SIDE)) == np.inf
    # The same grid, written in another frame.
    centre = SkyCoord(214.3, -12.7, unit="deg").galactic
    other = read_wcs(make_header(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN", CRVAL1=centre.l.deg, CRVAL2=centre.b.deg))
    assert largest_shift(wcs, other, (SIDE, SIDE)) > 1


def test_pixels_are_nearly_square():
    """Their scale is the root of their area."""
    sides = np.array([0.3, 0.305])
    nearly = make_header(CDELT1=-sides[0] / 3600, CDELT2=sides[1] / 3600)
    assert scale_of(read_wcs(nearly)) == pytest.approx(np.sqrt(sides.prod()), rel=1e-6)
    with pytest.raises(InputError, match="a.fits: pixels of 0.3 x 0.31 arcsec; resample it"):
        scale_of(read_wcs(make_header(CDELT1=-0.3 / 3600, CDELT2=0.31 / 3600)), "a.fits")


@pytest.mark.parametrize("longitude", [1e-15, -1e-15, 360.0])
def test_right_ascension_beside_zero_is_below_360(longitude, monkeypatch):
    monkeypatch.setattr(sky, "_native", lambda *_: (np.array([longitude]), np.array([2.0])))
    assert pixel_to_sky(read_wcs(make_header()), [1.0], [1.0])[0] == pytest.approx(0, abs=1e-12)


def test_marks_of_what_is_not_known_are_no_places():
    """-999 would be 81 degrees."""
    x, y = sky_to_pixel(
        read_wcs(make_header(CRVAL1=81.0)), [-999.0, 81.0, 81.0 - 360, 81.0], [-12.7, -12.7, -12.7, -99]
    )
    np.testing.assert_allclose([x, y], [[np.nan, 99.5, 99.5, np.nan]] * 2, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(to_icrs([-999.0, 10.0, 400.0], [0.0, 95.0, 0.0], "galactic")[0]), [1, 1, 0])


def test_shifts_are_the_largest_anywhere_on_the_image():
    """Pixels wider by a hundredth move the right end by two; a turn by a hundredth of a radian the corners by 1.4."""
    first, wider = (read_wcs(make_header(CRPIX1=1.0, CDELT1=-SCALE * part / 3600)) for part in (1, 1.01))
    assert largest_shift(first, wider, (SIDE, SIDE)) == pytest.approx(199 * (1 - 1 / 1.01), rel=0.01)
    turned = read_wcs(make_header(CROTA2=np.rad2deg(0.01)))
    expected = 0.01 * np.hypot(99.5, 99.5)
    assert largest_shift(read_wcs(make_header()), turned, (SIDE, SIDE)) == pytest.approx(expected, rel=0.01)


def test_bands_far_apart_are_refused(tmp_path):
    paths = [
        write(tmp_path / f"{name}.fits", make_header(**SIP, CRVAL1=ra)) for name, ra in (("g", 214.3), ("r", 20.0))
    ]
    Table({"x": [60.0], "y": [120.0]}).write(tmp_path / "xy.csv")
    with pytest.raises(InputError, match=r"r\.fits: its WCS is nowhere near"):
        cutouts_from_files(paths, tmp_path / "a.h5", 16, tmp_path / "xy.csv")


STEP = 0.2 / 3600


def header_of(**cards):
    found = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
    found["CRPIX1"] = found["CRPIX2"] = 50.0
    found.update(cards)
    return found


CD = {"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP}


@pytest.mark.parametrize(
    "cards",
    [
        {"PC1_1": 1.0, "PC2_2": 1.0},
        {"PC1_1": 1.0, "PC2_2": 1.0, "CDELT1": 1.0, "CDELT2": 1.0},
        {"PC1_1": -1.0, "PC2_2": 1.0, "CDELT1": STEP, "CDELT2": STEP},
        # What wcslib passes over.
        {"CRVAL1": "150.0", "CRPIX2": "50"},
    ],
)
def test_what_stands_beside_a_cd_matrix_changes_nothing(cards):
    """Wcslib takes PC where there are both: pixels of a degree, 10 degrees off after ten of them."""
    wcs = read_wcs(header_of(**CD, **cards) if "CRVAL1" not in cards else header_of(**(CD | cards)), "a.fits")
    assert scale_of(wcs) == pytest.approx(0.2)
    ra, dec = pixel_to_sky(wcs, [49.0, 59.0], [49.0, 49.0])
    np.testing.assert_allclose(ra, [150.0, 150.0 - 10 * STEP / np.cos(np.deg2rad(2.0))], atol=1e-9)
    np.testing.assert_allclose(dec, 2.0, atol=1e-9)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        (CD | {"PC1_1": 0.0, "PC1_2": 1.0, "PC2_1": -1.0, "PC2_2": 0.0, "CDELT1": STEP, "CDELT2": STEP},
         "has CD and PC, which contradict each other"),
        ({}, r"has no pixel scale \(CD, or CDELT\)"),
        ({"CDELT1": -STEP}, r"has no pixel scale \(CD, or CDELT\)"),
        (CD | {"CRVAL1": "10:00:00"}, "CRVAL1 is '10:00:00', no number"),
    ],
)  # fmt: skip
def test_a_wcs_that_is_not_whole_is_refused(cards, message):
    with pytest.raises(InputError, match=f"a.fits: .*{message}"):
        read_wcs(header_of(**cards), "a.fits")


@pytest.mark.parametrize("key", ["CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"])
def test_a_wcs_without_a_place_is_refused(key):
    """Astropy would take 0."""
    header = header_of(**CD)
    del header[key]
    with pytest.raises(InputError, match=f"its WCS has no {key}"):
        read_wcs(header, "a.fits")


def test_a_projection_that_is_misspelt_is_said():
    """Or the image would be without a place on the sky."""
    header = fits.Header({"CTYPE1": "RA--TAN", "CTYPE2": "DEC-TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
    header.update({"CRPIX1": 1.0, "CRPIX2": 1.0, "CDELT1": -1e-4, "CDELT2": 1e-4})
    with pytest.raises(InputError, match="a.fits: CTYPE1 and 2 are RA--TAN, DEC-TAN, no projection .* RA---TAN"):
        read_wcs(header, "a.fits")
    header["CTYPE1"], header["CTYPE2"] = "LINEAR", "LINEAR"
    assert read_wcs(header, "a.fits") is None


@pytest.mark.parametrize("kind", ["TNX", "ZPX"])
def test_projections_of_iraf_that_cannot_be_read_say_how_to_write_them(kind):
    header = make_header(CTYPE1=f"RA---{kind}", CTYPE2=f"DEC--{kind}")
    header["WAT1_001"] = "wtype=tnx axtype=ra lngcor = '3. 4. 4. 2. -0.3 0.3 -0.3 0.3 0. 0.'"
    header["WAT2_001"] = "wtype=tnx axtype=dec latcor = '3. 4. 4. 2. -0.3 0.3 -0.3 0.3 0. 0.'"
    with pytest.raises(InputError, match=rf"a.fits: its WCS .*[^:]\); {kind} is IRAF's.* write it as TPV or TAN-SIP"):
        read_wcs(header, "a.fits")
