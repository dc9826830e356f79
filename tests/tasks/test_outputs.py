"""Nothing that is read is written over."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table

from galzoo import cli
from galzoo.data.build_dataset import make_named
from galzoo.data.hdf5_writer import StampsWriter
from galzoo.errors import InputError
from galzoo.field.cutouts import cutouts_from_files
from galzoo.field.pieces import PRODUCTS, check_folder, held, output_folder
from galzoo.files import atomic_path
from galzoo.tasks.deblend.run import deblend_field
from galzoo.tasks.detect.iterate import detect_iterated
from galzoo.tasks.detect.run import Settings as Detecting
from galzoo.tasks.detect.run import detect_field
from galzoo.tasks.screen.field import screen_field
from galzoo.tasks.segment.run import segment_field
from tests.data.test_doors import noise, write
from tests.field.fields import gaussian, least_squares


@pytest.mark.parametrize("task", [deblend_field, detect_field, detect_iterated, segment_field, screen_field])
def test_products_do_not_fall_on_the_input(tmp_path, task):
    """Such as a second run on the residual of a first, into its folder."""
    field = write(tmp_path / "residual.fits", noise())
    before = field.read_bytes()
    listed = {"catalogue": tmp_path / "a.csv"} if task is screen_field else {}
    with pytest.raises(InputError, match="residual.fits: is read, and could be written over; name another --output"):
        task(field, output=tmp_path, **listed)
    other = write(tmp_path / "field.fits", noise())
    with pytest.raises(InputError, match="residual.fits: is read"):
        task(other, output=tmp_path / "a" / "..", rms=f"{field}[0]", **listed)
    assert field.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["field.fits", "residual.fits"]


def test_inputs_beside_products_are_fine(tmp_path):
    write(tmp_path / "field.fits", noise())
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "model.fits", noise())
    inputs = tmp_path / "field.fits", [str(tmp_path / "deep" / "model.fits"), "model.fits"], np.zeros(3), None
    assert output_folder(tmp_path, "deblend", *inputs) == tmp_path
    with pytest.raises(InputError, match="model.fits: is read"):
        output_folder(tmp_path / "deep", "deblend", tmp_path / "deep" / "{band}.fits", bands=["model"])


@pytest.mark.parametrize("task", sorted(PRODUCTS))
def test_files_of_the_user_are_not_written_over(tmp_path, task):
    for name in PRODUCTS[task]:
        path = tmp_path / name
        path.write_bytes(b"precious")
        with pytest.raises(
            InputError, match=f"{name}: does not say that galzoo wrote it, and would be written over; move it, or name"
        ):
            check_folder(tmp_path, task)
        assert path.read_bytes() == b"precious"
        path.unlink()
    (tmp_path / "mine.fits").write_bytes(b"precious")
    assert check_folder(tmp_path, task) == tmp_path


def test_products_may_be_written_again(tmp_path):
    """Each says that galzoo wrote it."""
    field, seeing = write(tmp_path / "field.fits", noise(size=96) + 300 * gaussian((96, 96), 40, 40, 1.7)), 0.8
    table = Table({"x": [40.0], "y": [40.0]})
    folders = {}
    for task, run, options in (
        ("deblend", deblend_field, {"catalogue": table, "deblender": least_squares}),
        ("detect", detect_field, {"settings": Detecting(report=False, coco=True)}),
    ):
        for _ in range(2):
            written = run(field, output=tmp_path / task, bands=["r"], seeing=seeing, **options)
        folders[task] = {path.name for path in written} & set(PRODUCTS[task])
    assert folders["deblend"] == set(PRODUCTS["deblend"])
    starlike = {"counts.ecsv", "posterior.h5", "model.fits", "residual.fits"}
    assert set(PRODUCTS["detect"]) - folders["detect"] - starlike <= {"catalogue.parquet"}


def test_stamps_do_not_fall_on_what_they_are_cut_from(tmp_path):
    field, table = write(tmp_path / "field.fits", noise()), tmp_path / "xy.csv"
    table.write_text("x,y\n30,30\n")
    for output in (field, table):
        with pytest.raises(InputError, match=f"{output.name}: is read, and would be written over"):
            cutouts_from_files(field, output, size=16, catalogue=table)
    assert cutouts_from_files(field, tmp_path / "a.h5", size=16, catalogue=table) == 1


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("reconstruct", "deconvolved.h5"),
        ("embed", "stamps.h5"),
        ("classify", "stamps.h5"),
        ("classify", "classes.ecsv"),
    ],
)
def test_commands_on_stamps_do_not_write_over_what_they_read(tmp_path, monkeypatch, command, name):
    """A second run on the answer of a first, into its folder."""
    (tmp_path / name).write_text("kept")
    (tmp_path / "file").write_text("")
    stamps = tmp_path / name if name.endswith(".h5") else tmp_path / "other.h5"
    typed = ["--column", "a", "--labels", str(tmp_path / name)] if name.endswith(".ecsv") else []
    for output, said in ((tmp_path, f"{name}: is read, and could be written over"), (tmp_path / "file", "is a file")):
        monkeypatch.setattr(sys, "argv", ["galzoo", command, "some", str(stamps), *typed, "-o", str(output)])
        with pytest.raises(InputError, match=said):
            cli.app(standalone_mode=False)
    assert (tmp_path / name).read_text() == "kept"


def test_a_data_set_is_not_made_over_what_it_is_made_of(tmp_path):
    field = write(tmp_path / "field.fits", noise())
    before = field.read_bytes()
    options = {"mosaics": [str(field)], "catalogue": "list.csv"}
    with pytest.raises(InputError, match="field.fits: is read, and would be written over"):
        make_named("candels", tmp_path / "." / "field.fits", options)
    assert field.read_bytes() == before


def test_folders_are_no_files_to_write(tmp_path):
    """Said before the work and not after it, when the finished file cannot be moved there."""
    for writer in (StampsWriter, lambda path: atomic_path(path).__enter__()):
        with pytest.raises(InputError, match="is a folder; name a file to write"):
            writer(tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_runs_in_one_folder(tmp_path):
    """The second is refused while the first works, whatever it is asked for; then it may."""
    path, waits = write(tmp_path / "field.fits", noise()), "import sys; print('in', flush=True); sys.stdin.read()"
    code = f"from galzoo.field.pieces import held\nwith held({str(tmp_path)!r}): exec({waits!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        for task in (deblend_field, detect_field, detect_iterated):
            with pytest.raises(InputError, match="another run is writing there; wait for its end"):
                task(path, output=tmp_path)
        other.communicate()
    with held(tmp_path), pytest.raises(InputError, match="another run"), held(tmp_path):
        pass
    with held(tmp_path):
        pass
