"""Columns that say where a source is: the names they go by, their units, and text in them."""

import re

import numpy as np

from galzoo.data.plain import ABSENT
from galzoo.errors import InputError

# Pairs of names, best first; capitals do not matter. SExtractor, CANDELS, 3D-HST, SDSS, PanSTARRS, VizieR, Rubin,
# photutils. What is not ICRS has its frame behind it.
SKY_NAMES = (
    ("ra", "dec"), ("ra_icrs", "dec_icrs"), ("ra_icrs", "de_icrs"), ("ra_j2000", "dec_j2000"),
    ("alpha_j2000", "delta_j2000"), ("alphawin_j2000", "deltawin_j2000"), ("alphamodel_j2000", "deltamodel_j2000"),
    ("alphapsf_j2000", "deltapsf_j2000"), ("alphapeak_j2000", "deltapeak_j2000"), ("raj2000", "dej2000"),
    ("raj2000", "decj2000"), ("_raj2000", "_dej2000"), ("ra_1", "dec_1"), ("radeg", "dedeg"), ("radeg", "decdeg"),
    ("ra_deg", "dec_deg"), ("coord_ra", "coord_dec"), ("alpha", "delta"), ("ramean", "decmean"),
    ("rastack", "decstack"), ("right_ascension", "declination"), ("sky_centroid.ra", "sky_centroid.dec"),
    ("xwin_world", "ywin_world"), ("x_world", "y_world"), ("xpsf_world", "ypsf_world"),
    ("xmodel_world", "ymodel_world"), ("xpeak_world", "ypeak_world"), ("alpha_sky", "delta_sky"),
    ("alphawin_sky", "deltawin_sky"), ("glon", "glat"), ("gal_lon", "gal_lat"), ("gal_l", "gal_b"), ("l", "b"),
    ("elon", "elat"), ("ecl_lon", "ecl_lat"), ("alpha_b1950", "delta_b1950"), ("alphawin_b1950", "deltawin_b1950"),
    ("ra_b1950", "dec_b1950"), ("rab1950", "deb1950"),
)  # fmt: skip
PIXEL_NAMES = (
    ("x", "y"), ("xwin_image", "ywin_image"), ("x_image", "y_image"), ("xmodel_image", "ymodel_image"),
    ("xpsf_image", "ypsf_image"), ("xpeak_image", "ypeak_image"), ("xpos", "ypos"), ("xcentroid", "ycentroid"),
    ("x_centroid", "y_centroid"), ("x_fit", "y_fit"), ("xcenter", "ycenter"), ("x_center", "y_center"),
)  # fmt: skip
ID_NAMES = ("id", "number", "objid", "object_id", "objectid", "source_id", "ident", "id_1", "name")
"""What the names of the objects go by."""
_FRAMES = (
    (re.compile(r"(gal_)?[lb]|glon|glat|gal_lon|gal_lat"), "galactic"),
    (re.compile(r"elon|elat|ecl_lon|ecl_lat"), "barycentricmeanecliptic"),
    (re.compile(r".*b1950"), "fk4"),
    # SExtractor's words for "as the WCS of the image has it".
    (re.compile(r"[xy][a-z]*_world|(alpha|delta)[a-z]*_sky"), "image"),
    # It makes no difference between ICRS and FK5: what it measured on an image in FK5 is in FK5.
    (re.compile(r"(alpha|delta)[a-z]*_j2000"), "j2000"),
)
# SExtractor counts pixels from 1, with whatever stands before and behind: XWIN_IMAGE, XPEAK_IMAGE, X_IMAGE_F160W. So do
# IRAF and DAOPHOT; the xcenter of photutils, in small letters, counts from 0.
_ONE_BASED = re.compile(r"(?i:[xy][a-z]*_image(_.*)?)|[XY]CENTER")
_UNITS = {
    "deg": ("deg", "degs", "degree", "degrees", "d", "°", "decimaldegrees", "decimaldegree"),
    "hourangle": ("h", "hr", "hrs", "hour", "hours", "hourangle", "decimalhours"),
    "rad": ("rad", "rads", "radian", "radians"),
    "d:m:s": ("d:m:s", "dms", "dd:mm:ss", "ddmmss", "deg:m:s"),
    "h:m:s": ("h:m:s", "hms", "hh:mm:ss", "hhmmss"),
}
_SPELT = {text: unit for unit, texts in _UNITS.items() for text in texts}
_SEXAGESIMAL = re.compile(
    r"([+\-])?\s*(\d+)\s*([:hHdD°]|\s)\s*(\d+)(?:\s*([:mM'′]|\s)\s*(\d+(?:\.\d*)?)\s*[sS\"″]?)?\s*[mM'′]?"
)


def frame_name(column):
    """Return the name of the astropy frame of a column of coordinates; "icrs" where its name says nothing."""
    lower = column.lower()
    return next((frame for pattern, frame in _FRAMES if pattern.fullmatch(lower)), "icrs")


def is_one_based(column):
    """Return whether pixels are counted from 1 in a column of this name."""
    return _ONE_BASED.fullmatch(column) is not None


def is_spelt(text):
    """Return whether a text is a spelling of a unit of coordinates."""
    return "".join(text.lower().split()) in _SPELT


def unit_of(column, name):
    """Return what the unit of a column of coordinates means: a key of the table of spellings, another unit, or None.

    Raises
    ------
    InputError
        If it is no unit of angle.
    """
    from astropy import units as u

    unit = getattr(column, "unit", None)
    if unit is None:
        return None
    text = re.sub(r"[\[\]\"'()]|j2000|icrs|\s", "", str(unit).lower()).rstrip(",.;")
    if text in ("", "-"):
        return None
    if text in _SPELT:
        return _SPELT[text]
    try:
        found = u.Unit(str(unit))
        found.to(u.deg)
    except (ValueError, TypeError, u.UnitConversionError):
        raise InputError(f"{name}: its unit is {unit}, not one of angle; write deg, hourangle or rad") from None
    return found


def degrees(column, values, name, role):
    """Return coordinates in degrees.

    Parameters
    ----------
    column : Column
        For its unit.
    values : array, (n,)
        Its values, numbers or text, as `galzoo.data.columns.plain` gives them.
    name : str
        What to call the column in errors.
    role : {"ra", "dec"}
        Text such as 10:00:28.6 is hours in ra, and degrees in dec or where a number is above 24.

    Returns
    -------
    float64 array, (n,)
        NaN where nothing is written.

    Raises
    ------
    InputError
        If a text is no coordinate, or the unit does not fit.
    """
    from astropy import units as u

    unit = unit_of(column, name)
    if role == "dec" and unit in ("hourangle", "h:m:s"):
        raise InputError(f"{name}: declinations in hours; write its unit as deg")
    if values.ndim != 1:
        raise InputError(f"{name}: several values a row; give a column with one coordinate a row")
    if values.dtype.kind == "U":
        values, unit = _read_text(values, unit, name, role)
    elif values.dtype.kind not in "fiu":
        raise InputError(f"{name}: holds {values.dtype}, no coordinates; map {role} to another column")
    elif unit in ("h:m:s", "d:m:s"):
        raise InputError(f"{name}: numbers under the unit {unit}; write text such as 10:00:28.6, or deg as the unit")
    scale = 1.0 if unit in (None, "deg") else u.Unit(unit).to(u.deg)
    return values.astype(float) * scale


def _read_text(values, unit, name, role):
    """Return numbers and their unit: text is a number in the unit of the column, or sexagesimal."""
    texts = np.char.strip(values)
    numbers, base = np.full(len(texts), np.nan), set()
    sexagesimal, largest = [], 0
    for row, text in enumerate(texts.tolist()):
        text = text.replace("−", "-")
        if text in ABSENT or text.lower() in ("none", "na", "-", "..."):
            continue
        try:
            numbers[row] = float(text)
            base.add("number")
            continue
        except ValueError:
            match = _SEXAGESIMAL.fullmatch(text)
        minutes, seconds = (float(match.group(4)), float(match.group(6) or 0)) if match else (60, 60)
        if minutes >= 60 or seconds >= 60.0001:
            raise InputError(f"{name}: {text!r} in row {row + 1} is no coordinate; write degrees, or 10:00:28.6")
        numbers[row] = int(match.group(2)) + minutes / 60 + seconds / 3600
        if match.group(1) == "-":
            numbers[row] *= -1
        sexagesimal.append(row)
        largest = max(largest, int(match.group(2)))
        base.add({"h": "h", "d": "d", "°": "d"}.get(match.group(3).lower(), "colon"))
    if len(base) > 1:
        raise InputError(f"{name}: some rows are sexagesimal and some are not; write all in one way")
    if not sexagesimal:
        return numbers, None if unit in ("h:m:s", "d:m:s") else unit
    kind = base.pop()
    if kind == "colon":
        if unit in ("hourangle", "h:m:s"):
            kind = "h"
        else:
            kind = "d" if unit is not None or role == "dec" or largest >= 24 else "h"
    if role == "dec" and kind == "h":
        raise InputError(f"{name}: declinations in hours; write degrees")
    return numbers, "hourangle" if kind == "h" else "deg"
