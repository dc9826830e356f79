"""What a latent space knows: which properties of a galaxy its place tells, and what each code stands for."""

import numpy as np
from astropy.table import QTable

from galzoo.errors import InputError
from galzoo.inference.stamp_features import cell_radius
from galzoo.metrics.calibration import resample
from galzoo.metrics.codebook import code_counts

# A code counts as used on the galaxy when it stands within so many cells of the centre.
NEAR = 3.0
# Neighbours, folds and resamplings of the scores; the fewest stamps to score, and the most, which bounds the time.
_NEIGHBOURS, _FOLDS, _BOOTSTRAP = 10, 5, 100
_FEWEST, _MOST = 30, 4000
_IDENTIFIER = 2**31
# Columns that are chosen for the pictures, and the rank correlation above which two say the same.
_SHOWN, _SAME = 3, 0.9


def code_usage(codes, columns, codebook_size, near=NEAR):
    """Say of each code where it stands and in which galaxies.

    Parameters
    ----------
    codes : int array, (n, y, x)
    columns : dict of str to array, (n,)
        Numbers (with a unit or without; NaN = unknown) or text, a value a stamp.
    codebook_size : int
        K.
    near : float
        Cells from the centre within which a code counts as standing on the galaxy.

    Returns
    -------
    QTable
        A row a code: ``code``; ``count`` and ``share`` of all cells; ``stamps`` that use it; ``radius``, the mean
        distance from the centre in cells; ``share_near``, of its uses those near the centre; ``stamps_near``; and of
        these stamps ``median_<column>`` of numbers or ``commonest_<column>`` of text. NaN (or "") where never used.

    Raises
    ------
    InputError
        If codes are no maps, lie outside the codebook, or a column has another length.
    """
    codes = np.asarray(codes)
    if codes.ndim != 3:
        raise InputError(f"codes have shape {codes.shape}; they must be (n, y, x)")
    n, size = len(codes), int(codebook_size)
    count = code_counts(codes, size)
    radius = np.broadcast_to(cell_radius(codes.shape[1:]), codes.shape)
    used, used_near = np.zeros((n, size), bool), np.zeros((n, size), bool)
    rows = np.broadcast_to(np.arange(n)[:, None, None], codes.shape)
    inside = radius < near
    used[rows, codes] = True
    used_near[rows[inside], codes[inside]] = True
    table = QTable({"code": np.arange(size), "count": count, "share": count / max(codes.size, 1)})
    table["stamps"] = used.sum(axis=0)
    table["radius"] = per_use(np.bincount(codes.ravel(), radius.ravel(), size), count)
    table["share_near"] = per_use(code_counts(codes[inside], size), count)
    table["stamps_near"] = used_near.sum(axis=0)
    for name, values in columns.items():
        if np.shape(values) != (n,):
            raise InputError(f"column {name!r} has shape {np.shape(values)} for {n} stamps; give one value a stamp")
        plain = np.asarray(getattr(values, "value", values))
        if plain.dtype.kind in "US":
            table[f"commonest_{name}"] = [_commonest(plain[chosen]) for chosen in used_near.T]
            continue
        median = np.array([_median(plain[chosen]) for chosen in used_near.T])
        unit = getattr(values, "unit", None)
        table[f"median_{name}"] = median if unit is None else median * unit
    table.meta["near_cells"] = near
    return table


def scores(described, xy, catalogue, seed=0, parents=None):
    """Measure what can be told of a galaxy from its place in the latent space.

    Each column is predicted from the stamps that are nearest in the features, stamps of its own fold left out. Positive
    columns that span more than a factor of 20 are predicted in log10; of text (and of integers with few values) the
    share of each category is, and its R2 is the Brier skill.

    Parameters
    ----------
    described : array, (n, feature)
    xy : array, (n, 2)
    catalogue : QTable
        A row a stamp. Left out are columns with more than one value a row, with fewer than 30 known values, without
        spread, identifiers, and text that names the stamps.
    seed : int
        Of the folds, of the bootstrap, and of the 4000 stamps that are scored where there are more.
    parents : int array, (n,), optional
        The galaxy of each stamp, where several are of one (`galzoo.evaluate.held_out.parents_of`): they share a fold,
        and the bootstrap draws galaxies.

    Returns
    -------
    list of dict
        Best first: ``column``, ``kind`` (number, log10 or category), ``n`` known values, ``r2`` from the features (1 =
        told exactly, 0 = no better than the mean) and its bootstrap error ``r2_error``, ``rank`` (Spearman correlation
        of prediction and value), ``r2_map`` from `xy` alone, and ``axis_1``, ``axis_2`` (Spearman correlation with the
        axes); None where there is no such number.
    """
    from galzoo.viz.columns import read_column

    rows = np.arange(len(xy))
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST, replace=False))
    found = []
    for name in catalogue.colnames:
        if np.ndim(catalogue[name]) != 1 or _identifies(catalogue[name]):
            continue
        column = read_column(catalogue[rows], name)
        known = np.isfinite(column.values)
        values = np.log10(column.values[known]) if column.log else column.values[known]
        distinct = len(np.unique(values))
        chosen = rows[known]
        group = np.arange(len(chosen)) if parents is None else np.asarray(parents)[chosen]
        if len(np.unique(group)) < _FEWEST or distinct < 2 or (column.categories and distinct > len(values) // 3):
            continue
        target = np.eye(len(column.categories))[values.astype(int)] if column.categories else values[:, None]
        predicted = _neighbours(described[chosen], target, group, seed)
        r2, error = _r2(target, predicted, group, seed)
        kind = "category" if column.categories else "log10" if column.log else "number"
        row = {"column": name, "kind": kind, "n": len(values), "r2": r2, "r2_error": error, "rank": None}
        row["r2_map"] = _r2(target, _neighbours(xy[chosen], target, group, seed), group, seed)[0]
        row |= {"axis_1": None, "axis_2": None}
        if not column.categories:
            row["rank"] = _spearman(predicted[:, 0], values)
            row |= {f"axis_{axis + 1}": _spearman(xy[chosen, axis], values) for axis in range(2)}
        found.append(row)
    return sorted(found, key=lambda row: -row["r2"])


def telling(known, catalogue):
    """Return the names of the three columns that are told best, none of which says the same as another.

    Parameters
    ----------
    known : list of dict
        See `scores`.
    catalogue : QTable
    """
    from galzoo.viz.columns import read_column

    chosen = []
    for row in known:
        values = read_column(catalogue, row["column"]).values
        pairs = [(values, read_column(catalogue, name).values) for name in chosen]
        shared = [np.isfinite(one) & np.isfinite(other) for one, other in pairs]
        ranks = [_spearman(*(part[both] for part in pair)) or 0.0 for pair, both in zip(pairs, shared, strict=True)]
        if row["r2"] > 0 and all(abs(rank) < _SAME for rank in ranks):
            chosen.append(row["column"])
        if len(chosen) == _SHOWN:
            break
    return chosen


def per_use(total, count):
    """Return total / count, NaN where the count is 0."""
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _identifies(column):
    """Say whether a column holds integers too large to be counts of anything."""
    plain = np.asarray(getattr(column, "value", column))
    return plain.dtype.kind in "iu" and plain.size > 0 and plain.max() >= _IDENTIFIER


def _median(values):
    values = values[np.isfinite(values)]
    return np.median(values) if len(values) else np.nan


def _commonest(names):
    found, count = np.unique(names[names != ""], return_counts=True)
    return str(found[np.argmax(count)]) if len(found) else ""


def _neighbours(described, target, group, seed):
    """Predict `target` (n, value) of each stamp from its neighbours in the other folds; a group is in one fold."""
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.neighbors import KNeighborsRegressor

    number = np.unique(group, return_inverse=True)[1]
    folds = PredefinedSplit(np.random.default_rng(seed).permutation(number.max() + 1)[number] % _FOLDS)
    regressor = KNeighborsRegressor(_NEIGHBOURS, weights="distance")
    return cross_val_predict(regressor, described, target, cv=folds).reshape(target.shape)


def _r2(target, predicted, group, seed):
    """Return the share of variance that is explained and its bootstrap error."""

    def share(wrong, true):
        spread = np.sum((true - true.mean(axis=0)) ** 2)
        return 1.0 - wrong.sum() / spread if spread else np.nan

    wrong = np.sum((target - predicted) ** 2, axis=1)
    return resample(share, wrong, target, draws=_BOOTSTRAP, seed=seed, groups=group)


def _spearman(one, other):
    from scipy.stats import spearmanr

    if len(one) < 3 or not np.ptp(one) > 0 or not np.ptp(other) > 0:
        return None
    return float(spearmanr(one, other).statistic)
