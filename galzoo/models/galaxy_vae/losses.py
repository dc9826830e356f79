"""What a galaxy VAE learns by: its likelihood, what its vectors hold, and the noiseless image where it is known."""

from keras import ops

from galzoo.layers.flux import noise_level
from galzoo.layers.likelihood import weights
from galzoo.models.galaxy_vae.networks import fit_to


def likelihood_terms(kind, target, image, square, error_floor):
    """Return what images as observed cost and their chi2, both a good pixel, and the number of these, (n,) each.

    Parameters
    ----------
    kind : {"gaussian", "student"}
    target : dict of tensors
        ``image``, ``variance`` and, where present, ``mask``.
    image : tensor, (n, y, x, band)
        Reconstruction as observed.
    square : (int, int)
        Pixels in the middle that are looked at; what lies beyond does not count.
    error_floor : float
        Share of the reconstruction that the data's error is at least.
    """
    data = ops.cast(target["image"], "float32")
    weight = weights(target["variance"], target.get("mask")) * inside(data, square)
    residual = ops.where(weight > 0, data - image, 0.0)
    pixels = ops.maximum(ops.sum(ops.cast(weight > 0, "float32"), axis=(1, 2, 3)), 1.0)
    chi2 = ops.sum(weight * ops.square(residual), axis=(1, 2, 3)) / pixels
    # weight / (1 + weight (f m)^2) is the inverse of variance + (f m)^2, and stays 0 where the weight is.
    floor = ops.square(error_floor * ops.stop_gradient(image))
    softened = ops.sum(weight / (1.0 + weight * floor) * ops.square(residual), axis=(1, 2, 3)) / pixels
    return 0.5 * (ops.log1p(softened) if kind == "student" else softened), chi2, pixels


def frame_difference(scaling, target, deconvolved, square):
    """Return half of the squared difference from the noiseless image, mean over pixels, in scaled values, (n,).

    Parameters
    ----------
    scaling : galzoo.layers.flux.FluxScaling
    target : dict of tensors
        With ``truth``, in the model frame.
    deconvolved : tensor, (n, y, x, band)
    square : (int, int)
        As in `likelihood_terms`.
    """
    truth, noise = ops.cast(target["truth"], "float32"), noise_level(target["variance"], target.get("mask"))
    counted = inside(truth, square)
    difference = ops.square(scaling(deconvolved, noise) - scaling(truth, noise)) * counted
    return 0.5 * ops.sum(difference, axis=(1, 2, 3)) / ops.sum(counted, axis=(1, 2, 3))


def inside(image, square):
    """Return 1 on the pixels in the middle of images that are looked at, 0 beyond."""
    return fit_to(fit_to(ops.ones_like(image), square), image.shape[1:3])


def divergences(mean, deviation, kept):
    """Return the Kullback-Leibler divergence of each dimension, mean over the stamps that are shown it, (latent,)."""
    each = 0.5 * (ops.square(mean) + ops.exp(2 * deviation) - 1.0 - 2 * deviation)
    return ops.sum(each * kept, axis=0) / ops.maximum(ops.sum(kept, axis=0), 1.0)
