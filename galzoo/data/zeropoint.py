"""AB magnitudes, nJy, and what one count of an image is in nJy."""

import contextlib
import logging
import math
import re
import warnings

import numpy as np

from galzoo.data import fits_keywords
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

# AB magnitude of 1 nJy: 8.9 + 22.5 (Oke & Gunn 1983, ApJ 266, 713; AB = 0 at 3631 Jy).
AB_NJY = 31.4
LARGEST = 1e15
"""Nothing on the sky has this many nJy in a pixel (AB = -6); squares of more would not fit into a float32."""
# By so much may PIXAR_A2 and the pixels of the WCS differ: distortion changes pixels over a detector.
_SAME_AREA = 0.05
# By so much may zero points of one header differ, and none is larger: 99 and the like stand for what is not known.
_SAME_MAGNITUDE, _LARGEST = 0.05, 90.0
# Spellings that astropy's units do not know, in lower case: a unit, or the zero point of maggies.
_UNITS = {
    "njy": "nJy", "ujy": "uJy", "microjy": "uJy", "microjansky": "uJy", "jy": "Jy", "jansky": "Jy", "mjy/sr": "MJy/sr",
    "mjysr-1": "MJy/sr", "mjy/steradian": "MJy/sr", "nanomaggy": 22.5, "nanomaggies": 22.5, "nmgy": 22.5,
    "nmaggy": 22.5, "maggy": 0.0, "maggies": 0.0, "mgy": 0.0,
}  # fmt: skip
# A number before a unit, as in 1e-9 maggy, 10**(-9) maggy and 3.631e-6*Jy, and a power of ten alone.
_FACTOR = re.compile(
    r"(?:10\s?(?:\*\*|\^)\s?\(?(?P<power>[+-]?\d+)\)?|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?))"
    r"\s?[*.]?\s?(?P<unit>[A-Za-z].*)"
)


def magnitude_to_njy(magnitude):
    """Return the flux in nJy of an AB magnitude."""
    return 10 ** (0.4 * (AB_NJY - np.asarray(magnitude, dtype=float)))


def njy_to_magnitude(flux):
    """Return the AB magnitude of a flux in nJy; not a number where the flux is not positive."""
    flux = np.asarray(flux, dtype=float)
    return AB_NJY - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def njy_per_count(zero_point):
    """Return nJy per count for an AB zero point."""
    return float(magnitude_to_njy(zero_point))


def flux_scale(header, zero_point=None, pixel_area=None, name="image"):
    """Return nJy per unit of the pixels.

    Parameters
    ----------
    header : mapping
        FITS header.
    zero_point : float, optional
        AB zero point; wins over the header.
    pixel_area : float, optional
        Arcsec squared, for images in MJy/sr.
    name : str
        What to call the image in an error.

    Raises
    ------
    InputError
        If the header has no zero point either, one of other magnitudes than AB, or two that disagree, or says that
        pixels are on an asinh scale.

    Notes
    -----
    HST's PHOTFLAM and PHOTPLAM give AB = -2.5 log10 PHOTFLAM - 5 log10 PHOTPLAM - 2.408 for electrons per second (ACS
    and WFC3 data handbooks), and PHOTFNU is Jy for one count a second;
    images in counts are divided by EXPTIME. FLUXMAG0 is the count of AB magnitude 0 (HSC, Rubin).
    """
    if fits_keywords.number(header, fits_keywords.ASINH):
        # As stacks of Pan-STARRS have them (Waters et al. 2020, ApJS 251, 4).
        raise InputError(
            f"{name}: {fits_keywords.ASINH} is {header[fits_keywords.ASINH]}: pixels v are on an asinh scale; write "
            "BOFFSET + 2 BSOFTEN sinh(0.921034 v), and remove BSOFTEN"
        )
    text = " ".join(str(header.get("BUNIT") or "").split())
    if zero_point is not None:
        scale = njy_per_count(_possible(zero_point, name))
        _given_instead(zero_point, text, header, pixel_area, name)
        return scale
    scale = _of_unit(text, header, pixel_area, name)
    if scale is not None:
        _other_than(scale, text, header, name)
        return scale
    found = fits_keywords.zero_point(header, name)
    if found is not None:
        return njy_per_count(_possible(found, name))
    return _of_sensitivity(fits_keywords.unit_of(header), header, name)


def _possible(zero_point, name):
    """Return a zero point; `InputError` where it can be none."""
    if not math.isfinite(zero_point):
        raise InputError(f"{name}: zero point {zero_point} is not a number; give AB magnitudes")
    if abs(zero_point) > _LARGEST:
        raise InputError(f"{name}: zero point {zero_point:g} cannot be one of AB magnitudes; pass --zero-point (AB)")
    return zero_point


def _other_than(scale, text, header, name):
    """Say where the header has a zero point that is not that of its unit."""
    try:
        stated = fits_keywords.zero_point(header, name)
    except InputError:
        # The unit says all; what is odd about keys that are not used does not matter.
        return
    own = AB_NJY - 2.5 * math.log10(scale)
    if stated is not None and abs(stated - own) > _SAME_MAGNITUDE:
        logger.warning(
            "%s: BUNIT %s is a zero point of %.2f, the header has %.2f too; the former is taken (or pass --zero-point)",
            name, text, own, stated,
        )  # fmt: skip


def _given_instead(zero_point, text, header, pixel_area, name):
    """Say where the header has a zero point too, or a unit, and none is that which was given."""
    stated = []
    # What is odd about a header that is not used does not matter.
    with contextlib.suppress(InputError):
        stated.append(fits_keywords.zero_point(header, name))
    with contextlib.suppress(InputError):
        scale = _of_unit(text, header, pixel_area, name)
        if scale is None and stated == [None]:
            scale = _of_sensitivity(fits_keywords.unit_of(header), header, name)
        stated.append(None if scale is None else AB_NJY - 2.5 * math.log10(scale))
    stated = [one for one in stated if one is not None]
    if stated and all(abs(one - zero_point) > _SAME_MAGNITUDE for one in stated):
        logger.warning(
            "%s: its header has a zero point of %.2f; the %.2f that was given is taken", name, stated[0], zero_point
        )


def _of_unit(text, header, pixel_area, name):
    """Return nJy per unit of the pixels where BUNIT is a flux or a surface brightness, None where it is not."""
    from astropy import units as u

    if not text:
        return None
    if "mag" in text.lower().replace("maggy", "").replace("maggie", ""):
        raise InputError(f"{name}: BUNIT is {text}: pixels are magnitudes; give an image whose pixels are fluxes")
    if text == "MJY":
        raise InputError(f"{name}: BUNIT MJY may be mega or milli; write MJy or mJy, or pass --zero-point")
    if scaled := _FACTOR.fullmatch(text):
        factor = float(scaled["number"].lower().replace("d", "e")) if scaled["number"] else 10.0 ** int(scaled["power"])
        scale = _of_unit(scaled["unit"], header, pixel_area, name)
        return factor * scale if scale is not None and factor > 0 else None
    with warnings.catch_warnings():
        # What FITS discourages but astropy understands.
        warnings.simplefilter("ignore", u.UnitsWarning)
        spelt = _UNITS.get(fits_keywords.unit_of({"BUNIT": text}))
        if isinstance(spelt, float):
            return njy_per_count(spelt)
        unit = u.Unit(text, parse_strict="silent")
        if isinstance(unit, u.UnrecognizedUnit):
            if spelt is None:
                return None
            unit = u.Unit(spelt)
    if isinstance(unit, u.function.FunctionUnitBase):
        raise InputError(f"{name}: BUNIT is {text}: pixels are logarithms; give an image whose pixels are fluxes")
    unit = unit * u.pix if u.pix in unit.bases else unit
    if u.beam in unit.bases:
        raise InputError(f"{name}: BUNIT {text} is per beam; convert it to a unit per pixel, or pass --zero-point")
    if unit.is_equivalent(u.nJy):
        return float(unit.to(u.nJy))
    if unit.is_equivalent(u.nJy / u.sr):
        return float(unit.to(u.nJy / u.arcsec**2)) * _area(header, pixel_area, text, name)
    if unit.is_equivalent(u.erg / u.s / u.cm**2 / u.AA):
        wavelength = fits_keywords.number(header, "PHOTPLAM")
        if not wavelength:
            raise InputError(f"{name}: BUNIT {text} is per wavelength, and there is no PHOTPLAM; pass --zero-point")
        return float(unit.to(u.nJy, equivalencies=u.spectral_density(wavelength * u.AA)))
    return None


def _area(header, pixel_area, text, name):
    """Return arcsec squared per pixel: PIXAR_A2 of a resampled image may be that of the detector."""
    stated = fits_keywords.number(header, "PIXAR_A2")
    if pixel_area and stated and abs(stated / pixel_area - 1) > _SAME_AREA:
        logger.warning("%s: PIXAR_A2 is %.4g arcsec^2, a pixel has %.4g; the latter is taken", name, stated, pixel_area)
    if not (pixel_area or stated):
        raise InputError(f"{name}: {text} needs the size of a pixel; pass --pixel-scale")
    return pixel_area or stated


def _of_sensitivity(unit, header, name):
    """Return nJy per unit of the pixels from what an instrument's header says of its sensitivity."""
    flam, plam, fnu, flux0 = (
        fits_keywords.number(header, key) or 0.0 for key in ("PHOTFLAM", "PHOTPLAM", "PHOTFNU", "FLUXMAG0")
    )
    if flam > 0 and plam > 0:
        per_second = njy_per_count(-2.5 * math.log10(flam) - 5 * math.log10(plam) - 2.408)
    elif fnu > 0:
        per_second = 1e9 * fnu
    elif flux0 > 0:
        return njy_per_count(2.5 * math.log10(flux0))
    else:
        unknown = f", and its unit {header['BUNIT']!r} is not known" if _is_unknown(unit) else ""
        raise InputError(f"{name}: no zero point in the header{unknown}; pass --zero-point (AB)")
    return per_second / (fits_keywords.exposure_time(header, name) if unit in fits_keywords.COUNTS else 1.0)


def _is_unknown(unit):
    """Return whether a unit, as `fits_keywords.unit_of` has it, is neither of counts nor known to astropy."""
    from astropy import units as u

    counts = re.sub(r"(/s(ec(ond)?)?|[.*]?s(\^|\*\*)?\(?-1\)?)$", "", unit)
    if not unit or counts in fits_keywords.COUNTS:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        return isinstance(u.Unit(unit, parse_strict="silent"), u.UnrecognizedUnit)
