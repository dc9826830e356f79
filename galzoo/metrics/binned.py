"""Medians, scatter and their errors, overall and in bins of another quantity."""

import numpy as np

from galzoo.errors import InputError

# Signal-to-noise bins of the suites; the last is open.
SNR_EDGES = (5.0, 10.0, 30.0, 100.0, 300.0, np.inf)


# Numbers that a bootstrap holds in memory at a time.
BLOCK = 4_000_000


def scatter68(values, axis=None):
    """Return half the distance between the 16th and 84th percentile: the standard deviation of a Gaussian."""
    low, high = np.percentile(values, [15.865, 84.135], axis=axis)
    return 0.5 * (high - low)


def bootstrap(values, statistic=np.median, draws=200, seed=0, groups=None):
    """Return a statistic of the finite values and its standard error by resampling.

    Parameters
    ----------
    values : array, (n,)
        NaN and infinite values are left out.
    statistic : callable
        Such as `numpy.median`: takes an array and ``axis``.
    draws : int
        Number of resamplings.
    seed : int
    groups : array, (n,) or (k, n), optional
        Rows with the same number are drawn together, for example the sources of one scene, whose errors go together.
        Where there are several ways to group them, such as by scene and by parent galaxy, the error is the largest.

    Returns
    -------
    value, error : float
        NaN where there are too few rows or groups: none for the value, fewer than two for the error.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"values have shape {values.shape}; they must be (n,)")
    if groups is not None:
        groups = np.asarray(groups)
        groups = groups[None] if groups.ndim == 1 else groups
        if groups.ndim != 2 or groups.shape[1:] != values.shape:
            raise InputError(f"groups have shape {groups.shape[-1:]}; give one a value, {values.shape}")
    finite = np.isfinite(values)
    values = values[finite]
    if not len(values):
        return float("nan"), float("nan")
    value = float(statistic(values, axis=0))
    if groups is not None:
        return value, float(np.max([_grouped_error(values, one, statistic, draws, seed) for one in groups[:, finite]]))
    if len(values) < 2:
        return value, float("nan")
    random = np.random.default_rng(seed)
    step = max(1, BLOCK // len(values))
    sizes = [min(step, draws - start) for start in range(0, draws, step)]
    spread = [statistic(values[random.integers(len(values), size=(size, len(values)))], axis=1) for size in sizes]
    return value, float(np.std(np.concatenate(spread), ddof=1))


def _grouped_error(values, groups, statistic, draws, seed):
    """Return the standard error of a statistic by resampling whole groups."""
    order = np.argsort(values, kind="stable")
    values = values[order]
    numbers, group = np.unique(groups[order], return_inverse=True)
    if len(numbers) < 2:
        return float("nan")
    chosen = np.random.default_rng(seed).multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), draws)
    step = max(1, BLOCK // len(values))
    spread = []
    for start in range(0, draws, step):
        # How often each value is drawn: sorted values with weights are quicker than samples to be sorted.
        weight = chosen[start : start + step, group]
        weight = weight[weight.sum(axis=1) > 0]
        spread.append(_weighted(values, weight, statistic))
    return float(np.std(np.concatenate(spread), ddof=1))


def _weighted(values, weight, statistic):
    """Return a statistic of sorted values (n,), drawn as often as `weight` (draw, n) says, as (draw,)."""
    if statistic is np.mean:
        return weight @ values / weight.sum(axis=1)
    if statistic is np.median:
        return _weighted_quantile(values, weight, 0.5)
    if statistic is scatter68:
        low, high = (_weighted_quantile(values, weight, share) for share in (0.15865, 0.84135))
        return 0.5 * (high - low)
    return np.array([statistic(np.repeat(values, one), axis=0) for one in weight])


def _weighted_quantile(values, weight, share):
    """Return what `numpy.quantile` gives for sorted values that are drawn several times."""
    upto = np.cumsum(weight, axis=1)
    place = share * (upto[:, -1] - 1)
    below = np.floor(place)
    first, second = (values[np.argmax(upto > at[:, None], axis=1)] for at in (below, np.ceil(place)))
    return first + (place - below) * (second - first)


def bin_masks(by, edges=SNR_EDGES):
    """Yield ``(low, high, members)`` of each bin, low <= by < high.

    Raises
    ------
    InputError
        If the edges do not rise.
    """
    by = np.asarray(by, dtype=np.float64)
    edges = np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise InputError(f"bin edges are {edges.tolist()}; they must rise")
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        yield float(low), float(high), (by >= low) & (by < high)


def in_bins(values, by, edges=SNR_EDGES, statistics=None, draws=200, seed=0, groups=None):
    """Summarise values in bins of another quantity.

    Parameters
    ----------
    values : array, (n,)
        NaN rows are left out.
    by : array, (n,)
        What is binned, for example the signal-to-noise.
    edges : sequence of float
        Rising; a value belongs to the bin whose lower edge it reaches.
    statistics : dict of str to callable, optional
        By default the median ("median") and the 68 % scatter ("scatter").
    draws, seed : int
        Of the bootstrap.
    groups : array, (n,) or (k, n), optional
        What the bootstrap draws together.

    Returns
    -------
    list of dict
        A row a bin: ``low``, ``high`` (None if open), ``n`` (finite values), and for each statistic its value and
        ``<name>_error``.
    """
    values, by = np.asarray(values, dtype=np.float64), np.asarray(by, dtype=np.float64)
    if values.ndim != 1 or values.shape != by.shape:
        raise InputError(f"values have shape {values.shape} and the binned quantity {by.shape}; both must be (n,)")
    statistics = statistics or {"median": np.median, "scatter": scatter68}
    rows = []
    for low, high, members in bin_masks(by, edges):
        members = members & np.isfinite(values)
        chosen, together = values[members], None if groups is None else np.asarray(groups)[..., members]
        row = {"low": low, "high": high if np.isfinite(high) else None, "n": len(chosen)}
        for name, statistic in statistics.items():
            row[name], row[f"{name}_error"] = bootstrap(chosen, statistic, draws, seed, together)
        rows.append(row)
    return rows
