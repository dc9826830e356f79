"""The data set `scenes`: drawn by GalSim, or pasted from a bank of stamps."""

import numpy as np
import pytest

from galzoo.data.build_dataset import make_named
from galzoo.data.scenes import Scenes
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.simulate.scene_files import make_scene_set
from galzoo.simulate.scenes import make_scenes
from tests.conftest import make_stamps

OPTIONS = {"size": 48, "sources": [2, 6], "stamps": 5, "stars": 0.3, "seed": 4}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    stamps = make_stamps(n=60, size=20, bands=("r", "i"))
    rng = np.random.default_rng(1)
    for name in ("e1", "e2"):
        stamps.catalogue[name] = rng.uniform(-0.5, 0.5, 60)
    path = tmp_path_factory.mktemp("bank") / "bank.h5"
    stamps.save(path)
    return path


@pytest.fixture(scope="module")
def pasted(bank, tmp_path_factory):
    path = tmp_path_factory.mktemp("pasted") / "scenes.h5"
    assert make_named("scenes", path, {"n": 8, "bank": str(bank), "progress": False, **OPTIONS}) == 8
    return Scenes.load(path)


def test_drawn_scenes_are_those_of_the_simulator(tmp_path):
    options = {"survey": "LSST", "bands": ("i",), "stamp_size": 40, "psf_size": 15, "n_sources": (1, 2), "seed": 3}
    common = {"n": 2, "processes": 1, "progress": False}
    make_scene_set(tmp_path / "a.h5", **common, **options)
    make_scenes(tmp_path / "b.h5", **common, **options)
    np.testing.assert_array_equal(Scenes.load(tmp_path / "a.h5").image, Scenes.load(tmp_path / "b.h5").image)


def test_pasted_sources_add_up_to_their_scene(pasted):
    assert (pasted.bands, pasted.pixel_scale, pasted.shape) == (("r", "i"), 0.2, (48, 48))
    sources = pasted.sources
    for scene in range(8):
        total, room = np.zeros((48 + 200, 48 + 200, 2)), 100
        for row in np.flatnonzero(sources["scene"] == scene):
            image, x, y = pasted.cutouts[row], sources["cutout_x"][row] + room, sources["cutout_y"][row] + room
            total[y : y + image.shape[0], x : x + image.shape[1]] += image
            flux = [sources["flux_r"][row], sources["flux_i"][row]]
            np.testing.assert_allclose(image.sum(axis=(0, 1)), flux, rtol=0.01)
            rows, columns = np.indices(image.shape[:2])
            weight = image.sum(axis=-1) / image.sum()
            found = (columns * weight).sum() + x - room, (rows * weight).sum() + y - room
            np.testing.assert_allclose(found, [sources["x"][row], sources["y"][row]], atol=0.05)
        residual = pasted.image[scene] - total[room:-room, room:-room]
        chi2 = np.mean(residual**2 / pasted.variance[scene])
        assert chi2 == pytest.approx(1, abs=5 * np.sqrt(2 / residual.size))


def test_parents_are_of_the_scenes_split(pasted, bank):
    stamps = Stamps.load(bank)
    splits = dict(zip(stamps.catalogue["id"], split_names({"id": stamps.catalogue["id"]}), strict=True))
    stars = pasted.sources["kind"] == "star"
    assert 0 < stars.sum() < len(stars)
    assert set(pasted.sources["parent"][stars]) == {""}
    shapes = np.hypot(stamps.catalogue["e1"], stamps.catalogue["e2"])
    where = {name: row for row, name in enumerate(stamps.catalogue["id"])}
    for row in pasted.sources[~stars]:
        assert splits[row["parent"]] == pasted.catalogue["split"][row["scene"]]
        # A turn keeps how elongated a galaxy is.
        assert np.hypot(row["e1"], row["e2"]) == pytest.approx(shapes[where[row["parent"]]], rel=1e-5)


def test_a_scene_depends_on_its_number_alone(pasted, bank, tmp_path):
    make_scene_set(tmp_path / "short.h5", 3, bank, progress=False, **OPTIONS)
    short = Scenes.load(tmp_path / "short.h5")
    np.testing.assert_array_equal(short.image, pasted.image[:3])
    make_scene_set(tmp_path / "test.h5", 2, bank, progress=False, **OPTIONS | {"split": "test", "seed": 5})
    tested = Scenes.load(tmp_path / "test.h5")
    assert set(tested.catalogue["split"]) == {"test"}
    assert not np.array_equal(tested.image, short.image[:2])


def test_wrong_options_are_refused(bank, tmp_path):
    for options, message in (
        ({"bank": bank, "density": 3}, "no option 'density'; they have cutoff"),
        ({"bank": bank, "sources": (0, 0)}, "at least 1"),
        ({"bank": bank, "split": "tests"}, "split 'tests' is unknown"),
        ({"bank": bank, "n": 0}, "n is 0"),
        ({"densities": 3}, "unknown setting 'densities'"),
    ):
        with pytest.raises(InputError, match=message):
            make_scene_set(tmp_path / "x.h5", **options)
    make_scenes(tmp_path / "s.h5", 1, bands=("i",), stamp_size=40, psf_size=15, processes=1, progress=False)
    with pytest.raises(InputError, match=r"s\.h5: holds scenes; a bank is a stamp file"):
        make_scene_set(tmp_path / "x.h5", 1, tmp_path / "s.h5")
    assert not (tmp_path / "x.h5").exists()
