"""Files of stamps and scenes written piece by piece, with NumPy and h5py alone."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np

from galzoo.data.hdf5 import FORMAT, KINDS, PLANES, open_file
from galzoo.errors import InputError
from galzoo.files import check_hdf5, file_to_write

_CHUNK_BYTES = 1 << 18


class FileWriter:
    """Write a file piece by piece, visible under its name only when complete: what the formats share.

    Parameters
    ----------
    path : str or Path
        The file to make.
    append : bool
        Add to an existing file of the same bands, shape and unit instead of replacing it.
    """

    form = FORMAT
    planes = PLANES

    def __init__(self, path, append=False):
        # Said now: moving the finished file there would fail after all the work.
        check_hdf5(path)
        self.path = file_to_write(path)
        handle, name = tempfile.mkstemp(prefix=f".{self.path.stem}-", suffix=".h5", dir=self.path.parent)
        os.close(handle)
        self._temporary = Path(name)
        self._file = None
        try:
            if append and self.path.exists():
                open_file(self.path, self.form).close()
                shutil.copyfile(self.path, self._temporary)
                self._file = h5py.File(self._temporary, "a")
            else:
                self._file = h5py.File(self._temporary, "w")
        except BaseException:
            self.discard()
            raise

    def __len__(self):
        return len(self._file["image"]) if "image" in self._file else 0

    def _start(self, header, arrays):
        """Write the header, or check that a further part fits it."""
        if "header" in self._file.attrs:
            self._check_same(header, arrays)
        else:
            self._file.attrs["format"] = self.form
            self._file.attrs["version"] = KINDS[self.form][1]
            self._file.attrs["header"] = json.dumps(header)

    def _append_psf(self, arrays):
        if "psf" in arrays:
            known = len(self._file["psf"]) if "psf" in self._file else 0
            self._append("psf", arrays["psf"])
            self._append("psf_index", arrays["psf_index"] + np.int32(known))

    def _append_columns(self, group, columns, rows):
        """Append columns of `rows` rows to a group; every part must have the same columns."""
        odd = next((name for name in columns if "/" in name or name in ("", ".", "..")), None)
        if odd is not None:
            raise InputError(f"{self.path}: column {odd!r} would be a folder of the file; name it without /")
        before = max((len(data) for data in self._file.get(group, {}).values()), default=0)
        for name, (values, unit) in columns.items():
            self._append(f"{group}/{name}", values, unit)
        odd = [name for name, data in self._file[group].items() if len(data) != before + rows]
        if odd:
            raise InputError(
                f"{self.path}: {group} column {odd[0]!r} is not in every part; give all parts the same columns"
            )

    def _check_same(self, header, arrays):
        before = json.loads(self._file.attrs["header"])
        for key in ("bands", "pixel_scale", "unit"):
            if before[key] != header[key]:
                raise InputError(
                    f"{self.path}: has {key} {before[key]!r}, the new part {header[key]!r}; give another file"
                )
        old, new = self._file["image"].shape[1:], arrays["image"].shape[1:]
        if old != new:
            raise InputError(f"{self.path}: has images of shape {old}, the new ones {new}; write them to another file")
        have = {key for key in (*self.planes, "psf") if key in self._file}
        if have != {key for key in (*self.planes, "psf") if key in arrays}:
            raise InputError(f"{self.path}: has planes {sorted(have)}; every part must have the same")

    def _append(self, name, values, unit=""):
        values = np.asarray(values)
        if values.dtype.kind in "UO":
            values = values.astype(h5py.string_dtype())
        if name not in self._file:
            size = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:])))
            chunk = max(1, min(_CHUNK_BYTES // size, 4096))
            inner = values.shape[1:]
            self._create(name, (0, *inner), (None, *inner), (chunk, *inner), values.dtype, unit)
        data = self._file[name]
        if data.attrs["unit"] != unit:
            raise InputError(f"{self.path}: {name} is in {data.attrs['unit']!r}, the new part in {unit!r}; convert it")
        if data.shape[1:] != values.shape[1:]:
            old, new = data.shape[1:], values.shape[1:]
            raise InputError(f"{self.path}: {name} has entries of shape {old}, the new part {new}; write another file")
        # HDF5 would drop the fractions of numbers that join a column of integers without a word.
        if not np.can_cast(values.dtype, data.dtype, "same_kind"):
            raise InputError(f"{self.path}: {name} holds {data.dtype}, the new part {values.dtype}; give both one type")
        # Nor would it say that a number is beyond these integers.
        if values.dtype.kind in "iu" and data.dtype.kind in "iu" and np.any(values.astype(data.dtype) != values):
            raise InputError(f"{self.path}: {name} holds {data.dtype}, the new part numbers beyond; give both one type")
        start = len(data)
        data.resize(start + len(values), axis=0)
        data[start:] = values

    def _create(self, name, shape, maxshape, chunks, dtype, unit=""):
        data = self._file.create_dataset(
            name,
            shape=shape,
            maxshape=maxshape,
            chunks=chunks,
            dtype=dtype,
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        data.attrs["unit"] = unit

    def close(self):
        """Finish the file and give it its name."""
        if self._file is None:
            return
        try:
            if "header" not in self._file.attrs:
                raise InputError(f"{self.path}: nothing to write, no {KINDS[self.form][0]} was made")
            # What was buffered is written only now, so this can fail on a full disk.
            self._file.close()
            self._file = None
            os.chmod(self._temporary, 0o644)
            os.replace(self._temporary, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self):
        """Give up: remove what was written, leave an older file as it was."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except (OSError, RuntimeError):
            pass  # A full disk fails again here; the file is thrown away in any case.
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.close()
        else:
            self.discard()


class StampsWriter(FileWriter):
    """Write a stamp file piece by piece, visible under its name only when complete.

    Parameters
    ----------
    path : str or Path
        The file to make.
    append : bool
        Add to an existing file of the same bands, shape and unit instead of replacing it.

    Examples
    --------
    >>> with StampsWriter("stamps.h5") as writer:      # doctest: +SKIP
    ...     for part in parts:
    ...         writer.write(part)
    """

    def write(self, stamps):
        """Append `stamps` (a `galzoo.Stamps`)."""
        arrays = stamps.arrays()
        self._start(stamps.header(), arrays)
        for key in PLANES:
            if key in arrays:
                self._append(key, arrays[key])
        self._append_psf(arrays)
        self._append_columns("catalogue", stamps.columns(), len(stamps))
