"""All ways to deconvolve the same stamps, classical ones at the setting that suits the data best."""

import dataclasses

import numpy as np

from galzoo.errors import InputError
from galzoo.metrics.binned import SNR_EDGES
from galzoo.metrics.reconstruction import nmse
from galzoo.tasks.reconstruct.classical import richardson_lucy, wiener

ITERATIONS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
BALANCES = tuple(float(x) for x in 10.0 ** np.arange(-3, 4.01, 0.5))

# What a method is given; the truth is not among it.
SEEN = ("image", "psf", "variance", "mask")


@dataclasses.dataclass
class Baseline:
    """A classical method that was tuned.

    Parameters
    ----------
    images : array, (n, y, x, band)
        Deconvolved test stamps.
    settings : list of dict
        A row a bin of signal-to-noise: ``low``, ``high`` (None if open), ``setting`` and ``tuned_on`` (stamps).
    """

    images: np.ndarray
    settings: list


def tuned_baseline(method, tuning, test, model_sigma=0.7, edges=SNR_EDGES, grid=None):
    """Deconvolve test stamps with the setting that has the least median error on tuning stamps.

    The setting is chosen in each bin of signal-to-noise, as an astronomer would who knows the noise: one setting for
    all would be a weaker baseline.

    Parameters
    ----------
    method : {"richardson_lucy", "wiener"}
    tuning, test : dict
        ``image, psf, variance, mask`` (arrays, n first), ``snr`` (n,); ``truth`` too in `tuning`.
    model_sigma : float
        Sigma of the model frame in pixels.
    edges : sequence of float
        Of the bins. Fainter stamps take the setting of the first bin; a bin with fewer than 5 tuning stamps that of
        all.
    grid : sequence, optional
        Settings to try: numbers of iterations, or balances.

    Returns
    -------
    Baseline
    """
    solvers = {"richardson_lucy": (richardson_lucy, ITERATIONS), "wiener": (wiener, BALANCES)}
    if method not in solvers:
        raise InputError(f"method {method!r} is unknown; use {' or '.join(solvers)}")
    solve, default = solvers[method]
    grid = tuple(default if grid is None else grid)
    tried = solve(tuning["image"], tuning["psf"], tuning["variance"], grid, model_sigma, tuning["mask"])
    errors = np.stack([nmse(tuning["truth"], images) for images in tried])
    # Below the first edge there is nothing better than the first bin's setting.
    edges = [-np.inf, *edges[1:]]
    images, settings = np.zeros_like(test["image"], dtype=np.float32), []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        members = (tuning["snr"] >= low) & (tuning["snr"] < high)
        used = members if members.sum() >= 5 else np.ones_like(members)
        best = grid[int(np.nanargmin(np.nanmedian(errors[:, used], axis=1)))]
        settings.append(
            {
                "low": low if np.isfinite(low) else None,
                "high": high if np.isfinite(high) else None,
                "setting": best,
                "tuned_on": int(used.sum()),
            }
        )
        rows = (test["snr"] >= low) & (test["snr"] < high)
        if rows.any():
            part = {key: test[key] if key == "psf" and len(test[key]) == 1 else test[key][rows] for key in SEEN}
            images[rows] = solve(part["image"], part["psf"], part["variance"], best, model_sigma, part["mask"])
    return Baseline(images, settings)
