"""A line of units below the names of a text table."""

import csv
import re
import warnings

from galzoo.data.coordinates import is_spelt
from galzoo.data.plain import ABSENT
from galzoo.errors import InputError

# Words for units that astropy does not know, for types, which say no unit, and for none.
_WORDS = {"px", "pixels", "mags", "magnitude", "magnitudes", "abmag", "mag_ab", "counts", "arcsecs", "arcseconds"}
_TYPES = {"float", "int", "integer", "real", "double", "str", "string"}
_NONE = {*ABSENT, "-", "...", "none"}
# Rows that say which columns hold numbers.
_ROWS = 20
_NUMBER = re.compile(r"[+-]?([.,]?\d).*")
# As in 1e-17 erg/s.
_SCALED = re.compile(r"[\d.]+([eE]|\^|\*\*)?[+-]?\d*\s*[*.]?\s*[A-Za-z]{2,}.*")


def take_units(name, names, rows, mark, refuse=True):
    """Return the rows of a text table without a line of units at their head, and these units; of none an empty list.

    Units are words above columns of numbers.

    Parameters
    ----------
    name : str
        What to call the file in errors.
    names : str
        The line with the names of the columns.
    rows : list of str
        The first may be a comment.
    mark : str or None
        What stands between fields; None for blanks.
    refuse : bool
        Whether words that are no units are an error.

    Returns
    -------
    rows, units : lists of str

    Raises
    ------
    InputError
        If words stand above all numbers and none is known as a unit, or there are too many or too few.
    """
    if len(rows) < 2:
        return rows, []
    refuse = refuse and not rows[0].startswith("#")
    columns, first = _fields(names, mark), _fields(rows[0].lstrip("# "), mark)
    if any(map(_is_number, first)):
        return rows, []
    below = [_fields(row, mark) for row in rows[1 : 1 + _ROWS] if not row.startswith("#")]
    values = [[row[number] for row in below if number < len(row)] for number in range(len(columns))]
    numeric = [number for number, column in enumerate(values) if _are_numbers(column)]
    words = [first[number] for number in numeric if number < len(first) and first[number] not in _NONE]
    if not words:
        return rows, []
    same = len(first) == len(columns)
    if len(numeric) == 1 and not all(_is_unit(field) or field in _NONE for field in first):
        # G and A are units: above one column of numbers the word may be a value.
        return rows, []
    if same and any(map(_is_unit, words)) and (refuse or all(map(_is_unit, words))):
        return rows[1:], ["" if unit in _NONE or unit.lower() in _TYPES else unit for unit in first]
    if refuse and len(numeric) > 1 and (not same or len(words) == len(numeric)):
        raise InputError(
            f"{name}: {rows[0].strip()!r} stands above numbers and is no line of units, one a column such as deg, pix, "
            "mag or -; mend it, or take it out"
        )
    return rows, []


def _fields(line, mark):
    fields = line.split() if mark is None else next(csv.reader([line], delimiter=mark))
    return [field.strip().strip("[]()\"'").strip() for field in fields]


def _is_number(text):
    return _NUMBER.fullmatch(text) is not None and not _SCALED.fullmatch(text)


def _are_numbers(column):
    return any(map(_is_number, column)) and all(text in _NONE or _is_number(text) for text in column)


def _is_unit(text):
    from astropy import units as u

    if text.lower() in _WORDS | _TYPES or is_spelt(text):
        return True
    try:
        with warnings.catch_warnings():
            # astropy warns of several slashes.
            warnings.simplefilter("ignore")
            u.Unit(text)
    except (ValueError, TypeError):
        return False
    return True
