"""Cells of the part of images that has good pixels."""

import numpy as np
from keras import ops

from galzoo.layers.likelihood import weights

NO_STAR = np.float32(-100)
"""Logit of a cell of which no pixel tells."""


def lit_cells(model, batch):
    """Return the cells of a batch, looking only at the rectangle about its good pixels.

    Cells that have no good pixel in the window of the sky's noise have no star: nothing is known there. A block that
    reaches beyond the field, as of a field smaller than a block, takes no longer than what is there, and its edges are
    what they were in training: the end of the image.

    Parameters
    ----------
    model : StarNet
    batch : dict of arrays
        What the model reads.

    Returns
    -------
    dict of arrays
        As the model returns them, for all pixels, but for ``known``.
    """
    shape = np.shape(batch["variance"])
    if len(shape) != 4:
        # The model says what is wrong.
        return _cells(model, batch)
    weight = ops.convert_to_numpy(weights(ops.cast(batch["variance"], "float32"), batch.get("mask")))
    lit = (weight > 0).any(axis=(0, 3))
    if not lit.any():
        # A corner for the form of the answer, in which there is no star.
        rows = columns = slice(0, min(model.stride, *lit.shape))
    else:
        rows, columns = (_span(lit.any(axis=axis), model.stride) for axis in (1, 0))
    planes = [key for key in ("image", "variance", "mask") if batch.get(key) is not None]
    found = _cells(model, batch | {key: batch[key][:, rows, columns] for key in planes})
    if (rows.start, columns.start, *found["logit"].shape[1:3]) == (0, 0, *lit.shape):
        return found
    return {key: _put_back(key, value, rows, columns, lit.shape) for key, value in found.items()}


def _cells(model, batch):
    found = {key: ops.convert_to_numpy(value) for key, value in model(batch).items()}
    # Of pixels far beyond all training logits may be so low that no probability is left to divide by.
    found["logit"] = np.where(found.pop("known")[..., None] > 0, np.maximum(found["logit"], NO_STAR), NO_STAR)
    return found


def _span(lit, stride):
    """Return the slice of an axis from the first to the last lit pixel, which begins at a multiple of `stride`."""
    first, last = np.flatnonzero(lit)[[0, -1]]
    return slice(first - first % stride, last + 1)


def _put_back(key, value, rows, columns, shape):
    """Return cells of a part of the pixels as cells of all of them."""
    if value.ndim < 4:
        return value
    whole = np.full((len(value), *shape, *value.shape[3:]), NO_STAR if key == "logit" else 0, value.dtype)
    if key == "unit":
        whole[:] = 1
    whole[:, rows, columns] = value + [columns.start, rows.start] if key == "position" else value
    return whole
