"""Saved models made smaller for shipping."""

import io
import zipfile

import numpy as np

# Bits of the mantissa that are kept of large arrays of weights: relative errors below 6.2e-5.
_BITS = 13
# Arrays of fewer numbers are kept exactly: scales, ranges and calibrations are among them.
_LARGE = 4096


def round_mantissa(values):
    """Round float32 numbers to 13 bits of mantissa, ties away from zero; the shape is kept."""
    drop = 23 - _BITS
    bits = np.ascontiguousarray(values, "float32").view(np.uint32)
    return ((bits + np.uint32(1 << (drop - 1))) >> np.uint32(drop) << np.uint32(drop)).view(np.float32)


def pack_model(source, target):
    """Copy a ``.keras`` file with its large arrays of weights rounded and all of it compressed.

    Parameters
    ----------
    source, target : Path

    Notes
    -----
    Rounded numbers end in zeros, which compress: a file becomes smaller by a third. Keras reads it as any other.
    """
    import h5py

    with (
        zipfile.ZipFile(source) as given,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for member in given.infolist():
            content = given.read(member)
            if member.filename.endswith(".h5"):
                content = _rounded(content, h5py)
            # The date is kept, so that the same model gives the same file.
            packed.writestr(zipfile.ZipInfo(member.filename, member.date_time), content, zipfile.ZIP_DEFLATED, 9)


def _rounded(content, h5py):
    """Return an HDF5 file, as bytes, with its large float32 arrays rounded."""
    held = io.BytesIO(content)
    with h5py.File(held, "r+") as file:

        def visit(_, item):
            if isinstance(item, h5py.Dataset) and item.dtype == np.float32 and item.size >= _LARGE:
                item[...] = round_mantissa(item[...])

        file.visititems(visit)
    return held.getvalue()
