"""ROI align over the levels of a feature pyramid, by one gather."""

import numpy as np
from keras import ops


def roi_align(levels, strides, boxes, level, size, samples=1):
    """Return the features of boxes on an even grid.

    Parameters
    ----------
    levels : sequence of tensors, (n, y, x, channel)
        Feature maps of the images, with as many channels each.
    strides : sequence of int
        Pixels of the image to a cell of each map; the first cell covers the first pixels.
    boxes : tensor, (n, box, 4)
        Edges x0, y0, x1, y1 in pixels of the image (pixel centres at integers).
    level : int tensor, (n, box)
        Number of the map that each box is read from.
    size : int
        Bins on a side.
    samples : int
        Points on a side of a bin, whose mean is taken.

    Returns
    -------
    tensor, (n, box, size, size, channel)

    Notes
    -----
    Values are interpolated between the centres of cells. Points up to one cell outside the map take the value of its
    rim, those beyond are 0. With one map this is `torchvision.ops.roi_align` with ``aligned=True``.

    References
    ----------
    He et al. 2017, arXiv:1703.06870.
    """
    points = grid_points(boxes, size * samples)
    stride = ops.take(np.asarray(strides, "float32"), level)[..., None, None, None]
    # Edges of pixels are at halves: pixel p is the middle of p - 1/2 to p + 1/2, and so are cells.
    points = (points + 0.5) / stride - 0.5
    heights, widths = ([int(values.shape[axis]) for values in levels] for axis in (1, 2))
    firsts = np.cumsum([0, *(h * w for h, w in zip(heights, widths, strict=True))])
    sizes = zip(levels, heights, widths, strict=True)
    flat = [ops.reshape(values, (-1, h * w, values.shape[-1])) for values, h, w in sizes]
    flat = flat[0] if len(flat) == 1 else ops.concatenate(flat, axis=1)
    shape = [ops.take(np.asarray(values, "int32"), level)[..., None] for values in (heights, widths, firsts[:-1])]
    values = interpolate(flat, points, *shape)
    count = boxes.shape[1]
    if samples == 1:
        return ops.reshape(values, (-1, count, size, size, values.shape[-1]))
    values = ops.reshape(values, (-1, count, size, samples, size, samples, values.shape[-1]))
    return ops.mean(values, axis=(3, 5))


def grid_points(boxes, size):
    """Return the middles of `size` x `size` even parts of boxes (n, box, 4): x and y, (n, box, 2, size, size)."""
    share = ((np.arange(size) + 0.5) / size).astype("float32")
    x = boxes[..., 0, None] + (boxes[..., 2] - boxes[..., 0])[..., None] * share
    y = boxes[..., 1, None] + (boxes[..., 3] - boxes[..., 1])[..., None] * share
    ones = np.ones((size, size), "float32")
    return ops.stack([x[..., None, :] * ones, y[..., :, None] * ones], axis=2)


def interpolate(flat, points, height, width, first=0):
    """Return bilinear values of maps that lie row by row in one axis.

    Parameters
    ----------
    flat : tensor, (n, cell, channel)
    points : tensor, (n, box, 2, y, x)
        x and y in cells of each box's map.
    height, width, first : int or int tensor, (n, box, 1)
        Shape of each box's map, and its first cell in `flat`.

    Returns
    -------
    tensor, (n, box, y * x, channel)
    """
    n, count = ops.shape(points)[0], points.shape[1]
    grid = points.shape[3] * points.shape[4]
    x = ops.reshape(points[:, :, 0], (-1, count, grid))
    y = ops.reshape(points[:, :, 1], (-1, count, grid))
    floats = [ops.cast(value, "float32") for value in (width, height)]
    inside = ops.logical_and(ops.logical_and(x >= -1, x <= floats[0]), ops.logical_and(y >= -1, y <= floats[1]))
    x, y = ops.clip(x, 0.0, floats[0] - 1), ops.clip(y, 0.0, floats[1] - 1)
    x0, y0 = ops.floor(x), ops.floor(y)
    fx, fy = x - x0, y - y0
    x0, y0 = ops.cast(x0, "int32"), ops.cast(y0, "int32")
    x1, y1 = ops.minimum(x0 + 1, width - 1), ops.minimum(y0 + 1, height - 1)
    cells, channels = int(flat.shape[1]), flat.shape[-1]
    start = ops.reshape(ops.arange(n, dtype="int32") * cells, (-1, 1, 1)) + first
    table = ops.reshape(flat, (-1, channels))
    result = 0.0
    for row, wy in ((y0, 1 - fy), (y1, fy)):
        for column, wx in ((x0, 1 - fx), (x1, fx)):
            weight = ops.where(inside, wy * wx, 0.0)[..., None]
            result = result + ops.cast(weight, table.dtype) * ops.take(table, start + row * width + column, axis=0)
    return result
