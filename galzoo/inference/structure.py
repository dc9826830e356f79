"""What smooth galaxies leave in the residual, given to the galaxies that it belongs to."""

import numpy as np
import scipy.fft
import scipy.sparse.linalg

from galzoo.inference.refine import LEAST_PIXELS

# Chi squared per pixel, in standard deviations above 1, from which a scene is refined: noise is left alone.
_SIGNIFICANT = 4.0
_LARGEST_MISFIT = 0.3
# Standard deviations, as parts of its light, by which a galaxy differs from its profile in all bands and, at least, in
# each alone, and the sigma in pixels over which the former is smooth.
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


def _least(enough):
    """Return the least part of the light, up to `_LARGEST_MISFIT`, that is enough."""
    low, high = 0.0, _LARGEST_MISFIT
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return (low + high) / 2


def _shares(residual, light, variance):
    """Return what part of the residual of a band belongs to each source, (source, y, x).

    That is the ratio of what deviations of this band alone are expected to be to these and the noise, with the smallest
    that leave no more than noise where there is light (the discrepancy principle): noise is not fitted.
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
        mean (band, source), see `galzoo.inference.laplace.Normal`.
    steps : int
        Most steps of each round.

    Returns
    -------
    change : array, (source, band, y, x)
        What is to be added to the profiles, times their new flux, as observed.
    flux : array, (source, band)
        Of the profiles.
    total : array, (source, band)
        Of the galaxies.
    """
    canvas = patch.canvas
    smooth = _Smooth(canvas)
    shared = np.zeros_like(galaxies[:, 0])

    def light():
        """Return the light that is not the profiles', in the model frame and as observed, and all that is observed."""
        frame = (flux[..., None, None] * galaxies * np.maximum(_SHARED * smooth(shared)[:, None], -1)).astype("float32")
        change = canvas.filter(frame, canvas.from_model)
        return frame, change, flux[..., None, None] * seen + change

    alone = _OWN
    for _ in range(_ROUNDS):
        own = (alone * flux[..., None, None] * seen) ** 2
        variance = patch.variance + own.sum(axis=0)
        found = _Round(patch, variance, seen, galaxies, smooth, shared, flux, known).solve(steps)
        flux, shared = (now + change for now, change in zip((flux, shared), found, strict=True))
        frame, change, whole = light()
        alone = max(alone, misfit(patch.image, whole.sum(axis=0), patch.variance))
    residual = patch.image - whole.sum(axis=0)
    profiles = np.moveaxis(flux[..., None, None] * seen, 1, 0)
    shares = np.stack([_shares(*band) for band in zip(residual, profiles, patch.variance, strict=True)], axis=1)
    rest = residual * shares
    return change + rest, flux, flux + (frame + rest).sum(axis=(2, 3))


class _Smooth:
    """Make white noise smooth, of the same variance."""

    def __init__(self, canvas):
        self.canvas = canvas
        kernel = np.exp(-0.5 * _SCALE**2 * (canvas.kx**2 + canvas.ky**2))
        self.kernel = (kernel / np.sqrt(np.sum(scipy.fft.irfft2(kernel, s=canvas.grid) ** 2))).astype("float32")

    def __call__(self, images):
        return self.canvas.filter(images, self.kernel)


class _Round:
    """Least squares for changes of fluxes and of deviations, linear around those that there are.

    Numbers are one vector: fluxes in units of their errors, then deviations in units of their prior.
    """

    def __init__(self, patch, variance, seen, galaxies, smooth, shared, flux, known):
        self.patch, self.smooth, self.shared, self.flux = patch, smooth, shared, flux
        self.root = (1 / np.sqrt(variance)).astype("float32")
        self.precision, self.vector = known
        deviation = galaxies * np.maximum(_SHARED * smooth(shared)[:, None], -1)
        self.seen = (seen * self.root).astype("float32") + self._observe(deviation)
        self.light = (flux[..., None, None] * galaxies).astype("float32")
        diagonal = np.sum(self.seen**2, axis=(2, 3), dtype=float) + self._by_source(np.diag(self.precision))
        self.scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))

    def _observe(self, images):
        return self.patch.canvas.filter(images, self.patch.canvas.from_model) * self.root

    def _by_source(self, values):
        """Return what is ordered (band, source) as (source, band)."""
        return values.reshape(self.flux.shape[::-1]).T

    def _known(self, fluxes):
        return self._by_source(self.precision @ fluxes.T.ravel())

    def _parts(self, values):
        fluxes, shared = np.split(values, [self.flux.size])
        return fluxes.reshape(self.flux.shape) * self.scale, shared.reshape(self.light[:, 0].shape).astype("float32")

    def _forward(self, fluxes, shared):
        """Return what changes do to the whitened image (band, y, x)."""
        deviation = np.sum(self.light * (_SHARED * self.smooth(shared)[:, None]), axis=0)
        return self._observe(deviation) + np.einsum("sbyx,sb->byx", self.seen, fluxes.astype("float32"))

    def _adjoint(self, fluxes, image):
        """Return the vector of what a whitened image says, and of what is said of the fluxes beside."""
        canvas = self.patch.canvas
        light = np.sum(self.light * canvas.filter(image * self.root, canvas.from_model, adjoint=True), axis=1)
        fluxes = (np.sum(self.seen * image, axis=(2, 3)) + fluxes) * self.scale
        return np.concatenate([fluxes.ravel(), _SHARED * self.smooth(light).ravel()], dtype=float)

    def _product(self, values):
        """Return the normal matrix times a vector."""
        parts = self._parts(values)
        result = self._adjoint(self._known(parts[0]), self._forward(*parts)) + values
        # Fluxes have no prior but what is known of them.
        result[: self.flux.size] -= (1 - _RIDGE) * values[: self.flux.size]
        return result

    def solve(self, steps):
        """Return the changes of fluxes (source, band) and of deviations."""
        residual = self.patch.image * self.root - np.einsum("sbyx,sb->byx", self.seen, self.flux.astype("float32"))
        right = self._adjoint(self.vector.T - self._known(self.flux), residual)
        right[self.flux.size :] -= self.shared.ravel()
        operator = scipy.sparse.linalg.LinearOperator((len(right), len(right)), self._product, dtype=float)
        inverse = scipy.sparse.diags_array(1 / self._diagonal())
        return self._parts(scipy.sparse.linalg.cg(operator, right, M=inverse, rtol=_PRECISION, maxiter=steps)[0])

    def _diagonal(self):
        """Return about the diagonal of the normal matrix: how well each pixel's deviation is seen, above all."""
        kernel = self.smooth.kernel**2
        seen = np.sum(np.abs(self.patch.canvas.from_model) ** 2 * kernel, axis=(1, 2)) / np.sum(kernel)
        power = np.einsum("sbyx,b->syx", (self.light * self.root) ** 2, seen)
        return np.concatenate([np.ones(self.flux.size), 1 + _SHARED**2 * power.ravel()])
