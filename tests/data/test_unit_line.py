"""A line of units below the names of a text table is no row."""

import numpy as np
import pytest
from astropy import units as u

from galzoo.data.columns import find_columns, read_table, sky_positions
from galzoo.errors import InputError

ROWS = "10.0,2.25,21\n10.5,-0.5,22\n"


def table_of(tmp_path, text):
    (tmp_path / "c.csv").write_text(text)
    return read_table(tmp_path / "c.csv")


@pytest.mark.parametrize(
    "text",
    [
        "ra,dec,mag\nhourangle,deg,mag\n" + ROWS,
        'ra,dec,mag\n"[h]",(deg),\n' + ROWS,
        "ra,dec,mag\n#hourangle,deg,mag\n" + ROWS,
        "# ra,dec,mag\n# hourangle,deg,mag\n" + ROWS,
        "# ra,dec,mag\nhourangle,deg,mag\n" + ROWS,
        "# made by me, long ago\nra,dec,mag\nhourangle,deg,mag\n" + ROWS,
        "ra dec mag\nhourangle deg -\n" + ROWS.replace(",", " "),
        "ra\tdec\tmag\nhours\tdeg\tmag\n" + ROWS.replace(",", "\t"),
        "ra;dec;mag\nhourangle;deg;mag\n10,0;2,25;21\n10,5;-0,5;22\n",
    ],
)
def test_units_are_read(tmp_path, text):
    table = table_of(tmp_path, text)
    assert table.colnames == ["ra", "dec", "mag"]
    assert table["mag"].tolist() == [21, 22]
    assert "mag\n" not in text.partition("deg")[2] or table["mag"].unit == u.mag
    ra, dec, _ = sky_positions(table, find_columns(table))
    np.testing.assert_allclose([ra, dec], [[150, 157.5], [2.25, -0.5]])


def test_units_with_a_scale_and_without_a_value_below(tmp_path):
    table = table_of(tmp_path, "x,y,flux,name\npx,pixels,1e-17 erg/s/cm2,\n1,2,NaN,a\n3,4,2.5,b\n")
    assert table["flux"].unit == 1e-17 * u.erg / u.s / u.cm**2
    assert table["flux"][1] == 2.5
    assert find_columns(table) == {"id": "name", "x": "x", "y": "y"}


@pytest.mark.parametrize("line", ["east,north,bright", "deg,deg"])
def test_a_line_that_is_no_units_is_refused(tmp_path, line):
    with pytest.raises(InputError, match=f"c.csv: '{line}' stands above numbers and is no line of units"):
        table_of(tmp_path, f"ra,dec,mag\n{line}\n" + ROWS)


@pytest.mark.parametrize(
    "text",
    ["name,ra\nm,10.5\ns,\n", "name,z\nm,NaN\ns,0.5\n", "name,type\nm,s\nh,deg\n", "name,ra\na,10:00:28.6\nb,1\n"],
)
def test_rows_stay_rows(tmp_path, text):
    assert len(table_of(tmp_path, text)) == 2
