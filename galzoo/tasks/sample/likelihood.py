"""How probable held-out galaxies are under a prior, beside what simple densities give them."""

import numpy as np

from galzoo.data.batches import stamps_batch
from galzoo.errors import InputError
from galzoo.evaluate.held_out import evenly, parents_of
from galzoo.metrics.binned import bootstrap

# Additive smoothings of the code frequencies, of which the best on validation galaxies is taken; 1 is Laplace's.
SMOOTHINGS = (1.0, 0.3, 0.1, 0.03, 0.01)
# Levels of an 8-bit picture, and their spacing where they run from -1 to 1.
LEVELS, STEP = 256, 2 / 255
# Held-out galaxies that conditions are shuffled among, for time.
SHUFFLED = 300


def known_conditions(model, stamps):
    """Return the conditions of stamps as a dict of arrays, NaN where unknown or of a class that the model lacks.

    Raises
    ------
    InputError
        If the catalogue lacks a column.
    """
    known = {}
    for name in model.columns:
        if name not in stamps.catalogue.colnames:
            raise InputError(
                f"the stamps have no column {name!r}, which this prior is conditioned on; use its own data"
            )
        column = stamps.catalogue[name]
        values = np.asarray(getattr(column, "value", column), dtype=np.float64).copy()
        classes = model.condition_ranges[name]
        if isinstance(classes, list):
            values[~np.isin(values, classes)] = np.nan
        known[name] = values
    return known


def prior_batches(model, stamps, conditions, batch_size=64):
    """Yield the batches of stamps that a prior is called with, with rows of `conditions` (see `known_conditions`)."""
    for start in range(0, len(stamps), batch_size):
        rows = slice(start, start + batch_size)
        batch = stamps_batch(stamps, rows)
        if stamps.truth is not None:
            batch["truth"] = stamps.truth[rows]
        if model.columns:
            batch["condition"] = np.stack([conditions[name][rows] for name in model.columns], -1).astype(np.float32)
        yield batch


def prepared(model, stamps, batch_size=64):
    """Return what a prior is over: scaled values (n, y, x, v), weights (n, y, x) and noise levels (n, 1, 1, band)."""
    from keras import ops

    parts = []
    for batch in prior_batches(model, stamps, known_conditions(model, stamps), batch_size):
        values, _, weight, noise = model.prepare(batch)
        parts.append([ops.convert_to_numpy(part) for part in (values, weight, noise)])
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def held_out_likelihood(model, test, parts, samples=None, batch_size=64, seed=0):
    """Score the log-probability of a prior.

    Parameters
    ----------
    model : keras.Model
        A prior that gives ``log_prob`` and ``positions`` for a batch and has ``prepare``.
    test : Stamps
        Held-out.
    parts : dict of list
        What `prepared` returns for "test", "train" and "valid": simple densities are learnt from "train", and the
        smoothing of frequencies is chosen on "valid".
    samples : array, (n,), optional
        Log-probabilities of samples for the conditions of `test`.
    batch_size, seed : int

    Returns
    -------
    dict
        ``unit`` ("code" or "pixel"), ``n``, and means over galaxies of nats per position, each a dict of ``value,
        value_error``: ``model``; ``uniform`` (codes and pictures), ``positions`` (frequencies, or a Gaussian, of each
        position) and ``unconditional``, with ``difference`` to the model's, galaxy by galaxy, and its error;
        ``samples``, which is that of held-out galaxies for a calibrated prior. ``conditions``: column -> ``n, right,
        shuffled, difference, difference_error`` over galaxies for which it is known: what the right value of that
        column alone is worth against that of another galaxy.
    """
    conditions = known_conditions(model, test)
    values, weight, _ = parts["test"]
    train, train_weight, _ = parts["train"]
    own = _nats(model, test, conditions, values, batch_size)
    others = {}
    if model.space == "codes":
        size = model.codec.codebook_size
        smoothing = min(SMOOTHINGS, key=lambda amount: frequency_nats(parts["valid"][0], train, size, amount).mean())
        others["uniform"] = np.full(len(own), np.log(size))
        others["positions"] = frequency_nats(values, train, size, smoothing)
    else:
        levels = getattr(model, "kind", "") == "logistic"
        if levels:
            others["uniform"] = np.full(len(own), np.log(LEVELS) * values.shape[-1])
        others["positions"] = gaussian_nats(values, weight, train, train_weight, STEP if levels else None)
    if model.columns:
        unknown = {name: np.full(len(test), np.nan) for name in model.columns}
        others["unconditional"] = _nats(model, test, unknown, values, batch_size)
    drawn = {"seed": seed, "groups": parents_of(test)}
    result = {"unit": "code" if model.space == "codes" else "pixel", "n": len(own), "model": _mean(own, **drawn)}
    for name, nats in others.items():
        value, error = bootstrap(nats - own, np.mean, **drawn)
        result[name] = {**_mean(nats, **drawn), "difference": value, "difference_error": error}
    if model.space == "codes":
        result["positions"]["smoothing"] = smoothing
    if samples is not None and model.space == "codes":
        result["samples"] = _mean(-samples / values[0].size, seed)
    result["conditions"] = _shuffled(model, test, conditions, values, own, batch_size, seed)
    return result


def frequency_nats(codes, train, size, smoothing=1.0):
    """Return nats per code (n,) under the frequencies of each position of other code maps.

    Parameters
    ----------
    codes, train : int array, (n, y, x, 1) and (m, y, x, 1)
    size : int
        Of the codebook.
    smoothing : float
        Added to every count; 1 is Laplace's rule of succession.
    """
    codes, train = (maps.reshape(len(maps), -1) for maps in (codes, train))
    place = np.arange(train.shape[1])
    counts = np.zeros((len(place), size), np.int32)
    np.add.at(counts, (np.broadcast_to(place, train.shape), train), 1)
    log_prob = np.log(counts + smoothing) - np.log(len(train) + smoothing * size)
    return -log_prob[place, codes].mean(axis=1)


def gaussian_nats(values, weight, train, train_weight, step=None):
    """Return nats per position (n,) under one Gaussian for each position and channel of other maps.

    Parameters
    ----------
    values, train : array, (n, y, x, v) and (m, y, x, v)
    weight, train_weight : array, (n, y, x) and (m, y, x)
        0 where a value is bad.
    step : float, optional
        Spacing of the levels, where they are discrete: the result is then of their probability, not a density.
    """
    from scipy.special import ndtr

    total = np.maximum(train_weight.sum(axis=0), 1.0)[..., None]
    mean = ((train_weight[..., None] * train).sum(axis=0) / total).astype(np.float32)
    variance = (train_weight[..., None] * (train - mean) ** 2).sum(axis=0) / total
    sigma = np.sqrt(np.maximum(variance, 1e-6))
    z = (values - mean) / sigma
    if step is None:
        log_prob = -0.5 * z**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    else:
        # The first and the last level hold the tails.
        low = np.where(values < -1 + 0.5 * step, -np.inf, z - 0.5 * step / sigma)
        high = np.where(values > 1 - 0.5 * step, np.inf, z + 0.5 * step / sigma)
        # Far up the tail the distribution function is 1 to the last digit; its mirror image is not.
        low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
        log_prob = np.log(np.maximum(ndtr(high.astype(np.float64)) - ndtr(low.astype(np.float64)), 1e-300))
    return -(weight * log_prob.sum(axis=-1)).sum(axis=(1, 2)) / np.maximum(weight.sum(axis=(1, 2)), 1.0)


def _nats(model, stamps, conditions, values, batch_size):
    """Return nats per position, (n,); codes are known already."""
    from keras import ops

    if model.space == "codes":
        return -model.log_prob(values[..., 0], conditions).astype(np.float64) / values[0].size
    parts = []
    for batch in prior_batches(model, stamps, conditions, batch_size):
        outputs = {key: ops.convert_to_numpy(value).astype(np.float64) for key, value in model(batch).items()}
        parts.append(-outputs["log_prob"] / np.maximum(outputs["positions"], 1.0))
    return np.concatenate(parts)


def _shuffled(model, test, conditions, values, own, batch_size, seed):
    """Return what the right value of each condition is worth."""
    random = np.random.default_rng(seed)
    result = {}
    for name, column in conditions.items():
        rows = np.flatnonzero(np.isfinite(column))
        if len(rows) < 2:
            continue
        rows = evenly(rows, SHUFFLED)
        given = {key: part[rows] for key, part in conditions.items()}
        # Passed on round a ring in random order, so that no galaxy keeps its own value but by chance of equal ones.
        order = random.permutation(len(rows))
        given[name] = np.empty(len(rows))
        given[name][order] = column[rows][np.roll(order, 1)]
        wrong = _nats(model, test[rows], given, values[rows], batch_size)
        value, error = bootstrap(wrong - own[rows], np.mean, seed=seed, groups=parents_of(test[rows]))
        result[name] = {
            "n": len(rows),
            "right": float(own[rows].mean()),
            "shuffled": float(wrong.mean()),
            "difference": value,
            "difference_error": error,
        }
    return result


def _mean(values, seed, groups=None):
    value, error = bootstrap(values, np.mean, seed=seed, groups=groups)
    return {"value": value, "value_error": error}
