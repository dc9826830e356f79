"""Catalogues: which column is what, and which rows to keep."""

import operator
import re
from pathlib import Path

import numpy as np
from astropy.table import QTable, Table

from galzoo.errors import InputError

# Names by which surveys know a column, best first; capitals do not matter. SExtractor, CANDELS, 3D-HST, SDSS, Rubin.
KNOWN = {
    "id": ("id", "number", "objid", "object_id", "objectid", "source_id", "ident", "id_1", "name"),
    "ra": ("ra", "ra_j2000", "alpha_j2000", "alphawin_j2000", "raj2000", "ra_1", "radeg", "coord_ra", "alpha"),
    "dec": ("dec", "dec_j2000", "delta_j2000", "deltawin_j2000", "dej2000", "dec_1", "dedeg", "coord_dec", "delta"),
    "x": ("x", "xwin_image", "x_image", "xpos"),
    "y": ("y", "ywin_image", "y_image", "ypos"),
    "segment": ("segment", "seg_id", "segmentation_id"),
}
# SExtractor counts pixels from 1.
_ONE_BASED = ("xwin_image", "x_image", "ywin_image", "y_image")
_TESTS = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_CLAUSE = re.compile(r"\s*(\S+?)\s*(<=|>=|==|!=|<|>|=)\s*(.+?)\s*")


def read_table(path):
    """Read a catalogue of any format that astropy knows (FITS, ECSV, CSV, ASCII, VOTable).

    Raises
    ------
    InputError
        If the file is missing, cannot be read, or has no rows.
    """
    import warnings

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such catalogue; check the path")
    with warnings.catch_warnings():
        # Units that astropy does not know and the like: the values are read all the same.
        warnings.simplefilter("ignore")
        table = _read(path)
    if not len(table):
        raise InputError(f"{path}: the catalogue has no rows; nothing to cut")
    return table


def _read(path):
    errors = []
    text = path.suffix.lower() in (".cat", ".txt", ".dat", ".asc")
    for form in ("ascii.sextractor", "ascii.commented_header", "ascii") if text else (None, "ascii"):
        try:
            return Table.read(path, format=form)
        except Exception as error:  # astropy readers raise whatever the file makes them
            errors.append((str(error).splitlines() or [type(error).__name__])[0])
    raise InputError(f"{path}: not a catalogue that can be read ({errors[0]}); give FITS, ECSV, CSV or ASCII")


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
    found = {}
    lower = {column.lower(): column for column in reversed(table.colnames)}
    for role, names in KNOWN.items():
        if role in mapping:
            if mapping[role] not in table.colnames:
                raise InputError(f"{name}: no column {mapping[role]!r} for {role}; it has {columns}")
            found[role] = mapping[role]
        else:
            match = next((lower[known] for known in names if known in lower), None)
            if match is not None:
                found[role] = match
    if not ({"ra", "dec"} <= set(found) or {"x", "y"} <= set(found)):
        raise InputError(f"{name}: no positions; map ra and dec, or x and y, to its columns: {columns}")
    return found


def pixel_position(table, found, role):
    """Return the 0-based pixel coordinate ``x`` or ``y`` of a table, (n,)."""
    values = plain(table[found[role]]).astype(float)
    return values - 1 if found[role].lower() in _ONE_BASED else values


def sky_position(table, found, role):
    """Return ``ra`` or ``dec`` in degrees, (n,)."""
    from astropy import units as u

    column = table[found[role]]
    unit = getattr(column, "unit", None)
    values = plain(column).astype(float)
    return values if unit is None else (values * u.Unit(unit)).to_value(u.deg)


def plain(column):
    """Return a column as a plain array: masked numbers as NaN or -1, text as str."""
    values = np.ma.asarray(getattr(column, "value", column))
    if values.dtype.kind == "S":
        values = np.ma.asarray(np.char.decode(values.filled(b""), "utf-8", "replace"))
    if values.dtype.kind == "O":
        values = np.ma.asarray(values.filled("").astype(str))
    if not np.ma.is_masked(values):
        return np.asarray(values.data)
    return values.filled({"f": np.nan, "i": -1, "u": 0, "b": False}.get(values.dtype.kind, ""))


def select(table, where, name="catalogue"):
    """Return the rows that pass simple tests.

    Parameters
    ----------
    table : Table
    where : str
        ``COLUMN OP VALUE`` joined by commas, ``&`` or ``and``, e.g. ``"mag<24, star=0"``. Nothing is evaluated.
    name : str
        What to call the catalogue in errors.

    Raises
    ------
    InputError
        If a test cannot be read, names no column, or no row passes.
    """
    keep = np.ones(len(table), bool)
    for clause in re.split(r",|&+|\band\b", where):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise InputError(f"cannot read {clause.strip()!r} in {where!r}; write COLUMN<VALUE, joined by commas")
        column, test, text = match.groups()
        if column not in table.colnames:
            raise InputError(f"{name}: no column {column!r} to select by; it has {', '.join(table.colnames)}")
        values = plain(table[column])
        if values.ndim != 1:
            raise InputError(f"{name}: column {column!r} has several values a row; select by another")
        if values.dtype.kind == "U":
            value = text.strip("'\"")
        else:
            try:
                value = {"true": 1.0, "false": 0.0}.get(text.lower()) if text.isalpha() else float(text)
                value = float(text) if value is None else value
            except ValueError:
                raise InputError(f"{text!r} in {where!r} is no number, but column {column!r} holds numbers") from None
        keep &= _TESTS[test](values, value)
    if not keep.any():
        raise InputError(f"{name}: no row passes {where!r} of {len(table)}; loosen it")
    return table[keep]


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
