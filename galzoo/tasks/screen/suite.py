"""The suite "count": are the probabilities of the number of sources good, and are they true?"""

import numpy as np

from galzoo.contracts.suites import Result
from galzoo.data.in_graph import FixedSource, MadeSource, make_layer, state_of
from galzoo.data.open_source import open_source, read_header
from galzoo.errors import InputError
from galzoo.evaluate.held_out import new_stamps, refuse_real
from galzoo.metrics.calibration import base_rate, calibrated_error, reliability, scores, top_class

# Stamps made of the test split where the recipe makes its scenes in the graph, and how many at a time.
_MADE, _TOGETHER = 5000, 100
_KEYS = ("image", "variance", "mask", "psf", "n_sources", "positions", "flux")
_SCORES = ("nll", "brier", "accuracy", "ece")


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
        return {"Number of sources": rows, "Probability of two sources or more": bins}

    def headline(self):
        """Return cross-entropy, calibration error and accuracy of the model."""
        found = self.metrics["methods"]["model"]
        return {key: (found[key], found[f"{key}_error"]) for key in ("nll", "ece", "accuracy")}


def run(request):
    """Score the probabilities of held-out stamps, beside one pass without dropout and the shares alone."""
    refuse_real(request, "the suite 'count' needs scenes whose sources are known")
    source, groups = held_out_scenes(request)
    batches = [
        source.batch(np.arange(start, min(start + _TOGETHER, len(source))))
        for start in range(0, len(source), _TOGETHER)
    ]
    model = request.model
    found = {"model": [], "one pass without dropout": []}
    for number, batch in enumerate(batches):
        found["model"].append(model.count(batch, seed=number).probability)
        found["one pass without dropout"].append(model.count(batch, passes=0).probability)
    probabilities = {name: np.concatenate(parts) for name, parts in found.items()}
    classes = probabilities["model"].shape[1]
    label = np.minimum(np.concatenate([batch["n_sources"] for batch in batches]), classes - 1)
    probabilities["shares alone"] = base_rate(label, classes)
    blended = probabilities["model"][:, 2:].sum(axis=1)
    metrics = {
        "suite": "count",
        "stamps": len(label),
        "methods": {name: scores(values, label, groups) for name, values in probabilities.items()},
        "ece_if_calibrated": calibrated_error(top_class(probabilities["model"], label)[0]),
        "reliability": reliability(np.clip(blended, 0, 1), label > 1, groups=groups),
    }
    return CountResult(metrics)


def held_out_scenes(request):
    """Return a source of scenes that training did not see, and the object that each is made of, or None.

    Scenes of a file as they are; of stamps those that the recipe's layer makes of the test split.

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
        options = {"optional": optional, "split_options": data["split"], "limit": request.limit}
        return open_source(path, ("image", "variance", "n_sources"), "test", **options), None
    if not data["make"]:
        raise InputError(f"{path}: holds stamps, and the recipe makes no scenes of them; give scenes with --data")
    layer = make_layer(data["make"], 0)
    base = open_source(path, layer.needs(header["keys"]), "test", split_options=data["split"])
    made, total = MadeSource(base, layer, _KEYS), request.limit or _MADE
    random = np.random.default_rng(0)
    rows, parts = [], []
    while sum(map(len, rows)) < total:
        chosen = random.choice(len(base), min(_TOGETHER, len(base)), replace=False)
        scenes = made.made(base.batch(chosen), state_of(1, len(rows)))
        rows.append(chosen)
        parts.append({key: np.asarray(value) for key, value in scenes.items()})
    merged = {key: np.concatenate([part[key] for part in parts])[:total] for key in _KEYS}
    return FixedSource(made.header(), merged), np.concatenate(rows)[:total]
