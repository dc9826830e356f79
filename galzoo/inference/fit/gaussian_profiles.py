"""Galaxies that are sums of Gaussians, seen through a PSF, and what they have in common with the data, in NumPy.

A Gaussian's Fourier transform is a Gaussian, so a galaxy is multiplied by the PSF where it is cheapest and most exact;
its derivatives are the same Gaussians times powers of the frequency. Nothing here depends on a compiled shape: each
scene has its own window.
"""

import bisect
import dataclasses
import functools
import itertools

import numpy as np
import scipy.fft

from galzoo.data.psf import psf_transfer
from galzoo.field.photometry import moment_axes
from galzoo.layers.psf import model_gain

# Odd numbers of pixels that are quick to transform: on an odd grid no frequency is its own mirror image.
_FAST = sorted(
    3**a * 5**b * 7**c for a, b, c in itertools.product(range(10), range(7), range(6)) if 3**a * 5**b * 7**c < 20000
)
# Pixels within which the extent of a source is looked for.
_FARTHEST = 64


@dataclasses.dataclass
class Profiles:
    """Galaxies of unit flux, before the PSF.

    Parameters
    ----------
    weights : array, (source, gaussian, band)
        Of sum 1 over the Gaussians.
    covariances : array, (source, gaussian, 3)
        xx, xy, yy in square pixels.
    weight_slopes, covariance_slopes : arrays, (source, gaussian, band or 3, parameter), optional
        Derivatives by the parameters of each source.
    """

    weights: np.ndarray
    covariances: np.ndarray
    weight_slopes: np.ndarray | None = None
    covariance_slopes: np.ndarray | None = None

    def __getitem__(self, rows):
        return Profiles(*(None if value is None else value[rows] for value in vars(self).values()))

    @property
    def terms(self):
        """Images of a source: itself, and its derivatives by its parameters and its position."""
        return 1 if self.weight_slopes is None else 3 + self.weight_slopes.shape[-1]

    def moments(self, band):
        """Return e1, e2 (distortion) and half-light radius (pixels) of galaxies, and their derivatives.

        The ellipticity is that of the Gaussians' flux-weighted mean; the radius is the circularised one that holds half
        of the light.

        Parameters
        ----------
        band : int
            Whose light counts.

        Returns
        -------
        values : array, (source, 3)
        slopes : array, (source, 3, parameter), or None
            By the parameters of each source, where those of the profile are known.
        """
        weight = self.weights[..., band].astype(float)
        xx, xy, yy = np.moveaxis(self.covariances.astype(float), -1, 0)
        trace, variance = xx + yy, np.sqrt(np.maximum(xx * yy - xy**2, 1e-12))
        shapes = (xx - yy) / trace, 2 * xy / trace
        radius = _half_light(weight, variance)
        values = np.stack([*(np.sum(weight * shape, axis=1) for shape in shapes), radius], axis=1)
        if self.weight_slopes is None:
            return values, None
        by_weight = self.weight_slopes[:, :, band]
        by_xx, by_xy, by_yy = np.moveaxis(self.covariance_slopes, 2, 0)
        weight, xx, xy, yy, trace, variance = (part[..., None] for part in (weight, xx, xy, yy, trace, variance))
        outside = np.exp(-0.5 * radius[:, None, None] ** 2 / variance)
        by_variance = (yy * by_xx + xx * by_yy - 2 * xy * by_xy) / (2 * variance)
        # The light within the radius stays one half.
        lost = np.sum(
            outside * (by_weight + weight * by_variance * radius[:, None, None] ** 2 / 2 / variance**2), axis=1
        )
        slopes = [
            np.sum(by_weight * shapes[0][..., None] + weight * 2 * (yy * by_xx - xx * by_yy) / trace**2, axis=1),
            np.sum(
                by_weight * shapes[1][..., None] + weight * 2 * (by_xy - xy * (by_xx + by_yy) / trace) / trace, axis=1
            ),
            lost / np.sum(weight * outside * radius[:, None, None] / variance, axis=1),
        ]
        return values, np.stack(slopes, axis=1)

    def extent(self, flux):
        """Return how far from its middle each source has a surface brightness above 1, pixels (source,).

        Parameters
        ----------
        flux : array, (source, band)
            In any unit; the brightest band counts, along the longest axis.
        """
        xx, xy, yy = np.moveaxis(self.covariances.astype(float), -1, 0)
        major, minor, _ = (axis[..., None] for axis in moment_axes(xx, yy, xy))
        radius = np.arange(1, _FARTHEST + 1)
        shape = np.exp(-0.5 * (radius / major) ** 2) / (2 * np.pi * np.maximum(major * minor, 1e-6))
        light = np.einsum("sgb,sgr,sb->srb", self.weights, shape, flux).max(axis=-1)
        return (light > 1).sum(axis=-1).astype(float)

    def sampled(self, positions, shape, sigma):
        """Return galaxies at the pixels of a window, blurred by a Gaussian: never negative, whatever their size.

        Parameters
        ----------
        positions : array, (source, 2)
            x and y in pixels.
        shape : (int, int)
            Size (y, x) in pixels.
        sigma : float
            Of the Gaussian, pixels.

        Returns
        -------
        array, (source, band, y, x)
        """
        y, x = (axis.astype("float32") for axis in np.indices(shape))
        images = np.empty((len(positions), self.weights.shape[2], *shape), "float32")
        for image, weights, covariances, (x0, y0) in zip(
            images, self.weights, self.covariances, positions, strict=True
        ):
            xx, xy, yy = (covariances + sigma**2 * np.array([1, 0, 1])).T[..., None, None].astype("float32")
            area = xx * yy - xy**2
            form = yy * (x - x0) ** 2 - 2 * xy * (x - x0) * (y - y0) + xx * (y - y0) ** 2
            gaussians = np.exp(-0.5 * form / area) / (2 * np.pi * np.sqrt(area))
            np.einsum("gb,gyx->byx", weights, gaussians, out=image, casting="same_kind")
        return images


def _half_light(weight, variance):
    """Return the radius that holds half of the light of sums of Gaussians, (source, gaussian) of sum 1."""
    low, high = 0.1 * np.sqrt(variance.min(axis=1)), 2 * np.sqrt(variance.max(axis=1))
    for _ in range(40):
        middle = np.sqrt(low * high)
        inside = np.sum(weight * -np.expm1(-0.5 * middle[:, None] ** 2 / variance), axis=1)
        low, high = np.where(inside < 0.5, middle, low), np.where(inside < 0.5, high, middle)
    return np.sqrt(low * high)


class Canvas:
    """A window of pixels behind a PSF.

    Parameters
    ----------
    shape : (int, int)
        Size (y, x) in pixels.
    psf : array, (y, x, band) or None
        Of unit sum, centred on ``((y - 1) / 2, (x - 1) / 2)``.
    model_sigma : float
        Sigma in pixels of the Gaussian that takes the place of the PSF where there is none.
    pad : int
        Pixels beside the window, before light that leaves it on one side comes in again on the other.
    """

    def __init__(self, shape, psf, model_sigma, pad=16):
        self.shape = tuple(int(size) for size in shape)
        self.grid = tuple(_FAST[bisect.bisect_left(_FAST, size + pad)] for size in self.shape)
        self.ky = (2 * np.pi * np.fft.fftfreq(self.grid[0])).astype("float32")[:, None]
        self.kx = (2 * np.pi * np.fft.rfftfreq(self.grid[1])).astype("float32")[None, :]
        if psf is None:
            self.transfer = np.exp(-0.5 * model_sigma**2 * (self.kx**2 + self.ky**2)).astype("complex64")[None]
        else:
            self.transfer = self._transfer(np.moveaxis(np.asarray(psf, "float32"), -1, 0))
        self.model_sigma = model_sigma

    @functools.cached_property
    def from_model(self):
        """The transfer (band, ky, kx) from the model frame; few scenes need it."""
        return (self.transfer * model_gain(self.kx, self.ky, self.model_sigma)).astype("complex64")

    def filter(self, images, transfer, adjoint=False):
        """Return images (..., y, x) that are multiplied by a transfer (..., ky, kx) in Fourier space."""
        spectrum = scipy.fft.rfft2(np.asarray(images, "float32"), s=self.grid)
        return self._back(spectrum * (np.conj(transfer) if adjoint else transfer))

    def _transfer(self, psf):
        for axis in (1, 2):
            # What reaches further than once around the grid is cut off.
            extra = max(psf.shape[axis] - self.grid[axis - 1] + 1, 0) // 2
            psf = np.take(psf, range(extra, psf.shape[axis] - extra), axis=axis)
        return psf_transfer(psf, self.grid)

    def draw(self, profiles, positions):
        """Return sources of unit flux as observed, (source, band, y, x), at positions (source, 2), (x, y) in pixels."""
        weights = np.swapaxes(profiles.weights, 1, 2).astype("float32")
        gaussians = self._gaussians(profiles)
        planes = weights @ gaussians.reshape(*gaussians.shape[:2], gaussians.shape[2] * gaussians.shape[3])
        planes = planes.reshape(*planes.shape[:2], *gaussians.shape[2:])
        return self._back(planes * (self.transfer * self._phases(positions)))

    def terms(self, profiles, positions):
        """Yield, band by band, the images of all terms of all sources, (source, term, y, x); see `Profiles.terms`."""
        gaussians = self._gaussians(profiles)
        sources, number, rows, columns = gaussians.shape
        bands, parameters = profiles.weight_slopes.shape[2:]
        # Of exp(-k C k / 2) by C: products of the frequencies. All terms are sums of these planes.
        one = np.ones((rows, columns), "float32")
        powers = np.stack([one, one * self.kx**2, self.kx * self.ky, one * self.ky**2])
        planes = (gaussians[:, None] * powers[None, :, None]).reshape(sources, 4 * number, rows * columns)
        weights = np.moveaxis(profiles.weights, 2, 1)[..., None]
        factors = np.zeros((*weights.shape[:3], 4, 1 + parameters), "float32")
        factors[..., 0, :1] = weights
        factors[..., 0, 1:] = np.moveaxis(profiles.weight_slopes, 2, 1)
        half = np.array([-0.5, -1.0, -0.5])[:, None] * profiles.covariance_slopes
        factors[..., 1:, 1:] = weights[..., None] * half[:, None]
        factors = np.moveaxis(factors, (4, 3), (2, 3)).reshape(sources, bands * (1 + parameters), 4 * number)
        mixed = (factors @ planes).reshape(sources, bands, 1 + parameters, rows, columns)
        transfer = self.transfer * self._phases(positions)
        shifts = (-1j * self.kx).astype("complex64"), (-1j * self.ky).astype("complex64")
        for band in range(bands):
            spectra = np.empty((sources, 3 + parameters, rows, columns), "complex64")
            np.multiply(mixed[:, band], transfer[:, min(band, transfer.shape[1] - 1), None], out=spectra[:, :-2])
            for axis, shift in enumerate(shifts):
                np.multiply(spectra[:, 0], shift, out=spectra[:, 1 + parameters + axis])
            yield self._back(spectra)

    def _gaussians(self, profiles):
        """Return the transforms (source, gaussian, ky, kx), real as the Gaussians are centred."""
        xx, xy, yy = (value[..., None, None].astype("float32") for value in np.moveaxis(profiles.covariances, -1, 0))
        exponent = (-0.5 * xx) * self.kx**2 + (-0.5 * yy) * self.ky**2
        exponent += (-xy) * (self.kx * self.ky)
        return np.exp(exponent, out=exponent)

    def _phases(self, positions):
        """Return the factors that move sources to their positions, (source, 1, ky, kx)."""
        x, y = (np.asarray(positions, "float32")[:, axis, None, None] for axis in (0, 1))
        return (np.exp(-1j * self.ky * y) * np.exp(-1j * self.kx * x)).astype("complex64")[:, None]

    def _back(self, spectra):
        """Return images (..., y, x) of half spectra (..., ky, kx)."""
        rows = scipy.fft.ifft(spectra, axis=-2, overwrite_x=True)[..., : self.shape[0], :]
        # Few pixels and frequencies: a product of matrices is quicker than another transform.
        return np.ascontiguousarray(rows).view("float32") @ _inverse(self.shape[1], self.grid[1])


@functools.lru_cache(maxsize=64)
def _inverse(size, grid):
    """Return the matrix (2 * kx, x) from the half spectrum of a line, real and imaginary parts in turns, to pixels."""
    frequency = np.arange(grid // 2 + 1)
    phase = 2 * np.pi / grid * np.outer(frequency, np.arange(size))
    # Every frequency but 0 stands for its mirror image too.
    weight = np.where(frequency == 0, 1, 2)[:, None] / grid
    return np.stack([weight * np.cos(phase), -weight * np.sin(phase)], axis=1).reshape(-1, size).astype("float32")


class Patch:
    """The part of a scene that is fitted: its pixels, whitened, behind a `Canvas`.

    Parameters
    ----------
    image, variance : array, (y, x, band)
        Any unit, and its square; infinite variance where a band is absent.
    mask : bool array, same shape, or None
        True = bad.
    psf, model_sigma, pad
        As `Canvas`.
    model_variance : array, (y, x, band), optional
        By which profiles may be wrong in a pixel beside its noise, as for bright stars: it makes `products` less sure.
    pixel_variance : array, (y, x, band), optional
        How far noise scatters in a pixel where that is less than `variance`, as in resampled images, whose pixels say
        the same in part; `variance` by default. Residuals are compared with it.
    """

    def __init__(self, image, variance, mask, psf, model_sigma, pad=16, model_variance=None, pixel_variance=None):
        good = np.isfinite(variance) & (variance > 0) & np.isfinite(image)
        if mask is not None:
            good &= ~mask.astype(bool)
        self.canvas = Canvas(image.shape[:2], psf, model_sigma, pad)
        self.variance = np.moveaxis(np.where(good, variance, np.inf), -1, 0)
        scatter = variance if pixel_variance is None else pixel_variance
        self.pixel_variance = np.moveaxis(np.where(good, scatter, np.inf), -1, 0)
        self.image = np.moveaxis(np.where(good, image, 0), -1, 0)
        doubted = 0 if model_variance is None else np.moveaxis(model_variance, -1, 0)
        self.root = (1 / np.sqrt(self.variance + doubted)).astype("float32")
        self.data = (self.image * self.root).reshape(len(self.image), -1)

    def products(self, profiles, positions):
        """Return the normal matrix (band, n, n), right side (band, n) and power (band,), n = source * term."""
        if profiles.weight_slopes is None:
            drawn = np.moveaxis(self.canvas.draw(profiles, positions), 1, 0)[:, :, None]
        else:
            drawn = self.canvas.terms(profiles, positions)
        normal, right = [], []
        for images, root, data in zip(drawn, self.root, self.data, strict=True):
            seen = (images * root).reshape(-1, data.size)
            normal.append(seen @ seen.T)
            right.append(seen @ data)
        return np.array(normal, float), np.array(right, float), np.sum(self.data.astype(float) ** 2, axis=1)
