"""Lists of stars of photutils, IRAF and DAOPHOT: where pixels count from 0, and where from 1."""

import pytest
from astropy.table import Table

from galzoo.data.columns import find_columns, pixel_position, read_table
from galzoo.errors import InputError

IRAF = """#K IRAF       = NOAO/IRAFV2.16          version    %-23s
#K IMAGE      = f.fits                  imagename  %-23s
#N ID    XCENTER   YCENTER   MAG         MERR          MSKY           NITER    \\
#U ##    pixels    pixels    magnitudes  magnitudes    counts         ##       \\
#F %-9d  %-10.3f   %-10.3f   %-12.3f     %-14.3f       %-15.7g        %-6d
#
#N         SHARPNESS   CHI         PIER  PERROR                                \\
#U         ##          ##          ##    perrors                               \\
#F         %-23.3f     %-12.3f     %-6d  %-13s
#
7        61.000    121.000   15.300      0.020         12.3           4        \\
           -0.010      1.100       0     No_error
8        7.500     8.250     16.300      0.030         12.3           4        \\
           -0.020      1.200       0     No_error
"""
HEAD = """ NL   NX   NY  LOWBAD HIGHBAD  THRESH     AP1  PH/ADU  RNOISE    FRAD
  1  200  200     0.0     0.0    0.00    0.00    0.00    0.00    0.00

"""
ALLSTAR = (
    HEAD
    + """      7   61.000  121.000  15.3000   0.0200    0.000       4.    1.100   -0.010
      8    7.500    8.250  16.3000   0.0300    0.000       4.    1.200   -0.020
"""
)
FOUND = HEAD + "      7   61.000  121.000  15.3000    0.512    0.021\n      8    7.500    8.250  16.3000    0.5   0.1\n"


@pytest.mark.parametrize("text", [IRAF, ALLSTAR, FOUND])
def test_lists_of_daophot_count_pixels_from_one(tmp_path, text):
    (tmp_path / "stars.als").write_text(text)
    table = read_table(tmp_path / "stars.als")
    found = find_columns(table)
    assert list(table[found["id"]]) == [7, 8]
    assert pixel_position(table, found, "x").tolist() == [60, 6.5]
    assert pixel_position(table, found, "y").tolist() == [120, 7.25]
    assert list(table["MAG"]) == [15.3, 16.3]
    assert text is FOUND or list(table["CHI"]) == [1.1, 1.2]


@pytest.mark.parametrize(
    "names", [("xcentroid", "ycentroid"), ("x_fit", "y_fit"), ("xcenter", "ycenter"), ("x_center", "y_center")]
)
def test_tables_of_photutils_count_pixels_from_zero(tmp_path, names):
    """DAOStarFinder, PSF and aperture photometry."""
    table = Table({"id": [7], names[0]: [60.0], names[1]: [120.0], "flux": [1.0]})
    table[names[0]].unit = table[names[1]].unit = "pix"
    table.write(tmp_path / "stars.ecsv")
    table = read_table(tmp_path / "stars.ecsv")
    found = find_columns(table)
    assert [pixel_position(table, found, role)[0] for role in ("x", "y")] == [60, 120]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD.replace("  1  200", "  2  200") + "7 1 2 3\n0 1 2\n", "with several lines a star"),
        (HEAD + "      7   61.000  121.000  15.3000\n      812345.000  121.000  15.3000\n", "part those that touch"),
    ],
)
def test_lists_that_cannot_be_read_are_refused(tmp_path, text, said):
    (tmp_path / "stars.als").write_text(text)
    with pytest.raises(InputError, match=f"stars.als: .*{said}"):
        read_table(tmp_path / "stars.als")
