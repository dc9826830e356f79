"""What a stamp file holds, in words."""

import numpy as np

from galzoo.data import hdf5

_MOST_COLUMNS = 24


def describe(path):
    """Return lines that say what is in a stamp file: header, planes, catalogue columns with their ranges."""
    header = hdf5.read_header(path)
    unit, survey = header["unit"] or "none (display-stretched)", header["survey"] or "-"
    size = " x ".join(str(size) for size in header["shape"])
    lines = [
        f"{path}: {header['n']} stamps of {size} pixels, {header['pixel_scale']:g} arcsec each",
        f"bands: {', '.join(header['bands'])}; unit: {unit}; survey: {survey}",
        f"planes: {', '.join(header['keys'])}",
    ]
    lines += [f"{key}: {value}" for key, value in header["meta"].items() if isinstance(value, (str, int, float))]
    lines.append("catalogue:")
    for name, values in list(hdf5.read_columns(path).items())[:_MOST_COLUMNS]:
        unit = f" [{header['columns'][name]}]" if header["columns"][name] else ""
        lines.append(f"  {name}{unit}: {_range(values)}")
    hidden = len(header["columns"]) - _MOST_COLUMNS
    if hidden > 0:
        lines.append(f"  and {hidden} more columns")
    return lines


def _range(values):
    if values.dtype.kind in "US":
        return f"{len(np.unique(values))} different, e.g. {values[0]!s}" if len(values) else "empty"
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return "no finite value"
    return f"{finite.min():.5g} to {finite.max():.5g}, median {np.median(finite):.5g}"
