"""Which of many overlapping boxes are kept: greedy and matrix non-maximum suppression, with static shapes."""

import numpy as np
from keras import ops

from galzoo.layers.boxes import overlap


def suppress(boxes, score, limit):
    """Return which boxes greedy non-maximum suppression keeps.

    Parameters
    ----------
    boxes : tensor, (n, box, 4)
        x0, y0, x1, y1.
    score : tensor, (n, box)
        Of equal scores the first comes first.
    limit : float
        A box is left out if its intersection over union with a better one that is kept is above this.

    Returns
    -------
    bool tensor, (n, box)

    Notes
    -----
    All boxes are judged at once, again and again until nothing changes: as many times as the longest chain of boxes of
    which each one decides about the next, and the result is that of the loop over boxes.
    """
    against = ops.logical_and(overlap(boxes, boxes) > limit, _better(score))
    # Chains are no longer than there are boxes.
    most = boxes.shape[1]

    def judge(kept, _changed, step):
        beaten = ops.any(ops.logical_and(against, kept[:, :, None]), axis=1)
        new = ops.logical_not(beaten)
        return new, ops.any(ops.not_equal(new, kept)), step + 1

    def going(_kept, changed, step):
        return ops.logical_and(changed, step <= most)

    start = (ops.ones_like(score, dtype="bool"), ops.convert_to_tensor(True), ops.convert_to_tensor(0))
    return ops.while_loop(going, judge, start)[0]


def matrix_decay(boxes, score, sigma=2.0):
    """Return the factors (n, box) by which matrix non-maximum suppression lowers scores.

    Parameters
    ----------
    boxes, score : tensors
        As for `suppress`.
    sigma : float
        Of the Gaussian kernel, exp(-sigma times the squared intersection over union).

    References
    ----------
    Wang et al. 2020 (SOLOv2), arXiv:2003.10152.
    """
    square = ops.square(overlap(boxes, boxes)) * ops.cast(_better(score), "float32")
    # What each box itself has suffered from those that are better.
    suffered = ops.max(square, axis=1)
    return ops.exp(-sigma * ops.maximum(ops.max(square - suffered[:, :, None], axis=1), 0.0))


def _better(score):
    """Return whether a box (n, this one, than that) comes before another."""
    number = score.shape[1]
    first = np.arange(number)[:, None] < np.arange(number)
    one, other = score[:, :, None], score[:, None]
    return ops.logical_or(one > other, ops.logical_and(ops.equal(one, other), first))
