"""Training can be stopped anywhere and ends where it would have ended."""

import json
import os

import numpy as np
import pytest

from galzoo.callbacks import RunState, read_progress, restore_state
from galzoo.errors import InputError, RecipeError
from galzoo.recipe import load_recipe
from galzoo.train import check_magnitude, prepare_runtime, train
from tests.conftest import make_stamps


def recipe(path, *changes):
    fixed = (f"data.path={path}", "model.augment=true", "stages.0.epochs=2", "stages.0.steps_per_epoch=3")
    return load_recipe("vqvae", "smoke", (*fixed, *changes)).resolved()


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr("galzoo.tasks.reconstruct.picture.draw_batch", lambda model, batch, path: None)


@pytest.fixture
def eager(monkeypatch, no_pictures):
    """A few steps are quicker one by one than as a graph, and these tests are not about the graph."""
    from galzoo import train as module

    compile_stage = module.compile_stage

    def compile_eagerly(model, stage, runtime):
        compile_stage(model, stage, runtime)
        model.run_eagerly = True

    monkeypatch.setattr(module, "compile_stage", compile_eagerly)


class Killed(Exception):
    pass


def weights_of(folder):
    import galzoo

    return [np.asarray(weight) for weight in galzoo.load(folder).weights]


def test_resumed_run_ends_at_the_same_weights(stamp_file, tmp_path, monkeypatch, no_pictures):
    from galzoo import callbacks

    train(recipe(stamp_file), stamp_file, tmp_path / "whole", verbose=0)

    save = callbacks.RunState.save

    def save_then_die(self, stage, epoch):
        save(self, stage, epoch)
        if epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunState, "save", save_then_die)
        with pytest.raises(Killed):
            train(recipe(stamp_file), stamp_file, tmp_path / "cut", verbose=0)
    assert read_progress(tmp_path / "cut")["epoch"] == 1
    train(recipe(stamp_file), stamp_file, tmp_path / "cut", resume=True, verbose=0)

    for one, two in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(one, two)
    rows = (tmp_path / "cut" / "history.csv").read_text().splitlines()
    assert len(rows) == 1 + 2


def test_a_resumed_run_with_averaged_weights_ends_at_the_same(stamp_file, tmp_path, monkeypatch, no_pictures):
    changes = ("stages.0.ema=0.9", "stages.0.epochs=3", "stages.0.freeze=[decoder]")
    train(recipe(stamp_file, *changes), stamp_file, tmp_path / "whole", verbose=0)
    save = RunState.save

    def save_then_die(self, stage, epoch):
        save(self, stage, epoch)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunState, "save", save_then_die)
        with pytest.raises(Killed):
            train(recipe(stamp_file, *changes), stamp_file, tmp_path / "cut", verbose=0)
    train(recipe(stamp_file, *changes), stamp_file, tmp_path / "cut", resume=True, verbose=0)
    for one, two in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_average_is_validated_drawn_and_saved_and_the_raw_weights_train_on(stamp_file, tmp_path, monkeypatch):
    """The average is computed here from the raw weights after each step."""
    from galzoo import callbacks
    from galzoo import train as module

    raw, seen = [], {"valid": [], "picture": []}

    def kernel(model):
        return np.array(model.encoder.trainable_weights[0])

    class Watch(callbacks.AveragedValidation):
        def on_train_batch_end(self, batch, logs=None):
            raw.append(kernel(self.model))

        def on_test_begin(self, logs=None):
            super().on_test_begin(logs)
            seen["valid"].append(kernel(self.model))

        def on_test_end(self, logs=None):
            super().on_test_end(logs)
            np.testing.assert_array_equal(kernel(self.model), raw[-1])

    monkeypatch.setattr(callbacks, "AveragedValidation", Watch)
    draw = "galzoo.tasks.reconstruct.picture.draw_batch"
    monkeypatch.setattr(draw, lambda model, batch, path: seen["picture"].append(kernel(model)))
    compile_stage = module.compile_stage

    def compile_eagerly(model, stage, runtime):
        compile_stage(model, stage, runtime)
        model.run_eagerly = True

    monkeypatch.setattr(module, "compile_stage", compile_eagerly)
    changes = ("stages.0.ema=0.8", "stages.0.learning_rate=0.01")
    model = train(recipe(stamp_file, *changes), stamp_file, tmp_path / "run", verbose=0)
    averages = [raw[0]]
    for weights in raw[1:]:
        averages.append(0.8 * averages[-1] + 0.2 * weights)
    for place in ("valid", "picture"):
        np.testing.assert_allclose(seen[place], [averages[2], averages[5]], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(kernel(model), averages[5], rtol=1e-5, atol=1e-7)
    assert np.abs(raw[5] - averages[5]).max() > 1e-3
    import galzoo

    np.testing.assert_array_equal(kernel(model), np.asarray(galzoo.load(tmp_path / "run").encoder.weights[0]))


def test_pictures_of_a_training_have_the_scale_of_its_data(stamp_file, tmp_path, monkeypatch, eager):
    scales = []
    draw = "galzoo.tasks.reconstruct.picture.draw_batch"
    monkeypatch.setattr(draw, lambda model, batch, path, pixel_scale: scales.append(pixel_scale))
    train(recipe(stamp_file), stamp_file, tmp_path / "run", verbose=0)
    assert scales
    assert set(scales) == {0.2}


def test_stops_early_with_the_best_weights_also_when_resumed(stamp_file, tmp_path, monkeypatch, eager):
    """The losses are set by hand, the weights of each epoch noted: the second of the first three is the best."""
    from galzoo import callbacks

    losses, seen = [3.0, 2.0, 2.5, 2.2, 1.0], {}

    class Scripted(callbacks.StopEarly):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = losses[epoch]
            seen[epoch + 1] = [np.array(weight) for weight in self.model.weights]
            super().on_epoch_end(epoch, logs)

    monkeypatch.setattr(callbacks, "StopEarly", Scripted)
    patient = recipe(stamp_file, "stages.0.epochs=5", "stages.0.patience=2", "stages.0.steps_per_epoch=1")
    train(patient, stamp_file, tmp_path / "whole", verbose=0)
    assert sorted(seen) == [1, 2, 3, 4]
    for one, two in zip(weights_of(tmp_path / "whole"), seen[2], strict=True):
        np.testing.assert_array_equal(one, two)

    save = RunState.save
    for kill in (3, 4):

        def save_then_die(self, stage, epoch, kill=kill):
            save(self, stage, epoch)
            if epoch == kill:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(RunState, "save", save_then_die)
            with pytest.raises(Killed):
                train(patient, stamp_file, tmp_path / f"cut{kill}", verbose=0)
        seen.clear()
        train(patient, stamp_file, tmp_path / f"cut{kill}", resume=True, verbose=0)
        assert sorted(seen) == list(range(kill + 1, 5))
        for one, two in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / f"cut{kill}"), strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_loss_that_is_not_finite_keeps_the_epoch_before(stamp_file, tmp_path, monkeypatch, eager):
    from galzoo.models.vqvae.model import VQVAE

    compute_loss, calls = VQVAE.compute_loss, []

    def breaks(self, *args, training=True, **kwargs):
        calls.append(training)
        loss = compute_loss(self, *args, training=training, **kwargs)
        return loss * float("nan") if training and sum(calls) > 3 else loss

    monkeypatch.setattr(VQVAE, "compute_loss", breaks)
    with pytest.raises(InputError, match="not finite in epoch 2"):
        train(recipe(stamp_file), stamp_file, tmp_path / "run", verbose=0)
    assert read_progress(tmp_path / "run")["epoch"] == 1


def test_a_snapshot_is_what_the_run_would_end_with_now(stamp_file, tmp_path, eager):
    import galzoo
    from galzoo.snapshot import snapshot

    with pytest.raises(InputError, match="no epoch"):
        snapshot(tmp_path / "run", stamp_file)
    changes = ("stages.0.ema=0.9", "stages.0.epochs=1", "stages.0.learning_rate=0.01")
    train(recipe(stamp_file, *changes), stamp_file, tmp_path / "run", verbose=0)
    before = (tmp_path / "run" / "state.h5").read_bytes()
    folder = snapshot(tmp_path / "run", stamp_file)
    for one, two in zip(weights_of(tmp_path / "run"), weights_of(folder), strict=True):
        np.testing.assert_array_equal(one, two)
    assert galzoo.presets.load_card(folder)["family"] == "vqvae"
    accounts = [json.loads((place / "training.json").read_text()) for place in (tmp_path / "run", folder)]
    assert accounts[0] == accounts[1]
    assert (tmp_path / "run" / "state.h5").read_bytes() == before


def test_lines_for_a_log_say_the_time_left(stamp_file, tmp_path, eager, capsys):
    two = recipe(stamp_file, "stages.0.epochs=2")
    two["stages"].append({**two["stages"][0], "name": "second", "epochs": 1})
    train(two, stamp_file, tmp_path / "run")
    lines = [line for line in capsys.readouterr().out.splitlines() if "h left" in line]
    assert [line.split(":")[0] for line in lines] == ["main 1/2", "main 2/2", "second 1/1"]
    assert lines[-1].endswith("0.00 h left")
    assert "\r" not in "".join(lines)


def test_state_holds_the_seeds_of_random_layers(tmp_path):
    import keras

    from galzoo.models.vqvae.model import VQVAE

    def compiled():
        model = VQVAE.tiny(augment=True, seed=4)
        model.compile(optimizer=keras.optimizers.Adam())
        return model

    def turned(model):
        image = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")
        return np.asarray(model.augment({"image": image}, training=True)["image"])

    first = compiled()
    fresh = turned(first)
    state = RunState(tmp_path, 0, [])
    state.set_model(first)
    state.save(0, 1)
    second = compiled()
    restore_state(tmp_path, second)
    expected = turned(first)
    assert not np.array_equal(expected, fresh)
    np.testing.assert_array_equal(turned(second), expected)
    other = VQVAE.tiny(hidden=24)
    other.compile(optimizer=keras.optimizers.Adam())
    with pytest.raises(InputError, match="holds another model"):
        restore_state(tmp_path, other)


def test_stages_follow_each_other_and_a_kill_between_them_is_resumed(stamp_file, tmp_path, monkeypatch, eager):
    two = recipe(stamp_file, "stages.0.epochs=1", "stages.0.batch_size=4")
    two["stages"].append({**two["stages"][0], "name": "second", "schedule": "cosine", "warmup_steps": 1})
    train(two, stamp_file, tmp_path / "whole", verbose=0)
    assert read_progress(tmp_path / "whole")["stage"] == 1

    def die(self, logs=None):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunState, "on_train_end", die, raising=False)
        with pytest.raises(Killed):
            train(two, stamp_file, tmp_path / "cut", verbose=0)
    assert read_progress(tmp_path / "cut")["stage"] == 0
    train(two, stamp_file, tmp_path / "cut", resume=True, verbose=0)
    for one, other in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_is_not_overwritten(stamp_file, tmp_path, eager):
    train(recipe(stamp_file, "stages.0.epochs=1"), stamp_file, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match="--resume"):
        train(recipe(stamp_file), stamp_file, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match="'stages'"):
        train(recipe(stamp_file), stamp_file, tmp_path / "run", resume=True, verbose=0)
    with pytest.raises(InputError, match="no run to resume"):
        train(recipe(stamp_file), stamp_file, tmp_path / "other", resume=True, verbose=0)
    assert json.loads((tmp_path / "run" / "training.json").read_text())["steps"] == 3


def test_a_run_goes_on_with_the_contents_it_began_with(stamp_file, tmp_path, eager):
    valid = tmp_path / "valid.h5"
    make_stamps(n=20, seed=5).save(valid)
    one = recipe(stamp_file, "stages.0.epochs=1", f"data.valid_path={valid}")
    train(one, stamp_file, tmp_path / "run", verbose=0)
    os.utime(stamp_file, (1, 1))
    train(one, stamp_file, tmp_path / "run", resume=True, verbose=0)
    for path, name, seed in ((stamp_file, "data", 9), (valid, "valid_path", 8)):
        kept = path.read_bytes()
        make_stamps(n=80 if name == "data" else 20, seed=seed).save(path)
        with pytest.raises(InputError, match=f"its {name} file has changed"):
            train(one, stamp_file, tmp_path / "run", resume=True, verbose=0)
        path.write_bytes(kept)
    train(one, stamp_file, tmp_path / "run", resume=True, verbose=0)


def test_starts_from_another_model(stamp_file, tmp_path, eager):
    import galzoo

    train(recipe(stamp_file, "stages.0.epochs=1"), stamp_file, tmp_path / "first", verbose=0)
    start = galzoo.load(tmp_path / "first")
    slow = recipe(stamp_file, "stages.0.epochs=1", "stages.0.learning_rate=1e-12")
    train(slow, stamp_file, tmp_path / "second", init=start, verbose=0)
    first, second = (galzoo.load(tmp_path / name).decoder.weights[0] for name in ("first", "second"))
    np.testing.assert_allclose(np.asarray(first), np.asarray(second), atol=1e-7)
    with pytest.raises(InputError, match="other layers"):
        train(recipe(stamp_file, "model.hidden=24"), stamp_file, tmp_path / "third", init=start, verbose=0)


def test_bands_that_do_not_fit(stamp_file, tmp_path):
    with pytest.raises(InputError, match="1 bands"):
        train(recipe(stamp_file, "model.bands=[g, r]"), stamp_file, tmp_path / "run")


def test_a_magnitude_in_another_band_is_no_flux_of_this_one():
    """The mag of a simulated set is that of its reference band."""
    header = {"bands": ["g", "i"], "meta": {"simulation": {"reference": "g"}}}
    model = {"flux_column": "mag", "flux_band": "i"}
    with pytest.raises(RecipeError, match=r"a.h5: its column mag is the magnitude in g, and flux_band is 'i'"):
        check_magnitude(model, header, "a.h5")
    check_magnitude({**model, "flux_band": "g"}, header, "a.h5")
    check_magnitude({**model, "flux_column": "mag_i"}, header, "a.h5")
    with pytest.raises(RecipeError, match="mag_g is the magnitude in g"):
        check_magnitude({**model, "flux_column": "mag_g"}, header, "a.h5")
    # A model may call the bands by other names, in the same order.
    check_magnitude({**model, "flux_band": "G", "bands": ["G", "I"]}, header, "a.h5")
    with pytest.raises(RecipeError, match="flux_band=G"):
        check_magnitude({**model, "flux_band": "I", "bands": ["G", "I"]}, header, "a.h5")
    # Of other data it is not known.
    check_magnitude(model, {**header, "meta": {}}, "a.h5")
    check_magnitude({}, header, "a.h5")


def test_a_run_with_a_magnitude_in_another_band_is_refused(stamp_file, tmp_path, monkeypatch):
    from galzoo import train as module

    header = module.read_header(stamp_file)
    stated = {**header, "meta": {"simulation": {"reference": "r"}}}
    monkeypatch.setattr(module, "read_header", lambda path: stated)
    wrong = recipe(stamp_file)
    wrong["model"] |= {"flux_column": "mag", "flux_band": "i"}
    with pytest.raises(RecipeError, match="mag is the magnitude in r"):
        train(wrong, stamp_file, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_what_does_not_work_is_refused_with_the_reason():
    runtime = load_recipe("vqvae", "smoke").resolved()["runtime"]
    with pytest.raises(RecipeError, match="KERAS_BACKEND=jax"):
        prepare_runtime({**runtime, "strategy": "data_parallel"})
    with pytest.raises(RecipeError, match="XLA"):
        prepare_runtime({**runtime, "strategy": "mirrored", "jit": True})


def test_products_are_exact_on_a_gpu():
    """TF32 would keep ten bits of the flux; the switch is looked up, since it shows only on a GPU."""
    import tensorflow as tf

    runtime = load_recipe("vqvae", "smoke").resolved()["runtime"]
    tf.config.experimental.enable_tensor_float_32_execution(True)
    try:
        prepare_runtime({**runtime, "deterministic": False})
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(False)


def test_a_value_that_the_model_cannot_use(stamp_file, tmp_path):
    with pytest.raises(RecipeError, match="model section cannot be built"):
        train(recipe(stamp_file, "model.hidden=many"), stamp_file, tmp_path / "run", verbose=0)


def test_frozen_parts_stay(stamp_file, tmp_path, eager):
    import galzoo

    train(recipe(stamp_file, "stages.0.epochs=1"), stamp_file, tmp_path / "first", verbose=0)
    start = galzoo.load(tmp_path / "first")
    frozen = recipe(stamp_file, "stages.0.epochs=1", "stages.0.freeze=[decoder]")
    train(frozen, stamp_file, tmp_path / "second", init=start, verbose=0)
    end = galzoo.load(tmp_path / "second")
    np.testing.assert_array_equal(np.asarray(start.decoder.weights[0]), np.asarray(end.decoder.weights[0]))
    assert not np.array_equal(np.asarray(start.encoder.weights[0]), np.asarray(end.encoder.weights[0]))
    with pytest.raises(RecipeError, match="'decodr'"):
        train(recipe(stamp_file, "stages.0.freeze=[decodr]"), stamp_file, tmp_path / "third", verbose=0)
