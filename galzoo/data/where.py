"""Rows of a catalogue by simple tests, without evaluating anything."""

import logging
import math
import operator
import re
from decimal import Decimal, InvalidOperation

import numpy as np

from galzoo.data.plain import marks_of_missing, missing, plain
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

_TESTS = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_QUOTED = r"\"[^\"]*\"|'[^']*'"
_CLAUSE = re.compile(rf"\s*({_QUOTED}|\S+?)\s*(<=|>=|==|!=|<|>|=)\s*({_QUOTED}|.+?)\s*")
_PARTS = re.compile(rf"({_QUOTED})|,|&+|\band\b")


def select(table, where, name="catalogue"):
    """Return the rows of a table that pass simple tests; arguments are those of `passing`."""
    return table[passing(table, where, name)]


def passing(table, where, name="catalogue"):
    """Return which rows of a table pass simple tests, a bool array.

    Parameters
    ----------
    table : Table
    where : str
        ``COLUMN OP VALUE`` joined by commas, ``&`` or ``and``, e.g. ``"mag<24, star=0"``; names and text may be quoted.
        Integers are compared exactly, however large. A missing value (masked or NaN) passes no test.
    name : str
        What to call the catalogue in errors.

    Raises
    ------
    InputError
        If a test cannot be read, names no column, cannot be decided by what the column holds, or no row passes.
    """
    keep, marked = np.ones(len(table), bool), {}
    for clause in _clauses(where):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise InputError(f"cannot read {clause.strip()!r} in {where!r}; write COLUMN<VALUE, joined by commas")
        column, test, text = match.groups()
        column = _unquoted(column)
        if column not in table.colnames:
            raise InputError(f"{name}: no column {column!r} to select by; it has {', '.join(table.colnames)}")
        values = plain(table[column])
        if values.ndim != 1:
            raise InputError(f"{name}: column {column!r} has several values a row; select by another")
        if values.dtype.kind == "U":
            if test not in ("=", "==", "!="):
                raise InputError(f"{name}: column {column!r} holds text, which is not {test} anything; use = or !=")
            passed = _TESTS[test](np.char.strip(values), _unquoted(text))
        elif values.dtype.kind in "iu":
            passed = _integers(values, test, _number(text, column, where))
        else:
            passed = _reals(values, test, _number(text, column, where), column, name)
        keep &= passed & ~missing(table[column])
        marked[column] = marks_of_missing(values) if values.dtype.kind in "fi" else ()
    if not keep.any():
        raise InputError(f"{name}: no row passes {where!r} of {len(table)}; loosen it")
    for column, marks in marked.items():
        values = plain(table[column])[keep]
        for mark in marks:
            count = int(np.sum(np.isclose(values.astype(float), mark, rtol=1e-6)))
            if count:
                logger.warning(
                    "%s: of the rows that pass, %d have %s = %g, which marks what is not known in many catalogues; "
                    "leave them out by %s!=%g", name, count, column, mark, column, mark,
                )  # fmt: skip
    return keep


def _clauses(where):
    parts, start = [], 0
    for match in _PARTS.finditer(where):
        if match.group(1) is None:
            parts.append(where[start : match.start()])
            start = match.end()
    return [*parts, where[start:]]


def _unquoted(text):
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _number(text, column, where):
    """Return a number exactly as it is written."""
    text = _unquoted(text)
    if text.lower() in ("true", "false"):
        return Decimal(text.lower() == "true")
    try:
        found = Decimal(text.replace("_", "x"))
    except InvalidOperation:
        found = Decimal("nan")
    if found.is_nan():
        raise InputError(f"{text!r} in {where!r} is no number, but column {column!r} holds numbers")
    return found


def _integers(values, test, value):
    """Compare integers with a number exactly."""
    limits = np.iinfo(values.dtype)
    if test in ("=", "==", "!="):
        whole = value.is_finite() and value == value.to_integral_value() and limits.min <= value <= limits.max
        same = values == values.dtype.type(int(value)) if whole else np.zeros(len(values), bool)
        return ~same if test == "!=" else same
    # An integer is below 2.5 where it is below 3, and at most 2.5 where it is at most 2.
    if value.is_finite():
        whole = math.ceil(value) if test in ("<", ">=") else math.floor(value)
    else:
        whole = limits.max + 1 if value > 0 else limits.min - 1
    if not limits.min <= whole <= limits.max:
        return np.full(len(values), _TESTS[test](0, whole))
    return _TESTS[test](values, values.dtype.type(whole))


def _reals(values, test, value, column, name):
    if values.dtype.kind == "f" and value.is_finite():
        digits = np.finfo(values.dtype).nmant + 1
        if value == value.to_integral_value() and abs(value) > 2**digits and test in ("=", "==", "!="):
            raise InputError(
                f"{name}: column {column!r} is {values.dtype}, which cannot tell {value} from its neighbours; "
                "keep such numbers as integers or text"
            )
        return _TESTS[test](values, values.dtype.type(float(value)))
    return _TESTS[test](values.astype(float), float(value))
