"""Bring a model's answer into agreement with the data, as far as the noise allows and no further."""

from keras import ops

from galzoo.layers.flux import noise_level
from galzoo.layers.likelihood import weights
from galzoo.layers.psf import apply_transfer, transfer

# Pixels where the model is above this many noise standard deviations are the galaxy's; the sky says nothing about it.
FOOTPRINT = 0.5
# A footprint smaller than this has no chi squared worth the name.
LEAST_PIXELS = 5
# The relative error with which a model's flux is believed before the data are seen.
AMPLITUDE_ERROR = 1.0
# A constant of this many noise standard deviations keeps the updates of noise-dominated pixels small and positive.
PEDESTAL = 5.0
# Pixels of which less than this part is seen, through the PSF and past the mask, stay as the model has them: deep under
# a mask both sides of an update are rounding errors, and their ratio to the power of all steps made blobs.
LEAST_SEEN = 0.1


def refine(image, batch, model_sigma, steps=30):
    """Refine model-frame images with the likelihood.

    First the flux of each band is solved for, then the image follows the multiplicative updates of the image space
    reconstruction algorithm, which stay non-negative. Each stamp and band stops as soon as chi squared over the pixels
    of the galaxy is within its own scatter of 1 (the discrepancy principle), so that noise is not fitted and faint
    galaxies stay what the model says.

    Parameters
    ----------
    image : array, (n, y, x, band)
        Non-negative images in the model frame, where the refinement starts.
    batch : dict
        ``image``, ``variance`` and, where present, ``mask`` and ``psf``.
    model_sigma : float
        Sigma in pixels of the model frame's Gaussian.
    steps : int
        At most so many updates; 0 returns `image` as it is.

    Returns
    -------
    array, (n, y, x, band)
        NumPy, in the model frame.

    References
    ----------
    Daube-Witherspoon & Muehllehner 1986, IEEE Trans. Med. Imaging 5, 61 (the updates); Morozov 1966 (when to stop).
    """
    if steps < 1:
        return ops.convert_to_numpy(image)
    weight = weights(batch["variance"], batch.get("mask"))
    data = ops.where(weight > 0, ops.cast(batch["image"], "float32"), 0.0)
    noise = noise_level(batch["variance"], batch.get("mask"))
    image = ops.convert_to_tensor(image)
    kernel = None if batch.get("psf") is None else transfer(image.shape, batch["psf"], model_sigma)

    def observe(x, adjoint=False):
        return x if kernel is None else apply_transfer(x, kernel, adjoint)

    def total(x):
        return ops.sum(x, axis=(1, 2), keepdims=True)

    seen = observe(image)
    prior = 1.0 / AMPLITUDE_ERROR**2
    amplitude = (total(weight * seen * data) + prior) / (total(weight * ops.square(seen)) + prior)
    amplitude = ops.maximum(amplitude, 0.0)
    image, seen = image * amplitude, seen * amplitude

    pedestal = PEDESTAL * noise
    wanted = observe(weight * (data + pedestal), adjoint=True)
    known = observe(ops.cast(weight > 0, "float32"), adjoint=True) > LEAST_SEEN
    for _ in range(steps):
        footprint = ops.cast(ops.logical_and(seen > FOOTPRINT * noise, weight > 0), "float32")
        pixels = total(footprint)
        chi2 = total(footprint * weight * ops.square(data - seen)) / ops.maximum(pixels, 1.0)
        # One standard deviation of chi squared per pixel, so that luck alone does not drive a faint galaxy on.
        allowance = ops.sqrt(2.0 / ops.maximum(pixels, 1.0))
        active = ops.logical_and(chi2 > 1.0 + allowance, pixels >= LEAST_PIXELS)
        if not ops.convert_to_numpy(ops.any(active)):
            break
        predicted = observe(weight * (seen + pedestal), adjoint=True)
        positive = ops.logical_and(known, ops.logical_and(predicted > 0, wanted > 0))
        ratio = ops.where(positive, wanted / ops.where(positive, predicted, 1.0), 1.0)
        image = ops.where(active, image * ratio, image)
        seen = observe(image)
    return ops.convert_to_numpy(image)
