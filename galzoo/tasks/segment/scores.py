"""Scores of classes of pixels and of the sources made of them, where the truth is known."""

import numpy as np

from galzoo.contracts.segmentation import Segmented
from galzoo.data.extraction import extract
from galzoo.errors import GalzooError, InputError
from galzoo.metrics.calibration import expected_calibration_error
from galzoo.metrics.matching import match
from galzoo.metrics.segmentation import accuracy, confusion, intersection_over_union, mean_iou, recall
from galzoo.progress import track
from galzoo.tasks.segment.run import band_order
from galzoo.tasks.segment.segments import find_segments, split_segments
from galzoo.tasks.segment.votes import STRIDE, vote_image

# A source is found if there is one within so many pixels.
_MATCH = 4.0
# SExtractor's usual threshold and area.
_SEP_THRESHOLD, _SEP_AREA = 1.5, 5
_BINS = 10
_DRAWS = 200
_MAGNITUDES = np.arange(18.0, 29.0)


def segment_images(model, images, stride=STRIDE, progress=False):
    """Segment each image of some stamps or scenes.

    Parameters
    ----------
    model : galzoo.contracts.segmentation.Segmenter
    images : galzoo.data.images.Images
        Bands are found by their names.
    stride : int
        See `galzoo.tasks.segment.votes.vote_image`. Images that are smaller than a window are seen whole.
    progress : bool

    Returns
    -------
    list of Segmented
    """
    order = band_order(images, model)
    found = []
    for row in track(range(len(images)), "segmenting", progress):
        image = images.image[row][..., order].astype(np.float32)
        mask = ~np.isfinite(image)
        if images.mask is not None:
            mask |= images.mask[row][..., order]
        image = np.where(mask, 0, image)
        if min(image.shape[:2]) < model.window:
            votes = model.pixel_classes({"image": image[None], "mask": mask[None]})[0]
            windows = np.ones(image.shape[:2], np.uint16)
        else:
            counts = vote_image(model, image, mask, stride)
            windows = counts.sum(axis=-1)
            votes = counts / np.maximum(windows, 1)[..., None]
        votes = np.moveaxis(votes, -1, 0).astype(np.float32)
        labels = split_segments(find_segments(votes[-1], windows > 0), image[..., 0])
        found.append(Segmented(votes, windows, labels, tuple(model.classes)))
    return found


def pixel_scores(found, truth, classes):
    """Score the classes of pixels.

    Parameters
    ----------
    found : list of Segmented
    truth : array, (n, y, x, class)
        Membership of each pixel in each class.
    classes : sequence of str

    Returns
    -------
    dict
        ``accuracy``, ``source_accuracy`` (where the truth is no background), ``mean_iou``, each with ``_error`` by
        bootstrap over images, and of each class ``share, recall, iou``.
    """
    true = truth.argmax(axis=-1)
    best = np.stack([np.where(one.windows > 0, one.votes.argmax(axis=0), -1) for one in found])
    tables = np.stack([confusion(*pair, len(classes)) for pair in zip(true, best, strict=True)])
    sources = tables[:, :-1]
    scores = {}
    for name, parts, statistic in (
        ("accuracy", tables, accuracy), ("mean_iou", tables, mean_iou), ("source_accuracy", sources, _source_accuracy),
    ):  # fmt: skip
        scores[name], scores[f"{name}_error"] = _bootstrap(parts, statistic)
    total = tables.sum(axis=0)
    each = zip(classes, total.sum(axis=1) / total.sum(), recall(total), intersection_over_union(total), strict=True)
    scores["classes"] = {
        name: {"share": float(share), "recall": float(right), "iou": float(iou)} for name, share, right, iou in each
    }
    return scores


def _source_accuracy(table):
    right = np.trace(table[..., :-1], axis1=-2, axis2=-1)
    whole = table.sum(axis=(-2, -1))
    return np.where(whole > 0, right / np.maximum(whole, 1), np.nan)


def _bootstrap(tables, statistic):
    random = np.random.default_rng(0)
    value = float(statistic(tables.sum(axis=0)))
    if len(tables) < 2:
        return value, float("nan")
    drawn = tables[random.integers(len(tables), size=(_DRAWS, len(tables)))].sum(axis=1)
    return value, float(np.nanstd(statistic(drawn), ddof=1))


def source_scores(found, scenes, model):
    """Score the sources made of pixels, beside those that SEP finds on the sum of all bands.

    Parameters
    ----------
    found : list of Segmented
    scenes : Scenes
        With ``x``, ``y`` and a magnitude in the model's first band for each source.
    model : galzoo.contracts.segmentation.Segmenter

    Returns
    -------
    dict
        ``bins``, a list with ``magnitude, sources`` and completeness of ``model`` and ``sep``; ``completeness`` and
        ``purity`` of each over all; ``classes``, of those found, how many of each true class have it as their most
        probable one.
    """
    band = model.bands[0]
    table = scenes.sources
    magnitude = np.asarray(table[f"mag_{band}"], float)
    scene, places = np.asarray(table["scene"]), np.stack([np.asarray(table[key], float) for key in "xy"], axis=-1)
    names = [f"p_{name}" for name in model.classes[:-1]]
    fractions = np.stack([np.asarray(table[name], float) for name in names], -1) if names[0] in table.colnames else None
    hits = {method: np.zeros(len(table), bool) for method in ("model", "sep")}
    counts = {method: [0, 0] for method in hits}
    judged, classes = np.zeros(len(table), bool), np.zeros((len(names),) * 2, int)
    order = band_order(scenes, model)
    for row, one in enumerate(found):
        rows = np.flatnonzero(scene == row)
        inside = _voted(one, places[rows])
        judged[rows[inside]] = True
        image = scenes.image[row][..., order]
        positions = {"model": _segment_places(one, image[..., 0]), "sep": _sep_places(scenes, row, order)}
        for method, points in positions.items():
            pairs = match(points, places[rows], _MATCH)
            hits[method][rows[pairs.truth]] = True
            there = _voted(one, points)
            counts[method][0] += int(there[pairs.found].sum())
            counts[method][1] += int(there.sum())
            if method == "model" and fractions is not None:
                called = _segment_classes(one, image[..., 0])[pairs.found].argmax(axis=-1)
                np.add.at(classes, (fractions[rows[pairs.truth]].argmax(axis=-1), called), 1)
    scores = {"bins": []}
    for low, high in zip(_MAGNITUDES[:-1], _MAGNITUDES[1:], strict=True):
        here = judged & (magnitude >= low) & (magnitude < high)
        if here.any():
            bin_ = {"magnitude": [low, high], "sources": int(here.sum())}
            for method, hit in hits.items():
                bin_[method], bin_[f"{method}_error"] = _share(hit[here])
            scores["bins"].append(bin_)
    for method, hit in hits.items():
        value, error = _share(hit[judged])
        right, all_ = counts[method]
        scores[method] = {"completeness": value, "completeness_error": error, "purity": right / max(all_, 1)}
    if fractions is not None:
        scores["classes"] = {
            name: {"sources": int(line.sum())}
            | {other: int(number) for other, number in zip(model.classes, line, strict=False)}
            for name, line in zip(model.classes[:-1], classes, strict=True)
        }
    return scores


def _voted(one, places):
    """Return which positions (n, 2) lie where windows voted."""
    column, line = np.round(places.T).astype(int) if len(places) else np.zeros((2, 0), int)
    height, width = one.windows.shape
    good = (line >= 0) & (line < height) & (column >= 0) & (column < width)
    return good & (one.windows[np.clip(line, 0, height - 1), np.clip(column, 0, width - 1)] > 0)


def _segment_places(one, light):
    """Return the position of the brightest pixel of each segment, (n, 2)."""
    from scipy.ndimage import maximum_position

    count = int(one.segmentation.max(initial=0))
    peaks = maximum_position(light, one.segmentation, np.arange(1, count + 1)) if count else []
    return np.array(peaks, float).reshape(-1, 2)[:, ::-1]


def _segment_classes(one, light):
    """Return the flux-weighted classes of each segment, (n, class)."""
    from scipy.ndimage import sum_labels

    numbers = np.arange(1, int(one.segmentation.max(initial=0)) + 1)
    weight = np.maximum(light, 1e-6 * np.abs(light).max(initial=1.0))
    return np.stack([sum_labels(weight * plane, one.segmentation, numbers) for plane in one.votes[:-1]], axis=-1)


def _sep_places(scenes, row, order):
    image, variance = scenes.image[row][..., order].astype(float), scenes.variance
    if variance is None:
        raise InputError("the scenes have no variance, which SEP needs; give scenes with noise that is known")
    sky = np.median(variance[row][..., order].astype(float), axis=(0, 1))
    weight = np.where(np.isfinite(sky) & (sky > 0), 1 / sky, 0)
    total = (image * weight).sum(axis=-1) / weight.sum()
    try:
        objects, _ = extract(np.ascontiguousarray(total), _SEP_THRESHOLD, weight.sum() ** -0.5, least_area=_SEP_AREA)
    except GalzooError:
        return np.zeros((0, 2))
    return np.stack([objects["x"], objects["y"]], axis=-1).astype(float)


def _share(hits):
    value = float(np.mean(hits)) if len(hits) else float("nan")
    return value, float(np.sqrt(value * (1 - value) / len(hits))) if len(hits) else float("nan")


def calibration_scores(found, truth):
    """Compare shares of votes with what pixels are, over the pixels that are not surely background on either side.

    Returns
    -------
    dict
        ``bins``: of the pixels and classes with about such a share of votes, how much of them is the class;
        ``ece``: the mean difference, weighted by how often each share occurs (expected calibration error).
    """
    shares, members = [], []
    for one, label in zip(found, truth, strict=True):
        open_pixels = (one.windows > 0) & ((one.votes[-1] < 1) | (label[..., -1] < 1))
        shares.append(one.votes[:, open_pixels].ravel())
        members.append(np.moveaxis(label, -1, 0)[:, open_pixels].ravel())
    shares, members = np.concatenate(shares), np.concatenate(members)
    number = np.minimum((shares * _BINS).astype(int), _BINS - 1)
    bins = []
    for index in range(_BINS):
        here = number == index
        if here.any():
            mean, true = float(shares[here].mean()), float(members[here].mean())
            bins.append({"share": mean, "true": true, "part": float(here.mean())})
    return {"bins": bins, "ece": expected_calibration_error(shares, members, _BINS, "width")}
