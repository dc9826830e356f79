"""Headers of a WCS, mended before wcslib reads them: it passes over, or takes otherwise, what older software wrote.

References
----------
Greisen & Calabretta 2002, A&A 395, 1061.
"""

import logging
import re

import numpy as np

from galzoo.errors import InputError

logger = logging.getLogger(__name__)

AXES = ("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT", "SLON", "SLAT")
"""Axes of the sky, as CTYPE begins."""
_OLD = re.compile(r"(PC|CD)00([12])00([12])")
# Equinoxes that coordinates may be of, and those that EPOCH, which may be the date of an exposure, is taken for.
_EQUINOXES, _EPOCHS = (1800.0, 2100.0), (1950.0, 2000.0)


def mended(header, name="image"):
    """Return a header as astropy takes it, without what it would read otherwise than it is meant.

    Parameters
    ----------
    header : astropy Header or mapping
    name : str
        What to call the image in errors.

    Raises
    ------
    InputError
        If a card can be meant in two ways, or in none.
    """
    from astropy.io.fits import Header
    from astropy.io.fits.card import Undefined

    header = Header(header)
    for key in {key for key, value in header.items() if isinstance(value, Undefined)}:
        header.remove(key, remove_all=True)
    for key in [key for key in header if _OLD.fullmatch(key)]:
        # Of a draft of the standard; wcslib would take such a PC before a CD of today.
        value = header.pop(key)
        header.setdefault(_OLD.sub(r"\1\2_\3", key), value)
    for key in ("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2"):
        if isinstance(header.get(key), str):
            header[key] = header[key].upper() if key.startswith("CTYPE") else header[key].lower()
        if re.fullmatch("degrees?", str(header.get(key))):
            header[key] = "deg"
    _numbers(header, name)
    kinds = [str(header.get(f"CTYPE{axis}", "")) for axis in (1, 2)]
    orders = [key for key in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER") if key in header]
    if orders and not any("-SIP" in kind for kind in kinds):
        # Drizzling leaves the coefficients of the exposures behind; by the convention they count only with the suffix.
        logger.warning("%s: SIP coefficients without -SIP in CTYPE were left out", name)
        for key in orders:
            del header[key]
    if any(kind[5:8] in ("TPV", "TAN") for kind in kinds) and "PV1_1" in header and "CDELT1" in header:
        _to_cd(header)
    return header


_NUMBERS = re.compile(r"(CRVAL|CRPIX|CDELT|CROTA)\d|(CD|PC|PV)\d_\d+|EQUINOX|EPOCH|LONPOLE|LATPOLE")
_MATRIX = [(i, j) for i in (1, 2) for j in (1, 2)]


def _numbers(header, name):
    """Mend numbers that are text, which wcslib passes over; refuse a WCS without them, or with two of one meaning."""
    for key, value in header.items():
        if isinstance(value, str) and _NUMBERS.fullmatch(key):
            try:
                header[key] = float(value.strip().lstrip("JB") if key in ("EQUINOX", "EPOCH") else value)
            except ValueError:
                raise InputError(f"{name}: {key} is {value!r}, no number; mend its WCS") from None
    kinds = [str(header.get(f"CTYPE{axis}", ""))[:4].strip("-") for axis in (1, 2)]
    if not set(kinds) <= set(AXES):
        return
    _check_equinox(header, kinds, name)
    absent = [f"{key}{axis}" for key in ("CRVAL", "CRPIX") for axis in (1, 2) if f"{key}{axis}" not in header]
    if absent:
        raise InputError(f"{name}: its WCS has no {absent[0]}; mend or remove it")
    cd, pc = ([[header.get(f"{key}{i}_{j}") for j in (1, 2)] for i in (1, 2)] for key in ("CD", "PC"))
    has_cd, has_pc = (any(value is not None for row in matrix for value in row) for matrix in (cd, pc))
    step = [header.get("CDELT1"), header.get("CDELT2")]
    if header.get("CROTA1") and not (header.get("CROTA2") or has_cd or has_pc):
        raise InputError(f"{name}: CROTA1 turns its WCS, and only CROTA2 has a meaning; write that, or remove it")
    if not has_cd and not has_pc and None in step:
        raise InputError(f"{name}: its WCS has no pixel scale (CD, or CDELT); mend or remove it")
    if not (has_cd and has_pc):
        return
    # The standard has one of the two; wcslib takes PC, most others CD.
    cd = np.array([[value or 0.0 for value in row] for row in cd], float)
    pc = np.array([[float(i == j) if pc[i][j] is None else pc[i][j] for j in (0, 1)] for i in (0, 1)], float)
    step = np.array([1.0 if value is None else value for value in step], float)
    same = np.allclose(step[:, None] * pc, cd, rtol=1e-3, atol=1e-3 * np.abs(cd).max())
    if not same and not (np.array_equal(pc, np.eye(2)) and np.array_equal(step, np.ones(2))):
        raise InputError(f"{name}: its WCS has CD and PC, which contradict each other; remove one of the two")
    for key in (*(f"PC{i}_{j}" for i, j in _MATRIX), "CDELT1", "CDELT2"):
        header.remove(key, ignore_missing=True)


def _check_equinox(header, kinds, name):
    """Raise `InputError` where the equinox is none, or may be the date of the exposure."""
    system = str(header.get("RADESYS") or header.get("RADECSYS") or "").strip().upper()
    if system == "ICRS" or not {"RA", "ELON"} & set(kinds):
        return
    equinox, epoch = header.get("EQUINOX"), header.get("EPOCH")
    if equinox is not None and not _EQUINOXES[0] < equinox < _EQUINOXES[1]:
        raise InputError(f"{name}: EQUINOX is {equinox}, no year of coordinates; mend or remove it")
    if equinox is None and not system and epoch is not None and epoch not in _EPOCHS:
        raise InputError(
            f"{name}: EPOCH {epoch} may be the equinox or the date; write EQUINOX in its place, or remove it"
        )


def _to_cd(header):
    """Write CDELT and PC or CROTA2 as CD: the polynomials are in degrees, and wcslib would put pixels into them."""
    if any(key.startswith("CD1_") or key.startswith("CD2_") for key in header):
        return
    turn = np.deg2rad(header.get("CROTA2", 0.0))
    scale = np.array([header["CDELT1"], header.get("CDELT2", 1.0)], float)
    if any(key.startswith(("PC1_", "PC2_")) for key in header):
        matrix = [[header.get(f"PC{i}_{j}", float(i == j)) for j in (1, 2)] for i in (1, 2)]
        cd = scale[:, None] * np.array(matrix, float)
    else:
        # Greisen & Calabretta 2002, equations 189 to 191.
        cd = np.array([[np.cos(turn), -np.sin(turn) * scale[1] / scale[0]],
                       [np.sin(turn) * scale[0] / scale[1], np.cos(turn)]]) * scale[:, None]  # fmt: skip
    for key in ("CDELT1", "CDELT2", "CROTA1", "CROTA2", "PC1_1", "PC1_2", "PC2_1", "PC2_2"):
        header.remove(key, ignore_missing=True)
    for i, j in _MATRIX:
        header[f"CD{i}_{j}"] = float(cd[i - 1, j - 1])
