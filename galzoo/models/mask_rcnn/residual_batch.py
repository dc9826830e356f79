"""Batches of scenes as a detector of missed sources sees them."""

from keras import ops

from galzoo.layers.flux import noise_level
from galzoo.layers.likelihood import weights
from galzoo.models.mask_rcnn import losses
from galzoo.models.mask_rcnn.first_pass import first_pass


def after_first_pass(batch, seed):
    """Return the batch with the ``model`` that a first pass would have fitted, and 1 where it missed a source."""
    noise = noise_level(ops.cast(batch["variance"], "float32"), batch.get("mask"))
    present = ops.cast(ops.any(weights(batch["variance"], batch.get("mask")) > 0, axis=(1, 2)), "float32")
    snr = losses.signal_to_noise(batch, noise, present)
    model, missed = first_pass(batch, snr, batch["image"].shape[1:3], seed)
    return {**batch, "model": model}, ops.cast(missed, "float32")
