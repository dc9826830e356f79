"""Classifiers on vectors, their probabilities calibrated on objects that they did not see; stored as plain arrays."""

import dataclasses

import numpy as np

from galzoo.errors import InputError, UnknownNameError
from galzoo.metrics.calibration import fit_temperature, nll, softmax
from galzoo.tasks.classify import heads

KINDS = tuple(heads.HEADS)
PRIORS = ("labels", "equal")
_FOLDS = 5


@dataclasses.dataclass
class Classifier:
    """A fitted classifier.

    Parameters
    ----------
    kind : {"linear", "knn", "forest"}
    names : list of str
        Of the classes.
    counts : int array, (class,)
        Labels of each that it was fitted to.
    temperature : float
        Logits are divided by it; fitted on objects left out.
    prior : {"labels", "equal"}
        Whether a class is as frequent as among the labels, or as any other.
    arrays : dict of str to array
        What the kind needs; see `galzoo.tasks.classify.heads`.
    """

    kind: str
    names: list
    counts: np.ndarray
    temperature: float
    prior: str
    arrays: dict

    def probability(self, features):
        """Return the probability of each class, (n, class), of vectors (n, feature)."""
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != len(self.arrays["centre"]):
            raise InputError(
                f"features have the shape {features.shape}; this classifier takes (n, {len(self.arrays['centre'])})"
            )
        logits = heads.logits(self.kind, self.arrays, features)
        return with_prior(softmax(logits, self.temperature), self.counts, self.prior)


def fit(features, label, names, groups=None, kind="linear", prior="labels", seed=0):
    """Fit a classifier to labelled vectors.

    Hyper-parameters and temperature are those with the least negative log-likelihood of objects left out, in 5 folds.

    Parameters
    ----------
    features : array, (n, feature)
    label : int array, (n,)
        Index into `names`.
    names : sequence of str
    groups : array, (n,), optional
        Rows of one object, which are left out together.
    kind : {"linear", "knn", "forest"}
        Logistic regression; nearest neighbours; random forest.
    prior : {"labels", "equal"}
        See `Classifier`.
    seed : int
        Of folds and forest.

    Returns
    -------
    classifier : Classifier
    probability : array, (n, class)
        Of each row, by classifiers that did not see its object.

    Raises
    ------
    InputError
        If features are not finite or a class has fewer than two objects.
    """
    if kind not in KINDS:
        raise UnknownNameError.of("classifier", kind, KINDS)
    if prior not in PRIORS:
        raise UnknownNameError.of("prior", prior, PRIORS)
    features, label = np.asarray(features, np.float64), np.asarray(label, np.int64)
    if features.ndim != 2 or label.shape != features.shape[:1]:
        raise InputError(
            f"features have the shape {features.shape} and labels {label.shape}; give (n, feature) and (n,)"
        )
    if not np.isfinite(features).all():
        rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
        raise InputError(f"features of {len(rows)} stamps, the first in row {rows[0]}, are not finite; mask bad pixels")
    groups = np.arange(len(label)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    objects = [len(np.unique(groups[label == number])) for number in range(len(names))]
    if min(objects) < 2:
        raise InputError(f"class {names[int(np.argmin(objects))]} has {min(objects)} objects; at least 2 are needed")
    tried = heads.options(kind, len(label))
    logits = np.zeros((len(tried), len(label), len(names)))
    for inside, outside in _folds(label, groups, min(_FOLDS, *objects), seed):
        parts = heads.components(features[inside])
        for number, options in enumerate(tried):
            arrays = heads.fit(kind, parts, features[inside], label[inside], len(names), options, seed)
            logits[number, outside] = heads.logits(kind, arrays, features[outside])
    temperatures = [fit_temperature(each, label) for each in logits]
    scores = [nll(softmax(*each), label).mean() for each in zip(logits, temperatures, strict=True)]
    best = int(np.argmin(scores))
    options, temperature, logits = tried[best], temperatures[best], logits[best]
    counts = np.bincount(label, minlength=len(names))
    arrays = heads.fit(kind, heads.components(features), features, label, len(names), options, seed)
    classifier = Classifier(kind, list(names), counts, temperature, prior, arrays)
    return classifier, with_prior(softmax(logits, temperature), counts, prior)


def with_prior(probability, counts, prior):
    """Return probabilities for other frequencies of the classes than those of the labels (Saerens et al. 2002).

    Parameters
    ----------
    probability : array, (n, class)
    counts : array, (class,)
        Labels of each class.
    prior : {"labels", "equal"}
    """
    if prior == "labels":
        return probability
    weighted = probability / np.maximum(counts, 1)
    return weighted / weighted.sum(axis=1, keepdims=True)


def _folds(label, groups, number, seed):
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if len(np.unique(groups)) == len(groups):
        yield from StratifiedKFold(number, shuffle=True, random_state=seed).split(label, label)
        return
    yield from StratifiedGroupKFold(number, shuffle=True, random_state=seed).split(label, label, groups)
