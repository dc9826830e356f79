"""What older software wrote of a WCS, against a matrix or a frame that says the same."""

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.sky import frame_of, pixel_to_sky, read_wcs, scale_of
from galzoo.errors import InputError

STEP, TURN = 0.2 / 3600, np.deg2rad(30)
X, Y = np.array([0.0, 90.0]), np.array([10.0, 80.0])
PC = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
CD = np.array([[-STEP], [STEP]]) * PC
PLACE = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 62.0, "CRPIX1": 50.0, "CRPIX2": 50.0}
STEPS = {"CDELT1": -STEP, "CDELT2": STEP}


def matrix(key, values):
    return {key.format(i + 1, j + 1): values[i, j] for i in (0, 1) for j in (0, 1)}


def places(**cards):
    wcs = read_wcs(fits.Header(PLACE | cards))
    assert scale_of(wcs) == pytest.approx(0.2)
    return np.array(pixel_to_sky(wcs, X, Y))


@pytest.mark.parametrize(
    "cards",
    [
        matrix("CD00{}00{}", CD),
        STEPS | matrix("PC00{}00{}", PC),
        STEPS | matrix("PC00{}00{}", np.eye(2)) | matrix("PC{}_{}", PC),
        STEPS | {"CROTA2": -30.0},
        matrix("CD{}_{}", CD) | {"CTYPE1": "ra---tan", "CTYPE2": "dec--tan"},
        matrix("CD{}_{}", CD) | {"CUNIT1": "DEGREE", "CUNIT2": "Deg"},
        matrix("CD{}_{}", 60 * CD) | {"CUNIT1": "arcmin", "CUNIT2": "ARCMIN", "CRVAL1": 9000.0, "CRVAL2": 3720.0},
        # No equinox counts in ICRS.
        matrix("CD{}_{}", CD) | {"RADESYS": "ICRS", "EQUINOX": 0.0},
    ],
)
def test_spellings_of_one_matrix(cards):
    np.testing.assert_allclose(places(**cards), places(**matrix("CD{}_{}", CD)), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("cards", "frame", "year"),
    [
        ({"EQUINOX": "J2000.0"}, "fk5", 2000.0),
        ({"EQUINOX": " B1950"}, "fk4", 1950.0),
        ({"EPOCH": 1950.0}, "fk4", 1950.0),
        ({"EPOCH": 2019.3, "EQUINOX": 2000.0}, "fk5", 2000.0),
        ({"EPOCH": 2019.3, "RADESYS": "FK5"}, "fk5", 2019.3),
    ],
)
def test_equinoxes(cards, frame, year):
    found = frame_of(read_wcs(fits.Header(PLACE | STEPS | cards)))
    assert found.name == frame
    assert (found.equinox.byear if frame == "fk4" else found.equinox.jyear) == pytest.approx(year)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        (STEPS | matrix("PC00{}00{}", np.eye(2)) | matrix("CD{}_{}", CD), "CD and PC, which contradict each other"),
        (STEPS | {"CROTA1": 30.0}, "CROTA1 turns its WCS, and only CROTA2 has a meaning"),
        (STEPS | {"EQUINOX": 0.0}, "EQUINOX is 0.0, no year of coordinates"),
        (STEPS | {"EPOCH": 2019.3}, "EPOCH 2019.3 may be the equinox or the date"),
        (STEPS | {"CTYPE1": "RA", "CTYPE2": "DEC"}, "CTYPE1 and 2 are RA, DEC, no projection of the sky"),
        (STEPS | {"CRVAL1": "10:00:00"}, "CRVAL1 is .10:00:00., no number; mend its WCS$"),
    ],
)
def test_what_may_be_meant_in_two_ways_is_refused(cards, words):
    with pytest.raises(InputError, match=f"^a.fits: .*{words}"):
        read_wcs(fits.Header(PLACE | cards), "a.fits")


def test_what_is_not_of_the_sky_may_have_any_epoch():
    linear = {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "EPOCH": 2019.3, "EQUINOX": 0.0}
    assert read_wcs(fits.Header(PLACE | STEPS | linear)) is None
    galactic = {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "EPOCH": 2019.3}
    assert read_wcs(fits.Header(PLACE | STEPS | galactic)) is not None
