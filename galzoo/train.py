"""Training: a resolved recipe and a stamp file in, a run folder with a loadable model out.

This module and what it imports need only keras, numpy and h5py, so a recipe resolved on one machine
(``galzoo train FAMILY --dry-run --json``) trains on another that has little else::

    python -m galzoo.train recipe.json --data stamps.h5 --output run
"""

import argparse
import functools
import importlib.util
import inspect
import json
import os
import platform
import sys
from pathlib import Path

import keras
import numpy as np

from galzoo import callbacks as run_callbacks
from galzoo.contents import digest
from galzoo.contracts.training import Adapts, Finishes, TakesOver
from galzoo.data.bands import magnitude_columns
from galzoo.data.in_graph import make_layer
from galzoo.data.open_source import read_header
from galzoo.data.pipeline import evaluation_batches, training_batches
from galzoo.data.training_sources import training_sources
from galzoo.errors import GalzooError, InputError, RecipeError
from galzoo.files import atomic_path, expanded, write_json
from galzoo.precision import single_precision
from galzoo.presets import MODEL_FILE, find_preset
from galzoo.registry import get_family, import_object
from galzoo.runtime import prepare_runtime

INPUTS_FILE = "inputs.json"
_PICTURES = 10


def train(recipe, data_path, output, resume=False, init=None, verbose="auto"):
    """Train a model stage by stage.

    Parameters
    ----------
    recipe : dict
        A resolved recipe (`galzoo.recipe.Recipe.resolved`).
    data_path : str or Path
        Stamp file.
    output : str or Path
        Folder of the run: ``recipe.json``, ``inputs.json``, ``history.csv``, ``state.h5``, ``pictures/``,
        ``logs/``, ``model.keras`` and ``training.json``; with several stages ``stages/``, the weights at the end of
        each in their order in the model.
    resume : bool
        Go on where the run in `output` stopped; it ends at the weights that an uninterrupted run gives.
    init : keras.Model, optional
        Start from the weights of this model of the same shape.
    verbose : "auto", 0, 1 or 2
        As in `keras.Model.fit`; "auto" writes a line an epoch, with the time left, where output is no terminal.

    Returns
    -------
    keras.Model
        The trained model.

    Raises
    ------
    InputError
        If the folder holds a run and `resume` is not asked for, the data have changed since it was started, or they do
        not fit the model.
    RecipeError
        If the runtime asks for what this back end cannot do.
    """
    output = Path(expanded(output))
    progress = check_output(output, resume)
    recipe = complete(recipe, data_path)
    if resume:
        check_same_recipe(output, recipe)
    inputs = inputs_of(recipe, data_path)
    if resume:
        check_same_inputs(output, inputs)
    runtime = recipe["runtime"]
    scope = prepare_runtime(runtime)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "recipe.json", recipe)
    write_json(output / INPUTS_FILE, inputs)

    source = training_sources(data_path, recipe["data"], get_family(recipe["family"]), runtime["seed"])
    with scope():
        model = make_model(recipe)
    plain = verbose == "auto" and not sys.stdout.isatty()
    history = progress["history"] if progress else []
    done = (progress["stage"], progress["epoch"]) if progress else (0, 0)
    for number, stage in enumerate(recipe["stages"]):
        if number < done[0]:
            continue
        first_epoch = done[1] if number == done[0] else 0
        with scope():
            compile_stage(model, stage, runtime)
        if progress and number == done[0]:
            run_callbacks.restore_state(output, model)
        elif number == 0:
            parts = [getattr(model, name) for name in recipe.get("parts") or {}]
            start_weights(model, init, source["train"], stage, runtime["seed"], parts)
        patience, epochs = stage.get("patience"), stage["epochs"]
        if patience is not None and run_callbacks.stopped_early(history, number, patience):
            epochs = first_epoch
        seed = runtime["seed"] + 1000 * number
        start = first_epoch * stage["steps_per_epoch"]
        batches = training_batches(source["train"], stage["batch_size"], seed, start, stage.get("crop"))
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=stage["steps_per_epoch"],
            validation_data=evaluation_batches(source["valid"], stage["batch_size"]),
            callbacks=_callbacks(output, number, stage, history, source["valid"], recipe, plain),
            shuffle=False,
            verbose=0 if plain else verbose,
        )
        if patience is not None:
            run_callbacks.restore_best(output, model)
        if len(recipe["stages"]) > 1:
            with atomic_path(output / "stages" / f"{number}_{stage['name']}.npz") as path:
                np.savez(path, *map(keras.ops.convert_to_numpy, model.weights))
    finish(model, source["valid"], recipe["stages"][-1]["batch_size"])
    with atomic_path(output / "model.keras") as path:
        # The optimiser is in state.h5; without it the file is a third of the size.
        model.compile()
        model.save(path)
    write_json(output / "training.json", account(recipe, source, history))
    return model


def check_output(output, resume):
    """Return how far the run in a folder came (`galzoo.callbacks.read_progress`).

    Raise `InputError` if there is one that is not to be resumed, or none that is.
    """
    progress = run_callbacks.read_progress(output)
    if progress and not resume:
        raise InputError(f"{output}: holds a run; add --resume to go on with it, or give another --output")
    if resume and not progress:
        raise InputError(f"{output}: no run to resume; drop --resume")
    return progress


def complete(recipe, data_path):
    """Fill in what only the data know: the model's bands and, where it asks for them, pixel scale, unit and the like.

    Raise `InputError` if the data do not fit the bands, `RecipeError` if a magnitude is of another band than it says.
    """
    header = read_header(data_path)
    check_magnitude(recipe["model"], header, data_path)
    if recipe["data"].get("make"):
        layer = make_layer(recipe["data"]["make"], recipe["runtime"]["seed"])
        header["shape"] = layer.shape(header["shape"])
    known = {
        "bands": header["bands"],
        "pixel_scale": header["pixel_scale"],
        "unit": header["unit"],
        "survey": header["survey"],
        "stamp_size": list(header["shape"]),
        "columns": recipe["data"]["condition"],
    }
    takes = inspect.signature(get_family(recipe["family"]).model_class().__init__).parameters
    filled = {name: value for name, value in known.items() if name in takes and recipe["model"].get(name) is None}
    bands = recipe["model"].get("bands")
    if bands is None:
        return {**recipe, "model": {**recipe["model"], **filled}}
    if len(bands) != len(header["bands"]):
        raise InputError(
            f"{data_path}: has {len(header['bands'])} bands ({', '.join(header['bands'])}), the recipe's model "
            f"{len(bands)} ({', '.join(bands)})"
        )
    return recipe


def check_magnitude(model, header, data_path):
    """Raise `RecipeError` where samples would be scaled in one band to the magnitude that galaxies have in another.

    Parameters
    ----------
    model : dict
        Of a recipe; checked where it has ``flux_column`` and ``flux_band``.
    header : dict
        Of the data. The ``mag`` of simulated ones is that of the reference band of their simulation.
    data_path : str or Path
        For the message.
    """
    column, band = model.get("flux_column"), model.get("flux_band")
    names = dict(zip(header["bands"], model.get("bands") or header["bands"], strict=False))
    stated = magnitude_columns(header["bands"], header["meta"]).get(column)
    if stated is not None and names.get(stated, stated) != band:
        raise RecipeError(
            f"{data_path}: its column {column} is the magnitude in {stated}, and flux_band is {band!r}; set "
            f"model.flux_band={names.get(stated, stated)}, or take the column of that band"
        )


def make_model(recipe):
    """Make the model of a resolved recipe, with its parts, which are read from their presets or runs.

    Raises
    ------
    RecipeError
        If the constructor cannot use a value, or takes no such part.
    UnknownNameError
        If a part is no preset or run.
    """
    model_class = get_family(recipe["family"]).model_class()
    parts = recipe.get("parts") or {}
    odd = [name for name in parts if name not in inspect.signature(model_class.__init__).parameters]
    if odd:
        raise RecipeError(f"parts.{odd[0]}: {recipe['family']} has no such part; take it out")
    # The model files alone are read, not their cards, so that training needs no YAML.
    with single_precision():
        parts = {
            name: keras.saving.load_model(find_preset(value) / MODEL_FILE, compile=False)
            for name, value in parts.items()
        }
    try:
        return model_class(**recipe["model"], **parts)
    except RecipeError:
        raise
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RecipeError(f"the recipe's model section cannot be built, mend its values: {reason}") from None


def compile_stage(model, stage, runtime):
    """Compile `model` with the optimiser, schedule and frozen parts of a stage."""
    for layer in model.layers:
        layer.trainable = True
    for name in (*getattr(model, "frozen", ()), *stage["freeze"]):
        part = getattr(model, name, None)
        if part is None and name in getattr(model, "frozen", ()):
            continue
        if not isinstance(part, keras.layers.Layer):
            raise RecipeError(f"stage {stage['name']!r} freezes {name!r}, which {type(model).__name__} does not have")
        part.trainable = False
    rate = stage["learning_rate"]
    steps = stage["epochs"] * stage["steps_per_epoch"]
    warmup = stage["warmup_steps"]
    if stage["schedule"] == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=rate / 100 if warmup else rate,
            decay_steps=max(steps - warmup, 1),
            alpha=0.01,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    optimizer = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[stage["optimizer"]](
        learning_rate=rate,
        clipnorm=stage["clip_norm"],
        # At the end of `fit` Keras puts the averages in the place of the weights.
        use_ema=stage.get("ema") is not None,
        ema_momentum=stage.get("ema") or 0.0,
    )
    if runtime["precision"] == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Variables made while TensorFlow traces the first step would have it trace the step twice.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, jit_compile=runtime["jit"] or keras.backend.backend() == "jax")


def start_weights(model, init, source, stage, seed, parts=()):
    """Copy the weights of `init` but for `parts` of the model, or let a fresh model adapt to some batches."""
    if init is not None and isinstance(model, TakesOver):
        model.take_over(init)
    elif init is not None:
        mine, theirs = model.weights, init.weights
        if [tuple(weight.shape) for weight in mine] != [tuple(weight.shape) for weight in theirs]:
            own = json.dumps(init.get_config(), default=str)
            raise InputError(f"the start model has other layers than the recipe's; use its own: {own}")
        kept = {id(weight) for part in parts for weight in part.weights}
        for weight, value in zip(mine, theirs, strict=True):
            if id(weight) not in kept:
                weight.assign(value)
    elif isinstance(model, Adapts):
        batches = training_batches(source, stage["batch_size"], seed, crop=stage.get("crop"))
        steps = range(getattr(model, "adapt_batches", 4))
        iterator = map(batches.__getitem__, steps) if isinstance(batches, keras.utils.PyDataset) else iter(batches)
        model.adapt([batch for _, batch in zip(steps, iterator, strict=False)])


def finish(model, valid, batch_size):
    """Let a model that `Finishes` fit what it fits to validation data."""
    if isinstance(model, Finishes):
        rows = range(0, len(valid), batch_size)
        model.finish(valid.batch(np.arange(start, min(start + batch_size, len(valid)))) for start in rows)


def inputs_of(recipe, data_path):
    """Return the digests of what a run is trained on: its data, and the models of its parts."""
    files = {"data": data_path, "valid_path": recipe["data"].get("valid_path")}
    files |= {f"parts.{name}": find_preset(value) / MODEL_FILE for name, value in (recipe.get("parts") or {}).items()}
    return {name: digest(path) for name, path in files.items() if path is not None}


def check_same_inputs(output, inputs):
    """Raise `InputError` if a run was started on other contents of its files; older runs do not say."""
    path = output / INPUTS_FILE
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in inputs if before.get(name) != inputs[name]]
    if changed:
        raise InputError(
            f"{output}: its {changed[0]} file has changed since the run was started; bring the old one back, or train "
            "into another --output"
        )


def check_same_recipe(output, recipe):
    """Raise `InputError` if the run in a folder was started with another recipe."""
    before = json.loads((output / "recipe.json").read_text(encoding="utf-8"))
    for section in ("family", "model", "parts", "data", "stages"):
        if _given(before.get(section, {})) != _given(json.loads(json.dumps(recipe.get(section, {})))):
            raise InputError(f"{output}: was started with another {section!r} section; resume with the same recipe")


def _given(value):
    """Leave out what is null: options that did not exist when a run was started are null in its recipe now."""
    if isinstance(value, dict):
        return {key: _given(part) for key, part in value.items() if part is not None}
    return [_given(part) for part in value] if isinstance(value, list) else value


def _callbacks(output, number, stage, history, valid, recipe, plain):
    chosen = [run_callbacks.StopOnNaN()]
    if stage.get("patience") is not None:
        chosen.append(run_callbacks.StopEarly(output, number, history, stage["patience"]))
    chosen.append(run_callbacks.RunState(output, number, history))
    if plain:
        chosen.append(run_callbacks.PlainLines(recipe["stages"], number, history))
    if stage.get("ema") is not None:
        chosen.append(run_callbacks.AveragedValidation())
    if importlib.util.find_spec("tensorboard") and importlib.util.find_spec("tensorflow"):
        chosen.append(keras.callbacks.TensorBoard(output / "logs" / stage["name"], write_graph=False))
    picture = get_family(recipe["family"]).picture
    if picture and all(importlib.util.find_spec(package) for package in ("matplotlib", "astropy")):
        every = max(1, stage["epochs"] // _PICTURES)
        batch = valid.batch(range(min(8, len(valid))))
        draw = import_object(picture)
        if "pixel_scale" in inspect.signature(draw).parameters:
            draw = functools.partial(draw, pixel_scale=valid.header()["pixel_scale"])
        chosen.append(run_callbacks.Pictures(output, number, batch, draw, every))
    return chosen


def account(recipe, source, history):
    """Return what a card says about the training so far."""
    return {
        "n_train": len(source["train"]),
        "n_valid": len(source["valid"]),
        "steps": sum(recipe["stages"][row["stage"]]["steps_per_epoch"] for row in history),
        "hours": round(sum(row["seconds"] for row in history) / 3600, 3),
        "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "python": platform.python_version(),
        "last": history[-1] if history else {},
    }


def main(arguments=None):
    """Train from a resolved recipe; the command for machines with keras, numpy and h5py only."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("recipe", help="resolved recipe, JSON")
    parser.add_argument("--data", required=True, help="stamp file")
    parser.add_argument("--output", required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(arguments)
    try:
        recipe = json.loads(Path(options.recipe).read_text(encoding="utf-8"))
        train(recipe, options.data, options.output, resume=options.resume)
    except (GalzooError, OSError, json.JSONDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
