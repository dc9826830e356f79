"""Batches of scenes on their way into a solver, and its answers on their way out."""

import numpy as np

from galzoo.contracts.deblended import FLAGS, Deblended
from galzoo.errors import InputError

# Chi squared per pixel within the fitted window above which a fit is called poor.
_POOR = 1.5


def checked(model, batch):
    """Return the batch as NumPy arrays with all that is needed, or say what does not fit."""
    model.check(batch)
    keys = ("image", "variance", "model_variance", "pixel_variance", "mask", "psf", "positions", "n_sources")
    batch = {key: np.asarray(batch[key]) for key in keys if batch.get(key) is not None}
    n, height, width, _ = batch["image"].shape
    if "positions" not in batch:
        batch["positions"] = np.tile(np.float32([(width - 1) / 2, (height - 1) / 2]), (n, 1, 1))
        batch["n_sources"] = np.ones(n, int)
    if "n_sources" not in batch:
        batch["n_sources"] = np.full(n, batch["positions"].shape[1])
    for key in ("image", "variance"):
        batch[key] = batch[key].astype("float32")
    # A pixel that is not a number is no data, whatever its variance.
    finite = np.isfinite(batch["image"])
    if not finite.all():
        batch["variance"] = np.where(finite, batch["variance"], np.inf)
        batch["image"] = np.where(finite, batch["image"], 0)
    batch["positions"] = batch["positions"].astype("float32")
    shape = batch["positions"].shape
    if shape[0] != n or len(shape) != 3 or shape[2] != 2 or np.any(batch["n_sources"] > shape[1]):
        raise InputError(f"positions have shape {shape} for {n} scenes; give (n, source, 2) and n_sources up to source")
    listed = np.arange(shape[1]) < batch["n_sources"][:, None]
    if not np.all(np.isfinite(batch["positions"][listed])):
        raise InputError("a position is not finite; leave that source out")
    if "psf" in batch and len(batch["psf"]) == 1:
        batch["psf"] = np.repeat(batch["psf"], n, axis=0)
    return batch


def empty(shape, samples):
    """Return a `Deblended` of zeros for scenes of ``shape``, (n, source, y, x, band), and so many samples."""
    n, sources, height, width, bands = shape

    def zeros(*size):
        return np.zeros((n, sources, *size), np.float32)

    return Deblended(
        image=zeros(height, width, bands),
        flux=zeros(bands),
        positions=zeros(2),
        present=np.zeros((n, sources), bool),
        flux_error=zeros(bands),
        flux_width=zeros(bands),
        samples=np.zeros((samples, n, sources, bands), np.float32) if samples else None,
        shape=zeros(3),
        shape_error=zeros(3),
        position_error=zeros(2),
        chi2=np.zeros(n, np.float32),
        residual=np.zeros((n, height, width, bands), np.float32),
        flags=np.zeros((n, sources), np.int32),
    )


def store(result, rows, found):
    """Put the answers for some scenes, by name, in their rows."""
    for name, value in found.items():
        if name == "samples":
            result.samples[:, rows, : value.shape[2]] = value
        else:
            getattr(result, name)[rows, : value.shape[1]] = value


def finish(result, batch):
    """Fill in residual, chi squared and flags."""
    listed = np.arange(batch["positions"].shape[1]) < batch["n_sources"][:, None]
    result.present[...] = listed
    good = np.isfinite(batch["variance"]) & (batch["variance"] > 0) & np.isfinite(batch["image"])
    if "mask" in batch:
        good &= ~batch["mask"].astype(bool)
    total = result.image.sum(axis=1)
    result.residual[...] = np.where(good, np.where(good, batch["image"], 0) - total, 0)
    variance = np.where(good, batch.get("pixel_variance", batch["variance"]), 1)
    squares = (result.residual**2 / variance).sum(axis=(1, 2, 3))
    result.chi2[...] = squares / np.maximum(good.sum(axis=(1, 2, 3)), 1)
    seen = np.isfinite(batch["variance"]).any(axis=(1, 2))[:, None, :]
    negative = (result.flux <= 0) & seen
    result.flags |= np.where(listed & negative.all(axis=-1), FLAGS["negative_flux"], 0)
    result.flags |= np.where(listed & (result.chi2 > _POOR)[:, None], FLAGS["poor_fit"], 0)
    height, width = batch["image"].shape[1:3]
    x, y = batch["positions"][..., 0], batch["positions"][..., 1]
    rim = (x < 3) | (y < 3) | (x > width - 4) | (y > height - 4)
    result.flags |= np.where(listed & rim, FLAGS["edge"], 0)
    column = np.clip(np.round(x), 0, width - 1).astype(int)
    row = np.clip(np.round(y), 0, height - 1).astype(int)
    core = good[np.arange(len(good))[:, None], row, column].any(axis=-1)
    result.flags |= np.where(listed & ~core, FLAGS["masked"], 0)
    if not np.all(np.isfinite(result.flux)):
        bad = ~np.isfinite(result.flux).all(axis=-1)
        result.flags |= np.where(bad, FLAGS["not_fitted"], 0)
        result.flux[bad], result.image[bad] = 0, 0
