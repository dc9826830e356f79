"""The calibration of a trained StarNet, fitted to fields that it has not seen."""

import itertools

import numpy as np

from galzoo.metrics.star_catalogues import match_stars
from galzoo.models.logistic import expit
from galzoo.models.starnet.calibration import AS_SAID, KNOTS, apply, common_spread, knot_shares
from galzoo.models.starnet.catalogues import entries
from galzoo.models.starnet.groups import GROUPED, Groups

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
# Gauss-Newton steps, and times that they and the spread are fitted in turn.
_STEPS, _TURNS = 8, 2
# Variance that numbers have at least; standard deviations that the spread is held by, and the last step of its search.
_LEAST_VARIANCE, _LOOSE_SPREAD, _LEAST_STEP = 0.1, np.array([2.0, 0.5, 2.0]), 1e-3


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
        ``spread``, see `galzoo.models.starnet.calibration.common_spread`; ``position`` and, a band, ``flux``: factors
        of errors. As JSON can hold it.

    Notes
    -----
    Errors of places and fluxes are made such that half the width of the central 68 % of errors over their standard
    deviations is 1, and fluxes such that its median is 0 at each crowding, for entries of a probability of 1/2 and
    more. What is drawn from cells keeps their own.
    """
    batches = [{key: np.asarray(value) for key, value in batch.items()} for batch in batches]
    cells = [model.cells(batch) for batch in batches]
    shift, spread = fit_counts(cells, [batch["n_sources"] for batch in batches])
    found = {"shift": shift.tolist(), "spread": spread.tolist(), "position": 1.0, "flux": [1.0] * len(model.bands)}
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
    """Return the shifts of the logits at `KNOTS`, and what says the common spread, that fit the numbers of stars.

    Parameters
    ----------
    cells : sequence of dict
        What the model said of each batch, not corrected.
    number : sequence of arrays, (n,)
        True numbers of stars.

    Returns
    -------
    shift : array, (knot,)
    spread : array, (3,)
        See `galzoo.models.starnet.calibration.common_spread`.

    Notes
    -----
    In turn, least squares in the difference of numbers over its standard deviation, by Gauss-Newton, loosely held to 0
    and to each other; and the likelihood of the differences, whose variance is that of groups of cells and the common
    spread.
    """
    logit = [one["logit"].astype(np.float64) for one in cells]
    weights = [knot_shares(one) for one in logit]
    shift, spread = np.zeros(len(KNOTS)), np.array(AS_SAID)
    step = np.diff(np.eye(len(KNOTS)), axis=0) / _SMOOTH
    prior = np.eye(len(KNOTS)) / _LOOSE**2 + step.T @ step
    for _ in range(_TURNS):
        grouped = [_grouped(one, shift, len(true)) for one, true in zip(cells, number, strict=True)]
        said = [one.get("log_spread") for one in cells]
        common = [
            0.0 if part is None else common_spread(part, *moments, spread)
            for part, moments in zip(said, grouped, strict=True)
        ]
        for _ in range(_STEPS):
            normal, right = prior.copy(), -prior @ shift
            for one, share, part, (_, own), true in zip(logit, weights, common, grouped, number, strict=True):
                mean, slope = _mean(one, share, shift)
                precision = 1 / (own + (part * mean) ** 2 + _LEAST_VARIANCE)
                normal += (slope * precision[:, None]).T @ slope
                right += slope.T @ (precision * (true - mean))
            shift = shift + np.linalg.solve(normal, right)
        if said[0] is not None:
            mean, own = np.concatenate([_grouped(one, shift, len(n)) for one, n in zip(cells, number, strict=True)], 1)
            spread = _fit_spread(np.concatenate(number) - mean, mean, own, np.concatenate(said))
    return shift, spread


def _grouped(cells, shift, images):
    """Return mean and variance (2, n) of the number of stars by groups of cells whose logits are shifted."""
    corrected = apply(cells, {"shift": shift})
    rows = ({key: corrected[key][row] for key in GROUPED} for row in range(images))
    return np.transpose([Groups.of(row).moments() for row in rows])


def _fit_spread(miss, mean, own, said):
    """Return what says the common spread by the likelihood of how far numbers were off, loosely held to `AS_SAID`."""

    def loss(spread):
        variance = own + (common_spread(said, mean, own, spread) * mean) ** 2 + _LEAST_VARIANCE
        likelihood = 0.5 * np.sum(miss**2 / variance + np.log(variance))
        return likelihood + 0.5 * np.sum(((spread - np.array(AS_SAID)) / _LOOSE_SPREAD) ** 2)

    best, step = np.array(AS_SAID, float), _LOOSE_SPREAD / 2
    moves = np.array(list(itertools.product((-1, 0, 1), repeat=len(best))), float)
    # A pattern search: to the least of the neighbours, nearer ones once none is less.
    while np.max(step) > _LEAST_STEP:
        found = best + step * moves
        least = found[np.argmin([loss(one) for one in found])]
        if np.array_equal(least, best):
            step = step / 2
        best = least
    return best


def _mean(logit, share, shift):
    """Return the mean of the number of stars (n,) and its derivative by the shift of each knot (n, knot)."""
    p = expit(logit + (share @ shift)[..., None])
    return p.sum(axis=(1, 2, 3)), np.einsum("nyx,nyxk->nk", (p * (1 - p)).sum(axis=-1), share)
