"""Measure what domain adaptation recovers, by each of its losses and for several seeds, without labels of the target.

    python scripts/bench_adaptation.py SDSS.h5 --work FOLDER [--what features] [--pair shift] [--seeds 3]

SDSS.h5 is what `galzoo data make sdss` makes, neighbours masked. Two pairs of surveys: pictures of Galaxy Zoo 1 and
others of them as a worse survey would show them ("shift"); EFIGI and Galaxy Zoo 1 ("efigi"). Classes are elliptical,
spiral and edge-on. What is adapted are the features that a preset gives, as a classifier learns from them ("features");
or a small VAE of pictures of 32 px, trained here, of whose vectors a probe learns ("encoder"). It adds to
docs/benchmarks/bench_adaptation.json. In FOLDER each run is a file when it is finished: a second call goes on.
"""

import argparse
import dataclasses
import json
import pickle
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.decomposition import PCA

from galzoo.data.batches import stamps_batch
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.files import write_json
from galzoo.inference.stamp_features import DEPTHS, features
from galzoo.metrics.adaptation import domain_auc, recovery
from galzoo.metrics.calibration import expected_calibration_error, top_class
from galzoo.models.galaxy_vae.model import GalaxyVAE
from galzoo.presets import load_for
from galzoo.simulate.survey_shift import shift_survey
from galzoo.tasks.classify import classifiers
from galzoo.tasks.classify.aligned import align

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "bench_adaptation.json"
SHIFT = {"fwhm": 3.0, "noise": 1.0, "scale": 1.5, "stretch": 0.6}
# In place of a preset: the VAE of the source alone.
OWN = "source"
KINDS = ("mmd", "sinkhorn", "adversarial")
CLASSES = ("elliptical", "spiral", "edge-on")
# Votes of Galaxy Zoo 1: elliptical, both senses of winding, edge-on.
_VOTES = {0: 0, 1: 1, 2: 1, 3: 2}
_BATCH = 64
_COMPONENTS = 128


def classes_of(catalogue):
    """Return the class of each galaxy, -1 where it has none: by its votes, or by Hubble type and inclination."""
    source, vote = np.asarray(catalogue["source"]).astype(str), np.asarray(catalogue["label"], int)
    t_type, inclination = (np.asarray(catalogue[name], float) for name in ("t_type", "attr_inclination"))
    zoo = np.array([_VOTES.get(one, -1) for one in vote])
    # Baillard et al. 2011: the attribute is 1 where a disc is seen edge-on.
    disc = (t_type >= 1) & (t_type <= 9)
    efigi = np.select([t_type <= -4, disc & (inclination >= 0.9), disc & (inclination <= 0.6)], [0, 2, 1], -1)
    return np.where(source == "gz1", zoo, np.where(source == "efigi", efigi, -1))


def binned(stamps):
    """Return stamps with half of the pixels along each side."""
    n, height, width, bands = stamps.image.shape
    shape = n, height // 2, 2, width // 2, 2, bands
    good = np.ones(stamps.image.shape, bool) if stamps.mask is None else ~stamps.mask
    number = good.reshape(shape).sum(axis=(2, 4))
    image = np.where(good, stamps.image, 0).astype(np.float32).reshape(shape).sum(axis=(2, 4)) / np.maximum(number, 1)
    variance = np.asarray(stamps.variance, np.float32).reshape(shape).mean(axis=(2, 4)) / np.maximum(number, 1)
    return dataclasses.replace(
        stamps, image=image, variance=variance, mask=number == 0, pixel_scale=2 * stamps.pixel_scale
    )


def surveys(path, pair, most, seed=0, small=True):
    """Return stamps of two surveys, their classes, the survey of each (0 source, 1 target), and which are for tests.

    Stamps have half of their pixels along each side where they shall be `small`.
    """
    from galzoo.data import hdf5

    table = hdf5.read_columns(path)
    label, source = classes_of(table), np.asarray(table["source"]).astype(str)
    ids, random = np.asarray(table["id"]).astype(str), np.random.default_rng(seed)
    zoo = source == "gz1"
    half = split_names({"id": ids}, 0.0, 0.5, seed + 1) == "test"
    domain = np.where(zoo, half if pair == "shift" else 1, 0 if pair == "efigi" else -1)
    rows = []
    for survey in (0, 1):
        for number in range(len(CLASSES)):
            inside = np.flatnonzero((domain == survey) & (label == number))
            rows.append(random.permutation(inside)[:most])
    rows = np.sort(np.concatenate(rows))
    stamps, domain = Stamps.load(path, rows), domain[rows]
    order = np.argsort(domain, kind="stable")
    stamps, rows, domain = stamps[order], rows[order], domain[order]
    parts = [stamps[domain == 0], stamps[domain == 1]]
    if pair == "shift":
        parts[1] = shift_survey(parts[1], **SHIFT, seed=seed)
    parts = [dataclasses.replace(binned(part) if small else part, pixel_scale=1.0, meta={}) for part in parts]
    test = split_names({"id": ids[rows]}, 0.0, 0.3, seed) == "test"
    return Stamps.concatenate(parts), label[rows], domain, test


def described(options):
    """Return what `of_features` takes, from its file where it is there.

    Returns
    -------
    dict of str to array
        ``vectors``: features by the preset, or 128 principal components where there are more; ``alike``: the same
        after each survey's were standardised by its own mean and deviation; ``label``, ``domain``, ``test``.
    """
    told = options.pair, options.encoder, options.depth, options.most, options.views
    path = options.work / ("_".join(map(str, told)) + ".npz")
    if not path.exists():
        before = time.process_time()
        own = options.encoder == OWN
        data = stamps, label, domain, test = surveys(options.data, options.pair, options.most, small=own)
        if own:
            found = next(runs(options, data, "none"))["vectors"]
        else:
            model = load_for("classify", options.encoder, "model", "prior", "encoder")
            found = features(model, stamps, views=options.views, depth=options.depth)[0]
        both = {"vectors": found, "alike": standardised(found, domain, ~test)}
        both = {name: components(values, ~test) for name, values in both.items()}
        np.savez(path, **both, label=label, domain=domain, test=test)
        print(f"{path.name}: {time.process_time() - before:.0f} s of CPU", flush=True)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def standardised(vectors, domain, learnt):
    """Return vectors of each survey by the mean and deviation of its own that are learnt from."""
    found = np.empty_like(vectors)
    for survey in (0, 1):
        own = vectors[learnt & (domain == survey)]
        found[domain == survey] = (vectors[domain == survey] - own.mean(axis=0)) / (own.std(axis=0) + 1e-6)
    return found


def components(vectors, learnt):
    """Return principal components of long vectors, as `galzoo.tasks.classify.heads` has them, but found once."""
    if vectors.shape[1] <= _COMPONENTS:
        return vectors
    return PCA(_COMPONENTS, svd_solver="randomized", random_state=0).fit(vectors[learnt]).transform(vectors)


def of_features(options):
    """Return rows of each kind of adaptation and seed of the features of a preset, and what they are of."""
    given = described(options)
    label, domain, test = given["label"], given["domain"], given["test"]
    target = ~test & (domain == 1)

    def probe(seen, learnt):
        return classifiers.fit(seen[learnt], label[learnt], CLASSES, None, "linear", "equal")[0].probability(seen)

    told = options.pair, options.encoder, options.depth, options.most, options.views
    path, rows = options.work / ("_".join(map(str, told)) + "_probes.npz"), []
    if not path.exists():
        learnt = ~test & (domain == 0)
        probes = {"none": probe(given["vectors"], learnt), "standardised": probe(given["alike"], learnt)}
        # What labels of the target would give.
        np.savez(path, **probes, **{"labels of the target": probe(given["alike"], target)})
    with np.load(path) as file:
        probes = {name: file[name] for name in file.files}
    for name, after in probes.items():
        seen = given["vectors" if name == "none" else "alike"]
        rows.append({"adaptation": name, **measured(probes["none"], after, seen, label, domain, test)})
        print(rows[-1], f"{time.process_time():.0f} s of CPU", flush=True)
    for kind in ("none", *options.kinds):
        for seed in range(options.seeds):
            how = kind, f"{options.weight:g}", options.align_steps, seed
            path = options.work / ("_".join(map(str, (*told, *how))) + ".json")
            if not path.exists():
                learnt = given["alike"][~test], label[~test], domain[~test], len(CLASSES)
                found = align(*learnt, kind, options.weight, options.align_steps, seed)
                after, short = (one(given["alike"], domain) for one in (found.probability, found.vectors))
                write_json(path, measured(probes["none"], after, short, label, domain, test))
            name = "network, no domain loss" if kind == "none" else kind
            rows.append({"adaptation": name, **json.loads(path.read_text(encoding="utf-8"))})
            print(rows[-1], f"{time.process_time():.0f} s of CPU", flush=True)
    return rows, label, domain, test


class Both(keras.utils.PyDataset):
    """Batches of half as many stamps of each of two sets of rows, drawn at random."""

    def __init__(self, stamps, sets, domain, steps, seed):
        super().__init__()
        self.stamps, self.sets, self.domain, self.steps = stamps, sets, domain, steps
        self.random = np.random.default_rng(seed)

    def __len__(self):
        return self.steps

    def __getitem__(self, number):
        rows = np.concatenate([self.random.choice(one, _BATCH // len(self.sets)) for one in self.sets])
        batch = stamps_batch(self.stamps, rows)
        batch["image"] = np.asarray(batch["image"], np.float32)
        return (batch | {"condition": self.domain[rows].astype(np.float32)[:, None]},)


class Trained:
    """A galaxy VAE of one kind of adaptation, traced once and trained anew for each seed."""

    def __init__(self, bands, kind, options):
        shape = {"size": 32, "channels": [32, 64], "hidden": 128, "likelihood": "student", "psf_channels": False}
        shape |= {"softening": 20.0, "error_floor": 0.0, "adaptation": kind, "adaptation_weight": options.weight}
        self.model, self.steps = GalaxyVAE(bands, **shape), options.steps
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, self.steps, warmup_target=1e-3, warmup_steps=self.steps // 8
        )
        self.model.compile(optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0), jit_compile=False)
        self.fresh = self.model.get_weights()

    def train(self, stamps, sets, domain, seed, start=None):
        """Return the model, trained on one or two sets of rows: from `start`, weights of a VAE, or from components."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.fresh)
        for variable in self.model.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        if start is None:
            rows = np.random.default_rng(seed).permutation(sets[0])[: 32 * self.model.adapt_batches]
            parts = np.array_split(rows, len(rows) // 32)
            self.model.adapt([stamps_batch(stamps, np.sort(part)) for part in parts])
        else:
            self.model.encoder.set_weights(start[0])
            self.model.decoder.set_weights(start[1])
        self.model.fit(Both(stamps, sets, domain, self.steps, seed), epochs=1, verbose=0)
        return self.model


def told(model, stamps, label, domain, test):
    """Return vectors and, of a probe that learns from the source's training galaxies, the probabilities of all."""
    vectors = features(model, stamps, views=2)[0]
    learnt = ~test & (domain == 0)
    probe, _ = classifiers.fit(vectors[learnt], label[learnt], CLASSES, None, "linear", "equal")
    return vectors, probe.probability(vectors)


def measured(before, after, vectors, label, domain, test):
    """Return what a run recovers on galaxies that no training saw."""
    found = recovery(label[test], domain[test], before[test].argmax(axis=1), after[test].argmax(axis=1))
    target = test & (domain == 1)
    # Classes are as frequent as any other, in the probe as in the calibration.
    weight = np.bincount(label[target])[label[target]]
    rows = np.random.default_rng(0).choice(np.flatnonzero(target), 2 * target.sum(), p=1 / weight / (1 / weight).sum())
    confidence, correct = top_class(after[rows], label[rows])
    found["ece_target"] = float(expected_calibration_error(confidence, correct))
    return found | {f"auc_{name}": value for name, value in domain_auc(vectors[test], domain[test]).items()}


def runs(options, data, kind):
    """Yield what each seed gives, from its file where it is there; `kind` "none" is the source alone."""
    stamps, label, domain, test = data
    sets, trained = [np.flatnonzero(~test & (domain == number)) for number in (0, 1)], None
    for seed in range(options.seeds):
        name = f"{options.pair}_{kind}_{options.weight:g}_{seed}" if kind != "none" else f"{options.pair}_source_{seed}"
        path, start = options.work / f"{name}.npz", options.work / f"{options.pair}_source_{seed}.pkl"
        if not path.exists():
            before = time.process_time()
            trained = trained or Trained(stamps.bands, kind, options)
            if kind == "none":
                model = trained.train(stamps, sets[:1], domain, seed)
                start.write_bytes(pickle.dumps((model.encoder.get_weights(), model.decoder.get_weights())))
            else:
                model = trained.train(stamps, sets, domain, seed, pickle.loads(start.read_bytes()))
            vectors, probability = told(model, stamps, label, domain, test)
            np.savez(path, vectors=vectors, probability=probability)
            print(f"{name}: {time.process_time() - before:.0f} s of CPU", flush=True)
        with np.load(path) as file:
            yield {key: file[key] for key in file.files}


def of_encoder(options):
    """Return rows of each kind of adaptation and seed of a VAE, and what they are of."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    data = surveys(options.data, options.pair, options.most)
    _, label, domain, test = data
    before, rows = [found["probability"] for found in runs(options, data, "none")], []
    for kind in ("none", *options.kinds):
        for seed, found in enumerate(runs(options, data, kind)):
            row = measured(before[seed], found["probability"], found["vectors"], label, domain, test)
            rows.append({"adaptation": kind, **row})
            print(kind, seed, {key: np.round(value, 3).tolist() for key, value in row.items()}, flush=True)
    return rows, label, domain, test


def summary(rows):
    """Return means over seeds and their spread, of rows of one kind."""
    keys = ("source_after", "target_after", "share", "ece_target", "auc_logistic", "auc_boosting")
    found = {"adaptation": rows[0]["adaptation"], "seeds": len(rows)}
    for key in keys:
        values = [row[key] for row in rows]
        found[key] = float(np.mean(values))
        found[f"{key}_error"] = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    edges = np.mean([row["share_interval"] for row in rows], axis=0)
    return found | {"share from": float(edges[0]), "share to": float(edges[1])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for finished runs")
    parser.add_argument("--what", choices=("features", "encoder"), default="features")
    parser.add_argument(
        "--encoder",
        default="galaxy_vae_sdss_rgb",
        help=f"preset that gives the features, or {OWN}: a VAE of the source",
    )
    parser.add_argument("--depth", choices=DEPTHS, default="levels", help="of the features")
    parser.add_argument("--views", type=int, default=2, help="orientations that features are a mean of")
    parser.add_argument("--pair", choices=("shift", "efigi"), default="shift")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="of the source's VAE, and of its adaptation")
    parser.add_argument("--align-steps", type=int, default=300, help="of the adaptation of features")
    parser.add_argument("--weight", type=float, default=1.0, help="of the adaptation")
    parser.add_argument("--most", type=int, default=700, help="galaxies a class and survey")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows, label, domain, test = of_features(options) if options.what == "features" else of_encoder(options)
    result = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    about = {"encoder": options.encoder, "depth": options.depth} if options.what == "features" else {}
    about |= {"weight": options.weight, "source, train": int((~test & (domain == 0)).sum())}
    about |= {"target, test": int((test & (domain == 1)).sum()), "source, test": int((test & (domain == 0)).sum())}
    about |= {name: float(np.mean([row[name] for row in rows])) for name in ("source_before", "target_before", "loss")}
    names = dict.fromkeys(row["adaptation"] for row in rows)
    kinds = [summary([row for row in rows if row["adaptation"] == name]) for name in names]
    name = f"{options.pair}, {options.what}" + (f" of {options.encoder}" if options.what == "features" else "")
    write_json(options.output, result | {name: {"about": about, "kinds": kinds}})


if __name__ == "__main__":
    main()
