"""Set how strong arms, bars, rings and lopsidedness of simulated galaxies are, by real galaxies in HST images.

    python scripts/fit_structure.py candels.h5 --survey GOODS -o docs/benchmarks/fit_structure.json

Simulated galaxies, smooth and with structure of several strengths, are seen by the survey that took the real stamps. In
every band, each real galaxy is compared with the three simulated ones that are nearest in flux and size; the number is
the Wasserstein distance of asymmetry, smoothness, Gini coefficient and M20 in units of the real galaxies' spread. The
defaults of `galzoo.simulate.structure.StructureModel` come from it.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from galzoo.data.stamps import Stamps
from galzoo.files import write_text
from galzoo.metrics.morphology import morphology
from galzoo.metrics.realism import scaled_wasserstein
from galzoo.simulate.stamps import StampSimulator, StampSpec
from galzoo.simulate.structure import StructureModel

NAMES = ("asymmetry", "smoothness", "gini", "m20")
SETTINGS = ((0.0, 0.3), (0.5, 0.3), (0.8, 0.3), (0.8, 0.5), (1.0, 0.5), (1.0, 0.8))
"""Fraction of discs with structure, and its median strength."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("real", help="stamps of real galaxies, neighbours masked")
    parser.add_argument("-o", "--output", required=True, help="JSON of the distances")
    parser.add_argument("--survey", required=True, help="the survey as galzoo knows it, with the stamps' bands")
    parser.add_argument("--magnitudes", type=float, nargs=2, default=(19.5, 25.5))
    parser.add_argument("--n", type=int, default=500, help="simulated galaxies a setting")
    arguments = parser.parse_args()
    real = Stamps.load(arguments.real)
    shared = {
        "survey": arguments.survey,
        "bands": real.bands,
        "stamp_size": real.shape[0],
        "magnitude_range": tuple(arguments.magnitudes),
        "flat_magnitude": 1.0,
    }
    measured = measure(real)
    result = {"real": Path(arguments.real).name, **shared, "n_real": len(real), "n_simulated": arguments.n}
    result["settings"] = []
    for fraction, strength in SETTINGS:
        simulator = StampSimulator(StampSpec(**shared, structure=fraction, seed=1))
        simulator.sampler.model = dataclasses.replace(StructureModel(), strength=strength)
        simulated = measure(simulator.simulate(range(arguments.n)))
        result["settings"].append({"structure": fraction, "strength": strength} | compare(simulated, measured))
        print(json.dumps(result["settings"][-1]), flush=True)
    write_text(arguments.output, json.dumps(result, indent=1) + "\n")


def measure(stamps):
    """Return a table of statistics a band, with log flux and log size, of what can be measured."""
    y, x = np.mgrid[: stamps.shape[0], : stamps.shape[1]]
    radius = np.hypot(x - (stamps.shape[1] - 1) / 2, y - (stamps.shape[0] - 1) / 2)
    tables = []
    for band in range(len(stamps.bands)):
        image = stamps.image[..., band]
        bad = ~np.isfinite(image) if stamps.mask is None else stamps.mask[..., band]
        table = morphology(image, bad)
        size = table["half_light_radius"]
        within = radius < 2 * np.nan_to_num(size)[:, None, None]
        flux = np.sum(np.where(within & ~bad, image, 0), axis=(1, 2))
        place = np.stack([np.log10(np.maximum(flux, 1e-9)), np.log10(size)], axis=1)
        statistics = np.stack([table[name] for name in NAMES], axis=1)
        good = np.all(np.isfinite(np.concatenate([place, statistics], axis=1)), axis=1) & (flux > 0)
        tables.append((place[good], statistics[good]))
    return tables


def compare(simulated, real):
    """Return distances and medians (simulated, real) of the statistics, over all bands."""
    pairs = []
    for (places, ours), (real_places, theirs) in zip(simulated, real, strict=True):
        apart = np.hypot(*(real_places[:, None] - places[None]).transpose(2, 0, 1))
        pairs.append((ours[np.argsort(apart, axis=1)[:, :3].ravel()], theirs))
    ours, theirs = (np.concatenate(part) for part in zip(*pairs, strict=True))
    result = {}
    for index, name in enumerate(NAMES):
        distance = scaled_wasserstein(ours[:, index], theirs[:, index])
        result[name] = [round(distance[key], 3) for key in ("value", "error")]
        result[f"median_{name}"] = [round(float(np.median(part[:, index])), 3) for part in (ours, theirs)]
    result["mean"] = round(float(np.mean([result[name][0] for name in NAMES])), 3)
    return result


if __name__ == "__main__":
    main()
