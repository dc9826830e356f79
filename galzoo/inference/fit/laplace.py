"""Least squares of scenes with linear fluxes: a damped Gauss-Newton method and the Laplace approximation, in NumPy.

Matrices are small, a few numbers for each source, and solved in double precision. Fluxes are eliminated at each step
(variable projection; Golub & Pereyra 1973, with Kaufman's Jacobian).
"""

import numpy as np

# Fraction of each source's weight added to the diagonal, for the sake of rounding alone: it is not in the energy.
_RIDGE = 1e-7
# Scatter, in terms of the whole, with which sources are taken to share the flux of a band equally before the data are
# seen: as wide as that of a part that is anything from nothing to all.
_SPLIT = 0.6
# Standard deviations below 0 from which a flux is held at 0.
NEGATIVE = 2.0
# Longest step of one parameter, in standard deviations of its prior or so.
_LONGEST = 3.0


class Normal:
    """Least squares for the fluxes of scenes, solved, and what it says of the parameters of the images.

    Parameters
    ----------
    normal : array, (n, band, source, term, source, term)
        Products, weighted by inverse variance, of images of unit flux (term 0) and their derivatives by each parameter.
    right : array, (n, band, source, term)
        Products with the data.
    power : array, (n, band)
        Of the data with themselves.
    colours : ColourPrior, optional
        What is known of the fluxes of a source in all bands together.
    known : (array, array), optional
        ``prior`` (n, band * source, band * source) and ``vector`` (n, band, source) of another `Normal`: what is known
        of the fluxes is quadratic around fluxes as measured, and energies compare only under the same.
    """

    def __init__(self, normal, right, power, colours=None, known=None):
        self.normal, self.right, self.power = normal, right, power
        matrix = normal[:, :, :, 0, :, 0]
        diagonal = np.einsum("nbss->nbs", matrix)
        seen = diagonal > 0
        self._scale = 1 / np.sqrt(np.where(seen, diagonal, 1))
        # Products are sums in single precision, by which those of sources in one place may have a negative eigenvalue.
        lowest = np.linalg.eigvalsh(matrix * self._scale[..., :, None] * self._scale[..., None, :])[..., 0]
        self._ridge = _RIDGE + 2 * np.maximum(-lowest, 0)[..., None]
        fluxes = _blocks(matrix) + _diagonal(np.where(seen, self._ridge * diagonal, 1))
        if known is None:
            self._know(fluxes, seen, colours)
        else:
            self.prior, self.vector = known
        self._solve(fluxes + self.prior, right[..., 0] + self.vector)
        # Nothing shines less than not at all: what is negative beyond its noise makes up for another's wrong profile.
        for _ in range(2):
            below = np.moveaxis(self.flux, 2, 1) < -NEGATIVE * self._scale
            if not below.any():
                break
            fluxes = fluxes + _diagonal(np.where(below & seen, 1e6 * diagonal, 0))
            self._solve(fluxes + self.prior, right[..., 0] + self.vector)

    def _know(self, fluxes, seen, colours):
        """Find what is known of the fluxes by themselves, around those that the data say."""
        n, bands, sources = seen.shape
        right = self.right[..., 0]
        self._solve(fluxes, right)
        # What a pair in one place has together is well known, how it is shared is not: no more is asked of the prior
        # than that a part is of the order of the whole.
        total = np.abs(self.flux.sum(axis=1))
        number = np.maximum(seen.sum(axis=-1), 1)
        width = np.maximum(_SPLIT * total + 3 * (self._scale * seen).sum(axis=-1) / number, 1e-30)
        both = seen[..., :, None] & seen[..., None, :]
        parting = (np.eye(sources) - 1 / number[..., None, None]) * both
        self.prior, self.vector = _blocks(parting / width[..., None, None] ** 2), np.zeros_like(right)
        if colours is not None:
            self._solve(fluxes + self.prior, right)
            variance = np.where(seen, np.einsum("nii->ni", self.inverse).reshape(seen.shape), np.inf)
            form, vector = colours.site(self.flux, np.moveaxis(variance, 1, 2))
            self.prior += np.einsum("nsbc,st->nbsct", form, np.eye(sources)).reshape(self.prior.shape)
            self.vector = np.moveaxis(vector, 1, 2)

    def _solve(self, matrix, right):
        n, bands, sources = right.shape
        scale = self._scale.reshape(n, -1)
        scale = scale[:, :, None] * scale[:, None, :]
        self.inverse = np.linalg.inv(matrix * scale) * scale
        flux = np.einsum("nij,nj->ni", self.inverse, right.reshape(n, -1))
        self.flux = np.moveaxis(flux.reshape(n, bands, sources), 1, 2)

    def take(self, rows):
        """Return the scenes `rows`."""
        return self._like({name: value[rows] for name, value in vars(self).items()})

    def put(self, rows, other):
        """Put the scenes of `other` in the place of the scenes `rows`."""
        for name, value in vars(self).items():
            value[rows] = getattr(other, name)

    @classmethod
    def _like(cls, arrays):
        result = cls.__new__(cls)
        vars(result).update(arrays)
        return result

    def energy(self):
        """Return chi squared of each scene and, added to it, how unlikely the fluxes are by themselves, (n,)."""
        flux = np.moveaxis(self.flux, 1, 2).reshape(len(self.flux), -1)
        known = np.einsum("ni,nij,nj->n", flux, self.prior, flux)
        return self.chi2() + known - 2 * np.sum(flux * self.vector.reshape(flux.shape), axis=1)

    def chi2(self):
        """Return chi squared of each scene, (n,)."""
        explained = np.einsum("nsb,nbs->n", self.flux, self.right[..., 0])
        residual = np.einsum("nsb,nbst,ntb->n", self.flux, self.normal[:, :, :, 0, :, 0], self.flux, optimize=True)
        return self.power.sum(axis=1) - 2 * explained + residual

    def width(self):
        """Return the standard deviations of the fluxes by the likelihood alone, all parameters held, as the flux."""
        matrix = self.normal[:, :, :, 0, :, 0]
        diagonal = np.einsum("nbss->nbs", matrix)
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
        correlation = matrix * scale[..., :, None] * scale[..., None, :]
        ridge = np.where(diagonal > 0, self._ridge, 1)[..., None] * np.eye(matrix.shape[-1])
        return np.moveaxis(np.sqrt(np.einsum("nbss->nbs", np.linalg.inv(correlation + ridge))) * scale, 1, 2)

    def in_noise(self, light):
        """Return light (n, source, band) in standard deviations of the fluxes, all bands together, (n, source)."""
        seen = np.einsum("nbss->nsb", self.normal[:, :, :, 0, :, 0]) > 0
        return np.sqrt(np.sum(np.where(seen, light / self.width(), 0) ** 2, axis=-1))

    def contamination(self):
        """Return the light that sources may take from each other where profiles are wrong, as flux.

        That is what of the others' light would count as a source's if nothing but its own image were fitted, and what
        of its own looks like theirs; (n, source, band).
        """
        matrix = self.normal[:, :, :, 0, :, 0]
        own = np.einsum("nbss->nbs", matrix)
        own = np.where(own > 0, own, np.inf)
        flux = np.abs(np.moveaxis(self.flux, 1, 2))
        others = matrix * (1 - np.eye(matrix.shape[-1]))
        gained = np.einsum("nbst,nbt->nbs", others, flux) / own
        lost = np.einsum("nbst,nbt->nbs", others**2, 1 / own) / own * flux
        return np.moveaxis(gained + np.minimum(lost, flux), 1, 2)

    def gradient(self):
        """Return minus half of the gradient of chi squared by the parameters, (n, source, term - 1)."""
        predicted = np.einsum("nbsit,ntb->nbsi", self.normal[:, :, :, 1:, :, 0], self.flux)
        return np.einsum("nsb,nbsi->nsi", self.flux, self.right[..., 1:] - predicted)

    def cross(self):
        """Return the products of parameters and fluxes, (n, source * parameter, band * source)."""
        n, bands, sources, terms = self.right.shape
        cross = self.normal[:, :, :, 1:, :, 0] * np.moveaxis(self.flux, 2, 1)[:, :, :, None, None]
        return np.moveaxis(cross.reshape(n, bands, sources * (terms - 1), sources), 1, 2).reshape(
            n, sources * (terms - 1), bands * sources
        )

    def curvature(self):
        """Return the Gauss-Newton matrix of the parameters with fluxes eliminated, (n, m, m)."""
        n, _, sources, terms = self.right.shape
        size = sources * (terms - 1)
        flux = np.moveaxis(self.flux, 2, 1)
        direct = self.normal[:, :, :, 1:, :, 1:] * flux[:, :, :, None, None, None] * flux[:, :, None, None, :, None]
        cross = self.cross()
        return direct.sum(axis=1).reshape(n, size, size) - cross @ self.inverse @ np.swapaxes(cross, 1, 2)


def _blocks(matrix):
    """Return matrices (n, band, source, source) as one a scene, (n, band * source, band * source)."""
    n, bands, sources, _ = matrix.shape
    return np.einsum("nbst,bc->nbsct", matrix, np.eye(bands)).reshape(n, bands * sources, bands * sources)


def _diagonal(values):
    """Return diagonal matrices of values (n, band, source)."""
    flat = values.reshape(len(values), -1)
    return flat[:, :, None] * np.eye(flat.shape[1])


def minimise(evaluate, theta, present, precision, steps, colours=None, gain=0.05):
    """Find the most probable parameters of scenes.

    Parameters
    ----------
    evaluate : callable
        Takes parameters (m, source, parameter) and the numbers of the m scenes that they are of; returns the first
        three arguments of a `Normal`.
    theta : array, (n, source, m)
        Where to start.
    present : bool array, (n, source)
        Which entries are sources.
    precision : array, (m,)
        Inverse variance of the Gaussian prior of each parameter, whose mean is 0.
    steps : int
        Most evaluations; fewer where no scene is expected to gain any more.
    colours : ColourPrior, optional
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
    limit = np.tile(_LONGEST / np.maximum(np.sqrt(precision), 1), (sources, 1))
    theta = theta.astype(float)
    rows = np.arange(n)
    best = Normal(*evaluate(theta, rows), colours)
    lowest = best.energy() + (prior * theta.reshape(n, -1) ** 2).sum(axis=1)
    damping = np.full(n, 1e-2)
    for _ in range(steps - 1):
        now = best.take(rows)
        matrix = now.curvature()
        diagonal = np.maximum(np.einsum("nii->ni", matrix), 0)
        matrix = matrix + _diagonal(prior + damping[rows, None] * (diagonal + prior))
        down = now.gradient().reshape(len(rows), -1) - prior * theta[rows].reshape(len(rows), -1)
        step = np.linalg.solve(matrix, down[..., None])[..., 0]
        worth = (step * down).sum(axis=1) >= gain
        rows, step = rows[worth], step[worth].reshape(-1, sources, m)
        if not len(rows):
            break
        trial = theta[rows] + np.where(present[rows][..., None], np.clip(step, -limit, limit), 0)
        matrices = evaluate(trial, rows)
        known = tuple(value[worth] for value in (now.prior, now.vector))
        energy = Normal(*matrices, known=known).energy() + (prior * trial.reshape(len(rows), -1) ** 2).sum(axis=1)
        better = np.isfinite(energy) & (energy < lowest[rows])
        damping[rows] = np.clip(np.where(better, damping[rows] / 5, damping[rows] * 10), 1e-6, 1e6)
        if better.any():
            found = Normal(*(value[better] for value in matrices), colours)
            rows_better = rows[better]
            best.put(rows_better, found)
            theta[rows_better] = trial[better]
            lowest[rows_better] = found.energy() + (prior * trial[better].reshape(len(found.flux), -1) ** 2).sum(axis=1)
    return theta, best


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
        parameters; ``full`` (n, source * m, source * m), of all together; ``prior`` (n, band * source, band * source)
        and ``vector`` (n, band, source), what is known of the fluxes by themselves; ``samples`` (draw, n, source, band)
        or None.
    """
    n, sources, m = theta.shape
    bands = normal.flux.shape[-1]
    full = np.linalg.inv(normal.curvature() + np.diag(np.tile(precision, sources)))
    full = (full + np.swapaxes(full, 1, 2)) / 2
    # How the fluxes answer to the parameters: d flux / d parameters = -A^-1 cross^T.
    answer = -normal.inverse @ np.swapaxes(normal.cross(), 1, 2)

    def by_source(values):
        return np.moveaxis(values.reshape(*values.shape[:-1], bands, sources), -1, -2)

    noise = np.einsum("nii->ni", normal.inverse)
    shapes = np.sum((answer @ full) * answer, axis=-1)
    draws = None
    if samples:
        moved = np.einsum("nac,knc->kna", _root(full), rng.standard_normal((samples, n, sources * m)))
        draws = np.einsum("nia,kna->kni", answer, moved)
        draws = draws + np.einsum("nij,knj->kni", _root(normal.inverse), rng.standard_normal(draws.shape))
        draws = normal.flux + by_source(draws)
    blocks = np.einsum("nsisj->nsij", full.reshape(n, sources, m, sources, m))
    return {
        "flux": normal.flux,
        "flux_error": by_source(np.sqrt(np.maximum(noise + shapes, 0))),
        "flux_width": normal.width(),
        "covariance": blocks,
        "full": full,
        "prior": normal.prior,
        "vector": normal.vector,
        "samples": draws,
    }


def _root(matrix):
    """Return R with R R^T = matrix for symmetric matrices; negative eigenvalues, of rounding, count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
