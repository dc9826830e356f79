"""`Stamps`: cut-outs of single objects with everything needed to use them."""

from __future__ import annotations

import dataclasses

import numpy as np
from astropy.table import vstack

from galzoo.data import hdf5, hdf5_writer
from galzoo.data.images import Images, make_table
from galzoo.errors import InputError


@dataclasses.dataclass(repr=False)
class Stamps(Images):
    """Single-object cut-outs of one size.

    Fields are those of `galzoo.data.images.Images`, with a row a stamp in ``catalogue``.

    Raises
    ------
    InputError
        If shapes, bands or values do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> stamps = Stamps(np.zeros((2, 32, 32, 1)), bands=["F160W"], pixel_scale=0.06)
    >>> stamps.shape
    (32, 32)
    """

    kind = "stamps"

    def __getitem__(self, rows):
        """Return the stamps of `rows` (slice, int array or bool array) as new `Stamps`; PSFs not used are dropped."""
        return dataclasses.replace(self, **self._taken(self._rows(rows)))

    def save(self, path):
        """Write the stamps to an HDF5 file, atomically."""
        with hdf5_writer.StampsWriter(path) as writer:
            writer.write(self)

    @classmethod
    def load(cls, path, rows=slice(None)):
        """Read stamps from an HDF5 file.

        Parameters
        ----------
        path : str or Path
            A file made by `save`, `StampsWriter` or ``galzoo data``.
        rows : slice, int array or bool array
            Which stamps; all by default.

        Raises
        ------
        InputError
            If the file is missing, damaged or of another version.
        """
        header = hdf5.read_header(path)
        planes = hdf5.read_planes(path, rows=rows)
        columns = hdf5.read_columns(path, rows=rows)
        try:
            table = make_table(columns, header["columns"])
            return cls(**planes, catalogue=table, **{key: header[key] for key in hdf5.HEADER_KEYS})
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def concatenate(cls, parts):
        """Join stamps of one shape, unit and set of bands; columns that not all have are dropped."""
        parts = list(parts)
        if not parts:
            raise InputError("no stamps to join; give one part or more")
        first = parts[0]
        for part in parts[1:]:
            for key in ("bands", "shape", "unit", "pixel_scale"):
                one, other = getattr(first, key), getattr(part, key)
                if one != other:
                    raise InputError(f"stamps of {key} {one!r} and {other!r} cannot be joined; keep them apart")
        changes = {}
        for key in cls.planes:
            planes = [getattr(part, key) for part in parts]
            changes[key] = None if any(plane is None for plane in planes) else np.concatenate(planes)
        changes["psf"] = changes["psf_index"] = None
        if all(part.psf is not None for part in parts):
            sizes = sorted({part.psf.shape[1:3] for part in parts})
            if len(sizes) > 1:
                raise InputError(f"stamps with PSFs of {sizes[0]} and {sizes[1]} pixels cannot be joined; pad one")
            offsets = np.cumsum([0, *(len(part.psf) for part in parts)])
            changes["psf"] = np.concatenate([part.psf for part in parts])
            changes["psf_index"] = np.concatenate([p.psf_index + o for p, o in zip(parts, offsets, strict=False)])
        tables = [part.catalogue for part in parts]
        try:
            changes["catalogue"] = vstack(tables, join_type="inner", metadata_conflicts="silent")
        except (ValueError, TypeError) as error:
            # Columns of one name with and without a unit, of text and of numbers, or of other shapes.
            reason = str(error).splitlines()[0]
            raise InputError(f"catalogues of stamps cannot be joined ({reason}); make their columns alike") from None
        return dataclasses.replace(first, **changes)
