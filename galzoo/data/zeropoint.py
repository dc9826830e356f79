"""AB magnitudes, nJy, and what one count of an image is in nJy."""

import math

import numpy as np

from galzoo.errors import InputError

# AB magnitude of 1 nJy: 8.9 + 22.5 (Oke & Gunn 1983, ApJ 266, 713; AB = 0 at 3631 Jy).
AB_NJY = 31.4
# Header keys that hold an AB zero point, in the order they are trusted.
ZERO_POINT_KEYS = ("MAGZERO", "MAGZPT", "PHOTZP", "ABMAGZP", "ABZP", "ZEROPNT", "MAGZP")
_UNITS = {"njy": 1.0, "ujy": 1e3, "microjy": 1e3, "mjy": 1e6, "jy": 1e9}
# Zero point of SDSS and Legacy Survey nanomaggies.
_NANOMAGGY = 22.5


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
        If the header has no zero point either.

    Notes
    -----
    HST's PHOTFLAM and PHOTPLAM give AB = -2.5 log10 PHOTFLAM - 5 log10 PHOTPLAM - 2.408 for electrons per second (ACS
    and WFC3 data handbooks); images in electrons are divided by EXPTIME. FLUXMAG0 is the count of AB magnitude 0 (HSC,
    Rubin).
    """
    if zero_point is not None:
        if not math.isfinite(zero_point):
            raise InputError(f"{name}: zero point {zero_point} is not a number; give AB magnitudes")
        return njy_per_count(zero_point)
    unit = str(header.get("BUNIT", "")).strip().lower().replace(" ", "")
    if unit in ("nanomaggy", "nanomaggies", "nmgy"):
        return njy_per_count(_NANOMAGGY)
    if unit == "mjy/sr":
        # Lower-casing loses the prefix: surface brightness comes in mega-jansky, fluxes in milli.
        area = header.get("PIXAR_A2") or pixel_area
        if not area:
            raise InputError(f"{name}: MJy/sr needs the size of a pixel; pass --pixel-scale")
        return 1e15 * area * (math.pi / 180 / 3600) ** 2
    if unit in _UNITS:
        return _UNITS[unit]
    for key in ZERO_POINT_KEYS:
        if isinstance(header.get(key), int | float) and math.isfinite(header[key]):
            return njy_per_count(header[key])
    if float(header.get("PHOTFLAM") or 0) > 0 and float(header.get("PHOTPLAM") or 0) > 0:
        found = -2.5 * math.log10(header["PHOTFLAM"]) - 5 * math.log10(header["PHOTPLAM"]) - 2.408
        time = float(header.get("EXPTIME") or 0) if unit in ("electrons", "electron", "counts") else 1.0
        if time <= 0:
            raise InputError(f"{name}: pixels are {unit} and EXPTIME is absent; pass --zero-point")
        return njy_per_count(found) / time
    if float(header.get("FLUXMAG0") or 0) > 0:
        return njy_per_count(2.5 * math.log10(header["FLUXMAG0"]))
    raise InputError(f'{name}: no zero point in the header; pass --zero-point (AB), or unit "" for no flux scale')
