"""What headers say of units, zero points and pixels, against numbers worked out by hand."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from galzoo.data import fits_keywords
from galzoo.data.zeropoint import flux_scale
from galzoo.errors import InputError


def header(**cards):
    found = fits.Header()
    for key, value in cards.items():
        found[key] = value
    return found


@pytest.mark.parametrize(
    ("cards", "njy"),
    [
        ({"BUNIT": "uJy"}, 1e3),
        ({"BUNIT": "UJY"}, 1e3),
        ({"BUNIT": "Jy/pixel"}, 1e9),
        ({"BUNIT": "JY/PIXEL"}, 1e9),
        ({"BUNIT": "10**-6 Jy"}, 1e3),
        ({"BUNIT": "1e-9 Jy"}, 1.0),
        ({"BUNIT": "erg/s/cm^2/Hz"}, 1e32),
        # By wavelength: times wavelength squared over the speed of light.
        ({"BUNIT": "erg/s/cm^2/Angstrom", "PHOTPLAM": 5000.0}, 1e32 * 5000**2 / 2.99792458e18),
        ({"BUNIT": "nanomaggy"}, 10 ** (0.4 * 8.9)),
        ({"BUNIT": "nmgy", "MAGZERO": 30.0}, 10 ** (0.4 * 8.9)),
        ({"BUNIT": "maggies"}, 10 ** (0.4 * 31.4)),
        ({"BUNIT": "ADU", "MAGZERO": "27.0"}, 10 ** (0.4 * 4.4)),
        ({"ZP": 31.4}, 1.0),
        ({"PHOTZPT": 28.9}, 10.0),
        ({"BUNIT": "electron/s", "PHOTFNU": 1e-7, "EXPTIME": 100.0}, 100.0),
        ({"BUNIT": "ELECTRONS", "PHOTFNU": 1e-7, "EXPTIME": 100.0}, 1.0),
        ({"BUNIT": "DN", "PHOTFNU": 1e-7, "EXPOSURE": 50.0}, 2.0),
        ({"BUNIT": "ELECTRONS/PIXEL", "PHOTFNU": 1e-7, "EXPTIME": 100.0}, 1.0),
        ({"BUNIT": "e- / pix", "PHOTFNU": 1e-7, "EXPTIME": 100.0}, 1.0),
        ({"BUNIT": "photo-electrons pixel-1", "PHOTFNU": 1e-7, "EXPTIME": 100.0}, 1.0),
        ({"BUNIT": "electron/s/pixel", "PHOTFNU": 1e-7, "EXPTIME": 100.0}, 100.0),
        ({"BUNIT": "uJy pix-1"}, 1e3),
        ({"FLUXMAG0": 10 ** (0.4 * 27)}, 10 ** (0.4 * 4.4)),
        ({"PHOTZP": 23.0, "MAGSYS": "AB"}, 10 ** (0.4 * 8.4)),
        ({"MAGZPT": (23.0, "zero point (AB)"), "INSTRUME": "VIRCAM"}, 10 ** (0.4 * 8.4)),
        ({"TELESCOP": "WISE", "BUNIT": "MJy/sr", "MAGZP": 20.5, "PIXAR_A2": 2.0}, 1e15 * 2 / 4.25451702961522e10),
    ],
)
def test_one_unit_of_the_pixels_is_as_many_njy_as_the_header_means(cards, njy):
    assert flux_scale(header(**cards)) == pytest.approx(njy, rel=1e-6)


@pytest.mark.parametrize(("point", "said"), [(23.9, False), (23.94, False), (24.0, True)])
def test_a_zero_point_beside_another_unit_is_said(point, said, caplog):
    assert flux_scale(header(BUNIT="uJy", MAGZERO=point), name="a.fits") == pytest.approx(1e3)
    assert ("a.fits: BUNIT uJy is a zero point of 23.90, the header has 24.00 too" in caplog.text) == said


def test_zero_point_of_st_magnitudes_in_hubble_headers_is_not_that_of_the_pixels():
    """WFC3's handbook gives F160W 25.946 AB for electrons per second."""
    cards = {"BUNIT": "ELECTRONS/S", "PHOTFLAM": 1.9276e-20, "PHOTPLAM": 15369.0}
    for value in (-21.1, (-21.1, "ST magnitude zero point")):
        scale = flux_scale(header(**cards, PHOTZPT=value))
        assert 31.4 - 2.5 * np.log10(scale) == pytest.approx(25.946, abs=0.002)
    assert flux_scale(header(BUNIT="ELECTRONS/S", PHOTFNU=1e-7, PHOTFLAM=0.0, PHOTZPT=-21.1)) == pytest.approx(100)


@pytest.mark.parametrize(
    ("cards", "level"),
    [
        ({"SATURATE": 5e4}, 5e4),
        ({"SATURATE": "50000", "BUNIT": "adu"}, 5e4),
        ({"SATURATE": (5e4, "[ADU] level"), "BUNIT": "adu"}, 5e4),
        ({"SATURATE": (5e4, "[adu]"), "BUNIT": "adu/s", "EXPTIME": 100.0}, 500),
        ({"SATURATE": (5e4, "saturation (ADU)"), "BUNIT": "ELECTRONS/SEC", "EXPTIME": 100.0, "GAIN": 2.0}, 1000),
        ({"SATURATE": (5e4, "[adu]"), "BUNIT": "electron", "EGAIN": 1.5}, 7.5e4),
        ({"SATLEVEL": (6e4, "[e-]"), "BUNIT": "ADU", "GAIN": 2.0}, 3e4),
        ({"SATURATE": (700.0, "[adu/s]"), "BUNIT": "adu/s", "EXPTIME": 100.0}, 700),
        ({"SATURATE": (5e4, "[adu]"), "BUNIT": "nJy"}, np.inf),
        ({"SATURATE": (5e4, "[adu]"), "BUNIT": "electron"}, np.inf),
        ({"SATURATE": (5e4, "[adu]"), "BUNIT": "adu/s"}, np.inf),
        ({"SATURATE": 0.0, "SATLEVEL": 9.0}, 9.0),
        ({}, np.inf),
    ],
)
def test_saturation_is_in_the_unit_of_the_pixels(cards, level, caplog):
    assert fits_keywords.saturation(header(**cards)) == pytest.approx(level)
    # What cannot be brought to the unit of the pixels is said.
    assert ("--saturation" in caplog.text) == (level == np.inf and bool(cards))


@pytest.mark.parametrize("text", ["MJy/sr", "MJY/SR", "MJy sr-1", "MJy.sr**-1"])
def test_surface_brightness_takes_the_pixels_that_there_are(text, caplog):
    """Resampled mosaics keep PIXAR_A2 of the detector."""
    right = (1 * u.MJy / u.sr * (0.03 * u.arcsec) ** 2).to_value(u.nJy)
    assert flux_scale(header(BUNIT=text, PIXAR_A2=0.0039), pixel_area=0.03**2) == pytest.approx(right, rel=1e-6)
    assert "PIXAR_A2 is 0.0039 arcsec^2, a pixel has 0.0009" in caplog.text
    assert flux_scale(header(BUNIT=text, PIXAR_A2=0.03**2)) == pytest.approx(right, rel=1e-6)


def test_a_zero_point_that_is_there_twice():
    cards = header(MAGZERO=27.0)
    cards.append(("MAGZERO", 27.0))
    assert fits_keywords.zero_point(cards) == 27.0
    cards.append(("MAGZERO", 25.0))
    with pytest.raises(InputError, match="a.fits: MAGZERO is 27 and MAGZERO is 25; say which with --zero-point"):
        fits_keywords.zero_point(cards, "a.fits")


def test_gain_and_saturation_of_counts_per_pixel():
    cards = header(BUNIT="ADU/pixel", GAIN=2.0, SATURATE=(5e4, "[e-]"))
    assert fits_keywords.electrons_per_unit(cards) == 2.0
    assert fits_keywords.saturation(cards) == 2.5e4


def test_pixels_on_an_asinh_scale_are_refused():
    """A zero point does not help."""
    cards = header(BSOFTEN=100.0, BOFFSET=0.1, MAGZERO=25.0)
    for zero_point in (None, 25.0):
        with pytest.raises(InputError, match="a.fits: BSOFTEN is 100.0: .* asinh scale; write .* sinh"):
            flux_scale(cards, zero_point, name="a.fits")


def test_prefixes_are_told_apart_by_their_case():
    assert flux_scale(header(BUNIT="mJy")) == pytest.approx(1e6)
    assert flux_scale(header(BUNIT="MJy")) == pytest.approx(1e15)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"PHOTZP": 23.0, "PHOTSYS": "VEGA"}, "Vega"),
        ({"MAGZPT": 23.0, "MAGSYS": "Vegamag"}, "Vega"),
        ({"MAGZERO": (25.0, "zero point (Vega)")}, "comment of MAGZERO"),
        ({"MAGZERO": 25.0, "ZPSYS": "STMAG"}, "St magnitudes"),
        ({"MAGZP": 20.8, "ORIGIN": "2MASS", "BUNIT": "DN"}, "ORIGIN is 2MASS, whose MAGZP is of Vega magnitudes"),
        ({"MAGZP": (20.5, "[mag] zeropoint"), "TELESCOP": "WISE"}, "TELESCOP is WISE"),
        ({"MAGZPT": 23.5, "INSTRUME": "VIRCAM"}, "whose MAGZPT is of Vega"),
        ({"MAGZERO": 27.0, "PHOTZP": 25.0}, "PHOTZP is 25"),
        ({"BUNIT": "Jy/beam"}, "per beam"),
        ({"BUNIT": "MJY"}, "mega or milli"),
        ({"BUNIT": "mag/arcsec2", "MAGZERO": 25.0}, "magnitudes"),
        ({"BUNIT": "electrons", "PHOTFNU": 1e-7}, "EXPTIME"),
        ({"BUNIT": "erg/s/cm2/Angstrom"}, "PHOTPLAM"),
        ({"BUNIT": "MJy/sr"}, "pixel-scale"),
        ({"BUNIT": "electrons/s"}, "no zero point"),
        ({"MAGZERO": True}, "no zero point"),
    ],
)
def test_what_may_mean_two_things_is_refused_with_the_mend(cards, words):
    with pytest.raises(InputError, match="image: .*" + words.replace("(", r"\(")):
        flux_scale(header(**cards))
    if words != "per beam":
        assert flux_scale(header(**cards), zero_point=31.4) == 1.0


@pytest.mark.parametrize("key", ["PIXSCALE", "PIXSCL", "PIXELSCL", "SECPIX", "PIXSCAL1", "SECPIX1"])
def test_pixel_scale_by_any_key(key):
    assert fits_keywords.pixel_scale(header(**{key: 0.05})) == 0.05


@pytest.mark.parametrize("text", ["0.05", "0.05 arcsec", "0.05 arcsec/pixel", '0.05"/pix', "50 mas", "0.05 ARCSEC"])
def test_pixel_scale_as_text(text):
    """Passed over, a PSF would be in the pixels of its image."""
    assert fits_keywords.pixel_scale(header(PIXSCALE=text)) == pytest.approx(0.05)


def test_pixel_scale_as_text_that_says_nothing():
    assert fits_keywords.pixel_scale(header(PIXSCALE="unknown")) is None
    with pytest.raises(InputError, match="a.fits: PIXSCALE is '0.05 pc'; write arcsec per pixel as a number"):
        fits_keywords.pixel_scale(header(PIXSCALE="0.05 pc"), "a.fits")


def test_pixel_scale_by_a_wcs_and_its_contradictions():
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": 5.0, "CRVAL2": 5.0}
    small = {"CDELT1": -0.05 / 3600, "CDELT2": 0.05 / 3600}
    assert fits_keywords.pixel_scale(header(**sky, **small)) == pytest.approx(0.05)
    with pytest.raises(InputError, match="PIXSCALE says 0.2 arcsec per pixel and WCS 0.05"):
        fits_keywords.pixel_scale(header(**sky, **small, PIXSCALE=0.2))
    with pytest.raises(InputError, match="0.2 x 0.3 arcsec"):
        fits_keywords.pixel_scale(header(SECPIX1=-0.2, SECPIX2=0.3))
    assert fits_keywords.pixel_scale(header(OBJECT="M2")) is None
    assert np.isclose(fits_keywords.pixel_scale(header(PIXSCALE=0.0, SECPIX=0.4)), 0.4)


def test_sensitivity_and_maggies_against_astropy():
    wavelength, flam = 1.5369e4, 1.9275602e-20
    exact = (flam * u.erg / u.s / u.cm**2 / u.AA).to_value(u.nJy, u.spectral_density(wavelength * u.AA))
    assert flux_scale({"PHOTFLAM": flam, "PHOTPLAM": wavelength, "BUNIT": "ELECTRONS/S"}) == pytest.approx(
        exact, rel=5e-4
    )
    # A maggy is 3631 Jy.
    assert flux_scale({"BUNIT": "mgy"}) == pytest.approx(3631e9, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.0 e/ADU", 2.0), ("2.5", 2.5), (" 27.0 mag ", 27.0), ("1.5D2", 150.0), ("-3e-1", -0.3), (".5 s", 0.5),
        ("30 min", None), ("2.0e/ADU", None), ("about 2", None), ("", None), ("nan", None), ("inf", None),
    ],
)  # fmt: skip
def test_numbers_as_text_with_the_unit_that_the_key_has(text, value):
    assert fits_keywords.number({"GAIN": text}, "GAIN") == value


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTER": "HSC-I"}, "HSC-I"),
        ({"FILTER": "r DECam SDSS c0002 6415.0 1480.0", "BAND": "r"}, "r"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W"),
        ({"FILTER1": "F606W", "FILTER2": "CLEAR2L"}, "F606W"),
        ({"FILTNAM1": "F814W", "FILTNAM2": ""}, "F814W"),
        ({"FILTER": "F444W", "PUPIL": "F405N"}, "F405N"),
        ({"FILTER": "CLEAR", "PUPIL": "F150W"}, "F150W"),
        ({"FILTER": "F200W", "PUPIL": "CLEAR"}, "F200W"),
        ({"HIERARCH FPA.FILTER": "r.00000"}, "r"),
        ({"HIERARCH ESO INS FILT1 NAME": "Ks"}, "Ks"),
        ({"FILTER": "Clear"}, "Clear"),
        ({"FILTER": "N708"}, "N708"),
        ({}, ""),
    ],
)
def test_filters_of_one_wheel_or_two(cards, name):
    assert fits_keywords.filter_of(header(**cards)) == name


@pytest.mark.parametrize(
    "unit",
    ["10^-9 maggy", "1e-9 maggy", "10**-9 maggies", "10**(-9) Mgy", "1.0E-09 maggy", "1.D-9*maggy", "3.631e-6 Jy",
     "3631 nJy", "3.631 uJy/pixel", "10^-9 nanomaggy"],
)  # fmt: skip
def test_units_with_a_factor(unit):
    expected = 3631.0 if "nano" not in unit else 3631e-9
    assert flux_scale({"BUNIT": unit}) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("unit", "said"), [("frobs", "'frobs' is"), ("1e-9 frobs", "'1e-9 frobs' is"), ("adu", None), ("electrons/s", None),
                       ("e- s-1", None), (None, None)]
)  # fmt: skip
def test_a_unit_that_is_not_known_is_said(unit, said):
    told = f", and its unit {said} not known" if said else ""
    with pytest.raises(InputError, match=f"^image: no zero point in the header{told}; pass --zero-point"):
        flux_scale({"BUNIT": unit})
