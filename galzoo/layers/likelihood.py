"""Gaussian likelihoods of images given a model, by inverse variance."""

import math

from keras import ops

from galzoo.errors import InputError


def weights(variance, mask=None):
    """Return the inverse variance, and 0 for every pixel that must not count.

    Parameters
    ----------
    variance : tensor, (n, y, x, band)
        Variance in the image's unit squared. Infinite, NaN, zero or negative: the pixel does not count.
    mask : tensor, same shape, optional
        True = bad.

    Returns
    -------
    tensor, same shape
        Finite and not negative.
    """
    variance = ops.convert_to_tensor(variance)
    good = ops.logical_and(ops.isfinite(variance), variance > 0)
    if mask is not None:
        good = ops.logical_and(good, ops.logical_not(ops.cast(mask, "bool")))
    # The variance is replaced before the division: a where behind it would still send a NaN down the gradient.
    return ops.where(good, 1.0 / ops.where(good, variance, ops.ones_like(variance)), ops.zeros_like(variance))


def clean(image, variance=None, mask=None):
    """Return `image` with 0 in every pixel that is masked, not finite, or without a finite variance.

    Parameters
    ----------
    image : tensor, (n, y, x, band)
    variance, mask : tensor, same shape, optional
        As in `weights`.
    """
    image = ops.convert_to_tensor(image)
    good = ops.isfinite(image)
    if variance is not None:
        good = ops.logical_and(good, weights(variance, mask) > 0)
    elif mask is not None:
        good = ops.logical_and(good, ops.logical_not(ops.cast(mask, "bool")))
    return ops.where(good, image, ops.zeros_like(image))


def _terms(image, model, variance, mask):
    """Return chi squared and the weight of every pixel; pixels that do not count have 0 in both."""
    image, model, variance = (ops.convert_to_tensor(x) for x in (image, model, variance))
    if len(image.shape) != len(model.shape) or len(image.shape) != len(variance.shape):
        shapes = ", ".join(str(tuple(x.shape)) for x in (image, model, variance))
        raise InputError(f"image, model and variance have shapes {shapes}; they must be the same")
    weight = weights(variance, mask)
    weight = ops.where(ops.isfinite(image), weight, ops.zeros_like(weight))
    difference = ops.where(weight > 0, image - model, ops.zeros_like(image))
    return ops.square(difference) * weight, weight


def _sum(values):
    """Sum over all axes but the first."""
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))


def gaussian_nll(image, model, variance, mask=None):
    """Return the negative log likelihood of each image under independent Gaussian noise.

    Parameters
    ----------
    image, model : tensor, (n, y, x, band)
        Data and the noiseless model of them, in the same unit.
    variance : tensor, same shape
        Variance in that unit squared; infinite where a band is absent.
    mask : tensor, same shape, optional
        True = bad.

    Returns
    -------
    tensor, (n,)
        Sum over good pixels of ``((d - m)^2 / v + log(2 pi v)) / 2``, in nats.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    chi2, weight = _terms(image, model, variance, mask)
    good = weight > 0
    logarithm = math.log(2 * math.pi) - ops.log(ops.where(good, weight, ops.ones_like(weight)))
    return 0.5 * _sum(chi2 + ops.where(good, logarithm, ops.zeros_like(weight)))
