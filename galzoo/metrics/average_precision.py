"""Average precision of detections, as the COCO benchmark defines it, and the precision at a recall.

References
----------
Lin et al. 2014, arXiv:1405.0312; the numbers equal those of pycocotools' ``COCOeval`` for all areas.
"""

import numpy as np

from galzoo.errors import InputError

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO takes the precision."""


def box_overlaps(found, truth):
    """Return the intersection over union of boxes.

    Parameters
    ----------
    found, truth : array, (n, 4) and (m, 4)
        Edges x0, y0, x1, y1.

    Returns
    -------
    float64 array, (n, m)
        0 where a box has no area.
    """
    found, truth = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (found, truth))
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=-1) for boxes in (found, truth)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def mask_overlaps(found, truth, size):
    """Return the intersection over union of masks.

    Parameters
    ----------
    found, truth : sequence of int arrays
        Of each mask the numbers of its pixels, ``y * width + x``, none twice.
    size : int
        Number of pixels of the image.

    Returns
    -------
    float64 array, (n, m)
        0 where a mask is empty.
    """
    from scipy.sparse import csr_array

    def table(masks):
        counts = [len(mask) for mask in masks]
        pixels = np.concatenate([np.zeros(0, int), *masks]).astype(int)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        return csr_array((np.ones(len(pixels)), pixels, ends), shape=(len(counts), size)), np.array(counts, float)

    (one, area), (other, true_area) = table(found), table(truth)
    shared = (one @ other.T).toarray()
    union = area[:, None] + true_area[None] - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def assign_by_overlap(overlaps, least):
    """Return which detections of an image are true: the most probable first, each takes the best that is left.

    Parameters
    ----------
    overlaps : array, (n, m)
        Detections in the order of falling probability, with each true source.
    least : float
        Overlap from which on they may be the same.

    Returns
    -------
    int array, (n,)
        Row of the true source, -1 where the detection is false.
    """
    found, truth = overlaps.shape
    rows, free = np.full(found, -1), np.ones(truth, bool)
    least = min(least, 1 - 1e-10)
    for row in range(found if truth else 0):
        left = np.where(free, overlaps[row], -1.0)
        # Of equal ones COCO takes the last.
        best = truth - 1 - int(np.argmax(left[::-1]))
        if left[best] >= least:
            rows[row], free[best] = best, False
    return rows


def precision_recall(probability, true, n_truth):
    """Return precision and recall down the list of all detections.

    Parameters
    ----------
    probability : array, (n,)
    true : bool array, (n,)
    n_truth : int
        Number of true sources.

    Returns
    -------
    precision, recall : array, (n,)
        After the first, the first two, ... detections in the order of falling probability.
    """
    order = np.argsort(-np.asarray(probability, np.float64), kind="mergesort")
    hits = np.cumsum(np.asarray(true, bool)[order])
    return hits / np.arange(1, len(order) + 1), hits / n_truth if n_truth else np.full(len(order), np.nan)


def average_precision(images, least, most=None):
    """Return the average precision of one class over images.

    Parameters
    ----------
    images : sequence of (array (n,), array (n, m))
        Of each image the probabilities of its detections, and their overlap with its true sources.
    least : float
        Overlap from which on a detection is the true source: 0.5 for AP50.
    most : int, optional
        Only the most probable so many of an image count; all by default (pycocotools: 100).

    Returns
    -------
    float
        Mean over `RECALLS` of the precision, which is the best at that recall or a higher one; NaN without a true
        source.

    Raises
    ------
    InputError
        If numbers of probabilities and overlaps differ.
    """
    probability, true, n_truth = assigned(images, least, most)
    if not n_truth:
        return float("nan")
    precision, recall = precision_recall(probability, true, n_truth)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, RECALLS, side="left")
    reached = place < len(envelope)
    return float(np.sum(envelope[place[reached]]) / len(RECALLS))


def assigned(images, least, most=None):
    """Return probability (n,) and truth, bool (n,), of the detections of all images, and the number of true sources."""
    probabilities, true, n_truth = [np.zeros(0)], [np.zeros(0, bool)], 0
    for probability, overlaps in images:
        probability, overlaps = np.asarray(probability, np.float64), np.asarray(overlaps, np.float64)
        if overlaps.ndim != 2 or len(probability) != len(overlaps):
            raise InputError(f"{len(probability)} probabilities, overlaps of shape {overlaps.shape}; give a row each")
        order = np.argsort(-probability, kind="mergesort")[:most]
        probabilities.append(probability[order])
        true.append(assign_by_overlap(overlaps[order], least) >= 0)
        n_truth += overlaps.shape[1]
    return np.concatenate(probabilities), np.concatenate(true), n_truth


def precision_at_recall(probability, true, n_truth, recall=0.8):
    """Return the precision of the shortest list of the most probable detections that reaches a recall.

    Parameters
    ----------
    probability, true, n_truth
        As of `precision_recall`.
    recall : float

    Returns
    -------
    float
        0 where the recall is not reached; NaN without a true source.
    """
    if not n_truth:
        return float("nan")
    precision, reached = precision_recall(probability, true, n_truth)
    place = np.searchsorted(reached, recall - 1e-12)
    return float(precision[place]) if place < len(precision) else 0.0
