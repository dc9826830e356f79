"""How many of the sources that a first pass has missed are found by looking once more, and how many false ones."""

import time

import numpy as np

from galzoo.errors import InputError
from galzoo.field.psf import mean_fwhm
from galzoo.metrics.detection import share, share_in_bins
from galzoo.metrics.matching import match
from galzoo.progress import track
from galzoo.tasks.detect.classical import SecondLook, scene_field
from galzoo.tasks.detect.scores import BINS, MATCH_PIXELS
from galzoo.tasks.detect.truth import scene_truths

FALSE_SHARE = 0.05
"""Of what a method adds, at most so much may be false."""
SECOND = "second look"
# What lies within so many FWHM of a known source is that source again.
_NEW = 0.5


def evaluate_residual(detectors, deblend, scenes, band=None, progress=False, views=None):
    """Score what finds the sources that the classical detection and a fit with a deblender have missed.

    Parameters
    ----------
    detectors : dict of str to Detector
        Each sees image, variance, mask, PSF and ``model``, the image that the first pass has fitted.
    deblend : callable
        As `galzoo.tasks.deblend.run.deblend_field` takes, in the bands of the scenes.
    scenes : Scenes
        As for `galzoo.tasks.detect.scores.evaluate_detection`.
    band : int, optional
        Of magnitudes and blendedness; the middle one by default.
    progress : bool
    views : list, optional
        A dict is appended for each scene: ``image, variance, model`` (y, x, band), ``known`` and ``missed`` positions
        (k, 2), and ``added``: name of a method -> positions and probabilities.

    Returns
    -------
    dict
        ``scenes, sources, missed`` (by the first pass) and ``methods``: name -> ``added, found`` (share of the missed
        ones), ``false`` (share of the added ones), both as the method is; ``found_at_5`` and ``threshold``: the share
        found where at most `FALSE_SHARE` of what is added is false; ``by_magnitude, by_blendedness`` of ``found_at_5``;
        ``seconds`` a scene. ``x_error`` is the standard error of ``x``, by a bootstrap of scenes. The methods are
        `detectors` and `SECOND`, the second look of ``galzoo deblend`` itself.

    Raises
    ------
    InputError
        If there are no scenes.

    Notes
    -----
    A source is missed if it is above S/N 5 and no detection of the first pass is matched to it. What is added is
    matched together with what is known, one to one; added ones that are fainter sources count neither way.
    """
    if not len(scenes):
        raise InputError("no scenes; give at least one")
    bands, scale = tuple(scenes.bands), scenes.pixel_scale
    first, second = (SecondLook(deblend, bands, scale, look=look) for look in (False, True))
    truths = scene_truths(scenes, len(bands) // 2 if band is None else band)
    parts = {name: [] for name in (*detectors, SECOND)}
    missed = []
    for row in track(range(len(scenes)), "first pass and residual", progress):
        batch = scenes.batch(slice(row, row + 1))
        given = {key: batch[key] for key in ("image", "variance", "mask", "psf") if key in batch}
        field, psf_of = scene_field(given, 0, bands, scale)
        width = mean_fwhm(psf_of, field)
        begin = time.perf_counter()
        known, _, model = first.fitted(given, 0)
        spent = time.perf_counter() - begin
        known = np.stack([known["x"], known["y"]], axis=-1).reshape(-1, 2)
        of_truth = match(known, truths[row].positions, MATCH_PIXELS).found_of_truth
        missed.append(truths[row].wanted & (of_truth < 0))
        added = {}
        for name, detector in detectors.items():
            begin = time.perf_counter()
            answer = detector.detect(given | {"model": model[None]})
            seconds = time.perf_counter() - begin
            kept = answer.probability[0] > 0
            places, probability = answer.positions[0][kept], answer.probability[0][kept]
            near = np.hypot(*(places[:, None] - known[None]).transpose(2, 0, 1)).min(axis=1, initial=np.inf)
            new = near > _NEW * width
            added[name] = places[new], probability[new]
            parts[name].append(_compare(known, *added[name], truths[row], missed[-1], seconds))
        begin = time.perf_counter()
        again = second.fitted(given, 0)[0]
        # The first pass is part of it.
        seconds = time.perf_counter() - begin - spent
        places = np.stack([again["x"], again["y"]], axis=-1).reshape(-1, 2)
        # A fit with another source moves the first, which is still the same.
        new = match(places, known, width).truth_of_found < 0
        added[SECOND] = places[new], np.asarray(again["probability"])[new]
        parts[SECOND].append(_compare(places[~new], *added[SECOND], truths[row], missed[-1], seconds))
        if views is not None:
            shown = {key: batch[key][0] for key in ("image", "variance")} | {"model": model, "known": known}
            views.append(shown | {"missed": truths[row].positions[missed[-1]], "added": added})
    results = {"scenes": len(scenes), "sources": int(sum(one.wanted.sum() for one in truths))}
    results |= {"missed": int(sum(one.sum() for one in missed)), "methods": {}}
    for name, found in parts.items():
        results["methods"][name] = _scored(found, truths, missed)
    return results


def _compare(known, places, probability, truth, missed, seconds):
    """Return of each added source whether it is false or a missed one, and which added source each missed one has."""
    pair = match(np.concatenate([known, places]), truth.positions, MATCH_PIXELS)
    of_found, of_truth = pair.truth_of_found[len(known) :], pair.found_of_truth
    right = (of_found >= 0) & np.append(missed, False)[of_found]
    best = np.full(len(missed), -np.inf)
    # A missed source may also be got by one that was known and matched to another.
    best[missed & (of_truth >= 0)] = np.inf
    added = of_truth - len(known)
    own = missed & (added >= 0)
    best[own] = probability[added[own]]
    return {
        "probability": np.asarray(probability, float), "false": of_found < 0, "right": right, "best": best[missed],
        "seconds": seconds,
    }  # fmt: skip


def _scored(parts, truths, missed):
    probability, false, right = (
        np.concatenate([one[key] for one in parts]) for key in ("probability", "false", "right")
    )
    best = np.concatenate([one["best"] for one in parts])
    scene = np.concatenate([np.full(len(one["best"]), number) for number, one in enumerate(parts)])
    of_scene = np.concatenate([np.full(len(one["false"]), number) for number, one in enumerate(parts)])
    counted = false | right
    result = {"added": int(counted.sum())}
    result["found"], result["found_error"] = share(best > -np.inf, scene)
    result["false"], result["false_error"] = share(false[counted], of_scene[counted])
    threshold = _threshold(probability[counted], false[counted])
    hit = (best >= threshold) & (best < np.inf)
    result["threshold"] = threshold if np.isfinite(threshold) else None
    result["found_at_5"], result["found_at_5_error"] = share(hit, scene)
    for key in ("magnitude", "blendedness"):
        by = np.concatenate([getattr(one, key)[rows] for one, rows in zip(truths, missed, strict=True)])
        if np.isfinite(by).any():
            result[f"by_{key}"] = [row for row in share_in_bins(hit, by, BINS[key], scene) if row["n"]]
    return result | {"seconds": float(np.median([one["seconds"] for one in parts]))}


def _threshold(probability, false):
    """Return the least probability from which at most `FALSE_SHARE` are false; infinity where none is."""
    order = np.argsort(-probability, kind="stable")
    ordered = probability[order]
    wrong = np.cumsum(false[order])
    last = np.append(np.diff(ordered) != 0, True) if len(ordered) else np.zeros(0, bool)
    good = last & (wrong <= FALSE_SHARE * np.arange(1, len(ordered) + 1))
    return float(ordered[np.flatnonzero(good)[-1]]) if good.any() else float("inf")
