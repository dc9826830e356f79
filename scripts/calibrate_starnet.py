"""Fit the calibration of a StarNet again: to fields of its training's kind and to the validation fields of its recipe.

    python scripts/calibrate_starnet.py runs/starnet_sdss_2
    python scripts/calibrate_starnet.py pretrained/starnet_sdss

Training itself fits it to the few fields that are made for validation. This takes more of them, of 64 pixels, made with
another seed than those of training, and the validation fields of the recipe's file, none of which the suite `stars`
scores. The model in the run is replaced; of a preset also what its card says of the file and what its recipe exports of
origin and limits, and its self-test. Its numbers are then those of before: `scripts/make_pretrained.py --score`.
"""

import argparse
import datetime
import json
from pathlib import Path

import keras
import numpy as np

import galzoo
from galzoo import __version__
from galzoo.cards import write_readme
from galzoo.data.build_dataset import prepare
from galzoo.data.in_graph import make_layer
from galzoo.data.scenes import Scenes
from galzoo.files import atomic_path
from galzoo.pack import pack_model
from galzoo.presets import CARD_FILE, MODEL_FILE, changelog_entry, checksum, load_card, write_card
from galzoo.recipe import Data, list_recipes, load_recipe
from galzoo.selftest import write_selftest
from galzoo.tasks.detect.stars_suite import scene_batch

_SIDE, _SEED, _BATCH = 64, 20_001, 8


def made_fields(make, n, bands):
    """Return batches of `n` fields in all of the kind that a recipe's ``data.make`` says."""
    layer = make_layer({**make, "size": _SIDE}, _SEED)
    for start in range(0, n, _BATCH):
        made = layer({"image": np.zeros((min(_BATCH, n - start), 1, 1, bands), "float32")})
        yield {key: keras.ops.convert_to_numpy(value) for key, value in made.items()}


def held_out(data, n):
    """Return batches of at most `n` validation fields of a recipe's file."""
    scenes = Scenes.load(prepare(Data(**data))).split("valid", **data["split"])
    rows = np.arange(min(n, len(scenes)))
    for start in range(0, len(rows), _BATCH):
        yield scene_batch(scenes, rows[start : start + _BATCH])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--made", type=int, default=120)
    parser.add_argument("--held-out", type=int, default=32)
    options = parser.parse_args()
    model = galzoo.load(options.run)
    preset = (options.run / CARD_FILE).is_file()
    recipe = load_card(options.run)["recipe"] if preset else json.loads((options.run / "recipe.json").read_text())
    data = recipe["data"]
    batches = [*made_fields(data["make"], options.made, len(model.bands)), *held_out(data, options.held_out)]
    model.finish(batches)
    print(json.dumps(model.calibration))
    with atomic_path(options.run / MODEL_FILE) as path:
        model.save(path)
    if preset:
        renew_card(options.run)


def _recipe_of(card):
    recipes = (load_recipe(card["family"], name) for name in list_recipes(card["family"]))
    return next(one for one in recipes if one.export.preset == card["name"])


def renew_card(folder):
    """Let the card and the self-test of a preset be those of its model, and of what its recipe now says of it."""
    with atomic_path(folder / MODEL_FILE) as path:
        pack_model(folder / MODEL_FILE, path)
    card = load_card(folder)
    export = _recipe_of(card).export
    card["sha256"], card["limits"] = checksum(folder / MODEL_FILE), export.limits
    card["data"]["origin"] = export.data_origin
    entry = changelog_entry(datetime.date.today().isoformat(), __version__, card["sha256"], card["metrics"])
    card["changelog"].append(entry)
    write_card(folder, card)
    write_selftest(folder)
    write_readme(folder, load_card(folder))


if __name__ == "__main__":
    main()
