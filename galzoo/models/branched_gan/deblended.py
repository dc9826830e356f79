"""A model's images as a `Deblended`, and which branch belongs to a known position."""

import numpy as np

from galzoo.contracts.deblended import FLAGS, Deblended
from galzoo.metrics.reconstruction import inverse_variance

# Signal-to-noise of a branch from which it holds a source.
LEAST_SNR = 5.0


def deblended(parts, whole, batch, threshold=LEAST_SNR):
    """Put a model's galaxies into a `Deblended`.

    Parameters
    ----------
    parts : array, (n, branch, y, x, band)
        Galaxy of each branch as observed, in the unit of the data.
    whole : array, (n, y, x, band)
        The blend made of the parts again.
    batch : dict of arrays
        ``image``, ``variance`` and, where present, ``mask``. With ``positions`` (n, source, 2) and ``n_sources`` (n,)
        the branches are put in the order of these sources, the nearest pairs first; sources beyond the number of
        branches are not fitted. Otherwise the sources are the branches.
    threshold : float
        Least signal-to-noise, all bands together, of a branch that holds a source.

    Returns
    -------
    Deblended
        Positions are centroids.
    """
    weight = inverse_variance(batch["variance"], batch.get("mask"))
    chi = np.where(weight > 0, batch["image"] - whole, 0.0)
    pixels = np.maximum(np.count_nonzero(weight, axis=(1, 2, 3)), 1)
    snr = np.sqrt(np.sum(parts.astype(np.float64) ** 2 * weight[:, None], axis=(2, 3, 4)))
    centres = centroids(parts)
    present = (snr >= threshold) & np.isfinite(centres).all(axis=-1)
    if batch.get("positions") is not None:
        wanted, count = np.asarray(batch["positions"]), np.asarray(batch["n_sources"])
        order = np.full(wanted.shape[:2], -1)
        for row, number in enumerate(count):
            order[row, :number] = nearest_branches(centres[row], wanted[row, :number])
        fitted = order >= 0
        rows, order = np.arange(len(parts))[:, None], np.maximum(order, 0)
        parts = np.where(fitted[..., None, None, None], parts[rows, order], np.float32(0))
        centres = np.where(fitted[..., None], centres[rows, order], wanted)
        present = np.arange(wanted.shape[1]) < count[:, None]
    else:
        fitted = present
    flux = parts.sum(axis=(2, 3), dtype=np.float64)
    flags = np.where(present & ~fitted, FLAGS["not_fitted"], 0)
    flags |= np.where(fitted & present & (flux <= 0).any(axis=-1), FLAGS["negative_flux"], 0)
    return Deblended(
        image=np.where(present[..., None, None, None], parts, np.float32(0)),
        flux=np.where(present[..., None], flux, 0.0),
        positions=np.where(np.isfinite(centres) & present[..., None], centres, 0.0),
        present=present,
        chi2=np.sum(chi**2 * weight, axis=(1, 2, 3)) / pixels,
        residual=chi.astype(np.float32),
        flags=flags,
    )


def centroids(parts):
    """Return the centroids of galaxies, weighted by the square of their light, which the sky hardly moves.

    Parameters
    ----------
    parts : array, (n, branch, y, x, band)

    Returns
    -------
    array, (n, branch, 2)
        Pixel positions as (x, y); NaN where there is no light.
    """
    light = np.square(parts.sum(axis=-1, dtype=np.float64))
    total = light.sum(axis=(2, 3))
    rows, columns = (np.arange(size) for size in light.shape[2:])
    sums = np.stack([light.sum(axis=2) @ columns, light.sum(axis=3) @ rows], axis=-1)
    return sums / np.where(total > 0, total, np.nan)[..., None]


def nearest_branches(found, wanted):
    """Assign branches to known positions, the nearest pair first.

    Parameters
    ----------
    found : array, (branch, 2)
        Pixel positions of what the branches gave; NaN where a branch is empty.
    wanted : array, (source, 2)
        Known pixel positions.

    Returns
    -------
    int array, (source,)
        Branch of each source, -1 where there are more sources than branches.
    """
    distance = np.linalg.norm(wanted[:, None] - found[None], axis=-1)
    distance = np.where(np.isfinite(distance), distance, 1e9)
    chosen = np.full(len(wanted), -1)
    for _ in range(min(distance.shape)):
        source, branch = np.unravel_index(np.argmin(distance), distance.shape)
        chosen[source] = branch
        distance[source], distance[:, branch] = np.inf, np.inf
    return chosen
