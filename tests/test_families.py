"""The conformance suite: every family of the registry, shipped or brought by another package, must pass it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from galzoo.contracts.training import Adapts
from galzoo.data.keys import KEYS
from galzoo.data.open_source import open_source, read_header
from galzoo.recipe import check_model_arguments, list_recipes, load_recipe
from galzoo.registry import families, get_family, get_task, suites_of
from tests.conftest import make_stamps
from tests.scenes import make_scenes

FAMILIES = sorted(families())
RECIPES = [(family, recipe) for family in FAMILIES for recipe in list_recipes(family)]


def tiny(name, bands=("r",), seed=0):
    import keras

    keras.utils.set_random_seed(seed)
    model = get_family(name).model_class().tiny(bands=bands)
    optimizer = keras.optimizers.Adam(2e-3)
    # As in training: optimiser variables made during the first trace would have it made twice.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer)
    return model


def example_file(name, path, n=16, size=24, bands=("r",), seed=0):
    """Write a small file of a kind that the family trains on, with the columns ``class`` and ``width``."""
    if "stamps" in get_family(name).inputs:
        data = make_stamps(n=n, size=size, bands=bands, seed=seed)
    else:
        data = make_scenes(n=n, size=size, bands=bands, seed=seed)
    classes = get_family(name).model_class().tiny(bands=bands).get_config().get("classes") or 2
    if "pixel_class" in get_family(name).keys:
        # The more light, the earlier the class; the last is the background.
        snr = data.image.mean(axis=-1)
        data.pixel_class = np.stack([snr > 20, (snr > 5) & (snr <= 20), snr < -99, snr < -99, snr <= 5], -1).astype(
            "f4"
        )
    data.catalogue["class"] = np.arange(n) % (classes if isinstance(classes, int) else 2)
    data.save(path)
    return path


def batch_of(name, n=16, size=24, bands=("r",), seed=0):
    """Return a batch with all keys that the family may read and such a file can serve."""
    family = get_family(name)
    with tempfile.TemporaryDirectory() as folder:
        path = example_file(name, Path(folder) / "data.h5", n, size, bands, seed)
        optional = [key for key in family.keys if key not in (*family.required, *family.adds, "condition", "label")]
        label = "class" if "label" in family.keys else None
        source = open_source(path, family.required, "all", optional=optional, label=label)
        batch = source.batch(np.arange(n))
    return {key: value for key, value in batch.items() if key in family.keys}


def outputs_of(model, batch):
    from keras import ops

    return {key: ops.convert_to_numpy(value) for key, value in model(batch).items()}


def test_descriptors_need_no_back_end():
    code = (
        "import sys, json; from galzoo.registry import families; names = list(families());"
        "print(json.dumps([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []


@pytest.mark.parametrize("name", FAMILIES)
def test_descriptor(name):
    family = get_family(name)
    assert set(family.keys) <= set(KEYS) | set(family.adds)
    assert set(family.inputs) <= {"stamps", "scenes"}
    assert set(family.required) <= set(family.keys)
    assert all(role in get_task(task).roles for task, role in family.roles())
    assert family.reference
    assert "smoke" in list_recipes(name)
    assert "default" in list_recipes(name)
    folder = Path(sys.modules[family.model_class().__module__].__file__).parent
    assert (folder / "README.md").is_file()


@pytest.mark.parametrize(("family", "recipe"), RECIPES)
def test_recipe_is_valid(family, recipe):
    content = load_recipe(family, recipe)
    check_model_arguments(get_family(family).model_class(), content.model, recipe)
    header = (get_family(family).recipes_dir() / f"{recipe}.yaml").read_text().split("family:")[0]
    for word in ("Command:", "Cost:", "Expect:"):
        assert word in header


@pytest.mark.parametrize("name", FAMILIES)
class TestModel:
    def test_is_small_and_keeps_its_config(self, name):
        model = tiny(name)
        assert {key: getattr(model, key) for key in get_family(name).capabilities} == get_family(name).capabilities
        assert model.count_params() < 200_000
        again = type(model).from_config(model.get_config())
        assert again.get_config() == model.get_config()
        assert [tuple(w.shape) for w in again.weights] == [tuple(w.shape) for w in model.weights]

    def test_a_few_steps_lower_the_loss(self, name):
        model, batch = tiny(name), batch_of(name)
        if isinstance(model, Adapts):
            model.adapt([batch])
        losses = [model.train_on_batch(batch, return_dict=True)["loss"] for _ in range(20)]
        model.reset_metrics()
        assert np.all(np.isfinite(losses))
        assert model.evaluate(batch, verbose=0, return_dict=True)["loss"] < losses[0]

    def test_trains_in_bfloat16_as_in_single_precision(self, name):
        import keras

        losses = {}
        before = keras.config.dtype_policy()
        for precision in ("float32", "mixed_bfloat16"):
            keras.config.set_dtype_policy(precision)
            try:
                model, batch = tiny(name), batch_of(name)
            finally:
                keras.config.set_dtype_policy(before)
            assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}
            half = [layer.compute_dtype for layer in model._flatten_layers()].count("bfloat16")
            assert (half > 0) == (precision == "mixed_bfloat16")
            if isinstance(model, Adapts):
                model.adapt([batch])
            losses[precision] = [model.train_on_batch(batch, return_dict=True)["loss"] for _ in range(10)]
            assert {keras.backend.standardize_dtype(value.dtype) for value in model(batch).values()} <= {
                "float32",
                "int32",
            }
        assert np.all(np.isfinite(losses["mixed_bfloat16"]))
        assert losses["mixed_bfloat16"][-1] < losses["mixed_bfloat16"][0]
        np.testing.assert_allclose(losses["mixed_bfloat16"][0], losses["float32"][0], rtol=2e-3)
        np.testing.assert_allclose(losses["mixed_bfloat16"], losses["float32"], rtol=0.05)

    def test_same_seed_same_weights(self, name):
        def trained():
            model, batch = tiny(name, seed=3), batch_of(name)
            for _ in range(3):
                model.train_on_batch(batch)
            return [np.asarray(weight) for weight in model.weights]

        for first, second in zip(trained(), trained(), strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)

    def test_saves_and_loads_the_same(self, name, tmp_path):
        import keras

        model, batch = tiny(name), batch_of(name)
        model.train_on_batch(batch)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        for key, value in outputs_of(model, batch).items():
            np.testing.assert_array_equal(outputs_of(loaded, batch)[key], value)

    def test_one_stamp_is_as_in_a_batch(self, name):
        model, batch = tiny(name), batch_of(name)
        together = outputs_of(model, batch)
        alone = outputs_of(model, {key: value[:1] for key, value in batch.items()})
        for key, value in alone.items():
            np.testing.assert_allclose(value, together[key][:1], rtol=2e-4, atol=2e-4)

    @pytest.mark.parametrize("size", [16, 25, 33])
    def test_other_stamp_sizes(self, name, size):
        batch = batch_of(name, n=2, size=size)
        for key, value in outputs_of(tiny(name), batch).items():
            assert np.all(np.isfinite(value))
            if key in ("image", "deconvolved"):
                assert value.shape == batch["image"].shape

    def test_nan_under_the_mask_does_not_leak(self, name):
        from galzoo.data.source import clean_planes

        model, batch = tiny(name), batch_of(name)
        clean = {**batch, "mask": np.array(batch["mask"])}
        clean["mask"][:, 2:5, 2:5] = True
        dirty = {**clean, "image": np.where(clean["mask"], np.nan, clean["image"]).astype("float32")}
        for one, two in zip(outputs_of(model, clean).values(), outputs_of(model, dirty).values(), strict=True):
            np.testing.assert_array_equal(one, two)
        losses = [model.evaluate(b, verbose=0, return_dict=True)["loss"] for b in (clean, dirty)]
        assert np.isfinite(losses[1])
        np.testing.assert_allclose(*losses, rtol=1e-6)
        assert clean_planes({"image": dirty["image"]}, estimate=True)["mask"].sum() == clean["mask"].sum()

    def test_wrong_bands_are_refused(self, name):
        from galzoo.errors import InputError

        with pytest.raises(InputError, match="3 bands"):
            tiny(name)(batch_of(name, bands=("g", "r", "i")))


@pytest.mark.parametrize("name", FAMILIES)
def test_smoke_recipe_becomes_a_preset(name, tmp_path):
    """The smoke recipe on a small file of our own: through data, fit, pictures, evaluation, export and loading."""
    from galzoo.cards import write_readme
    from galzoo.evaluate.run import evaluate
    from galzoo.presets import load_for, write_preset
    from galzoo.train import train

    family = get_family(name)
    path = example_file(name, tmp_path / "data.h5", n=60, size=32)
    label = "class" if "label" in family.keys else "null"
    changes = [f"data.path={path}", "stages.0.steps_per_epoch=3", f"data.label={label}"]
    recipe = load_recipe(name, "smoke", changes)
    train(recipe.resolved(), path, tmp_path / "run", verbose=0)
    if family.picture:
        assert list((tmp_path / "run" / "pictures").glob("*.png"))
    for task, role in family.roles():
        assert load_for(task, tmp_path / "run", role).bands == ("r",)
    suite = suites_of(family)[0]
    judged = path
    if suite.data not in family.inputs:
        judged = tmp_path / "judged.h5"
        make_scenes(n=3, size=32, bands=("r",)).save(judged)
    evaluate(tmp_path / "run", judged, output=tmp_path / "scores", suite=suite.name, limit=8)
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text(encoding="utf-8"))
    card = write_preset(tmp_path / "run", tmp_path / "preset", metrics, read_header(path), "2026-01-01")
    write_readme(tmp_path / "preset", card)
    assert suite.name == card["metrics"]["suite"]
    assert "## Scores" in (tmp_path / "preset" / "README.md").read_text(encoding="utf-8")
