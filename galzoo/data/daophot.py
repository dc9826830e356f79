"""Reading lists of stars of DAOPHOT, of IRAF's (`#K IRAF`) and of Stetson's (`.coo`, `.als`); pixels count from 1."""

from astropy.table import Table

from galzoo.errors import InputError

_ALLSTAR = ("ID", "XCENTER", "YCENTER", "MAG", "MERR", "MSKY", "NITER", "CHI", "SHARPNESS")


def is_daophot(lines):
    """Return whether the lines of a text, blank ones left out, are those of a list of DAOPHOT."""
    return lines[0].startswith("#K IRAF") or (len(lines) > 2 and lines[0].split()[:3] == ["NL", "NX", "NY"])


def read_daophot(lines, name="catalogue"):
    """Return the stars of a list of DAOPHOT as a table with ``ID, XCENTER, YCENTER`` (pixels from 1) and ``MAG``.

    Parameters
    ----------
    lines : list of str
        Without blank ones.
    name : str
        What to call the file in errors.

    Raises
    ------
    InputError
        If stars have several lines, or lines differ in their number of columns.

    References
    ----------
    Stetson 1987, PASP 99, 191.
    """
    if lines[0].startswith("#K IRAF"):
        return Table.read(lines, format="ascii.daophot")
    if lines[1].split()[:1] == ["2"]:
        raise InputError(f"{name}: a list of DAOPHOT with several lines a star; give its .als or .coo")
    rows = [line.split() for line in lines[2:]]
    if not rows or len({len(row) for row in rows}) > 1 or len(rows[0]) < 4:
        raise InputError(f"{name}: a list of DAOPHOT whose lines differ in their columns; part those that touch")
    # Other lists than ALLSTAR's have magnitudes too, and then columns of their own.
    own = _ALLSTAR if len(rows[0]) == len(_ALLSTAR) else _ALLSTAR[:4]
    names = [*own, *(f"column_{number + 1}" for number in range(len(own), len(rows[0])))]
    try:
        values = [list(map(float, column)) for column in zip(*rows, strict=True)]
    except ValueError:
        raise InputError(f"{name}: a list of DAOPHOT with columns that touch; part them") from None
    table = Table(dict(zip(names, values, strict=True)))
    table["ID"] = table["ID"].astype(int)
    return table
