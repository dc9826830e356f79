"""Stamps a second of mc_resnet with its random passes, and the share of the time that goes into the trunk.

    python scripts/bench_mc_resnet.py [PRESET or RUN] [--output docs/benchmarks/bench_mc_resnet.json]

CPU time beside the wall clock, so that a busy machine shows.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

from galzoo import __version__
from galzoo.files import write_json
from galzoo.models.mc_resnet.model import MCResNet
from galzoo.presets import load_for


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", help="the default network with random weights without it")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--stamps", type=int, default=128)
    parser.add_argument("--passes", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    model = load_for("screen", options.preset) if options.preset else MCResNet(bands=("i",))
    shape = (options.stamps, options.size, options.size, len(model.bands))
    image = np.random.default_rng(0).normal(size=shape).astype("float32")
    batch = {"image": image, "variance": np.ones(shape, "float32")}

    def trunk():
        keras.ops.convert_to_numpy(model.features(batch)[0])

    def count():
        model.count(batch, options.passes)

    times = {trunk: [], count: []}
    for function in times:
        function()
    # In turns, so that both see the same machine.
    for _ in range(options.repeat):
        for function, spent in times.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    (trunk_wall, trunk_cpu), (wall, cpu) = (np.median(spent, axis=0) for spent in times.values())
    rates = {
        "stamps a second": options.stamps / wall,
        "stamps a second of CPU time": options.stamps / cpu,
        "share of the trunk": trunk_wall / wall,
        "share of the trunk, CPU time": trunk_cpu / cpu,
    }
    for name, rate in rates.items():
        print(f"{name}: {rate:.3g}")
    if options.output:
        settings = {key: getattr(options, key) for key in ("stamps", "size", "passes")}
        settings |= {"bands": len(model.bands), "backend": keras.backend.backend()}
        versions = {"galzoo": __version__, "keras": keras.__version__}
        write_json(options.output, {"results": rates, "settings": settings, "versions": versions})


if __name__ == "__main__":
    main()
