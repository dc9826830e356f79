"""Seconds of Mask R-CNN on an image of 512 x 512 pixels and six bands: the network, and all of `detect`.

    python scripts/bench_mask_rcnn.py [--preset PRESET] [--size 512] [-o docs/benchmarks/bench_mask_rcnn.json]

On a busy machine only the seconds of CPU say something.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

import galzoo
from galzoo.files import write_json
from galzoo.models.mask_rcnn.model import MaskRCNN


def measure(function, repeat):
    """Return the least seconds by the clock and of CPU of several calls after a first one."""
    function()
    clock, cpu = [], []
    for _ in range(repeat):
        start = time.perf_counter(), time.process_time()
        function()
        clock.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return {"seconds": min(clock), "cpu_seconds": min(cpu)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", help="preset or run; by default a fresh network of the default size")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    model = galzoo.load(arguments.preset) if arguments.preset else MaskRCNN(bands=tuple("ugrizy"))
    rng, side = np.random.default_rng(0), arguments.size
    image = rng.normal(size=(1, side, side, len(model.bands))).astype("float32")
    rows, columns = np.indices((side, side))
    for x, y, light in zip(*rng.uniform(0, side, (2, side)), 10 ** rng.uniform(1, 3, side), strict=True):
        image[0] += (light * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / 4))[..., None].astype("float32")
    batch = {"image": image, "variance": np.ones_like(image)}
    results = {
        "backbone, pyramid and centres": measure(lambda: np.asarray(model.look(batch)["maps"]), arguments.repeat),
        "detect, above 0.1": measure(lambda: model.detect(batch, 0.1), arguments.repeat),
    }
    for name, row in results.items():
        print(name, {key: round(value, 3) for key, value in row.items()})
    if arguments.output:
        settings = {"size": side, "bands": len(model.bands), "proposals": model._number((side, side))}
        versions = {"galzoo": galzoo.__version__, "keras": keras.__version__}
        write_json(arguments.output, {"results": results, "settings": settings, "versions": versions})


if __name__ == "__main__":
    main()
