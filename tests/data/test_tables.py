"""Catalogues as they come: formats by content, positions under any name and unit, what is missing, exact tests."""

import bz2
import gzip
import logging
import lzma

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked

from galzoo import Stamps
from galzoo.data.columns import find_columns, pixel_position, read_table, sky_positions, to_quantities
from galzoo.data.plain import identifiers, marks_of_missing, missing, plain
from galzoo.data.sky import to_icrs
from galzoo.data.where import select
from galzoo.errors import InputError

RA, DEC = np.array([10.684708, 299.59]), np.array([-0.00875, 35.2016])


def degrees_of(table, **mapping):
    lon, lat, frame = sky_positions(table, find_columns(table, mapping))
    return to_icrs(lon, lat, frame)


def write_fits(path, *tables):
    hdus = [
        fits.BinTableHDU.from_columns([fits.Column(*one[:2], unit=one[2], array=one[3]) for one in columns], name=name)
        for name, columns in tables
    ]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    "unit", ["deg", "degree", "Degrees", "DEG", "[deg]", "deg (J2000)", "'deg'", "d", "degree, ICRS"]
)
def test_spellings_of_degrees(unit, tmp_path):
    table = read_table(write_fits(tmp_path / "c.fits", ("A", [("RA", "D", unit, RA), ("DEC", "D", unit, DEC)])))
    np.testing.assert_allclose(degrees_of(table), [RA, DEC])


@pytest.mark.parametrize(
    ("unit", "per_degree"),
    [("h", 1 / 15), ("HOURS", 1 / 15), ("hourangle", 1 / 15), ("rad", np.pi / 180), ("radians", np.pi / 180),
     ("arcsec", 3600), ("mas", 3.6e6)],
)  # fmt: skip
def test_units_other_than_degrees(unit, per_degree, tmp_path):
    path = write_fits(tmp_path / "c.fits", ("A", [("RA", "D", unit, RA * per_degree), ("DEC", "D", "deg", DEC)]))
    np.testing.assert_allclose(degrees_of(read_table(path)), [RA, DEC], rtol=1e-12)


@pytest.mark.parametrize(("unit", "column"), [("pixel", "RA"), ("nonsense", "RA"), ("hours", "DEC"), ('"h:m:s"', "RA")])
def test_units_that_do_not_fit_are_refused_by_name(unit, column, tmp_path):
    units = {"RA": "deg", "DEC": "deg", column: unit}
    path = write_fits(tmp_path / "c.fits", ("A", [(name, "D", units[name], RA) for name in units]))
    with pytest.raises(InputError, match=f"column {column}"):
        degrees_of(read_table(path))


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (["00:42:44.32992", "19:58:21.6"], ["-00:00:31.5", "+35:12:05.76"]),
        (["00 42 44.32992", "19 58 21.6"], ["-0 0 31.5", "35 12 5.76"]),
        (["0h42m44.32992s", "19h58m21.6s"], ["-0d00m31.5s", "35d12m05.76s"]),
        (["10d41m04.9488s", "299d35m24s"], ["-0°00′31.5″", "+35°12′05.76″"]),
        # Numbers above 24 cannot be hours.
        (["10:41:04.9488", "299:35:24"], ["-00:00:31.5", "35:12:05.76"]),
        (["10.684708", " 299.59"], ["-0.00875", "35.2016"]),
    ],
)
def test_text_is_read_as_it_is_meant(ra, dec):
    np.testing.assert_allclose(degrees_of(Table({"ra": ra, "dec": dec})), [RA, DEC], atol=1e-9)


def test_the_unit_decides_what_text_is():
    table = Table({"ra": ["10:30:00", ""], "dec": ["01:00:00", ""]})
    np.testing.assert_allclose(degrees_of(table), [[157.5, np.nan], [1, np.nan]])
    table["ra"].unit = "deg"
    np.testing.assert_allclose(degrees_of(table)[0], [10.5, np.nan])
    table["ra"].unit = u.hourangle
    np.testing.assert_allclose(degrees_of(table)[0], [157.5, np.nan])


@pytest.mark.parametrize("text", ["10:61:00", "10:00:75", "M 31", "12,5", "10:30"])
def test_text_that_is_no_coordinate_is_refused(text):
    table = Table({"ra": ["150.1", text], "dec": ["2.0", "2.1"]})
    with pytest.raises(InputError, match="column ra"):
        degrees_of(table)


def test_names_and_frames_of_columns():
    place = SkyCoord(RA * u.deg, DEC * u.deg)
    for names, frame in (
        (("ALPHA_J2000", "DELTA_J2000"), "icrs"), (("_RAJ2000", "_DEJ2000"), "icrs"), (("GLON", "GLAT"), "galactic"),
        (("l", "b"), "galactic"), (("ELON", "ELAT"), "barycentricmeanecliptic"),
        (("ALPHA_B1950", "DELTA_B1950"), "fk4"),
    ):  # fmt: skip
        there = place.transform_to(frame).spherical
        table = Table({names[0]: there.lon.deg, names[1]: there.lat.deg, "a": [1.0, 2.0]})
        np.testing.assert_allclose(degrees_of(table), [RA, DEC], atol=1e-8)
    with pytest.raises(InputError, match="frame of an image"):
        degrees_of(Table({"X_WORLD": RA, "Y_WORLD": DEC}))
    with pytest.raises(InputError, match="two frames"):
        degrees_of(Table({"ra": RA, "GLAT": DEC}), ra="ra", dec="GLAT")


def test_columns_are_taken_in_pairs_and_doubts_are_refused():
    table = Table({"X_IMAGE": [1.0], "Y_IMAGE": [2.0], "YWIN_IMAGE": [3.0]})
    found = find_columns(table)
    assert (found["x"], found["y"]) == ("X_IMAGE", "Y_IMAGE")
    with pytest.raises(InputError, match="RA and ra may both"):
        find_columns(Table({"RA": [1.0], "ra": [2.0], "dec": [3.0]}))


@pytest.mark.parametrize("name", ["X_IMAGE", "XWIN_IMAGE", "XPEAK_IMAGE", "XPSF_IMAGE", "XMODEL_IMAGE", "x_image_F160W",
                                  "XMIN_IMAGE", "X_IMAGE_DBL"])  # fmt: skip
def test_pixels_of_sextractor_count_from_one(name):
    table = Table({name: [61.0], name.replace("X", "Y", 1).replace("x", "y", 1): [121.0], "x": [7.0], "y": [8.0]})
    found = find_columns(table, {"x": name, "y": table.colnames[1]})
    assert [pixel_position(table, found, role)[0] for role in "xy"] == [60, 120]
    assert [pixel_position(table, find_columns(table), role)[0] for role in "xy"] == [7, 8]


def test_pixel_columns_in_degrees_or_words_are_refused():
    for column in (MaskedColumn([1.0], unit="deg"), ["a"]):
        table = Table({"x": column, "y": [1.0]})
        with pytest.raises(InputError, match="column x"):
            pixel_position(table, find_columns(table), "x")


HEADS = ("LDAC_IMHEAD", [("Field Header Card", "80A", None, np.array(["SIMPLE = T"]))])
OBJECTS = ("LDAC_OBJECTS", [("X_IMAGE", "E", "pixel", [61.0]), ("Y_IMAGE", "E", "pixel", [121.0])])
OTHER = ("OTHER", [("X_IMAGE", "E", None, [5.0]), ("Y_IMAGE", "E", None, [6.0])])
NOTES = ("NOTES", [("text", "8A", None, np.array(["none"]))])


@pytest.mark.parametrize(
    ("tables", "ext", "x"),
    [([HEADS, OBJECTS], "", 61), ([OBJECTS], "", 61), ([NOTES, OBJECTS], "", 61), ([NOTES, OTHER], "", 5),
     ([OTHER, NOTES], "[OTHER]", 5), ([HEADS, OBJECTS, HEADS, OBJECTS], "[4]", 61), ([OBJECTS, OTHER], "[other,1]", 5),
     ([HEADS, OBJECTS, HEADS, OBJECTS], "[LDAC_OBJECTS,2]", 61)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".fits", ".cat", ".ldac", ".txt"])
def test_the_table_with_the_sources_is_found(tables, ext, x, suffix, tmp_path):
    path = write_fits(tmp_path / f"c{suffix}", *tables)
    assert read_table(f"{path}{ext}")["X_IMAGE"][0] == x


@pytest.mark.parametrize(
    ("tables", "ext", "words"),
    [([OTHER, ("MORE", OTHER[1])], "", "several tables"), ([HEADS, OBJECTS] * 2, "", "several tables"),
     ([NOTES, ("N2", NOTES[1])], "", "several tables"), ([OTHER], "[9]", "no extension"),
     ([OTHER], "[0]", "not a table"),
     ([OTHER, OTHER], "[OTHER]", "2 extensions")],
)  # fmt: skip
def test_which_table_is_never_guessed(tables, ext, words, tmp_path):
    with pytest.raises(InputError, match=words):
        read_table(f"{write_fits(tmp_path / 'c.fits', *tables)}{ext}")


TEXTS = {
    "bom": b"\xef\xbb\xbfra,dec,mag\n150.5,2.25,21\n",
    "utf16": "ra,dec,mag\n150.5,2.25,21\n".encode("utf-16"),
    "semicolons": b"ra;dec;mag\n150.5;2.25;21\n",
    "decimal commas": b"ra;dec;mag\r\n150,5;2,25;21\r\n",
    "tabs": b"ra\tdec\tmag\n150.5\t2.25\t21\n",
    "bars": b"ra|dec|mag\n150.5|2.25|21\n",
    "blanks": b"# ra dec mag\n150.5 2.25 21\n",
    "comment": b"# made by hand, in 2020\nra,dec,mag\n150.5,2.25,21\n",
    "comment of names": b"#ra,dec,mag\n150.5,2.25,21\n",
    "sextractor": b"#   1 ra  Right ascension  [deg]\n#   2 dec  Declination  [deg]\n#   3 mag\n 150.5 2.25 21\n",
    "quoted": b'"ra","dec","mag"\n"150.5","2.25","21"\n',
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("suffix", [".csv", ".cat", ".dat", ".fits"])
def test_text_by_its_content(kind, suffix, tmp_path):
    path = tmp_path / f"c{suffix}"
    path.write_bytes(TEXTS[kind])
    table = read_table(path)
    assert table.colnames == ["ra", "dec", "mag"]
    np.testing.assert_allclose(degrees_of(table), [[150.5], [2.25]])
    assert len(select(table, "mag<22")) == 1


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("form", ["fits", "votable", "ascii.ecsv", "ascii.csv"])
def test_packed_or_not_under_any_name(pack, form, tmp_path):
    Table({"RA": RA, "DEC": DEC}).write(tmp_path / "c", format=form)
    for data in ((tmp_path / "c").read_bytes(), pack((tmp_path / "c").read_bytes())):
        (tmp_path / "other.txt").write_bytes(data)
        np.testing.assert_allclose(degrees_of(read_table(tmp_path / "other.txt")), [RA, DEC])


def test_sky_columns_of_astropy(tmp_path):
    QTable({"sky": SkyCoord(RA * u.deg, DEC * u.deg).galactic}).write(tmp_path / "c.ecsv")
    np.testing.assert_allclose(degrees_of(read_table(tmp_path / "c.ecsv")), [RA, DEC])


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x89HDF\r\n\x1a\n", b"PAR1....", b"\x00\x01\x02" * 50, b"ra,dec\n"])
def test_what_is_no_catalogue_is_refused(data, tmp_path):
    (tmp_path / "c.csv").write_bytes(data)
    with pytest.raises(InputError, match=r"c\.csv"):
        read_table(tmp_path / "c.csv")


def test_missing_values_are_kept_as_missing(tmp_path):
    table = QTable({
        "z": MaskedColumn([0.1, 0.2, 0.3], mask=[0, 1, 0]), "n": MaskedColumn([1, 2, 3], mask=[0, 1, 0]),
        "name": MaskedColumn(["aa", "bb", "cc"], mask=[0, 1, 0]), "flux": Masked([1.0, 2.0, 3.0] * u.nJy, [0, 1, 0]),
        "mixed": np.array([1.5, None, 2], object), "words": np.array(["a", None, b"c"], object),
        "counts": np.array([1, None, 2**60 + 1], object), "code": MaskedColumn([b"x", b"y", b"z"], mask=[0, 1, 0]),
    })  # fmt: skip
    Stamps(np.ones((3, 8, 8, 1)), ["r"], 0.2, catalogue=table).save(tmp_path / "a.h5")
    back = Stamps.load(tmp_path / "a.h5").catalogue
    assert np.isnan([back["z"][1], back["flux"][1].value, back["mixed"][1]]).all()
    assert (back["n"][1], back["name"][1], back["words"][1], back["counts"][1], back["code"][1]) == (-1, "", "", -1, "")
    assert back["counts"][2] == 2**60 + 1
    assert back["flux"].unit == u.nJy
    assert list(back["words"]) == ["a", "", "c"]
    np.testing.assert_array_equal(missing(table["n"]), [False, True, False])
    assert plain(table["n"]).dtype.kind == "i"


BIG = 1237648720693755918
IDS = {"int64": np.arange(BIG - 1, BIG + 2), "uint64": np.arange(2**64 - 3, 2**64 - 1, dtype=np.uint64)}


@pytest.mark.parametrize("kind", IDS)
def test_large_integers_are_told_apart(kind, tmp_path):
    Table({"id": IDS[kind]}).write(tmp_path / "c.fits")
    table, second = read_table(tmp_path / "c.fits"), int(IDS[kind][1])
    others = [int(one) for one in IDS[kind] if one != second]
    for test in (f"id={second}", f"id=={second}", f"id>={second}, id<={second}"):
        assert [int(one) for one in select(table, test)["id"]] == [second]
    assert [int(one) for one in select(table, f"id!={second}")["id"]] == others
    assert [int(one) for one in select(table, f"id<{second}")["id"]] == [one for one in others if one < second]


def test_integers_against_fractions_and_beyond_their_range():
    table = Table({"n": np.array([1, 2, 3], np.int16), "u": np.array([0, 1, 2], np.uint8)})
    for test, n in (
        ("n<2.5", 2), ("n>2.5", 1), ("n>=2", 2), ("n<1e9", 3), ("n!=2.5", 3), ("u>-1", 3), ("u<300", 3), ("n=2e0", 1),
    ):  # fmt: skip
        assert len(select(table, test)) == n, test
    with pytest.raises(InputError, match="no row passes"):
        select(table, "u=256")


def test_floats_cannot_tell_large_numbers_apart():
    with pytest.raises(InputError, match="float64, which cannot tell"):
        select(Table({"id": np.array([float(BIG)])}), f"id={BIG}")
    assert len(select(Table({"z": np.array([0.1, 0.2], np.float32)}), "z=0.1")) == 1


def test_what_is_missing_passes_no_test():
    table = Table({"n": MaskedColumn([1, 2, 3], mask=[0, 0, 1]), "z": [1.0, np.nan, 3.0]})
    assert list(select(table, "n!=5")["n"]) == [1, 2]
    assert list(select(table, "n<3")["n"]) == [1, 2]
    assert list(select(table, "z!=1")["z"]) == [3]


def test_text_is_only_equal_or_not():
    table = Table({"name": ["NGC 1, A", "b and c"], "mag": ["21.5", "9.5"]})
    assert list(select(table, "name='NGC 1, A'")["name"]) == ["NGC 1, A"]
    assert list(select(table, "name!='b and c'")["name"]) == ["NGC 1, A"]
    with pytest.raises(InputError, match="holds text"):
        select(table, "mag<20")


def test_which_table_was_taken_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read_table(write_fits(tmp_path / "c.fits", NOTES, OTHER))
    assert "OTHER was taken" in caplog.text
    caplog.clear()
    # Beside the headers of SExtractor's there is no choice.
    read_table(write_fits(tmp_path / "c.fits", HEADS, OTHER))
    assert not caplog.records


def test_the_last_comment_with_names_has_them(tmp_path):
    (tmp_path / "c.txt").write_text("# ra dec z\n# ra dec mag\n# so it was\n1 2 3\n4 5 6\n")
    assert read_table(tmp_path / "c.txt").colnames == ["ra", "dec", "mag"]


def test_marks_of_what_is_not_known_are_said(caplog):
    table = Table({"mag": [22.5, 23.1, 27.0, -99.0, 99.0], "x": [50.0, 99.0, 120.0, 7.0, 3.0]})
    assert list(select(table, "mag<24")["mag"]) == [22.5, 23.1, -99.0]
    assert "of the rows that pass, 1 have mag = -99, which marks what is not known in many catalogues" in caplog.text
    caplog.clear()
    assert len(select(table, "mag<24, mag!=-99, x<=99")) == 2
    assert not caplog.records
    select(table, "mag>24")
    assert "1 have mag = 99, " in caplog.text


def test_marks_are_far_from_all_else():
    assert marks_of_missing(np.array([21.2, 23.0, -99.0, np.nan, -99.0])) == {-99.0: 2}
    assert marks_of_missing(np.array([21.2, 23.0, -99.9], np.float32)) == {-99.9: 1}
    assert marks_of_missing(np.array([150.0, -99.0])) == {}
    # A whole number among whole numbers is nothing odd, unless it is negative.
    assert marks_of_missing(np.array([1, 2, 99])) == {}
    assert marks_of_missing(np.array([1, 2, -999])) == {-999.0: 1}
    assert marks_of_missing(np.array(["a"])) == {}


def test_names_of_objects_have_no_point(caplog):
    """A column of integers with one missing is one of floats in many a format."""
    assert list(identifiers(np.array([17.0, np.nan, 3.0]))) == ["17", "", "3"]
    assert list(identifiers(MaskedColumn([4, 5], mask=[0, 1]))) == ["4", ""]
    assert list(identifiers(np.array([1.5, 2.0]))) == ["1.5", "2.0"]
    assert list(identifiers(np.array([" J1 ", "J2"]))) == ["J1", "J2"]
    assert not caplog.records
    identifiers(np.array([1.237648720693755e18]), "cat.fits: objid")
    assert "cat.fits: objid: numbers above 9007199254740992 as float64 have lost their last digits" in caplog.text
    stamps = Stamps(np.zeros((2, 8, 8, 1)), ["r"], 0.2, catalogue=QTable({"id": [7.0, 8.0]}))
    assert list(stamps.catalogue["id"]) == ["7", "8"]


NAMED = {
    "vizier": '#\n#Column\tRAJ2000\n\nid\tRAJ2000\tDEJ2000\tn\n\t"h:m:s"\t"d:m:s"\t\n--\t---\t---\t-\n'
    "7\t10 00 24\t+02 12 00\t\n8\t10 00 48\t-00 18 00\tx\n",
    "casjobs": "#Table1\nobjid,ra,dec\n7,150.1,2.2\n8,150.2,-0.3\n",
    "prose above names": "# made on a\n# good day\nid ra dec\n7 150.1 2.2\n8 150.2 -0.3\n",
    "prose of as many words": "# by J. Doe, May, 2020\nid,ra,dec\n7,150.1,2.2\n8,150.2,-0.3\n",
    "units in a comment": "# id ra dec\n# - deg deg\n7 150.1 2.2\n8 150.2 -0.3\n",
    "empty last field": "id\tra\tdec\tnote\n7\t150.1\t2.2\t\n8\t150.2\t-0.3\ta\n",
    "empty first field": "note\tid\tra\tdec\n\t7\t150.1\t2.2\na\t8\t150.2\t-0.3\n",
    "ipac": "\\fixlen = T\n| id |   ra  | dec |\n| int| double|double|\n   7  150.1   2.2\n   8  150.2   -.3\n",
    "ipac without comments": "| id |   ra  | dec |\n| int| double|double|\n   7  150.1   2.2\n   8  150.2   -.3\n",
    "rdb": "id\tra\tdec\nN\tN\tN\n7\t150.1\t2.2\n8\t150.2\t-0.3\n",
    "votable": '<VOTABLE version="1.3"><RESOURCE><TABLE><FIELD ID="col_0" name="id" datatype="long"/>'
    '<FIELD ID="col_1" name="ra" datatype="double"/><FIELD ID="col_2" name="dec" datatype="double"/><DATA><TABLEDATA>'
    "<TR><TD>7</TD><TD>150.1</TD><TD>2.2</TD></TR><TR><TD>8</TD><TD>150.2</TD><TD>-0.3</TD></TR>"
    "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>",
}


@pytest.mark.parametrize("kind", NAMED)
def test_where_the_names_of_columns_are(kind, tmp_path):
    (tmp_path / "c.txt").write_text(NAMED[kind])
    table = read_table(tmp_path / "c.txt")
    assert identifiers(table[find_columns(table)["id"]]).tolist() == ["7", "8"]
    np.testing.assert_allclose(degrees_of(table), [[150.1, 150.2], [2.2, -0.3]], atol=1e-12)


def test_words_above_words_are_rows(tmp_path):
    (tmp_path / "c.txt").write_text("# id label\nA spiral\nB none\n")
    assert read_table(tmp_path / "c.txt")["label"].tolist() == ["spiral", "none"]


@pytest.mark.parametrize("unit", ["", "ct", "NA", "deg"])
def test_integers_with_a_unit_keep_their_digits(unit):
    """A quantity is real, and reals end at 2^53."""
    large = [2**53 + 1, 5853498713190525697]
    table = Table({"id": large, "tile": large, "n": [1, 2]})
    for name in table.colnames:
        table[name].unit = u.Unit(unit, parse_strict="silent")
    stamps = Stamps(np.zeros((2, 4, 4, 1)), ["r"], 0.2, catalogue=table)
    assert stamps.catalogue["id"].tolist() == [str(one) for one in large]
    for found in (stamps.catalogue, to_quantities(table)):
        assert found["tile"].tolist() == large
    assert unit != "ct" or stamps.catalogue["n"].unit == u.ct


def test_text_of_fits_in_odd_forms(tmp_path):
    """Arrays and words of variable length, and text that ends before its field does."""
    columns = [
        fits.Column("numbers", "PD()", array=np.array([[1.0, 2.0], []], dtype=object)),
        fits.Column("word", "PA()", array=np.array(["abc", ""], dtype=object)),
        fits.Column("ended", "6A", array=np.array([b"a\0b", b"cd"])),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "c.fits")
    table = read_table(tmp_path / "c.fits")
    found = {name: plain(table[name]).tolist() for name in table.colnames}
    assert found == {"numbers": ["[1. 2.]", "[]"], "word": ["abc", ""], "ended": ["a", "cd"]}
    Stamps(np.zeros((2, 4, 4, 1)), ["r"], 0.2, catalogue=to_quantities(table)).save(tmp_path / "a.h5")
    assert Stamps.load(tmp_path / "a.h5").catalogue["ended"].tolist() == ["a", "cd"]


@pytest.mark.parametrize("where", ["a>1, b<9", "a>1 & b<9", "a>1&&b<9", "a>1 and b<9", "'a'>1,\"b\"<9", "b<9 and a>1"])
def test_tests_are_joined_in_four_ways_and_all_have_to_pass(where):
    table = Table({"a": [1, 2, 3, 4], "b": [5, 5, 9, 5], "brand": [1, 2, 3, 4]})
    assert select(table, where)["a"].tolist() == [2, 4]
    assert select(table, where + ",brand=4")["a"].tolist() == [4]


def test_columns_of_names_with_blanks_are_quoted():
    assert len(select(Table({"my mag": [1.0, 2.0]}), "'my mag'>1.5")) == 1


def test_logical_columns_are_true_or_false():
    table = Table({"star": [True, False, True], "n": [1, 0, 1]})
    assert select(table, "star=true")["n"].tolist() == [1, 1]
    assert select(table, "star=False")["n"].tolist() == [0]
    assert select(table, "n=true")["n"].tolist() == [1, 1]


def test_what_cannot_be_compared_is_refused():
    table = Table({"n": [1, 2000], "colours": np.ones((2, 3)), "z": [1.0, 2.0]})
    for where, words in (
        ("colours>0", "column 'colours' has several values a row"),
        ("n=2_000", "'2_000' in 'n=2_000' is no number"),
        ("z=nan", "is no number"),
        ("n", "cannot read 'n'"),
        ("m>1", "no column 'm' to select by; it has n, colours, z"),
        ("n>1, z<2", "no row passes 'n>1, z<2' of 2; loosen it"),
    ):
        with pytest.raises(InputError, match=words):
            select(table, where)


def test_infinity_is_above_and_below_all_integers():
    table = Table({"n": np.array([-128, 127], np.int8)})
    for where, passing in (("n<inf", 2), ("n>-inf", 2), ("n>=-inf", 2), ("n<=inf", 2), ("n!=inf", 2)):
        assert len(select(table, where)) == passing, where
    for where in ("n>inf", "n<-inf", "n=inf"):
        with pytest.raises(InputError, match="no row passes"):
            select(table, where)


def test_floats_are_told_apart_up_to_their_digits():
    """Of 24 binary ones of single precision; as they are in the table."""
    table = Table({"z": np.array([2.0**24, 1.0], np.float32)})
    assert len(select(table, f"z={2**24}")) == 1
    with pytest.raises(InputError, match="float32, which cannot tell 16777217"):
        select(table, f"z={2**24 + 1}")


@pytest.mark.parametrize(
    ("ra", "dec", "found"),
    [
        # Below 24 a number with colons is one of hours, from 24 on one of degrees.
        ("23:59:60.0", "-00:59:60.0", (360, -1)),
        ("13:00:00", "10:00:00", (195, 10)),
        ("24:00:00", "10:00:00", (24, 10)),
        ("10.5", "−2.25", (10.5, -2.25)),
        ("...", "-", (np.nan, np.nan)),
        ("None", "NA", (np.nan, np.nan)),
    ],
)
def test_text_at_the_limits_of_what_it_may_mean(ra, dec, found):
    lon, lat = degrees_of(Table({"ra": [ra], "dec": [dec]}))
    np.testing.assert_allclose([lon[0], lat[0]], found)


@pytest.mark.parametrize(
    ("ra", "dec", "words"),
    [
        (["10:60:00", "1:00:00"], ["1.0", "1.0"], "column ra: '10:60:00' in row 1 is no coordinate"),
        (["1:00:00", "10:00:60.5"], ["1.0", "1.0"], "column ra: '10:00:60.5' in row 2 is no coordinate"),
        (["10h00m00s", "10d00m00s"], ["1.0", "1.0"], "some rows are sexagesimal and some are not"),
        (["10:00:00", "150.0"], ["1.0", "1.0"], "some rows are sexagesimal and some are not"),
        (["1.0", "1.0"], ["1h00m00s", "2h00m00s"], "column dec: declinations in hours"),
        ([[1.0, 2], [3, 4]], [1.0, 1.0], "column ra: several values a row"),
        ([True, False], [1.0, 1.0], "column ra: holds bool, no coordinates"),
    ],
)
def test_coordinates_that_are_none_are_refused_with_their_row(ra, dec, words):
    with pytest.raises(InputError, match=words):
        degrees_of(Table({"ra": ra, "dec": dec}))


def test_units_that_say_nothing_are_none():
    table = Table({"ra": ["10:30:00"], "dec": [1.0]})
    table["ra"].unit = u.Unit("-", parse_strict="silent")
    table["dec"].unit = u.Unit("h:m:s", parse_strict="silent")
    with pytest.raises(InputError, match="declinations in hours"):
        degrees_of(table)
    table["dec"].unit = None
    assert degrees_of(table)[0][0] == pytest.approx(157.5)
    # Plain numbers under a unit of text are degrees.
    table = Table({"ra": ["150.5"], "dec": ["2.5"]})
    table["ra"].unit, table["dec"].unit = (u.Unit(text, parse_strict="silent") for text in ("h:m:s", "d:m:s"))
    assert [part[0] for part in degrees_of(table)] == [150.5, 2.5]


def test_a_minute_that_was_rounded_up_to_24_hours_leaves_the_others_hours():
    table = Table({"ra": ["01:00:00", "23:59:60.0"], "dec": [1.0, 2.0]})
    np.testing.assert_allclose(degrees_of(table)[0], [15, 360])


def test_text_that_is_no_utf_8_and_packed_by_xz(tmp_path):
    text = "name,ra,dec\nH\u00e9,150.5,2.25\n"
    for data in (text.encode("latin-1"), text.encode("utf-16-be"), text.encode("utf-16"), lzma.compress(text.encode())):
        marked = b"\xfe\xff" + data if data == text.encode("utf-16-be") else data
        (tmp_path / "c.csv").write_bytes(marked)
        assert read_table(tmp_path / "c.csv")["name"].tolist() == ["H\u00e9"]


def test_units_below_the_names_are_those_of_the_columns(tmp_path):
    (tmp_path / "c.tsv").write_text("RAJ2000\tmag\tn\nrad\tmag\t\n----\t---\t-\n1.5\t21\t4\n")
    table = read_table(tmp_path / "c.tsv")
    assert [table[name].unit for name in table.colnames] == [u.rad, u.mag, None]


def test_decimal_commas_stay_text_where_a_word_is_among_them_and_empty_fields_are_not_known(tmp_path):
    (tmp_path / "c.csv").write_text("z;word;n\n0,5;1,5;1\n;abc;2\n-1,5e2;2,5;3\n")
    table = read_table(tmp_path / "c.csv")
    np.testing.assert_array_equal(table["z"], [0.5, np.nan, -150])
    assert table["word"].tolist() == ["1,5", "abc", "2,5"]
    assert table["n"].tolist() == [1, 2, 3]
    (tmp_path / "c.csv").write_text('z,n\n"0,5",1\n"0,7",2\n')
    assert read_table(tmp_path / "c.csv")["z"].tolist() == ["0,5", "0,7"]


def test_two_columns_of_one_position_are_refused(tmp_path):
    for text in ("ra,dec,ra\n1,2,3\n", "ra dec ra\n1 2 3\n", '"ra","dec","ra"\n1,2,3\n'):
        (tmp_path / "c.csv").write_text(text)
        with pytest.raises(InputError, match="2 columns are called ra"):
            read_table(tmp_path / "c.csv")


def test_sky_columns_beside_others_of_their_name_and_times(tmp_path):
    place = SkyCoord(RA * u.deg, DEC * u.deg).galactic
    QTable({"place": place, "RA": [1.0, 2.0], "when": Time(["2020-01-02", "2020-01-03"])}).write(tmp_path / "c.ecsv")
    table = read_table(tmp_path / "c.ecsv")
    assert set(table.colnames) == {"RA", "place.ra", "place.dec", "when"}
    np.testing.assert_allclose(np.asarray(table["place.ra"]), RA)
    assert table["when"].tolist() == ["2020-01-02T00:00:00.000", "2020-01-03T00:00:00.000"]


def test_a_table_that_says_how_its_stand_in_is_fetched(tmp_path):
    (tmp_path / "c.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InputError, match="c.csv: is "):
        read_table(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("texts", "said"),
    [(["007", "08"], ["007", "08"]), (["1E5", "2"], ["1E5", "2"]), (["8.10", "8.1"], ["8.10", "8.1"]),
     (["12", "-3"], ["12", "-3"]), (["1.0", "2.0"], ["1", "2"]), (["1237648720693755918", "5"],) * 2,
     (["99999999999999999999", "5"],) * 2, (["7", ""], ["7", ""]), (["0", "n/a"], ["0", ""])],
)  # fmt: skip
@pytest.mark.parametrize("mark", [",", ";", "\t", "  "])
def test_names_of_objects_keep_their_text(tmp_path, texts, said, mark):
    if mark == "  " and "" in texts:
        texts = ['""' if text == "" else text for text in texts]
    rows = [mark.join((text, "1.5", "2.5", text)) for text in texts]
    path = tmp_path / "a.txt"
    path.write_text("\n".join([mark.join(("KEY", "x", "y", "id")), *rows]) + "\n")
    for table in (read_table(path), read_table(path, "KEY")):
        assert identifiers(table["id"]).tolist() == said
    assert identifiers(table["KEY"]).tolist() == said
    assert table["x"].tolist() == [1.5, 1.5]


def test_whole_numbers_that_name_objects_are_compared_as_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("id,x,y\n9,1,2\n10,3,4\n")
    assert select(read_table(tmp_path / "a.csv"), "id>9")["x"].tolist() == [3]


def test_rows_that_are_taken_for_comments_are_said(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("name,x,y\n#1,10,20\n# by hand\n3,30,40\n")
    assert len(read_table(tmp_path / "a.csv")) == 1
    assert "a.csv: 1 rows begin with # and are left out" in caplog.text
    caplog.clear()
    (tmp_path / "a.csv").write_text('name,x,y\n"#1",10,20\n# by hand\n3,30,40\n')
    assert (len(read_table(tmp_path / "a.csv")), caplog.text) == (2, "")


def test_columns_do_not_take_the_place_of_another():
    table = Table({"x": [1], "x_mosaic": [2], "a/b": [3], "a_b": [4], "id": ["a"], "id_mosaic": ["b"]})
    found = to_quantities(table, reserved=("id", "x"))
    values = {name: found[name][0] for name in found.colnames}
    assert values == {
        "x_mosaic": 1, "x_mosaic_mosaic": 2, "a_b_mosaic": 3, "a_b": 4, "id_mosaic": "a", "id_mosaic_mosaic": "b",
    }  # fmt: skip
