"""The suite "realism": how much the samples of a prior are like held-out galaxies, and unlike training galaxies.

Samples are drawn for the conditions of the test galaxies and seen as those were: through the same PSFs, with the same
noise. Every distance stands beside that of two sets of real galaxies of the same size, which no model can be expected
to beat, and, for a prior over codes, beside that of the test galaxies after a pass through its codec.
"""

import math
import os
import platform
import time
from pathlib import Path

import numpy as np

from galzoo.errors import InputError
from galzoo.evaluate.held_out import evenly
from galzoo.files import plain
from galzoo.metrics.memorisation import nearest_neighbour_ratio, nearest_neighbours
from galzoo.metrics.morphology import morphology
from galzoo.metrics.realism import (
    frechet_distance,
    half_against_half,
    power_spectrum_ratio,
    statistics_distance,
    two_sample_accuracy,
)
from galzoo.metrics.scattering import scattering_features
from galzoo.tasks.reconstruct.scores import seen_planes
from galzoo.tasks.sample.conditions import judged_conditions, numeric_conditions
from galzoo.tasks.sample.likelihood import held_out_likelihood, known_conditions, prepared
from galzoo.tasks.sample.realism_views import SNR, as_observed, best_bands, decoded, draw, make_views

STATISTICS = ("half_light_radius", "ellipticity", "gini", "m20", "concentration", "asymmetry", "smoothness")
# A comparison wants so many galaxies, and a statistic so many values.
LEAST = 100
# For time: scattering features and neighbours are of at most so many bands, those of the best signal-to-noise;
# neighbours of so many pixels on a side about the centre, and looked for of so many galaxies.
BANDS, CENTRE, SOUGHT = 3, 48, 500
# Of the test galaxies; samples nearer to a training galaxy than their nearest so many are counted.
NEAREST_SHARE = 0.05
SPEED_BATCH = 64


def evaluate_realism(model, test, train, valid, n=1000, seed=0, batch_size=64, report=None, title="Realism of samples"):
    """Score a prior.

    Parameters
    ----------
    model : keras.Model
        A model whose family has the task "sample": a `galzoo.contracts.prior.Prior` that also has ``prepare`` and
        gives ``log_prob`` and ``positions`` for a batch.
    test : Stamps
        Not seen in training; a sample is drawn for the conditions of each.
    train : Stamps
        Seen in training, a few thousand: baselines are learnt from them and neighbours are looked for among them.
    valid : Stamps
        The other real galaxies of the "real" comparisons, filled up from `train`.
    n : int
        Use at most so many test galaxies, evenly spread.
    seed : int
        Of samples, noise and bootstrap.
    batch_size : int
        Galaxies that the model sees at a time.
    report : str or Path, optional
        Write an HTML report to this file, and ``samples_beside_real.png`` next to it.
    title : str
        Of the report.

    Returns
    -------
    dict
        Can be written as JSON; numbers that could not be measured are None, and ``x_error`` is the standard error of
        ``x``.

        - ``objects``: how many of each set; "compared" are at most 500 with a signal-to-noise above 20. ``space``,
          ``bands`` (best first; morphology is of the first, or of the mean for pictures), ``view``: what "observed"
          means.
        - ``likelihood``: see `galzoo.tasks.sample.likelihood.held_out_likelihood`; None where log p is not exact.
        - ``statistics``: view ("observed", "frame") -> for "samples", "codec" and "real" what `statistics_distance` to
          the test galaxies gives, "real" that of two sets of real galaxies of size ``n`` (the scatter of one draw is
          its error), and ``left_out``, statistic -> why.
        - ``power_spectrum``: ``view, frequency`` and, for each set, ``ratio, error`` to that of the test galaxies.
        - ``frechet``, ``two_sample``: set -> Fréchet distance of scattering features, and accuracy of a classifier
          against the test galaxies; "prior" is samples against the codec's images: what the prior alone does.
        - ``memorisation``: ``ratio`` of the distances to the nearest training galaxy, samples over test galaxies, and
          ``near``, the share of samples nearer than the nearest twentieth of the test galaxies: 0.05 is expected.
        - ``conditions``: column -> what was got for what was asked (`galzoo.tasks.sample.conditions`).
        - ``speed``: samples per second, decoded, and on what.
        - ``skipped``: what is left out -> why.

    Raises
    ------
    InputError
        If a set is empty or of other bands than the model's.

    Notes
    -----
    Errors take galaxies as independent: give a galaxy that is there several times once (``held_out(..., once=True)``).
    """
    if not (len(test) and len(train) and len(valid)):
        raise InputError(
            f"{len(test)} test, {len(train)} training and {len(valid)} validation stamps; give some of each"
        )
    if len(test) > n:
        test = test[evenly(np.arange(len(test)), n)]
    samples = draw(model, test, seed)
    parts = {name: prepared(model, stamps, batch_size) for name, stamps in _sets(test, train, valid)}
    has_codec = getattr(model, "codec", None) is not None
    codec = decoded(model, test, parts["test"], batch_size=batch_size) if has_codec else None
    bands = best_bands(model, test)
    views, rows = make_views(model, test, samples.image, codec, (valid, train), bands, seed)
    results = {
        "suite": "realism",
        "objects": {**{name: len(stamps) for name, stamps in _sets(test, train, valid)}, "compared": len(rows)},
        "space": model.space,
        "bands": [test.bands[band] for band in bands],
        "view": _what_is_seen(model, test),
        "likelihood": None,
    }
    skipped, tables = {}, {}
    if getattr(model, "exact_log_prob", True):
        results["likelihood"] = held_out_likelihood(model, test, parts, samples.log_prob, batch_size, seed)
    else:
        skipped["likelihood"] = "this prior has a score and no energy; its log p is integrated galaxy by galaxy"
    others = len(views["observed"].images.get("others", ()))
    if min(len(rows), others) >= LEAST:
        tables = {name: _measure(view, bands, not test.unit) for name, view in views.items()}
        results["statistics"] = {name: _distances(table, seed) for name, table in tables.items()}
        results["power_spectrum"] = _spectra(views, bands, not test.unit, seed)
        results |= _features(views["observed"], bands[:BANDS], seed)
    else:
        kind = f"galaxies with a signal-to-noise above {SNR:g}" if test.unit else "galaxies"
        skipped["statistics"] = f"{len(rows)} test and {others} other {kind}; at least {LEAST} of each are needed"
    results["memorisation"], pairs = _memorisation(
        model, samples.image, (test, codec), (train, parts["train"]), bands[:BANDS], batch_size, seed
    )
    results["conditions"], measured, open_ = _conditions(
        model, test, (train, parts["train"]), samples.image, codec, bands, batch_size, seed
    )
    results["speed"] = _speed(model, seed)
    results["skipped"] = skipped | open_
    results = plain(results, digits=6)
    if report is not None:
        from galzoo.tasks.sample.realism_figures import realism_report

        parts = {"views": views, "rows": rows, "tables": tables, "pairs": pairs, "measured": measured}
        realism_report(results, test, parts, Path(report).parent, title).write(report)
    return results


def _sets(test, train, valid):
    return ("test", test), ("train", train), ("valid", valid)


def _what_is_seen(model, stamps):
    if not stamps.unit:
        return "8-bit pictures"
    if not model.model_sigma:
        return "as drawn: the model learnt PSF and noise too"
    psf = "the PSF" if stamps.psf is not None else "no further PSF"
    return f"through {psf} and with the noise of the test galaxy with the same conditions"


def _reference(image, bands, pictures):
    """Return what morphology is measured on, (n, y, x)."""
    return _above_sky(image).mean(axis=-1) if pictures else image[..., bands[0]]


def _above_sky(image):
    """Return pictures (n, y, x, band) less their sky, which is not 0: the median of the rim."""
    width = max(2, min(image.shape[1:3]) // 16)
    rim = np.ones(image.shape[1:3], bool)
    rim[width:-width, width:-width] = False
    return image - np.median(image[:, rim], axis=1)[:, None, None]


def _measure(view, bands, pictures):
    """Return the statistics of each set."""
    tables = {}
    for name, image in view.images.items():
        sigma = None if view.sigma is None else view.sigma[name][:, bands[0]]
        table = morphology(_reference(image, bands, pictures), sky_sigma=sigma)
        table = {key: table[key] for key in STATISTICS}
        noiseless = sigma is not None and not np.any(sigma)
        if image.shape[-1] > 1 and (pictures or noiseless):
            # The outermost bands of six hold little light.
            blue, red = (1, -2) if image.shape[-1] > 3 else (0, -1)
            light = _above_sky(image) if pictures else image
            first, last = (light[..., band].sum(axis=(1, 2), dtype=np.float64) for band in (blue, red))
            good = (first > 0) & (last > 0)
            table["colour"] = np.full(len(image), np.nan)
            table["colour"][good] = -2.5 * np.log10(first[good] / last[good])
        tables[name] = table
    return tables


def _distances(table, seed):
    """Compare the statistics of a view with those of the test galaxies."""
    left_out = {}
    for name in table["real"]:
        counts = {key: int(np.isfinite(part[name]).sum()) for key, part in table.items()}
        bad = [key for key, count in counts.items() if count < max(LEAST, len(table[key][name]) / 2)]
        if bad:
            left_out[name] = ", ".join(f"{counts[key]} of {len(table[key][name])} {key}" for key in bad) + " measurable"
    kept = {key: {name: values for name, values in part.items() if name not in left_out} for key, part in table.items()}
    result = {"left_out": left_out}
    if not kept["real"]:
        return result
    for key in [key for key in kept if key not in ("real", "others")]:
        result[key] = statistics_distance(kept[key], kept["real"], seed)
    pool = {name: np.concatenate([kept["real"][name], kept["others"][name]]) for name in kept["real"]}
    half = min(len(kept["real"][name]) for name in pool)
    half = min(half, len(next(iter(pool.values()))) // 2)
    mean = half_against_half(pool, seed, n=half)
    result["n"] = mean["n"]
    result["real"] = {"mean": mean["mean"], "error": mean["scatter"], "statistics": {}}
    for name, values in pool.items():
        one = half_against_half({name: values}, seed, n=half)
        result["real"]["statistics"][name] = {"value": one["mean"], "error": one["scatter"]}
    return result


def _spectra(views, bands, pictures, seed):
    name = "frame" if "frame" in views else "observed"
    view = views[name]
    images = {key: _reference(image, bands, pictures) for key, image in view.images.items()}
    # Of unit light near the centre, so that not the brightest alone count; pictures are alike as they are.
    scaled = images if pictures else {key: _unit_light(image) for key, image in images.items()}
    result = {"view": name}
    for key in [key for key in scaled if key != "real" and len(scaled[key])]:
        spectrum = power_spectrum_ratio(scaled[key], scaled["real"], seed)
        result["frequency"] = spectrum["frequency"].tolist()
        result["real" if key == "others" else key] = {part: spectrum[part].tolist() for part in ("ratio", "error")}
    return result


def _unit_light(image):
    y, x = (np.arange(size) - (size - 1) / 2 for size in image.shape[1:])
    light = image[:, np.hypot(y[:, None], x) < min(image.shape[1:]) / 4].sum(axis=1, dtype=np.float64)
    return image[light > 0] / light[light > 0, None, None]


def _features(view, bands, seed):
    """Compare scattering features of the observed images, in units of the noise, or of a picture's levels."""
    scale = {key: 2.0 if view.sigma is None else view.sigma[key][:, bands] for key in view.images}
    features = {key: scattering_features(image[..., bands], scale[key]) for key, image in view.images.items()}
    pairs = {"samples": ("samples", "real"), "codec": ("codec", "real"), "real": ("others", "real")}
    pairs["prior"] = ("samples", "codec")
    pairs = {name: pair for name, pair in pairs.items() if set(pair) <= set(features)}
    result = {"frechet": {}, "two_sample": {}}
    for name, (first, second) in pairs.items():
        # Of one size: the distance of small sets is biased upwards.
        number = min(len(features[first]), len(features[second]))
        a, b = (features[key][:number] for key in (first, second))
        # An untrained codec makes one image of all galaxies.
        if np.any(b.std(axis=0) > 1e-5 * np.abs(b.mean(axis=0))):
            result["frechet"][name] = frechet_distance(a, b, seed=seed)
        result["two_sample"][name] = two_sample_accuracy(a, b, seed)
    return result


def _memorisation(model, samples, test, train, bands, batch_size, seed):
    """Compare distances to the training set; images are noiseless in all sets, or noisy in all."""
    (stamps, codec), (seen, parts) = test, train
    crop = _centre(stamps.shape)
    rows = evenly(np.arange(len(stamps)), SOUGHT)
    if codec is not None:
        # Samples are as smooth as the codec, so all sets go through it.
        what = "images after a pass through the codec"
        held_out = codec[crop][..., bands]
        reference = decoded(model, seen, parts, crop, bands, batch_size)
    else:
        noiseless = bool(model.model_sigma) and stamps.truth is not None
        what = "noiseless images in the model frame" if noiseless else "images as observed"
        held_out, reference = (
            (part.truth if noiseless else seen_planes(part)["image"])[crop][..., bands] for part in (stamps, seen)
        )
    samples, held_out = samples[crop][..., bands][rows], held_out[rows]
    found = nearest_neighbour_ratio(samples, held_out, reference, seed=seed)
    limit = np.quantile(found["held_out_distance"], NEAREST_SHARE)
    near = float(np.mean(found["sample_distance"] < limit))
    result = {key: found[key] for key in ("ratio", "error", "samples", "held_out")}
    # The limit is itself measured on the test galaxies.
    spread = math.sqrt(NEAREST_SHARE * (1 - NEAREST_SHARE) * (1 / len(samples) + 1 / len(held_out)))
    result |= {"near": near, "near_error": spread, "copies": int(np.sum(found["sample_distance"] < 0.01))}
    result |= {"closest": [float(value) for value in found["pair_distance"][:5]], "what": what}
    result |= {"n": len(samples), "train": len(reference)}
    order = np.argsort(found["held_out_distance"], kind="stable")[: len(found["pairs"])]
    distance, nearest = nearest_neighbours(held_out[order], reference)
    pairs = {
        "sample": (samples[found["pairs"][:, 0]], reference[found["pairs"][:, 1]], found["pair_distance"]),
        "test galaxy": (held_out[order], reference[nearest], distance),
    }
    return result, {"pairs": pairs, "bands": [stamps.bands[band] for band in bands], "pictures": not stamps.unit}


def _centre(shape):
    """Return what cuts images (n, y, x, band) to the central pixels."""
    cut = [slice((size - min(size, CENTRE)) // 2, (size + min(size, CENTRE)) // 2) for size in shape]
    return (slice(None), *cut)


def _conditions(model, test, train, samples, codec, bands, batch_size, seed):
    """Compare what was asked for with what was got, in ways that the kind of data allows."""
    if not model.columns:
        return {}, {}, {}
    results, measured, skipped = {}, {}, {}
    pictures = not test.unit
    if not pictures:
        real = test.truth if model.model_sigma else seen_planes(test)["image"]
        if real is not None:
            results, measured, skipped = numeric_conditions(model, test, real, samples, bands[0], seed)
        else:
            numbers = [name for name, values in model.condition_ranges.items() if not isinstance(values, list)]
            skipped = dict.fromkeys(numbers, "samples are noiseless, and the truth of real galaxies is not known")
    if not (pictures or any(isinstance(values, list) for values in model.condition_ranges.values())):
        return results, measured, {f"condition {name}": why for name, why in skipped.items()}
    images = {"real": seen_planes(test)["image"]}
    for number, (name, image) in enumerate((("codec", codec), ("samples", samples))):
        if image is not None:
            images[name] = as_observed(model, image, test, [seed, 10 + number]).astype(np.float32)
    stamps, parts = train
    rows = np.flatnonzero(np.any([np.isfinite(values) for values in known_conditions(model, stamps).values()], axis=0))
    stamps, parts = stamps[rows], [part[rows] for part in parts]
    planes = seen_planes(stamps)
    learnt = [planes["image"]]
    if codec is not None:
        learnt.append(as_observed(model, decoded(model, stamps, parts, batch_size=batch_size), stamps, [seed, 20]))
    shown = bands[:BANDS]
    scale = np.array([2.0 if pictures else np.sqrt(np.median(planes["variance"][..., band])) for band in shown])
    images = {name: image[..., shown] for name, image in images.items()}
    learnt = [image[..., shown].astype(np.float32) for image in learnt]
    judged, open_ = judged_conditions(model, test, stamps, images, learnt, scale, regress=pictures, seed=seed)
    return results | judged, measured, {f"condition {name}": why for name, why in (skipped | open_).items()}


def _speed(model, seed):
    """Time a batch after one that compiles."""
    import keras

    model.sample(SPEED_BATCH, seed=seed)
    start = time.perf_counter()
    model.sample(SPEED_BATCH, seed=seed + 1)
    seconds = time.perf_counter() - start
    hardware = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    gpus = len(keras.distribution.list_devices("gpu"))
    return {
        "samples_per_second": SPEED_BATCH / seconds,
        "batch": SPEED_BATCH,
        "hardware": hardware + (f", {gpus} GPU" if gpus else ""),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
