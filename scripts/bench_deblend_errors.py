"""Fit the constants by which errors of deblended fluxes, places and shapes grow, and say what intervals hold elsewhere.

    python scripts/bench_deblend_errors.py --data ROOT --cosmos DIR/whole.fits --work WORK
    python scripts/bench_deblend_errors.py --work WORK --output docs/benchmarks/bench_deblend_errors.json

The first measures the sets of scenes, some of them with ``--sets``, and keeps them in WORK. The second looks for the
constants of ``galzoo/inference/fit/doubts.py`` on a grid, on the sets "fit", and says what intervals hold on all sets,
with the constants in use and with the best of the grid; "off nominal" is the root mean square of what they hold too
much or too little. Scenes of CatSim are galaxies of splits that the deblender has not seen, one for either; of HST,
one half of the galaxies for either (DIR of ``join_cosmos.py``). Errors are by bootstrap of galaxies where their origin
is known, else of scenes.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import galzoo
from galzoo.files import write_json
from galzoo.inference.deblend import deblend
from galzoo.inference.fit import doubts
from galzoo.metrics.calibration import resample
from galzoo.metrics.deblending import LEVELS
from galzoo.simulate.scenes import SceneSpec, simulate_scenes
from galzoo.tasks.deblend.scores import parents

POSITION_ERROR = 0.3
BLENDED, LEAST_SNR = 0.3, 20.0
GRID = {
    "coherent": np.arange(0.0, 4.1, 0.5), "unseen": np.arange(0.0, 10.1, 1.0),
    "pulled": np.arange(0.0, 3.1, 0.25), "lopsided": np.arange(0.0, 1.01, 0.1), "sizes": np.arange(0.5, 3.1, 0.1),
}  # fmt: skip


def sets(data, cosmos):
    """Return the sets: name -> preset, role, number of scenes and their `SceneSpec`."""
    lsst = {"survey": "LSST", "reference": "i", "magnitude_range": (18.0, 25.3)}
    catsim = lsst | {"catalogue": f"{data}/catalogs/catsim_onedegsq_10000.fits"}
    hst = catsim | {
        "real_galaxies": str(cosmos), "real_fraction": 1.0, "real_magnitude_limit": 25.0, "split_valid": 0.0,
        "split_test": 0.5,
    }  # fmt: skip
    candels = {
        "survey": "CANDELS", "bands": ("F160W",), "split": "any", "magnitude_range": (18.0, 25.5), "stamp_size": 120,
        "max_radius": 1.2, "psf_paths": {"F160W": f"{data}/psf/hst_grizli_ceers_f160w.fits"},
    }  # fmt: skip
    return {
        "hst_fit": ("vae_deblender_lsst", "fit", 24, SceneSpec(**hst, split="train", seed=603)),
        "hst_held_out": ("vae_deblender_lsst", "held out", 24, SceneSpec(**hst, split="test", seed=604)),
        "catsim_fit": ("vae_deblender_lsst", "fit", 24, SceneSpec(**catsim, split="valid", seed=601)),
        "catsim_held_out": ("vae_deblender_lsst", "held out", 24, SceneSpec(**catsim, split="test", seed=602)),
        "f160w_fit": ("vae_deblender_candels_h", "fit", 32, SceneSpec(**candels, seed=605)),
        "f160w_held_out": ("vae_deblender_candels_h", "held out", 32, SceneSpec(**candels, seed=606)),
    }


def measure(preset, count, spec):
    """Return what the errors of a set are made of, an entry a source."""
    model = galzoo.load(preset)
    scenes = simulate_scenes(spec, range(count))
    seen = {}

    def flux_errors(error, flux, part, contamination, floor):
        seen.update(error=error, flux=flux, part=np.repeat(part[:, None], flux.shape[1], 1), shared=contamination)
        return error

    def strain(neighbours, own, floor, share=1.0):
        seen.update(neighbours=neighbours, own=own)
        return np.ones_like(own)

    kept = doubts.flux_errors, doubts.strain
    doubts.flux_errors, doubts.strain = flux_errors, strain
    parts = []
    try:
        numbers = scenes.positions()[1]
        for number in np.unique(numbers[numbers > 0]):
            # Of one number of sources and few enough to be solved at once, scenes come in the order they are given in.
            rows = np.flatnonzero(numbers == number)
            for start in range(0, len(rows), 16):
                parts.append(_part(model, scenes, rows[start : start + 16], number, seen, spec))
    finally:
        doubts.flux_errors, doubts.strain = kept
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return {**found, "floor": np.array(float(model.flux_floor))}


def _part(model, scenes, rows, number, seen, spec):
    batch = scenes.batch(rows)
    isolated = batch.pop("isolated")[:, :number]
    true = batch["positions"][:, :number]
    noise = np.random.default_rng([spec.seed, int(rows[0])]).normal(0, POSITION_ERROR, true.shape)
    batch["positions"] = batch["positions"].copy()
    batch["positions"][:, :number] += noise.astype("float32")
    answer = deblend(model, batch, position_error=POSITION_ERROR)
    reference = scenes.bands.index(spec.reference) if spec.reference in scenes.bands else 0
    truth = isolated.sum(axis=(2, 3), dtype=float)
    light = isolated[..., reference].astype(float)
    alone = np.einsum("nsyx,nsyx->ns", light, light)
    total = np.einsum("nsyx,nyx->ns", light, light.sum(axis=1))
    found = {
        "truth": truth, "answer": answer.flux[:, :number], "blendedness": 1 - alone / np.maximum(total, 1e-30),
        "miss": answer.positions[:, :number] - centroids(isolated.sum(axis=-1, dtype=float), true),
        "place_error": answer.position_error[:, :number], "reference": np.full(truth.shape[:2], reference),
        "scene": np.repeat(rows[:, None], number, 1), **seen,
        "shape": answer.shape[:, :number], "shape_error": answer.shape_error[:, :number],
        "true_shape": true_shapes(scenes)[rows][:, :number],
    }  # fmt: skip
    known = parents(scenes)
    found["group"] = known["parent"][rows][:, :number] if known else found["scene"]
    return {key: np.reshape(value, (-1, *np.shape(value)[2:])) for key, value in found.items()}


def true_shapes(scenes):
    """Return e1, e2 and half-light radius in pixels of simulated galaxies, (n, source, 3); NaN of real ones."""
    table, shape = scenes.sources, np.full((len(scenes), scenes.most, 3), np.nan)
    simulated = np.asarray(table["kind"]) == "parametric"
    rows = np.asarray(table["scene"])[simulated], np.asarray(table["source"])[simulated]
    for number, (name, unit) in enumerate((("e1", 1), ("e2", 1), ("half_light_radius", scenes.pixel_scale))):
        shape[(*rows, number)] = np.asarray(getattr(table[name], "value", table[name]), float)[simulated] / unit
    return shape


def centroids(images, places, rounds=8):
    """Return centroids (n, source, 2) of noiseless images (n, source, y, x) under Gaussian windows of their size."""
    from galzoo.metrics.deblending import source_moments

    size = source_moments(images, places, np.ones(images.shape[:2], bool))["sigma"]
    y, x = np.indices(images.shape[2:])
    found = np.array(places, float)
    for _ in range(rounds):
        away = (x - found[..., 0, None, None]) ** 2 + (y - found[..., 1, None, None]) ** 2
        weight = images * np.exp(-away / (2 * np.nan_to_num(size, nan=3.0)[..., None, None] ** 2))
        total = np.maximum(weight.sum(axis=(2, 3)), 1e-30)
        step = [(weight * axis).sum(axis=(2, 3)) / total - found[..., k] for k, axis in enumerate((x, y))]
        # Under a window as wide as the galaxy the mean goes half of the way.
        found += 2 * np.stack(step, axis=-1)
    return found


def inside(one, coherent, unseen, pulled, lopsided, sizes):
    """Return which intervals hold the truth: name -> (level -> array of 0 and 1, groups) of a set."""
    floor = float(one["floor"])
    error, flux, shared = (one[key][None] for key in ("error", "flux", "shared"))
    error = doubts.flux_errors(error, flux, np.zeros(1), shared, floor, unseen=unseen)[0]
    # Of each source's own scene.
    error = np.hypot(error, coherent * one["part"][:, None] * one["shared"])
    strain = doubts.strain(one["neighbours"], one["own"], floor, pulled=pulled, lopsided=lopsided)
    place = np.minimum(one["place_error"] * strain[:, None], POSITION_ERROR)
    flux_pull = np.abs(one["answer"] - one["truth"]) / np.maximum(error, 1e-30)
    place_pull = np.abs(one["miss"]) / np.maximum(place, 1e-30)
    size_strain = doubts.strain(one["neighbours"], one["own"], floor, sizes, pulled, lopsided)
    shape_error = one["shape_error"] * np.stack([strain, strain, size_strain], axis=-1)
    shape_pull = np.abs(one["shape"] - one["true_shape"]) / np.maximum(shape_error, 1e-30)
    blended = one["blendedness"] > BLENDED
    bright = one["own"] > LEAST_SNR
    every, known = np.ones(len(blended), bool), bright & np.isfinite(shape_pull).all(axis=-1)
    kinds = {
        "fluxes": (flux_pull, every), "fluxes of blends": (flux_pull, blended),
        "places": (place_pull, bright), "places of blends": (place_pull, bright & blended),
        "ellipticities": (shape_pull[:, :2], known), "sizes": (shape_pull[:, 2:], known),
    }  # fmt: skip
    return {
        name: ({level: (pull[rows] <= LEVELS[level]).astype(float) for level in (0.68, 0.95)}, one["group"][rows])
        for name, (pull, rows) in kinds.items()
    }


def cost(measured, kinds, **constants):
    """Return the root mean square of what intervals hold too much or too little, over sets, kinds and levels."""
    off = []
    for one in measured:
        found = inside(one, **constants)
        off += [held.mean() - level for kind in kinds for level, held in found[kind][0].items() if len(held)]
    return float(np.sqrt(np.mean(np.square(off))))


def in_use():
    """Return the constants of `galzoo.inference.fit.doubts`."""
    return {name: getattr(doubts, name.upper()) for name in GRID}


def fit(measured):
    """Return the constants of the grid whose intervals are nearest to what they should hold, and a table of both."""
    used, best, rows = in_use(), in_use(), []
    for kinds, names in ((("fluxes", "fluxes of blends"), ("coherent", "unseen")),
                         (("places", "places of blends"), ("pulled", "lopsided")),
                         (("sizes",), ("sizes",))):  # fmt: skip
        tried = {
            values: cost(measured, kinds, **used | dict(zip(names, map(float, values), strict=True)))
            for values in itertools.product(*(GRID[name] for name in names))
        }
        values = min(tried, key=tried.get)
        best |= {name: round(float(value), 3) for name, value in zip(names, values, strict=True)}
        for what, chosen in (("in use", used), ("best of the grid", best)):
            row = {"of": kinds[0], "constants": what, **{name: chosen[name] for name in names}}
            rows.append(row | {"off nominal": cost(measured, kinds, **used | {name: chosen[name] for name in names})})
    return best, rows


def coverage(one, constants):
    """Return a row: what the intervals of a set hold, with errors."""
    row = {"sources": len(one["blendedness"]), "galaxies": len(np.unique(one["group"]))}
    for name, (levels, groups) in inside(one, **constants).items():
        for level, held in levels.items():
            key = f"{name}, {100 * level:.0f} %"
            found = resample(np.mean, held.mean(axis=1), groups=groups) if len(held) else (None, None)
            row[key], row[f"{key}_error"] = found
    return row


def main():
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the public survey data")
    parser.add_argument("--cosmos", type=Path, help="whole.fits of join_cosmos.py")
    parser.add_argument("--work", type=Path, required=True, help="folder of what was measured")
    parser.add_argument("--sets", nargs="*", help="sets to measure; all by default")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    known = sets(arguments.data, arguments.cosmos)
    if arguments.data:
        for name in arguments.sets or known:
            preset, _, count, spec = known[name]
            np.savez(arguments.work / f"{name}.npz", **measure(preset, count, spec))
    if not arguments.output:
        return
    measured = {}
    known = {name: one for name, one in known.items() if (arguments.work / f"{name}.npz").is_file()}
    for name in known:
        with np.load(arguments.work / f"{name}.npz") as file:
            measured[name] = dict(file)
    best, costs = fit([measured[name] for name, one in known.items() if one[1] == "fit"])
    rows = [
        {"set": name.replace("_", " "), "constants": what, "scenes": count, **coverage(measured[name], constants)}
        for name, (_, _, count, _) in known.items()
        for what, constants in (("in use", in_use()), ("best of the grid", best))
    ]
    write_json(arguments.output, {"constants": in_use(), "fit": costs, "coverage": rows})
    shown = [{key: value for key, value in row.items() if not key.endswith("_error")} for row in rows]
    table = Table(*shown[0])
    for row in shown:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=200).print(costs, table)


if __name__ == "__main__":
    main()
