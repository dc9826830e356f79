"""Writing files so that a reader never sees half of one."""

import contextlib
import io
import json
import math
import os
import tempfile
from pathlib import Path

from galzoo import __version__
from galzoo.errors import InputError

# Rows of a table that are text at once.
_ROWS = 8192
_HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
# Ends of names that say what a file is.
_KNOWN = (
    *_HDF5, ".fits", ".fit", ".fts", ".fz", ".gz", ".bz2", ".xz", ".zip", ".tar", ".csv", ".ecsv", ".txt", ".dat",
    ".tsv", ".vot", ".xml", ".json", ".yaml", ".yml", ".parquet", ".npy", ".npz", ".asdf", ".png", ".jpg", ".jpeg",
    ".pdf", ".svg", ".tif", ".tiff", ".html", ".md", ".keras", ".reg",
)  # fmt: skip


def expanded(path):
    """Return a path as text, with a ``~`` at its beginning written out as shells do."""
    return os.path.expanduser(str(path))


def check_hdf5(path):
    """Raise `InputError` where the name of an HDF5 file to write is one of another format."""
    suffix = Path(path).suffix.lower()
    if suffix in _KNOWN and suffix not in _HDF5:
        raise InputError(f"{path}: HDF5 is written, not {suffix}; name it {Path(path).with_suffix('.h5').name}")


def check_folder_name(path):
    """Raise `InputError` where the name of a new folder is one of a file."""
    suffix = Path(path).suffix.lower()
    if suffix in _KNOWN and not Path(path).exists():
        raise InputError(f"{path}: a folder is written, not {suffix}; name it {Path(path).stem}")


def file_to_write(path):
    """Return the file that a path names, behind links, its folder made if absent; `InputError` where it can be none."""
    # A finished file is moved to its name: it would take the place of a link, and of a device such as /dev/null.
    real = Path(os.path.realpath(expanded(path)))
    if real.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    if real.exists() and not real.is_file():
        raise InputError(f"{path}: is a device or a pipe; name a file to write")
    real.parent.mkdir(parents=True, exist_ok=True)
    return real


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`, moved over it when the block ends without an error.

    Parameters
    ----------
    path : str or Path
        The final name; its folder is made if absent.

    Yields
    ------
    Path
        Where to write. It keeps the suffix, since writers choose their format by it.
    """
    path = file_to_write(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    # mkstemp makes private files; a result should have the permissions of any other new file.
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path, table):
    """Write an astropy table to `path` as ECSV, atomically; return the path.

    It is written a part at a time: as text a table takes ten times its memory. Its header says the version of galzoo.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for start in range(0, max(len(table), 1), _ROWS):
            text = io.StringIO()
            part = table[start : start + _ROWS]
            part.meta.setdefault("galzoo", __version__)
            part.write(text, format="ascii.ecsv")
            text.seek(0)
            lines = list(text)
            # Comments, then the names of the columns.
            head = next(number for number, line in enumerate(lines) if not line.startswith("#")) + 1
            file.writelines(lines[head if start else 0 :])
    return path


def write_json(path, value):
    """Write `value` to `path` as indented JSON, atomically; see `plain`."""
    write_text(path, json.dumps(plain(value), indent=2) + "\n")


def plain(value, digits=None):
    """Return what JSON can hold: NumPy's numbers as Python's, paths as text, NaN and infinity as None.

    Parameters
    ----------
    value : dict, list, tuple, array, number, text, Path or None
        Of each other, to any depth.
    digits : int, optional
        Significant digits that real numbers keep; all by default.

    Raises
    ------
    TypeError
        If there is anything else.
    """
    if isinstance(value, dict):
        return {key: plain(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, digits) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), digits)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
