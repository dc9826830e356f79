"""Labels of stamps from a table, and which of them are used."""

import dataclasses

import numpy as np

from galzoo.data.plain import ABSENT
from galzoo.errors import InputError, UnknownNameError

# More classes than this are a quantity or an identifier.
_MOST = 50
_SHOWN = 5


@dataclasses.dataclass
class Labels:
    """Classes of n stamps.

    Parameters
    ----------
    names : list of str
        Of the classes, in order.
    number : int array, (n,)
        Class of each stamp, -1 = not known.
    notes : list of str
        What was left out, and why.
    """

    names: list
    number: np.ndarray
    notes: list = dataclasses.field(default_factory=list)

    def counts(self):
        """Return the number of stamps of each class, (class,)."""
        return np.bincount(self.number[self.number >= 0], minlength=len(self.names))


def read_labels(path, column, catalogue, unknown=(), least=5, match=None):
    """Read labels from a table of any format that a catalogue may have.

    Parameters
    ----------
    path : str or Path
        See `galzoo.data.tables.read_table`.
    column : str
        Name of the column of labels.
    catalogue : QTable
        Of the stamps.
    unknown, least
        As for `labels_of`.
    match : str, optional
        Column by which rows are those of the stamps; by default ``id`` where both have it, else the order of the rows.

    Returns
    -------
    Labels

    Raises
    ------
    InputError
        If the table cannot be read or its rows are not those of the stamps.
    UnknownNameError
        If there is no such column.
    """
    from galzoo.data.tables import read_table

    table = read_table(path, match)
    if column not in table.colnames:
        raise UnknownNameError.of("column", column, table.colnames)
    values, known = _values(table[column])
    if match is None and "id" in table.colnames and "id" in catalogue.colnames:
        match = "id"
    if match is None:
        if len(table) != len(catalogue):
            raise InputError(
                f"{path}: has {len(table)} rows and no column 'id', the stamps are {len(catalogue)}; give one row a "
                "stamp, or name the column that both have with --match"
            )
        return labels_of(np.where(known, values, ""), unknown, least, f"{path}: {column}")
    for columns, owner in ((table.colnames, str(path)), (catalogue.colnames, "the stamps")):
        if match not in columns:
            raise InputError(f"{owner}: no column {match!r} to match rows by; there are {', '.join(columns[:20])}")
    keys, named = _values(table[match])
    known &= named & ~np.isin(values, [str(value) for value in unknown])
    given = {}
    for key, value in zip(keys[known], values[known], strict=True):
        if given.setdefault(key, value) != value:
            raise InputError(
                f"{path}: {match} {key} is both {str(given[key])!r} and {str(value)!r}; give one label an object"
            )
    own = _values(catalogue[match])[0]
    found = np.array([given.get(key, "") for key in own], dtype=str)
    if len(own) and not (found != "").any():
        raise InputError(
            f"{path}: none of its {len(given)} labelled {match}s, such as {next(iter(given), '(none)')}, is among the "
            f"stamps, such as {own[0]}"
        )
    return labels_of(found, unknown, least, f"{path}: {column}")


def labels_of(values, unknown=(), least=5, name="labels"):
    """Make classes of a column.

    Parameters
    ----------
    values : array, (n,)
        Text, integers or booleans; "", NaN and masked values are not known.
    unknown : sequence
        Values that stand for "not known" too.
    least : int
        Classes with fewer labels are left out, and that is noted.
    name : str
        What to call the column in errors.

    Returns
    -------
    Labels
        Classes of numbers in their order, of text in that of the alphabet.

    Raises
    ------
    InputError
        If values are no classes, or fewer than two are left.
    """
    if least < 2:
        raise InputError(f"least is {least}; a class needs at least 2 labels, one to learn from and one to check")
    text, known = _values(values)
    known = known & ~np.isin(text, [str(value) for value in unknown])
    found, count = np.unique(text[known], return_counts=True)
    if any(_is_fraction(value) for value in found):
        odd = next(value for value in found if _is_fraction(value))
        raise InputError(f"{name}: holds {odd}, a quantity and no class; cut it into classes first")
    if len(found) > _MOST:
        raise InputError(f"{name}: has {len(found)} different values; at most {_MOST} are classes")
    rare = {str(value): int(number) for value, number in zip(found, count, strict=True) if number < least}
    kept = sorted((str(value) for value in found if str(value) not in rare), key=_order)
    if len(kept) < 2:
        said = ", ".join(f"{value} {number}" for value, number in zip(found[:_SHOWN], count[:_SHOWN], strict=True))
        raise InputError(f"{name}: two classes with at least {least} labels are needed; there are: {said or 'none'}")
    number = np.full(len(text), -1)
    for position, value in enumerate(kept):
        number[known & (text == value)] = position
    notes = [f"class {value} left out: {n} labels, fewer than {least}" for value, n in rare.items()]
    return Labels(kept, number, notes)


def _values(column):
    """Return a column as text, whole numbers without a point, and which values are known."""
    plain = np.ma.asarray(getattr(column, "value", column))
    if plain.ndim != 1:
        raise InputError(f"labels have the shape {plain.shape}; give one a stamp")
    known = ~np.ma.getmaskarray(plain)
    plain = np.asarray(np.ma.getdata(plain))
    if plain.dtype.kind == "f":
        known &= np.isfinite(plain)
        plain = np.where(known, plain, 0.0)
        if np.all(plain == np.round(plain)) and np.all(np.abs(plain) < 2**53):
            plain = plain.astype(np.int64)
    elif plain.dtype.kind in "SO":
        plain = np.array([value.decode() if isinstance(value, bytes) else str(value) for value in plain], dtype=str)
    text = np.char.strip(plain.astype(str))
    return text, known & ~np.isin(text, ABSENT)


def _is_fraction(text):
    number = _number(text)
    return number is not None and number != round(number)


def _number(text):
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _order(text):
    number = _number(text)
    return (number is None, number or 0.0, text)
