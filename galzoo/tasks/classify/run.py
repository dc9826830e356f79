"""Fit classes to labelled stamps on what a model encodes, and give every stamp its probabilities."""

import dataclasses

import numpy as np

from galzoo.data.splits import object_keys, split_names
from galzoo.errors import InputError, UnknownNameError
from galzoo.inference.stamp_features import encoder_of, features
from galzoo.metrics.calibration import fit_temperature, softmax
from galzoo.tasks.classify import classifiers
from galzoo.tasks.classify.measure import measure

METHODS = (*classifiers.KINDS, "finetune")
# Of the training objects, those that say when fine-tuning stops and what its temperature is.
_CHECKED = 0.2


@dataclasses.dataclass
class Tuned:
    """A fine-tuned encoder as a classifier; see `galzoo.tasks.classify.classifiers.Classifier` for the arguments.

    Parameters
    ----------
    model : galzoo.tasks.classify.finetune.FineTuned
    """

    model: object
    names: list
    counts: np.ndarray
    temperature: float
    prior: str
    kind: str = "finetune"

    def probability_of(self, stamps, batch_size=64, views=8):
        """Return the probability of each class, (n, class), of stamps."""
        logits = self.model.logits(stamps, batch_size, views)
        return classifiers.with_prior(softmax(logits, self.temperature), self.counts, self.prior)


@dataclasses.dataclass
class Classified:
    """Classes of n stamps.

    Parameters
    ----------
    names : list of str
    probability : array, (n, class)
        Of stamps that were learnt from: by classifiers that did not see their object (but for "finetune").
    classifier : Classifier or Tuned
    views : int
        Orientations that were averaged over.
    number : int array, (n,), optional
        Label, -1 where not known. This and the next two are None where a saved classifier was applied.
    part : array of str, (n,), optional
        "train", "test" or "" (no label).
    metrics : dict, optional
        See `galzoo.tasks.classify.measure.measure`; ``of`` says of which objects.
    notes : list of str
    """

    names: list
    probability: np.ndarray
    classifier: object
    views: int = 8
    number: np.ndarray | None = None
    part: np.ndarray | None = None
    metrics: dict | None = None
    notes: list = dataclasses.field(default_factory=list)

    @property
    def chosen(self):
        """The most probable class of each stamp, (n,)."""
        return self.probability.argmax(axis=1)


def fit(model, stamps, labels, method="linear", prior="labels", test=0.2, views=8, seed=0, batch_size=64, epochs=10,
        progress=False, depth="vector"):  # fmt: skip
    """Learn classes from labelled stamps, score them on objects held out, and classify all stamps.

    Parameters
    ----------
    model : Codec, Prior with a codec, or Encoder
        A fine-tuned one is changed.
    stamps : Stamps
    labels : Labels
        A row a stamp.
    method : {"linear", "knn", "forest", "finetune"}
        Logistic regression, nearest neighbours, random forest; or the encoder trained too, from the first on.
    prior : {"labels", "equal"}
        Frequencies of the classes that probabilities are for: those of the labels, or all alike.
    test : float
        Share of the objects that are held out; a column ``split`` of the catalogue wins. With 0, scores are of
        training objects by classifiers that did not see them.
    views, seed, batch_size : int
    epochs : int
        Of fine-tuning, at most.
    progress : bool
    depth : {"vector", "levels"}
        What of an encoder is learnt from, see `galzoo.inference.stamp_features.features`. Fine-tuning knows the vector
        alone.

    Returns
    -------
    Classified

    Raises
    ------
    InputError
        If labels and stamps do not fit, or too few labels are left to learn from.
    UnknownNameError
        If the method or the prior is unknown.
    """
    if method not in METHODS:
        raise UnknownNameError.of("method", method, METHODS)
    if prior not in classifiers.PRIORS:
        raise UnknownNameError.of("prior", prior, classifiers.PRIORS)
    if len(labels.number) != len(stamps):
        raise InputError(f"{len(labels.number)} labels for {len(stamps)} stamps; give one each, -1 where not known")
    if not 0 <= test < 1:
        raise InputError(f"test is {test}; give the share of objects to hold out, from 0 up to 1")
    if method == "finetune" and depth != "vector":
        raise InputError(f"depth is {depth}, but fine-tuning trains the vector; use method 'linear', or depth 'vector'")
    if method == "finetune" and test == 0:
        raise InputError("a fine-tuned encoder needs objects held out to be scored on; give a share above 0 as test")
    columns = {name: np.asarray(getattr(values, "value", values)) for name, values in stamps.catalogue.items()
               if name in ("id", "ra", "dec", "split")}  # fmt: skip
    columns.setdefault("id", np.arange(len(stamps)))
    keys, known = object_keys(columns), labels.number >= 0
    part = np.where(known, np.where(split_names(columns, 0.0, test, seed) == "test", "test", "train"), "")
    train, held, notes = np.flatnonzero(part == "train"), np.flatnonzero(part == "test"), list(labels.notes)
    few = [name for k, name in enumerate(labels.names) if len(np.unique(keys[train][labels.number[train] == k])) < 2]
    if few:
        raise InputError(f"class {few[0]}: fewer than 2 objects to learn from after {len(held)} labels were held out; "
                         "hold out fewer (--test), or leave rare classes out (--least)")  # fmt: skip
    described, _ = features(model, stamps, batch_size, progress, views, depth)
    first = "linear" if method == "finetune" else method
    found, unseen = classifiers.fit(
        described[train], labels.number[train], labels.names, keys[train], first, prior, seed
    )
    if method == "finetune":
        found, notes = _tune(
            model, stamps, labels, found, described, train, keys, (seed, epochs, batch_size, views), notes
        )
        probability = found.probability_of(encoder_of(model, stamps)[1], batch_size, views)
    else:
        probability = found.probability(described)
        probability[train] = unseen
    result = Classified(labels.names, probability, found, views, labels.number, part, notes=notes)
    judged, of = (held, "held out") if len(held) else (train, "left out of folds")
    if not len(held):
        notes.append("no labelled object was held out: scores are of training objects left out in folds")
    result.metrics = {"of": of} | measure(
        _at_label_frequency(probability[judged], found),
        labels.number[judged],
        labels.names,
        probability[judged].argmax(axis=1),
        keys[judged],
        seed,
    )
    return result


def usual_depth(model, method):
    """Return what of a model `galzoo classify` learns from: "levels" where it has them, but for fine-tuning.

    They told classes of EFIGI and Galaxy Zoo 1 as well as the vector with few labels, and better with many.
    """
    return "levels" if hasattr(model, "maps") and method != "finetune" else "vector"


def classify(model, stamps, classifier, views=8, batch_size=64, progress=False, depth="vector"):
    """Apply a fitted classifier to stamps.

    Parameters
    ----------
    model : Codec, Prior with a codec, or Encoder
        That it was fitted on; not used by a fine-tuned one.
    stamps : Stamps
    classifier : Classifier or Tuned
    views, batch_size : int
    progress : bool
    depth : {"vector", "levels"}
        As it was fitted with.

    Returns
    -------
    Classified
    """
    if not len(stamps):
        raise InputError("no stamps to classify; the file or selection is empty")
    if classifier.kind == "finetune":
        from galzoo.data.bands import in_order

        stamps = in_order(stamps, classifier.model.bands)
        return Classified(classifier.names, classifier.probability_of(stamps, batch_size, views), classifier, views)
    described, _ = features(model, stamps, batch_size, progress, views, depth)
    return Classified(classifier.names, classifier.probability(described), classifier, views)


def _tune(model, stamps, labels, probe, described, train, keys, options, notes):
    from galzoo.tasks.classify.finetune import finetune

    seed, epochs, batch_size, views = options
    encoder, stamps = encoder_of(model, stamps)
    checked = split_names({"id": keys[train]}, 0.0, _CHECKED, seed + 1) == "test"
    if not checked.any() or checked.all():
        raise InputError(f"{len(train)} labels to learn from are too few to fine-tune; use method 'linear'")
    number = labels.number
    # The probe that it starts from must not know the objects that say when to stop.
    start, _ = classifiers.fit(
        described[train[~checked]],
        number[train[~checked]],
        labels.names,
        keys[train[~checked]],
        "linear",
        "labels",
        seed,
    )
    tuned = finetune(encoder, stamps, number, start, train[~checked], train[checked], epochs, seed=seed)
    logits = tuned.logits(stamps[train[checked]], batch_size, views)
    temperature = fit_temperature(logits, number[train[checked]])
    notes = [*notes, "labelled training stamps were seen by the encoder that classifies them"]
    return Tuned(tuned, labels.names, probe.counts, temperature, probe.prior), notes


def _at_label_frequency(probability, classifier):
    if classifier.prior == "labels":
        return probability
    weighted = probability * classifier.counts
    return weighted / weighted.sum(axis=1, keepdims=True)
