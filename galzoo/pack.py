"""Saved models made smaller for shipping."""

import io
import zipfile

import numpy as np

# Bits of the mantissa that are kept of large arrays of weights: relative errors below 6.2e-5.
BITS = 13
# Arrays of fewer numbers are kept exactly: scales, ranges and calibrations are among them.
_LARGE = 4096
# Bytes of the same rank of numbers side by side compress better, and a whole array in one chunk by a seventh again.
_COMPRESSED = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def round_mantissa(values, bits=BITS):
    """Round float32 numbers to so many bits of mantissa, 1 to 22, ties away from zero; the shape is kept."""
    drop = 23 - bits
    whole = np.ascontiguousarray(values, "float32").view(np.uint32)
    return ((whole + np.uint32(1 << (drop - 1))) >> np.uint32(drop) << np.uint32(drop)).view(np.float32)


def pack_model(source, target, exact=False, bits=BITS):
    """Copy a ``.keras`` file with its large arrays of weights rounded and all of it compressed.

    Parameters
    ----------
    source, target : Path
    exact : bool
        Compress only, where not a bit of another program's weights may change.
    bits : int
        Of the mantissa of large arrays, which are kept.

    Notes
    -----
    Rounded numbers end in zeros, which compress: a file becomes smaller by four tenths. Keras reads it as
    any other.
    """
    with (
        zipfile.ZipFile(source) as given,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for member in given.infolist():
            content = given.read(member)
            if member.filename.endswith(".h5"):
                content = _compressed(content, exact, bits)
            # The date is kept, so that the same model gives the same file.
            packed.writestr(zipfile.ZipInfo(member.filename, member.date_time), content, zipfile.ZIP_DEFLATED, 9)


def _compressed(content, exact, bits):
    """Return an HDF5 file, as bytes, with its large arrays compressed and, unless `exact`, those of float32 rounded."""
    import h5py

    held = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as given, h5py.File(held, "w") as packed:
        packed.attrs.update(given.attrs)

        def copy(name, item):
            if isinstance(item, h5py.Group):
                made = packed.create_group(name)
            else:
                values, large = item[()], item.size >= _LARGE
                if large and not exact and item.dtype == np.float32:
                    values = round_mantissa(values, bits)
                kept = {"chunks": values.shape, **_COMPRESSED} if large else {}
                made = packed.create_dataset(name, data=values, **kept)
            made.attrs.update(item.attrs)

        given.visititems(copy)
    return held.getvalue()
