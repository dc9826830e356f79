"""A deblender of other bands or pixels than the data's, made to take them."""

import dataclasses

import numpy as np

from galzoo.contracts.deblended import Deblended
from galzoo.data.resample import resample, resample_mask, resample_variance
from galzoo.errors import InputError


def with_bands(deblend, bands, known):
    """Let a model of the bands `known` deblend data of `bands`: absent bands have no weight.

    Parameters
    ----------
    deblend : callable
    bands, known : sequence of str

    Returns
    -------
    callable
        `deblend` itself where the bands are the same.

    Raises
    ------
    InputError
        If a band of the data is none of the model's.
    """
    if tuple(bands) == tuple(known):
        return deblend
    odd = [band for band in bands if band not in known]
    if odd:
        raise InputError(f"band {odd[0]!r} is none of the model's ({', '.join(known)}); say which it is with --as")
    place = [list(known).index(band) for band in bands]

    def filled(plane, value):
        wide = np.full((*plane.shape[:-1], len(known)), value, plane.dtype)
        wide[..., place] = plane
        return wide

    def run(batch):
        wide = dict(batch)
        for key, value in (("image", 0), ("variance", np.inf), ("mask", True)):
            wide[key] = filled(batch[key], value)
        for key in ("model_variance", "pixel_variance"):
            if key in batch:
                wide[key] = filled(batch[key], 0)
        # A PSF must not be empty, whatever its weight.
        wide["psf"] = np.repeat(batch["psf"][..., :1], len(known), axis=-1)
        wide["psf"][..., place] = batch["psf"]
        answer = deblend(wide)
        changes = {
            key: None if getattr(answer, key) is None else getattr(answer, key)[..., place]
            for key in ("image", "flux", "flux_error", "flux_width", "samples", "residual")
        }
        return dataclasses.replace(answer, **changes)

    return run


def with_pixels(deblend, ratio):
    """Let a model of other pixels deblend: windows, PSFs, positions and answers are brought to and fro, keeping flux.

    Parameters
    ----------
    deblend : callable
    ratio : float
        Pixel scale of the model over that of the data.

    Returns
    -------
    callable
    """

    def there(function, plane, side):
        return np.moveaxis(function(np.moveaxis(plane, -1, 1), ratio, side), 1, -1)

    def run(batch):
        old = batch["image"].shape[1]
        new = int(np.ceil(old / ratio))
        middle, new_middle = (old - 1) / 2, (new - 1) / 2
        known = np.isfinite(batch["variance"])
        moved = dict(batch)
        moved["mask"] = there(resample_mask, batch["mask"] | ~known, new)
        # That of a smooth profile's flux stays: finer pixels are more and say no more, as their noise is correlated.
        weight = there(resample_variance, known, new)
        scatter = there(resample_variance, np.where(known, batch["variance"], 0), new)
        new_variance = scatter * ratio**2 / np.where(weight > 0, weight, 1)
        moved["mask"] |= ~(new_variance > 0)
        moved["pixel_variance"] = np.where(moved["mask"], np.inf, scatter).astype(np.float32)
        moved["variance"] = np.where(moved["mask"], np.inf, new_variance).astype(np.float32)
        moved["image"] = np.where(moved["mask"], 0, there(resample, batch["image"], new)).astype(np.float32)
        if "model_variance" in batch:
            # A square of light: twice as many powers of the ratio of pixels.
            moved["model_variance"] = np.maximum(there(resample, batch["model_variance"], new), 0) * ratio**2
        side = int(np.ceil(batch["psf"].shape[1] / ratio)) // 2 * 2 + 1
        psf = there(resample, batch["psf"], side)
        moved["psf"] = (psf / psf.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
        moved["positions"] = ((batch["positions"] - middle) / ratio + new_middle).astype(np.float32)
        if "position_error" in batch:
            moved["position_error"] = batch["position_error"] / ratio
        answer = deblend(moved)
        image = np.moveaxis(resample(np.moveaxis(answer.image, -1, 2), 1 / ratio, old), 2, -1).astype(np.float32)
        size = np.array([1, 1, ratio])
        return Deblended(
            image=image, flux=answer.flux, positions=(answer.positions - new_middle) * ratio + middle,
            present=answer.present, flux_error=answer.flux_error, flux_width=answer.flux_width, samples=answer.samples,
            shape=None if answer.shape is None else answer.shape * size,
            shape_error=None if answer.shape_error is None else answer.shape_error * size,
            position_error=None if answer.position_error is None else answer.position_error * ratio,
            chi2=answer.chi2, flags=answer.flags,
        )  # fmt: skip

    return run
