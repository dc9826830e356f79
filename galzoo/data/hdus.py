"""Extensions of FITS files: how one is named in a path, and the header that goes with it."""

import re
from pathlib import Path

import numpy as np

from galzoo.errors import InputError
from galzoo.files import expanded

NOT_FETCHED = (
    (b"version ", "a pointer of Git LFS; fetch the file itself (git lfs pull)"),
    (b"<!DOCTYP", "a web page; fetch the file itself"), (b"<!doctyp", "a web page; fetch the file itself"),
    (b"<html", "a web page; fetch the file itself"), (b"<HTML", "a web page; fetch the file itself"),
    (b"\x1f\x9d", "packed by compress; unpack it (uncompress)"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd; unpack it (unzstd)"),
)  # fmt: skip
"""How files begin that stand in the place of another, and what they are."""
# So many extensions are listed in an error.
_LISTED = 12
# Cards that describe the pixels of a header's own unit, and no other.
_OWN = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|NEXTEND|EXT(NAME|VER|LEVEL)|BSCALE|BZERO|BLANK|BUNIT|"
    r"CHECKSUM|DATASUM|INHERIT|COMMENT|HISTORY|END|Z\w*|"
)
_WCS = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CD|PC|PV|PS|LTV|LTM|[AB]P?_)\d*(_\d+)?[A-Z]?|[AB]P?_ORDER|WCSAXES|LONPOLE|LATPOLE"
)


def split_extension(path):
    """Split ``file.fits[EXT]`` into the file and the extension.

    Parameters
    ----------
    path : str or Path
        With nothing, ``[NAME]``, ``[NUMBER]`` or ``[NAME,VERSION]`` behind the file. A file of exactly that name wins.
        A ``~`` is the home folder.

    Returns
    -------
    file : str
    extension : str, int, (str, int) or None
        As astropy takes it.

    Examples
    --------
    >>> split_extension("drz.fits[SCI,2]")
    ('drz.fits', ('SCI', 2))
    """
    path = expanded(path)
    match = re.fullmatch(r"(.+?)\[([^\[\]]+)\]", path)
    if not match or Path(path).exists():
        return path, None
    file, text = match.group(1), match.group(2).strip().strip("'\"")
    named = re.fullmatch(r"(.+?)\s*,\s*(\d+)", text)
    if named:
        return file, (named.group(1), int(named.group(2)))
    return file, int(text) if text.isdigit() else text


def check_file(file, what="file"):
    """Raise `InputError` where there is no regular file of a name."""
    path = Path(file)
    if not path.is_file():
        found = "is a folder; name a file in it" if path.is_dir() else f"no such {what}; check the path"
        found = "is a pipe, and is read more than once; write it to a file" if path.is_fifo() else found
        raise InputError(f"{file}: {found}")


def get_hdu(hdus, extension, file):
    """Return the unit of an open file that `split_extension` names; raise `InputError` where there is none."""
    name, version = extension if isinstance(extension, tuple) else (extension, None)
    same = [hdu for hdu in hdus if hdu.name.upper() == str(name).upper()]
    if len(same) > 1 and version is None:
        raise InputError(
            f"{file}: {len(same)} extensions are named {name}; name one as [{name},1], or by number: {contents(hdus)}"
        )
    if len(same) > 1 and len({hdu.ver for hdu in same}) == 1 and 1 <= version <= len(same):
        # Several of one name and no EXTVER to tell them apart: they are counted.
        return same[version - 1]
    try:
        return hdus[extension]
    except (KeyError, IndexError):
        text = ",".join(map(str, extension)) if isinstance(extension, tuple) else extension
        raise InputError(f"{file}: no extension [{text}]; it has {contents(hdus)}") from None


def full_header(hdus, hdu):
    """Return the header of a unit with what it inherits from the primary header.

    Cards of the primary header that the unit does not have count for it too, unless its INHERIT is false; those of the
    WCS only where INHERIT is true or the primary unit has no pixels of its own.
    """
    header, primary = hdu.header.copy(), hdus[0].header
    if hdu is hdus[0] or header.get("INHERIT") is False:
        return header
    bare = header.get("INHERIT") is True or not primary.get("NAXIS")
    with_wcs = bare and "CTYPE1" not in header
    for card in primary.cards:
        if card.keyword in header or _OWN.fullmatch(card.keyword):
            continue
        if with_wcs or not _WCS.fullmatch(card.keyword):
            header.append(card)
    return header


def contents(hdus):
    """Return what a file holds, for errors."""
    named = [f"[{number}] {hdu.name or 'unnamed'} {type(hdu).__name__}" for number, hdu in enumerate(hdus)]
    return ", ".join(named if len(named) <= _LISTED else [*named[:_LISTED], f"and {len(named) - _LISTED} more"])


def ascii_text(text):
    r"""Return text as FITS can hold it: what is not ASCII as an escape such as \xe9."""
    return str(text).encode("ascii", "backslashreplace").decode()


def ascii_columns(table):
    """Write the text in a table as `ascii_text` does, in place; return the table."""
    for name in table.colnames:
        column, text = table[name], np.asarray(table[name])
        if text.dtype.kind != "U" or all(map(str.isascii, text.ravel().tolist())):
            continue
        new = np.char.encode(text, "ascii", "backslashreplace").astype(str)
        table[name] = np.ma.MaskedArray(new, column.mask) if hasattr(column, "mask") else new
    return table
