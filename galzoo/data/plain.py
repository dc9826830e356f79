"""Columns of any kind as plain arrays, and which of their values are missing."""

import logging

import numpy as np

from galzoo.errors import InputError

logger = logging.getLogger(__name__)

ABSENT = ("", "nan", "NaN", "NAN", "null", "Null", "NULL", "n/a", "N/A", "NA", "None", "--")
"""Text that stands for no value; "none" and "na" in small letters may be classes."""
# Numbers that do so in many catalogues; those above 0 in columns of reals alone.
_MARKS = np.array([-99999, -9999, -999.9, -999, -99.99, -99.9, -99, 99, 99.9, 99.99, 999, 9999, 99999])
# Nothing else in the column is beyond this part of them.
_FAR = 0.5


def plain(column):
    """Return a column as a plain array: masked numbers as NaN or -1 (0 where there is no -1), text as str."""
    return _masked(column)[0]


def missing(column):
    """Return where a column has no value: masked, NaN or None, a bool array of its shape."""
    return _masked(column)[1]


def identifiers(column, name="column"):
    """Return what objects are called as text, (n,): whole numbers without a point, "" where there is nothing.

    Parameters
    ----------
    column : Column or array
    name : str
        What to call it in warnings.
    """
    values, absent = _masked(column)
    if values.dtype.kind == "f" and (absent | (values == np.round(values))).all():
        limit = 2.0 ** (np.finfo(values.dtype).nmant + 1)
        if np.any(np.abs(values[~absent]) > limit):
            logger.warning(
                "%s: numbers above %.0f as %s have lost their last digits; keep them as integers or text",
                name, limit, values.dtype,
            )  # fmt: skip
        text = np.array([f"{value:.0f}" for value in values.tolist()], str)
    else:
        text = np.char.strip(values.astype(str))
    return np.where(absent, "", text)


def check_whole(labels, name):
    """Raise `InputError` where labels are reals with fractions, which whole numbers would drop."""
    odd = labels[labels != np.round(labels)] if labels.dtype.kind == "f" else labels[:0]
    if odd.size:
        raise InputError(f"{name}: labels with fractions ({odd.flat[0]:.4g}); give whole numbers, 0 where no source is")


def beyond_reals(values):
    """Return whether there are integers that reals cannot tell from their neighbours; with a unit they become reals."""
    values = np.asarray(values)
    return values.dtype.kind in "iu" and bool(np.any((values > 2**53) | (values < -(2**53))))


def marks_of_missing(values):
    """Return numbers such as -99 that stand for a missing value in many catalogues, number to how many there are.

    Parameters
    ----------
    values : array, (n,)
        Those count that are more than twice as far from 0 as all else.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fi":
        return {}
    values = values[np.isfinite(values)].astype(float)
    which = np.isclose(values[:, None], _MARKS, rtol=1e-6).any(axis=1)
    marked, rest = values[which], np.abs(values[~which])
    if not len(rest) or not len(marked):
        return {}
    found = {}
    for number, count in zip(*np.unique(np.round(marked, 2), return_counts=True), strict=True):
        if rest.max() < _FAR * abs(number) and (number < 0 or np.any(rest != np.round(rest))):
            found[float(number)] = int(count)
    return found


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
    if values.dtype.kind == "U" and "\0" in "".join(values.data.ravel().tolist()):
        # Text ends there in FITS, and HDF5 holds none with it.
        ended = np.array([text.partition("\0")[0] for text in values.data.ravel().tolist()], str)
        values = np.ma.MaskedArray(ended.reshape(values.shape), np.ma.getmaskarray(values))
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
    elif held and all(isinstance(one, (int, float, np.number)) and not abs(one) >= 2**53 for one in held):
        kind, fill = float, np.nan
    else:
        kind, fill = str, ""
        held = [_text(one) for one in held]
    data = np.full(values.shape, fill, kind if kind is not str else f"U{max([1, *map(len, held)])}")
    data[~mask] = held
    return np.ma.MaskedArray(data, mask)


def _text(one):
    """Return an object as text; letters in an array, as FITS has text of variable length, are a word."""
    if isinstance(one, np.ndarray) and one.dtype.kind in "US":
        return "".join(one.astype(str).ravel().tolist())
    return one.decode("utf-8", "replace") if isinstance(one, bytes) else " ".join(str(one).split())
