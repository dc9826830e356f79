"""The HDF5 file of `Stamps`, read with NumPy and h5py alone; `galzoo.data.hdf5_writer` writes it.

Nothing here needs astropy or a back end, so a training machine can read stamps with keras, numpy and h5py only.

Layout (version 1)::

    attrs      format, version, header (JSON: bands, pixel_scale, unit, survey, meta)
    image      (n, y, x, band)  float32, or uint8 for display-stretched pictures
    variance   (n, y, x, band)  float32, optional
    mask       (n, y, x, band)  bool, optional, True = bad
    truth      (n, y, x, band)  float32, optional: noiseless image in the model frame
    model      (n, y, x, band)  float32, optional: image that a first pass has fitted
    segmentation (n, y, x)      int32, optional: label image
    pixel_class  (n, y, x, class)  float32 or uint8, optional: membership of each pixel in each class
    psf        (m, y, x, band)  float32, optional, unit sum
    psf_index  (n,)             which of the m PSFs belongs to each stamp
    catalogue/<column>          (n, ...) with attr ``unit``; ``id`` is always there
"""

import json
from pathlib import Path

import h5py
import numpy as np

from galzoo.errors import GalzooError, InputError
from galzoo.files import expanded

FORMAT = "galzoo-stamps"
VERSION = 1
PLANES = ("image", "variance", "mask", "truth", "model", "segmentation", "pixel_class")
HEADER_KEYS = ("bands", "pixel_scale", "unit", "survey", "meta")
KINDS = {
    FORMAT: ("stamp", VERSION, "`galzoo data make` or `galzoo data cutouts`"),
    "galzoo-scenes": ("scene", 1, "`galzoo simulate scenes`"),
}
"""What each format is a file of, its version, and what makes one."""


class _File(h5py.File):
    """An open file in whose ``with`` block an error of reading becomes one line: damage may lie anywhere."""

    def __exit__(self, kind, error, trace):
        path = self.filename
        super().__exit__(kind, error, trace)
        # Errors of the system have a number: a full disk is no damage of the file that is read.
        told = isinstance(error, GalzooError) or getattr(error, "errno", None)
        if isinstance(error, (OSError, KeyError, RuntimeError, UnicodeError)) and not told:
            reason = (str(error).strip("'").splitlines() or [kind.__name__])[0]
            raise InputError(f"{path}: damaged, or lacks a part ({reason}); make the file again") from None


def _text(value):
    """Return an attribute as text, whatever wrote it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def kind_of(path):
    """Return "stamps" or "scenes": what a file holds. Raise `InputError` if it is neither."""
    try:
        with h5py.File(expanded(path), "r") as file:
            form = _text(file.attrs.get("format"))
    except OSError:
        form = None
    if form not in KINDS:
        # Raises what is wrong with the file.
        open_file(path).close()
    return f"{KINDS[form][0]}s"


def open_file(path, form=FORMAT):
    """Open a file for reading and check its format and version.

    Parameters
    ----------
    path : str or Path
        The file.
    form : {"galzoo-stamps", "galzoo-scenes"}
        The format that it must have.

    Raises
    ------
    InputError
        If the file is missing, is not HDF5, or is of another format or version.
    """
    path = Path(expanded(path))
    kind, version, maker = KINDS[form]
    if not path.is_file():
        what = "a folder; name a file in it" if path.is_dir() else f"no such file; make one with {maker}"
        raise InputError(f"{path}: {what}")
    try:
        file = _File(path, "r")
    except OSError as error:
        with open(path, "rb") as raw:
            begins = raw.read(8)
        if begins.startswith(b"SIMPLE") or path.suffix.lower() in (".fits", ".fit", ".fz"):
            raise InputError(
                f"{path}: a FITS file, not {kind}s (HDF5); `galzoo data cutouts` makes them of it"
            ) from None
        if not begins.startswith(b"\x89HDF"):
            raise InputError(f"{path}: not a file of {kind}s (HDF5); make one with {maker}") from None
        raise InputError(f"{path}: truncated or damaged HDF5 file: {error}") from None
    try:
        found = _text(file.attrs.get("format")), _text(file.attrs.get("version"))
    except OSError as error:
        file.close()
        raise InputError(f"{path}: truncated or damaged HDF5 file: {error}") from None
    if found[0] != form:
        file.close()
        other = f"it is one of {KINDS[found[0]][0]}s; " if found[0] in KINDS else ""
        raise InputError(f"{path}: not a galzoo {kind} file; {other}make one with {maker}")
    if found[1] != str(version):
        file.close()
        raise InputError(
            f"{path}: {kind} format version {found[1]}, this galzoo reads version {version}; make it again"
        )
    return file


def read_header(path, form=FORMAT, planes=PLANES):
    """Return the header of a file.

    Returns
    -------
    dict
        ``bands, pixel_scale, unit, survey, meta``, and from the data sets ``n``, ``shape`` (y, x), ``keys``,
        ``columns`` (name to unit string).
    """
    with open_file(path, form) as file:
        header = _header(file, path)
        _check_whole(file, path, planes)
        header["n"] = len(file["image"])
        header["shape"] = tuple(int(size) for size in file["image"].shape[1:3])
        header["keys"] = [key for key in (*planes, "psf") if key in file]
        header["columns"] = {name: data.attrs.get("unit", "") for name, data in file["catalogue"].items()}
    return header


def _header(file, path):
    """Return the header of a file with all of `HEADER_KEYS`; other programs may leave out survey and meta."""
    try:
        header = json.loads(file.attrs["header"])
        header = {"survey": "", "meta": {}} | header
        header["bands"] = [str(band) for band in header["bands"]]
        header["pixel_scale"] = float(header["pixel_scale"])
        header["unit"] = str(header["unit"] or "")
        header["meta"] = dict(header["meta"])
    except (KeyError, TypeError, ValueError) as error:
        lacks = f" (it lacks {error.args[0]})" if error.args[0] in HEADER_KEYS else ""
        raise InputError(f"{path}: its header is absent or damaged{lacks}; make the file again") from None
    return header


def _check_whole(file, path, planes):
    """Raise `InputError` where a file lacks a part, parts differ in length, or pixels are in another file."""
    if file.get("image") is None or file.get("catalogue") is None:
        lost = "image" if file.get("image") is None else "catalogue"
        raise InputError(f"{path}: no {lost} in it, or only a link to a file that is not there; make the file again")
    data = {key: file[key] for key in ("image", *planes, "psf", "psf_index") if key in file}
    odd = next((key for key, one in data.items() if not isinstance(one, h5py.Dataset)), None)
    odd = odd or ("catalogue" if not isinstance(file["catalogue"], h5py.Group) else None)
    odd = odd or next((name for name, one in file["catalogue"].items() if not isinstance(one, h5py.Dataset)), None)
    if odd is not None:
        raise InputError(f"{path}: {odd} is not what it should be, a data set or a group of them; make the file again")
    shape = file["image"].shape
    for key in (*planes, "psf", "psf_index"):
        if key not in file:
            continue
        wanted = () if key == "psf" else shape[:1] if key in ("psf_index", "isolated") else shape[:3]
        found = file[key].shape[: len(wanted)]
        if found != wanted:
            raise InputError(f"{path}: {key} has shape {found}, image {wanted}; make the file again")
        for source in file[key].virtual_sources() if file[key].is_virtual else ():
            places = Path(path).parent / source.file_name, Path(source.file_name)
            if source.file_name != "." and not any(place.exists() for place in places):
                # HDF5 would give zeros.
                raise InputError(f"{path}: {key} is kept in {source.file_name}, which is not there; bring it back")
    for name, data in file["catalogue"].items():
        if data.shape[:1] != shape[:1]:
            raise InputError(f"{path}: column {name} has shape {data.shape} for {shape[0]} images; make the file again")


def read_columns(path, names=None, rows=slice(None), form=FORMAT):
    """Return catalogue columns as a dict of arrays; strings come back as str."""
    with open_file(path, form) as file:
        group = file["catalogue"]
        absent = [name for name in names or () if name not in group]
        if absent:
            raise InputError(f"{path}: no catalogue column {absent[0]!r}; it has {', '.join(sorted(group))}")
        rows = rows if isinstance(rows, slice) else row_numbers(rows, len(file["image"]))
        return {name: read_array(group[name])[rows] for name in (names or group)}


def read_array(data):
    """Return the whole of an HDF5 data set; strings come back as str."""
    values = data.asstr("utf-8", "replace")[...] if h5py.check_string_dtype(data.dtype) else data[...]
    if values.dtype != object:
        return values
    text = [one if isinstance(one, str) else " ".join(str(one).split()) for one in values.ravel().tolist()]
    return np.array(text, str).reshape(values.shape)


def read_planes(path, keys=None, rows=slice(None), form=FORMAT):
    """Return pixel planes as a dict of arrays.

    Parameters
    ----------
    path : str or Path
        A file of the format `form`.
    keys : sequence of str, optional
        Names of planes, ``psf``, ``psf_index``; all that a stamp file can have by default.
    rows : slice or int array
        Which stamps. ``psf`` is not affected: it is indexed by ``psf_index``.
    """
    with open_file(path, form) as file:
        if keys is None:
            keys = [key for key in (*PLANES, "psf", "psf_index") if key in file]
        return {key: file[key][...] if key == "psf" else read_rows(file[key], rows) for key in keys}


def read_rows(data, rows):
    """Return the `rows` (slice, int array or bool array) of an HDF5 data set, read in runs of chunks."""
    if isinstance(rows, slice) and (rows.step or 1) > 0:
        return data[rows]
    rows = row_numbers(rows, len(data))
    unique, inverse = np.unique(rows % max(len(data), 1), return_inverse=True)
    if not len(unique):
        return data[:0]
    # h5py's own selection of single rows costs more than reading whole runs of chunks and picking from them.
    chunk = data.chunks[0] if data.chunks else 1
    runs = np.split(unique, np.flatnonzero(np.diff(unique) > chunk) + 1)
    parts = [part for run in runs for part in _read_run(data, run, 64 * chunk)]
    return np.concatenate(parts)[inverse]


def row_numbers(rows, n):
    """Return rows (slice, int array or bool array) of `n` as numbers; `InputError` where there are none such."""
    if isinstance(rows, slice):
        return np.arange(n)[rows]
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        found = f"{rows.dtype} of shape {rows.shape}"
        raise InputError(f"rows are {found}; give a slice, numbers, or {n} times True or False")
    odd = rows[(rows < -n) | (rows >= n)]
    if len(odd):
        raise InputError(f"no row {odd[0]} in a file of {n}, counted from 0")
    return rows.astype(np.int64)


def _read_run(data, rows, most):
    """Yield the increasing `rows`, read in slices of up to `most` rows so that memory stays bounded."""
    for start in range(int(rows[0]), int(rows[-1]) + 1, most):
        wanted = rows[(rows >= start) & (rows < start + most)]
        if len(wanted):
            yield data[start : int(wanted[-1]) + 1][wanted - start]
