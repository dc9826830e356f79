"""Numbers of stars by crowding, and errors, of a trained StarNet corrected by what `calibrate` has fitted."""

import numpy as np

from galzoo.models.logistic import expit
from galzoo.models.starnet.lit import NO_STAR

# Side of the square in which the crowding about a pixel is counted.
_WINDOW = 17
# Crowding, in stars a pixel, at which the shift of the logits is fitted; straight lines in its logarithm between.
KNOTS = (0.01, 0.03, 0.1, 0.3)
AS_SAID = (0.0, 1.0, 0.0)
"""The spread as the model says it, see `common_spread`."""


def apply(cells, calibration):
    """Return what the model says of the cells of images, with numbers of stars corrected.

    Parameters
    ----------
    cells : dict of arrays
        As the model returns them.
    calibration : dict, optional
        Of `galzoo.models.starnet.calibrate.fit`; nothing is changed without.

    Returns
    -------
    dict of arrays
        With ``share`` (n, y, x, knot), of the knots of crowding in each pixel, and where the model says ``log_spread``
        the calibration's ``spread`` (n, 3).
    """
    if not calibration:
        return cells
    logit = cells["logit"].astype(np.float64)
    found = dict(cells)
    found["share"] = knot_shares(logit)
    found["logit"] = logit + (found["share"] @ np.asarray(calibration["shift"]))[..., None]
    if "log_spread" in cells and "spread" in calibration:
        found["spread"] = np.tile(np.asarray(calibration["spread"], float), (len(logit), 1))
    return found


def common_spread(log_spread, mean, variance, spread=AS_SAID):
    """Return the standard deviation of what all stars of a field have in common, as a share of their number, (n,).

    Parameters
    ----------
    log_spread : array, (n,)
        Its logarithm as the model says it.
    mean, variance : array, (n,)
        Of the number of stars, by groups of cells.
    spread : array, (3,) or (n, 3)
        A number, and the factors of `log_spread` and of the logarithm of ``variance / mean``, of how many stars it is
        doubtful whether they are there.
    """
    doubt = np.log(np.maximum(variance, 1e-6) / np.maximum(mean, 1e-6))
    level, said, doubted = np.moveaxis(np.asarray(spread, float), -1, 0)
    return np.exp(np.clip(level + said * np.asarray(log_spread, np.float64) + doubted * doubt, -8, 1))


def knot_shares(logit):
    """Return the share of each knot in the shift of each pixel, (n, y, x, knot).

    Pixels of which nothing is known, as those of a block beyond the edge of the field, have no part in the crowding.
    """
    known = (logit > NO_STAR).any(axis=-1)
    crowding = np.where(known, expit(np.maximum(logit, NO_STAR)).sum(axis=-1), 0.0)
    known = known.astype(float)
    for axis in (1, 2):
        crowding, known = _running_mean(crowding, axis), _running_mean(known, axis)
    crowding = crowding / np.maximum(known, _WINDOW**-2.0)
    place = np.interp(np.log(np.maximum(crowding, 1e-6)), np.log(KNOTS), np.arange(len(KNOTS)))
    return np.maximum(1 - np.abs(place[..., None] - np.arange(len(KNOTS))), 0.0)


def _running_mean(values, axis):
    """Return the mean over `_WINDOW` pixels about each along an axis, fewer at the edges."""
    values = np.moveaxis(values, axis, -1)
    size, half = values.shape[-1], _WINDOW // 2
    total = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    first, last = np.maximum(np.arange(size) - half, 0), np.minimum(np.arange(size) + half + 1, size)
    return np.moveaxis((total[..., last] - total[..., first]) / (last - first), -1, axis)
