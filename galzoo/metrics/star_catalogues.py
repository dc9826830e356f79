"""How good a catalogue of stars is: one-to-one matches in place and magnitude, counts, pulls."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from galzoo.errors import InputError
from galzoo.metrics.matching import match


def place_tree(places):
    """Return a `scipy.spatial.cKDTree` of positions (n, 2)."""
    return cKDTree(places)


def match_stars(found, found_flux, truth, true_flux, radius=0.5, magnitudes=0.5):
    """Match stars one to one, as many as can be, that agree in place and in the first band's magnitude.

    Parameters
    ----------
    found, truth : array, (n, 2) and (m, 2)
        x and y in pixels.
    found_flux, true_flux : array, (n,) and (m,)
        Flux; found stars of no positive flux match none.
    radius : float
        Greatest difference in x and in y.
    magnitudes : float
        Greatest difference in magnitude.

    Returns
    -------
    int array, (m,)
        The row of the found star of each true one, -1 where it was missed.

    Raises
    ------
    InputError
        If shapes do not fit.
    """
    found, found_flux, truth, true_flux = _stars(found, found_flux, truth, true_flux)
    if not len(found) or not len(truth):
        return np.full(len(truth), -1)
    near = cKDTree(truth).query_ball_tree(cKDTree(found), radius, p=np.inf)
    rows = np.repeat(np.arange(len(truth)), [len(one) for one in near])
    columns = np.concatenate([np.array(one, int) for one in near])
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = 2.5 * np.abs(np.log10(found_flux[columns] / true_flux[rows]))
    good = difference < magnitudes
    pairs = csr_array((np.ones(good.sum(), bool), (rows[good], columns[good])), shape=(len(truth), len(found)))
    return maximum_bipartite_matching(pairs, perm_type="column")


def nearest_stars(found, found_flux, truth, true_flux, radius=1.0, magnitudes=0.75):
    """Match stars one to one to the nearest in place and magnitude together.

    A star that is fainter by far, as most true ones of a crowded field are, takes no bright star's detection.

    Parameters
    ----------
    found, truth, found_flux, true_flux
        As for `match_stars`; stars of no positive flux have no partner.
    radius : float
        Pixels that a pair is apart at most.
    magnitudes : float
        Greatest difference in magnitude.

    Returns
    -------
    int array, (m,)
        The row of the found star of each true one, -1 where it was missed.

    Raises
    ------
    InputError
        If shapes do not fit.
    """
    found, found_flux, truth, true_flux = _stars(found, found_flux, truth, true_flux)
    known = [np.flatnonzero(flux > 0) for flux in (found_flux, true_flux)]
    points = [
        np.column_stack([places[rows] / radius, 2.5 * np.log10(flux[rows]) / magnitudes])
        for places, flux, rows in zip((found, truth), (found_flux, true_flux), known, strict=True)
    ]
    pairs = match(*points, np.sqrt(2))
    off = np.abs(points[0][pairs.found] - points[1][pairs.truth])
    good = (np.hypot(off[:, 0], off[:, 1]) <= 1) & (off[:, 2] < 1)
    partner = np.full(len(truth), -1)
    partner[known[1][pairs.truth[good]]] = known[0][pairs.found[good]]
    return partner


def _stars(found, found_flux, truth, true_flux):
    """Return places (n, 2) and fluxes (n,) of both catalogues; `InputError` where their numbers differ."""
    found, truth = np.reshape(found, (-1, 2)).astype(float), np.reshape(truth, (-1, 2)).astype(float)
    found_flux, true_flux = np.ravel(found_flux).astype(float), np.ravel(true_flux).astype(float)
    if len(found) != len(found_flux) or len(truth) != len(true_flux):
        raise InputError(
            f"{len(found)} found stars have {len(found_flux)} fluxes, {len(truth)} true stars {len(true_flux)}"
        )
    return found, found_flux, truth, true_flux


def catalogue_scores(found, found_flux, truth, true_flux, shape, border=5.0, radius=0.5, magnitudes=0.5):
    """Return how many stars there are, how many were found, and how many of either agree.

    Parameters
    ----------
    found, found_flux, truth, true_flux, radius, magnitudes
        As for `match_stars`.
    shape : (int, int)
        Size (y, x) of the image.
    border : float
        Stars nearer to the edge are not counted; they may be the partners of stars that are.

    Returns
    -------
    dict
        ``true``, ``found`` (numbers), ``recalled`` (of the true) and ``right`` (of the found).
    """
    partner = match_stars(found, found_flux, truth, true_flux, radius, magnitudes)
    right = np.zeros(len(found), bool)
    right[partner[partner >= 0]] = True

    def inner(places):
        places = np.reshape(places, (-1, 2))
        edge = np.array(shape[::-1]) - 0.5 - border
        return np.all((places > border - 0.5) & (places < edge), axis=1)

    of_truth, of_found = inner(truth), inner(found)
    return {
        "true": int(of_truth.sum()),
        "found": int(of_found.sum()),
        "recalled": int((partner[of_truth] >= 0).sum()),
        "right": int(right[of_found].sum()),
    }


def f1_score(scores):
    """Return recall, precision and F1 of a sequence of `catalogue_scores`, NaN where nothing is counted."""
    total = {key: sum(one[key] for one in scores) for key in ("true", "found", "recalled", "right")}
    recall = total["recalled"] / total["true"] if total["true"] else np.nan
    precision = total["right"] / total["found"] if total["found"] else np.nan
    f1 = 2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0
    return {"recall": recall, "precision": precision, "f1": f1}
