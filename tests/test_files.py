import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable

from galzoo import Stamps, __version__, files, load
from galzoo.cli import main
from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.tables import read_table
from galzoo.errors import InputError, PresetError
from galzoo.field.open_field import open_field
from galzoo.field.pieces import output_folder
from galzoo.files import atomic_path, plain, write_json, write_table, write_text
from galzoo.viz.panels import save
from tests.conftest import make_stamps
from tests.data.test_doors import header


def test_json_holds_what_numpy_has_and_null_where_there_is_no_number(tmp_path):
    value = {
        "array": np.array([1.5, np.nan, -np.inf]), "number": np.float32(0.25), "count": np.int64(3),
        "nested": [{"flag": np.bool_(True)}, (None, "text", Path("/tmp"))],
    }  # fmt: skip
    write_json(tmp_path / "out.json", value)
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "array": [1.5, None, None], "number": 0.25, "count": 3, "nested": [{"flag": True}, [None, "text", "/tmp"]],
    }  # fmt: skip
    assert plain(np.pi, digits=4) == 3.142
    with pytest.raises(TypeError, match="set"):
        plain({1})


@pytest.mark.parametrize("rows", [0, 3, 4, 10])
def test_tables_written_in_parts_are_what_astropy_writes_at_once(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(files, "_ROWS", 4)
    number = np.arange(rows)
    text = np.array(["plain", "two words", "# no comment", "a\nb", "", "\u2028"] * 2)[:rows]
    table = QTable({"flux": number / 3 * u.nJy, "id": text, "row": MaskedColumn(number, mask=number == 5)})
    table["pair"] = np.stack([number, -number], axis=-1)
    table["flux"].info.description = "of the source"
    table.meta["made by"] = ["one", {"two": 2}]
    write_table(tmp_path / "parts.ecsv", table)
    table.meta["galzoo"] = __version__
    table.write(tmp_path / "whole.ecsv", format="ascii.ecsv")
    assert (tmp_path / "parts.ecsv").read_bytes() == (tmp_path / "whole.ecsv").read_bytes()


def test_a_link_keeps_its_place_and_its_file_is_written(tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    for name, write in (("a.txt", lambda path: write_text(path, "new")), ("a.h5", make_stamps(n=2).save)):
        (tmp_path / "here" / name).symlink_to(tmp_path / "there" / name)
        write(tmp_path / "here" / name)
        assert (tmp_path / "here" / name).is_symlink()
        assert (tmp_path / "there" / name).stat().st_size > 0
    assert len(list((tmp_path / "here").iterdir())) == len(list((tmp_path / "there").iterdir())) == 2


def test_devices_and_pipes_are_no_files_to_write(tmp_path):
    """A finished file would take their place: of /dev/null, for all programs of the machine."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "null"):
        for writer in (StampsWriter, lambda path: atomic_path(path).__enter__()):
            with pytest.raises(InputError, match=f"{path.name}: is a device or a pipe; name a file to write"):
                writer(path)
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("name", ["picture", "picture.foo"])
def test_pictures_have_a_format(tmp_path, name):
    """Without one, an empty file stood beside a picture under another name."""
    with pytest.raises(InputError, match=f"{name}: no format of pictures; name it .png, .pdf or .svg"):
        save(make_stamps(n=2).plot(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a/b", "."])
def test_columns_that_would_be_folders_are_refused(tmp_path, name):
    stamps = make_stamps(n=2)
    stamps.catalogue[name] = [1, 2]
    with pytest.raises(InputError, match=f"a.h5: column '{name}' would be a folder of the file; name it without /"):
        stamps.save(tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, capsys):
    """In Python, and on the command line in quotes or behind =; nothing is written to a folder of that name."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(), work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    stamps = make_stamps(n=2)
    stamps.save("~/made/x.h5")
    assert len(Stamps.load("~/made/x.h5")) == 2
    fits.writeto(home / "f.fits", np.random.default_rng(0).normal(size=(64, 64)), header(MAGZERO=31.4))
    with open_field("~/f.fits", bands=["r"]) as field:
        assert field.name == str(home / "f.fits")
    (home / "xy.csv").write_text("x,y\n30,30\n")
    assert len(read_table("~/xy.csv")) == 1
    assert output_folder("~/out", "detect") == home / "out"
    with pytest.raises(PresetError, match=f"{home}: has no model.keras"):
        load("~")
    argv = "galzoo data cutouts ~/f.fits --bands r --catalog=~/xy.csv --size 16 -o ~/cut.h5"
    monkeypatch.setattr("sys.argv", argv.split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, capsys.readouterr().err
    assert (home / "cut.h5").is_file()
    assert not list(work.iterdir())
