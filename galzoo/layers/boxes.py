"""Boxes and peaks: coding, overlap, the tops of a map."""

import keras
import numpy as np
from keras import ops


def top_peaks(logits, number):
    """Return the highest local maxima of maps.

    Parameters
    ----------
    logits : tensor, (n, y, x)
    number : int
        How many of each map; where it has fewer, cells beside peaks follow, with a score of -1e4.

    Returns
    -------
    score : tensor, (n, number)
        Values, highest first.
    cell : int tensor, (n, number)
        Row by row, as ``y * width + x``.

    Notes
    -----
    A peak is not below any of its eight neighbours.
    """
    highest = ops.max_pool(logits[..., None], 3, strides=1, padding="same")[..., 0]
    peaks = ops.where(logits >= highest, logits, -1e4)
    score, cell = ops.top_k(ops.reshape(peaks, (-1, peaks.shape[1] * peaks.shape[2])), number)
    return score, ops.cast(cell, "int32")


def cell_centres(height, width, stride):
    """Return the centres (cell, 2), x and y in pixels, of the cells of a map, row by row."""
    rows, columns = np.divmod(np.arange(height * width), width)
    return (np.stack([columns, rows], axis=-1) * stride + (stride - 1) / 2).astype("float32")


def at_cells(values, cell):
    """Return what maps (n, y, x, channel) or (n, y, x) have in the cells (n, number)."""
    shape = values.shape
    flat = ops.reshape(values, (-1, shape[1] * shape[2], *shape[3:]))
    index = cell[..., None] if len(shape) == 4 else cell
    return ops.take_along_axis(flat, index, axis=1)


def pairs_of(first, second):
    """Return squared distances (n, a, b) between positions (n, a, 2) and (n, b, 2)."""
    return ops.sum(ops.square(first[:, :, None] - second[:, None]), axis=-1)


def reach_to_box(centre, reach):
    """Return boxes x0, y0, x1, y1 of centres (..., 2) and the logarithms of the distances to the four edges."""
    distance = ops.exp(reach)
    return ops.concatenate([centre - distance[..., :2], centre + distance[..., 2:]], axis=-1)


def box_to_reach(centre, boxes, least=0.25):
    """Return the logarithms of the distances from centres (..., 2) to the edges of boxes, at least `least` pixels."""
    distance = ops.concatenate([centre - boxes[..., :2], boxes[..., 2:] - centre], axis=-1)
    return ops.log(ops.maximum(distance, least))


def squares(centre, side):
    """Return square boxes (..., 4) about centres (..., 2) of sides (...)."""
    half = side[..., None] / 2
    return ops.concatenate([centre - half, centre + half], axis=-1)


def area(boxes):
    """Return the areas of boxes (..., 4)."""
    return ops.maximum(boxes[..., 2] - boxes[..., 0], 0) * ops.maximum(boxes[..., 3] - boxes[..., 1], 0)


def overlap(first, second):
    """Return intersections over unions (n, a, b) of boxes (n, a, 4) and (n, b, 4)."""
    low = ops.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = ops.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    shared = area(ops.concatenate([low, high], axis=-1))
    union = area(first)[:, :, None] + area(second)[:, None] - shared
    return shared / ops.maximum(union, keras.config.epsilon())


def code_boxes(reference, boxes, least=0.5):
    """Return shifts over sizes and logarithms of ratios of sizes, dx, dy, dw, dh, that turn `reference` into `boxes`.

    Parameters
    ----------
    reference, boxes : tensors, (..., 4)
        x0, y0, x1, y1.
    least : float
        Smaller sides count as this.

    References
    ----------
    Girshick et al. 2014, arXiv:1311.2524.
    """
    size, new = (ops.maximum(each[..., 2:] - each[..., :2], least) for each in (reference, boxes))
    shift = (boxes[..., :2] + boxes[..., 2:] - reference[..., :2] - reference[..., 2:]) / 2
    return ops.concatenate([shift / size, ops.log(new / size)], axis=-1)


def decode_boxes(reference, code, largest=4.0):
    """Return the boxes (..., 4) that `code_boxes` coded; logarithms of sizes are cut at `largest`."""
    size = reference[..., 2:] - reference[..., :2]
    centre = (reference[..., :2] + reference[..., 2:]) / 2 + code[..., :2] * size
    half = 0.5 * size * ops.exp(ops.minimum(code[..., 2:], largest))
    return ops.concatenate([centre - half, centre + half], axis=-1)
