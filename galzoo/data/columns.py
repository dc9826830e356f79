"""Catalogues: which column is what, their values as plain arrays, and which rows to keep."""

from astropy.table import QTable

from galzoo.data.coordinates import ID_NAMES, PIXEL_NAMES, SKY_NAMES, degrees, frame_name, is_one_based
from galzoo.data.plain import beyond_reals, plain
from galzoo.data.tables import read_table
from galzoo.data.where import select
from galzoo.errors import InputError

__all__ = ["KNOWN", "find_columns", "pixel_position", "plain", "read_table", "select", "sky_positions", "to_quantities"]

# Names by which surveys know a column, best first; capitals do not matter. SExtractor, CANDELS, 3D-HST, SDSS, Rubin.
KNOWN = {
    "id": ID_NAMES,
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
        "icrs" or another of astropy's; "image" for that of the image's WCS, "j2000" for ICRS, or FK5 on an image in it.

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


def _readable(unit):
    """Return whether a unit can be written as text and read again."""
    from astropy import units as u

    try:
        return unit is not None and u.Unit(unit.to_string()) == unit
    except (ValueError, TypeError, AttributeError):
        return False


def to_quantities(table, reserved=()):
    """Return the columns as a QTable that a stamp file can hold.

    `reserved` names get ``_mosaic`` behind them, and so does what would have the name of another column.
    """
    result, own = QTable(), {f"{name}_mosaic" for name in reserved}
    for name in table.colnames:
        column = table[name]
        values = plain(column)
        unit = getattr(column, "unit", None)
        new = f"{name}_mosaic" if name in reserved else name.replace("/", "_")
        while new in result.colnames or (name not in reserved and new in own | {*table.colnames} - {name}):
            new += "_mosaic"
        with_unit = values.dtype.kind in "fiu" and _readable(unit) and not beyond_reals(values)
        result[new] = values * unit if with_unit else values
    return result
