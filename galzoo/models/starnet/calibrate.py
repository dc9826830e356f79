"""The calibration of a trained StarNet, fitted to fields that it has not seen."""

import numpy as np

from galzoo.metrics.star_catalogues import match_stars
from galzoo.models.starnet.calibration import KNOTS, apply, knot_shares
from galzoo.models.starnet.catalogues import entries

# Standard deviations that shifts of the logits, and differences of neighbours, are held to where few fields speak.
_LOOSE, _SMOOTH = 1.0, 0.5
# Half the width of the central 68 % of a normal distribution of unit variance, as shares below.
_CENTRAL = (0.1587, 0.8413)
# Errors are judged by entries of this probability and more, matched as the suite `stars` matches them.
_SURE, _MATCH = 0.5, {"radius": 1.0, "magnitudes": 1.0}
# Fewest matched stars by which errors are scaled.
_FEWEST = 20
# Times that the brightness of entries is made right.
_ROUNDS = 3
# Gauss-Newton steps.
_STEPS = 12


def fit(model, batches):
    """Return the calibration of a model by fields that it has not seen.

    Parameters
    ----------
    model : StarNet
        Its own calibration is not used.
    batches : iterable of dict
        What the model sees, and ``positions, n_sources, flux``.

    Returns
    -------
    dict
        ``shift`` of the logits at `KNOTS`; ``brighter`` (knot, band), by how many errors entries are made brighter;
        ``spread``, ``position`` and, a band, ``flux``: factors of errors. As JSON can hold it.

    Notes
    -----
    Errors of places and fluxes are made such that half the width of the central 68 % of errors over their standard
    deviations is 1, and fluxes such that its median is 0 at each crowding, for entries of a probability of 1/2 and
    more. What is drawn from cells keeps their own.
    """
    batches = [{key: np.asarray(value) for key, value in batch.items()} for batch in batches]
    cells = [model.cells(batch) for batch in batches]
    shift, spread = fit_counts(cells, [batch["n_sources"] for batch in batches])
    found = {"shift": shift.tolist(), "spread": spread, "position": 1.0, "flux": [1.0] * len(model.bands)}
    found["brighter"] = np.zeros((len(KNOTS), len(model.bands))).tolist()
    for _ in range(_ROUNDS):
        # Brighter stars are matched with others.
        _, faint, share = _pulls(cells, batches, found)
        found["brighter"] = (np.array(found["brighter"]) + by_crowding(faint, share)).tolist()
    place, faint, _ = _pulls(cells, batches, found)
    found["position"], *found["flux"] = (_spread(one) for one in (place.ravel(), *faint.T))
    return found


def _pulls(cells, batches, calibration):
    """Return pulls of places (star, 2) and of arcsinh fluxes (star, band), and shares of knots (star, knot).

    The true value is first: positive where an entry is too faint. They are those of entries: their errors hold the
    scatter between cells that tell of one star, so that of the errors of single cells nothing follows.
    """
    places_off, faint, share = [], [], []
    for one, batch in zip(cells, batches, strict=True):
        corrected = apply(one, calibration)
        for row, number in enumerate(batch["n_sources"]):
            image = {key: value[row] for key, value in corrected.items()}
            found = entries(image, _SURE, {"brighter": calibration["brighter"]})
            places, flux = batch["positions"][row, :number], batch["flux"][row, :number]
            partner = match_stars(found["positions"], found["flux"][:, 0], places, flux[:, 0], **_MATCH)
            there = np.flatnonzero(partner >= 0)
            at = partner[there]
            places_off.append((places[there] - found["positions"][at]) / found["position_error"][at])
            z = np.arcsinh(flux[there] / found["unit"][at])
            faint.append((z - found["scaled_flux"][at]) / found["scaled_flux_error"][at])
            x, y = np.clip(np.round(found["positions"][at]).astype(int), 0, np.array(image["logit"].shape[1::-1]) - 1).T
            share.append(image["share"][y, x])
    return tuple(np.concatenate(part) for part in (places_off, faint, share))


def by_crowding(faint, share):
    """Return the median pull of each band at each knot, (knot, band); 0 where hardly a star is."""
    knot, result = share.argmax(axis=-1) if len(share) else np.zeros(0, int), np.zeros((len(KNOTS), faint.shape[-1]))
    for row in range(len(KNOTS)):
        own = faint[knot == row]
        if len(own) >= _FEWEST:
            result[row] = np.nanmedian(own, axis=0)
    return result


def _spread(pulls):
    """Return half the width of the central 68 % of pulls; 1 where hardly a star is, as after a moment of training."""
    if np.isfinite(pulls).sum() < _FEWEST:
        return 1.0
    return float(np.diff(np.nanquantile(pulls, _CENTRAL))[0] / 2)


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
    Least squares in the difference of numbers over its standard deviation, by Gauss-Newton, loosely held to 0 and to
    each other. The factor then makes the mean square of the difference what the intervals say.
    """
    logit = [one["logit"].astype(np.float64) for one in cells]
    weights = [knot_shares(one) for one in logit]
    spread = [np.exp(one["log_spread"].astype(np.float64)) if "log_spread" in one else 0.0 for one in cells]
    shift = np.zeros(len(KNOTS))
    step = np.diff(np.eye(len(KNOTS)), axis=0) / _SMOOTH
    prior = np.eye(len(KNOTS)) / _LOOSE**2 + step.T @ step
    for _ in range(_STEPS):
        normal, right = prior.copy(), -prior @ shift
        for one, share, common, true in zip(logit, weights, spread, number, strict=True):
            mean, slope, variance = _moments(one, share, shift)
            precision = 1 / (variance + (common * mean) ** 2)
            normal += (slope * precision[:, None]).T @ slope
            right += slope.T @ (precision * (true - mean))
        shift = shift + np.linalg.solve(normal, right)
    parts = [_moments(one, share, shift) for one, share in zip(logit, weights, strict=True)]
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
