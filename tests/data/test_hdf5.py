"""The stamp file: whole or not there, appended to only by what fits."""

import errno
import os
import sys

import h5py
import numpy as np
import pytest
from astropy import units as u

from galzoo import Stamps
from galzoo.data import hdf5
from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.source import StampSource
from galzoo.errors import InputError
from tests.conftest import make_stamps


def write(path, parts, append=False):
    with StampsWriter(path, append=append) as writer:
        for part in parts:
            writer.write(part)


def test_importing_needs_neither_astropy_nor_a_back_end():
    import subprocess

    program = "import sys, galzoo.data.hdf5; print(sorted({'astropy', 'keras', 'tensorflow'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "s.h5"
    make_stamps(n=3).save(path)
    before = path.read_bytes()

    def parts():
        yield make_stamps(n=2, seed=1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(path, parts())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["write", "close"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, where):
    path = tmp_path / "s.h5"
    make_stamps(n=3).save(path)
    before = path.read_bytes()
    close = h5py.File.close

    def full(self, *_, **__):
        if where == "close":
            close(self)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr(StampsWriter, "_append", full)
        else:
            patch.setattr(h5py.File, "close", full)
        with pytest.raises(OSError, match="No space left"):
            make_stamps(n=2, seed=1).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_write_makes_no_file(tmp_path):
    with pytest.raises(InputError, match="no stamp was made"), StampsWriter(tmp_path / "s.h5"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_append_adds_and_moves_psf_numbers(tmp_path):
    path = tmp_path / "s.h5"
    parts = [make_stamps(n=n, seed=n) for n in (3, 4)]
    parts[1].psf = np.flip(parts[1].psf + np.linspace(0, 1e-3, 9, dtype="float32")[:, None, None], axis=1)
    parts[1].psf = parts[1].psf / parts[1].psf.sum(axis=(1, 2), keepdims=True)
    parts[0].save(path)
    with StampsWriter(path, append=True) as writer:
        writer.write(parts[1])
        assert len(writer) == 7
    both = Stamps.load(path)
    assert len(both.psf) == 2
    np.testing.assert_array_equal(both.image, np.concatenate([part.image for part in parts]))
    psf = np.concatenate([part.psf_of(slice(None)) for part in parts])
    np.testing.assert_allclose(both.psf_of(slice(None)), psf, rtol=1e-6)
    assert list(both.catalogue["id"]) == [*parts[0].catalogue["id"], *parts[1].catalogue["id"]]


def changed(**changes):
    stamps = make_stamps(n=2)
    for key, value in changes.items():
        setattr(stamps, key, value)
    return stamps


def with_column(name, values):
    stamps = make_stamps(n=2)
    stamps.catalogue[name] = values
    return stamps


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make_stamps(n=2, size=20), "shape"),
        (make_stamps(n=2, psf_size=7), "psf has entries of shape"),
        (changed(bands=("i",)), "bands"),
        (changed(pixel_scale=0.3), "pixel_scale"),
        (changed(unit="ct"), "unit 'nJy'"),
        (changed(truth=None), "planes"),
        (changed(image=np.zeros((2, 24, 24, 1), "complex64")), "complex64"),
        (with_column("new", [1, 2]), "'catalogue/new'|'new'"),
        (with_column("type", [0.5, 1.5]), "float64"),
        (with_column("width", [1, 2] * u.arcsec), "arcsec"),
    ],
)
def test_append_refuses_what_does_not_fit(tmp_path, other, words):
    path = tmp_path / "s.h5"
    make_stamps(n=3).save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        write(path, [other], append=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_that_lacks_a_column_is_refused(tmp_path):
    less = make_stamps(n=2)
    del less.catalogue["width"]
    with pytest.raises(InputError, match="'width' is not in every part"):
        write(tmp_path / "s.h5", [make_stamps(n=2), less])


@pytest.mark.parametrize("version", [0, 2])
def test_other_versions_are_refused(stamp_file, version):
    with h5py.File(stamp_file, "a") as file:
        file.attrs["version"] = version
    with pytest.raises(InputError, match=f"version {version}, this galzoo reads version 1"):
        hdf5.read_header(stamp_file)


@pytest.mark.parametrize("rows", [[], [0], [79, 3, 3, 40], np.arange(80) % 7 == 0, slice(5, 60, 9), [-1]])
def test_any_rows_are_read_as_numpy_picks_them(stamp_file, rows):
    whole = hdf5.read_planes(stamp_file, ["image"])["image"]
    picked = np.asarray(rows) if len(np.shape(rows)) and len(rows) else (rows if isinstance(rows, slice) else [])
    expected = whole[:0] if isinstance(picked, list) else whole[picked]
    np.testing.assert_array_equal(hdf5.read_planes(stamp_file, ["image"], rows)["image"], expected)


def test_absent_columns_are_named(stamp_file):
    with pytest.raises(InputError, match="no catalogue column 'redshift'; it has id, type, width"):
        hdf5.read_columns(stamp_file, ["redshift"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"SIMPLE  =                    T", "a FITS file, not stamps.*galzoo data cutouts"),
        (b"x,y\n1,2\n", "not a file of stamps.*galzoo data make"),
        (b"\x89HDF\r\n\x1a\nshort", "truncated or damaged HDF5 file"),
    ],
)
def test_what_a_file_is_that_holds_no_stamps(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=message):
        hdf5.read_header(tmp_path / "file")
    with pytest.raises(InputError, match="a folder"):
        hdf5.read_header(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda file: replace(file, "variance", np.ones((2, 8, 8, 1))),
            r"variance has shape \(2, 8, 8\), image \(5, 8, 8\)",
        ),
        (lambda file: replace(file, "catalogue/id", np.arange(3)), r"column id has shape \(3,\) for 5 images"),
        (
            lambda file: replace(file, "image", h5py.ExternalLink("absent.h5", "/image")),
            "no image in it, or only a link",
        ),
        (lambda file: replace(file, "catalogue", None), "no catalogue in it"),
        (lambda file: file.attrs.__delitem__("header"), "its header is absent or damaged"),
    ],
)
def test_files_that_are_not_whole_are_refused(tmp_path, change, words):
    Stamps(np.ones((5, 8, 8, 1)), ["r"], 0.2, variance=np.ones((5, 8, 8, 1))).save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        change(file)
    for reader in (Stamps.load, lambda path: StampSource(path, split="all")):
        with pytest.raises(InputError, match=f"a.h5: .*{words}"):
            reader(tmp_path / "a.h5")


def replace(file, name, value):
    del file[name]
    if value is not None:
        file[name] = value


def test_pixels_that_another_file_holds_must_be_there(tmp_path):
    """HDF5 itself gives zeros."""
    Stamps(np.ones((5, 8, 8, 1)), ["r"], 0.2).save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "pixels.h5", "w") as file:
        file["image"] = np.full((5, 8, 8, 1), 3, "f4")
    layout = h5py.VirtualLayout((5, 8, 8, 1), "f4")
    layout[:] = h5py.VirtualSource("pixels.h5", "image", (5, 8, 8, 1))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["image"]
        file.create_virtual_dataset("image", layout)
    np.testing.assert_array_equal(Stamps.load(tmp_path / "a.h5").image, 3)
    (tmp_path / "pixels.h5").unlink()
    with pytest.raises(InputError, match=r"image is kept in pixels.h5, which is not there"):
        Stamps.load(tmp_path / "a.h5")
