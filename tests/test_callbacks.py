"""Callbacks and optimisers by themselves: what is logged, kept and drawn, and how the rate goes."""

import csv
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from galzoo import callbacks
from galzoo.train import account, compile_stage

STAGE = {
    "name": "main", "epochs": 5, "steps_per_epoch": 20, "batch_size": 8, "freeze": [], "optimizer": "adam",
    "learning_rate": 0.02, "schedule": "constant", "warmup_steps": 0, "clip_norm": None, "ema": None,
}  # fmt: skip
RUNTIME = {"precision": "float32", "jit": False}


def compiled(**changes):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    compile_stage(model, {**STAGE, **changes}, RUNTIME)
    return model.optimizer


def rate_at(optimizer, step):
    rate = optimizer._learning_rate
    return float(rate(step)) if callable(rate) else float(rate)


def test_the_rate_rises_in_the_warmup_and_falls_by_a_cosine():
    """100 steps: 20 from a hundredth of the rate upwards, 80 down to a hundredth."""
    optimizer = compiled(schedule="cosine", warmup_steps=20)
    expected = {0: 0.0002, 10: 0.0101, 20: 0.02, 60: 0.0101, 100: 0.0002, 500: 0.0002}
    assert {step: rate_at(optimizer, step) for step in expected} == pytest.approx(expected, rel=1e-3)
    optimizer = compiled(schedule="cosine")
    expected = {0: 0.02, 25: 0.0002 + 0.0198 * (1 + np.cos(np.pi / 4)) / 2, 50: 0.0101, 100: 0.0002}
    assert {step: rate_at(optimizer, step) for step in expected} == pytest.approx(expected, rel=1e-3)
    assert rate_at(compiled(), 77) == pytest.approx(0.02)


def test_a_stage_has_the_optimiser_that_it_asks_for():
    plain = compiled()
    assert type(plain) is keras.optimizers.Adam
    assert (plain.clipnorm, plain.use_ema) == (None, False)
    asked = compiled(optimizer="adamw", clip_norm=0.5, ema=0.75)
    assert type(asked) is keras.optimizers.AdamW
    assert (asked.clipnorm, asked.use_ema, asked.ema_momentum) == (0.5, True, 0.75)


def test_a_frozen_layer_is_free_in_the_next_stage():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1, name="first"), keras.layers.Dense(1)])
    model.first = model.layers[0]
    compile_stage(model, {**STAGE, "freeze": ["first"]}, RUNTIME)
    assert [layer.trainable for layer in model.layers] == [False, True]
    assert len(model.optimizer._trainable_variables) == 2
    compile_stage(model, STAGE, RUNTIME)
    assert [layer.trainable for layer in model.layers] == [True, True]


def test_each_epoch_has_a_row(monkeypatch, tmp_path):
    clock = iter([10.0, 12.5, 20.0, 24.0])
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(clock))
    state = callbacks.RunState(tmp_path, 1, [{"stage": 0, "epoch": 9, "seconds": 1.0, "loss": 3.0}])
    state.save = lambda stage, epoch: saved.append((stage, epoch))
    saved = []
    for epoch, logs in enumerate(({"loss": 2.0, "val_loss": 2.5}, {"loss": 1.0, "val_loss": 1.5})):
        state.on_epoch_begin(epoch)
        state.on_epoch_end(epoch, logs)
    assert saved == [(1, 1), (1, 2)]
    with open(tmp_path / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["epoch"], row["seconds"], row["loss"], row["val_loss"]) for row in rows] == [
        ("0", "9", "1.0", "3.0", ""), ("1", "1", "2.5", "2.0", "2.5"), ("1", "2", "4.0", "1.0", "1.5"),
    ]  # fmt: skip


def test_the_time_left_is_that_of_the_objects_left(capsys):
    """An epoch of 20 steps of 8 took half an hour on average; 3 are left, and 2 of 40 steps of 4, which is as much."""
    stages = [{**STAGE}, {**STAGE, "name": "second", "epochs": 2, "steps_per_epoch": 40, "batch_size": 4}]
    rows = [{"stage": 0, "seconds": seconds} for seconds in (1000.0, 2600.0)]
    rows[-1] |= {"loss": 0.123456, "val_loss": 7.5}
    callbacks.PlainLines(stages, 0, rows).on_epoch_end(1)
    assert capsys.readouterr().out == "main 2/5: loss 0.1235, val_loss 7.5; 1.00 h so far, 2.50 h left\n"
    rows.append({"stage": 1, "seconds": 7200.0, "loss": 1.0})
    callbacks.PlainLines(stages, 1, rows).on_epoch_end(0)
    assert capsys.readouterr().out == "second 1/2: loss 1; 3.00 h so far, 2.00 h left\n"


def test_pictures_are_drawn_every_few_epochs_and_at_the_end(tmp_path):
    drawn = []
    pictures = callbacks.Pictures(tmp_path, 2, "batch", lambda model, batch, path: drawn.append((batch, path)), 3)
    pictures.set_model(SimpleNamespace(optimizer=SimpleNamespace(use_ema=False)))
    pictures.set_params({"epochs": 7})
    for epoch in range(7):
        pictures.on_epoch_end(epoch)
    assert drawn == [("batch", tmp_path / "pictures" / f"stage_2_epoch_000{epoch}.png") for epoch in (3, 6, 7)]


def test_a_stage_waits_for_a_better_loss_of_its_own():
    """The least of another stage does not count, and an equal loss is no better one."""
    rows = [{"stage": 0, "val_loss": 0.1}, *({"stage": 1, "val_loss": loss} for loss in (3.0, 2.0, 2.0, 2.5))]
    assert [callbacks.stopped_early(rows, 1, patience) for patience in (1, 2, 3)] == [True, True, False]
    assert not callbacks.stopped_early(rows, 0, 1)
    assert not callbacks.stopped_early(rows, 2, 1)


def test_a_validation_that_is_not_a_number_is_never_the_best(tmp_path):
    """NumPy's argmin takes it for the least, and keep its weights."""
    rows, kept = [], []

    class Kept(callbacks.StopEarly):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            with callbacks.h5py.File(tmp_path / "best.h5") as file:
                kept.append(float(file["0"][()]))

    value = keras.Variable(0.0)
    model = SimpleNamespace(variables=[value], optimizer=SimpleNamespace(use_ema=False))
    stop = Kept(tmp_path, 0, rows, 2)
    stop.set_model(model)
    for epoch, loss in enumerate((3.0, float("nan"), 2.0, float("nan"), 2.5)):
        value.assign(epoch)
        stop.on_epoch_end(epoch, {"val_loss": loss})
        rows.append({"stage": 0, "val_loss": loss})
        if model.stop_training:
            break
    assert kept == [0, 0, 2, 2, 2]
    assert model.stop_training
    assert callbacks.stopped_early(rows, 0, 2)


def test_the_account_sums_steps_and_hours_over_stages():
    recipe = {"stages": [{"steps_per_epoch": 10}, {"steps_per_epoch": 300}]}
    history = [{"stage": 0, "seconds": 1800.0}, {"stage": 1, "seconds": 900.0}, {"stage": 1, "seconds": 2700.0}]
    found = account(recipe, {"train": range(7), "valid": range(3)}, history)
    assert (found["n_train"], found["n_valid"], found["steps"], found["hours"]) == (7, 3, 610, 1.5)
    assert found["last"] == history[-1]
    assert found["backend"] == keras.backend.backend()
