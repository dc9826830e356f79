"""A region proposal network over anchors, as in the published networks."""

import numpy as np
from keras import ops

from galzoo.layers import boxes as boxing
from galzoo.layers.suppression import matrix_decay, suppress
from galzoo.models.mask_rcnn.losses import cross_entropy

# Side of the anchors in cells of their level: 8 pixels at 2 pixels a cell, 128 at 32.
_SCALE = 4
# Overlaps from which an anchor is a source's, and below which it is none's.
_OWN, _NONE = 0.7, 0.3
# Anchors that go into the suppression, for each one that is kept; and the overlap above which one is left out.
_BEFORE, _OVERLAP = 4, 0.7
# Scores of fillers.
_LOWEST = -1e4


def anchor_boxes(shapes, strides, ratios):
    """Return the anchors (anchor, 4) of maps of the given shapes: level by level, cell by cell, ratio by ratio.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Cells (y, x) of each level.
    strides : sequence of int
        Pixels to a cell.
    ratios : sequence of float
        Heights over widths; all have the same area.
    """
    parts = []
    for (height, width), stride in zip(shapes, strides, strict=True):
        centre = boxing.cell_centres(height, width, stride)[:, None]
        root = np.sqrt(np.asarray(ratios, "float32"))
        half = _SCALE * stride / 2 * np.stack([1 / root, root], axis=-1)[None]
        parts.append(np.concatenate([centre - half, centre + half], axis=-1).reshape(-1, 4))
    return np.concatenate(parts).astype("float32")


def anchor_losses(values, anchors, truth):
    """Return the losses of a region proposal network, ``centres`` (of the logit) and ``places`` (of the box).

    Parameters
    ----------
    values : tensor, (n, anchor, 5)
        Logit that there is a source, and the code of its box (`galzoo.layers.boxes.code_boxes`).
    anchors : array, (anchor, 4)
    truth : dict
        As from `losses.select_truth`.

    Notes
    -----
    An anchor is a source's if they overlap by .7, or if no other overlaps more with that source; it is none's below
    .3. Those between, and those of sources that are too faint, teach nothing.
    """
    shared = boxing.overlap(ops.convert_to_tensor(anchors)[None] + 0 * truth["boxes"][:, :1, :1], truth["boxes"])
    positive = ops.where(truth["positive"][:, None], shared, 0.0)
    best = ops.max(positive, axis=-1)
    # A source of which all anchors know nothing has none.
    champion = ops.logical_and(positive >= ops.max(positive, axis=1, keepdims=True), positive > 0)
    own = ops.logical_or(best >= _OWN, ops.any(champion, axis=-1))
    ignored = ops.max(ops.where(truth["ignored"][:, None], shared, 0.0), axis=-1) >= _NONE
    none = ops.logical_and(best < _NONE, ops.logical_not(ignored))
    target = ops.cast(own, "float32")
    counted = ops.cast(ops.logical_or(own, none), "float32")
    count = ops.sum(target) + 1.0
    # A champion keeps to the source that it is champion of.
    owner = ops.argmax(positive + ops.cast(champion, "float32"), axis=-1)
    boxes = ops.take_along_axis(truth["boxes"], owner[..., None], axis=1)
    error = ops.mean(ops.abs(values[..., 1:] - boxing.code_boxes(anchors, boxes)), axis=-1)
    return {
        "centres": ops.sum(counted * cross_entropy(values[..., 0], target)) / count,
        "places": ops.sum(target * error) / count,
    }


def anchor_proposals(values, anchors, number, matrix=False):
    """Return the best boxes after suppression.

    Parameters
    ----------
    values : tensor, (n, anchor, 5)
    anchors : array, (anchor, 4)
    number : int
        How many; where fewer are kept, the others follow with a score of -1e4.
    matrix : bool
        Lower the scores of boxes that overlap with better ones (matrix non-maximum suppression) in place of leaving
        those out that overlap by more than .7.

    Returns
    -------
    boxes : tensor, (n, number, 4)
    score : tensor, (n, number)
        Logits, highest first.
    """
    score, index = ops.top_k(values[..., 0], min(_BEFORE * number, values.shape[1]))
    code = ops.take_along_axis(values[..., 1:], index[..., None], axis=1)
    boxes = boxing.decode_boxes(ops.take(anchors, index, axis=0), code)
    if matrix:
        probability = ops.sigmoid(score) * matrix_decay(boxes, score)
        score = ops.log(ops.maximum(probability, 1e-12)) - ops.log1p(-ops.minimum(probability, 1 - 1e-6))
    else:
        score = ops.where(suppress(boxes, score, _OVERLAP), score, _LOWEST)
    score, chosen = ops.top_k(score, number)
    return ops.take_along_axis(boxes, chosen[..., None], axis=1), score
