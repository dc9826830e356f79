"""The pixels of detections."""

import numpy as np

SHARE = 0.5
"""A pixel belongs to a detection that has at least this share of its light."""


def pixels_of(boxes, masks, shape):
    """Return the pixels of detections in an image.

    Parameters
    ----------
    boxes : array, (n, 4)
        Pixel edges x0, y0, x1, y1.
    masks : array, (n, m, m) or None
        Share of the light of each pixel, on an even grid over the box; the ellipse in the box where there is none.
    shape : (int, int)
        Size of the image, (y, x).

    Returns
    -------
    source, y, x : int arrays, (pixel,)
        Number of the detection, and where the pixel lies; a pixel may belong to several.
    share : float32 array, (pixel,)
    """
    found = [(np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    for row, box in enumerate(np.asarray(boxes, float)):
        if not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
            continue
        x = np.arange(max(int(np.ceil(box[0])), 0), min(int(np.floor(box[2])), shape[1] - 1) + 1)
        y = np.arange(max(int(np.ceil(box[1])), 0), min(int(np.floor(box[3])), shape[0] - 1) + 1)
        if not len(x) or not len(y):
            continue
        # Place in the box, from 0 to 1.
        u, v = (x - box[0]) / (box[2] - box[0]), (y - box[1]) / (box[3] - box[1])
        if masks is None:
            # Falls from the middle to a half at the rim.
            share = 1 - 2 * ((u - 0.5)[None] ** 2 + (v - 0.5)[:, None] ** 2)
        else:
            share = _sampled(np.asarray(masks[row], float), u, v)
        line, column = np.nonzero(share >= SHARE)
        found.append((np.full(len(line), row), y[line].astype(np.int32), x[column].astype(np.int32),
                      share[line, column].astype(np.float32)))  # fmt: skip
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _sampled(mask, u, v):
    """Return a mask at places from 0 to 1 of its box, bilinear between the middles of its cells, (v, u)."""

    def weights(place, cells):
        at = np.clip(place * cells - 0.5, 0, cells - 1)
        low = np.minimum(at.astype(int), max(cells - 2, 0))
        matrix = np.zeros((len(place), cells))
        rows = np.arange(len(place))
        matrix[rows, low] = 1 - (at - low)
        matrix[rows, np.minimum(low + 1, cells - 1)] += at - low
        return matrix

    return weights(v, mask.shape[0]) @ mask @ weights(u, mask.shape[1]).T


def top_pixels(source, y, x, share, shape):
    """Return a label image (y, x), number of the detection with the largest share + 1, 0 where there is none."""
    labels = np.zeros(shape, np.int32)
    order = np.argsort(share, kind="stable")
    labels[y[order], x[order]] = source[order] + 1
    return labels
