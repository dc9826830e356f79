"""The likelihood of a catalogue: a count, and a mixture over cells for each star."""

import numpy as np
from keras import ops

# Variance of the count of a field whose cells are all sure.
_LEAST_VARIANCE = 0.1
_LOG_2_PI = float(np.log(2 * np.pi))


def catalogue_nll(cells, truth, reach):
    """Return the negative log likelihood of catalogues, its two parts a field.

    Parameters
    ----------
    cells : dict of tensors
        ``logit`` (n, y, x, cell), of the probability that the cell holds a star; ``position`` (n, y, x, cell, 2) and
        ``log_position_error``; ``scaled_flux`` (n, y, x, cell, band) and ``log_flux_error``; ``unit`` (n, y, x, band),
        the unit of the arcsinh; ``present`` (n, band), 1 where a band is there.
    truth : dict of tensors
        ``positions`` (n, star, 2), ``n_sources`` (n,), ``flux`` (n, star, band).
    reach : int
        Cells of pixels no further than so many from the star's pixel, along x and y, may hold it.

    Returns
    -------
    count, stars : tensors, (n,)
        ``-log p(N)``, a Gaussian of mean ``sum p`` and variance ``sum p (1 - p)``; and the sum over stars of
        ``-log sum_k (p_k / sum p) N(star | k)``.

    References
    ----------
    Speiser et al. 2021 (DECODE), Nature Methods 18, 1082, equations 3 to 6.
    """
    logit = cells["logit"]
    rows, columns, slots = logit.shape[1:]
    positions, flux = ops.cast(truth["positions"], "float32"), ops.cast(truth["flux"], "float32")
    most = positions.shape[1]
    there = ops.cast(np.arange(most, dtype="int32") < ops.cast(truth["n_sources"], "int32")[:, None], "float32")
    probability = ops.sigmoid(logit)
    mean = ops.sum(probability, axis=(1, 2, 3))
    variance = ops.sum(probability * (1 - probability), axis=(1, 2, 3)) + _LEAST_VARIANCE
    number = ops.sum(there, axis=1)
    count = 0.5 * (ops.square(number - mean) / variance + ops.log(variance) + _LOG_2_PI)

    pixel = ops.cast(ops.round(positions), "int32")
    offset = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="xy"), axis=-1).reshape(-1, 2)
    x = pixel[..., 0, None] + offset[:, 0].astype("int32")
    y = pixel[..., 1, None] + offset[:, 1].astype("int32")
    inside = ops.logical_and(ops.logical_and(x >= 0, x < columns), ops.logical_and(y >= 0, y < rows))
    x, y = ops.clip(x, 0, columns - 1), ops.clip(y, 0, rows - 1)
    first = ops.reshape(ops.arange(ops.shape(logit)[0], dtype="int32"), (-1, 1, 1)) * (rows * columns)
    index = ops.reshape(first + y * columns + x, (-1,))

    bands = flux.shape[-1]
    parts = [ops.log_sigmoid(logit)[..., None]]
    parts += [cells[key] for key in ("position", "log_position_error", "scaled_flux", "log_flux_error")]
    together = ops.concatenate(parts, axis=-1)
    width = together.shape[-1]
    taken = ops.take(ops.reshape(together, (-1, slots * width)), index, axis=0)
    taken = ops.reshape(taken, (-1, most, len(offset) * slots, width))
    log_p, place, log_place, scaled, log_scaled = ops.split(taken, [1, 3, 5, 5 + bands], axis=-1)

    # The star's own pixel says the unit for all cells about it.
    own = ops.clip(pixel[..., 1], 0, rows - 1) * columns + ops.clip(pixel[..., 0], 0, columns - 1)
    own = ops.reshape(first[:, :, 0] + own, (-1,))
    unit = ops.reshape(ops.take(ops.reshape(cells["unit"], (-1, bands)), own, axis=0), (-1, most, bands))
    target = ops.arcsinh(flux / unit)[:, :, None]
    score = log_p[..., 0]
    score = score - ops.sum(0.5 * ops.square((positions[:, :, None] - place) * ops.exp(-log_place)) + log_place, axis=-1)
    each = 0.5 * ops.square((target - scaled) * ops.exp(-log_scaled)) + log_scaled
    score = score - ops.sum(each * cells["present"][:, None, None], axis=-1)
    score = ops.where(ops.repeat(inside, slots, axis=-1), score, -1e4)
    stars = -ops.sum(there * ops.logsumexp(score, axis=-1), axis=1) + number * ops.log(mean + 1e-6)
    return count, stars
