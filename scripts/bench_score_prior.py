"""Measure a score prior on held-out galaxies, part by part; a part that is in the output file is not measured again.

    python scripts/bench_score_prior.py RUN STAMPS.h5 --output docs/benchmarks/bench_score_prior.json [PART ...]
    python scripts/bench_score_prior.py RUN STAMPS.h5 halves --against HALF_A HALF_B --output FILE.json

Parts: gradient (finite differences of log p against the score), flow (log p against the probability flow), artefacts
(rings, trails and second galaxies, pixel by pixel), grid (power at a period of 4 pixels), samples (the suite
"realism"), halves (log p of two networks trained on disjoint halves).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from galzoo.data.crop import crop_stamps
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.files import plain, write_json
from galzoo.metrics.binned import bootstrap
from galzoo.metrics.calibration import resample
from galzoo.metrics.checkerboard import checkerboard_power
from galzoo.presets import load

PARTS = "gradient", "flow", "artefacts", "grid", "samples"
# A pixel belongs to an artefact where that has so much of its own peak.
_INSIDE = 0.3
# Galaxies whose brightest pixel is so many noise levels are given artefacts; a tenth of it is then seen.
_BRIGHT = 20.0
# Of log p at once: bounds of a piece that is written before the next begins.
_PIECE = 16


def split_of(stamps, name):
    """Return the stamps of a split."""
    columns = {key: np.asarray(stamps.catalogue[key]) for key in stamps.catalogue.colnames}
    return stamps[np.flatnonzero(split_names(columns) == name)]


def conditions_of(model, stamps):
    """Return what each galaxy is, as a condition."""
    return {name: np.asarray(stamps.catalogue[name], "float32") for name in model.columns}


def softening(model):
    """Return the brightness up to which the scaled values of a prior over pixels are linear, a number a band."""
    if hasattr(model, "soft"):
        return np.asarray(model.soft, "float64")
    return model.scaling.softening * np.asarray(model.conditions.typical_noise(), "float64")


def with_noise(model, image, seed=0):
    """Return images with the noise of the prior's own density on their scaled values: typical draws of it."""
    soft, sigma = softening(model), getattr(model, "sigma_min", getattr(model, "jitter", None))
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    return (soft * np.sinh(np.arcsinh(image / soft) + sigma * noise)).astype("float32")


def stretch(model, image):
    """Return the logarithm of d scaled value / d pixel of each image, (n,): log p of pixels less that of values."""
    soft = softening(model)
    return -np.log(soft * np.sqrt(1 + (image / soft) ** 2)).sum(axis=(1, 2, 3), dtype="float64")


def gradient(model, test, number=16, directions=4):
    """Return rows: what the score says of a small step in a random direction, against the change of log p."""
    rows = []
    for kind in ("noiseless", "with noise of sigma_min"):
        given = {name: values[:number] for name, values in conditions_of(model, test).items()}
        image = test.truth[:number].astype("float32")
        image = with_noise(model, image) if kind != "noiseless" else image
        score = model.score(image, given).astype("float64")
        found, wanted = [], []
        for seed in range(directions):
            # Steps are like in scaled values, where log p bends alike everywhere.
            step = 0.004 * np.random.default_rng(seed).standard_normal(image.shape)
            step *= np.sqrt(np.asarray(model.soft) ** 2 + image.astype("float64") ** 2)
            change = []
            for size in (1.0, 2.0):
                ends = [(image + sign * size * step).astype("float32") for sign in (1, -1)]
                high, low = (model.log_prob(end, given).astype("float64") for end in ends)
                # The step as it is in single precision.
                change.append((high - low) / size)
                if size == 1.0:
                    moved = 0.5 * (ends[0].astype("float64") - ends[1])
            # Without the error of third order.
            wanted.append((4 * change[0] - change[1]) / 6)
            found.append((score * moved).sum(axis=(1, 2, 3)))
        found, wanted = np.array(found), np.array(wanted)
        error = np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))
        rows.append({"images": kind, "galaxies": number, "relative error": float(error)})
    return rows


def flow_piece(model, test, rows, steps, probes):
    """Return log p of scaled values by the energy and by the flow, two lists, for some rows of the test galaxies."""
    from galzoo.models.score_prior.sampling import flow_log_prob

    image = with_noise(model, test.truth[rows], seed=int(rows[0]))
    given = {name: values[rows] for name, values in conditions_of(model, test).items()}
    base = stretch(model, image)
    energy = model.log_prob(image, given) - base
    flow = flow_log_prob(model, image, given, steps=steps, probes=probes, seed=int(rows[0])) - base
    return energy.tolist(), flow.tolist()


def flow_summary(energy, flow):
    """Return a row: the scatter of the difference over the spread among galaxies."""
    energy, flow = np.array(energy), np.array(flow)
    share = resample(lambda one, two: np.std(one - two) / np.std(one), energy, flow, draws=500)
    row = {"galaxies": len(energy), "spread among galaxies, nats": float(np.std(energy))}
    row |= {"median difference, nats": float(np.median(energy - flow))}
    row |= {"scatter of the difference, nats": float(np.std(energy - flow))}
    row |= {"correlation": float(np.corrcoef(energy, flow)[0, 1])}
    return [row | {"scatter over spread": share[0], "scatter over spread, error": share[1]}]


def add_artefacts(truth, kind, rng, share=None):
    """Return images (n, y, x, 1) with a ring, a trail or another of the galaxies added, and where that is, (n, y, x).

    Rings and trails have a tenth of the galaxy's peak, second galaxies .1 to .3 of its flux.
    """
    n, height, width = truth.shape[:3]
    y, x = np.indices((height, width))
    added = np.zeros(truth.shape[:3])
    for row in range(n):
        peak = 0.1 * truth[row].max()
        middle = np.array([(height - 1) / 2, (width - 1) / 2])
        if kind == "ring":
            centre = middle + rng.uniform(-4, 4, 2)
            added[row] = peak * np.exp(-0.5 * ((np.hypot(y - centre[0], x - centre[1]) - rng.uniform(4, 9)) / 0.8) ** 2)
        elif kind == "trail":
            angle, centre = rng.uniform(0, np.pi), middle + rng.uniform(-8, 8, 2)
            away = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
            added[row] = peak * np.exp(-0.5 * (away / 0.8) ** 2)
        else:
            other = truth[rng.integers(n), ..., 0]
            distance, angle = rng.uniform(5, 10), rng.uniform(0, 2 * np.pi)
            dy, dx = np.round(distance * np.array([np.sin(angle), np.cos(angle)])).astype(int)
            moved = np.zeros_like(other)
            moved[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = other[
                max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
            ]
            added[row] = moved * rng.uniform(0.1, 0.3) * truth[row].sum() / other.sum()
    return (truth + added[..., None]).astype("float32"), added > _INSIDE * added.max(axis=(1, 2), keepdims=True)


def bright(model, stamps, number):
    """Return galaxies that are bright enough for a tenth of their peak to be seen."""
    peak = stamps.truth[..., 0].max(axis=(1, 2)) / float(np.asarray(model.soft)[0])
    return stamps[np.flatnonzero(peak > _BRIGHT)[:number]]


def artefacts(model, test, number=100):
    """Return a row a kind of artefact: how well the map of artefacts tells its pixels from all others."""
    galaxies = bright(model, test, number)
    given = conditions_of(model, galaxies)
    rows = []
    for index, kind in enumerate(("ring", "trail", "second galaxy")):
        image, inside = add_artefacts(galaxies.truth, kind, np.random.default_rng(index))
        for told, condition in (("magnitude and size", given), ("nothing", None)):
            found = model.artefacts(image, condition)
            each = [roc_auc_score(mask.ravel(), values.ravel()) for mask, values in zip(inside, found, strict=True)]
            median, error = bootstrap(np.array(each), np.median)
            pooled = roc_auc_score(inside.ravel(), found.ravel())
            row = {"artefact": kind, "prior is told": told, "galaxies": len(each), "AUROC, all pixels": float(pooled)}
            rows.append(row | {"AUROC of an image, median": float(median), "error": float(error)})
    return rows


def grid(model, test, number=64, samples=None):
    """Return a row a kind of image: power at a period of 4 pixels over that of its neighbours."""
    galaxies = bright(model, test, number)
    given = conditions_of(model, galaxies)
    noisy = with_noise(model, galaxies.truth)
    images = {
        "galaxies": galaxies.truth,
        "score of galaxies, scaled": model.score(noisy, given) * np.sqrt(np.asarray(model.soft) ** 2 + noisy**2),
    }
    if samples is not None:
        images["samples"] = samples
    rows = []
    for name, image in images.items():
        value, error = bootstrap(checkerboard_power(image, period=4), np.nanmedian)
        rows.append({"images": name, "number": len(image), "power at period 4": float(value), "error": float(error)})
    return rows


def samples(model, stamps, report, number):
    """Return rows of the suite "realism": morphology and memorisation, noiseless and as observed."""
    from galzoo.tasks.sample.realism import evaluate_realism

    test, train, valid = (split_of(stamps, name) for name in ("test", "train", "valid"))
    found = evaluate_realism(model, test, train[: 4 * number], valid, n=number, report=report)
    rows = []
    for view, sets in found.get("statistics", {}).items():
        row = {"view": view}
        for name in ("samples", "real"):
            row |= {f"mean Wasserstein, {name}": sets[name]["mean"], f"{name}, error": sets[name]["error"]}
        rows.append(row)
    memory = {key: found["memorisation"][key] for key in ("ratio", "error", "near")}
    return {
        "realism": rows,
        "memorisation": [memory],
        "likelihood": found["likelihood"],
        "two_sample": found.get("two_sample"),
    }


def halves(models, test):
    """Return a row: the correlation of log p of scaled values under two networks.

    What magnitude and size say of it, by a quadratic fit, is taken out of both, and how much noise there is in each
    image, which both see.
    """
    image, soft = with_noise(models[0], test.truth), softening(models[0])
    noise = np.square(np.arcsinh(image / soft) - np.arcsinh(test.truth / soft)).sum(axis=(1, 2, 3))
    values = [model.log_prob(image, conditions_of(model, test)) - stretch(model, image) for model in models]
    mag, size = (np.asarray(test.catalogue[name], "float64") for name in ("mag", "half_light_radius"))
    mag, size = mag - mag.mean(), np.log(size / size.mean())
    design = np.stack([np.ones_like(mag), mag, size, mag**2, size**2, mag * size, noise - noise.mean()], axis=-1)
    rest = np.array([value - design @ np.linalg.lstsq(design, value, rcond=None)[0] for value in values])
    whole, left = (resample(lambda one, two: np.corrcoef(one, two)[0, 1], *each, draws=500) for each in (values, rest))
    row = {"galaxies": len(mag), "correlation": whole[0], "correlation, error": whole[1]}
    row |= {"less magnitude and size": left[0], "less magnitude and size, error": left[1]}
    return [row | {"scatter left, nats": float(rest.std())}]


def main():
    """Measure what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}, halves; all but the last by default")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--against", nargs=2, help="runs of the two networks for the part halves")
    parser.add_argument("--report", type=Path, help="folder for the report of the suite")
    parser.add_argument("--galaxies", type=int, default=64, help="for the part flow")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--pieces", type=int, default=1000, help="of the part flow to do now")
    options = parser.parse_args()
    odd = set(options.parts) - {*PARTS, "halves"}
    if odd:
        raise InputError(f"part {sorted(odd)[0]!r} is unknown; parts are {', '.join(PARTS)}, halves")
    done = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    model = load(options.model)
    stamps = crop_stamps(Stamps.load(options.data), min(model.stamp_size))
    test = split_of(stamps, "test")

    def keep(**found):
        done.update(plain(found, digits=6))
        write_json(options.output, done)
        for name in found:
            sys.stdout.write(f"{name}: {json.dumps(done[name])}\n")
        sys.stdout.flush()

    for part in options.parts or PARTS:
        if part in done:
            continue
        if part == "gradient":
            keep(gradient=gradient(model, test))
        elif part == "flow":
            energy, flow = done.get("flow_so_far", [[], []])
            for _ in range(options.pieces):
                if len(energy) >= options.galaxies:
                    break
                more = flow_piece(model, test, np.arange(len(energy), len(energy) + _PIECE), steps=30, probes=1)
                energy, flow = energy + more[0], flow + more[1]
                keep(flow_so_far=[energy, flow])
            if len(energy) >= options.galaxies:
                del done["flow_so_far"]
                keep(flow=flow_summary(energy, flow))
        elif part == "artefacts":
            keep(artefacts=artefacts(model, test))
        elif part == "grid":
            drawn = model.sample(32, {name: values[:32] for name, values in conditions_of(model, test).items()}).image
            keep(grid=grid(model, test, samples=drawn))
        elif part == "samples":
            report = None if options.report is None else options.report / "report.html"
            keep(samples=samples(model, stamps, report, options.samples))
        else:
            if options.against is None:
                raise InputError("the part halves compares two runs; name them with --against")
            keep(halves=halves([load(name) for name in options.against], test))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
