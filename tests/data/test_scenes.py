"""`Scenes` and their file: shapes, sources, slicing, splits, and what goes wrong."""

import h5py
import numpy as np
import pytest
from astropy import units as u

import galzoo
from galzoo.data import scenes_hdf5
from galzoo.data.info import describe
from galzoo.data.scenes import MOST_ISOLATED, Scenes
from galzoo.data.scenes_hdf5 import ScenesWriter
from galzoo.data.splits import split_names
from galzoo.errors import InputError
from tests.conftest import make_stamps
from tests.data.scene_files import asymmetric_scenes


def make_scenes(counts=(2, 0, 3, 1), seed=0, size=12, bands=("g", "i"), **changes):
    """Return scenes of noise with `counts` sources each; every number from `seed`."""
    rng = np.random.default_rng(seed)
    n, total, most = len(counts), sum(counts), max(counts)
    psf = rng.uniform(0.5, 1, (n, 5, 5, len(bands)))
    sources = {
        "scene": np.repeat(np.arange(n), counts),
        "source": np.concatenate([np.arange(count) for count in counts]),
        "parent": np.array([f"galaxy-{number}" for number in rng.integers(1000, size=total)], dtype="U16"),
        "x": rng.uniform(0, size, total) * u.pix,
        "y": rng.uniform(0, size, total) * u.pix,
    }
    sources |= {f"flux_{band}": rng.uniform(1, 9, total) * u.nJy for band in bands}
    isolated = rng.uniform(size=(n, most, size, size, len(bands)))
    isolated *= (np.arange(most) < np.array(counts)[:, None])[..., None, None, None]
    values = {
        "image": rng.normal(size=(n, size, size, len(bands))),
        "bands": bands,
        "pixel_scale": 0.2,
        "variance": np.ones((n, size, size, len(bands))),
        "psf": psf / psf.sum(axis=(1, 2), keepdims=True),
        "isolated": isolated,
        "segmentation": rng.integers(0, most + 1, (n, size, size)),
        "sources": sources,
        "survey": "test",
        "meta": {"origin": "test"},
    }
    return Scenes(**values | changes)


def same(one, other):
    for key in (*scenes_hdf5.PLANES, "psf"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key), err_msg=key)
    np.testing.assert_array_equal(one.psf_of(slice(None)), other.psf_of(slice(None)))
    assert one.header() == other.header()
    for mine, its in ((one.columns(), other.columns()), (one.source_columns(), other.source_columns())):
        assert mine.keys() == its.keys()
        for name, (values, unit) in mine.items():
            assert unit == its[name][1], name
            np.testing.assert_array_equal(values, its[name][0], err_msg=name)


def test_file_gives_back_what_was_saved(tmp_path):
    scenes = make_scenes()
    scenes.save(tmp_path / "s.h5")
    found = galzoo.Scenes.load(tmp_path / "s.h5")
    same(scenes, found)
    assert found.sources["flux_i"].unit == u.nJy
    header = scenes_hdf5.read_header(tmp_path / "s.h5")
    assert (header["n"], header["n_sources"], header["shape"]) == (4, 6, (12, 12))


@pytest.mark.parametrize("rows", [slice(1, 3), [3, 0, 0], [True, False, False, True], [], slice(None, None, -1)])
def test_rows_of_a_file_are_rows_of_the_scenes(tmp_path, rows):
    scenes = make_scenes()
    scenes.save(tmp_path / "s.h5")
    rows = rows if isinstance(rows, slice) else np.array(rows, dtype=bool if True in rows else int)
    found, part = Scenes.load(tmp_path / "s.h5", rows), scenes[rows]
    same(part, found)
    numbers = np.arange(4)[rows]
    np.testing.assert_array_equal(part.catalogue["n_sources"], np.array([2, 0, 3, 1])[numbers])
    np.testing.assert_array_equal(part.positions()[0], scenes.positions()[0][numbers])
    np.testing.assert_array_equal(part.psf_of(slice(None)), scenes.psf_of(numbers))


def test_parts_make_the_same_file_as_the_whole(tmp_path):
    scenes = make_scenes(counts=(1, 0, 4, 2))
    with ScenesWriter(tmp_path / "parts.h5") as writer:
        for part in (scenes[:2], scenes[2:]):
            most = int(part.catalogue["n_sources"].max())
            # A part is padded to its own largest number of sources only; the file grows.
            part.isolated = part.isolated[:, :most]
            writer.write(part)
    same(scenes, Scenes.load(tmp_path / "parts.h5"))
    with ScenesWriter(tmp_path / "parts.h5", append=True) as writer:
        writer.write(scenes)
    both = Scenes.load(tmp_path / "parts.h5")
    assert len(both) == 8
    same(Scenes.load(tmp_path / "parts.h5", [4, 5, 6, 7]), scenes)


def test_sources_are_sorted_and_padded():
    scenes = make_scenes(counts=(2, 1))
    table = scenes.sources[::-1]
    again = make_scenes(counts=(2, 1), sources=table)
    np.testing.assert_array_equal(again.flux(), scenes.flux())
    positions, n_sources = again.positions()
    assert list(n_sources) == [2, 1]
    assert np.all(positions[1, 1] == 0)
    assert np.all(again.flux()[1, 1] == 0)
    np.testing.assert_allclose(positions[1, 0], [scenes.sources["x"][2].value, scenes.sources["y"][2].value])
    assert list(scenes.sources["id"]) == ["0/0", "0/1", "1/0"]


def test_batch_is_cleaned_and_complete():
    scenes = make_scenes()
    scenes.image[2, 3, 4, 0] = np.nan
    scenes.variance[2, 5, 5] = 0
    batch = scenes.batch([2, 1])
    keys = {"image", "variance", "mask", "psf", "isolated", "positions", "n_sources", "flux", "index"}
    assert set(batch) == keys
    assert list(batch["index"]) == [2, 1]
    assert batch["mask"][0, 3, 4, 0]
    assert batch["image"][0, 3, 4, 0] == 0
    assert batch["mask"].sum() == 3
    assert np.isinf(batch["variance"][0, 5, 5]).all()
    assert batch["isolated"].shape[1] == batch["positions"].shape[1] == batch["flux"].shape[1] == 3
    bare = Scenes(scenes.image, bands=scenes.bands, pixel_scale=0.2).batch()
    assert bare["positions"].shape == (4, 1, 2)
    assert bare["n_sources"].sum() == 0
    assert bare["variance"][0].mean() == pytest.approx(1, abs=0.6)


def test_a_scene_is_in_a_split_only_with_all_its_galaxies():
    rng = np.random.default_rng(1)
    scenes = make_scenes(counts=tuple(rng.integers(0, 4, 200)), size=6)
    options = {"valid": 0.2, "test": 0.3, "seed": 5}
    parts = {name: scenes.split(name, **options) for name in ("train", "valid", "test")}
    for name, part in parts.items():
        assert len(part) > 0
        assert set(split_names({"id": np.asarray(part.sources["parent"])}, **options)) == {name}
    ids = [identifier for part in parts.values() for identifier in part.catalogue["id"]]
    assert len(set(ids)) == len(ids) < 200
    # Scenes without galaxies are somewhere: their own name decides.
    empty = sum(int((part.catalogue["n_sources"] == 0).sum()) for part in parts.values())
    assert empty == (scenes.catalogue["n_sources"] == 0).sum()
    assert len(scenes.split("all")) == 200


def test_sources_without_parent_do_not_decide_and_a_column_wins():
    scenes = make_scenes(counts=(2,), size=6)
    name = str(split_names({"id": np.array(["a"])})[0])
    scenes.sources["parent"] = ["a", ""]
    assert len(scenes.split(name)) == 1
    scenes.catalogue["split"] = ["valid"]
    assert len(scenes.split("valid")) == 1
    with pytest.raises(InputError, match="split 'dev' is unknown"):
        scenes.split("dev")


WRONG = {
    "image": (np.zeros((4, 12, 12)), "scenes are"),
    "pixel_scale": (0, "pixel_scale is 0"),
    "variance": (np.full((4, 12, 12, 2), -1.0), "negative values"),
    "segmentation": (np.zeros((4, 12, 11)), "segmentation has shape"),
    "isolated": (np.zeros((4, 2, 12, 12, 2)), "isolated has shape"),
    "psf": (np.full((3, 5, 5, 2), 0.04), "3 PSFs for 4 scenes"),
    "catalogue": ({"id": ["a"]}, "1 rows for 4 scenes"),
    "sources": ({"scene": [0, 0], "source": [0, 2]}, "numbered"),
}


@pytest.mark.parametrize("key", WRONG)
def test_what_does_not_fit_is_one_line(key):
    value, message = WRONG[key]
    with pytest.raises(InputError, match=message) as caught:
        make_scenes(**{key: value})
    assert "\n" not in str(caught.value)


def test_other_faults():
    with pytest.raises(InputError, match="2 bands but 1 names: g"):
        Scenes(np.zeros((1, 4, 4, 2)), bands=["g"], pixel_scale=0.2)
    with pytest.raises(InputError, match="in scenes 0 to 4; there are 4"):
        make_scenes(sources={"scene": [0, 4], "source": [0, 0]})
    with pytest.raises(InputError, match="no column 'scene'"):
        make_scenes(sources={"x": [1.0]})
    with pytest.raises(InputError, match=f"has 17 sources, isolated holds at most {MOST_ISOLATED}"):
        make_scenes(counts=(17,), size=4)
    assert make_scenes(counts=(17,), size=4, isolated=None).positions()[0].shape == (1, 17, 2)
    with pytest.raises(InputError, match="no column 'flux_g'"):
        make_scenes(sources={"scene": [0], "source": [0]}).flux()


def test_other_files_are_refused_by_what_they_are(tmp_path):
    make_stamps(n=2).save(tmp_path / "stamps.h5")
    make_scenes().save(tmp_path / "scenes.h5")
    with pytest.raises(InputError, match="stamps.h5: not a galzoo scene file; it is one of stamps"):
        Scenes.load(tmp_path / "stamps.h5")
    with pytest.raises(InputError, match="scenes.h5: not a galzoo stamp file; it is one of scenes"):
        galzoo.Stamps.load(tmp_path / "scenes.h5")
    with pytest.raises(InputError, match="no such file; make one with `galzoo simulate scenes`"):
        Scenes.load(tmp_path / "none.h5")
    with h5py.File(tmp_path / "scenes.h5", "a") as file:
        file.attrs["version"] = 2
    with pytest.raises(InputError, match="scene format version 2"):
        Scenes.load(tmp_path / "scenes.h5")


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "s.h5"
    make_scenes().save(path)
    before = path.read_bytes()
    odd = make_scenes(seed=1)
    odd.sources["colour"] = np.zeros(6)
    with pytest.raises(InputError, match="sources column 'colour'"), ScenesWriter(path, append=True) as writer:
        writer.write(odd)
    with pytest.raises(InputError, match="images of shape"), ScenesWriter(path, append=True) as writer:
        writer.write(make_scenes(size=9))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_scene_file_holds_is_said_and_drawn(tmp_path):
    from galzoo.viz.panels import draw_file

    asymmetric_scenes(n=6).save(tmp_path / "s.h5")
    lines = describe(tmp_path / "s.h5")
    assert "6 scenes of 24 x 24 pixels" in lines[0]
    # Scene k has k modulo 4 sources.
    assert "7 sources:" in lines
    assert any(line.startswith("  half_light_radius: 0.") for line in lines)
    draw_file(tmp_path / "s.h5", tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
