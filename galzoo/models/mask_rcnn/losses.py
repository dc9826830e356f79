"""What the detector is taught: targets for maps, proposals and masks, and the losses."""

import numpy as np
from keras import ops

from galzoo.layers import boxes as boxing
from galzoo.layers.roi_align import grid_points, interpolate
from galzoo.models.mask_rcnn.first_pass import add_up

# Pixels that a source without an image of its own is taken to cover where its signal-to-noise ratio is asked for.
_PIXELS = 50.0
# Logarithms of predicted errors stay between these; residuals beyond so many errors count linearly.
LEAST_LOG, MOST_LOG, _ROBUST = -5.0, 3.0, 3.0
# Half-light radii, in pixels, below which the logarithm is cut.
_LEAST_RADIUS = 0.1
# Cells whose centre is so near to a source, in cells along x and y, learn its place and box.
_NEAR = 1.5


def with_source_images(batch):
    """Return the batch with ``source_images`` and ``corners`` where it has the sources one by one in any form."""
    if batch.get("source_images") is not None or batch.get("isolated") is None:
        return batch
    corners = ops.zeros_like(ops.cast(batch["positions"], "float32"))
    return {**batch, "source_images": batch["isolated"], "corners": corners}


def signal_to_noise(batch, noise, present):
    """Return the signal-to-noise ratio (n, source) of each source alone, by a matched filter over all bands.

    Where the batch has no ``source_images`` each source's flux is taken to be spread over 50 pixels.
    """
    inverse = present / ops.square(noise[:, 0, 0])
    if batch.get("source_images") is not None:
        images = ops.cast(batch["source_images"], "float32")
        power = ops.sum(ops.square(images), axis=(2, 3))
    else:
        power = ops.square(ops.cast(batch["flux"], "float32")) / _PIXELS
    return ops.sqrt(ops.sum(power * inverse[:, None], axis=-1))


def select_truth(batch, noise, present, limit, wanted=None):
    """Return the sources of a batch as the losses need them.

    Parameters
    ----------
    batch : dict
    noise, present : tensors, (n, 1, 1, band), (n, band)
        Noise of each band, and 1 where it is there.
    limit : float
        Signal-to-noise ratio from which a source must be found. Fainter ones are neither positive nor negative.
    wanted : bool tensor, (n, source), optional
        Those that are looked for.

    Returns
    -------
    dict
        ``positions, boxes`` and bool tensors (n, source) ``positive`` and ``ignored``.
    """
    positions = ops.cast(batch["positions"], "float32")
    there = np.arange(positions.shape[1]) < ops.cast(batch["n_sources"], "int32")[:, None]
    if wanted is not None:
        there = ops.logical_and(there, wanted)
    bright = signal_to_noise(batch, noise, present) >= limit
    return {
        "positions": positions,
        "boxes": ops.cast(batch["boxes"], "float32"),
        "positive": ops.logical_and(there, bright),
        "ignored": ops.logical_and(there, ops.logical_not(bright)),
    }


def map_losses(maps, truth, stride):
    """Return the losses of the maps of centres, ``centres`` and ``places``.

    Parameters
    ----------
    maps : tensor, (n, y, x, 7)
        Logit that a centre lies in the cell; its offset x, y from the middle of the cell in pixels; logarithms of the
        distances from there to the edges of the box.
    truth : dict
        As from `select_truth`.
    stride : int

    Notes
    -----
    The logit's loss is the plain cross-entropy, whose best answer is the probability that a centre lies in the cell.
    """
    n, height, width = ops.shape(maps)[0], *maps.shape[1:3]
    cell = ops.cast(ops.floor((truth["positions"] + 0.5) / stride), "int32")
    cell = ops.clip(cell[..., 1], 0, height - 1) * width + ops.clip(cell[..., 0], 0, width - 1)
    target = _mark(cell, truth["positive"], n, height, width)
    unknown = ops.max_pool(_mark(cell, truth["ignored"], n, height, width)[..., None], 3, strides=1, padding="same")
    weight = ops.maximum(target, 1 - unknown[..., 0])
    count = ops.sum(target) + 1.0
    centres = ops.sum(weight * cross_entropy(maps[..., 0], target)) / count

    middles = boxing.cell_centres(height, width, stride)
    far = ops.where(truth["positive"], 0.0, 1e9)[:, None]
    distance = boxing.pairs_of(middles[None], truth["positions"]) + far
    owner = ops.argmin(distance, axis=-1)
    position, box = (ops.take_along_axis(truth[key], owner[..., None], axis=1) for key in ("positions", "boxes"))
    near = ops.max(ops.abs(position - middles), axis=-1) <= _NEAR * stride
    near = ops.cast(ops.logical_and(near, ops.min(distance, axis=-1) < 1e8), "float32")
    flat = ops.reshape(maps, (-1, height * width, maps.shape[-1]))
    error = ops.sum(ops.abs(flat[..., 1:3] - (position - middles)), axis=-1) / stride
    error = error + ops.mean(ops.abs(flat[..., 3:7] - boxing.box_to_reach(position, box)), axis=-1)
    return {"centres": centres, "places": ops.sum(near * error) / (ops.sum(near) + 1.0)}


def _mark(cell, chosen, n, height, width):
    """Return maps (n, y, x) with 1 in the cells (n, source) of the chosen sources."""
    size = height * width
    first = ops.arange(n, dtype="int32")[:, None] * size
    index = ops.reshape(ops.where(chosen, first + cell, n * size), (-1,))
    marks = ops.segment_sum(ops.ones_like(index, dtype="float32"), index, n * size + 1)
    return ops.reshape(ops.minimum(marks[:-1], 1.0), (-1, height, width))


def match(centre, score, truth, radius):
    """Assign proposals to sources, at most one to each.

    Parameters
    ----------
    centre, score : tensors, (n, proposal, 2), (n, proposal)
    truth : dict
        As from `select_truth`.
    radius : float
        A proposal belongs to its nearest source if it is so many pixels away, or a tenth of the box more.

    Returns
    -------
    owner : int tensor, (n, proposal)
        The nearest source.
    matched : bool tensor, (n, proposal)
        The proposal with the highest score of those that belong to a positive source.
    known : bool tensor, (n, proposal)
        False for those that belong to a source that is too faint to ask for.
    """
    some = ops.logical_or(truth["positive"], truth["ignored"])
    distance = boxing.pairs_of(centre, truth["positions"]) + ops.where(some, 0.0, 1e9)[:, None]
    owner = ops.argmin(distance, axis=-1)
    boxes = truth["boxes"]
    reach = radius + 0.1 * ops.minimum(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
    own = np.arange(distance.shape[-1]) == ops.cast(owner, "int32")[..., None]
    own = ops.logical_and(own, distance <= ops.square(reach)[:, None])
    claims = ops.logical_and(own, truth["positive"][:, None])
    best = ops.max(ops.where(claims, score[..., None], -1e9), axis=1, keepdims=True)
    matched = ops.any(ops.logical_and(claims, score[..., None] >= best), axis=-1)
    known = ops.logical_not(ops.any(ops.logical_and(own, truth["ignored"][:, None]), axis=-1))
    return owner, matched, known


def measurement_losses(found, batch, truth, owner, weight, present, pixel_scale):
    """Return the losses of what is measured at proposals that have a source.

    Parameters
    ----------
    found : dict
        As from `MaskRCNN.measure`, all (n, proposal, ...).
    batch, truth : dict
    owner, weight : tensors, (n, proposal)
        The source of each proposal, and 1 where it counts.
    present : tensor, (n, band)
    pixel_scale : float

    Returns
    -------
    dict
        ``classes, boxes, position, flux`` and, where the batch tells of them, ``shape``.
    """

    def of_owner(values):
        values = ops.cast(values, "float32")
        index = owner[..., None] if len(values.shape) == 3 else owner
        return ops.take_along_axis(values, index, axis=1)

    count = ops.sum(weight) + 1.0
    kind = ops.cast(ops.zeros_like(owner), "float32")
    if batch.get("source_class") is not None:
        kind = ops.maximum(of_owner(batch["source_class"]), 0.0)
    kind = ops.one_hot(ops.cast(kind, "int32"), found["class_logits"].shape[-1], dtype="float32")
    classes = -ops.sum(kind * ops.log_softmax(found["class_logits"], axis=-1), axis=-1)
    reach = boxing.box_to_reach(found["centre"], of_owner(truth["boxes"]))
    flux = ops.arcsinh(of_owner(batch["flux"]) / found["flux_unit"])
    in_band = weight[..., None] * present[:, None]
    losses = {
        "classes": ops.sum(weight * classes) / count,
        "boxes": ops.sum(weight * ops.mean(ops.abs(found["reach"] - reach), axis=-1)) / count,
        "position": _likelihood(
            found["position"] - of_owner(truth["positions"]), found["log_position_error"], weight[..., None]
        ),
        "flux": _likelihood(found["scaled_flux"] - flux, found["log_flux_error"], in_band),
    }
    if batch.get("ellipticity") is not None and batch.get("half_light_radius") is not None:
        radius = of_owner(batch["half_light_radius"]) / pixel_scale
        extended = weight * ops.cast(ops.logical_and(radius > 0, kind[..., 0] > 0), "float32")
        radius = ops.log(ops.maximum(ops.where(radius > 0, radius, 1.0), _LEAST_RADIUS))
        shape = ops.concatenate([of_owner(batch["ellipticity"]), radius[..., None]], axis=-1)
        losses["shape"] = _likelihood(found["shape"] - shape, found["log_shape_error"], extended[..., None])
    return losses


def _likelihood(residual, logarithm, weight):
    """Return the mean negative log likelihood of residuals under Gaussians, linear beyond `_ROBUST` errors."""
    logarithm = ops.clip(logarithm, LEAST_LOG, MOST_LOG)
    size = ops.abs(residual) * ops.exp(-logarithm)
    far = ops.maximum(size - _ROBUST, 0.0)
    each = 0.5 * ops.square(size - far) + _ROBUST * far + logarithm
    weight = weight * ops.ones_like(each)
    return ops.sum(ops.where(weight > 0, weight * each, 0.0)) / (ops.sum(weight) + 1.0)


def mask_loss(logits, batch, truth, noise, present, size):
    """Return the loss of the masks in the boxes of the first sources.

    Parameters
    ----------
    logits : tensor, (n, first sources, m, m, 2)
        Share of the light, and whether the source alone is above the noise.
    batch, truth, noise, present
        As elsewhere; the batch has ``source_images`` and ``corners``.
    size : (int, int)
        Pixels (y, x) of the scenes.
    """
    first, grid = logits.shape[1:3]
    images, corners = ops.cast(batch["source_images"], "float32"), ops.cast(batch["corners"], "float32")
    side = images.shape[2]
    inverse = (present / noise[:, 0, 0])[:, None, None, None]
    light = ops.relu(ops.sum(images * inverse, axis=-1))
    total = add_up(light[..., None], ops.cast(corners, "int32"), size)
    points = grid_points(truth["boxes"][:, :first], grid)
    own_points = points - corners[:, :first, :, None, None]
    above = ops.max(images[:, :first] * inverse, axis=-1)
    planes = ops.reshape(ops.stack([light[:, :first], above], axis=-1), (-1, first * side * side, 2))
    starts = (np.arange(first, dtype="int32") * side * side)[None, :, None]
    own = interpolate(planes, own_points, side, side, starts)
    whole = interpolate(ops.reshape(total, (-1, size[0] * size[1], 1)), points, *size)[..., 0]
    share = own[..., 0] / ops.maximum(ops.maximum(whole, own[..., 0]), 1e-6)
    target = ops.stack([share, ops.cast(own[..., 1] > 1, "float32")], axis=-1)
    logits = ops.reshape(logits, (-1, first, grid * grid, 2))
    # Shares of light that is far below the noise teach nothing.
    weight = ops.stack([whole / (whole + 1.0), ops.ones_like(whole)], axis=-1)
    weight = weight * ops.cast(truth["positive"][:, :first], "float32")[..., None, None]
    return ops.sum(weight * cross_entropy(logits, target)) / (ops.sum(weight) + 1.0)


def cross_entropy(logits, target):
    """Return the binary cross-entropy of each logit, in nats."""
    return ops.relu(logits) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
