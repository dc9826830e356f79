"""The likelihood of a catalogue: a count, and a mixture over cells for each star."""

import numpy as np
from keras import ops

from galzoo.errors import InputError

# Variance of the count of a field whose cells are all sure.
_LEAST_VARIANCE = 0.1
# Percentage of the entries of padded lists that stars fill in most batches.
_PACKED = 35
_LOG_2_PI = float(np.log(2 * np.pi))


def catalogue_nll(cells, truth, reach):
    """Return the negative log likelihood of catalogues, its two parts a field.

    Parameters
    ----------
    cells : dict of tensors
        ``logit`` (n, y, x, cell), of the probability that the cell holds a star; ``position`` (n, y, x, cell, 2) and
        ``log_position_error``; ``scaled_flux`` (n, y, x, cell, band) and ``log_flux_error``; ``unit`` (n, y, x, band),
        the unit of the arcsinh; ``present`` (n, band), 1 where a band is there; and where the model says it
        ``log_spread`` (n,), log of the standard deviation of what all stars of a field have in common, as a share, and
        ``star_logit`` (n, y, x, cell), of the probability that what the cell holds is a star and no galaxy.
    truth : dict of tensors
        ``positions`` (n, star, 2), ``n_sources`` (n,), ``flux`` (n, star, band), and with ``star_logit``
        ``source_class`` (n, star), 1 of stars.
    reach : int
        Cells of pixels no further than so many from the star's pixel, along x and y, may hold it.

    Returns
    -------
    count, stars : tensors, (n,)
        ``-log p(N)``, a Gaussian of mean ``sum p`` and variance ``sum p (1 - p)``, and once more with the common
        spread, which alone learns from it; and the sum over stars of ``-log sum_k (p_k / sum p) N(star | k)``, less the
        constant ``log(2 pi) / 2`` of each place and flux.

    References
    ----------
    Speiser et al. 2021 (DECODE), Nature Methods 18, 1082, equations 3 to 6.
    """
    logit = cells["logit"]
    positions, flux = ops.cast(truth["positions"], "float32"), ops.cast(truth["flux"], "float32")
    most = positions.shape[1]
    there = ops.cast(np.arange(most, dtype="int32") < ops.cast(truth["n_sources"], "int32")[:, None], "float32")
    probability = ops.sigmoid(logit)
    mean = ops.sum(probability, axis=(1, 2, 3))
    variance = ops.sum(probability * (1 - probability), axis=(1, 2, 3)) + _LEAST_VARIANCE
    number = ops.sum(there, axis=1)
    count = 0.5 * (ops.square(number - mean) / variance + ops.log(variance) + _LOG_2_PI)
    if "log_spread" in cells:
        # By itself: as a part of the variance it would excuse numbers that are wrong by much.
        found, own = ops.stop_gradient(mean), ops.stop_gradient(variance)
        whole = own + ops.exp(2 * cells["log_spread"]) * ops.square(found)
        count = count + 0.5 * (ops.square(number - found) / whole + ops.log(whole) + _LOG_2_PI)

    fields = ops.shape(logit)[0]
    every = fields * most
    field = ops.reshape(ops.broadcast_to(ops.arange(fields, dtype="int32")[:, None], (fields, most)), (-1,))
    if "star_logit" in cells and truth.get("source_class") is None:
        raise InputError("the batch has no 'source_class'; a starnet that tells galaxies from stars learns from it")
    kind = ops.cast(truth["source_class"], "float32") if "star_logit" in cells else there
    there, place, flux, kind = (ops.reshape(v, (-1, *v.shape[2:])) for v in (there, positions, flux, kind))

    def score(index):
        rows_of = (ops.take(v, index, axis=0) for v in (there, field, place, flux, kind))
        return _score(cells, *rows_of, reach, every // most)

    # Most fields leave most entries empty: where that is so, only the others are looked at.
    packed = every * _PACKED // 100
    few = ops.sum(there) <= ops.cast(packed, "float32")
    stars = ops.cond(few, lambda: score(ops.top_k(there, packed)[1]), lambda: score(ops.arange(every, dtype="int32")))
    return count, number * ops.log(mean + 1e-6) - stars


def _score(cells, there, field, place, flux, kind, reach, fields):
    """Return the sum over each field's stars of the log of the mixture, whose weights are the probabilities, (n,).

    `there`, `field`, `place`, `flux` and `kind` have a row a star: 1 or 0, the number of its field, x and y, each band,
    and 1, or 0 of a galaxy.
    """
    rows, columns, slots = cells["logit"].shape[1:]
    bands = flux.shape[-1]
    pixel = ops.cast(ops.round(place), "int32")
    offset = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="xy"), axis=-1).reshape(-1, 2)
    offset = offset.astype("int32")
    x, y = pixel[:, :1] + offset[:, 0], pixel[:, 1:] + offset[:, 1]
    inside = ops.logical_and(ops.logical_and(x >= 0, x < columns), ops.logical_and(y >= 0, y < rows))
    first = field * (rows * columns)
    index = first[:, None] + ops.clip(y, 0, rows - 1) * columns + ops.clip(x, 0, columns - 1)
    parts = [ops.log_sigmoid(cells["logit"])[..., None]]
    parts += [cells[key] for key in ("position", "log_position_error", "scaled_flux", "log_flux_error")]
    if "star_logit" in cells:
        parts.append(cells["star_logit"][..., None])
    together = ops.concatenate(parts, axis=-1)
    width = together.shape[-1]
    taken = ops.take(ops.reshape(together, (-1, slots * width)), ops.reshape(index, (-1,)), axis=0)
    taken = ops.reshape(taken, (-1, len(offset) * slots, width))
    edges = [1, 3, 5, 5 + bands, 5 + 2 * bands]
    log_p, middle, log_error, scaled, log_scaled, star = ops.split(taken, edges, axis=-1)

    # The star's own pixel says the unit for all cells about it.
    own = first + ops.clip(pixel[:, 1], 0, rows - 1) * columns + ops.clip(pixel[:, 0], 0, columns - 1)
    unit = ops.take(ops.reshape(cells["unit"], (-1, bands)), own, axis=0)
    target = ops.arcsinh(flux / unit)[:, None]
    score = log_p[..., 0]
    score = score - ops.sum(0.5 * ops.square((place[:, None] - middle) * ops.exp(-log_error)) + log_error, axis=-1)
    each = 0.5 * ops.square((target - scaled) * ops.exp(-log_scaled)) + log_scaled
    score = score - ops.sum(each * ops.take(cells["present"], field, axis=0)[:, None], axis=-1)
    if "star_logit" in cells:
        score = score + ops.log_sigmoid(star[..., 0] * (2 * kind[:, None] - 1))
    score = ops.where(ops.repeat(inside, slots, axis=-1), score, -1e4)
    return ops.segment_sum(there * ops.logsumexp(score, axis=-1), field, fields)
