"""A short `repr` for data classes of large arrays: what there is and of which shape, not the numbers."""

import dataclasses
import html

import numpy as np

# Characters of any other value.
_MOST = 60


class Brief:
    """Base of data classes (made with ``repr=False``) that show their arrays by shape and type, in text and in HTML."""

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in _fields(self))})"

    def _repr_html_(self):
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in _fields(self)
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def counted(number, noun):
    """Return a number and what it counts: ``1 star``, ``2 stars``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _fields(value):
    values = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr)
    return [(name, _short(one)) for name, one in values if one is not None and not (isinstance(one, dict) and not one)]


def _short(value):
    if isinstance(value, np.ndarray) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        # A table has both too.
        columns = getattr(value, "colnames", None)
        if columns is None:
            return f"<{' x '.join(map(str, value.shape))} {value.dtype}>" if value.shape else str(value)
    if hasattr(value, "colnames"):
        return f"<table of {counted(len(value), 'row')}: {_cut(', '.join(value.colnames))}>"
    if isinstance(value, dict):
        return f"{{{_cut(', '.join(map(str, value)))}}}"
    return _cut(repr(value))


def _cut(text):
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."
