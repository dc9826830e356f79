"""Training on scenes: from a file, and made of stamps in the graph; exact resume; and what is refused."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from galzoo import callbacks, registry
from galzoo.data.in_graph import make_layer
from galzoo.data.scenes import Scenes
from galzoo.data.training_sources import training_sources
from galzoo.errors import InputError, RecipeError, UnknownNameError
from galzoo.train import train
from tests.conftest import make_stamps
from tests.data.scene_files import asymmetric_scenes
from tests.scene_family import FAMILY, recipe

ROOT = Path(__file__).parents[1]
PASTE = {"layer": "PasteScenes", "size": 32, "sources": [1, 4], "bank": 4}
BLEND = {"layer": "BlendScenes", "sources": [1, 3]}


@pytest.fixture(autouse=True)
def counter(monkeypatch):
    monkeypatch.setitem(registry.families(), "counter", FAMILY)


@pytest.fixture
def scene_file(tmp_path):
    scenes = asymmetric_scenes(n=40, bands=("r",))
    scenes.catalogue["split"] = np.resize(["train", "train", "train", "valid", "test"], 40)
    scenes.save(tmp_path / "scenes.h5")
    return tmp_path / "scenes.h5"


@pytest.fixture
def files(scene_file, stamp_file):
    return {"scenes": scene_file, "stamps": stamp_file}


class Killed(Exception):
    pass


def weights_of(folder):
    import keras

    return keras.saving.load_model(folder / "model.keras", compile=False).get_weights()


@pytest.mark.parametrize(("kind", "make"), [("scenes", None), ("stamps", PASTE)], ids=["file", "made"])
def test_a_resumed_run_ends_at_the_same_weights(files, kind, make, tmp_path, monkeypatch):
    path = files[kind]
    chosen = recipe(path=str(path), make=make, valid_path=None if make is None else str(files["scenes"]))
    model = train(chosen, path, tmp_path / "whole", verbose=0)
    save = callbacks.RunState.save

    def save_then_die(self, stage, epoch):
        save(self, stage, epoch)
        if epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunState, "save", save_then_die)
        with pytest.raises(Killed):
            train(chosen, path, tmp_path / "cut", verbose=0)
    train(chosen, path, tmp_path / "cut", resume=True, verbose=0)
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    for one, two, kept in zip(whole, cut, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, kept)
    fresh = type(model).from_config(model.get_config()).get_weights()
    assert not np.array_equal(fresh[0], whole[0])
    account = json.loads((tmp_path / "whole" / "training.json").read_text())
    assert account["n_valid"] == (8 if make is None else 40)
    assert np.isfinite(account["last"]["val_loss"])


def test_the_loss_falls_and_crops_train(scene_file, tmp_path):
    chosen = recipe({"epochs": 6, "steps_per_epoch": 10}, {"crop": 16}, path=str(scene_file))
    train(chosen, scene_file, tmp_path / "run", verbose=0)
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("loss")
    losses = [float(row.split(",")[column]) for row in rows[1:]]
    assert len(losses) == 8
    assert losses[5] < 0.7 * losses[0]


JAX = """
import json, sys
sys.modules.update(dict.fromkeys(["tensorflow", "astropy", "pydantic", "yaml", "galsim"]))
from galzoo import registry
from tests.scene_family import FAMILY
registry.families()["counter"] = FAMILY
from galzoo.train import train
for name, path in (("file", sys.argv[2]), ("made", sys.argv[3])):
    train(json.load(open(f"{sys.argv[1]}/{name}.json")), path, f"{sys.argv[1]}/{name}", verbose=0)
"""


def test_on_jax_alone(files, tmp_path):
    pytest.importorskip("jax")
    for name, kind, make in (("file", "scenes", None), ("made", "stamps", PASTE)):
        valid = None if make is None else str(files["scenes"])
        chosen = recipe({"epochs": 1, "steps_per_epoch": 2}, path=str(files[kind]), make=make, valid_path=valid)
        (tmp_path / f"{name}.json").write_text(json.dumps(chosen))
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": quick}
    command = [sys.executable, "-c", JAX, tmp_path, files["scenes"], files["stamps"]]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    for name in ("file", "made"):
        account = json.loads((tmp_path / name / "training.json").read_text())
        assert account["backend"] == "jax"
        assert np.isfinite(account["last"]["loss"])
        assert np.isfinite(account["last"]["val_loss"])
    # A key that a layer does not make is said where people look, once.
    assert done.stderr.count("trains without ellipticity") == 1


def served(path, **data):
    return training_sources(path, recipe(path=str(path), **data)["data"], FAMILY)


def test_a_key_that_cannot_be_served_is_an_error(scene_file, stamp_file, tmp_path):
    scenes = Scenes.load(scene_file)
    scenes.sources.remove_columns(["x", "y"])
    scenes.save(tmp_path / "no_places.h5")
    with pytest.raises(InputError, match=r"no_places\.h5: these scenes have no 'positions'; they have .*image"):
        served(tmp_path / "no_places.h5")
    stamps = make_stamps(n=30)
    stamps.truth = None
    stamps.save(tmp_path / "no_truth.h5")
    with pytest.raises(InputError, match="PasteScenes makes scenes of .*; there is no 'truth'"):
        served(tmp_path / "no_truth.h5", make=PASTE)


def test_a_file_of_the_wrong_kind_is_refused(scene_file, stamp_file):
    with pytest.raises(InputError, match=r"stamps\.h5: holds stamps; counter trains on scenes, or name a layer"):
        served(stamp_file)
    with pytest.raises(InputError, match=r"stamps\.h5: holds stamps; counter trains on scenes"):
        served(scene_file, valid_path=str(stamp_file))
    stamps_only = registry.Family("one", "", "", (), ("image",))
    data = recipe(path=str(scene_file))["data"]
    with pytest.raises(InputError, match=r"scenes\.h5: holds scenes; one trains on stamps$"):
        training_sources(scene_file, data, stamps_only)


def test_optional_keys_that_are_not_there_are_said_once(scene_file, tmp_path, caplog):
    scenes = Scenes.load(scene_file)
    scenes.sources.remove_columns(["e1", "e2"])
    scenes.save(tmp_path / "round.h5")
    with caplog.at_level(logging.WARNING, "galzoo"):
        found = served(tmp_path / "round.h5")
        assert "ellipticity" in served(scene_file)["train"].keys()  # noqa: SIM118
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["round.h5: counter trains without ellipticity, which are not in the data"]
    assert "ellipticity" not in found["train"].keys()  # noqa: SIM118


def test_layers_that_make_data_are_checked(stamp_file):
    with pytest.raises(UnknownNameError, match="did you mean 'PasteScenes'"):
        make_layer({"layer": "PasteScene"}, 0)
    with pytest.raises(RecipeError, match=r"PasteScenes has no argument 'sise'; it takes size"):
        make_layer({"layer": "PasteScenes", "sise": 3}, 0)
    with pytest.raises(RecipeError, match="Dense makes no data"):
        make_layer({"layer": "keras.layers:Dense", "units": 3}, 0)


def test_what_is_made_for_validation_is_always_the_same(stamp_file):
    one, two = (served(stamp_file, make=BLEND)["valid"] for _ in range(2))
    assert one.header()["kind"] == "scenes"
    assert tuple(one.header()["shape"]) == (24, 24)
    places = np.arange(len(one))
    for key, values in one.batch(places).items():
        np.testing.assert_array_equal(values, two.batch(places)[key])
