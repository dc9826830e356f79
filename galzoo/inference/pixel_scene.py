"""The pixels of sources in a scene: what fits and samples under a prior over pixels share."""

import dataclasses

import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.flux import noise_level
from galzoo.layers.likelihood import weights
from galzoo.layers.psf import apply_transfer, transfer

# Richardson-Lucy steps that take the first answer, which has no noise, to the model frame.
_SHARPEN = 20


class PixelScene:
    """Data, PSF and the places of the sources of a batch; stamps are (n, source, size, size, band of the prior).

    Parameters
    ----------
    prior : Prior
        Over pixels.
    first : Deblended
        Another deblender's answer, whose positions are kept.
    batch : dict
        ``image``, ``variance`` and, where present, ``mask`` and ``psf``; NumPy.
    model_sigma : float
        Sigma in pixels of the model frame's Gaussian.
    size : int, optional
        Pixels on a side of a stamp; that of the prior's training data by default.

    Raises
    ------
    InputError
        If the prior is not over pixels or the shapes do not fit.
    """

    def __init__(self, prior, first, batch, model_sigma, size=None):
        if prior.space != "pixels":
            raise InputError(f"the prior is over {prior.space}; give one over pixels, which has a score")
        image, bands = np.asarray(batch["image"], "float32"), len(prior.bands)
        n, height, width, data_bands = image.shape
        if first.image.ndim != 5 or (first.image.shape[0], *first.image.shape[2:]) != image.shape:
            raise InputError(
                f"the first answer's images have shape {first.image.shape}, the data {image.shape}; they must be "
                "(n, source, y, x, band) of the same scenes"
            )
        if bands not in (1, data_bands):
            raise InputError(f"the prior has {bands} bands, the data {data_bands}; give a prior of one band, or of all")
        self.first, self.shape = first, (height, width)
        self.size = int(size or min(prior.stamp_size or self.shape))
        self.inverse = ops.convert_to_numpy(weights(batch["variance"], batch.get("mask")))
        self.data = np.where(self.inverse > 0, image, 0)
        # A galaxy of one colour is given in the band that has most signal.
        power = np.sum(self.inverse * self.data**2, axis=(0, 1, 2))
        self.one, self.band = bands < data_bands, int(np.argmax(power))
        soft = ops.convert_to_numpy(noise_level(batch["variance"], batch.get("mask")))[:, None]
        self.soft = np.where(np.isfinite(soft) & (soft > 0), soft, 1.0)
        if self.one:
            self.soft = self.soft[..., self.band, None]
        self.kernel = None if batch.get("psf") is None else transfer(image.shape, batch["psf"], model_sigma)
        self.corners = np.round(np.nan_to_num(first.positions) - (self.size - 1) / 2).astype(int)

    def seen(self, images, adjoint=False):
        """Convolve images (n, y, x, band)."""
        images = images.astype("float32")
        return images if self.kernel is None else ops.convert_to_numpy(apply_transfer(images, self.kernel, adjoint))

    def convolved(self, image):
        """Convolve a tensor (n, y, x, band)."""
        return apply_transfer(image, self.kernel)

    def sharpness(self):
        """Return the sum of the squares of the kernel from the model frame to the data, (n, 1, 1, 1, band)."""
        point = np.zeros((len(self.data), *self.shape, self.data.shape[-1]), "float32")
        point[:, self.shape[0] // 2, self.shape[1] // 2] = 1
        return np.sum(self.seen(point) ** 2, axis=(1, 2))[:, None, None, None]

    def seen_square(self, stamps):
        """Return the variance (n, y, x, band) of the data that variances of stamps give, to the width of the PSF."""
        return np.maximum(self.seen(self.paste(stamps).sum(axis=1)), 0) * self.sharpness()[:, 0]

    def places(self):
        """Return which pixel of all scenes each pixel of each stamp that is present is; one too many for none."""
        height, width = self.shape
        numbers = np.arange(len(self.data) * height * width).reshape(-1, 1, height, width, 1) + 1
        numbers = self.cut(np.broadcast_to(numbers, (len(numbers), self.first.present.shape[1], height, width, 1)))
        numbers = numbers[self.first.present].ravel()
        return np.where(numbers > 0, numbers - 1, len(self.data) * height * width).astype("int32")

    def each_seen(self, images):
        """Convolve images (n, source, y, x, band)."""
        return np.stack([self.seen(images[:, source]) for source in range(images.shape[1])], axis=1)

    def start(self):
        """Return the first stamps in the model frame and colours (n, source, 1, 1, band); note what lies beyond."""
        seen = np.maximum(self.first.image, 0)
        sharp = seen.astype("float32")
        for _ in range(0 if self.kernel is None else _SHARPEN):
            ratio = seen / np.maximum(self.each_seen(sharp), 1e-6 * self.soft.min())
            back = [self.seen(np.where(seen[:, k] > 0, ratio[:, k], 0), adjoint=True) for k in range(seen.shape[1])]
            sharp = sharp * np.clip(np.stack(back, axis=1), 0, 10)
        stamps = self.cut(sharp)
        inside = self.paste(stamps)
        self.beyond = self.each_seen(sharp - inside)
        self.rest = self.first.flux - stamps.sum(axis=(2, 3))
        self.data = np.where(self.inverse > 0, self.data - self.beyond.sum(axis=1), 0)
        if not self.one:
            return stamps.astype("float64"), np.ones((*stamps.shape[:2], 1, 1, stamps.shape[-1]))
        flux = np.maximum(stamps.sum(axis=(2, 3)), 1e-12)
        return stamps[..., self.band, None].astype("float64"), (flux / flux[..., self.band, None])[:, :, None, None]

    def slope(self, x, colours, weight=None):
        """Return the gradient of the log-likelihood by the stamps, with other weights than the inverse variance."""
        total = self.paste(x * colours).sum(axis=1)
        back = self.seen((self.inverse if weight is None else weight) * (self.data - self.seen(total)), adjoint=True)
        slope = self.cut(np.broadcast_to(back[:, None], (len(x), x.shape[1], *back.shape[1:]))) * colours
        return slope.sum(axis=-1, keepdims=True) if self.one else slope

    def solve_colours(self, x, colours):
        """Return the colours that fit best for given images."""
        if not self.one:
            return colours
        made = self.each_seen(self.paste(x * np.ones(self.data.shape[-1])))
        solved = colours.copy()
        for row in range(len(x)):
            there = np.flatnonzero(self.first.present[row])
            for band in range(self.data.shape[-1]):
                if band == self.band or not len(there):
                    continue
                root = np.sqrt(self.inverse[row, ..., band]).ravel()
                design = made[row, there, ..., band].reshape(len(there), -1) * root
                found = np.linalg.lstsq(design.T, self.data[row, ..., band].ravel() * root, rcond=None)[0]
                solved[row, there, 0, 0, band] = np.maximum(found, 0)
        return solved

    def answer(self, x, colours):
        """Return the `Deblended` of stamps."""
        images = self.each_seen(self.paste(x * colours)) + self.beyond
        return self.answer_of(images, (x * colours).sum(axis=(2, 3)) + self.rest)

    def answer_of(self, images, flux):
        """Return the `Deblended` of images as observed, (n, source, y, x, band), and fluxes, (n, source, band)."""
        images = (images * self.first.present[:, :, None, None, None]).astype("float32")
        data = self.data + self.beyond.sum(axis=1)
        residual = np.where(self.inverse > 0, data - images.sum(axis=1), 0)
        used = np.maximum((self.inverse > 0).sum(axis=(1, 2, 3)), 1)
        flux = np.where(self.first.present[..., None], flux, 0)
        chi2 = (self.inverse * residual**2).sum(axis=(1, 2, 3)) / used
        return dataclasses.replace(
            self.first, image=images, flux=flux, chi2=chi2, residual=residual.astype("float32"), samples=None
        )

    def cut(self, images):
        """Return the stamps of images (n, source, y, x, band); 0 beyond the scene."""
        n, sources, *_, bands = images.shape
        stamps = np.zeros((n, sources, self.size, self.size, bands), images.dtype)
        for place, there, here in self._overlaps():
            stamps[place][here] = images[place][there]
        return stamps

    def paste(self, stamps):
        """Return images (n, source, y, x, band) with the stamps in their places."""
        images = np.zeros((*stamps.shape[:2], *self.shape, stamps.shape[-1]), stamps.dtype)
        for place, there, here in self._overlaps():
            images[place][there] = stamps[place][here]
        return images

    def _overlaps(self):
        for row, source in zip(*np.nonzero(self.first.present), strict=True):
            there, here = [], []
            for corner, length in zip(self.corners[row, source][::-1], self.shape, strict=True):
                low, high = np.clip([corner, corner + self.size], 0, length)
                there.append(slice(low, high))
                here.append(slice(low - corner, high - corner))
            yield (row, source), tuple(there), tuple(here)
