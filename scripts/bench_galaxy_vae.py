"""Measure galaxy VAEs: the loss by number of dimensions, and what adaptation recovers of a probe's accuracy.

python scripts/bench_galaxy_vae.py dimensions RUN STAMPS [--untrained] [--output FILE.json] [--picture FILE.png]
python scripts/bench_galaxy_vae.py adapt BEFORE AFTER... --data TWO_SURVEYS --label COLUMN [--output FILE.json]
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from galzoo.data.bands import in_order
from galzoo.data.batches import stamps_batch
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.files import write_json
from galzoo.inference.stamp_features import features
from galzoo.metrics.adaptation import domain_auc, recovery
from galzoo.metrics.binned import bootstrap
from galzoo.metrics.calibration import expected_calibration_error, top_class
from galzoo.metrics.reconstruction import chi2_per_pixel, inverse_variance
from galzoo.presets import load

# Of Xu et al. 2023.
DIMENSIONS = 6, 12, 18, 24, 30, 40


def started(model, stamps, train, seed=0):
    """Return a model of the same shape as training starts from: principal components of some of the rows `train`."""
    fresh = type(model).from_config(model.get_config())
    rows = np.random.default_rng(seed).permutation(train)[: 32 * fresh.adapt_batches]
    fresh.adapt([stamps_batch(stamps, np.sort(part)) for part in np.array_split(rows, max(1, len(rows) // 32))])
    return fresh


def by_dimensions(model, stamps, numbers, batch_size=64):
    """Return a row a number of dimensions: chi2 a pixel and loss, mean nats a stamp, its error from batches.

    The loss is the model's own, Kullback-Leibler terms of the dimensions in use included. "change" is against the
    number before, batch by batch: all numbers see the same galaxies, whose spread is most of the error of the loss.
    """
    rows, before = [], None
    for number in numbers:
        shown = (np.arange(model.latent) < number).astype("float32")
        losses, chi2 = [], []
        for start in range(0, len(stamps), batch_size):
            batch = stamps_batch(stamps, slice(start, start + batch_size))
            outputs = model.reconstruct(batch, number)
            outputs["kept"] = np.broadcast_to(shown, outputs["latent"].shape)
            image, given = keras.ops.convert_to_numpy(outputs["image"]), (batch["variance"], batch.get("mask"))
            chi2 += np.nan_to_num(chi2_per_pixel(batch["image"], image, *given)).tolist()
            pixels = np.maximum(np.count_nonzero(inverse_variance(*given), axis=(1, 2, 3)), 1)
            losses.append(float(model.compute_loss(x=batch, y_pred=outputs, training=False)) * pixels.mean())
        losses, (median, error) = np.array(losses), bootstrap(np.array(chi2), np.median)
        row = {"dimensions": number, **_mean("loss", losses), "chi2_median": median, "chi2_median_error": error}
        rows.append(row | ({} if before is None else _mean("change", losses - before)))
        before = losses
    return rows


def _mean(name, values):
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {name: float(np.mean(values)), f"{name}_error": error}


def draw(rows, path, name):
    """Draw the loss and chi2 by the number of dimensions; bars of the loss are of the change from the number before."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    numbers = [row["dimensions"] for row in rows]
    bars = [row.get("change_error") or 0 for row in rows]
    axes[0].errorbar(numbers, [row["loss"] for row in rows], bars, fmt="o-", ms=4, capsize=3)
    axes[0].set(ylabel="loss, nats a stamp", title=name)
    axes[1].errorbar(
        numbers, [row["chi2_median"] for row in rows], [row["chi2_median_error"] for row in rows], fmt="o-", ms=4,
        capsize=3,
    )  # fmt: skip
    axes[1].set(ylabel="chi2 a pixel, median")
    for axis in axes:
        axis.set(xlabel="dimensions shown", xticks=numbers)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def probed(vectors, label, train, test):
    """Return probabilities and classes of the rows `test`, by a logistic regression on the rows `train`.

    Classes are decided as if all were as frequent; probabilities keep the frequencies of `train`.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)).fit(vectors[train], label[train])
    probability = probe.predict_proba(vectors[test])
    return probability, np.argmax(probability / np.bincount(label[train]) * train.sum(), axis=1)


def adaptation(before, after, stamps, label):
    """Return a row a model of what it recovers on the second survey of `stamps`; the first row is `before` itself."""
    domain = np.asarray(stamps.catalogue["domain"])
    test = np.asarray(stamps.catalogue["split"]).astype(str) == "test"
    train = ~test & (domain == 0)
    rows, first = [], None
    for name, model in {"before": before, **after}.items():
        vectors = features(model, stamps)[0]
        probability, predicted = probed(vectors, label, train, test)
        first = predicted if first is None else first
        target = domain[test] == 1
        confidence, correct = top_class(probability[target], label[test][target])
        row = {"model": name, **recovery(label[test], domain[test], first, predicted)}
        row["ece_target"] = float(expected_calibration_error(confidence, correct))
        rows.append(row | {f"auc_{key}": value for key, value in domain_auc(vectors[test], domain[test]).items()})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("dimensions", help="loss by number of dimensions, on the test part of a stamp file")
    one.add_argument("model")
    one.add_argument("data", type=Path)
    one.add_argument("--limit", type=int, default=1500)
    one.add_argument("--untrained", action="store_true", help="as training starts: principal components")
    one.add_argument("--picture", type=Path)
    two = commands.add_parser("adapt", help="share of a probe's loss that adaptation recovers")
    two.add_argument("before")
    two.add_argument("after", nargs="+")
    two.add_argument("--data", type=Path, required=True, help="made by galzoo data make two_surveys")
    two.add_argument("--label", default="label", help="column of classes; negative = unknown")
    two.add_argument("--merge", type=int, nargs="*", help="class that each value stands for, such as 0 1 1 2")
    for each in (one, two):
        each.add_argument("--output", type=Path)
    options = parser.parse_args()
    stamps = Stamps.load(options.data)
    if options.command == "dimensions":
        model = load(options.model)
        columns = {name: np.asarray(stamps.catalogue[name]) for name in stamps.catalogue.colnames}
        part = split_names(columns)
        rows = np.flatnonzero(part == "test")[: options.limit]
        if options.untrained:
            model = started(model, in_order(stamps, model.bands), np.flatnonzero(part == "train"))
        result = by_dimensions(model, in_order(stamps[rows], model.bands), DIMENSIONS)
    else:
        label = np.asarray(stamps.catalogue[options.label]).astype(int)
        merge = options.merge or range(label.max() + 1)
        known = (label >= 0) & (label < len(merge))
        label = np.asarray(merge)[label[known]]
        after = {str(name): load(name) for name in options.after}
        result = adaptation(load(options.before), after, stamps[known], label)
    for row in result:
        told = (f"{key} {value if isinstance(value, str) else np.round(value, 3)}" for key, value in row.items())
        sys.stdout.write(", ".join(told) + "\n")
    if options.output:
        write_json(options.output, result)
    if options.command == "dimensions" and options.picture:
        draw(result, options.picture, Path(options.model).name)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
