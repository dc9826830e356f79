"""Fit simulated blends with scarlet2, with a prior of galzoo and without, and compare morphologies and spectra.

    python scripts/bench_scarlet2.py simulate PAIRS.h5
    KERAS_BACKEND=jax python scripts/bench_scarlet2.py fit PAIRS.h5 PRESET --output docs/benchmarks/bench_scarlet2.json

The first is run where galzoo simulates, the second where scarlet2 and JAX are; it goes on where it was stopped. Both
fits start alike, from Gaussian moments at the true positions, and take as many steps.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from galzoo.data.scenes import Scenes
from galzoo.data.zeropoint import AB_NJY
from galzoo.files import plain, write_json
from galzoo.metrics.calibration import resample

BANDS, REFERENCE = ("g", "r", "i", "z", "y"), 2
# Pixels on a side of the image of each source; odd, so that there is a middle.
BOX = 31


def simulate(path, number):
    """Write pairs of HSC galaxies, the centres 1 to 2.4 arcsec apart at most."""
    from galzoo.simulate.scenes import SceneSpec, make_scenes

    spec = SceneSpec(
        survey="HSC", bands=BANDS, reference="i", stamp_size=48, structure=0.7, magnitude_range=(19.5, 23.5),
        flat_magnitude=1.0, n_sources=(2, 2), max_radius=1.2, min_separation=0.6, split="any", seed=41,
    )  # fmt: skip
    make_scenes(path, number, spec)


def morphology_of(image):
    """Return the middle `BOX` pixels of an image, filled up with almost nothing."""
    image = np.asarray(image)
    made = np.full((BOX, BOX), 1e-6)
    there, here = [], []
    for size in image.shape:
        first = BOX // 2 - size // 2
        low, high = max(first, 0), min(first + size, BOX)
        there.append(slice(low, high))
        here.append(slice(low - first, high - first))
    made[tuple(there)] = image[tuple(here)]
    return np.clip(made, 1e-6, 1 - 1e-6)


def fit(scene, positions, density, steps, told=False, strength=1.0):
    """Fit a scene's sources; return their images as observed (source, y, x, band) and the log p of each prior.

    Parameters
    ----------
    scene : dict
        ``image, variance, psf``, (y, x, band).
    positions : array, (source, 2)
    density : galzoo.interop.scarlet2.DensityOfPrior or None
    steps : int
    told : bool
        Tell the prior the magnitude of each source's start.
    strength : float
        Of the prior against the likelihood.
    """
    import jax.numpy as jnp
    import scarlet2
    from numpyro.distributions import constraints
    from scarlet2.validation_utils import set_validation

    from galzoo.interop.scarlet2 import scarlet2_prior
    from galzoo.tasks.deblend.scarlet import MODEL_SIGMA, _start

    set_validation(False)
    image, weight, psf = (
        jnp.asarray(np.moveaxis(plane, -1, 0)) for plane in (scene["image"], 1 / scene["variance"], scene["psf"])
    )
    channels = list(BANDS)
    observed = scarlet2.Observation(image, weight, psf=scarlet2.ArrayPSF(psf), channels=channels)
    frame = scarlet2.Frame(scarlet2.Box(image.shape), psf=scarlet2.GaussianPSF(MODEL_SIGMA), channels=channels)
    observed.match(frame)
    starts, magnitudes = [], []
    with scarlet2.Scene(frame) as model:
        for x, y in positions:
            spectrum, morphology = _start(observed, jnp.array([y, x]), float(jnp.abs(image).max()))
            starts.append(spectrum)
            magnitudes.append(AB_NJY - 2.5 * np.log10(float(spectrum[REFERENCE] * morphology.sum())))
            scarlet2.Source(jnp.array([y, x]), spectrum, jnp.asarray(morphology_of(morphology), "float32"))
    priors = []
    with scarlet2.Parameters(model):
        for number, source in enumerate(model.sources):
            prior = None
            if density is not None:
                form = "distribution" if density.prior.exact_score else "score"
                flux = float(starts[number][REFERENCE])
                known = None
                if told:
                    known = {"mag": float(np.clip(magnitudes[number], *density.prior.condition_ranges["mag"]))}
                prior = scarlet2_prior(density, flux, known, strength, form=form, shape=(BOX, BOX))
            priors.append(prior)
            scarlet2.Parameter(
                source.spectrum, name=f"spectrum{number}", constraint=constraints.positive,
                stepsize=scarlet2.relative_step,
            )  # fmt: skip
            scarlet2.Parameter(
                source.morphology, name=f"morphology{number}", constraint=constraints.unit_interval, stepsize=0.1,
                prior=prior,
            )  # fmt: skip
    fitted = model.fit(observed, max_iter=steps, e_rel=1e-4, progress_bar=False)
    seen = [np.asarray(observed.render(fitted.evaluate_source(source))) for source in fitted.sources]
    said = [
        float(prior.log_prob(source.morphology))
        for prior, source in zip(priors, fitted.sources, strict=True)
        if prior is not None
    ]
    return np.moveaxis(np.stack(seen), 1, -1), said


def likeness(found, truth):
    """Return for each source the cosine of images in the reference band and the cosine and correlation of spectra."""
    rows = []
    for one, true in zip(found, truth, strict=True):
        a, b = one[..., REFERENCE].ravel(), true[..., REFERENCE].ravel()
        sed, real = one.sum(axis=(0, 1)), true.sum(axis=(0, 1))
        flux = float(sed[REFERENCE] / real[REFERENCE] - 1)
        rows.append([float(a @ b / np.sqrt((a @ a) * (b @ b))), float(np.corrcoef(sed, real)[0, 1]), flux])
    return rows


def summary(pairs):
    """Return a row a way to fit and the paired gain of the prior; errors by bootstrap over pairs."""
    values = {way: np.array([pair[way]["likeness"] for pair in pairs]) for way in ("without", "with")}

    def means(each):
        found = {}
        for index, name in enumerate(("morphology cosine", "SED correlation")):
            found[name], found[f"{name}, error"] = resample(np.mean, each[..., index], draws=1000)
        return found

    rows = []
    for way, each in values.items():
        row = {"fit": f"{way} prior", "pairs": len(pairs)} | means(each)
        low, high = np.percentile(each[..., 2], [16, 84])
        row |= {
            "median flux error": np.median(each[..., 2]),
            "scatter of flux": (high - low) / 2,
            "seconds a pair": np.median([pair[way]["seconds"] for pair in pairs]),
        }
        rows.append(row)
    row = {"fit": "gain"} | means(values["with"] - values["without"])
    said = np.array([pair["with"]["log_prob"] for pair in pairs])
    return {"fits": rows, "gain": [row], "log_prob": [{"sources": said.size, "finite": int(np.isfinite(said).sum())}]}


def main():
    """Simulate, or fit what is not fitted yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("simulate", help="write the pairs")
    two = commands.add_parser("fit", help="fit them with and without a prior")
    for each in (one, two):
        each.add_argument("pairs", type=Path)
    one.add_argument("--number", type=int, default=50)
    two.add_argument("prior")
    two.add_argument("--output", type=Path, required=True)
    two.add_argument("--fits", type=Path, help="where each fit is kept; beside the pairs by default")
    two.add_argument("--number", type=int, default=50)
    two.add_argument("--steps", type=int, default=150)
    two.add_argument("--told", action="store_true", help="the prior is told the magnitude of each source's start")
    two.add_argument("--weight", type=float, default=1.0, help="of the prior against the likelihood")
    two.add_argument("--scaled", action="store_true", help="the prior's density is that of its scaled values")
    two.add_argument("--minutes", type=float, default=3.0, help="begin no fit after so long")
    options = parser.parse_args()
    if options.command == "simulate":
        simulate(options.pairs, options.number)
        return
    # Each fit is compiled anew, which takes longer than the fit.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
    from galzoo.interop.scarlet2 import DensityOfPrior
    from galzoo.presets import load

    kept = options.fits or options.pairs.with_suffix(".fits.json")
    pairs = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    scenes = Scenes.load(options.pairs)
    density, begun = DensityOfPrior(load(options.prior), options.scaled), time.monotonic()
    for number in range(len(pairs), min(options.number, len(scenes))):
        if time.monotonic() - begun > 60 * options.minutes:
            break
        batch = scenes.batch(slice(number, number + 1))
        scene = {key: np.asarray(batch[key][0]) for key in ("image", "variance", "psf")}
        pair = {}
        for way, prior in (("without", None), ("with", density)):
            start = time.monotonic()
            places, how = np.asarray(batch["positions"][0, :2]), (options.steps, options.told, options.weight)
            found, said = fit(scene, places, prior, *how)
            result = {"likeness": likeness(found, batch["isolated"][0, :2]), "log_prob": said}
            pair[way] = result | {"seconds": time.monotonic() - start}
        pairs.append(pair)
        write_json(kept, pairs)
        sys.stdout.write(f"{number + 1}: {pair}\n")
        sys.stdout.flush()
    if pairs:
        machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
        write_json(options.output, {"machine": machine, "steps": options.steps, **plain(summary(pairs), digits=5)})


if __name__ == "__main__":
    main()
