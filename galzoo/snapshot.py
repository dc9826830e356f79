"""A model out of a run that is not finished: its averaged weights where it keeps such, else the weights as they are."""

import json
from pathlib import Path

from galzoo.callbacks import read_progress, restore_state
from galzoo.data.training_sources import training_sources
from galzoo.errors import InputError
from galzoo.files import atomic_path, write_json
from galzoo.registry import get_family
from galzoo.train import account, compile_stage, finish, make_model


def snapshot(run, data_path):
    """Make a model of the last complete epoch of a run, which may go on meanwhile.

    Parameters
    ----------
    run : str or Path
        Folder of the run.
    data_path : str or Path
        Stamp file that it trains on.

    Returns
    -------
    Path
        Folder ``snapshot`` in the run, as complete as that of a finished one.

    Raises
    ------
    InputError
        If the run has not finished an epoch yet.
    """
    run = Path(run)
    progress = read_progress(run)
    if progress is None:
        raise InputError(f"{run}: no epoch is complete yet; wait for the first")
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    model = make_model(recipe)
    compile_stage(model, recipe["stages"][progress["stage"]], recipe["runtime"])
    restore_state(run, model)
    # Keras puts the averages, where there are any, in the place of the weights.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    sources = training_sources(data_path, recipe["data"], get_family(recipe["family"]), recipe["runtime"]["seed"])
    finish(model, sources["valid"], recipe["stages"][-1]["batch_size"])
    folder = run / "snapshot"
    model.compile()
    with atomic_path(folder / "model.keras") as path:
        model.save(path)
    write_json(folder / "recipe.json", recipe)
    write_json(folder / "training.json", account(recipe, sources, progress["history"]))
    return folder
