"""Completeness, purity and their errors, methods at the same rate of false detections, and what became of each source.

Detections are matched to true sources one to one by distance: as many pairs as possible, the nearest of them
(`galzoo.metrics.matching.match`). The probability plays no part in it, unlike in average precision.
"""

import numpy as np

from galzoo.errors import InputError
from galzoo.metrics.binned import bin_masks
from galzoo.metrics.matching import match

OUTCOMES = ("recognised", "unrecognised", "merged", "shredded", "undetected")
"""What can become of a true source, see `outcomes`."""


def share(hits, groups=None, draws=200, seed=0):
    """Return a share and its standard error.

    Parameters
    ----------
    hits : bool array, (n,)
    groups : array, (n,), optional
        Scene of each. The error is that of a bootstrap of whole scenes where there are two or more, else binomial.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    value, error : float
        NaN where there is nothing. The binomial error is the standard deviation of the share's posterior under
        Jeffreys' prior, so that it is not 0 where all or none are hits.
    """
    hits = np.asarray(hits, bool)
    n, k = len(hits), int(hits.sum())
    if not n:
        return float("nan"), float("nan")
    a, b = k + 0.5, n - k + 0.5
    error = float(np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))))
    if groups is not None:
        numbers, group = np.unique(groups, return_inverse=True)
        if len(numbers) > 1:
            all_of, hits_of = np.bincount(group), np.bincount(group, hits)
            drawn = np.random.default_rng(seed).multinomial(
                len(numbers), np.full(len(numbers), 1 / len(numbers)), draws
            )
            spread = float(np.std((drawn @ hits_of) / (drawn @ all_of), ddof=1))
            # Scenes without a miss say nothing of how rare one is.
            error = max(spread, error) if k in (0, n) else spread
    return k / n, error


def share_in_bins(hits, by, edges, groups=None, draws=200, seed=0):
    """Return a share in bins of another quantity: rows ``low, high, n, share, share_error``."""
    hits, by = np.asarray(hits, bool), np.asarray(by, np.float64)
    groups = None if groups is None else np.asarray(groups)
    rows = []
    for low, high, members in bin_masks(by, edges):
        value, error = share(hits[members], None if groups is None else groups[members], draws, seed)
        high = high if np.isfinite(high) else None
        rows.append({"low": low, "high": high, "n": int(members.sum()), "share": value, "share_error": error})
    return rows


def match_scenes(found, truth, max_distance):
    """Match the detections of several scenes.

    Parameters
    ----------
    found, truth : sequence of arrays (n, 2)
        Positions of each scene.
    max_distance : float

    Returns
    -------
    of_truth, of_found : list of int arrays
        Of each scene the row of the detection of each true source, and of the true source of each detection; -1 where
        there is none.
    """
    if len(found) != len(truth):
        raise InputError(f"detections of {len(found)} scenes, true sources of {len(truth)}; give both for each")
    pairs = [match(one, other, max_distance) for one, other in zip(found, truth, strict=True)]
    return [pair.found_of_truth for pair in pairs], [pair.truth_of_found for pair in pairs]


def threshold_at_false_rate(probability, true, n_images, rate):
    """Return the least threshold at which there are at most so many false detections an image.

    Parameters
    ----------
    probability : array, (n,)
        Of the detections of all images.
    true : bool array, (n,)
    n_images : int
    rate : float
        False detections an image.

    Returns
    -------
    float
        Detections of this probability and above are kept; the least probability where all may be, 0 where there is
        none, and infinity where even the most probable are false too often.
    """
    probability, true = np.asarray(probability, np.float64), np.asarray(true, bool)
    if not len(probability):
        return 0.0
    order = np.argsort(-probability, kind="mergesort")
    false = np.cumsum(~true[order])
    # What is equally probable is kept or left together.
    last = np.append(np.diff(probability[order]) != 0, True)
    good = last & (false <= rate * n_images + 1e-9)
    return float(probability[order][np.flatnonzero(good)[-1]]) if good.any() else float("inf")


def outcomes(found, truth, max_distance, found_reach=None, truth_reach=None):
    """Return what became of each true source of a scene.

    Parameters
    ----------
    found, truth : array, (n, 2) and (m, 2)
        Positions.
    max_distance : float
        Of the matching.
    found_reach, truth_reach : array, (n,) and (m,), optional
        Distance from its position within which light is taken to be a detection's, or a source's; at least, and by
        default, `max_distance`.

    Returns
    -------
    array of str, (m,)
        One of `OUTCOMES`: "recognised", the source has a detection of its own, and no other has a part in either;
        "unrecognised", it has a detection, but another true source without one lies within that detection's reach: a
        blend that is seen as one; "merged", it has none and lies within the reach of another's detection;
        "shredded", it has a detection, and another that is no true source's lies within the source's reach;
        "undetected", it has none and lies within the reach of no other's. A source that is both unrecognised and
        shredded counts as shredded.

    References
    ----------
    Counts of true and detected sources in groups, as in Dawson et al. 2016, ApJ 816, 11, and Melchior et al. 2021,
    arXiv:2102.10055: 1 and 1 recognised, 2 and 1 unrecognised with merged, 1 and 2 shredded, 1 and 0 undetected.
    """
    found, truth = np.reshape(np.asarray(found, float), (-1, 2)), np.reshape(np.asarray(truth, float), (-1, 2))
    pair = match(found, truth, max_distance)
    own, of = pair.found_of_truth, pair.truth_of_found
    result = np.where(own >= 0, "recognised", "undetected").astype("<U12")
    if not len(found) or not len(truth):
        return result
    reach = np.maximum(np.zeros(len(found)) + (0 if found_reach is None else found_reach), max_distance)
    true_reach = np.maximum(np.zeros(len(truth)) + (0 if truth_reach is None else truth_reach), max_distance)
    distance = np.hypot(*(truth[:, None] - found[None]).transpose(2, 0, 1))
    for row in np.flatnonzero(own < 0):
        hosts = np.flatnonzero((distance[row] <= reach) & (of >= 0))
        if not len(hosts):
            continue
        result[row] = "merged"
        result[of[hosts[np.argmin(distance[row, hosts] / reach[hosts])]]] = "unrecognised"
    for column in np.flatnonzero(of < 0):
        relative = distance[:, column] / true_reach
        near = np.flatnonzero((relative <= 1) & (own >= 0))
        if len(near):
            result[near[np.argmin(relative[near])]] = "shredded"
    return result


def outcome_shares(result, by=None, edges=None, groups=None):
    """Return the share of each outcome, overall or in bins: rows with ``n`` and ``<outcome>, <outcome>_error``."""
    result = np.asarray(result)
    bins = [({}, np.ones(len(result), bool))]
    if by is not None:
        bins = [
            ({"low": low, "high": high if np.isfinite(high) else None}, members)
            for low, high, members in bin_masks(by, edges)
        ]
    rows = []
    for row, members in bins:
        row = row | {"n": int(members.sum())}
        together = None if groups is None else np.asarray(groups)[members]
        for name in OUTCOMES:
            row[name], row[f"{name}_error"] = share(result[members] == name, together)
        rows.append(row)
    return rows
