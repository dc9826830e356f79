"""From the network's outputs to `Detections`, in NumPy."""

import numpy as np
from keras import ops

from galzoo.contracts.detections import Detections
from galzoo.models.logistic import expit
from galzoo.models.mask_rcnn.calibrate import measured_snr, recalibrated
from galzoo.models.mask_rcnn.losses import LEAST_LOG, MOST_LOG

# Masks are painted for so many boxes at a time, so that few shapes are met.
_CHUNKS = (512, 128, 32)
# Of two sources nearer than this, in pixels, the less probable one is the same again.
_SAME = 1.0


def detections(model, batch, threshold=0.0, separation=_SAME):
    """Return the `Detections` of a batch; arguments as for `MaskRCNN.detect`.

    `separation`, pixels: of two sources that are nearer the more probable one is kept. Boxes may overlap as they like:
    blended sources' do.
    """
    keys = ("image", "variance", "mask", "model")
    seen = model.look({key: batch[key] for key in keys if batch.get(key) is not None})
    found = {key: ops.convert_to_numpy(value) for key, value in model.propose(seen).items()}
    rows, columns = batch["image"].shape[1:3]
    logit = recalibrated(found["existence"].astype(float), measured_snr(found), model.calibration)
    probability = expit(logit)
    probability[found["score"] < -1e3] = 0
    position = found["position"]
    inside = (position > -0.5).all(-1) & (position[..., 0] < columns - 0.5) & (position[..., 1] < rows - 0.5)
    probability[~inside | (probability < threshold)] = 0
    order = [_chosen(p, at, separation) for p, at in zip(probability, position, strict=True)]
    most = max(map(len, order))

    def padded(values, fill=0):
        result = np.full((len(values), most, *values.shape[2:]), fill, np.float32)
        for row, chosen in enumerate(order):
            result[row, : len(chosen)] = values[row][chosen]
        return result

    distance = np.exp(np.clip(found["reach"], -1.4, np.log(2 * max(rows, columns))))
    centre = found["centre"]
    boxes = np.concatenate([centre - distance[..., :2], centre + distance[..., 2:]], axis=-1)
    limits = np.array([columns, rows, columns, rows], np.float32) - 0.5
    boxes = padded(np.clip(boxes, -0.5, limits))
    logits = found["class_logits"] - found["class_logits"].max(-1, keepdims=True)
    share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    errors = {
        key: np.exp(np.clip(found[f"log_{key}_error"], LEAST_LOG, MOST_LOG)) for key in ("position", "flux", "shape")
    }
    unit, present = found["flux_unit"], found["present"][:, None] > 0
    flux = np.where(present, unit * np.sinh(found["scaled_flux"]), 0)
    flux_error = np.where(present, unit * np.cosh(found["scaled_flux"]) * errors["flux"], np.inf)
    radius = np.exp(np.clip(found["shape"][..., 2], -3, np.log(max(rows, columns))))
    ellipticity = found["shape"][..., :2]
    ellipticity = ellipticity / np.maximum(np.hypot(ellipticity[..., 0], ellipticity[..., 1]) / 0.99, 1)[..., None]
    shape = np.concatenate([ellipticity, radius[..., None]], axis=-1)
    shape_error = errors["shape"] * np.stack([np.ones_like(radius)] * 2 + [radius], axis=-1)
    return Detections(
        positions=padded(position),
        probability=padded(probability),
        boxes=boxes,
        class_probability=padded(share),
        classes=model.classes,
        flux=padded(flux),
        flux_error=padded(flux_error),
        position_error=padded(errors["position"]),
        shape=padded(shape),
        shape_error=padded(shape_error),
        masks=_masks(model, seen, boxes),
    )


def _chosen(probability, position, separation):
    """Return which proposals are kept, most probable first."""
    kept = []
    for candidate in np.argsort(-probability, kind="stable"):
        if not probability[candidate] > 0:
            break
        if not kept or np.min(np.sum((position[kept] - position[candidate]) ** 2, axis=-1)) >= separation**2:
            kept.append(candidate)
    return np.array(kept, int)


def _masks(model, seen, boxes):
    """Return the shares of light (n, source, 28, 28), within the footprint that the network sees."""
    parts, first, number = [], 0, max(boxes.shape[1], 1)
    while first < number:
        chunk = next((size for size in _CHUNKS if size <= number - first), _CHUNKS[-1])
        some = boxes[:, first : first + chunk]
        logits = model.paint(seen["features"], np.pad(some, ((0, 0), (0, chunk - some.shape[1]), (0, 0))))
        logits = ops.convert_to_numpy(logits)[:, : some.shape[1], ..., 0]
        parts.append(expit(logits))
        first += chunk
    return np.concatenate(parts, axis=1)
