"""The suite "count": are the probabilities of the number of sources good, and are they true?"""

import numpy as np

from galzoo.contracts.suites import Result
from galzoo.data.in_graph import FixedSource, MadeSource, make_layer, state_of
from galzoo.data.open_source import open_source, read_header
from galzoo.errors import InputError
from galzoo.evaluate.held_out import LEAST, new_stamps, refuse_real, say_held_out
from galzoo.metrics.calibration import (
    calibrated_error,
    gaussian_coverage,
    reliability,
    reliability_by,
    scores,
    top_class,
)
from galzoo.tasks.screen.baselines import fit_baselines

# Stamps made of the test split where the recipe makes its scenes in the graph, and how many at a time.
_MADE, _TOGETHER = 5000, 100
_KEYS = ("image", "variance", "mask", "psf", "n_sources", "positions", "flux")
# Flux over the noise of a pixel, and pixels between the nearest two; sigmas of the errors.
_SNR_EDGES, _SEPARATION_EDGES = (0, 20, 40, 80, 160, np.inf), (0, 4, 6, 9, 13, np.inf)
_LEVELS, _SPLITS = (0.68, 0.95), ("test", "valid", "train")
# Training scenes that baselines are fitted to, for each that is judged.
_FITTED = 2
_SCORES = ("nll", "brier", "accuracy", "ece")

_BY = {
    "by_measured_snr": "Probability of the number, by measured flux of the brightest over the noise of a pixel",
    "by_measured_separation": "Probability of the number, by measured pixels between the nearest two",
}


class CountResult(Result):
    """Numbers of `run`."""

    def tables(self):
        """Return the scores of each method, and the reliability of the model's probability of a blend."""
        rows = []
        for name, found in self.metrics["methods"].items():
            rows.append({"method": name, **{key: (found[key], found[f"{key}_error"]) for key in _SCORES}})
        bins = [
            {
                "probability": row["confidence"],
                "blended": (row["frequency"], row["frequency_error"]),
                "stamps": row["n"],
            }
            for row in self.metrics["reliability"]
        ]
        tables = {"Number of sources": rows, "Probability of two sources or more": bins}
        for key, title in _BY.items():
            if self.metrics.get(key):
                tables[title] = [
                    {
                        "from": row["low"],
                        "to": row["high"],
                        "stamps": row["n"],
                        "probability": row["confidence"],
                        "right": row["frequency"],
                    }
                    for row in self.metrics[key]
                ]
        covered = [
            {
                "of": name,
                "level": row["level"],
                "covered": (row["coverage"], row["coverage_error"]),
                "numbers": row["n"],
            }
            for name in ("positions", "flux")
            for row in self.metrics.get(f"coverage_{name}", ())
        ]
        return tables | ({"Errors of positions and fluxes": covered} if covered else {})

    def headline(self):
        """Return cross-entropy, calibration error and accuracy of the model."""
        found = self.metrics["methods"]["model"]
        return {key: (found[key], found[f"{key}_error"]) for key in ("nll", "ece", "accuracy")}


def run(request, others=None):
    """Score the probabilities of held-out stamps, beside one pass without dropout and classical baselines.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request
    others : dict of str to callable, optional
        Further methods: each is given a list of batches and returns probabilities (n, class).

    Returns
    -------
    CountResult

    Notes
    -----
    The baselines are fitted to scenes of the training split.
    """
    refuse_real(request, "the suite 'count' needs scenes whose sources are known")
    source, groups = held_out_scenes(request)
    batches, model = _batches(source), request.model
    counts = [model.count(batch, seed=number) for number, batch in enumerate(batches)]
    single = [model.count(batch, passes=0).probability for batch in batches]
    probabilities = {
        "model": np.concatenate([one.probability for one in counts]),
        "one pass without dropout": np.concatenate(single),
    }
    classes = probabilities["model"].shape[1]
    label = _labels(batches, classes)
    fitted = _batches(held_out_scenes(request, "train", _FITTED)[0])
    for name, method in (fit_baselines(fitted, _labels(fitted, classes), classes) | (others or {})).items():
        probabilities[name] = method(batches)
    top, right = top_class(probabilities["model"], label)
    blended = np.clip(probabilities["model"][:, 2:].sum(axis=1), 0, 1)
    metrics = {
        "suite": "count",
        "stamps": len(label),
        "blended_share": float(np.mean(label > 1)),
        "methods": {name: scores(values, label, groups) for name, values in probabilities.items()},
        "ece_if_calibrated": calibrated_error(top),
        "reliability": reliability(blended, label > 1, groups=groups),
        **measured(batches, counts, label, top, right, groups),
    }
    result = CountResult(metrics)
    if request.report:
        from galzoo.tasks.screen.suite_report import write_report

        doubt = np.concatenate([one.mutual_information for one in counts])
        write_report(request, result, batches, label, probabilities["model"], doubt)
    return result


def _batches(source):
    starts = range(0, len(source), _TOGETHER)
    return [source.batch(np.arange(start, min(start + _TOGETHER, len(source)))) for start in starts]


def _labels(batches, classes):
    return np.minimum(np.concatenate([batch["n_sources"] for batch in batches]), classes - 1)


def measured(batches, counts, label, top, right, groups=None):
    """Return reliability by what is measured, and how often the errors of places and fluxes cover the truth.

    Parameters
    ----------
    batches : list of dict
    counts : list of Counts
    label : int array, (n,)
    top : array, (n,)
        Probability of the most probable number.
    right : bool array, (n,)
        Whether it is the true one.
    groups : array, (n,), optional

    Returns
    -------
    dict
        ``by_measured_snr``, ``by_measured_separation`` (by the truth no forecast would be reliable),
        ``coverage_positions``, ``coverage_flux``; those that the model measures, and whose truth is there.
    """
    found = {}
    number = np.concatenate([one.probability.argmax(axis=1) for one in counts])
    if all(one.flux is not None for one in counts):
        snr = np.concatenate([_brightest(*pair) for pair in zip(batches, counts, strict=True)])
        rows = number > 0
        found["by_measured_snr"] = reliability_by(
            top[rows], right[rows], snr[rows], _SNR_EDGES, groups=_of(groups, rows)
        )
    if all(one.positions is not None for one in counts):
        apart = np.concatenate([_separation(one) for one in counts])
        rows = np.isfinite(apart)
        found["by_measured_separation"] = reliability_by(
            top[rows], right[rows], apart[rows], _SEPARATION_EDGES, groups=_of(groups, rows)
        )
    for key, error in (("positions", "position_error"), ("flux", "flux_error")):
        if any(batch.get(key) is None for batch in batches) or getattr(counts[0], key) is None:
            continue
        parts = [_pairs(b, getattr(c, key), getattr(c, error), key) for b, c in zip(batches, counts, strict=True)]
        truth, value, sigma = (np.concatenate(part) for part in zip(*parts, strict=True))
        found[f"coverage_{key}"] = gaussian_coverage(truth, value, sigma, _LEVELS)
    return found


def _of(groups, rows):
    return None if groups is None else np.asarray(groups)[rows]


def _brightest(batch, counts):
    """Return the measured flux of the brightest source over the noise of a pixel, all bands together, (n,)."""
    # Infinite where a band is absent, which adds nothing.
    ratio = counts.flux[:, 0] / np.sqrt(np.median(batch["variance"], axis=(1, 2)))
    return np.sqrt(np.sum(ratio**2, axis=-1))


def _separation(counts):
    """Return the least measured distance of two sources of the most probable number, pixels, (n,); NaN below two."""
    places = np.asarray(counts.positions, np.float64)
    number = np.minimum(counts.probability.argmax(axis=1), places.shape[1])
    present = np.arange(places.shape[1]) < number[:, None]
    apart = np.sqrt(np.sum((places[:, :, None] - places[:, None]) ** 2, axis=-1))
    pair = present[:, :, None] & present[:, None] & ~np.eye(places.shape[1], dtype=bool)
    least = np.where(pair, apart, np.inf).min(axis=(1, 2))
    return np.where(np.isfinite(least), least, np.nan)


def _pairs(batch, value, error, key):
    """Return truth, value and error of the sources that are there, one after another."""
    truth = np.asarray(batch[key], np.float64)
    most = min(truth.shape[1], value.shape[1])
    present = np.arange(most) < np.asarray(batch["n_sources"])[:, None]
    shown = present[..., None] & np.isfinite(error[:, :most])
    return truth[:, :most][shown], value[:, :most][shown], error[:, :most][shown]


def held_out_scenes(request, split="test", times=1):
    """Return a source of scenes of a split, and the object that each is made of, or None.

    Scenes of a file as they are; of stamps those that the recipe's layer makes of the split, `times` as many as are
    judged.

    Raises
    ------
    InputError
        If several files are given, or stamps for a recipe that makes no scenes.
    """
    data = request.recipe["data"]
    if len(request.files) > 1:
        raise InputError(f"this suite is of one file; leave out --data {request.files[1]}")
    path = request.files[0] if request.files else new_stamps(data, request.card["name"])
    header = read_header(path)
    if header["kind"] == "scenes":
        optional = [key for key in _KEYS if key not in ("image", "variance", "n_sources")]
        limit = None if request.limit is None else times * request.limit
        options = {"optional": optional, "split_options": data["split"], "limit": limit}
        source = open_source(path, ("image", "variance", "n_sources"), split, **options)
        if split == "test" and limit is None:
            say_held_out(path, len(source), header["n"], "scene")
        return source, None
    if not data["make"]:
        raise InputError(f"{path}: holds stamps, and the recipe makes no scenes of them; give scenes with --data")
    layer = make_layer(data["make"], 0)
    base = open_source(path, layer.needs(header["keys"]), split, split_options=data["split"])
    if split == "test":
        say_held_out(path, len(base), header["n"], least=LEAST)
    made, total = MadeSource(base, layer, _KEYS), times * (request.limit or _MADE)
    number = _SPLITS.index(split)
    random = np.random.default_rng(number)
    rows, parts = [], []
    while sum(map(len, rows)) < total:
        chosen = random.choice(len(base), min(_TOGETHER, len(base)), replace=False)
        scenes = made.made(base.batch(chosen), state_of(1 + number, len(rows)))
        rows.append(chosen)
        parts.append({key: np.asarray(value) for key, value in scenes.items()})
    merged = {key: np.concatenate([part[key] for part in parts])[:total] for key in _KEYS}
    return FixedSource(made.header(), merged), np.concatenate(rows)[:total]
