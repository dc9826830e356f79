"""What input files hold, in a few letters: behind whatever goes on from, or keeps, what was made of them."""

import functools
import glob
import hashlib
import os
import re
from pathlib import Path

from galzoo.errors import InputError
from galzoo.files import expanded


def digest(path):
    """Return the SHA-256 of a file's content; of a folder, that of the names and contents of all files in it."""
    path = Path(path)
    if path.is_dir():
        total = hashlib.sha256()
        for member in sorted(path.rglob("*")):
            if member.is_file():
                total.update(f"{member.relative_to(path).as_posix()}\0{digest(member)}\n".encode())
        return total.hexdigest()
    found = path.stat()
    return _digest(str(path.resolve()), found.st_size, found.st_mtime_ns, found.st_ino)


@functools.lru_cache(maxsize=1 << 16)
def _digest(path, *changed):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(*values, bands=()):
    """Return the paths of all files and folders that values name, in their order; arguments are those of `digests`."""
    found = {}
    for text in _texts(values):
        for name in [text.replace("{band}", band) for band in bands] if "{band}" in text else [text]:
            found |= dict.fromkeys(_files(name))
    return list(found)


def digests(*values, bands=()):
    """Return the digests of all files that values name.

    Parameters
    ----------
    *values : path, text, list, tuple or dict, to any depth
        Text that names no file is passed over. ``{band}`` stands for each of `bands`, ``[EXT]`` behind a file is left
        out, and patterns such as ``*.fits`` and folders are all that they hold.
    bands : sequence of str

    Returns
    -------
    dict
        Name to digest, in the order of the names.
    """
    return {path: digest(path) for path in sorted(files_of(*values, bands=bands))}


def refuse_input(output, *inputs, bands=()):
    """Raise `InputError` where a file to write is one of those that are read, as `files_of` takes them."""
    for path in files_of(*inputs, bands=bands):
        if os.path.realpath(path) == os.path.realpath(expanded(output)):
            raise InputError(f"{path}: is read, and would be written over; name another --output")


def _texts(value):
    if isinstance(value, str | os.PathLike):
        yield os.fspath(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _files(name):
    name = expanded(name)
    plain = re.sub(r"\[[^\[\]]*\]$", "", name)
    for one in (name, plain):
        if one and "\0" not in one and len(one) < 4096 and os.path.exists(one):
            return [one]
    return sorted(glob.glob(name)) if any(sign in name for sign in "*?") else []
