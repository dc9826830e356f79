"""Training can be stopped anywhere and ends where it would have ended."""

import json

import numpy as np
import pytest

from galzoo.callbacks import read_progress
from galzoo.errors import InputError, RecipeError
from galzoo.recipe import load_recipe
from galzoo.train import prepare_runtime, train


def recipe(path, *changes):
    changes = (f"data.path={path}", "stages.0.epochs=3", "stages.0.steps_per_epoch=4", *changes)
    return load_recipe("vqvae", "smoke", changes).resolved()


class Killed(Exception):
    pass


def weights_of(folder):
    import galzoo

    return [np.asarray(weight) for weight in galzoo.load(folder).weights]


def test_resumed_run_ends_at_the_same_weights(stamp_file, tmp_path, monkeypatch):
    from galzoo import callbacks

    train(recipe(stamp_file), stamp_file, tmp_path / "whole", verbose=0)

    save = callbacks.RunState.save

    def save_then_die(self, stage, epoch):
        save(self, stage, epoch)
        if epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunState, "save", save_then_die)
        with pytest.raises(Killed):
            train(recipe(stamp_file), stamp_file, tmp_path / "cut", verbose=0)
    assert read_progress(tmp_path / "cut")["epoch"] == 2
    train(recipe(stamp_file), stamp_file, tmp_path / "cut", resume=True, verbose=0)

    for one, two in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(one, two)
    rows = (tmp_path / "cut" / "history.csv").read_text().splitlines()
    assert len(rows) == 1 + 3


def test_a_run_is_not_overwritten(stamp_file, tmp_path):
    train(recipe(stamp_file, "stages.0.epochs=1"), stamp_file, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match="--resume"):
        train(recipe(stamp_file), stamp_file, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match="'stages'"):
        train(recipe(stamp_file), stamp_file, tmp_path / "run", resume=True, verbose=0)
    with pytest.raises(InputError, match="no run to resume"):
        train(recipe(stamp_file), stamp_file, tmp_path / "other", resume=True, verbose=0)
    assert json.loads((tmp_path / "run" / "training.json").read_text())["steps"] == 4


def test_starts_from_another_model(stamp_file, tmp_path):
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


def test_what_does_not_work_is_refused_with_the_reason():
    runtime = load_recipe("vqvae", "smoke").resolved()["runtime"]
    with pytest.raises(RecipeError, match="KERAS_BACKEND=jax"):
        prepare_runtime({**runtime, "strategy": "data_parallel"})
    with pytest.raises(RecipeError, match="XLA"):
        prepare_runtime({**runtime, "strategy": "mirrored", "jit": True})


def test_frozen_parts_stay(stamp_file, tmp_path):
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
