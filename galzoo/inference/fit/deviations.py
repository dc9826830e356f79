"""What smooth galaxies leave in the residual, given to the galaxies that it belongs to."""

import numpy as np
import scipy.fft
import scipy.sparse.linalg

from galzoo.inference.fit.laplace import NEGATIVE
from galzoo.inference.refine import LEAST_PIXELS

# Chi squared per pixel, in standard deviations above 1, from which a scene is refined: noise is left alone.
_SIGNIFICANT = 4.0
_LARGEST_MISFIT = 0.3
# Sigma of the half-normal prior of the part of their light by which galaxies differ from their profiles, and how many
# pixels count as one, as misfits go on over many: so the intervals of blends of CatSim's galaxies hold about what they
# should (docs/deblend.md).
_EXPECTED, _ALIKE = 0.06, 4.0
# Standard deviations, as parts of its light, by which a galaxy differs from its profile in all bands and, at least, in
# each alone, and the sigma in pixels of the kernel that makes the former smooth.
_SHARED, _OWN, _SCALE = 0.5, 0.05, 2.0
# How many times the linear problem is solved, each around the last answer.
_ROUNDS = 3
# When to stop, and what is added to the weight of a flux for the sake of rounding.
_PRECISION, _RIDGE = 1e-4, 1e-4


def misfit(image, total, variance):
    """Return by what part of their light galaxies differ from the model's, as the residual has it; 0 if noise will do.

    Parameters
    ----------
    image, total, variance : array, (band, y, x)
        Data, model and the noise of a scene; infinite variance where a pixel is bad.

    Returns
    -------
    float
        The e for which (image - total)^2 / (variance + (e total)^2) is 1 on average where the model is above the noise.
    """
    light = (total > np.sqrt(variance)) & np.isfinite(variance)
    squares, noise, power = (image - total)[light] ** 2, variance[light], total[light] ** 2
    if len(squares) < LEAST_PIXELS or np.mean(squares / noise) < 1 + _SIGNIFICANT * np.sqrt(2 / len(squares)):
        return 0.0
    return _least(lambda part: np.mean(squares / (noise + part**2 * power)) <= 1)


def doubt(image, total, variance):
    """Return by what part of their light galaxies may differ from the model's, as prior and residual have it.

    Parameters are those of `misfit`, which is what the residual proves; this is what it leaves possible as well: nearly
    nothing where much light fits, what is usual where noise hides the galaxies.

    Returns
    -------
    float
        Root mean square of the part e, whose posterior is that of normal deviations of variance + (e total)^2 in pixels
        where the model is above the noise.
    """
    light = (total > np.sqrt(variance)) & np.isfinite(variance)
    squares, noise, power = (
        ((image - total)[light] ** 2).astype(float),
        variance[light],
        total[light].astype(float) ** 2,
    )
    part = np.linspace(0, _LARGEST_MISFIT, 121)[:, None]
    whole = noise + part**2 * power
    log_prob = -0.5 * (np.log(whole) + squares / whole).sum(axis=1) / _ALIKE - 0.5 * (part[:, 0] / _EXPECTED) ** 2
    weight = np.exp(log_prob - log_prob.max())
    return float(np.sqrt(weight @ part[:, 0] ** 2 / weight.sum()))


def _least(enough):
    """Return the least part of the light, up to `_LARGEST_MISFIT`, that is enough."""
    low, high = 0.0, _LARGEST_MISFIT
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return (low + high) / 2


def _shares(residual, light, variance):
    """Return what part of the residual of a band belongs to each source, (source, y, x); 0 where there is little light.

    That is the variance of deviations of this band alone over that of all of these and the noise, with the smallest
    deviations that leave no more than noise where there is light (the discrepancy principle): noise is not fitted.
    """
    bright = (light.sum(axis=0) > np.sqrt(variance)) & np.isfinite(variance)
    if bright.sum() < LEAST_PIXELS:
        return np.zeros_like(light)
    squares, noise, power = residual[bright] ** 2, variance[bright], np.sum(light**2, axis=0)[bright]
    part = _least(lambda part: np.mean(squares * noise / (noise + part**2 * power) ** 2) <= 1)
    own = (part * light) ** 2
    return own / (variance + own.sum(axis=0))


def needs_refinement(image, total, variance):
    """Return whether noise does not explain the residual of a scene; arguments are those of `misfit`."""
    good = np.isfinite(variance)
    chi2 = np.sum((image - total)[good] ** 2 / variance[good]) / max(good.sum(), 1)
    return chi2 > 1 + _SIGNIFICANT * np.sqrt(2 / max(good.sum(), 1))


def deviations(patch, seen, galaxies, flux, known, steps):
    """Find what galaxies are where they differ from smooth profiles, and their fluxes, from all bands at once.

    A galaxy is its profile times 1 + e, in all bands alike; under the prior e is normal with mean 0 and smooth over two
    pixels. So what lies between two galaxies goes to the one whose colour it has. A smaller deviation of each band
    alone is noise to this, as much as the residual asks for. Given the fluxes, the most probable e solves a linear
    problem (a Wiener filter); both are found together by conjugate gradients, and as the light is bilinear in them,
    anew around what was found. In the end the residual is shared as the deviations of single bands are expected.

    Parameters
    ----------
    patch : Patch
    seen, galaxies : arrays, (source, band, y, x)
        Profiles of unit flux as observed, and on the pixels of the patch in the model frame.
    flux : array, (source, band)
        Where to start.
    known : (array, array)
        What is known of the fluxes by themselves: inverse covariance (band * source, band * source) and that times the
        mean (band, source), see `galzoo.inference.fit.laplace.Normal`.
    steps : int
        Most steps of each round.

    Returns
    -------
    images : array, (source, band, y, x)
        Galaxies as observed.
    flux : array, (source, band)
        Of the profiles.
    total : array, (source, band)
        Of the galaxies.
    """
    smooth = _Smooth(patch.canvas)
    shared = np.zeros_like(galaxies[:, 0])
    frame, images = np.zeros_like(galaxies), flux[..., None, None] * seen
    alone = _OWN
    for _ in range(_ROUNDS):
        variance = patch.variance + np.sum((alone * flux[..., None, None] * seen) ** 2, axis=0)
        problem = _Problem(patch, variance, seen, galaxies, smooth, known)
        found = problem.step(flux, shared, steps)
        light = problem.light(*found)
        if not problem.energy(*found, light[1]) < problem.energy(flux, shared, images):
            break
        (flux, shared), (frame, images) = found, light
        alone = max(alone, misfit(patch.image, images.sum(axis=0), patch.pixel_variance))
    residual = patch.image - images.sum(axis=0)
    profiles = np.moveaxis(flux[..., None, None] * seen, 1, 0)
    shares = np.stack([_shares(*band) for band in zip(residual, profiles, patch.pixel_variance, strict=True)], axis=1)
    rest = residual * shares
    return images + rest, flux, flux + (frame + rest).sum(axis=(2, 3))


class _Smooth:
    """Make white noise smooth, of the same variance."""

    def __init__(self, canvas):
        self.canvas = canvas
        kernel = np.exp(-0.5 * _SCALE**2 * (canvas.kx**2 + canvas.ky**2))
        self.kernel = (kernel / np.sqrt(np.sum(scipy.fft.irfft2(kernel, s=canvas.grid) ** 2))).astype("float32")

    def __call__(self, images):
        return self.canvas.filter(images, self.kernel)


class _Problem:
    """Fluxes (source, band) and deviations (source, y, x), in units of their prior, of galaxies on a patch.

    Parameters
    ----------
    patch, seen, galaxies, known
        As of `deviations`.
    variance : array, (band, y, x)
        Of the noise and of what a single band has for itself.
    smooth : _Smooth
    """

    def __init__(self, patch, variance, seen, galaxies, smooth, known):
        self.image, self.canvas, self.smooth = patch.image, patch.canvas, smooth
        self.seen, self.galaxies = seen, galaxies
        self.root = (1 / np.sqrt(variance)).astype("float32")
        self.precision, self.vector = known

    def light(self, flux, shared):
        """Return what is not the profiles', in the model frame, and galaxies as observed, (source, band, y, x)."""
        frame = flux[..., None, None] * self.deviation(shared)
        return frame, flux[..., None, None] * self.seen + self.canvas.filter(frame, self.canvas.from_model)

    def energy(self, flux, shared, images):
        """Return chi squared of galaxies as observed and how unlikely their fluxes and deviations are."""
        residual = self.root * (self.image - images.sum(axis=0))
        known = np.sum(flux * (self.known(flux) - 2 * self.vector.T))
        return np.sum(residual**2) + np.sum(shared.astype(float) ** 2) + known

    def step(self, flux, shared, steps):
        """Return better fluxes and deviations by least squares, linear around those that are given."""
        held = np.zeros(flux.shape, bool)
        for _ in range(2):
            found, error = _Linear(self, np.where(held, 0, flux), shared, held).solve(steps)
            below = found[0] < -NEGATIVE * error
            if not below.any():
                break
            # As of `laplace.Normal`: nothing shines less than not at all.
            held |= below
        return found

    def deviation(self, shared):
        return self.galaxies * np.maximum(_SHARED * self.smooth(shared)[:, None], -1)

    def known(self, flux):
        """Return the product of fluxes and what is known of them; that is ordered by band, then by source."""
        return (self.precision @ flux.T.ravel()).reshape(flux.shape[::-1]).T


class _Linear:
    """The normal equations of a `_Problem` around some fluxes and deviations.

    Unknown are changes, in one vector: of fluxes in units of their errors, then of deviations. Fluxes that are `held`
    do not change.
    """

    def __init__(self, problem, flux, shared, held):
        self.problem, self.flux, self.shared = problem, flux, shared
        canvas, root = problem.canvas, problem.root
        unit = problem.seen + canvas.filter(problem.deviation(shared), canvas.from_model)
        self.images = (unit * root).astype("float32")
        self.light = (flux[..., None, None] * problem.galaxies).astype("float32")
        precision = np.diag(problem.precision).reshape(flux.shape[::-1]).T
        diagonal = np.sum(self.images**2, axis=(2, 3), dtype=float) + precision
        self.error = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
        self.scale = np.where(held, 0, self.error)

    def solve(self, steps):
        """Return fluxes and deviations, and the errors of the fluxes if all else were known."""
        problem = self.problem
        residual = problem.image * problem.root - np.einsum("sbyx,sb->byx", self.images, self.flux.astype("float32"))
        right = self._adjoint(problem.vector.T - problem.known(self.flux), residual)
        right[self.flux.size :] -= self.shared.ravel()
        operator = scipy.sparse.linalg.LinearOperator((len(right), len(right)), self._product, dtype=float)
        inverse = scipy.sparse.diags_array(1 / self._diagonal())
        changes, _ = scipy.sparse.linalg.cg(operator, right, M=inverse, rtol=_PRECISION, maxiter=steps)
        flux, shared = self._split(changes)
        return (self.flux + flux, self.shared + shared), self.error

    def _split(self, values):
        """Return the changes of fluxes, in their unit, and of deviations that a vector stands for."""
        fluxes, shared = np.split(values, [self.flux.size])
        return fluxes.reshape(self.flux.shape) * self.scale, shared.reshape(self.shared.shape).astype("float32")

    def _forward(self, fluxes, shared):
        """Return what changes do to the whitened image (band, y, x)."""
        problem = self.problem
        deviation = np.sum(self.light * (_SHARED * problem.smooth(shared)[:, None]), axis=0)
        seen = problem.canvas.filter(deviation, problem.canvas.from_model) * problem.root
        return seen + np.einsum("sbyx,sb->byx", self.images, fluxes.astype("float32"))

    def _adjoint(self, fluxes, image):
        """Return the vector of what a whitened image says, and of what is said of the fluxes beside."""
        problem = self.problem
        back = problem.canvas.filter(image * problem.root, problem.canvas.from_model, adjoint=True)
        fluxes = (np.sum(self.images * image, axis=(2, 3)) + fluxes) * self.scale
        shared = _SHARED * problem.smooth(np.sum(self.light * back, axis=1))
        return np.concatenate([fluxes.ravel(), shared.ravel()], dtype=float)

    def _product(self, values):
        """Return the normal matrix times a vector."""
        fluxes, shared = self._split(values)
        result = self._adjoint(self.problem.known(fluxes), self._forward(fluxes, shared)) + values
        # Fluxes have no prior but what is known of them.
        result[: self.flux.size] -= (1 - _RIDGE) * values[: self.flux.size]
        return result

    def _diagonal(self):
        """Return about the diagonal of the normal matrix: how well each pixel's deviation is seen, above all."""
        kernel = self.problem.smooth.kernel**2
        kept = np.sum(np.abs(self.problem.canvas.from_model) ** 2 * kernel, axis=(1, 2)) / np.sum(kernel)
        power = np.einsum("sbyx,b->syx", (self.light * self.problem.root) ** 2, kept)
        return np.concatenate([np.ones(self.flux.size), 1 + _SHARED**2 * power.ravel()])
