"""PSFs that differ from stamp to stamp.

Ground: seeing (Kolmogorov or Moffat) with scatter in width and a small anisotropy. Space: an Airy pattern with jitter,
or an image of the PSF, slightly stretched, sheared, turned and blurred at random. GalSim draws each kind once, well
oversampled; the PSF of a stamp is that image under a linear map, convolved with the pixel.
"""

from __future__ import annotations

import dataclasses
import functools

import galsim
import numpy as np
from astropy import units as u
from scipy import fft, ndimage
from scipy.optimize import brentq

from galzoo.errors import InputError

GSPARAMS = galsim.GSParams(
    maximum_fft_size=16384, folding_threshold=5e-3, maxk_threshold=1e-3, kvalue_accuracy=1e-4, xvalue_accuracy=1e-4
)
"""Accuracy of all profiles: fluxes are kept to better than 1e-3, which is below the noise of every stamp."""

_SEEING_SCATTER = 0.08
"""Scatter of ln FWHM between stamps, common to the bands, and half of it in each band. A choice of ours: seeing
scatters more from exposure to exposure, but a coadd averages over many."""

_ANISOTROPY = 0.015
"""Scatter of each component of the shear of a ground PSF, so that ellipticities are about 0.02 to 0.05, as is usual for
coadds; a third of it differs between bands."""

_MOFFAT_BETAS = (2.5, 3.0, 3.5, 4.765)
"""Moffat indices, from the wings of real seeing (2.5) to those of pure turbulence (4.765; Trujillo et al. 2001)."""

_SPACE_SCATTER = 0.02, 0.01, 0.3
"""Space: scatter of the stretch, of each component of the shear, and the largest blur (sigma, pixels). Choices of ours:
focus, dither and drizzling change the PSF of HST mosaics by a few per cent."""

_SAMPLES_PER_FWHM = 12
_FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))


@dataclasses.dataclass(frozen=True)
class SampledPSF:
    """A PSF as an oversampled image under a linear map, and blurs.

    Parameters
    ----------
    spline : array, (y, x)
        Cubic B-spline coefficients of the image, centred on its middle pixel.
    step : float
        Arcsec per pixel of `spline`.
    matrix : array, (2, 2)
        Linear map of the sky that is applied to the image: a point r (x, y) moves to ``matrix @ r``.
    sigma : float
        Round Gaussian blur, arcsec.
    pixel : float
        Side of the square pixel to convolve with, arcsec; 0 where the image has the pixel response in it.
    """

    spline: np.ndarray
    step: float
    matrix: np.ndarray
    sigma: float = 0.0
    pixel: float = 0.0

    def image(self, size, step):
        """Return the PSF on `size` (odd) samples of `step` arcsec, centred, sum 1."""
        # The margin keeps the edge of the sampled square away from the result when it is blurred.
        margin = int(np.ceil((self.pixel + 4 * self.sigma) / step)) + 1
        half = size // 2 + margin
        axis = np.arange(-half, half + 1) * step
        inverse = np.linalg.inv(self.matrix) / self.step
        middle = len(self.spline) // 2
        x = middle + inverse[0, 0] * axis[None, :] + inverse[0, 1] * axis[:, None]
        y = middle + inverse[1, 0] * axis[None, :] + inverse[1, 1] * axis[:, None]
        image = ndimage.map_coordinates(self.spline, [y, x], order=3, prefilter=False, mode="grid-constant")
        n = fft.next_fast_len(2 * half + 1, real=True)
        kx, ky = fft.rfftfreq(n, step), fft.fftfreq(n, step)
        blur = [np.exp(-2 * (np.pi * self.sigma * k) ** 2) * np.sinc(self.pixel * k) for k in (ky, kx)]
        image = fft.irfft2(fft.rfft2(image, s=(n, n)) * blur[0][:, None] * blur[1], s=(n, n))
        image = image[margin : margin + size, margin : margin + size]
        return image / image.sum()


@dataclasses.dataclass(frozen=True)
class PSFModel:
    """The PSFs of a survey's bands.

    Parameters
    ----------
    survey : Survey
        Pixel scale, telescope and bands.
    bands : tuple of str
        Which bands.
    paths : dict of str to str
        FITS images of the PSF, pixel response included, for any of the bands; the others are analytic.
    scale : float, optional
        Pixel scale of those images, arcsec; from the header (``PIXSCL`` or the WCS) by default.
    """

    survey: object
    bands: tuple
    paths: dict = dataclasses.field(default_factory=dict)
    scale: float | None = None

    def draw(self, rng):
        """Return a list with the `SampledPSF` of each band of one stamp."""
        width = np.exp(_SEEING_SCATTER * rng.normal())
        shear = rng.normal(scale=_ANISOTROPY, size=2)
        kind = int(rng.integers(len(_MOFFAT_BETAS) + 1))
        psfs = []
        for name in self.bands:
            band = self.survey.band(name)
            if name in self.paths:
                psfs.append(self._disturbed(_image_base(str(self.paths[name]), self.scale), rng))
            elif self.survey.in_space:
                psfs.append(self._disturbed(self._airy(band), rng))
            else:
                fwhm = width * np.exp(0.5 * _SEEING_SCATTER * rng.normal()) * band.psf_fwhm.to_value(u.arcsec)
                psfs.append(self._seeing(kind, fwhm, shear + rng.normal(scale=_ANISOTROPY / 3, size=2)))
        return psfs

    def _seeing(self, kind, fwhm, shear):
        # The nominal width has the pixel response in it, the profile before the pixel has not.
        fwhm = np.sqrt(fwhm**2 - (_FWHM_PER_SIGMA * self._scale) ** 2 / 12)
        return SampledPSF(_seeing_base(kind), fwhm / _SAMPLES_PER_FWHM, _shear(shear), pixel=self._scale)

    def _airy(self, band):
        return _airy_base(
            band.effective_wavelength.to_value(u.nm),
            self.survey.mirror_diameter.to_value(u.m),
            float(np.sqrt(self.survey.obscuration)),
            band.psf_fwhm.to_value(u.arcsec),
            self._scale,
        )

    def _disturbed(self, base, rng):
        spline, step = base
        stretch, shear, blur = _SPACE_SCATTER
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = (1 + stretch * rng.normal()) * _shear(rng.normal(scale=shear, size=2)) @ turn
        return SampledPSF(spline, step, matrix, sigma=rng.uniform(0, blur) * self._scale)

    @property
    def _scale(self):
        return self.survey.pixel_scale.to_value(u.arcsec)


class Nominal:
    """Stands for a random generator whose every draw leaves the PSF as the survey's numbers have it."""

    def normal(self, scale=1.0, size=None):
        return 0.0 if size is None else np.zeros(size)

    def uniform(self, low, high):
        return 0.0

    def integers(self, high):
        return high // 2


def _shear(values):
    """Return the area-preserving matrix of a reduced shear."""
    g1, g2 = np.clip(values, -0.5, 0.5)
    return np.array([[1 + g1, g2], [g2, 1 - g1]]) / np.sqrt(1 - g1**2 - g2**2)


def _spline(profile, step, size):
    image = profile.drawImage(nx=size, ny=size, scale=step, method="no_pixel", dtype=float).array
    return ndimage.spline_filter(image, order=3, mode="grid-constant")


@functools.cache
def _seeing_base(kind):
    """Return the spline of a profile whose FWHM is `_SAMPLES_PER_FWHM`, out to 10 FWHM."""
    if kind == len(_MOFFAT_BETAS):
        profile = galsim.Kolmogorov(fwhm=_SAMPLES_PER_FWHM)
    else:
        profile = galsim.Moffat(beta=_MOFFAT_BETAS[kind], fwhm=_SAMPLES_PER_FWHM)
    return _spline(profile, 1.0, 20 * _SAMPLES_PER_FWHM + 1)


@functools.lru_cache(maxsize=64)
def _airy_base(wavelength, diameter, obscuration, fwhm, scale):
    """Return spline and step of diffraction, pixel and as much jitter as gives `fwhm` (none if it is wider already)."""
    airy = galsim.Airy(lam=wavelength, diam=diameter, obscuration=obscuration, gsparams=GSPARAMS)
    pixel = galsim.Pixel(scale, gsparams=GSPARAMS)

    def with_jitter(sigma):
        return galsim.Convolve(airy, pixel, galsim.Gaussian(sigma=sigma, gsparams=GSPARAMS), gsparams=GSPARAMS)

    def excess(sigma):
        return with_jitter(sigma).calculateFWHM() - fwhm

    least = 0.05 * scale
    jitter = least if excess(least) >= 0 else brentq(excess, least, fwhm, xtol=0.005 * scale)
    step = min(fwhm, scale) / 4
    return _spline(with_jitter(jitter), step, 2 * int(32 * scale / step) + 1), step


@functools.lru_cache(maxsize=32)
def _image_base(path, scale):
    """Return spline and step of a PSF image, moved so that its centre is on the middle pixel."""
    data, scale = _read_image(path, scale)
    image = galsim.ImageD(data)
    peak = np.unravel_index(np.argmax(data), data.shape)
    guess = galsim.PositionD(peak[1] + 1.0, peak[0] + 1.0)
    moments = galsim.hsm.FindAdaptiveMom(image, guess_centroid=guess, strict=False)
    if moments.error_message:
        raise InputError(f"{path}: PSF too narrow for its pixels to find its centre; give an image with finer pixels")
    offset = image.true_center - moments.moments_centroid
    profile = galsim.InterpolatedImage(image, scale=scale, flux=1, x_interpolant="lanczos7")
    oversampling = 4
    size = oversampling * (max(data.shape) // 2 * 2) + 1
    step = scale / oversampling
    return _spline(profile.shift(offset.x * scale, offset.y * scale), step, size), step


def _read_image(path, scale):
    from galzoo.data.fits_keywords import pixel_scale
    from galzoo.data.planes import open_planes
    from galzoo.data.psf import check_background

    planes = open_planes(path, kind="psf")
    header, shape = planes[0].header, planes[0].shape
    data = np.array(planes[0].read(0, shape[0], 0, shape[1]), dtype=float)
    planes[0].close()
    if len(planes) > 1:
        raise InputError(f"{path}: a cube of {len(planes)}; the PSF must be one image")
    if data.ndim != 2 or not np.all(np.isfinite(data)) or not data.sum() > 0:
        raise InputError(f"{path}: the PSF must be one image of finite values with a positive sum")
    if scale is None:
        scale = pixel_scale(header, str(path))
    if not scale:
        raise InputError(f"{path}: the header has no pixel scale; give psf_pixel_scale in arcsec")
    check_background(data, str(path))
    return data, float(scale)
