"""Whether probabilities and intervals are what they say: scores, reliability, coverage, ranks, temperature.

A *probability* is (n, class) and sums to 1, a *label* the true class as an integer (n,). For one event, such as
"blended" or "exists", give its probability (n,) as `confidence` and whether it came true as `correct`.
"""

from statistics import NormalDist

import numpy as np

from galzoo.errors import InputError
from galzoo.metrics.binned import bin_masks
from galzoo.metrics.detection import share

# Below this a probability counts as this: one impossible event would else make a mean infinite.
SMALLEST = 1e-12


def _probability(probability, label):
    probability, label = np.asarray(probability, dtype=np.float64), np.asarray(label)
    if probability.ndim != 2 or label.shape != probability.shape[:1]:
        raise InputError(f"probability has shape {probability.shape} and label {label.shape}; give (n, class) and (n,)")
    if not np.allclose(probability.sum(axis=1), 1, atol=1e-3) or (probability < 0).any():
        raise InputError("probabilities must be at least 0 and sum to 1 in each row; give the softmax of logits")
    label = label.astype(np.int64)
    if len(label) and (label.min() < 0 or label.max() >= probability.shape[1]):
        raise InputError(f"labels go from {label.min()} to {label.max()}; classes are 0 to {probability.shape[1] - 1}")
    return probability, label


def _event(confidence, correct):
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise InputError(f"confidence has shape {confidence.shape} and correct {correct.shape}; both must be (n,)")
    if not ((confidence >= -1e-6) & (confidence <= 1 + 1e-6)).all():
        raise InputError("confidence must lie in 0 to 1 and be finite; give probabilities, not scores")
    return confidence, correct


def nll(probability, label):
    """Return the negative log-likelihood of each row's true class, (n,), in nats."""
    probability, label = _probability(probability, label)
    return -np.log(np.maximum(probability[np.arange(len(label)), label], SMALLEST))


def brier(probability, label):
    """Return the Brier score of each row, (n,): the squared distance of the probabilities from the truth, 0 to 2."""
    probability, label = _probability(probability, label)
    return np.sum((probability - np.eye(probability.shape[1])[label]) ** 2, axis=1)


def base_rate(label, classes):
    """Return the probability (n, class) of one who knows only how frequent each class is, 1 added to each count."""
    counts = np.bincount(np.asarray(label, dtype=np.int64), minlength=classes) + 1.0
    return np.broadcast_to(counts / counts.sum(), (len(label), classes))


def top_class(probability, label):
    """Return the probability of each row's most probable class, and whether it is the true one, (n,) each."""
    probability, label = _probability(probability, label)
    return probability.max(axis=1), probability.argmax(axis=1) == label


def _bin_numbers(confidence, bins, equal):
    """Return the bin of each row: of equal `width` in 0 to 1, or of equal `mass`, ties together."""
    if equal == "width":
        return np.minimum((confidence * bins).astype(np.int64), bins - 1)
    if equal != "mass":
        raise InputError(f"bins of equal {equal!r} are unknown; say 'mass' or 'width'")
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, confidence, side="right")


def expected_calibration_error(confidence, correct, bins=15, equal="mass"):
    """Return the mean distance between confidence and frequency over bins, weighted by rows (Naeini et al. 2015).

    Parameters
    ----------
    confidence, correct : array, (n,)
        Of many classes: what `top_class` gives (Guo et al. 2017).
    bins : int
    equal : {"mass", "width"}
        Bins with as many rows each, or as wide each.

    Returns
    -------
    float
        NaN without rows.

    Notes
    -----
    Scatter in the bins adds to it, so a perfect forecast has more than 0; `calibrated_error` says how much.
    """
    confidence, correct = _event(confidence, correct)
    if not len(confidence):
        return float("nan")
    number = _bin_numbers(confidence, bins, equal)
    return float(np.abs(np.bincount(number, confidence - correct, minlength=bins)).sum() / len(confidence))


def calibrated_error(confidence, bins=15, equal="mass", draws=200, seed=0):
    """Return the mean `expected_calibration_error` that these confidences would have if they were all true."""
    confidence = np.asarray(confidence, dtype=np.float64)
    random = np.random.default_rng(seed)
    events = (random.random(len(confidence)) < confidence for _ in range(draws))
    return float(np.mean([expected_calibration_error(confidence, event, bins, equal) for event in events]))


def resample(statistic, *columns, draws=200, seed=0, groups=None):
    """Return a statistic of several columns and its standard error by the bootstrap.

    Parameters
    ----------
    statistic : callable
        Takes the columns, arrays of n rows each, and gives a number.
    columns : array, (n, ...)
    draws, seed : int
    groups : array, (n,), optional
        Rows with the same value are drawn together, such as the stamps of one parent galaxy.

    Returns
    -------
    value, error : float
        The error is NaN with fewer than two rows or groups.
    """
    columns = [np.asarray(column) for column in columns]
    n = len(columns[0])
    if any(len(column) != n for column in columns) or (groups is not None and np.shape(groups) != (n,)):
        raise InputError(f"columns have {[len(column) for column in columns]} rows; columns and groups need one each")
    value = float(statistic(*columns))
    member = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(member.max()) + 1 if n else 0
    if units < 2:
        return value, float("nan")
    random, spread = np.random.default_rng(seed), []
    for _ in range(draws):
        times = np.bincount(random.integers(units, size=units), minlength=units)
        rows = np.repeat(np.arange(n), times[member])
        spread.append(statistic(*(column[rows] for column in columns)))
    return value, float(np.nanstd(spread, ddof=1))


def scores(probability, label, groups=None, draws=200, seed=0):
    """Return NLL, Brier score, accuracy and expected calibration error, each with its bootstrap error.

    Parameters
    ----------
    probability : array, (n, class)
    label : array of int, (n,)
    groups : array, (n,), optional
        What the bootstrap draws together.
    draws, seed : int

    Returns
    -------
    dict
        ``nll``, ``brier``, ``accuracy``, ``ece``, and ``<name>_error`` of each.
    """
    confidence, correct = top_class(probability, label)
    columns = {
        "nll": (np.mean, nll(probability, label)),
        "brier": (np.mean, brier(probability, label)),
        "ece": (expected_calibration_error, confidence, correct),
    }
    result = {}
    for name, (statistic, *values) in columns.items():
        result[name], result[f"{name}_error"] = resample(statistic, *values, draws=draws, seed=seed, groups=groups)
    result["accuracy"], result["accuracy_error"] = share(correct, groups, draws, seed)
    return result


def reliability(confidence, correct, bins=10, equal="mass", groups=None, draws=200, seed=0):
    """Compare confidence with frequency in bins of confidence.

    Returns
    -------
    list of dict
        A row a bin that is not empty: ``n``, ``low`` and ``high`` (least and greatest confidence), ``confidence``
        (mean), ``frequency`` and ``frequency_error`` (see `galzoo.metrics.detection.share`).
    """
    confidence, correct = _event(confidence, correct)
    if not len(confidence):
        return []
    number = _bin_numbers(confidence, bins, equal)
    rows = []
    for chosen in (number == one for one in np.unique(number)):
        together = None if groups is None else np.asarray(groups)[chosen]
        frequency, error = share(correct[chosen], together, draws, seed)
        inside = confidence[chosen]
        row = {"n": len(inside), "low": float(inside.min()), "high": float(inside.max())}
        rows.append(row | {"confidence": float(inside.mean()), "frequency": frequency, "frequency_error": error})
    return rows


def reliability_by(confidence, correct, by, edges, bins=5, groups=None, draws=200, seed=0):
    """Compare confidence with frequency in bins of another quantity, such as magnitude or separation.

    Parameters
    ----------
    confidence, correct, by : array, (n,)
        Rows where `by` is NaN are in no bin.
    edges : sequence of float
        Rising.
    bins : int
        Of confidence, for the expected calibration error in each bin.
    groups : array, (n,), optional
    draws, seed : int

    Returns
    -------
    list of dict
        A row a bin: ``low``, ``high`` (None if open), ``n``, ``confidence``, ``frequency``, ``excess`` (confidence less
        frequency), ``excess_error``, ``ece``, ``ece_error``; NaN where it is empty.
    """
    confidence, correct = _event(confidence, correct)
    if np.shape(by) != confidence.shape:
        raise InputError(f"the binned quantity has shape {np.shape(by)}; it must be {confidence.shape}")
    rows = []
    for low, high, chosen in bin_masks(by, edges):
        row = {"low": low, "high": high if np.isfinite(high) else None, "n": int(chosen.sum())}
        if not row["n"]:
            names = ("confidence", "frequency", "excess", "excess_error", "ece", "ece_error")
            rows.append(row | dict.fromkeys(names, float("nan")))
            continue
        options = {"draws": draws, "seed": seed, "groups": None if groups is None else np.asarray(groups)[chosen]}
        inside, true = confidence[chosen], correct[chosen]
        row |= {"confidence": float(inside.mean()), "frequency": float(true.mean())}
        row["excess"], row["excess_error"] = resample(np.mean, inside - true, **options)

        def error(one, other):
            return expected_calibration_error(one, other, bins)

        row["ece"], row["ece_error"] = resample(error, inside, true, **options)
        rows.append(row)
    return rows


def coverage(truth, low, high, groups=None, draws=200, seed=0):
    """Return the share of truths inside their intervals, and its error; rows with NaN are left out."""
    truth, low, high = (np.asarray(one, dtype=np.float64).ravel() for one in np.broadcast_arrays(truth, low, high))
    finite = np.isfinite(truth) & ~np.isnan(low) & ~np.isnan(high)
    if not finite.any():
        return float("nan"), float("nan")
    inside = ((truth >= low) & (truth <= high))[finite]
    if groups is not None:
        groups = np.asarray(groups).ravel()
        groups = groups[finite]
    return share(inside, groups, draws, seed)


def gaussian_coverage(truth, value, error, levels=(0.68, 0.95), groups=None, draws=200, seed=0):
    """Compare Gaussian errors with what they should cover.

    Parameters
    ----------
    truth, value, error : array
        Of one shape; rows with NaN are left out.
    levels : sequence of float
        Shares that central intervals should hold.
    groups : array, optional
        Of the shape of `truth`: what the bootstrap draws together.

    Returns
    -------
    list of dict
        A row a level: ``level``, ``n``, ``coverage``, ``coverage_error``.
    """
    truth, value, error = (np.asarray(one, dtype=np.float64) for one in (truth, value, error))
    rows = []
    for level in levels:
        half = NormalDist().inv_cdf(0.5 + level / 2) * error
        share, spread = coverage(truth, value - half, value + half, groups, draws, seed)
        n = int(np.isfinite(truth + value + error).sum())
        rows.append({"level": float(level), "n": n, "coverage": share, "coverage_error": spread})
    return rows


def ranks(truth, samples, seed=0):
    """Return the rank of each truth among posterior samples, for simulation-based calibration (Talts et al. 2018).

    Parameters
    ----------
    truth : array, (n, ...)
    samples : array, (draw, n, ...)
        Independent draws of each row's posterior.
    seed : int
        Ties are put in random order.

    Returns
    -------
    array of int, (n, ...)
        0 to the number of draws; evenly distributed if truths come from the prior and the posterior is right.
    """
    truth, samples = np.asarray(truth), np.asarray(samples)
    if samples.shape[1:] != truth.shape:
        raise InputError(f"samples have shape {samples.shape}; for truth {truth.shape} give (draw, ...) of that shape")
    ties = np.sum(samples == truth, axis=0)
    return np.sum(samples < truth, axis=0) + np.random.default_rng(seed).integers(0, ties + 1)


def uniformity(rank, draws, bins=20, simulations=5000, seed=0):
    """Test whether ranks are evenly distributed.

    Parameters
    ----------
    rank : array of int
        From `ranks`.
    draws : int
        Number of posterior samples, so ranks go from 0 to `draws`.
    bins : int
        At most draws + 1.
    simulations, seed : int
        Of the distribution of chi-square under even ranks.

    Returns
    -------
    dict
        ``chi2`` per degree of freedom, ``p`` (its probability under even ranks), ``bias`` (mean of rank / draws less
        1/2), ``spread`` (standard deviation of the ranks over that of even ones: above 1 where errors are too
        small).
    """
    rank = np.asarray(rank).ravel()
    bins = min(bins, draws + 1)
    if not len(rank) or rank.min() < 0 or rank.max() > draws:
        raise InputError(f"ranks must be given and lie in 0 to {draws}, the number of draws")
    bin_of = np.arange(draws + 1) * bins // (draws + 1)
    share = np.bincount(bin_of, minlength=bins) / (draws + 1)
    expected = share * len(rank)
    observed = np.bincount(bin_of[rank], minlength=bins)
    chi2 = np.sum((observed - expected) ** 2 / expected)
    even = np.random.default_rng(seed).multinomial(len(rank), share, size=simulations)
    p = (1 + np.sum(np.sum((even - expected) ** 2 / expected, axis=1) >= chi2)) / (1 + simulations)
    even_spread = np.sqrt((draws + 2) / (12 * draws))
    bias, spread = np.mean(rank / draws) - 0.5, np.std(rank / draws) / even_spread
    return {"chi2": float(chi2 / max(bins - 1, 1)), "p": float(p), "bias": float(bias), "spread": float(spread)}


def softmax(logits, temperature=1.0):
    """Return the probabilities of logits (..., class) at a temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return scaled / scaled.sum(axis=-1, keepdims=True)


def fit_temperature(logits, label, limits=(0.1, 10.0), steps=40):
    """Return the temperature with the least negative log-likelihood (Guo et al. 2017), by golden section in its log.

    Parameters
    ----------
    logits : array, (n, class) or (pass, n, class)
        Of several random passes the mean of the probabilities is scored.
    label : array of int, (n,)
    limits : pair of float
        Where it is sought.
    steps : int
    """
    logits = np.asarray(logits, dtype=np.float64)
    logits = logits[None] if logits.ndim == 2 else logits

    def score(log_temperature):
        return np.mean(nll(softmax(logits, np.exp(log_temperature)).mean(axis=0), label))

    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(limits[0]), np.log(limits[1])
    inner = [high - ratio * (high - low), low + ratio * (high - low)]
    values = [score(one) for one in inner]
    for _ in range(steps):
        if values[0] < values[1]:
            high, inner = inner[1], [inner[1] - ratio * (inner[1] - low), inner[0]]
            values = [score(inner[0]), values[0]]
        else:
            low, inner = inner[0], [inner[1], inner[0] + ratio * (high - inner[0])]
            values = [values[1], score(inner[1])]
    return float(np.exp((low + high) / 2))


def entropy(probability):
    """Return the entropy of probabilities (..., class), in nats."""
    probability = np.asarray(probability, dtype=np.float64)
    return -np.sum(probability * np.log(np.maximum(probability, SMALLEST)), axis=-1)


def split_entropy(passes):
    """Split the entropy of a mean over random passes into noise and doubt about the model (Houlsby et al. 2011).

    Parameters
    ----------
    passes : array, (pass, n, class)
        Probabilities of each pass.

    Returns
    -------
    total, aleatoric, mutual_information : array, (n,)
        Nats; the mean entropy of single passes is the aleatoric part, and what is left the mutual information.
    """
    passes = np.asarray(passes, dtype=np.float64)
    total, aleatoric = entropy(passes.mean(axis=0)), entropy(passes).mean(axis=0)
    return total, aleatoric, np.maximum(total - aleatoric, 0)
