"""How a StarNet answers for other PSFs, skies and densities than those of its test fields, and how long it takes.

    python scripts/bench_starnet.py PRESET grid [-o docs/benchmarks/starnet_grid.json]
    python scripts/bench_starnet.py PRESET refine [-o docs/benchmarks/starnet_refine.json]
    python scripts/bench_starnet.py PRESET speed [--size 100 | --size 1489 2048]

`grid` scores simulated fields of 64 pixels at each PSF, sky and density: a power law of fluxes as in M2, from 7.5 times
the error of a star alone. `refine` scores the test fields of the preset's recipe with and without `--refine`. `speed`
detects on one simulated field: seconds by the clock and of CPU, and the most memory of the process; on a busy machine
only the seconds of CPU say something.
"""

import argparse
import itertools
import resource
import time
from pathlib import Path

import keras
import numpy as np

import galzoo
from galzoo.data.build_dataset import prepare
from galzoo.data.scenes import Scenes
from galzoo.files import write_json
from galzoo.layers.starfield import StarField
from galzoo.recipe import Data
from galzoo.tasks.detect.refine import refined
from galzoo.tasks.detect.stars_scores import GIVEN, evaluate_stars
from galzoo.tasks.detect.stars_suite import scene_batch

_FIELD = {
    "slope": (0.5, 0.5), "span": (1000, 1000), "limit": (7.5, 7.5), "colour": (0, 0), "colour_scatter": (1, 1),
    "unresolved": 0, "sky_error": 0,
}  # fmt: skip
_PSFS, _SKIES, _DENSITIES = (2.0, 3.0, 4.5, 6.0), (700, 2800), (0.015, 0.05, 0.15)


def fields(n, bands, seed, **options):
    """Return a batch of `n` fields of stars."""
    layer = StarField(**{**_FIELD, **options}, seed=seed)
    made = layer({"image": np.zeros((n, 1, 1, bands), "float32")})
    return {key: keras.ops.convert_to_numpy(value) for key, value in made.items()}


def shown(scores):
    """Return the numbers of `evaluate_stars` that a table shows."""
    own, counts = scores["methods"]["galzoo"], scores["counts"]
    result = {key: own[key] for key in ("f1", "f1_error", "recall", "precision")}
    for name in ("field", "region"):
        result |= {f"{name}_{key}": counts[name][key] for key in ("n", "coverage", "relative_bias")}
    return result | {name: one["spread"] for name, one in scores["pulls"].items()}


def grid(model, n):
    rows = []
    for number, (fwhm, sky, density) in enumerate(itertools.product(_PSFS, _SKIES, _DENSITIES)):
        options = {"fwhm": (fwhm, fwhm), "sky": (sky, sky), "density": (density, density), "size": 64}
        batch = fields(n, len(model.bands), 900 + number, **options)
        scores = evaluate_stars(model, [batch], photometry=0)
        rows.append({"fwhm": fwhm, "sky": sky, "density": density} | shown(scores))
        print({key: round(value, 3) for key, value in rows[-1].items()}, flush=True)
    return rows


class Refined:
    """A model whose `detect` is followed by the joint fit."""

    def __init__(self, model):
        self.bands, self.detect = model.bands, refined(model.detect)


def refine(preset, model, n):
    data = galzoo.load_card(preset)["recipe"]["data"]
    scenes = Scenes.load(prepare(Data(**data))).split("test", **data["split"])
    batches = [scene_batch(scenes, np.array([row])) for row in range(min(n, len(scenes)))]
    rows = []
    for name, one in (("network", model), ("refined", Refined(model))):
        scores = evaluate_stars(one, batches, photometry=0)
        own = scores["methods"]["galzoo"]
        rows.append(
            {"method": name, "fields": len(batches)} | own | {k: v["spread"] for k, v in scores["pulls"].items()}
        )
        print(rows[-1], flush=True)
    return rows


def speed(model, size):
    height, width = (size * 2)[:2]
    side = min(max(height, width), 512)
    batch = fields(1, len(model.bands), 5, size=side, density=(0.05, 0.05), fwhm=(3, 3), sky=(700, 700))
    repeat = (1, -(-height // side), -(-width // side), 1)
    for key in ("image", "variance", "mask"):
        batch[key] = np.tile(batch[key], repeat)[:, :height, :width]
    # Blocks as `galzoo detect` hands them over.
    given = {key: batch[key] for key in GIVEN}
    side = min(512, height, width)
    blocks = [
        given | {key: given[key][:, y : y + side, x : x + side] for key in ("image", "variance", "mask")}
        for y in range(0, height - side + 1, max(side - 128, 64) if height > side else side)
        for x in range(0, width - side + 1, max(side - 128, 64) if width > side else side)
    ]
    model.detect(blocks[0], 0.5)
    start = time.perf_counter(), time.process_time()
    found = sum(int((model.detect(block, 0.5).probability > 0).sum()) for block in blocks)
    row = {
        "height": height, "width": width, "blocks": len(blocks), "found": found,
        "seconds": time.perf_counter() - start[0], "cpu_seconds": time.process_time() - start[1],
        "most_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }  # fmt: skip
    print(row, flush=True)
    return [row]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("what", choices=("grid", "refine", "speed"))
    parser.add_argument("--n", type=int, default=8, help="fields each")
    parser.add_argument("--size", type=int, nargs="+", default=[100])
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    model = galzoo.load(options.preset)
    if options.what == "refine":
        rows = refine(options.preset, model, options.n)
    else:
        rows = grid(model, options.n) if options.what == "grid" else speed(model, options.size)
    if options.output is not None:
        write_json(options.output, {"preset": Path(options.preset).name, options.what: rows})


if __name__ == "__main__":
    main()
