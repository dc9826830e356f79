import json

import numpy as np
import pytest

from galzoo.contracts.suites import Request
from galzoo.errors import InputError
from galzoo.evaluate.held_out import held_out, stamp_file
from galzoo.evaluate.run import evaluate
from galzoo.simulate.surveys import get_survey
from galzoo.tasks.deblend import suite
from galzoo.tasks.deblend.suite import DeblendResult, held_out_scenes, model_deblenders, new_scenes
from tests.conftest import make_stamps
from tests.scenes import BANDS, biased, make_scenes

SPLITS = {"valid": 0.1, "test": 0.1, "seed": 0}


class Fitter:
    """A `GalaxyModel`, as its methods have it, that is asked for a method and right in one of them."""

    bands, max_sources = BANDS, 3
    check = windows = look = profiles = moments = latent_of = base_of = brightness = render = NotImplemented

    def deblend(self, batch, method="map"):
        known = {**batch, "isolated": self.truth(batch)}
        return biased({"map": 1.0, "encoder": 1.3}[method])(known)

    def truth(self, batch):
        """One round galaxy at each position, of as much light as the image has."""
        rows, columns = np.indices(batch["image"].shape[1:3])
        x, y = np.moveaxis(np.asarray(batch["positions"])[..., None, None], 2, 0)
        blob = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / 4) / (8 * np.pi)
        light = batch["image"].sum(axis=(1, 2))[:, None, None, None] / blob.shape[1]
        return blob[..., None] * light


class Finder:
    bands = BANDS

    def deblend(self, batch):
        assert "positions" not in batch
        return biased(1.0)(batch | {"isolated": np.ones((len(batch["image"]), 1, 4, 4, 2))} | self.places(batch))

    def places(self, batch):
        n = len(batch["image"])
        return {"positions": np.full((n, 1, 2), 23.5), "n_sources": np.ones(n, int)}


@pytest.fixture(autouse=True)
def fits(monkeypatch):
    monkeypatch.setattr(
        "galzoo.tasks.deblend.suite.deblend", lambda model, batch, **options: model.deblend(batch, **options)
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    scenes = make_scenes(9)
    scenes.catalogue["split"] = np.where(np.arange(9) % 3 == 0, "train", "test")
    path = tmp_path_factory.mktemp("scenes") / "scenes_pairs.h5"
    scenes.save(path)
    return path


def card(**evaluate):
    recipe = {"data": {"name": None, "options": {}, "split": SPLITS}, "evaluate": {"batch_size": 4, **evaluate}}
    return {"name": "fitter", "family": "vae_deblender", "recipe": recipe}


def test_models_are_asked_for_what_they_can_do(file):
    batch = held_out_scenes(file, BANDS).batch()
    methods = model_deblenders({"model": Fitter()})
    assert list(methods) == ["galzoo", "galzoo, encoder", "galzoo, SEP's positions"]
    best, encoder = (methods[name](batch).flux for name in ("galzoo", "galzoo, encoder"))
    np.testing.assert_allclose(encoder, 1.3 * best)
    assert hasattr(methods["galzoo, SEP's positions"], "find")
    alone = model_deblenders({"separator": Finder()})["galzoo"]
    assert alone.find(batch).present.shape == (6, 1)


def test_only_test_scenes_are_scored(file, tmp_path):
    assert len(held_out_scenes(file, BANDS)) == 6
    assert held_out_scenes(file, BANDS, limit=3).catalogue["split"].tolist() == ["test"] * 3
    plain = tmp_path / "plain.h5"
    make_scenes(3).save(plain)
    assert len(held_out_scenes(plain, BANDS)) == 3


def test_files_that_cannot_be_scored_are_named(file, tmp_path):
    with pytest.raises(InputError, match="the model needs g, r"):
        held_out_scenes(file, ("g", "r"))
    stamps = tmp_path / "stamps.h5"
    make_stamps(4).save(stamps)
    with pytest.raises(InputError, match=r"stamps\.h5"):
        held_out_scenes(stamps, BANDS)
    with pytest.raises(InputError, match=r"scenes_pairs\.h5"):
        held_out(file, "test", SPLITS)
    training = make_scenes(3)
    training.catalogue["split"] = ["train"] * 3
    training.save(tmp_path / "train.h5")
    with pytest.raises(InputError, match="--split test"):
        held_out_scenes(tmp_path / "train.h5", BANDS)
    training.isolated = None
    training.save(tmp_path / "bare.h5")
    with pytest.raises(InputError, match="no truth"):
        held_out_scenes(tmp_path / "bare.h5", BANDS)


def test_the_suite_writes_its_files_and_the_card_its_row(file, tmp_path, monkeypatch):
    monkeypatch.setattr("galzoo.tasks.deblend.scores.EXAMPLES", 1)
    monkeypatch.setattr("galzoo.presets.load_for", lambda *_: Fitter())
    monkeypatch.setattr("galzoo.presets.load_card", lambda _: card(suite="deblend"))
    other = tmp_path / "scenes_other.h5"
    other.write_bytes(file.read_bytes())
    lines = evaluate("fitter", [file, other], output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "report.html", "tables.md"]
    assert "pairs: flux in i" in lines[0]
    assert "galzoo, SEP's positions" in lines[0]
    with pytest.raises(InputError, match="rename"):
        evaluate("fitter", [file, file], output=tmp_path / "out")
    with pytest.raises(InputError, match="--real"):
        evaluate("fitter", file, real=[other], output=tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    row = DeblendResult(metrics).headline()
    expected = metrics["sets"]["pairs"]["methods"]["galzoo"]["flux"]["all"]
    assert row["scatter of the i flux"] == (expected["scatter"], expected["scatter_error"])
    assert row["ms per scene"] > 0


def test_other_suites_take_one_file(tmp_path):
    request = Request(models={}, card=card(suite="pairs"), files=(tmp_path / "a.h5", tmp_path / "b.h5"))
    with pytest.raises(InputError, match="one file"):
        stamp_file(request)


def test_new_scenes_are_of_test_galaxies_near_the_centre(monkeypatch, tmp_path):
    monkeypatch.setenv("GALZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(suite, "_SCENES", 4)
    options = {"n": 50, "survey": "CANDELS", "bands": ["F160W"], "stamp_size": 32, "psf_size": 21, "seed": 3}
    data = {"name": "simulated", "options": options, "split": SPLITS}

    class Model:
        bands, max_sources = ("F160W",), 2

    path = new_scenes(data, "preset", Model)
    scenes = held_out_scenes(path, Model.bands)
    assert len(scenes) == 4
    assert scenes.shape == (64, 64)
    assert scenes.positions()[1].max() <= 2
    reach = np.abs(scenes.positions()[0][:, 0] - 31.5).max()
    assert reach <= 10.0
    assert scenes.pixel_scale == get_survey("CANDELS").pixel_scale.to_value("arcsec")
    assert new_scenes(data, "preset", Model) == path
    with pytest.raises(InputError, match="--data"):
        new_scenes({**data, "name": None}, "preset", Model)
