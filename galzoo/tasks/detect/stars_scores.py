"""How good catalogues of crowded star fields are: matches, counts, pulls and ranks, all over the same fields."""

import dataclasses
import time

import numpy as np

from galzoo.contracts.catalogues import CatalogueSampler, region_counts
from galzoo.errors import InputError
from galzoo.metrics.calibration import coverage, ranks, resample, uniformity
from galzoo.metrics.star_catalogues import catalogue_scores, f1_score, match_stars
from galzoo.progress import track
from galzoo.tasks.detect.psf_photometry import PSFPhotometry

SURE = 0.5
"""Stars of this probability and more are the catalogue."""
DRAWS = 99
"""Catalogues drawn from the posterior."""
REGION = 16
"""Side of the squares in which stars are counted too, pixels."""
SETTINGS = tuple(PSFPhotometry(threshold, sky=sky) for threshold in (3.0, 5.0, 10.0) for sky in (None, 10.0, 30.0))
"""Settings of the PSF photometry of which the best on the first field is taken."""
GIVEN = ("image", "variance", "mask", "psf", "gain", "faintest")
"""Keys of a batch that a detector is given."""
# Matches that pulls are taken of: wide, so that the tails are in.
_PULLS = {"radius": 1.0, "magnitudes": 1.0}


def evaluate_stars(model, batches, photometry=20, seed=0, progress=False):
    """Score a detector of stars on fields whose truth is known.

    Parameters
    ----------
    model : Detector
        Where it has a ``posterior(batch, n, seed)`` that gives `galzoo.contracts.catalogues.Catalogues`, counts are
        scored too.
    batches : sequence of dict
        Each of one field or several: what the model reads, and ``positions, n_sources, flux``.
    photometry : int
        Put PSF photometry beside it on at most so many fields, tuned on the first, which is then not scored where
        there are others; 0 for none.
    seed : int
        Of the catalogues drawn.
    progress : bool

    Returns
    -------
    dict
        As JSON can hold it: ``fields, stars``; ``methods``: name -> ``fields, stars, recall, precision, f1, f1_error,
        seconds``; ``photometry`` (the settings taken); ``pulls``: quantity -> ``n, median, spread, outliers``;
        ``counts``: of fields and regions, ``n, coverage, coverage_error, rank_p, rank_bias, rank_spread,
        relative_bias``.

    Raises
    ------
    InputError
        If there is no field, or no star.
    """
    fields = [one for batch in batches for one in _fields(batch)]
    if not sum(len(one["positions"]) for one in fields):
        raise InputError(f"{len(fields)} fields without a star; give fields whose stars are known")
    result = {"fields": len(fields), "stars": int(sum(len(one["positions"]) for one in fields))}
    found, seconds = _answers(model, batches, progress)
    result["methods"] = {"galzoo": _matched(found, fields) | {"seconds": seconds}}
    result["pulls"] = _pulls(found, fields, model.bands)
    if photometry:
        tuned = _tuned(fields[0])
        rest = slice(1, photometry + 1) if len(fields) > 1 else slice(None)
        begin = time.perf_counter()
        catalogues = [_photometry(tuned, one) for one in track(fields[rest], "PSF photometry", progress)]
        spent = (time.perf_counter() - begin) / len(catalogues)
        result["methods"]["galzoo, the same fields"] = _matched(found[rest], fields[rest]) | {"seconds": seconds}
        result["methods"]["photutils"] = _matched(catalogues, fields[rest]) | {"seconds": spent}
        result["photometry"] = dataclasses.asdict(tuned)
    if isinstance(model, CatalogueSampler):
        drawn = draw_counts(model, batches, seed)
        result["counts"] = {name: count_scores(*one, seed) for name, one in drawn.items()}
    return result


def _fields(batch):
    """Return the fields of a batch one by one, with lists of stars cut to their number."""
    for row, number in enumerate(batch["n_sources"]):
        one = {key: np.asarray(batch[key][row]) for key in GIVEN if batch.get(key) is not None}
        yield one | {key: np.asarray(batch[key][row, : int(number)]) for key in ("positions", "flux")}


def _given(batch):
    return {key: batch[key] for key in GIVEN if batch.get(key) is not None}


def _answers(model, batches, progress):
    """Return what the model finds in each field, and its seconds a field."""
    found, seconds = [], []
    for batch in track(batches, "detecting", progress):
        begin = time.perf_counter()
        answer = model.detect(_given(batch))
        seconds.append((time.perf_counter() - begin) / len(answer))
        for row in range(len(answer)):
            kept = answer.probability[row] >= SURE
            keys = ("positions", "flux", "position_error", "flux_error")
            found.append({key: getattr(answer, key)[row][kept] for key in keys if getattr(answer, key) is not None})
    # The first call may compile.
    return found, float(np.median(seconds[1:] or seconds))


def _matched(found, fields):
    rows = []
    for one, truth in zip(found, fields, strict=True):
        shape = truth["image"].shape[:2]
        rows.append(
            catalogue_scores(one["positions"], one["flux"][:, 0], truth["positions"], truth["flux"][:, 0], shape)
        )
    names = ("true", "found", "recalled", "right")
    table = np.array([[row[name] for name in names] for row in rows])

    def f1(part):
        return f1_score([dict(zip(names, row, strict=True)) for row in part])["f1"]

    scores = f1_score(rows)
    return scores | {
        "fields": len(rows), "stars": int(table[:, 0].sum()), "found": int(table[:, 1].sum()),
        "f1_error": resample(f1, table)[1],
    }  # fmt: skip


def _photometry(settings, field):
    places, flux = settings(field["image"], field["variance"], field.get("mask"), field["psf"])
    return {"positions": places, "flux": flux[:, None]}


def _tuned(field):
    """Return the settings of the best F1 on a field."""
    return max(SETTINGS, key=lambda one: _matched([_photometry(one, field)], [field])["f1"])


def _pulls(found, fields, bands):
    """Return the error over its standard deviation, of places and of fluxes."""
    pulls = {name: [] for name in ("position", *(f"flux {band}" for band in bands))}
    for one, truth in zip(found, fields, strict=True):
        if "position_error" not in one or "flux_error" not in one:
            return {}
        true_flux = truth["flux"]
        partner = match_stars(one["positions"], one["flux"][:, 0], truth["positions"], true_flux[:, 0], **_PULLS)
        there = np.flatnonzero(partner >= 0)
        row = partner[there]
        place = (one["positions"][row] - truth["positions"][there]) / one["position_error"][row]
        pulls["position"].append(place.ravel())
        for index, band in enumerate(bands):
            error = one["flux_error"][row, index]
            pulls[f"flux {band}"].append((one["flux"][row, index] - true_flux[there, index]) / error)
    result = {}
    for name, values in pulls.items():
        values = np.concatenate(values)
        values = values[np.isfinite(values)]
        if len(values):
            low, middle, high = np.quantile(values, (0.1587, 0.5, 0.8413))
            result[name] = {
                "n": len(values), "median": float(middle), "spread": float((high - low) / 2),
                "outliers": float(np.mean(np.abs(values) > 3)),
            }  # fmt: skip
    return result


def draw_counts(model, batches, seed=0):
    """Return true numbers of stars and those of catalogues drawn, in fields and in squares.

    Parameters
    ----------
    model : galzoo.contracts.catalogues.CatalogueSampler
    batches : sequence of dict
        As for `evaluate_stars`.
    seed : int

    Returns
    -------
    dict
        ``field, region`` -> (truth (n,), drawn (`DRAWS`, n)).
    """
    parts = {"field": ([], []), "region": ([], [])}
    for number, batch in enumerate(batches):
        drawn = model.posterior(_given(batch), DRAWS, seed + number)
        shape = batch["image"].shape[1:3]
        parts["field"][0].append(np.asarray(batch["n_sources"]))
        parts["field"][1].append(drawn.count)
        true = region_counts(batch["positions"], batch["n_sources"], shape, REGION)
        parts["region"][0].append(true.ravel())
        parts["region"][1].append(drawn.counts(REGION).reshape(DRAWS, -1))
    return {name: (np.concatenate(one), np.concatenate(other, axis=1)) for name, (one, other) in parts.items()}


def count_scores(truth, drawn, seed=0):
    """Compare numbers of stars with those of catalogues drawn.

    Parameters
    ----------
    truth : array, (n,)
    drawn : array, (draw, n)
    seed : int
        Of the order of equal numbers.

    Returns
    -------
    dict
        ``n, coverage, coverage_error, rank_p, rank_bias, rank_spread, relative_bias``, as JSON can hold it.
    """
    low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
    share, error = coverage(truth, low, high)
    even = uniformity(ranks(truth, drawn, seed), len(drawn))
    return {
        "n": len(truth), "coverage": share, "coverage_error": error, "rank_p": even["p"], "rank_bias": even["bias"],
        "rank_spread": even["spread"], "relative_bias": float(drawn.mean() / max(truth.mean(), 1e-9) - 1),
    }  # fmt: skip
