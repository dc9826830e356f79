"""Time batches of scenes, from a file and made in the graph, against a training step, in one process.

    python scripts/bench_pipeline.py --output docs/benchmarks/bench_pipeline.json

The step is that of the VQ-VAE at the same size and number of bands: scenes must come at least as fast. It and the
pipelines are timed in turns, so that the ratio holds on a machine that does other work too.
"""

import argparse
import functools
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_train import make_file
from rich.console import Console
from rich.table import Table

from galzoo.data.in_graph import MadeSource, make_layer
from galzoo.data.open_source import open_source
from galzoo.data.pipeline import training_batches
from galzoo.files import write_json
from galzoo.models.vqvae.model import VQVAE
from galzoo.simulate.scene_files import make_scene_set

STAMP = ("image", "truth", "variance", "psf")
SCENE = ("image", "variance", "psf", "positions", "flux", "boxes", "segmentation", "source_class")
BANDS = ("g", "r", "i")
# Batches that a pipeline makes ahead, and how many are timed.
READY, DRAWN = 3, 8
# Name, side of the stamps, scenes a batch, layer.
CASES = {
    "blends of 1 to 4, 64 px": (64, 32, {"layer": "BlendScenes", "sources": [1, 4]}),
    "1 to 20 sources, 128 px": (32, 8, {"layer": "PasteScenes", "size": 128, "sources": [1, 20], "bank": 8}),
    "50 to 100 sources, 256 px": (32, 2, {"layer": "PasteScenes", "size": 256, "sources": [50, 100], "bank": 32}),
}


def seconds_of(function, times, before=0):
    """Return the seconds of a call, the mean of so many after `before` that are not counted."""
    for _ in range(before):
        function()
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    results = []
    for name, (side, batch_size, make) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            stamps, scenes = Path(folder) / "stamps.h5", Path(folder) / "scenes.h5"
            make_file(stamps, side, list(BANDS))
            layer = make_layer(make, 0)
            size = layer.shape((side, side))[0]
            make_scene_set(
                scenes, 2 * batch_size, stamps, size=size, sources=make["sources"], stamps=16, progress=False
            )
            made = MadeSource(open_source(stamps, STAMP, "all"), layer, SCENE)
            from_file = iter(training_batches(open_source(scenes, SCENE, "all"), batch_size, 0))
            in_graph = iter(training_batches(made, batch_size, 0))
            batch = next(in_graph)
            model = VQVAE(bands=BANDS)
            model.adapt([batch])
            model.compile(optimizer="adam", jit_compile=False)
            ways = [functools.partial(next, iterator) for iterator in (from_file, in_graph)]
            found = []
            for _ in range(options.repeats):
                # Batches that were made while others were timed are drawn first.
                step = seconds_of(functools.partial(model.train_on_batch, batch), 1, before=1)
                found.append([step, *(seconds_of(way, DRAWN, before=READY) for way in ways)])
            step, *pipelines = np.median(found, axis=0).tolist()
        for way, seconds in zip(("file", "in the graph"), pipelines, strict=True):
            row = {"case": name, "way": way, "scenes_per_batch": batch_size, "step_seconds": step}
            row |= {"batches_per_second": 1 / seconds, "scenes_per_second": batch_size / seconds}
            results.append(row | {"over_the_steps_need": step / seconds})
    table = Table(*results[0])
    for row in results:
        table.add_row(*(value if isinstance(value, str) else f"{value:.3g}" for value in row.values()))
    Console().print(table)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "platform": platform.platform()}
    write_json(options.output, {"machine": machine, "results": results})


if __name__ == "__main__":
    main()
