"""Long work on a field in pieces: each is a file when it is finished, so that a killed run goes on where it stopped."""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np

from galzoo.contents import digests, files_of
from galzoo.data.columns import plain
from galzoo.errors import InputError
from galzoo.files import atomic_path, expanded, write_json

logger = logging.getLogger(__name__)

WORK = "unfinished"
"""Name of the work folder in the output folder."""
PRODUCTS = {
    "classify": ("classes.ecsv",),
    "deblend": (
        "catalogue.ecsv", "catalogue.fits", "sources.reg", "model.fits", "residual.fits", "segmentation.fits",
        "stamps.h5",
    ),
    "detect": (
        "catalogue.ecsv", "catalogue.fits", "catalogue.parquet", "counts.ecsv", "instances.fits", "instances.json",
        "model.fits", "posterior.h5", "regions.reg", "residual.fits",
    ),
    "embed": ("codes.ecsv", "embedding.ecsv", "outliers.ecsv", "pairs.ecsv"),
    "reconstruct": ("catalogue.ecsv", "deconvolved.h5", "reconstruction.fits"),
    "sample": ("samples.fits", "stamps.h5"),
    "screen": ("screen.ecsv", "screen.fits"),
    "segment": ("catalogue.ecsv", "catalogue.fits", "classes.fits", "segmentation.fits"),
}  # fmt: skip
"""Names of the files with which tasks answer in a folder, beside their pictures and reports."""
# How files of text and FITS say that galzoo wrote them, within so many bytes of their ends.
_MARK, _ENDS = re.compile(rb"CREATOR = 'galzoo |galzoo: |\"galzoo\"|# galzoo "), 1 << 20


def output_folder(output, task, *inputs, bands=()):
    """Return a folder to write to, made if absent.

    Parameters
    ----------
    output : str or Path
    task : str
        Which of `PRODUCTS` are written.
    *inputs
        What is read, as `galzoo.contents.digests` takes it with `bands`.

    Raises
    ------
    InputError
        If that cannot be, or products would be written over what is read, or over what galzoo did not write.
    """
    output = check_folder(output, task, *inputs, bands=bands)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror}); name another folder") from None
    return check_folder(output, task)


def check_folder(output, task, *inputs, bands=()):
    """Return what `output_folder` does, but make no folder: for commands that may yet find their input wrong."""
    output = Path(expanded(output))
    for path in map(Path, files_of(*inputs, bands=bands)):
        if any(path.name in names for names in PRODUCTS.values()) and path.resolve().parent == output.resolve():
            raise InputError(f"{path}: is read, and could be written over; name another --output than its own folder")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; name a folder to write to")
    if output.exists() and not os.access(output, os.W_OK | os.X_OK):
        raise InputError(f"{output}: cannot be written to; name another folder")
    for path in (output / name for name in PRODUCTS[task]):
        if path.is_file() and not _is_own(path):
            raise InputError(
                f"{path}: does not say that galzoo wrote it, and would be written over; move it, or name another folder"
            )
    return output


def _is_own(path):
    """Return whether a file says that galzoo wrote it; an empty one holds nothing that could be lost."""
    if path.suffix == ".h5":
        import h5py

        try:
            with h5py.File(path) as file:
                return str(file.attrs.get("format", "")).startswith("galzoo")
        except OSError:
            return False
    with open(path, "rb") as file:
        start = file.read(_ENDS)
        file.seek(max(path.stat().st_size - _ENDS, 0))
        return not start or _MARK.search(start + file.read()) is not None


@contextlib.contextmanager
def held(folder):
    """Hold a folder against other runs: one would take away the unfinished pieces of the other.

    Raises
    ------
    InputError
        If another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems have no locks, which is another error.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{folder}: another run is writing there; wait for its end, or name another folder"
                ) from None
        yield
    finally:
        os.close(handle)


def request_stamp(paths, options, psf, catalogue=None):
    """Return what tells one request from another: the options, and the contents of the files and arrays they name."""
    names = [str(path) for value in (paths, psf, catalogue, *options.values()) for path in _strings(value)]
    files = digests(paths, psf, catalogue, list(options.values()), bands=options.get("bands") or ())
    others = []
    if isinstance(psf, np.ndarray):
        others.append(hashlib.sha256(f"{psf.shape}{psf.dtype}".encode() + psf.tobytes()).hexdigest())
    if hasattr(catalogue, "colnames"):
        total = hashlib.sha256()
        for name in catalogue.colnames:
            values = plain(catalogue[name])
            total.update(f"{name}{getattr(catalogue[name], 'unit', None)}{values.dtype}".encode() + values.tobytes())
        others.append(total.hexdigest())
    return {
        "names": names,
        "files": files,
        "options": {key: str(value) for key, value in options.items()},
        "others": others,
    }


def _strings(value):
    if isinstance(value, str | os.PathLike):
        return [value]
    return [one for one in value if isinstance(one, str | os.PathLike)] if isinstance(value, list | tuple) else []


def work_folder(output, request, restart):
    """Return the work folder in `output`; that of an unfinished run of the same request is kept."""
    work, request = output / WORK, json.loads(json.dumps(request, default=str))
    path = work / "request.json"
    try:
        same = json.loads(path.read_text(encoding="utf-8")) == request
    except (OSError, json.JSONDecodeError):
        same = False
    if same and not restart:
        logger.warning("%s: going on with an unfinished run", output)
        return work
    if work.exists():
        shutil.rmtree(work)
    work.mkdir()
    write_json(path, request)
    return work


def save_piece(path, arrays):
    """Write a dict of arrays, whole or not at all."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)
