"""How well methods find the sources of scenes, all on the same scenes and at the same rate of false detections."""

import time

import numpy as np

from galzoo.contracts.detections import CLASSES
from galzoo.data.zeropoint import njy_to_magnitude
from galzoo.errors import InputError
from galzoo.metrics.average_precision import (
    assigned,
    average_precision,
    box_overlaps,
    mask_overlaps,
    precision_at_recall,
)
from galzoo.metrics.calibration import expected_calibration_error, reliability, reliability_by, resample
from galzoo.metrics.detection import outcome_shares, outcomes, share, share_in_bins, threshold_at_false_rate
from galzoo.metrics.matching import match
from galzoo.progress import track
from galzoo.tasks.detect.footprints import pixels_of
from galzoo.tasks.detect.truth import has_images, scene_truths

MATCH_PIXELS = 3.0
"""A detection is a true source where it is at most so many pixels away."""
OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALL = 0.8
# Detections in a bin of magnitude below which its calibration says nothing.
_LEAST_IN_BIN = 20
BINS = {
    "magnitude": (16.0, 18.0, 19.0, 20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 28.0),
    "blendedness": (0.0, 0.01, 0.1, 0.3, 1.0),
    "separation": (0.0, 0.5, 1.0, 2.0, 4.0, np.inf),
    "radius": (0.0, 0.2, 0.4, 0.8, np.inf),
}
"""Edges of the bins of true sources: AB magnitude, blendedness, distance to the nearest source and half-light radius in
arcsec."""


def evaluate_detection(detectors, scenes, reference, batch_size=4, rate=None, band=None, progress=False):
    """Score detectors on scenes whose truth is known.

    Parameters
    ----------
    detectors : dict of str to Detector
        Every one sees all scenes; the first is the one judged.
    scenes : Scenes
        With isolated images or cutouts; without them, if they say the signal-to-noise ratio of each source, all but
        the average precision is measured.
    reference : str
        Name of the detector at whose rate of false detections, at a probability of 1/2, all are compared.
    batch_size : int
    rate : float, optional
        False detections a scene instead.
    band : str, optional
        Where magnitude and blendedness are taken; by default i, or else the middle band.
    progress : bool

    Returns
    -------
    dict
        As JSON can hold it: ``scenes, sources, band, false_rate`` and ``methods``: name -> ``ap`` (class -> box and
        mask AP at overlap .5 and over .5 to .95, and the precision at 80 % recall), ``threshold, completeness, purity,
        by_<quantity>, outcomes, outcomes_by_<quantity>, calibration, seconds``. ``x_error`` is the standard error of
        ``x``, by a bootstrap of scenes.

    Raises
    ------
    InputError
        If there is nothing to score.
    """
    if not detectors or not len(scenes):
        raise InputError(f"{len(detectors)} detectors and {len(scenes)} scenes; give at least one of each")
    bands = list(scenes.bands)
    if not has_images(scenes) and not any(f"snr_{one}" in scenes.sources.colnames for one in bands):
        raise InputError(
            "scenes have no isolated images or cutouts, and no column snr_..., so there is no truth to score against"
        )
    band = band or ("i" if "i" in bands else bands[len(bands) // 2])
    truths = scene_truths(scenes, bands.index(band))
    answers = {name: _answers(one, scenes, batch_size, progress, name) for name, one in detectors.items()}
    parts = {name: [_compare(*pair, scenes.shape, bands.index(band)) for pair in zip(found, truths, strict=True)]
             for name, (found, _) in answers.items()}  # fmt: skip
    if rate is None:
        rate = float(np.mean([np.sum(~one["true"] & (one["probability"] >= 0.5)) for one in parts[reference]]))
    results = {"scenes": len(scenes), "sources": int(sum(one.wanted.sum() for one in truths)), "band": band}
    results |= {"false_rate": rate, "reference": reference, "methods": {}}
    for name, one in parts.items():
        results["methods"][name] = _scored(one, truths, rate, has_images(scenes)) | {"seconds": answers[name][1]}
    return results


def _answers(detector, scenes, batch_size, progress, name):
    """Return what a detector finds in each scene, a dict of arrays, and its seconds a scene."""
    found, seconds = [], []
    for start in track(range(0, len(scenes), batch_size), f"detecting: {name}", progress):
        batch = scenes.batch(slice(start, start + batch_size))
        given = {key: batch[key] for key in ("image", "variance", "mask", "psf") if key in batch}
        begin = time.perf_counter()
        answer = detector.detect(given)
        seconds.append((time.perf_counter() - begin) / len(answer))
        for row in range(len(answer)):
            kept = answer.probability[row] > 0
            one = {key: np.asarray(getattr(answer, key)[row][kept]) for key in ("positions", "probability", "boxes")}
            for key in ("class_probability", "masks", "shape", "flux"):
                values = getattr(answer, key)
                one[key] = None if values is None else np.asarray(values[row][kept])
            found.append(one)
    # The first call may compile.
    return found, float(np.median(seconds[1:] or seconds))


def _compare(found, truth, shape, band):
    """Return what is needed of one scene: detections without those of sources that need not be found."""
    pair = match(found["positions"], truth.positions, MATCH_PIXELS)
    of = pair.truth_of_found
    kept = (of < 0) | np.append(truth.wanted, False)[of]
    rows = np.flatnonzero(kept)
    number = np.full(len(truth.wanted), -1)
    number[truth.wanted] = np.arange(truth.wanted.sum())
    source, y, x, _ = pixels_of(found["boxes"][rows], None if found["masks"] is None else found["masks"][rows], shape)
    pixels = [y[source == row] * shape[1] + x[source == row] for row in range(len(rows))]
    classes, flux = found["class_probability"], found["flux"]
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = np.full(len(rows), np.nan) if flux is None else njy_to_magnitude(flux[rows, band])
    return {
        "magnitude": np.where(np.isfinite(measured), measured, np.nan),
        "positions": found["positions"][rows], "probability": found["probability"][rows].astype(float),
        "boxes": found["boxes"][rows], "true": of[rows] >= 0, "source": np.where(of[rows] >= 0, number[of[rows]], -1),
        "class_probability": None if classes is None else classes[rows],
        "box_overlaps": box_overlaps(found["boxes"][rows], truth.boxes[truth.wanted]),
        "mask_overlaps": mask_overlaps(
            pixels, [truth.pixels[row] for row in np.flatnonzero(truth.wanted)], shape[0] * shape[1]
        ),
    }  # fmt: skip


def _scored(parts, truths, rate, images):
    probability, true = (np.concatenate([one[key] for one in parts]) for key in ("probability", "true"))
    threshold = threshold_at_false_rate(probability, true, len(parts), rate)
    scene = np.concatenate([np.full(int(one.wanted.sum()), number) for number, one in enumerate(truths)])
    hit = [np.isin(np.arange(truth.wanted.sum()), one["source"][one["probability"] >= threshold])
           for one, truth in zip(parts, truths, strict=True)]  # fmt: skip
    hit = np.concatenate(hit)
    kept = probability >= threshold
    of_scene = np.concatenate([np.full(len(one["true"]), number) for number, one in enumerate(parts)])
    result = {"ap": _average_precisions(parts, truths) if images else {}}
    result["threshold"] = threshold if np.isfinite(threshold) else None
    result["completeness"], result["completeness_error"] = share(hit, scene)
    result["purity"], result["purity_error"] = share(true[kept], of_scene[kept])
    named = np.concatenate([_outcomes(one, truth, threshold) for one, truth in zip(parts, truths, strict=True)])
    result["outcomes"] = outcome_shares(named, groups=scene)[0]
    for key, edges in BINS.items():
        by = np.concatenate([getattr(one, key)[one.wanted] for one in truths])
        if np.isfinite(by).any():
            result[f"by_{key}"] = [row for row in share_in_bins(hit, by, edges, scene) if row["n"]]
            result[f"outcomes_by_{key}"] = [row for row in outcome_shares(named, by, edges, scene) if row["n"]]
    measured = np.concatenate([one["magnitude"] for one in parts])
    result["calibration"] = _calibration(probability, true, of_scene, measured)
    return result


def _average_precisions(parts, truths):
    """Return box and mask AP and the precision at 80 % recall of each class, and of all together.

    Every detection is one of each class, with the probability that it is there and of that class: what the most
    probable class is depends on how common stars are in training.
    """
    result = {}
    for number, name in [(None, "all"), *enumerate(CLASSES)]:
        images = {"box": [], "mask": []}
        for one, truth in zip(parts, truths, strict=True):
            classes = one["class_probability"]
            weight, columns = 1.0, np.ones(int(truth.wanted.sum()), bool)
            if number is not None:
                columns = truth.classes[truth.wanted] == number
                weight = 1.0 if classes is None else classes[:, number]
            for kind, kept in images.items():
                kept.append((one["probability"] * weight, one[f"{kind}_overlaps"][:, columns]))
        if not sum(overlaps.shape[1] for _, overlaps in images["box"]):
            continue
        row = {}
        for kind, kept in images.items():
            values = [average_precision(kept, least) for least in OVERLAPS]
            row |= {f"{kind}_ap50": values[0], f"{kind}_ap": float(np.mean(values))}
        row["precision_at_80"] = precision_at_recall(*assigned(images["box"], 0.5), RECALL)
        result[name] = row
    return result


def _outcomes(one, truth, threshold):
    kept = one["probability"] >= threshold
    reach = 0.5 * np.max(one["boxes"][kept, 2:] - one["boxes"][kept, :2], axis=1, initial=0)
    return outcomes(one["positions"][kept], truth.positions[truth.wanted], MATCH_PIXELS, found_reach=reach)


def _calibration(probability, true, scene, magnitude):
    """Return how far the probabilities of detections are from how often they are true, also by measured magnitude."""
    if not len(probability):
        return None
    probability = np.clip(probability, 0, 1)
    value, error = resample(expected_calibration_error, probability, true, groups=scene)
    by = reliability_by(probability, true, magnitude, BINS["magnitude"], groups=scene)
    return {
        "ece": value, "ece_error": error, "reliability": reliability(probability, true),
        "by_magnitude": [row for row in by if row["n"] >= _LEAST_IN_BIN],
    }  # fmt: skip
