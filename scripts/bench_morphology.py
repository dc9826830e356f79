"""How much classes, Hubble types and outliers an encoder tells, beside pixels, structure and a supervised network.

    python scripts/bench_morphology.py SDSS.h5 --cache FOLDER [--encoder galaxy_vae_sdss_rgb ...] [--most 1200]
    python scripts/bench_morphology.py SDSS.h5 --cache FOLDER --network-alone [--labels "10 a class" ...]

SDSS.h5 is what `galzoo data make sdss` makes of EFIGI and Galaxy Zoo 1 pictures, neighbours masked. A fifth of the
objects is for tests: those that presets of these pictures did not learn from. It makes
docs/benchmarks/bench_morphology.json. Vectors, and what networks trained on labels say, are kept in the folder of
--cache, so that another encoder is measured without making them again, and a run that was cut short goes on. With
--network-alone the classes of the supervised network are measured, on the same draws of the same rows, and put beside
what the output has of the others.
"""

import argparse
import json
import re
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.decomposition import PCA

from galzoo.data import hdf5
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.inference.stamp_features import DEPTHS, features
from galzoo.metrics.calibration import resample
from galzoo.metrics.classification import balanced_accuracy
from galzoo.presets import load_for
from galzoo.tasks.classify import baselines, classifiers
from galzoo.tasks.embed.outliers import LatentDensity, chi2_a_pixel

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "bench_morphology.json"
# T-types (Baillard et al. 2011, table 2); dwarf ellipticals (11) are left out.
HUBBLE = {"E": (-6, -4), "S0": (-3, -1), "Sa-Sb": (0, 3), "Sbc-Sd": (4, 7), "Sdm-Im": (8, 10)}
# Leaves of Galaxy Zoo 1; both senses of winding are spirals, and "don't know" is left out.
ZOO = {"elliptical": (0,), "spiral": (1, 2), "edge-on": (3,), "merger": (5,)}
A_CLASS, DRAWS = 10, 10
LABELS = "10 a class", "10 %", "all"
NETWORK = "supervised ResNet-18"
# Of vectors.
_COMPONENTS = 128


def class_of(table):
    """Return the data set and class number of each row, -1 where it has none."""
    source, t_type = np.asarray(table["source"]).astype(str), np.asarray(table["t_type"], float)
    vote = np.asarray(table["label"], int)
    number = np.full(len(source), -1)
    for k, (low, high) in enumerate(HUBBLE.values()):
        number[(source == "efigi") & (t_type >= low) & (t_type <= high)] = k
    for k, votes in enumerate(ZOO.values()):
        number[(source == "gz1") & np.isin(vote, votes)] = k
    return source, number


def chosen_rows(source, number, most, seed=0):
    """Return at most so many rows a class of each data set."""
    random, rows = np.random.default_rng(seed), []
    for name in ("efigi", "gz1"):
        for k in range(number.max() + 1):
            inside = np.flatnonzero((source == name) & (number == k))
            rows.append(random.permutation(inside)[:most])
    return np.sort(np.concatenate(rows))


def regimes(label, train, seed=0):
    """Yield name and rows to learn from of each draw."""
    random, classes = np.random.default_rng(seed), np.unique(label[train])
    for _ in range(DRAWS):
        yield "10 a class", np.concatenate([random.permutation(train[label[train] == k])[:A_CLASS] for k in classes])
    for _ in range(3):
        parts = [random.permutation(train[label[train] == k]) for k in classes]
        yield "10 %", np.concatenate([part[: max(3, len(part) // 10)] for part in parts])
    yield "all", train


def mean_balanced(label, predicted, classes):
    """Return the balanced accuracy, mean over draws (draw, n), and its bootstrap error over objects."""
    predicted = np.stack(predicted, axis=1)

    def mean(one, many):
        return np.mean([balanced_accuracy(one, each, classes) for each in many.T])

    value, error = resample(mean, label, predicted)
    each = [balanced_accuracy(label, one, classes) for one in predicted.T]
    return {"balanced_accuracy": value, "error": error, "spread_of_draws": float(np.std(each)), "draws": len(each)}


def kept(options, name, make):
    """Return what `make()` gives, from the folder of --cache where it is there."""
    if options.cache is None:
        return make()
    path = options.cache / f"{re.sub(r'[^0-9a-z]+', '_', name.lower())}_{options.most}.npy"
    if not path.exists():
        options.cache.mkdir(parents=True, exist_ok=True)
        start = time.process_time()
        values = make()
        np.save(path, values)
        print(f"{name}: {time.process_time() - start:.0f} s of CPU", flush=True)
    return np.load(path)


def descriptions(models, stamps, train, options):
    """Return the vectors of all stamps by each method, a dict of arrays (n, feature)."""
    found, views = {}, options.views
    random = baselines.untrained(next(iter(models.values())))
    for name, model in {
        **{f"probe on {name}": model for name, model in models.items()},
        "random encoder": random,
    }.items():
        for depth in DEPTHS if hasattr(model, "maps") else DEPTHS[:1]:
            told = name if depth == "vector" else f"{name}, {depth}"
            found[told] = kept(
                options,
                f"{told} {views}",
                lambda model=model, depth=depth: features(model, stamps, views=views, depth=depth)[0],
            )
    found["structure (CAS, Gini, M20)"] = kept(options, "structure", lambda: baselines.structure(stamps))
    found["PCA-40"] = kept(options, "pca", lambda: baselines.pixel_components(stamps, train))
    # Probes take as many components at most; here they are found once.
    parts = {
        name: PCA(min(_COMPONENTS, each.shape[1]), random_state=0).fit(each[train]) for name, each in found.items()
    }
    return {name: parts[name].transform(each) for name, each in found.items()}


def network(options, name, stamps, label, outputs, train, test, steps, seed):
    """Return what a ResNet-18 trained in half precision on some rows gives for others, (test, outputs)."""

    def learn():
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = baselines.train_resnet(stamps, label, train, outputs, steps, options.filters, seed=seed)
            return baselines.predict_resnet(model, stamps, test).astype(np.float32)
        finally:
            keras.config.set_dtype_policy("float32")

    return kept(options, f"resnet {name} {seed} {steps} {options.filters}", learn)


def classes_of(described, stamps, label, names, train, test, options):
    """Return the balanced accuracy of each description and of the supervised network, for each number of labels."""
    found = {}
    for regime, rows in regimes(label, train):
        if regime not in options.labels:
            continue
        for name, vectors in described.items():
            fitted, _ = classifiers.fit(vectors[rows], label[rows], names, None, "linear", "equal")
            found.setdefault((name, regime), []).append(fitted.probability(vectors[test]).argmax(axis=1))
        # Its training costs a hundred times as much as a probe.
        if len(found.get((NETWORK, regime), [])) < options.networks:
            done = found.setdefault((NETWORK, regime), [])
            steps = options.steps if regime == "all" else max(1, options.steps // 5)
            told = network(options, f"{names[0]} {regime}", stamps, label, len(names), rows, test, steps, len(done))
            done.append(told.argmax(axis=1))
    table = []
    for (name, regime), predicted in found.items():
        table.append({"method": name, "labels": regime} | mean_balanced(label[test], predicted, len(names)))
    return table


def network_alone(options, stamps, source, number, part):
    """Put the classes of the supervised network into the output, beside those of the other methods."""
    result = json.loads(options.output.read_text(encoding="utf-8"))
    asked = {"rows a class at most": options.most, "network_steps": options.steps, "network_filters": options.filters}
    for key, value in asked.items():
        if result[key] != value:
            raise SystemExit(f"{options.output}: {key} is {result[key]}, not {value}; rows would not compare")
    for name, classes in (("efigi", list(HUBBLE)), ("gz1", list(ZOO))):
        train, test = (np.flatnonzero((source == name) & (part == which)) for which in ("train", "test"))
        rows = classes_of({}, stamps, number, classes, train, test, options)
        print(name, *rows, sep="\n", flush=True)
        told = {row["labels"] for row in rows}
        before = [row for row in result[name] if row["method"] != NETWORK or row["labels"] not in told]
        result[name] = sorted(before + rows, key=lambda row: LABELS.index(row["labels"]))
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def t_types_of(described, stamps, t_type, train, test, options):
    """Return the mean error of the Hubble type that each description and the network give."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = {}
    for name, vectors in described.items():
        parts = PCA(min(_COMPONENTS, vectors.shape[1]), random_state=0)
        probe = make_pipeline(parts, StandardScaler(), RidgeCV(np.logspace(0, 5, 11))).fit(
            vectors[train], t_type[train]
        )
        predicted[name] = probe.predict(vectors[test])
    middle, spread = t_type[train].mean(), t_type[train].std()
    scaled = ((t_type - middle) / spread).astype(np.float32)
    told = network(options, "t type", stamps, scaled, 1, train, test, options.steps, 0)
    predicted[NETWORK] = told[:, 0] * spread + middle
    predicted["the median"] = np.full(len(test), np.median(t_type[train]))
    rows = []
    for name, values in predicted.items():
        value, error = resample(np.mean, np.abs(values - t_type[test]))
        rows.append({"method": name, "mean_error": value, "error": error, "n": len(test)})
    return rows


def strange(stamps, seed=0):
    """Return stamps with artefacts, superposed with another, and at another scale, by name."""
    import dataclasses

    from scipy.ndimage import zoom

    random, image = np.random.default_rng(seed), stamps.image
    noise = np.sqrt(np.nanmedian(stamps.variance, axis=(1, 2), keepdims=True))
    artefacts = image.astype(np.float32).copy()
    for row, picture in enumerate(artefacts):
        if row % 2:  # a satellite trail through the middle half
            angle, offset = random.uniform(0, np.pi), random.uniform(-8, 8)
            y, x = np.indices(picture.shape[:2]) - (picture.shape[0] - 1) / 2
            picture[np.abs(x * np.sin(angle) - y * np.cos(angle) - offset) < 1.5] += 30 * noise[row, 0, 0]
        else:  # a dead block of columns, in one band
            start = random.integers(12, 44)
            picture[:, start : start + 6, random.integers(picture.shape[2])] = 0
    other = np.roll(image, random.integers(1, len(image)), axis=0).astype(np.float32)
    shift = 10
    moved = np.roll(other, (shift, -shift), axis=(1, 2))
    scaled = np.stack([zoom(each.astype(np.float32), (3, 3, 1), order=1)[64:128, 64:128] for each in image])
    made = {"artefacts": artefacts, "superpositions": image.astype(np.float32) + moved, "wrong scale": scaled}
    top = 255 if image.dtype == np.uint8 else np.inf
    return {
        name: dataclasses.replace(stamps, image=np.clip(values, None, top).astype(image.dtype))
        for name, values in made.items()
    }


def outliers_of(model, stamps, described, train, test, options):
    """Return the area under the ROC curve of each score for each kind of strange stamp."""
    from sklearn.metrics import roc_auc_score

    kept = test[: options.strange]
    density = LatentDensity(described[train])
    usual = {"latent density": density.strangeness(described[kept]), "chi2 a pixel": chi2_a_pixel(model, stamps[kept])}
    rows = []
    for kind, odd in strange(stamps[kept]).items():
        vectors, _ = features(model, odd, views=options.views)
        found = {"latent density": density.strangeness(vectors), "chi2 a pixel": chi2_a_pixel(model, odd)}
        truth = np.repeat([0, 1], len(kept))
        for score in usual:
            if usual[score] is None:
                continue
            found[score] = np.concatenate([usual[score], found[score]])
        # The share of usual galaxies that are less strange, by the score that finds it strangest.
        ranks = [
            np.searchsorted(np.sort(usual[score]), values) for score, values in found.items() if values is not None
        ]
        found["the stranger of both"] = np.max(ranks, axis=0)
        for score, values in found.items():
            if values is None:
                continue
            value, error = resample(roc_auc_score, truth, values, groups=np.tile(np.arange(len(kept)), 2))
            rows.append({"outliers": kind, "score": score, "auroc": value, "error": error, "n": len(kept)})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--encoder", nargs="+", default=["galaxy_vae_sdss_rgb"], help="outliers are scored by the first"
    )
    parser.add_argument("--most", type=int, default=1200, help="rows a class")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--steps", type=int, default=800, help="of the network with all labels; a fifth with fewer")
    parser.add_argument("--filters", type=int, default=16, help="channels of its first stage")
    parser.add_argument("--networks", type=int, default=2, help="draws of it; 0: Hubble types alone")
    parser.add_argument("--labels", nargs="+", default=LABELS, choices=LABELS)
    parser.add_argument("--network-alone", action="store_true")
    parser.add_argument("--strange", type=int, default=300, help="usual and strange stamps a kind")
    parser.add_argument("--cache", type=Path, help="folder for vectors and what networks say")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    start = time.process_time()
    table = hdf5.read_columns(options.data)
    source, number = class_of(table)
    rows = chosen_rows(source, number, options.most)
    stamps, source, number = Stamps.load(options.data, rows), source[rows], number[rows]
    part = split_names({"id": np.asarray(stamps.catalogue["id"]).astype(str)}, 0.0, 0.2)
    if options.network_alone:
        network_alone(options, stamps, source, number, part)
        return
    models = {Path(name).name: load_for("embed", name, "model", "prior", "encoder") for name in options.encoder}
    model = next(iter(models.values()))
    described = descriptions(models, stamps, np.flatnonzero(part == "train"), options)
    print(f"described {len(stamps)} stamps: {time.process_time() - start:.0f} s of CPU", flush=True)
    result = {"encoder": ", ".join(models), "stamps": len(stamps), "views": options.views,
              "rows a class at most": options.most, "network_steps": options.steps,
              "network_filters": options.filters}  # fmt: skip
    for name, classes in (("efigi", list(HUBBLE)), ("gz1", list(ZOO))):
        inside = source == name
        train, test = (np.flatnonzero(inside & (part == which)) for which in ("train", "test"))
        result[name] = classes_of(described, stamps, number, classes, train, test, options)
        counts = np.bincount(number[train], minlength=len(classes)), np.bincount(number[test], minlength=len(classes))
        result[f"{name}_classes"] = [{"class": each, "train": int(counts[0][k]), "test": int(counts[1][k])}
                                     for k, each in enumerate(classes)]  # fmt: skip
        print(name, f"{time.process_time() - start:.0f} s of CPU", *result[name], sep="\n", flush=True)
        if name == "efigi":
            t_type = np.asarray(stamps.catalogue["t_type"], float)
            result["t_type"] = t_types_of(described, stamps, t_type, train, test, options)
            print(*result["t_type"], sep="\n", flush=True)
    train, test = (np.flatnonzero(part == which) for which in ("train", "test"))
    first = next(iter(described.values()))
    test = np.random.default_rng(0).permutation(test)
    result["outliers"] = outliers_of(model, stamps, first, train, test, options)
    print(*result["outliers"], sep="\n")
    result["cpu_seconds"] = time.process_time() - start
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
