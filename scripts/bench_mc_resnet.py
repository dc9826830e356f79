"""Stamps a second of mc_resnet with its random passes, and the share of the time that goes into the trunk.

CPU time beside the wall clock, so that a busy machine shows. ``python scripts/bench_mc_resnet.py [PRESET or RUN]``
"""

import argparse
import time

import keras
import numpy as np

from galzoo.models.mc_resnet.model import MCResNet
from galzoo.presets import load_for


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset", nargs="?", help="the default network with random weights without it")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--stamps", type=int, default=128)
    parser.add_argument("--passes", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3)
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
    print(f"{options.stamps} stamps of {options.size} px, {options.passes} passes, {keras.backend.backend()}")
    print(f"{options.stamps / wall:.0f} stamps/s by the clock, {options.stamps / cpu:.0f} stamps per CPU second")
    print(f"trunk: {100 * trunk_wall / wall:.0f} % of the clock, {100 * trunk_cpu / cpu:.0f} % of the CPU time")


if __name__ == "__main__":
    main()
