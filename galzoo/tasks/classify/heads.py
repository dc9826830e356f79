"""Logistic regression, nearest neighbours and random forest as arrays: scikit-learn fits, NumPy predicts.

Arrays, and not pickles, are what is saved: they can be read by any version and hold no code. All begin with ``centre``
(feature,) and ``components`` (feature, k), which take vectors to their principal components.
"""

import numpy as np

from galzoo.errors import InputError

# Principal components that are kept: more cost time and told nothing more.
_COMPONENTS = 128
_TREES = 200
# Labels that the frequencies of all classes count as, beside those of neighbours or leaves.
_PRIOR_LABELS = 1.0
# Of a class that a fold has no labels of.
_UNSEEN = -15.0
_ROWS = 2048


def options(kind, n):
    """Return the hyper-parameters that are tried, a dict each, for n labels."""
    if kind == "linear":
        return [{"strength": strength} for strength in (0.003, 0.03, 0.3, 3.0)]
    if kind == "knn":
        return [{"neighbours": k} for k in (5, 15, 45) if k <= max(5, n // 3)]
    return [{"leaf": leaf} for leaf in (1, 5)]


def components(features):
    """Return the arrays that take vectors to their principal components."""
    from sklearn.decomposition import PCA

    number = min(_COMPONENTS, features.shape[1], max(1, len(features) - 1))
    if not np.ptp(features, axis=0).max() > 1e-9:
        raise InputError("the model describes all labelled galaxies alike; is it trained?")
    parts = PCA(number, svd_solver="covariance_eigh" if len(features) > features.shape[1] else "full").fit(features)
    spread = np.sqrt(np.maximum(parts.explained_variance_, 0))
    kept = spread > 1e-6 * max(spread.max(), 1e-30)
    # One scale for all, so that a direction counts as much as it varies; its square is 1 on average.
    scale = np.sqrt(max((spread**2).mean(), 1e-30))
    return {"centre": parts.mean_, "components": parts.components_[kept].T / scale}


def fit(kind, arrays, features, label, classes, chosen, seed):
    """Return the arrays of a classifier of a kind, those of `components` with them; see `HEADS`."""
    return arrays | HEADS[kind][0](project(arrays, features), label, classes, chosen, seed)


def logits(kind, arrays, features):
    """Return logits (n, class) of vectors (n, feature)."""
    return HEADS[kind][1](arrays, project(arrays, features))


def project(arrays, features):
    """Return the principal components of vectors."""
    return (features - arrays["centre"]) @ arrays["components"]


def _fit_linear(x, label, classes, chosen, seed):
    from sklearn.linear_model import LogisticRegression

    present = np.unique(label)
    # Directions of little variance may matter as much, so each has its own scale; what is left is regularised alike.
    scale = np.maximum(x.std(axis=0), 0.1)
    weights, bias = np.zeros((x.shape[1], classes)), np.full(classes, _UNSEEN)
    if len(present) == 1:
        bias[present] = 0.0
        return {"weights": weights, "bias": bias}
    found = LogisticRegression(C=chosen["strength"], max_iter=2000, tol=1e-3).fit(x / scale, label)
    slope, start = found.coef_, found.intercept_
    if len(present) == 2:
        slope, start = np.concatenate([0 * slope, slope]), np.concatenate([[0.0], start])
    weights[:, present], bias[present] = slope.T / scale[:, None], start
    return {"weights": weights, "bias": bias}


def _linear(arrays, x):
    return x @ arrays["weights"] + arrays["bias"]


def _fit_knn(x, label, classes, chosen, seed):
    frequency = np.bincount(label, minlength=classes) / len(label)
    neighbours = np.array(min(chosen["neighbours"], len(x)))
    return {"points": x.astype(np.float32), "label": label, "frequency": frequency, "neighbours": neighbours}


def _knn(arrays, x):
    points = arrays["points"].astype(np.float64)
    near, parts = int(arrays["neighbours"]), []
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        distance = (points**2).sum(axis=1) - 2 * part @ points.T
        chosen = np.argpartition(distance, near - 1, axis=1)[:, :near]
        parts.append(np.eye(len(arrays["frequency"]))[arrays["label"][chosen]].sum(axis=1))
    votes = np.concatenate(parts) if parts else np.zeros((0, len(arrays["frequency"])))
    return _smoothed(votes, near, arrays["frequency"])


def _fit_forest(x, label, classes, chosen, seed):
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(_TREES, min_samples_leaf=chosen["leaf"], random_state=seed).fit(x, label)
    trees = [each.tree_ for each in forest.estimators_]
    values = np.concatenate([tree.value[:, 0, :] for tree in trees])
    votes = np.zeros((len(values), classes), np.float32)
    votes[:, forest.classes_] = values / values.sum(axis=1, keepdims=True)
    sizes = np.array([tree.node_count for tree in trees])
    first = np.cumsum(sizes) - sizes

    def joined(name):
        children = [getattr(tree, name) for tree in trees]
        return np.concatenate([np.where(each < 0, -1, each + at) for each, at in zip(children, first, strict=True)])

    return {
        "first": first,
        "left": joined("children_left"),
        "right": joined("children_right"),
        "feature": np.concatenate([tree.feature for tree in trees]),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "votes": votes,
        "frequency": np.bincount(label, minlength=classes) / len(label),
    }


def _forest(arrays, x):
    total = np.zeros((len(x), arrays["votes"].shape[1]))
    # Trees compare in single precision.
    x, rows = x.astype(np.float32), np.arange(len(x))
    for first in arrays["first"]:
        node = np.full(len(x), first)
        inner = arrays["left"][node] >= 0
        while inner.any():
            at = node[inner]
            lower = x[rows[inner], arrays["feature"][at]] <= arrays["threshold"][at]
            node[inner] = np.where(lower, arrays["left"][at], arrays["right"][at])
            inner = arrays["left"][node] >= 0
        total += arrays["votes"][node]
    return _smoothed(total, len(arrays["first"]), arrays["frequency"])


def _smoothed(votes, total, frequency):
    share = (votes + _PRIOR_LABELS * frequency) / (total + _PRIOR_LABELS)
    return np.log(np.maximum(share, np.exp(_UNSEEN)))


HEADS = {"linear": (_fit_linear, _linear), "knn": (_fit_knn, _knn), "forest": (_fit_forest, _forest)}
"""Each kind: ``fit(x, label, classes, chosen, seed)`` gives arrays, ``logits(arrays, x)`` logits."""
