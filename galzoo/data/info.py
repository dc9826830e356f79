"""What a file holds, in words."""

import numpy as np

from galzoo.brief import counted
from galzoo.data import hdf5, scenes_hdf5
from galzoo.data.info_fits import describe_fits
from galzoo.data.open_source import SOURCES, read_header
from galzoo.data.tables import is_fits

_MOST_COLUMNS = 24


def describe(path):
    """Return lines that say what is in a stamp or scene file: header, planes, and columns with their ranges.

    Of a FITS file see `galzoo.data.info_fits.describe_fits`.
    """
    if is_fits(path):
        return describe_fits(path)
    header = read_header(path)
    kind = header["kind"]
    unit, survey = header["unit"] or "none (display-stretched)", header["survey"] or "-"
    size = " x ".join(str(size) for size in header["shape"])
    lines = [
        f"{path}: {counted(header['n'], kind[:-1])} of {size} pixels, {header['pixel_scale']:g} arcsec each",
        f"bands: {', '.join(header['bands'])}; unit: {unit}; survey: {survey}",
        f"planes: {', '.join(header['keys'])}",
    ]
    lines += [f"{key}: {value}" for key, value in header["meta"].items() if isinstance(value, (str, int, float))]
    lines += _table("catalogue", hdf5.read_columns(path, form=SOURCES[kind].form), header["columns"])
    if kind == "scenes":
        lines += _table(
            counted(header["n_sources"], "source"), scenes_hdf5.read_sources(path), header["source_columns"]
        )
    return lines


def _table(name, columns, units):
    lines = [f"{name}:"]
    for column, values in list(columns.items())[:_MOST_COLUMNS]:
        unit = f" [{units[column]}]" if units[column] else ""
        lines.append(f"  {column}{unit}: {_range(values)}")
    hidden = len(columns) - _MOST_COLUMNS
    return [*lines, f"  and {hidden} more columns"] if hidden > 0 else lines


def _range(values):
    if values.dtype.kind in "US":
        return f"{len(np.unique(values))} different, e.g. {values[0]!s}" if len(values) else "empty"
    if values.dtype.kind not in "fiub":
        return f"{values.dtype}"
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return "no finite value"
    return f"{finite.min():.5g} to {finite.max():.5g}, median {np.median(finite):.5g}"
