"""What is measured of a classifier on labelled objects that it did not see."""

import numpy as np

from galzoo.metrics.calibration import base_rate, calibrated_error, nll, reliability, resample, scores, top_class
from galzoo.metrics.classification import balanced_accuracy, confusion


def measure(probability, label, names, chosen=None, groups=None, seed=0):
    """Score probabilities of classes.

    Parameters
    ----------
    probability : array, (n, class)
        At the frequencies of the labels, as nothing else can be compared with them.
    label : int array, (n,)
    names : list of str
    chosen : int array, (n,), optional
        Class that each row is given; the most probable by default.
    groups : array, (n,), optional
        Rows of one object.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``nll, brier, accuracy, ece, balanced_accuracy`` with ``<name>_error``; ``ece_if_calibrated``;
        ``commonest_class`` (accuracy of always saying it), ``base_rate_nll``; ``confusion``; ``classes``, a row each
        with ``n``, ``found`` (recall) and ``pure`` (precision); ``reliability``.
    """
    chosen = probability.argmax(axis=1) if chosen is None else chosen
    number = len(names)
    found = scores(probability, label, groups, seed=seed)

    def balanced(one, other):
        return balanced_accuracy(one, other, number)

    value = resample(balanced, label, chosen, groups=groups, seed=seed)
    found["balanced_accuracy"], found["balanced_accuracy_error"] = value
    top, right = top_class(probability, label)
    table = confusion(label, chosen, number)
    rows = []
    for position, name in enumerate(names):
        hit, there, said = table[position, position], table[position].sum(), table[:, position].sum()
        row = {"class": name, "n": int(there), "found": float(hit / there) if there else float("nan")}
        rows.append(row | {"pure": float(hit / said) if said else float("nan")})
    return found | {
        "n": len(label),
        "ece_if_calibrated": calibrated_error(top),
        "commonest_class": float(np.bincount(label, minlength=number).max() / len(label)),
        "base_rate_nll": float(nll(base_rate(label, number), label).mean()),
        "confusion": table.tolist(),
        "classes": rows,
        "reliability": reliability(top, right, groups=groups, seed=seed),
    }
