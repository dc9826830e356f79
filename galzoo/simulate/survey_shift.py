"""Stamps as a worse or otherwise shown survey would have them: a shift between two surveys whose size is known."""

import dataclasses

import numpy as np
from scipy import ndimage

from galzoo.data.pictures import picture_noise
from galzoo.data.resample import resample, resample_mask, resample_variance
from galzoo.errors import InputError

# Standard deviations in the full width at half maximum of a Gaussian.
_FWHM = 2 * np.sqrt(2 * np.log(2))


def shift_survey(stamps, fwhm=0.0, noise=0.0, scale=1.0, stretch=1.0, seed=0):
    """Return stamps as another survey would show the same galaxies.

    Parameters
    ----------
    stamps : Stamps
        Linear, with a variance; or 8-bit pictures.
    fwhm : float
        Of the Gaussian, in pixels, that the image is seen through in addition.
    noise : float
        White noise to add, in units of the noise that there is; 1 doubles the variance.
    scale : float
        Pixel scale of the other survey over that of the stamps: 1.5 makes galaxies smaller by as much. What was not on
        the stamp is masked, and shown as sky.
    stretch : float
        Pictures only: pixels go with this power of their brightness; below 1 faint parts are raised.
    seed : int
        Of the noise.

    Returns
    -------
    Stamps
        With the shift in ``meta["shift"]``. PSFs are blurred as the images are; truth and model frames are dropped.

    Raises
    ------
    InputError
        If a number makes no sense, or linear stamps are to be stretched.
    """
    numbers = {"fwhm": (fwhm, 0), "noise": (noise, 0), "scale": (scale, 0.2), "stretch": (stretch, 0.1)}
    for name, (value, least) in numbers.items():
        if not (np.isfinite(value) and value >= least):
            raise InputError(f"shift: {name} is {value}; give a number of at least {least}")
    picture = stamps.image.dtype == np.uint8
    if stretch != 1 and not picture:
        raise InputError(f"shift: stretch is {stretch}, but the stamps are linear; only pictures are stretched")
    if stamps.variance is None and not picture:
        raise InputError("shift: the stamps have no variance, so there is no noise to go by; estimate it first")
    random = np.random.default_rng(seed)
    size = stamps.shape[0]
    image, psf, mask = _blur(stamps.image, fwhm), None if stamps.psf is None else _blur(stamps.psf, fwhm), stamps.mask
    variance = stamps.variance if picture else _blurred_variance(stamps.variance, fwhm)
    if picture:
        image = image / 255
    if scale != 1:
        beyond = _sky(image) if picture else 0.0
        unseen = _planes(resample_mask, np.zeros(image.shape[:3] + (1,), bool), scale, size)
        # Brightness of pictures is shown a pixel, not added up.
        image = _planes(resample, image, scale, size) / (scale**2 if picture else 1)
        image = np.where(unseen, beyond, image)
        mask = unseen if mask is None else unseen | _planes(resample_mask, mask, scale, size)
        mask = np.broadcast_to(mask, image.shape)
        if not picture:
            variance = _planes(resample_variance, variance, scale, size)
            variance = np.where(unseen | (variance <= 0), np.inf, variance)
        if psf is not None:
            psf = _planes(resample, psf, scale, psf.shape[1])
            psf = psf / psf.sum(axis=(1, 2), keepdims=True)
    if picture:
        level = noise * picture_noise(stamps.image)[:, None, None] / 255
        image = np.clip(image, 0, 1) ** stretch + level * random.normal(size=image.shape)
        image = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
        variance = np.broadcast_to(picture_noise(image)[:, None, None] ** 2, image.shape)
    elif noise:
        added = noise**2 * np.where(np.isfinite(stamps.variance), stamps.variance, 0)
        image = image + np.sqrt(added) * random.normal(size=image.shape)
        variance = variance + added
    told = {"fwhm": fwhm, "noise": noise, "scale": scale, "stretch": stretch}
    return dataclasses.replace(
        stamps, image=image, variance=variance, mask=mask, psf=psf, truth=None, model=None, segmentation=None,
        pixel_scale=stamps.pixel_scale * scale, meta={**stamps.meta, "shift": told},
    )  # fmt: skip


def _blur(planes, fwhm):
    if not fwhm:
        return np.asarray(planes, np.float32)
    sigma = fwhm / _FWHM
    return ndimage.gaussian_filter(np.nan_to_num(planes).astype(np.float32), (0, sigma, sigma, 0), mode="nearest")


def _blurred_variance(variance, fwhm):
    """Return the variance a pixel of white noise after the blur; the covariance that arises is not described."""
    if not fwhm:
        return variance
    point = np.zeros((1, 65, 65, 1), np.float32)
    point[0, 32, 32] = 1
    return variance * np.sum(_blur(point, fwhm) ** 2)


def _sky(image):
    """Return the median of the rim of each band, (n, 1, 1, band)."""
    rim = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
    return np.median(rim, axis=1)[:, None, None]


def _planes(function, planes, scale, size):
    return np.moveaxis(function(np.moveaxis(planes, -1, 1), scale, size), 1, -1)
