"""What a trained StarNet is corrected by: numbers of stars by crowding, and errors, from fields that it has not seen."""

import numpy as np

from galzoo.metrics.star_catalogues import match_stars

# Side of the square in which the crowding about a pixel is counted.
_WINDOW = 17
# Crowding, in stars a pixel, at which the shift of the logits is fitted; straight lines in its logarithm between.
KNOTS = (0.01, 0.03, 0.1, 0.3)
# Standard deviation that shifts of the logits are held to where few fields speak.
_LOOSE = 1.0
# Half the width of the central 68 % of a normal distribution of unit variance, as shares below.
_CENTRAL = (0.1587, 0.8413)
# Errors are judged by entries of this probability and more, matched as the suite `stars` matches them.
_SURE, _MATCH = 0.5, {"radius": 1.0, "magnitudes": 1.0}
# Places at which the residual is asked on the way to the solution.
_STEPS = 12


def apply(cells, calibration):
    """Return what the model says of the cells of images, corrected.

    Parameters
    ----------
    cells : dict of arrays
        As the model returns them.
    calibration : dict, optional
        Of `fit`; nothing is changed without.

    Returns
    -------
    dict of arrays
    """
    if not calibration:
        return cells
    logit = cells["logit"].astype(np.float64)
    found = dict(cells)
    found["logit"] = logit + (_weights(logit) @ np.asarray(calibration["shift"]))[..., None]
    if "log_spread" in cells:
        found["log_spread"] = cells["log_spread"] + np.log(calibration["spread"])
    return found


def _weights(logit):
    """Return the share of each knot in the shift of each pixel, (n, y, x, knot)."""
    from scipy.ndimage import uniform_filter

    crowding = uniform_filter((1 / (1 + np.exp(-logit))).sum(axis=-1), (0, _WINDOW, _WINDOW), mode="nearest")
    place = np.interp(np.log(np.maximum(crowding, 1e-6)), np.log(KNOTS), np.arange(len(KNOTS)))
    return np.maximum(1 - np.abs(place[..., None] - np.arange(len(KNOTS))), 0.0)


def fit_counts(cells, number):
    """Return the shifts of the logits at `KNOTS`, and the factor of the common spread, that fit the numbers of stars.

    Parameters
    ----------
    cells : sequence of dict
        What the model said of each batch, not corrected.
    number : sequence of arrays, (n,)
        True numbers of stars.

    Returns
    -------
    shift : array, (knot,)
    spread : float

    Notes
    -----
    Least squares in the difference of numbers over its standard deviation, by Gauss-Newton, held to 0 with a
    standard deviation of 1 logit. The factor then makes the mean square of the difference what the intervals say.
    """
    logit = [one["logit"].astype(np.float64) for one in cells]
    weights = [_weights(one) for one in logit]
    spread = [np.exp(one["log_spread"].astype(np.float64)) if "log_spread" in one else 0.0 for one in cells]
    shift = np.zeros(len(KNOTS))
    for _ in range(_STEPS):
        normal, right = np.eye(len(KNOTS)) / _LOOSE**2, -shift / _LOOSE**2
        for one, share, common, true in zip(logit, weights, spread, number, strict=True):
            mean, slope, variance = _moments(one, share, shift)
            precision = 1 / (variance + (common * mean) ** 2)
            normal += (slope * precision[:, None]).T @ slope
            right += slope.T @ (precision * (true - mean))
        shift = shift + np.linalg.solve(normal, right)
    parts = [_moments(one, share, shift) for one, share in zip(logit, weights, spread, strict=False)]
    miss, own, common = [], [], []
    for (mean, _, variance), part, true in zip(parts, spread, number, strict=True):
        miss.append(true - mean)
        own.append(variance)
        common.append(part * mean * np.ones_like(mean))
    miss, own, common = (np.concatenate(one) for one in (miss, own, common))
    return shift, _factor(miss, own, common)


def _moments(logit, share, shift):
    """Return mean of the number of stars (n,), its derivative by the shift of each knot, and the part of its variance
    that cells have by themselves."""
    p = 1 / (1 + np.exp(-logit - (share @ shift)[..., None]))
    each = (p * (1 - p)).sum(axis=-1)
    return p.sum(axis=(1, 2, 3)), np.einsum("nyx,nyxk->nk", each, share), each.sum(axis=(1, 2))


def _factor(miss, own, common):
    """Return the factor of `common` that makes the mean of ``miss^2 / (own + (factor common)^2)`` 1, of 0.1 to 10."""
    if not common.any():
        return 1.0
    low, high = 0.1, 10.0
    for _ in range(40):
        middle = np.sqrt(low * high)
        above = np.mean(miss**2 / (own + (middle * common) ** 2)) > 1
        low, high = (middle, high) if above else (low, middle)
    return float(np.sqrt(low * high))
