"""Stamp files of other programs, and damaged ones, are read or refused in a line that names the file."""

import json

import h5py
import numpy as np
import pytest

from galzoo.data.hdf5 import open_file
from galzoo.data.info import describe
from galzoo.data.scenes import Scenes
from galzoo.data.source import StampSource
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from tests.conftest import make_stamps
from tests.scenes import make_scenes


@pytest.fixture
def path(tmp_path):
    make_stamps(n=3).save(tmp_path / "a.h5")
    return tmp_path / "a.h5"


def in_header(file, **changes):
    header = json.loads(file.attrs["header"]) | changes
    file.attrs["header"] = json.dumps({key: value for key, value in header.items() if value is not None})


def test_a_file_of_another_program_may_leave_out_what_says_nothing(path):
    """And write its attributes as bytes or text, and numbers as text."""
    with h5py.File(path, "a") as file:
        in_header(file, survey=None, meta=None, pixel_scale="0.2")
        file.attrs["format"], file.attrs["version"] = np.bytes_("galzoo-stamps"), "1"
        file["catalogue"].create_dataset("note", data=np.array([b"\xff\xfe"] * 3))
        file["catalogue"].create_dataset("pair", data=np.zeros(3, [("a", "f4"), ("b", "i4")]))
    stamps = Stamps.load(path)
    assert (stamps.survey, stamps.meta, stamps.pixel_scale) == ("", {}, 0.2)
    assert any(line.startswith("  pair: [('a'") for line in describe(path))


def test_columns_of_lists_are_text(path):
    with h5py.File(path, "a") as file:
        lists = file["catalogue"].create_dataset("lists", (3,), h5py.vlen_dtype(float))
        lists[0] = [1.5, 2]
    assert Stamps.load(path).catalogue["lists"].tolist() == ["[1.5 2. ]", "[]", "[]"]


def test_a_unit_of_nothing_is_refused(path):
    with h5py.File(path, "a") as file:
        file["catalogue/width"].attrs["unit"] = h5py.Empty("f")
    with pytest.raises(InputError, match="a.h5: unknown unit .* of a column"):
        Stamps.load(path)


@pytest.mark.parametrize("key", ["bands", "pixel_scale", "unit"])
def test_what_pixels_mean_is_not_guessed(path, key):
    with h5py.File(path, "a") as file:
        in_header(file, **{key: None})
    for reader in (Stamps.load, describe):
        with pytest.raises(InputError, match=f"a.h5: its header is absent or damaged .it lacks {key}.; make"):
            reader(path)


def test_groups_and_data_sets_in_the_place_of_each_other(path):
    for key in ("image", "catalogue/width"):
        with h5py.File(path, "a") as file:
            kept = file[key][...]
            del file[key]
            file.create_group(key)
        with pytest.raises(InputError, match=f"a.h5: {key.rpartition('/')[2]} is not what it should be"):
            Stamps.load(path)
        with h5py.File(path, "a") as file:
            del file[key]
            file[key] = kept
    with h5py.File(path, "a") as file:
        file.attrs["header"] = "[1]"
    with pytest.raises(InputError, match="a.h5: its header is absent or damaged; make the file again"):
        Stamps.load(path)


def test_what_is_wrong_with_the_pixels_names_the_file(path, tmp_path):
    with h5py.File(path, "a") as file:
        in_header(file, bands=["g", "r"])
    with pytest.raises(InputError, match="a.h5: image has 1 bands but 2 names: g, r"):
        Stamps.load(path)
    make_scenes(n=2).save(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file["variance"][0, 0, 0, 0] = -1
    with pytest.raises(InputError, match="s.h5: variance has negative values"):
        Scenes.load(tmp_path / "s.h5")


def test_damage_that_shows_when_pixels_are_read(path):
    with h5py.File(path) as file:
        data = file["image"].id
        place = data.get_chunk_info(0).byte_offset if data.get_num_chunks() else data.get_offset()
        length = data.get_chunk_info(0).size
    content = bytearray(path.read_bytes())
    content[place : place + length] = bytes(length)
    path.write_bytes(content)
    with pytest.raises(InputError, match="a.h5: damaged, or lacks a part .*make the file again"):
        Stamps.load(path)


def test_an_error_of_the_system_is_no_damage(path):
    with pytest.raises(OSError, match="No space left"), open_file(path):
        raise OSError(28, "No space left on device")


def put(file, key, values):
    del file[key]
    file.create_dataset(key, data=values)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: put(file, "psf", 2 * file["psf"][...]), "psf sums to 2, not 1"),
        (lambda file: put(file, "psf", file["psf"][..., 0]), "psf has shape"),
        (lambda file: put(file, "psf_index", np.full(3, 7)), "psf_index must hold 3 numbers"),
        (lambda file: put(file, "psf_index", np.full(3, -1)), "psf_index must hold 3 numbers"),
        (lambda file: put(file, "image", file["image"][...].astype(complex)), "image holds complex128"),
        (lambda file: put(file, "image", file["image"][..., 0]), "image has shape"),
        (lambda file: in_header(file, bands=["g", "r"]), "image has 1 bands but 2 names: g, r"),
        (lambda file: in_header(file, pixel_scale=-0.2), "pixel_scale is -0.2; write arcsec"),
        (lambda file: in_header(file, pixel_scale=float("nan")), "pixel_scale is nan; write arcsec"),
    ],
)
def test_training_refuses_what_stamps_do(path, spoil, said):
    """It reads the file by itself, on machines without astropy."""
    with h5py.File(path, "a") as file:
        spoil(file)
    for read in (Stamps.load, lambda path: StampSource(path, ("image", "psf"), split="all")):
        with pytest.raises(InputError, match=f"a.h5: {said}"):
            read(path)


def test_training_normalises_a_psf_as_stamps_do(path):
    with h5py.File(path, "a") as file:
        put(file, "psf", 1.05 * file["psf"][...])
        del file["psf_index"]
    batch = StampSource(path, ("psf",), split="all").batch([0, 2])
    np.testing.assert_allclose(batch["psf"], Stamps.load(path).psf_of([0, 2]), rtol=1e-6)
