"""What domain adaptation recovers: of the accuracy that a probe lost on another survey, and how alike two sets are.

A *domain* is 0 for the survey that a probe was trained on and 1 for the other, (n,).
"""

import numpy as np

from galzoo.errors import InputError
from galzoo.metrics.classification import balanced_accuracy


def recovery(label, domain, before, after, draws=1000, level=0.95, seed=0):
    """Measure which share of a probe's loss on another survey was recovered.

    Parameters
    ----------
    label : array, (n,)
        True classes of galaxies that no training saw.
    domain : array, (n,)
    before, after : array, (n,)
        Classes that the probe gives without and with adaptation.
    draws : int
        Of the bootstrap over galaxies, each survey by itself.
    level : float
        Of the intervals.
    seed : int

    Returns
    -------
    dict
        Balanced accuracies ``source_before, target_before, source_after, target_after``; ``loss`` (what the shift
        costs); ``gain`` (on the target) and ``share`` (of the loss), each of the two with ``_interval``. The share is
        NaN where nothing was lost.

    Raises
    ------
    InputError
        If shapes differ or a survey has no galaxies.
    """
    label, domain, before, after = (np.asarray(column) for column in (label, domain, before, after))
    if any(column.shape != label.shape or column.ndim != 1 for column in (domain, before, after)):
        raise InputError("label, domain, before and after must have one value a galaxy, (n,)")
    rows = [np.flatnonzero(domain == number) for number in (0, 1)]
    if not all(len(part) for part in rows):
        raise InputError(f"{len(rows[0])} galaxies of the source and {len(rows[1])} of the target; give some of both")

    def measure(parts):
        names = [f"{name}_{when}" for when in ("before", "after") for name in ("source", "target")]
        values = [balanced_accuracy(label[part], column[part]) for column in (before, after) for part in parts]
        found = dict(zip(names, values, strict=True))
        found["loss"] = found["source_before"] - found["target_before"]
        found["gain"] = found["target_after"] - found["target_before"]
        found["share"] = found["gain"] / found["loss"] if found["loss"] > 0 else float("nan")
        return found

    result, random = measure(rows), np.random.default_rng(seed)
    drawn = [measure([random.choice(part, len(part)) for part in rows]) for _ in range(draws)]
    edges = 50 * (1 - level), 50 * (1 + level)
    for name in ("gain", "share"):
        values = np.array([one[name] for one in drawn])
        values = values[np.isfinite(values)]
        result[f"{name}_interval"] = np.percentile(values, edges).tolist() if len(values) else [float("nan")] * 2
    return result


def domain_auc(features, domain, folds=5, seed=0):
    """Measure how well a classifier tells two surveys apart by their features.

    Parameters
    ----------
    features : array, (n, feature)
    domain : array, (n,)
    folds : int
        Of the cross-validation.
    seed : int

    Returns
    -------
    dict
        ``logistic`` and ``boosting``: area under the ROC curve of a logistic regression and of boosted trees, 0.5
        cannot tell, 1 always can.

    Raises
    ------
    InputError
        If a survey has fewer members than folds.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    features, domain = np.asarray(features, float), np.asarray(domain).astype(int)
    counts = np.bincount(domain, minlength=2)
    if len(counts) != 2 or counts.min() < folds:
        raise InputError(f"surveys have {counts.tolist()} members; {folds} folds want as many of each of two")
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    classifiers = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        "boosting": HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed),
    }
    # The trees' threads wait on each other on a busy machine.
    with threadpool_limits(limits=1):
        told = {
            name: cross_val_predict(classifier, features, domain, cv=split, method="predict_proba")[:, 1]
            for name, classifier in classifiers.items()
        }
    return {name: float(roc_auc_score(domain, probability)) for name, probability in told.items()}
