"""The queue that makes presets: exact resume, and a preset is replaced by a better one only."""

import hashlib
import importlib.util
import json
import zipfile

import h5py
import pytest
import yaml

from galzoo import resources
from galzoo.errors import PresetError, RecipeError
from galzoo.layers.paste import PasteScenes
from galzoo.presets import check_better, list_presets, load_card
from galzoo.recipe import Better, load_recipe
from tests.scenes import make_scenes

PACKAGED = list_presets()
PRESETS = resources.pretrained_dir()
# Options of pasted scenes that the layer does not take.
_OF_THE_FILE = ("bank", "n", "split")
SCRIPT = resources.configs_dir().parent / "scripts" / "make_pretrained.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script as a module, with presets in a folder of the test and without training and scoring."""
    spec = importlib.util.spec_from_file_location("make_pretrained", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.resources, "pretrained_dir", lambda: tmp_path / "presets")
    module.value, module.trained, module.judged = 1.0, [], []

    def train(recipe, data, run, resume):
        module.trained.append((recipe["stages"][0]["epochs"], resume))
        run.mkdir(parents=True, exist_ok=True)
        (run / "recipe.json").write_text(json.dumps(recipe))
        (run / "training.json").write_text("{}")
        (run / "state.h5").write_text("")
        if module.value is None:
            raise KeyboardInterrupt
        with zipfile.ZipFile(run / "model.keras", "w") as file:
            file.writestr("config.json", "weights")

    def evaluate(run, on, real, output, limit):
        module.judged.append((run, on, limit))
        output.mkdir(parents=True)
        (output / "metrics.json").write_text(json.dumps({"sets": [{"chi2": module.value}]}))
        return ["table"]

    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module, "evaluate", evaluate)
    monkeypatch.setattr(module, "write_readme", lambda folder, card: None)
    monkeypatch.setattr(module, "write_selftest", lambda folder: (folder / "selftest.npz").touch())
    return module


@pytest.fixture
def command(tmp_path, stamp_file):
    """Arguments of the script for a queue of two runs, of which the first has no preset."""
    better = "'export.better={metric: [sets, -1, chi2], lower: true}'"
    line = f"vqvae/smoke export.preset=small {better} data.path={stamp_file} stages.0.epochs=7 # a comment"
    (tmp_path / "queue").write_text(f"# two runs\n\nvqvae/smoke\n{line}\n")
    return ["--queue", str(tmp_path / "queue"), "--data", str(tmp_path), "--work", str(tmp_path / "work")]


def test_a_queue_goes_on_after_a_failed_run_and_after_a_kill(script, command, tmp_path, capsys):
    script.value = None
    with pytest.raises(KeyboardInterrupt):
        script.main(command)
    assert "no export.preset" in capsys.readouterr().out
    script.value = 1.0
    assert script.main(command) == 2
    assert script.trained == [(7, False), (7, True)]
    with zipfile.ZipFile(tmp_path / "presets" / "small" / "model.keras") as file:
        assert file.read("config.json") == b"weights"
    assert (tmp_path / "presets" / "small" / "selftest.npz").is_file()
    capsys.readouterr()
    script.main(command)
    assert len(script.trained) == 2
    assert "done before" in capsys.readouterr().out


def test_a_card_says_what_it_was_measured_on_and_one_command_makes_it_again(
    script, command, tmp_path, stamp_file, monkeypatch
):
    script.main([*command, "--limit", "7"])
    folder = tmp_path / "presets" / "small"
    card = yaml.safe_load((folder / "card.yaml").read_text())
    file = card["evaluation"]["files"][stamp_file.name]
    assert card["evaluation"]["limit"] == 7
    assert file["sha256"] == hashlib.sha256(stamp_file.read_bytes()).hexdigest()
    with h5py.File(stamp_file) as stamps:
        assert file["rows"] == len(stamps["image"])
    # The same model has another score now.
    recipe = script.load_recipe("vqvae", "smoke", ["export.preset=small", f"data.path={stamp_file}"])
    better = Better(metric=["sets", -1, "chi2"], lower=True)
    recipe = recipe.model_copy(update={"export": recipe.export.model_copy(update={"better": better})})
    monkeypatch.setattr(script, "find_recipe", lambda name: ("vqvae", name))
    monkeypatch.setattr(script, "load_recipe", lambda family, name: recipe)
    monkeypatch.setattr(script, "find_preset", lambda name: folder)
    monkeypatch.setattr(script, "load_card", lambda name: load_card(folder))
    script.value = 1.25
    assert script.main(["--score", "small", *command[2:]]) == 0
    assert script.judged[-1] == (folder, [stamp_file], 7)
    assert len(script.trained) == 1
    again = load_card(folder)
    assert again["metrics"] == {"sets": [{"chi2": 1.25}]}
    assert again["evaluation"] == card["evaluation"]
    assert [entry["figure"]["sets.-1.chi2"] for entry in again["changelog"]] == [1.0, 1.25]
    assert len({entry["sha256"] for entry in again["changelog"]}) == 1


def test_a_model_of_scenes_becomes_a_preset(script, command, tmp_path):
    path = tmp_path / "scenes.h5"
    make_scenes(4, size=32).save(path)
    line = f"vqvae/smoke export.preset=small 'export.better={{metric: [sets, -1, chi2], lower: true}}' data.path={path}"
    (tmp_path / "queue").write_text(line)
    assert script.main(command) == 0
    assert load_card(tmp_path / "presets" / "small")["data"]["stamp_size"] == [32, 32]


def test_only_a_better_preset_replaces_the_one_that_is_there(script, command, tmp_path, capsys):
    card = tmp_path / "presets" / "small" / "card.yaml"
    for run, (score, kept) in enumerate([(1.0, False), (1.5, True), (0.5, False)]):
        before = card.read_text() if run else ""
        script.value = score
        script.main([*command[:-1], str(tmp_path / f"work{run}")])
        out = capsys.readouterr().out
        assert ("kept" in out) == kept
        assert (card.read_text() == before) == kept
        if kept:
            assert "sets.-1.chi2 is 1.5 now and was 1; lower is better" in out


def test_what_decides_must_be_there(tmp_path):
    check_better(tmp_path / "none", {}, None)
    (tmp_path / "model.keras").touch()
    (tmp_path / "card.yaml").write_text("family: vqvae\nmetrics: {chi2: 1.0}\n")
    with pytest.raises(PresetError, match="export.better"):
        check_better(tmp_path, {"chi2": 0.5}, None)
    for metrics, match in (({"chi2": float("nan")}, "nan now"), ({}, "the new model has no number chi2")):
        with pytest.raises(PresetError, match=match):
            check_better(tmp_path, metrics, Better(metric=["chi2"], lower=True))
    with pytest.raises(PresetError, match="higher is better"):
        check_better(tmp_path, {"chi2": 0.5}, Better(metric=["chi2"], lower=False))


def test_places_are_filled_in_and_must_exist(script, tmp_path):
    (tmp_path / "here").mkdir()
    places = {"ROOT": tmp_path}
    options = {"a": ["{ROOT}/here", 1], "b": {"c": "{K}"}}
    assert script.filled(options, places) == {"a": [f"{tmp_path}/here", 1], "b": {"c": "{K}"}}
    with pytest.raises(script.InputError, match="docs/data.md"):
        script.filled("{ROOT}/away", places)


def test_every_packaged_preset_can_be_made_and_judged(script):
    """Each preset has a recipe, which names a figure that its card has; its sets of scenes are valid."""
    from galzoo.presets import _figure
    from galzoo.simulate.scene_spec import SceneSpec
    from galzoo.simulate.simulator import make_spec

    assert "vae_deblender_lsst" in PACKAGED
    for name in PACKAGED:
        recipe = load_recipe(*script.find_recipe(name))
        metrics = json.loads((PRESETS / name / "metrics.json").read_text())
        assert _figure(metrics, recipe.export.better.metric) is not None, name
        assert recipe.runtime.hours
        for data in recipe.evaluate.data.values():
            if "bank" in data.options:
                PasteScenes(**{key: value for key, value in data.options.items() if key not in _OF_THE_FILE})
                continue
            options = {key: value for key, value in data.options.items() if key not in ("n", "catalogue")}
            options |= {"psf_paths": {}} if "psf_paths" in options else {}
            make_spec(SceneSpec, None, options)
    with pytest.raises(RecipeError, match=r"export\.preset"):
        script.find_recipe("vqvae_sloan")


def test_scenes_to_judge_on_may_be_pasted_of_what_was_trained_on(script, tmp_path, stamp_file):
    """Two recipes that differ in their training data alone are judged on different scenes."""
    places = {"WORK": tmp_path / "work"}
    options = {"bank": "{TRAINED}", "n": 1, "size": 32, "sources": [1, 2], "stamps": 4, "window": 16}
    other = tmp_path / "other.h5"
    other.write_bytes(stamp_file.read_bytes())
    made = [script.make_data("scenes", options, places | {"TRAINED": path}) for path in (stamp_file, other, stamp_file)]
    assert made[0] == made[2] != made[1]
    with h5py.File(made[0]) as file:
        assert file["image"].shape[1:3] == (32, 32)


def test_a_recipe_says_how_many_objects_are_scored(script, command, tmp_path):
    line = (tmp_path / "queue").read_text().splitlines()[-1].replace("#", "evaluate.limit=3 #")
    (tmp_path / "queue").write_text(line)
    assert script.main(command) == 0
    assert script.judged[-1][-1] == 3
    assert load_card(tmp_path / "presets" / "small")["evaluation"]["limit"] == 3
