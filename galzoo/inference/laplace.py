"""Least squares of scenes with linear fluxes: a damped Gauss-Newton method and the Laplace approximation, in NumPy.

Matrices are small, a few numbers for each source, so they are solved in double precision on the host while the device
makes images. Fluxes are eliminated at each step (variable projection; Golub & Pereyra 1973, with Kaufman's Jacobian).
"""

import dataclasses

import numpy as np

from galzoo.layers.flux import RIDGE

# Scatter, in terms of the whole, with which sources are taken to share the flux of a band equally before the data are
# seen: as wide as that of a part that is anything from nothing to all.
_SPLIT = 0.6
# Standard deviations below 0 from which a flux is held at 0.
_NEGATIVE = 2.0
# Longest step of one parameter, in standard deviations of its prior or so.
_LONGEST = 1.0


@dataclasses.dataclass
class Normal:
    """Products, weighted by inverse variance, of unit-flux images and their derivatives with each other and the data.

    Parameters
    ----------
    normal : array, (n, band, source, term, source, term)
        Term 0 is the image of unit flux, the others its derivatives by each parameter.
    right : array, (n, band, source, term)
        Products with the data.
    power : array, (n, band)
        Of the data with themselves.
    """

    normal: np.ndarray
    right: np.ndarray
    power: np.ndarray

    def __post_init__(self):
        matrix = self.normal[:, :, :, 0, :, 0]
        diagonal = np.einsum("nbss->nbs", matrix)
        seen = diagonal > 0
        self._scale = 1 / np.sqrt(np.where(seen, diagonal, 1))
        fluxes = matrix + np.eye(matrix.shape[-1]) * np.where(seen, RIDGE * diagonal, 1)[..., None]
        self._solve(fluxes)
        # What a pair in one place has together is well known, how it is shared is not: no more is asked of the prior
        # than that a part is of the order of the whole.
        total = np.abs(self.flux.sum(axis=1))
        number = np.maximum(seen.sum(axis=-1), 1)
        noise = (self._scale * seen).sum(axis=-1) / number
        width = np.maximum(_SPLIT * total + 3 * noise, 1e-30)
        both = seen[..., :, None] & seen[..., None, :]
        parting = (np.eye(matrix.shape[-1]) - 1 / number[..., None, None]) * both
        self.split = parting / width[..., None, None] ** 2
        self._solve(fluxes + self.split)
        # Nothing shines less than not at all: what is negative beyond its noise makes up for another's wrong profile.
        for _ in range(2):
            below = np.moveaxis(self.flux, 2, 1) < -_NEGATIVE * self._scale
            if not below.any():
                break
            held = np.where(below & seen, 1e6 * diagonal, 0)
            fluxes = fluxes + np.eye(matrix.shape[-1]) * held[..., None]
            self._solve(fluxes + self.split)

    def _solve(self, matrix):
        scale = self._scale[..., None] * self._scale[..., None, :]
        self.inverse = np.linalg.inv(matrix * scale) * scale
        self.flux = np.einsum("nbst,nbt->nsb", self.inverse, self.right[..., 0])

    def energy(self):
        """Return chi squared of each scene and, added to it, how unlikely the fluxes are by themselves, (n,)."""
        return self.chi2() + np.einsum("nsb,nbst,ntb->n", self.flux, self.split, self.flux)

    def chi2(self):
        """Return chi squared of each scene, (n,)."""
        explained = np.einsum("nsb,nbs->n", self.flux, self.right[..., 0])
        residual = np.einsum("nsb,nbst,ntb->n", self.flux, self.normal[:, :, :, 0, :, 0], self.flux)
        return self.power.sum(axis=1) - 2 * explained + residual

    def gradient(self):
        """Return minus half of the gradient of chi squared by the parameters, (n, source, term - 1)."""
        predicted = np.einsum("nbsit,ntb->nbsi", self.normal[:, :, :, 1:, :, 0], self.flux)
        return np.einsum("nsb,nbsi->nsi", self.flux, self.right[..., 1:] - predicted)

    def cross(self):
        """Return the products of parameters and fluxes, (n, band, source * parameter, source)."""
        n, bands, sources, terms = self.right.shape
        cross = self.normal[:, :, :, 1:, :, 0] * np.moveaxis(self.flux, 2, 1)[:, :, :, None, None]
        return cross.reshape(n, bands, sources * (terms - 1), sources)

    def curvature(self):
        """Return the Gauss-Newton matrix of the parameters with fluxes eliminated, (n, m, m)."""
        n, _, sources, terms = self.right.shape
        size = sources * (terms - 1)
        direct = np.einsum(
            "nsb,ntb,nbsitj->nsitj", self.flux, self.flux, self.normal[:, :, :, 1:, :, 1:], optimize=True
        )
        cross = self.cross()
        removed = np.einsum("nbas,nbst,nbct->nac", cross, self.inverse, cross, optimize=True)
        return direct.reshape(n, size, size) - removed


def minimise(evaluate, theta, present, precision, steps, gain=0.05):
    """Find the most probable parameters of scenes.

    Parameters
    ----------
    evaluate : callable
        Takes parameters (n, source, m) and returns a `Normal`.
    theta : array, (n, source, m)
        Where to start.
    present : bool array, (n, source)
        Which entries are sources.
    precision : array, (m,)
        Inverse variance of the Gaussian prior of each parameter, whose mean is 0.
    steps : int
        Most evaluations; fewer where no scene is expected to gain any more.
    gain : float
        Gain in chi squared that is not worth another step.

    Returns
    -------
    theta : array, (n, source, m)
    normal : Normal
        At `theta`.
    """
    n, sources, m = theta.shape
    prior = np.tile(precision, sources)
    damping = np.full(n, 1e-2)
    best = None
    trial = theta.astype(float)
    for _ in range(max(steps, 1)):
        found = evaluate(trial)
        energy = found.energy() + (prior * trial.reshape(n, -1) ** 2).sum(axis=1)
        energy = np.where(np.isfinite(energy), energy, np.inf)
        if best is None:
            best, lowest, theta = found, energy, trial
        else:
            better = energy < lowest
            best = _choose(better, found, best)
            theta = np.where(better[:, None, None], trial, theta)
            lowest = np.where(better, energy, lowest)
            damping = np.clip(np.where(better, damping / 5, damping * 10), 1e-6, 1e6)
        matrix = best.curvature()
        diagonal = np.einsum("nii->ni", matrix)
        matrix = (
            matrix + np.eye(sources * m) * (prior + damping[:, None] * (np.maximum(diagonal, 0) + prior))[:, None, :]
        )
        down = best.gradient().reshape(n, -1) - prior * theta.reshape(n, -1)
        step = np.linalg.solve(matrix, down[..., None])[..., 0].reshape(n, sources, m)
        if np.max((step.reshape(n, -1) * down).sum(axis=1)) < gain:
            break
        limit = _LONGEST / np.maximum(np.sqrt(precision), 1)
        trial = theta + np.where(present[..., None], np.clip(step, -limit, limit), 0)
    return theta, best


def _choose(rows, new, old):
    """Return `new` in the scenes of `rows`, else `old`."""

    def pick(name):
        one, other = getattr(new, name), getattr(old, name)
        return np.where(rows.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    return Normal(pick("normal"), pick("right"), pick("power"))


def posterior(normal, theta, precision, samples, rng):
    """Return the Gaussian approximation of the posterior around its mode.

    Parameters
    ----------
    normal : Normal
        At the mode.
    theta : array, (n, source, m)
    precision : array, (m,)
        As in `minimise`.
    samples : int
        Draws of the fluxes; 0 for none.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``flux, flux_error, flux_width`` (n, source, band); ``covariance`` (n, source, m, m) of each source's
        parameters; ``full`` (n, source * m, source * m), of all together; ``split`` (n, band, source, source), inverse
        covariance of the fluxes by themselves; ``samples`` (draw, n, source, band) or None.
    """
    n, sources, m = theta.shape
    full = np.linalg.inv(normal.curvature() + np.diag(np.tile(precision, sources)))
    full = (full + np.swapaxes(full, 1, 2)) / 2
    # How the fluxes answer to the parameters: d flux / d parameters = -A^-1 cross^T.
    answer = -np.einsum("nbst,nbat->nbsa", normal.inverse, normal.cross())
    noise = np.einsum("nbss->nbs", normal.inverse)
    shapes = np.einsum("nbsa,nac,nbsc->nbs", answer, full, answer, optimize=True)
    draws = None
    if samples:
        root = _root(full)
        moved = np.einsum("nac,knc->kna", root, rng.standard_normal((samples, n, sources * m)))
        draws = np.moveaxis(normal.flux, 2, 1) + np.einsum("nbsa,kna->knbs", answer, moved)
        draws = draws + np.einsum("nbst,knbt->knbs", _root(normal.inverse), rng.standard_normal(draws.shape))
        draws = np.moveaxis(draws, 3, 2)
    blocks = np.einsum("nsisj->nsij", full.reshape(n, sources, m, sources, m))
    return {
        "flux": normal.flux,
        "flux_error": np.moveaxis(np.sqrt(np.maximum(noise + shapes, 0)), 2, 1),
        "flux_width": np.moveaxis(np.sqrt(np.maximum(noise, 0)), 2, 1),
        "covariance": blocks,
        "full": full,
        "split": normal.split,
        "samples": draws,
    }


def _root(matrix):
    """Return R with R R^T = matrix for symmetric matrices; negative eigenvalues, of rounding, count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
