"""Deblending with any prior over pixels: the most probable images, without a latent space.

Slower than a fit in a latent space, and it needs a prior with a score; but the galaxies may look like anything that the
prior knows. PixelCNNs over pixels and score models plug in here alike.
"""

import numpy as np
from keras import ops

from galzoo.contracts.deblended import Deblended
from galzoo.errors import InputError
from galzoo.layers.flux import noise_level
from galzoo.layers.likelihood import weights
from galzoo.layers.psf import apply_transfer, transfer
from galzoo.progress import track

# Decay rates of the moving averages of gradient and squared gradient (Kingma & Ba 2015).
_MOMENTUM, _MEMORY = 0.9, 0.99


def deblend_pixels(prior, start, batch, model_sigma, steps=100, rate=0.3, weight=1.0, condition=None, progress=False):
    """Find non-negative images of all sources that are probable under the data and under a prior.

    Parameters
    ----------
    prior : Prior
        Over pixels (`galzoo.contracts.prior.Prior` with space "pixels"), of single galaxies in the model frame, centred
        on their stamps.
    start : array, (n, source, y, x, band)
        Model-frame images where the search starts, 0 for what is no source: for example another deblender's answer.
    batch : dict
        ``image``, ``variance`` and, where present, ``mask`` and ``psf`` and ``positions``; NumPy.
    model_sigma : float
        Sigma in pixels of the model frame's Gaussian.
    steps : int
        Number of steps.
    rate : float
        First step, in noise levels; it falls to a hundredth by a cosine.
    weight : float
        Of the prior; 0 is the likelihood alone.
    condition : dict of arrays, optional
        What the prior is conditioned on, one value a source of the whole batch (n * source).
    progress : bool
        Show a bar.

    Returns
    -------
    Deblended
        Without uncertainties: ``chi2`` and ``residual`` say how well it fits.

    Raises
    ------
    InputError
        If the prior is not over pixels or the shapes do not fit.

    References
    ----------
    Lanusse, Melchior & Moolekamp 2019, arXiv:1912.03980; Sampson et al. 2024, arXiv:2401.07313.
    """
    if prior.space != "pixels":
        raise InputError(f"the prior is over {prior.space}; give one over pixels, which has a score")
    image = np.asarray(batch["image"], "float32")
    start = np.asarray(start, "float32")
    n, height, width, bands = image.shape
    if start.ndim != 5 or (start.shape[0], *start.shape[2:]) != image.shape:
        raise InputError(f"start has shape {start.shape}, the image {image.shape}; give (n, source, y, x, band)")
    sources = start.shape[1]
    present = start.sum(axis=(2, 3, 4)) > 0
    inverse = ops.convert_to_numpy(weights(batch["variance"], batch.get("mask")))
    data = np.where(inverse > 0, image, 0)
    noise = ops.convert_to_numpy(noise_level(batch["variance"], batch.get("mask")))[:, None]
    kernel = None if batch.get("psf") is None else transfer(image.shape, batch["psf"], model_sigma)

    def seen(x, adjoint=False):
        return x if kernel is None else ops.convert_to_numpy(apply_transfer(x, kernel, adjoint))

    middle = np.float32([(width - 1) / 2, (height - 1) / 2])
    places = np.broadcast_to(middle, (n, sources, 2)) if batch.get("positions") is None else batch["positions"]
    moves = np.round(middle - places).astype(int)
    moves[~present] = 0

    def score(x):
        # The prior knows centred galaxies: whole pixels bring each to the middle and its gradient back.
        moved = _roll(x, moves).reshape(-1, height, width, bands)
        return _roll(np.asarray(prior.score(moved, condition)).reshape(x.shape), -moves)

    x, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step in track(range(steps), "fitting pixels", progress):
        slope = seen(inverse * (data - seen(x.sum(axis=1))), adjoint=True)[:, None]
        slope = np.repeat(slope, sources, axis=1)
        if weight:
            slope = slope + weight * score(x)
        # In units of the noise, so that bands and scenes take like steps.
        slope = np.nan_to_num(slope * noise)
        first = _MOMENTUM * first + (1 - _MOMENTUM) * slope
        second = _MEMORY * second + (1 - _MEMORY) * slope**2
        mean, spread = first / (1 - _MOMENTUM ** (step + 1)), second / (1 - _MEMORY ** (step + 1))
        size = rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / max(steps, 1))))
        x = np.maximum(x + size * noise * mean / (np.sqrt(spread) + 1e-8), 0) * present[:, :, None, None, None]
    images = np.stack([seen(x[:, source]) for source in range(sources)], axis=1)
    residual = np.where(inverse > 0, data - images.sum(axis=1), 0)
    chi2 = (inverse * residual**2).sum(axis=(1, 2, 3)) / np.maximum((inverse > 0).sum(axis=(1, 2, 3)), 1)
    return Deblended(images, x.sum(axis=(2, 3)), np.array(places), present, chi2=chi2, residual=residual)


def _roll(images, moves):
    """Move images (n, source, y, x, band) by whole pixels (x, y) each; what leaves is lost."""
    height, width = images.shape[2:4]
    rows = np.arange(height)[None, None, :] - moves[..., 1:]
    columns = np.arange(width)[None, None, :] - moves[..., :1]
    inside = ((rows >= 0) & (rows < height))[..., None] & ((columns >= 0) & (columns < width))[:, :, None, :]
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    n, source = np.indices(images.shape[:2])
    taken = images[n[..., None, None], source[..., None, None], rows[..., None], columns[:, :, None, :]]
    return taken * inside[..., None]
