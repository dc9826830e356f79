"""Catalogues: which column is what, their values as plain arrays, and which rows to keep."""

import numpy as np
from astropy.table import QTable

from galzoo.data.coordinates import PIXEL_NAMES, SKY_NAMES, degrees, frame_name, is_one_based
from galzoo.data.tables import read_table
from galzoo.data.where import select
from galzoo.errors import InputError

__all__ = ["KNOWN", "find_columns", "pixel_position", "plain", "read_table", "select", "sky_positions", "to_quantities"]

# Names by which surveys know a column, best first; capitals do not matter. SExtractor, CANDELS, 3D-HST, SDSS, Rubin.
KNOWN = {
    "id": ("id", "number", "objid", "object_id", "objectid", "source_id", "ident", "id_1", "name"),
    "ra": tuple(dict.fromkeys(first for first, _ in SKY_NAMES)),
    "dec": tuple(dict.fromkeys(second for _, second in SKY_NAMES)),
    "x": tuple(first for first, _ in PIXEL_NAMES),
    "y": tuple(second for _, second in PIXEL_NAMES),
    "segment": ("segment", "seg_id", "segmentation_id"),
}


def find_columns(table, mapping=None, name="catalogue"):
    """Return which column of a table is id, ra, dec, x, y, segment.

    Parameters
    ----------
    table : Table
    mapping : dict, optional
        Names that win over the known ones, e.g. ``{"ra": "RA_ICRS"}``.
    name : str
        What to call the catalogue in errors.

    Returns
    -------
    dict
        Role to column name; roles that are absent are left out.

    Raises
    ------
    InputError
        If neither a pair of coordinates nor of pixel positions is there, or a mapped column is absent.
    """
    mapping = mapping or {}
    columns = ", ".join(table.colnames)
    odd = sorted(set(mapping) - set(KNOWN))
    if odd:
        raise InputError(f"column role {odd[0]!r} is unknown; use {', '.join(KNOWN)}")
    lower = {}
    for column in table.colnames:
        lower.setdefault(column.lower(), []).append(column)
    found = {}
    for role, column in mapping.items():
        if column not in table.colnames:
            raise InputError(f"{name}: no column {column!r} for {role}; it has {columns}")
        found[role] = column
    for role in ("id", "segment"):
        match = next((known for known in KNOWN[role] if known in lower), None)
        if role not in found and match is not None:
            found[role] = lower[match][0]
    for roles, pairs in ((("ra", "dec"), SKY_NAMES), (("x", "y"), PIXEL_NAMES)):
        pair = next(
            (pair for pair in pairs if all(r in mapping or n in lower for r, n in zip(roles, pair, strict=True))), ()
        )
        for role, known in zip(roles, pair, strict=False):
            if role not in mapping:
                if len(lower[known]) > 1:
                    raise InputError(
                        f"{name}: {' and '.join(lower[known])} may both be {role}; map {role} to one of them"
                    )
                found[role] = lower[known][0]
    if not ({"ra", "dec"} <= set(found) or {"x", "y"} <= set(found)):
        raise InputError(f"{name}: no positions; map ra and dec, or x and y, to its columns: {columns}")
    return found


def pixel_position(table, found, role):
    """Return the 0-based pixel coordinate ``x`` or ``y`` of a table, (n,)."""
    column = table[found[role]]
    values = plain(column)
    if values.dtype.kind not in "fiu" or values.ndim != 1:
        raise InputError(f"column {found[role]}: holds no pixel positions; map {role} to a column of numbers")
    unit = getattr(column, "unit", None)
    if getattr(unit, "physical_type", "unknown") in ("angle", "length"):
        raise InputError(f"column {found[role]}: is in {unit}, not in pixels; map {role} to another column")
    return values.astype(float) - (1 if is_one_based(found[role]) else 0)


def sky_positions(table, found):
    """Return longitude and latitude in degrees, (n,) each, and the name of their frame.

    Returns
    -------
    lon, lat : float64 arrays, (n,)
    frame : str
        "icrs" or another of astropy's; "image" for that of the image's WCS, "j2000" for ICRS or, on an image in FK5, that.

    Raises
    ------
    InputError
        If the columns do not belong together, or hold no coordinates.
    """
    frames = {frame_name(found[role]) for role in ("ra", "dec")}
    if len(frames) > 1:
        raise InputError(f"columns {found['ra']} and {found['dec']} are of two frames; map ra and dec to a pair")
    lon, lat = (
        degrees(table[found[role]], plain(table[found[role]]), f"column {found[role]}", role) for role in ("ra", "dec")
    )
    return lon, lat, frames.pop()


def plain(column):
    """Return a column as a plain array: masked numbers as NaN or -1 (0 where there is no -1), text as str."""
    return _masked(column)[0]


def missing(column):
    """Return where a column has no value: masked, NaN or None, a bool array of its shape."""
    return _masked(column)[1]


def _masked(column):
    """Return plain values and where they are missing."""
    value = getattr(column, "value", column)
    if hasattr(value, "unmasked"):
        # Quantities have a mask of another kind than columns.
        value = np.ma.MaskedArray(np.asarray(value.unmasked), np.asarray(value.mask))
    values = np.ma.asarray(value)
    if values.dtype.kind == "O":
        values = _of_objects(values)
    if values.dtype.kind == "S":
        values = np.ma.MaskedArray(np.char.decode(values.filled(b""), "utf-8", "replace"), np.ma.getmaskarray(values))
    if values.dtype.kind in "mM":
        values = np.ma.MaskedArray(values.filled().astype(str), np.ma.getmaskarray(values))
    mask = np.ma.getmaskarray(values)
    if values.dtype.names:
        raise InputError(f"a column holds records ({', '.join(values.dtype.names)}); keep one value a column")
    data = np.array(values.data)
    if mask.any():
        data[mask] = {"f": np.nan, "c": np.nan, "i": -1, "u": 0, "b": False}.get(values.dtype.kind, "")
    return data, mask | (np.isnan(data) if data.dtype.kind in "fc" else False)


def _of_objects(values):
    """Return objects as numbers where they are all numbers or None, and else as text."""
    mask = np.ma.getmaskarray(values) | np.array([one is None for one in values.data.ravel()]).reshape(values.shape)
    held = values.data[~mask].tolist()
    if held and all(isinstance(one, (bool, np.bool_)) for one in held):
        kind, fill = bool, False
    elif held and all(isinstance(one, (int, np.integer)) and -(2**63) <= one < 2**63 for one in held):
        kind, fill = np.int64, -1
    elif held and all(isinstance(one, (int, float, np.number)) and abs(one) < 2**53 or one != one for one in held):
        kind, fill = float, np.nan
    else:
        kind, fill = str, ""
        held = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in held]
    data = np.full(values.shape, fill, kind if kind is not str else f"U{max([1, *map(len, held)])}")
    data[~mask] = held
    return np.ma.MaskedArray(data, mask)


def _readable(unit):
    """Return whether a unit can be written as text and read again."""
    from astropy import units as u

    try:
        return unit is not None and u.Unit(unit.to_string()) == unit
    except (ValueError, TypeError, AttributeError):
        return False


def to_quantities(table, reserved=()):
    """Return the columns as a QTable that a stamp file can hold; `reserved` names get ``_mosaic`` behind them."""
    result = QTable()
    for name in table.colnames:
        column = table[name]
        values = plain(column)
        unit = getattr(column, "unit", None)
        new = f"{name}_mosaic" if name in reserved else name.replace("/", "_")
        result[new] = values * unit if values.dtype.kind in "fiu" and _readable(unit) else values
    return result
