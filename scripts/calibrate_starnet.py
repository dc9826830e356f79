"""Fit the calibration of a StarNet again: to fields of its training's kind and to the validation fields of its recipe.

    python scripts/calibrate_starnet.py runs/starnet_sdss_2
    python scripts/calibrate_starnet.py pretrained/starnet_sdss

Training itself fits it to the few fields that are made for validation. This takes more of them, of 64 pixels, made with
another seed than those of training, and the validation fields of the recipe's file, none of which the suite `stars`
scores. The model in the run is replaced; of a preset also what its card says of the file and what its recipe exports of
origin and limits, and its self-test. Its numbers are then those of before: `scripts/make_pretrained.py --score`.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from make_pretrained import renew

import galzoo
from galzoo.data.build_dataset import prepare
from galzoo.data.in_graph import make_layer
from galzoo.data.scenes import Scenes
from galzoo.files import atomic_path
from galzoo.presets import CARD_FILE, MODEL_FILE, load_card
from galzoo.recipe import Data
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
    # The file that a preset learnt from is of the machine that made it.
    data = recipe["data"] | ({"path": None} if preset else {})
    batches = [*made_fields(data["make"], options.made, len(model.bands)), *held_out(data, options.held_out)]
    model.finish(batches)
    print(json.dumps(model.calibration))
    with atomic_path(options.run / MODEL_FILE) as path:
        model.save(path)
    if preset:
        renew(options.run)


if __name__ == "__main__":
    main()
