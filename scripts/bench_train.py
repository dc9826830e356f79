"""Time training steps: the VQ-VAE's against one convolution and the data pipeline; every family's by precision.

    python scripts/bench_train.py --output bench_train.json

The step is timed as `fit` runs it: augmentation, forward model, likelihood, gradients, optimiser and codebook. Its
arithmetic is counted for convolutions and the PSF's matrix products alone, so the ratio to the plain convolution is a
lower bound of how well the processor is used. Steps in half and single precision take turns in one process; whether
half precision is quicker depends on what the processor has for it, so its features are written down beside.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from galzoo.data.pipeline import training_batches
from galzoo.data.source import StampSource
from galzoo.data.stamps import Stamps
from galzoo.data.training_sources import training_sources
from galzoo.files import write_json
from galzoo.models.vqvae.model import VQVAE
from galzoo.recipe import load_recipe
from galzoo.registry import families, get_family
from galzoo.runtime import prepare_runtime
from galzoo.train import compile_stage, complete, make_model, start_weights

CASES = {"HST, 84 px, 1 band": (84, ["h"]), "LSST, 64 px, 6 bands": (64, list("ugrizy"))}
BATCH = 32
# Backward takes the gradient to the input and to the kernel: twice the forward arithmetic.
PASSES = 3
PRECISIONS = "float32", "mixed_bfloat16"


def convolution_flops(layer, size, found):
    """Add the forward floating-point operations of all convolutions in `layer` to `found`; return the size after it."""
    if isinstance(layer, keras.Sequential):
        for part in layer.layers:
            size = convolution_flops(part, size, found)
        return size
    if hasattr(layer, "convolutions"):
        for part in layer.convolutions:
            convolution_flops(part, size, found)
        return size
    if hasattr(layer, "convolution"):
        if hasattr(layer, "narrow"):
            convolution_flops(layer.narrow, size, found)
        return convolution_flops(layer.convolution, 2 * size, found)
    if hasattr(layer, "kernel"):
        size = -(-size // layer.strides[0])
        found.append(2 * np.prod(layer.kernel.shape) * size**2)
    return size


def seconds_of(function, repeats):
    """Return the median of `repeats` calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def processor_features():
    """Return what the processor has for bfloat16, where the system says."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return None
    return sorted({"avx512f", "avx512_bf16", "amx_bf16", "amx_tile"} & set(words))


def by_precision(name, folder, repeats):
    """Return the median seconds of a step of a family's recipe `default`, by precision; the precisions take turns."""
    recipe = load_recipe(name, "default", ["runtime.deterministic=false"]).resolved()
    path = Path(folder) / f"{name}.h5"
    make_file(path, recipe["data"]["options"]["stamp_size"], recipe["data"]["options"]["bands"])
    recipe = complete(recipe, path)
    stage = recipe["stages"][0]
    source = training_sources(path, recipe["data"], get_family(name))["train"]
    batch = source.batch(range(stage["batch_size"]))
    models = {}
    for precision in PRECISIONS:
        runtime = {**recipe["runtime"], "precision": precision}
        prepare_runtime(runtime)
        models[precision] = make_model(recipe)
        compile_stage(models[precision], stage, runtime)
        start_weights(models[precision], None, source, stage, 0)
        models[precision].train_on_batch(batch)
    times = {precision: [] for precision in PRECISIONS}
    for _ in range(repeats):
        for precision, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(batch)
            times[precision].append(time.perf_counter() - start)
    keras.config.set_dtype_policy("float32")
    return {precision: float(np.median(found)) for precision, found in times.items()}


def make_file(path, size, bands):
    """Write noise stamps, each with a PSF: arithmetic does not depend on what is in the pixels."""
    rng = np.random.default_rng(0)
    shape = (256, size, size, len(bands))
    psf = rng.random((256, 41, 41, len(bands)))
    image = rng.normal(size=shape)
    Stamps(
        image,
        bands,
        0.1,
        variance=np.ones(shape),
        truth=np.abs(image),
        psf=psf / psf.sum(axis=(1, 2), keepdims=True),
        catalogue={
            "id": np.arange(256),
            "mag": rng.uniform(18, 24, 256),
            "half_light_radius": rng.uniform(0.2, 1, 256),
        },
    ).save(path)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    table = Table("case", "step, s", "GFLOP/s", "of one convolution", "pipeline, batches/s", "over the step's need")
    results = []
    for name, (size, bands) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            make_file(Path(folder) / "stamps.h5", size, bands)
            keys = ("image", "variance", "mask", "psf", "truth")
            source = StampSource(Path(folder) / "stamps.h5", keys, "all")
            iterator = iter(training_batches(source, BATCH, 0))
            batch = next(iterator)
            model = VQVAE(bands=bands, truth_weight=0.5)
            model.adapt([batch])
            model.compile(optimizer="adam", jit_compile=False)
            step = seconds_of(lambda model=model, batch=batch: model.train_on_batch(batch), options.repeats)
            pipeline = seconds_of(lambda iterator=iterator: next(iterator), 5 * options.repeats)
        found = []
        convolution_flops(model.encoder, size, found)
        convolution_flops(model.decoder, size // model.cell, found)
        flops = PASSES * BATCH * float(np.sum(found))

        side = size // model.cell
        layer = keras.Sequential([keras.Input((side, side, 128)), keras.layers.Conv2D(128, 3, padding="same")])
        layer.compile(optimizer="sgd", loss="mse", jit_compile=False)
        x = np.random.default_rng(0).normal(size=(BATCH, side, side, 128)).astype("float32")
        alone = seconds_of(lambda layer=layer, x=x: layer.train_on_batch(x, x), options.repeats)
        rate = PASSES * BATCH * 2 * 9 * 128 * 128 * side**2 / alone
        row = {
            "case": name,
            "step_seconds": step,
            "gflops": flops / step / 1e9,
            "convolution_gflops": rate / 1e9,
            "share_of_convolution": flops / step / rate,
            "pipeline_batches_per_second": 1 / pipeline,
            "pipeline_over_need": step / pipeline,
        }
        results.append(row)
        table.add_row(
            name, *(f"{value:.3g}" for key, value in row.items() if key not in ("case", "convolution_gflops"))
        )
    precisions = {}
    halves = Table("family, recipe default", *(f"step in {name}, s" for name in PRECISIONS), "times as fast")
    for name in families():
        with tempfile.TemporaryDirectory() as folder:
            precisions[name] = by_precision(name, folder, options.repeats)
        single, half = (precisions[name][precision] for precision in PRECISIONS)
        halves.add_row(name, f"{single:.3g}", f"{half:.3g}", f"{single / half:.2f}")
    Console().print(table, halves)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "platform": platform.platform()}
    machine["features"] = processor_features()
    write_json(options.output, {"batch": BATCH, "machine": machine, "results": results, "precisions": precisions})


if __name__ == "__main__":
    main()
