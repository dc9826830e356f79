"""Deblend simulated HSC blends with a prior over pixels, beside the deblender that it starts from.

    python scripts/bench_pixel_prior.py simulate BLENDS.h5
    python scripts/bench_pixel_prior.py run BLENDS.h5 PRIOR --output docs/benchmarks/bench_pixel_prior.json

Fluxes in the i band at the true positions; the likelihood alone, with no prior, stands beside. What is measured of each
scene is kept, so that the same command goes on where it was stopped.
"""

import argparse
import functools
import json
import sys
import time
from pathlib import Path

import numpy as np

from galzoo.data.scenes import Scenes
from galzoo.files import plain, write_json
from galzoo.metrics.binned import scatter68
from galzoo.metrics.calibration import resample
from galzoo.metrics.deblending import blendedness
from galzoo.metrics.detection import share

BLENDED = 0.3
_PIECE = 16


def simulate(path, number):
    """Write scenes of two or three HSC galaxies within .9 arcsec of the centre."""
    from galzoo.simulate.scenes import SceneSpec, make_scenes

    spec = SceneSpec(
        survey="HSC", bands=("i",), reference="i", stamp_size=56, structure=0.7, magnitude_range=(19.5, 24.0),
        flat_magnitude=1.0, n_sources=(2, 3), max_radius=0.9, min_separation=0.3, split="any", seed=77,
    )  # fmt: skip
    make_scenes(path, number, spec)


def methods_of(name, steps, sampled, monte_carlo):
    """Return the deblenders, name -> callable."""
    from galzoo.inference.pixel_samples import anneal_pixels, sample_pixels
    from galzoo.presets import load
    from galzoo.tasks.deblend.pixel_prior import first_deblender, told_by, with_prior

    prior = load(name)
    first, start = first_deblender(prior.bands, prior.pixel_scale)
    kept = {}

    def answer(batch):
        # All start from the same answer, which is computed once.
        if kept.get("index") is not batch["index"]:
            kept.update(index=batch["index"], answer=start(batch))
        return kept["answer"]

    def chain(batch, told):
        begin = answer(batch)
        known = told_by(prior, begin) if told else None
        return sample_pixels(prior, begin, batch, prior.model_sigma, draws=steps, warmup=steps, condition=known)[0]

    if monte_carlo:
        return {first: answer, "Monte Carlo, told magnitude and size": functools.partial(chain, told=True)}
    if sampled:
        return {
            first: answer,
            "mean of samples under the prior": lambda batch: anneal_pixels(
                prior, answer(batch), batch, prior.model_sigma
            ),
        }
    return {
        first: answer,
        "pixels under the prior": with_prior(answer, prior, steps=steps),
        "the same, told magnitude and size": with_prior(answer, prior, told=True, steps=steps),
        "pixels, no prior": with_prior(answer, prior, steps=steps, weight=0.0),
    }


def measure(methods, batch):
    """Return what is kept of each scene of a batch."""
    hidden = blendedness(batch["isolated"])[..., 0]
    rows = [{"blendedness": hidden[row, : int(n)].tolist()} for row, n in enumerate(batch["n_sources"])]
    for name, method in methods.items():
        begun = time.monotonic()
        found = method(dict(batch))
        seconds = (time.monotonic() - begun) / len(rows)
        for index, row in enumerate(rows):
            n = int(batch["n_sources"][index])
            true, image = batch["isolated"][index, :n, ..., 0], found.image[index, :n, ..., 0]
            product = (true * image).sum(axis=(1, 2)) / np.sqrt(
                (true**2).sum(axis=(1, 2)) * (image**2).sum(axis=(1, 2))
            )
            error = found.flux[index, :n, 0] / batch["flux"][index, :n, 0] - 1
            row[name] = {"error": error.tolist(), "cosine": product.tolist(), "chi2": float(found.chi2[index])}
            row[name]["seconds"] = seconds
            if name.startswith("Monte Carlo"):
                draws = found.samples[:, index, :n, 0]
                row[name]["below"] = (draws < batch["flux"][index, :n, 0]).mean(axis=0).tolist()
                row[name]["effective"] = effective(draws).tolist()
    return rows


def effective(draws):
    """Return the effective number of samples of each column of a chain (draw, source)."""
    import tensorflow_probability as tfp

    chain = (draws - draws.mean(axis=0)).astype("float32")
    return np.asarray(tfp.mcmc.effective_sample_size(chain, filter_beyond_positive_pairs=True))


def summary(rows, draws=500):
    """Return a row a method and range of blendedness; errors by bootstrap over scenes."""
    names = [name for name in rows[0] if name != "blendedness"]
    numbers, table = np.arange(len(rows)), []
    for title, least in (("all", 0.0), (f"blendedness > {BLENDED:g}", BLENDED)):
        keep = [np.array(row["blendedness"]) >= least for row in rows]
        errors = {name: [np.array(row[name]["error"])[k] for row, k in zip(rows, keep, strict=True)] for name in names}

        def scatter(scenes, name, errors=errors):
            return scatter68(np.concatenate([errors[name][scene] for scene in scenes]))

        def over_start(scenes, name):
            return scatter(scenes, name) / scatter(scenes, names[0])

        for name in names:
            whole = np.concatenate(errors[name])
            spread, ratio = (
                resample(functools.partial(of, name=name), numbers, draws=draws) for of in (scatter, over_start)
            )
            cosine = np.concatenate([np.array(row[name]["cosine"])[k] for row, k in zip(rows, keep, strict=True)])
            row = {"sources": title, "method": name, "number": len(whole), "median error": np.median(whole)}
            row |= {"scatter": spread[0], "scatter, error": spread[1]}
            row |= {"over the start's": ratio[0], "over the start's, error": ratio[1]}
            row |= {"image cosine, mean": cosine.mean()}
            row |= {"chi2, median": np.median([one[name]["chi2"] for one in rows])}
            if "below" in rows[0][name]:
                below, effective_of = (
                    np.concatenate([np.array(one[name][key])[k] for one, k in zip(rows, keep, strict=True)])
                    for key in ("below", "effective")
                )
                for percent in (68, 95):
                    inside = np.abs(below - 0.5) <= percent / 200
                    row[f"in {percent} %"], row[f"in {percent} %, error"] = share(inside)
                row["effective samples, median"] = np.median(effective_of)
            table.append(row | {"seconds a scene": np.median([one[name]["seconds"] for one in rows])})
    return {"scenes": len(rows), "methods": table}


def main():
    """Simulate, or measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("simulate", help="write the scenes")
    two = commands.add_parser("run", help="deblend them")
    for each in (one, two):
        each.add_argument("blends", type=Path)
    one.add_argument("--number", type=int, default=80)
    two.add_argument("prior")
    two.add_argument("--output", type=Path, required=True)
    two.add_argument("--kept", type=Path, help="where each scene is kept; beside the blends by default")
    two.add_argument("--steps", type=int, default=100)
    two.add_argument("--sampled", action="store_true", help="average samples instead of the highest point")
    two.add_argument("--monte-carlo", action="store_true", help="Hamiltonian Monte Carlo, of a prior with an energy")
    two.add_argument("--minutes", type=float, default=3.0, help="begin no batch after so long")
    options = parser.parse_args()
    if options.command == "simulate":
        simulate(options.blends, options.number)
        return
    path = options.kept or options.blends.with_suffix(".kept.json")
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    scenes, methods, begun = (
        Scenes.load(options.blends),
        methods_of(options.prior, options.steps, options.sampled, options.monte_carlo),
        time.monotonic(),
    )
    while len(rows) < len(scenes) and time.monotonic() - begun < 60 * options.minutes:
        rows += plain(measure(methods, scenes.batch(slice(len(rows), len(rows) + _PIECE))), digits=6)
        write_json(path, rows)
        sys.stdout.write(f"{len(rows)} scenes\n")
        sys.stdout.flush()
    write_json(options.output, {"steps": options.steps, **plain(summary(rows), digits=5)})
    sys.stdout.write(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
