"""Time sampling with cached features against the naive way, in one process, and the shipped priors.

    python scripts/bench_sample.py --output bench_sample.json [--skip-naive]

The first case is 16 x 16 codes of 512, 12 layers of 64 channels, 16 maps at a time; both ways draw the same codes,
which is checked. The naive way is timed over its first positions and scaled to the whole map: each costs the same.
"""

import argparse
import os
import platform
import time
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import galzoo
from galzoo.files import write_json
from galzoo.models.pixelcnn.model import PixelCNN
from galzoo.models.pixelcnn.sampler import CachedSampler, Forward, draw, sample_naively
from galzoo.models.vqvae.model import VQVAE
from galzoo.presets import list_presets, load_card

MAPS, SIZE, CODES = 16, 16, 512
# Positions of the naive way that are timed.
TIMED = 12


def inputs_of(model, n, shape, seed=0):
    """Return what the samplers take, for `n` unconditional maps."""
    return {
        "uniform": np.random.default_rng(seed).random((n, *shape, 1), "float32"),
        "values": np.zeros((n, *shape, 1), "int32"),
        "known": np.zeros((n, *shape, 1), "float32"),
        "condition": np.zeros((n, max(len(model.columns), 1)), "float32"),
        "temperature": np.ones((n, 1), "float32"),
        "guidance": np.ones((n, 1), "float32"),
    }


def cached_seconds(model, inputs, repeats=3):
    """Return the median seconds of a batch after compilation, and the codes."""
    sampler = CachedSampler(model)
    sampler.compile(jit_compile=keras.config.backend() == "jax")
    codes = sampler.predict_on_batch(inputs)["values"]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        sampler.predict_on_batch(inputs)
        times.append(time.perf_counter() - start)
    return float(np.median(times)), codes


def naive_seconds(model, inputs):
    """Return the seconds that a batch takes with the whole network run for each position."""
    forward = Forward(model)
    forward.compile(jit_compile=keras.config.backend() == "jax")
    batch = {"values": inputs["values"], "condition": inputs["condition"]}
    forward.predict_on_batch(batch)
    start = time.perf_counter()
    for position in range(TIMED):
        parameters = forward.predict_on_batch(batch)[:, 0, position]
        draw(model.head, keras.ops.convert_to_tensor(parameters), inputs["uniform"][:, 0, position], inputs)
    return (time.perf_counter() - start) / TIMED * np.prod(inputs["values"].shape[1:3])


def compare():
    """Return the gain of caching, and whether a small map is the same both ways."""
    keras.utils.set_random_seed(0)
    codec = VQVAE.tiny(codebook_size=CODES).get_config()
    model = PixelCNN(bands=("r",), codec=codec, channels=64, depth=12)
    inputs = inputs_of(model, MAPS, (SIZE, SIZE))
    seconds, _ = cached_seconds(model, inputs)
    naive = naive_seconds(model, inputs)
    few = inputs_of(model, 4, (6, 6), seed=1)
    same = bool(np.array_equal(cached_seconds(model, few, 1)[1], sample_naively(model, few)))
    return {
        "case": f"{SIZE} x {SIZE} codes of {CODES}, 12 layers x 64 channels, {MAPS} maps",
        "cached_seconds": seconds,
        "naive_seconds": naive,
        "gain": naive / seconds,
        "maps_per_second": MAPS / seconds,
        "same_codes": same,
    }


def presets():
    """Return the samples per second of each shipped prior, decoded images, 64 at a time."""
    found = {}
    for name in list_presets():
        if load_card(name)["family"] == "pixelcnn":
            model = galzoo.load(name)
            model.sample(64)
            start = time.perf_counter()
            model.sample(64, seed=1)
            seconds = time.perf_counter() - start
            shape = model.sample(64).codes.shape[1:]
            found[name] = {"codes": f"{shape[0]} x {shape[1]}", "samples_per_second": 64 / seconds}
    return found


def main():
    """Run the benchmark and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench_sample.json"))
    parser.add_argument("--skip-naive", action="store_true", help="time the shipped priors alone")
    options = parser.parse_args()
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "backend": keras.config.backend(),
        "keras": keras.__version__,
        "presets": presets(),
    }
    if not options.skip_naive:
        result["cached_against_naive"] = compare()
    write_json(options.output, result)
    table = Table("what", "figure", title=f"sampling, {result['backend']}")
    for key, value in result.get("cached_against_naive", {}).items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
    for name, row in result["presets"].items():
        table.add_row(f"{name}, {row['codes']} codes: samples per second", f"{row['samples_per_second']:.3g}")
    Console().print(table)


if __name__ == "__main__":
    main()
