"""Deblending with any prior over pixels: the most probable images, started from another deblender's answer.

Slower than a fit in a latent space, and it needs a prior with a score; but the galaxies may look like anything that the
prior knows. PixelCNNs over pixels and score priors plug in here alike.
"""

import dataclasses

import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.flux import noise_level
from galzoo.layers.likelihood import weights
from galzoo.layers.psf import apply_transfer, transfer
from galzoo.progress import track

# Decay rates of the moving averages of gradient and squared gradient (Kingma & Ba 2015).
_MOMENTUM, _MEMORY = 0.9, 0.99
# Richardson-Lucy steps that take the first answer, which has no noise, to the model frame.
_SHARPEN = 20
# Greatest noise on scaled values that a prior of many noise levels is asked for, and the share of steps that it falls.
_NOISE, _FALL = 0.5, 0.7
# Colours are solved for after every so many steps.
_COLOUR_STEPS = 5
# Galaxies that a prior sees at once are filled up to a multiple of this, so that few shapes are compiled.
_FILL = 16


def deblend_pixels(
    prior, first, batch, model_sigma, size=None, steps=150, rate=0.1, weight=1.0, condition=None, progress=False
):
    """Find non-negative images of all sources that are probable under the data and under a prior.

    Each source is an image of its own, about the whole pixel nearest to its position. Where the prior is of one band
    and the data are of several, a galaxy has one colour: its image in one band, times a number in each other.

    Parameters
    ----------
    prior : Prior
        Over pixels (`galzoo.contracts.prior.Prior` with space "pixels"), of single galaxies in the model frame, centred
        on their stamps; in the unit of the data, of the bands of the data or of one.
    first : Deblended
        Where the search starts: another deblender's answer. Its positions are kept, and its light beyond the stamps.
    batch : dict
        ``image``, ``variance`` and, where present, ``mask`` and ``psf``; NumPy.
    model_sigma : float
        Sigma in pixels of the model frame's Gaussian.
    size : int, optional
        Pixels on a side of the image of a source; that of the prior's training data by default.
    steps : int
        Number of steps.
    rate : float
        First step, in scaled values ``asinh(flux / noise level)``; it falls to a hundredth by a cosine.
    weight : float
        Of the prior; 0 is the likelihood alone.
    condition : dict of arrays, optional
        What the prior is conditioned on, one value a source that is present, in order.
    progress : bool
        Show a bar.

    Returns
    -------
    Deblended
        `first` with other images and fluxes; errors, where it has any, are those of `first`.

    Raises
    ------
    InputError
        If the prior is not over pixels with a score or the shapes do not fit.

    Notes
    -----
    The density of the scaled values is maximised, not that of the pixels, whose highest point is too faint wherever the
    data say little. A prior with a ``sigma_min`` is asked for its score at noise levels that fall to it, so that light
    can move between sources first.

    References
    ----------
    Lanusse, Melchior & Moolekamp 2019, arXiv:1912.03980; Sampson et al. 2024, arXiv:2401.07313.
    """
    if prior.space != "pixels":
        raise InputError(f"the prior is over {prior.space}; give one over pixels, which has a score")
    scene = _Scene(
        batch, first, model_sigma, len(prior.bands), size or min(prior.stamp_size or batch["image"].shape[1:3])
    )
    x, colours = scene.start()
    soft = scene.soft
    known = None if condition is None else {name: _filled(np.asarray(value)) for name, value in condition.items()}
    levels = _levels(prior, steps)

    def score(images, step):
        found = np.zeros_like(images)
        there = images[first.present]
        options = {} if levels is None else {"sigma": levels[step]}
        found[first.present] = np.asarray(prior.score(_filled(there), known, **options))[: len(there)]
        return found

    z = np.arcsinh(x / soft)
    mean, square = np.zeros_like(z), np.zeros_like(z)
    for step in track(range(steps), "fitting pixels", progress):
        x, stretch = soft * np.sinh(z), soft * np.cosh(z)
        slope = stretch * scene.slope(x, colours)
        if weight and first.present.any():
            slope += weight * (stretch * score(x.astype("float32"), step) + np.tanh(z))
        slope = np.nan_to_num(slope)
        mean = _MOMENTUM * mean + (1 - _MOMENTUM) * slope
        square = _MEMORY * square + (1 - _MEMORY) * slope**2
        unbiased = mean / (1 - _MOMENTUM ** (step + 1)), square / (1 - _MEMORY ** (step + 1))
        length = rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / max(steps, 1))))
        z = np.clip(z + length * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8), 0.0, 12.0)
        z *= first.present[:, :, None, None, None]
        if (step + 1) % _COLOUR_STEPS == 0:
            colours = scene.solve_colours(soft * np.sinh(z), colours)
    return scene.answer(soft * np.sinh(z), colours)


class _Scene:
    """Data, PSF and the places of the sources of a batch; stamps are (n, source, size, size, band of the prior)."""

    def __init__(self, batch, first, model_sigma, bands, size):
        image = np.asarray(batch["image"], "float32")
        n, height, width, data_bands = image.shape
        if first.image.ndim != 5 or (first.image.shape[0], *first.image.shape[2:]) != image.shape:
            raise InputError(
                f"the first answer's images have shape {first.image.shape}, the data {image.shape}; they must be "
                "(n, source, y, x, band) of the same scenes"
            )
        if bands not in (1, data_bands):
            raise InputError(f"the prior has {bands} bands, the data {data_bands}; give a prior of one band, or of all")
        self.first, self.size, self.shape = first, int(size), (height, width)
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

    def slope(self, x, colours):
        """Return the gradient of the log-likelihood by the stamps."""
        total = self.paste(x * colours).sum(axis=1)
        back = self.seen(self.inverse * (self.data - self.seen(total)), adjoint=True)
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
        images = (self.each_seen(self.paste(x * colours)) + self.beyond).astype("float32")
        images *= self.first.present[:, :, None, None, None]
        data = self.data + self.beyond.sum(axis=1)
        residual = np.where(self.inverse > 0, data - images.sum(axis=1), 0)
        used = np.maximum((self.inverse > 0).sum(axis=(1, 2, 3)), 1)
        flux = np.where(self.first.present[..., None], (x * colours).sum(axis=(2, 3)) + self.rest, 0)
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


def _levels(prior, steps):
    """Return the noise level of each step for a prior that has many, None for another."""
    low = getattr(prior, "sigma_min", None)
    if low is None:
        return None
    share = np.minimum(np.arange(steps) / max(_FALL * steps, 1), 1)
    high = max(_NOISE, low)
    return np.maximum(high * (low / high) ** share, low)


def _filled(values):
    """Repeat the last row until there is a multiple of `_FILL` of them."""
    return np.concatenate([values, np.repeat(values[-1:], -len(values) % _FILL, axis=0)])
