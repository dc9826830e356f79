"""Reading a catalogue: its format is told by what is in the file, not by the name."""

import bz2
import gzip
import io
import logging
import lzma
import re
import warnings

import numpy as np
from astropy.io.ascii import convert_numpy
from astropy.table import Table

from galzoo.data.coordinates import ID_NAMES, PIXEL_NAMES, SKY_NAMES
from galzoo.data.daophot import is_daophot, read_daophot
from galzoo.data.hdus import NOT_FETCHED, check_file, contents, get_hdu, split_extension
from galzoo.data.plain import ABSENT
from galzoo.data.unit_line import take_units
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
_OTHERS = {
    b"\x89HDF": "HDF5", b"PAR1": "Parquet", b"PK\x03\x04": "a zip file", b"%PDF": "a PDF", b"\x93NUMPY": "a NumPy file",
    b"\xff\xd8\xff": "a picture", b"\x89PNG": "a picture", b"{": "JSON", b"[": "JSON",
    b"# Region file": "a region file of DS9",
}  # fmt: skip
_ABSENT = [(text, "0") for text in ABSENT]
# What stands about the objects in a file of SExtractor's.
_NO_CATALOGUE = ("LDAC_IMHEAD",)


def read_table(path, ids=None):
    """Read a catalogue, packed or not: FITS, FITS_LDAC, VOTable, ECSV, ASCII of SExtractor or DAOPHOT, CSV, other text.

    Parameters
    ----------
    path : str or Path
        ``file.fits[EXT]`` names a table of a file with several.
    ids : str, optional
        Column with the names of the objects, beside those that are known. Text such as 007 stays text there.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        If the file is missing, cannot be read, has no rows, or has several tables that may be meant.
    """
    file, extension = split_extension(path)
    check_file(file, "catalogue")
    try:
        start = _start(file)
        if extension is not None and not start.startswith(b"SIMPLE"):
            raise InputError(f"{file}: [{extension}] names a table of a FITS file, and this is none; leave it out")
        with warnings.catch_warnings():
            # Units that astropy does not know and the like: the values are read all the same.
            warnings.simplefilter("ignore")
            table = _read(file, extension, start, {*ID_NAMES, (ids or "id").lower()})
    except InputError:
        raise
    except Exception as error:  # astropy readers raise whatever the file makes them
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = "no format fits it" if "guess" in reason or isinstance(error, LookupError) else reason
        raise InputError(
            f"{file}: not a catalogue that can be read ({reason}); give FITS, VOTable, ECSV, CSV or ASCII"
        ) from None
    if not len(table):
        raise InputError(f"{path}: the catalogue has no rows; give one that has")
    return flat(table)


def _open(file):
    with open(file, "rb") as raw:
        first = raw.read(8)
    return next((opener for magic, opener in _PACKED if first.startswith(magic)), open)(file, "rb")


def _start(file):
    with _open(file) as opened:
        return opened.read(4096)


def is_fits(path):
    """Return whether a file holds FITS, packed or not, whatever its name; False where there is no such file."""
    try:
        return _start(path).startswith(b"SIMPLE")
    except (OSError, EOFError, ValueError):
        return False


def _read(file, extension, start, ids):
    stand_in = next((what for magic, what in NOT_FETCHED if start.startswith(magic)), None)
    if stand_in:
        raise InputError(f"{file}: is {stand_in}")
    other = next((kind for magic, kind in _OTHERS.items() if start.startswith(magic)), None)
    if other:
        raise InputError(f"{file}: is {other}; write the catalogue as FITS, ECSV or CSV")
    if start.startswith(b"SIMPLE"):
        return _read_fits(file, extension)
    if re.match(rb"(\xef\xbb\xbf)?\s*<", start):
        with _open(file) as opened:
            return Table.read(io.BytesIO(opened.read()), format="votable", use_names_over_ids=True)
    with _open(file) as opened:
        return _read_text(file, _decoded(opened.read()), ids)


def _read_fits(file, extension):
    from astropy.io import fits

    with fits.open(file, memmap=False) as hdus:
        if extension is not None:
            hdu = get_hdu(hdus, extension, file)
            if not _is_table(hdu):
                raise InputError(f"{file}[{extension}]: not a table; the file has {contents(hdus)}")
            return Table.read(hdu)
        tables = [hdu for hdu in hdus if _is_table(hdu) and hdu.name not in _NO_CATALOGUE]
        if not tables:
            raise InputError(f"{file}: no table in it; it has {contents(hdus)}")
        if len(tables) > 1:
            # SExtractor's own comes first, then whatever is the only one with positions.
            placed = [hdu for hdu in tables if hdu.name == "LDAC_OBJECTS"] or [
                hdu for hdu in tables if _has_places(hdu)
            ]
            if len(placed) != 1:
                raise InputError(f"{file}: several tables; name one as {file}[EXT] of {contents(hdus)}")
            logger.warning("%s: the table %s was taken, the only one with sources", file, placed[0].name or "unnamed")
            tables = placed
        _check_names(file, tables[0].columns.names)
        return Table.read(tables[0])


def _check_names(file, names):
    """Raise `InputError` where two columns have the same name of a position: astropy calls one of them otherwise."""
    doubled = next((name for name in names if name.lower() in _KNOWN and names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"{file}: {names.count(doubled)} columns are called {doubled}; give each a name of its own")


def _is_table(hdu):
    from astropy.io import fits

    return isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)) and not hdu.is_image


def _has_places(hdu):
    names = {name.lower() for name in hdu.columns.names}
    return any(names >= set(pair) for pair in (*SKY_NAMES, *PIXEL_NAMES))


def _decoded(data):
    for mark, code in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if data.startswith(mark):
            return data.decode(code)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read_text(file, text, ids):
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or "\x00" in text[:4096]:
        raise InputError(f"{file}: not a catalogue that can be read (no text in it); give FITS, ECSV or CSV")
    if lines[0].startswith("# %ECSV"):
        return Table.read(lines, format="ascii.ecsv")
    if is_daophot(lines):
        return read_daophot(lines, file)
    if re.match(r"#\s*1\s+\S+", lines[0]):
        return Table.read(lines, format="ascii.sextractor")
    if _OWN_READERS.match("\n".join(lines[:2])) or any(line.startswith("Byte-by-byte") for line in lines):
        # IPAC's and LaTeX, and tables of the AAS and CDS.
        return Table.read(lines, format="ascii", fill_values=_ABSENT)
    names, rows, units, commented = _parts(file, lines)
    mark = _mark(names)
    _say_comments(file, names, rows, mark)
    fields = names.split() if mark is None else [name.strip(" \"'") for name in names.split(mark)]
    converters = {name: [convert_numpy(str)] for name in fields if name.lower() in ids}
    if mark is None:
        _check_names(file, names.split())
        kind = "ascii.commented_header" if commented else "ascii"
        lines = [f"# {names}" if commented else names, *rows]
        table = Table.read(lines, format=kind, fill_values=_ABSENT, converters=converters)
        return _with_units(_with_numbers(table, converters), units)
    _check_names(file, fields)
    # Readers of other marks take blanks off both ends of a row, and with them empty fields between tabs.
    kind = {"format": "ascii.tab"} if mark == "\t" else {"format": "ascii.basic", "delimiter": mark}
    table = Table.read(
        [names, *rows],
        comment="#",
        fill_values=_ABSENT,
        guess=False,
        fast_reader=False,
        converters=converters,
        **kind,
    )
    table = _with_numbers(table, converters)
    table = _with_decimal_points(table) if mark == ";" else table
    return _with_units(table, units)


def _with_units(table, units):
    for name, unit in zip(table.colnames, units, strict=False):
        table[name].unit = unit.strip() or None
    return table


def _mark(line):
    """Return what stands between the fields of a line, None for blanks."""
    mark = max(",;\t|", key=line.count)
    return mark if line.count(mark) else None


def _parts(file, lines):
    """Return the line with the names of a text table, its rows, its units, and whether a comment has the names.

    Names are on the first line that is no comment, or on a comment above it: the last with as many fields as the first
    row, best one with a name that is known. Below them may be units, and a ruler (VizieR's TSV).
    """
    head = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines) - 1)
    comments, rows = [line.lstrip("# ") for line in lines[:head]], lines[head:]
    ruler = next((number for number, line in enumerate(rows[:3]) if _RULER.fullmatch(line)), 0)
    if ruler:
        units = rows[1].split(_mark(rows[0])) if ruler == 2 else []
        return rows[0], rows[ruler + 1 :], units, False
    mark = _mark(rows[0])
    fields = [line.split(mark) for line in comments]
    fit = [number for number, one in enumerate(fields) if len(one) == len(rows[0].split(mark))]
    known = [number for number in fit if _KNOWN.intersection(name.strip(" \"'").lower() for name in fields[number])]
    if fit:
        names = (known or fit)[-1]
        said = [f"# {line}" for line in comments[names + 1 : names + 2]]
        below, units = take_units(file, comments[names], [*said, *rows], mark, refuse=False)
        below = below[len(below) - len(rows) :] if len(below) > len(rows) else below
    # Words above numbers are names themselves, if they are no units.
    if not fit or (not units and not _numbers(rows[0], mark) and len(rows) > 1 and _numbers(rows[1], mark)):
        below, units = take_units(file, rows[0], rows[1:], mark)
        return rows[0], below, units, False
    return comments[names], below, units, True


def _numbers(line, mark):
    """Return how many fields of a line are numbers."""
    return sum(re.fullmatch(r"\s*[\"']?[+-]?(\d+\.?|\.\d)\S*\s*", text) is not None for text in line.split(mark))


_KNOWN = {"id"}.union(*SKY_NAMES, *PIXEL_NAMES)
# Also the types of RDB.
_RULER = re.compile(r"[-\s,;|]*--[-\s,;|]*|(\d*[NS]\t)+\d*[NS]")
_OWN_READERS = re.compile(r"\\|\|.*\n\|[|\s]*(int|long|float|double|real|char|date)[|\s]")
_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")


def _say_comments(file, names, rows, mark):
    """Say how many rows are left out because they begin with #, where they look as the others do."""
    width = len(names.split(mark))
    count = sum(row.startswith("#") and len(row.split(mark)) == width and _numbers(row, mark) > 0 for row in rows)
    if count:
        logger.warning(
            "%s: %d rows begin with # and are left out as comments; quote the # if it belongs to a value", file, count
        )


def _with_numbers(table, ids):
    """Turn names of objects that are plain whole numbers to numbers; 007, 1E5 and 8.10 are no numbers."""
    for name in (name for name in ids if name in table.colnames and table[name].dtype.kind == "U"):
        column = np.ma.asarray(table[name])
        texts = column.compressed().tolist()
        if texts and all(map(_WHOLE.fullmatch, texts)):
            numbers = [int(text.partition(".")[0]) for text in texts]
            if -(2**63) <= min(numbers) <= max(numbers) < 2**63:
                whole = np.ma.MaskedArray(np.zeros(len(table), np.int64), np.ma.getmaskarray(column))
                whole[~whole.mask] = numbers
                table[name] = whole if whole.mask.any() else whole.data
    return table


def _with_decimal_points(table):
    """Read numbers with a comma for the point, as spreadsheets of many languages write them between semicolons."""
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind != "U":
            continue
        texts = [text for text in np.ma.filled(np.ma.asarray(column), "").tolist() if text]
        if texts and all(_DECIMAL_COMMA.fullmatch(text) for text in texts) and any("," in text for text in texts):
            values = np.ma.filled(np.ma.asarray(column), "").tolist()
            table[name] = [float(text.replace(",", ".")) if text else np.nan for text in values]
    return table


def flat(table):
    """Change a table to one without columns of sky positions and times, which become numbers and text; return it."""
    from astropy.coordinates import SkyCoord
    from astropy.time import Time

    for name in table.colnames:
        column = table[name]
        if isinstance(column, SkyCoord):
            sky = column.icrs
            names = ("ra", "dec") if not {"ra", "dec"} & {other.lower() for other in table.colnames} else (
                f"{name}.ra", f"{name}.dec"
            )  # fmt: skip
            table[names[0]], table[names[1]] = sky.ra, sky.dec
            del table[name]
        elif isinstance(column, Time):
            table[name] = np.asarray(column.isot).astype(str)
    return table
