"""Recipes are checked before anything runs, and say what is wrong."""

import pytest
import yaml

from galzoo import resources
from galzoo.errors import RecipeError, UnknownNameError
from galzoo.recipe import Recipe, check_model_arguments, check_recipe, list_recipes, load_recipe

LEAST = {"family": "vqvae", "data": {"path": "x.h5"}, "stages": [{"epochs": 1, "steps_per_epoch": 1}]}


def test_folders_of_the_package_are_found():
    assert (resources.configs_dir() / "vqvae" / "smoke.yaml").is_file()
    assert resources.pretrained_dir().is_dir()


def test_the_wheel_carries_recipes_and_presets():
    """What setup.py maps into the package is what the two folders hold."""
    patterns = {
        "zoo_configs": ("*.yaml", "*.md"),
        "pretrained": ("*.keras", "*.npz", "*.yaml", "*.json", "*.md", "*.png"),
    }
    setup = (resources.configs_dir().parent / "setup.py").read_text()
    for name, kinds in patterns.items():
        assert f'"galzoo.{name}": "{name}"' in setup
        folder = resources.configs_dir().parent / name
        files = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
        assert files or name == "pretrained"
        for path in files:
            assert any(path.match(kind) for kind in kinds), path
        for kind in kinds:
            assert f'"**/{kind}"' in setup


def test_a_resolved_recipe_is_complete_and_reads_back():
    recipe = load_recipe("vqvae", "smoke")
    resolved = recipe.resolved()
    assert set(resolved) == set(Recipe.model_fields)
    assert resolved["runtime"]["deterministic"] is True
    assert resolved["stages"][0]["schedule"] == "constant"
    assert check_recipe(resolved).resolved() == resolved


@pytest.mark.parametrize(
    ("text", "where", "value"),
    [
        ("runtime.seed=5", ("runtime", "seed"), 5),
        ("stages.0.learning_rate=1.0e-4", ("stages", 0, "learning_rate"), 1e-4),
        ("stages.0.freeze=[encoder]", ("stages", 0, "freeze"), ["encoder"]),
        ("data.options.note=a=b", ("data", "options", "note"), "a=b"),
        ("export.title=", ("export", "title"), None),
        ("stages.0.clip_norm=null", ("stages", 0, "clip_norm"), None),
    ],
)
def test_overrides(text, where, value):
    if value is None and where[-1] == "title":
        with pytest.raises(RecipeError, match="export.title"):
            load_recipe("vqvae", "smoke", [text])
        return
    found = load_recipe("vqvae", "smoke", [text]).resolved()
    for key in where:
        found = found[key]
    assert found == value


def test_overrides_do_not_reach_the_next_recipe():
    load_recipe("vqvae", "smoke", ["runtime.seed=5", "data.options.n=3"])
    assert load_recipe("vqvae", "smoke").resolved()["runtime"]["seed"] == 0
    assert Recipe.model_validate(LEAST).data.options == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stage": []}, "unknown key 'stage': did you mean 'stages'"),
        ({"data": {}}, r"data.path \(a stamp or scene file\) or data.name"),
        ({"data": {"path": "x.h5", "split": {"vald": 0.1}}}, "'data.split.vald': did you mean 'valid'"),
        ({"stages": [{"epochs": 1}]}, "stages.0.steps_per_epoch"),
        ({"stages": []}, "stages"),
        ({"stages": [{"epochs": 1, "steps_per_epoch": 1, "lerning_rate": 1}]}, "did you mean 'learning_rate'"),
        ({"runtime": {"precision": "float16"}}, "runtime.precision.*'float16'"),
        ({"runtime": {"seed": "many"}}, "runtime.seed.*'many'"),
        ({"evaluate": {"batch_size": 0}}, "evaluate.batch_size"),
        ({"zzz": 1}, "allowed are family, model, parts, data"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(RecipeError, match=words) as error:
        check_recipe({**LEAST, **change}, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: ")
    assert "\n" not in str(error.value)


def test_unknown_family():
    with pytest.raises(UnknownNameError, match="'vqvae'"):
        check_recipe({**LEAST, "family": "vqave"})


def test_a_file_of_another_family_is_refused(tmp_path, monkeypatch):
    from galzoo import recipe, registry

    other = {**registry.families(), "other": registry.families()["vqvae"]}
    monkeypatch.setattr(recipe, "families", lambda: other)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**LEAST, "family": "other"}))
    with pytest.raises(RecipeError, match="of 'other', not of 'vqvae'"):
        load_recipe("vqvae", tmp_path / "r.yaml")


def test_a_list_is_no_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text("- 1\n")
    with pytest.raises(RecipeError, match="is a mapping"):
        load_recipe("vqvae", tmp_path / "r.yaml")


def test_model_arguments_are_those_of_the_constructor():
    class Model:
        def __init__(self, hidden=1, levels=None, **kwargs):
            pass

    check_model_arguments(Model, {"hidden": 3})
    with pytest.raises(RecipeError, match="no argument 'hiden': did you mean 'hidden'. it takes hidden, levels"):
        check_model_arguments(Model, {"hiden": 3})
    with pytest.raises(RecipeError, match="'kwargs'"):
        check_model_arguments(Model, {"kwargs": 3})


def test_recipes_are_listed():
    assert {"default", "smoke"} <= set(list_recipes("vqvae"))
    with pytest.raises(UnknownNameError, match="unknown family"):
        list_recipes("nothing")
