"""What FITS headers call the same thing, and how each is read: one table for all of galzoo."""

import logging
import math
import re

from galzoo.errors import InputError

logger = logging.getLogger(__name__)

ZERO_POINTS = (
    "MAGZERO", "MAGZPT", "PHOTZP", "ABMAGZP", "ABZP", "ZEROPNT", "ZEROPOIN", "MAGZP", "MAG_ZP", "PHOTZPT", "SEXMGZPT",
    "ZPT", "ZP",
)  # fmt: skip
"""AB magnitude of one unit of the pixels, in the order they are trusted."""
MAGNITUDE_SYSTEMS = ("PHOTSYS", "MAGSYS", "MAG_SYS", "ZPSYS", "ZPSYSTEM", "MAGTYPE", "PHOTSYST")
"""Which magnitudes a zero point is of."""
PIXEL_SCALES = ("PIXSCALE", "PIXSCL", "PIXELSCL", "SECPIX", "PIXSCAL", "PIXELSCALE", "PIXSIZE")
"""Arcsec per pixel."""
PIXEL_SCALE_PAIRS = (("SECPIX1", "SECPIX2"), ("PIXSCAL1", "PIXSCAL2"), ("PIXSCLX", "PIXSCLY"))
"""Arcsec per pixel along x and y."""
OVERSAMPLINGS = ("OVERSAMP", "DET_SAMP", "OVERSAMPLING")
"""Pixels of a PSF image per pixel of the detector, a side."""
_ANGLES = {"arcsec": 1, '"': 1, "mas": 1e-3, "arcmin": 60, "deg": 3600, "degree": 3600, "degrees": 3600}
FILTERS = (
    "FILTER", "BAND", "FILTER1", "FILTER2", "FILTNAM1", "FILTNAM2", "FILTER01", "FPA.FILTER", "ESO INS FILT1 NAME",
)  # fmt: skip
"""What the band was seen through; of two wheels one may hold nothing."""
_NO_FILTER = re.compile(r"(?i)clear\w*|open|none|n/?a|empty|blank|air")
EXPOSURE_TIMES = ("EXPTIME", "EXPOSURE", "TEXPTIME", "XPOSURE", "EFFEXPTM")
"""Seconds."""
SATURATIONS = ("SATURATE", "SATLEVEL", "SATURATA")
"""Value of a pixel, in the unit of the image, at which the detector saturates."""
GAINS = ("GAIN", "EGAIN", "CCDGAIN", "ATODGAIN")
"""Electrons per ADU."""
ASINH = "BSOFTEN"
"""Softening of pixels on an asinh scale."""
_ELECTRONS = {"electron", "electrons", "e", "e-", "photon", "photons", "photoelectron", "photoelectrons"}
COUNTS = _ELECTRONS | {"count", "counts", "ct", "cts", "adu", "dn"}
"""Spellings of BUNIT for what grows with the exposure time."""
# Archives whose zero points are of Vega magnitudes, which their headers do not say.
_VEGA = {"2MASS", "WISE", "VIRCAM", "WFCAM"}
_ORIGINS = ("INSTRUME", "TELESCOP", "ORIGIN")
_PER_PIXEL = re.compile(r"(/(pix(el)?s?|px)|[.*]?(pix(el)?|px)(\^|\*\*)?\(?-1\)?)$")

# A number as text, with the exponents of Fortran and a unit behind a blank: the one that the key has anyway.
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[de][-+]?\d+)?)(?:\s+(\S.*?))?\s*", re.IGNORECASE)
_UNITS = {
    "e/adu", "e-/adu", "electron/adu", "electrons/adu", "e/dn", "e-/dn", "e/count", "adu", "dn", "counts", "e", "e-",
    "mag", "mag(ab)", "mag (ab)", "abmag", "ab", "s", "sec", "seconds",
}  # fmt: skip

# Two statements of a pixel's size may differ by so much: one is rounded, or the projection changes it.
_SAME_SCALE = 0.02
# Magnitudes by which two zero points in one header may differ.
_SAME_ZERO_POINT = 0.01


def number(header, key):
    """Return the number that a header has under a key, None where it has none; text like "27.0 mag" counts."""
    value = header.get(key)
    if isinstance(value, bool):
        return None
    found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if found:
        unit = (found[2] or "").lower()
        return float(found[1].lower().replace("d", "e")) if not unit or unit in _UNITS else None
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def filter_of(header):
    """Return the name of the filter that a header states, "" where it states none."""
    found = [(str(header.get(key) or "").split() or [""])[0] for key in FILTERS]
    named = [one for one in found if one]
    name = next((one for one in named if not _NO_FILTER.fullmatch(one)), (named or [""])[0])
    # JWST has some filters in another wheel; PanSTARRS numbers its own, as r.00000.
    pupil = str(header.get("PUPIL") or "").strip()
    return pupil if re.fullmatch(r"F\d{3}[WMN]", pupil) else re.sub(r"\.0\d+$", "", name)


def unit_of(header):
    """Return BUNIT in small letters, without blanks and without "per pixel", which every pixel is; "" where absent."""
    text = "".join(str(header.get("BUNIT") or "").lower().split())
    return _PER_PIXEL.sub("", text).replace("photo-e", "photoe")


def zero_point(header, name="image"):
    """Return the AB zero point that a header gives, None where it gives none.

    Parameters
    ----------
    header : mapping
        FITS header.
    name : str
        What to call the image in errors.

    Raises
    ------
    InputError
        If it is said to be of another system than AB, or two keys disagree.
    """
    found = {key: value for key in ZERO_POINTS if (value := number(header, key)) is not None}
    # Hubble's headers have PHOTZPT = -21.1 beside PHOTFLAM: the zero point of ST magnitudes, not of pixels.
    if abs(found.get("PHOTZPT", 0.0) + 21.1) < _SAME_ZERO_POINT and number(header, "PHOTFLAM") is not None:
        del found["PHOTZPT"]
    if not found:
        return None
    key, value = next(iter(found.items()))
    # A card may be there twice, as where a pipeline adds its own.
    twice = [(card.keyword, card.value) for card in getattr(header, "cards", ()) if card.keyword in found]
    for other, its in (*found.items(), *((other, its) for other, its in twice if isinstance(its, int | float))):
        if abs(its - value) > _SAME_ZERO_POINT:
            raise InputError(f"{name}: {key} is {value:g} and {other} is {its:g}; say which with --zero-point (AB)")
    check_system(header, key, name)
    return value


def check_system(header, key, name="image"):
    """Raise `InputError` where a header says that its magnitudes are not AB.

    Parameters
    ----------
    header : mapping
    key : str
        Where the zero point is from; its comment may name the system too.
    name : str
    """
    comment = str(header.comments[key]) if hasattr(header, "comments") and key in header else ""
    says = {other: str(header[other]) for other in MAGNITUDE_SYSTEMS if header.get(other)}
    says[f"the comment of {key}"] = comment
    said_ab = False
    for where, text in says.items():
        words = text.upper().replace("MAG", " ").replace("(", " ").replace(")", " ").replace(",", " ").split()
        said_ab |= "AB" in words
        for system in ("VEGA", "ST"):
            # "ST" in prose is hardly ever a system; as the value of a key it is.
            if system in words and not (system == "ST" and where.startswith("the comment")):
                raise InputError(
                    f"{name}: {where} says {text.strip()!r}: its zero point is of {system.title()} magnitudes, not AB; "
                    "convert it and pass --zero-point"
                )
    for where in () if said_ab else _ORIGINS:
        text = str(header.get(where) or "").strip()
        if text.upper() in _VEGA:
            raise InputError(
                f"{name}: {where} is {text}, whose {key} is of Vega magnitudes, not AB; "
                "convert it and pass --zero-point (of one unit of the pixels)"
            )


def saturation(header, name="image"):
    """Return the value of a pixel at which the detector saturates, in the unit of the image; infinite where unknown.

    Parameters
    ----------
    header : mapping
        FITS header.
    name : str
        What to call the image in warnings.

    Notes
    -----
    A comment such as ``[adu]`` says what unit the level itself has; without one it is that of the image.
    """
    for key in SATURATIONS:
        value = number(header, key)
        if value is not None and value > 0:
            scale = _saturation_scale(header, key)
            if scale is None:
                logger.warning(
                    "%s: %s is not in the unit of the pixels (%s), and cannot be brought to it; pass --saturation",
                    name, key, header.get("BUNIT"),
                )  # fmt: skip
                return math.inf
            return value * scale
    return math.inf


def _saturation_scale(header, key):
    """Return by what to multiply a saturation level, None where that is not known."""
    comment = str(header.comments[key]).lower() if hasattr(header, "comments") else ""
    stated = re.search(r"[\[(]\s*([a-z-]+)\s*[\])]", comment)
    own, unit = (stated[1] if stated else ""), unit_of(header)
    if own not in COUNTS or not unit:
        return 1.0
    counts = re.sub(r"(/s|/sec|/second|\.?s-1|\.?s\*\*-1)$", "", unit)
    if counts not in COUNTS:
        return None
    scale = 1.0
    if (own in _ELECTRONS) != (counts in _ELECTRONS):
        gain = next((value for other in GAINS if (value := number(header, other))), 0)
        if gain <= 0:
            return None
        scale = gain if counts in _ELECTRONS else 1 / gain
    if counts != unit:
        time = seconds(header)
        return scale / time if time > 0 else None
    return scale


def electrons_per_unit(header):
    """Return the electrons of one unit of the pixels, None where a header does not say: its unit is no count."""
    unit = unit_of(header)
    if unit in _ELECTRONS:
        return 1.0
    if unit and unit not in COUNTS:
        return None
    gain = next((value for key in GAINS if (value := number(header, key))), 0)
    return gain if gain > 0 else None


def seconds(header):
    """Return the exposure time in seconds, 0 where a header has none that is positive."""
    return next((value for key in EXPOSURE_TIMES if (value := number(header, key)) is not None and value > 0), 0.0)


def exposure_time(header, name="image"):
    """Return the exposure time in seconds; raise `InputError` where it is absent or not positive."""
    time = seconds(header)
    if time:
        return time
    raise InputError(f"{name}: pixels are counts and EXPTIME is absent; pass --zero-point")


def _arcsec(header, key, name):
    """Return the arcsec under a key of a header, also as text such as "0.2 arcsec/pixel"; None where it has none."""
    value, text = number(header, key), header.get(key)
    if value is not None or not re.match(r"\s*\.?\d", str(text)):
        return value
    from astropy import units as u

    try:
        return u.Quantity(_PER_PIXEL.sub("", "".join(str(text).lower().split())).replace('"', "arcsec")).to_value(
            u.arcsec
        )
    except (TypeError, ValueError, u.UnitConversionError):
        raise InputError(f"{name}: {key} is {text!r}; write arcsec per pixel as a number") from None


def pixel_scale(header, name="image", hdus=None):
    """Return arcsec per pixel as a header states it, by a key or by its WCS; None where it states nothing.

    Parameters
    ----------
    header : mapping
        FITS header.
    name : str
        What to call the image in errors.
    hdus : astropy HDUList, optional
        The file, as for `galzoo.data.sky.read_wcs`.

    Raises
    ------
    InputError
        If two statements differ by more than 2 %, or pixels are not square.
    """
    found = {}
    for key in PIXEL_SCALES:
        value = _arcsec(header, key, name)
        if value is not None and value > 0:
            found[key] = value
    for first, second in PIXEL_SCALE_PAIRS:
        pair = [abs(value) for value in (number(header, first), number(header, second)) if value]
        if len(pair) == 2 and abs(pair[0] / pair[1] - 1) > _SAME_SCALE:
            raise InputError(f"{name}: pixels of {pair[0]:g} x {pair[1]:g} arcsec; resample it to square ones")
        if pair:
            found[first] = pair[0]
    if "CTYPE1" in header:
        from galzoo.data.sky import read_wcs, scale_of

        wcs = read_wcs(header, name, hdus)
        if wcs is not None:
            found["WCS"] = scale_of(wcs, name)
    step, unit = number(header, "CDELT1"), str(header.get("CUNIT1") or "").strip().lower()
    if "WCS" not in found and step and unit in _ANGLES:
        # Images of a PSF have steps, and no place on the sky.
        found["CDELT1"] = abs(step) * _ANGLES[unit]
    if not found:
        return None
    key, value = next(iter(found.items()))
    for other, its in found.items():
        if abs(its / value - 1) > _SAME_SCALE:
            raise InputError(
                f"{name}: {key} says {value:g} arcsec per pixel and {other} {its:g}; mend the header, or pass the scale"
            )
    return value
