"""Models that are parts of others: a prior over codes needs the VQ-VAE of the codes."""

from pathlib import Path

from galzoo.errors import InputError, RecipeError
from galzoo.recipe import load_recipe
from galzoo.train import check_same_inputs, check_same_recipe, complete, inputs_of, train

PREFIX = "recipe:"


def train_parts(recipe, data_path, output, resume=False):
    """Train what a recipe's section ``parts`` asks for as ``recipe:FAMILY/NAME``, on the data of the whole.

    Parameters
    ----------
    recipe : Recipe
    data_path : str or Path
        Stamp file.
    output : str or Path
        Folder of the run; a part is a run in it, named by its argument, and is kept when it is there already.
    resume : bool
        Go on with a part that was interrupted.

    Returns
    -------
    Recipe
        With the folder of each part in place of its recipe.

    Raises
    ------
    RecipeError
        If a part is not written as ``recipe:FAMILY/NAME``.
    InputError
        If a part that is there was trained on other data or by another recipe.
    """
    parts = dict(recipe.parts)
    for name, value in recipe.parts.items():
        if not value.startswith(PREFIX):
            continue
        family, slash, which = value.removeprefix(PREFIX).partition("/")
        if not (family and slash and which):
            raise RecipeError(f"parts.{name}={value!r}: write it as {PREFIX}FAMILY/NAME, e.g. {PREFIX}vqvae/default")
        folder = Path(output) / name
        parts[name] = str(folder)
        part = load_recipe(family, which).resolved()
        # The same stamps and the same split: what the whole is tested on, no part has seen.
        part["data"] = {**recipe.resolved()["data"], "condition": [], "label": None}
        if (folder / "model.keras").is_file():
            part = complete(part, data_path)
            check_same_recipe(folder, part)
            check_same_inputs(folder, inputs_of(part, data_path))
            continue
        started = (folder / "state.h5").is_file()
        if started and not resume:
            raise InputError(f"{folder}: holds a run; add --resume to go on with it, or give another --output")
        train(part, data_path, folder, resume=started)
    return recipe.model_copy(update={"parts": parts})
