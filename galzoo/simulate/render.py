"""Draw galaxies and PSFs on stamps in Fourier space.

Every component of a galaxy is transformed once, on a grid twice as fine as the pixels and at least twice as wide as the
stamp; images of all bands and the model frame are then products with the transforms of PSFs. GalSim evaluates the
profiles; the products and inverse transforms are NumPy's, which is what makes many bands cheap.
"""

from __future__ import annotations

import functools

import galsim
import numpy as np
from scipy import fft

from galzoo.simulate import structure
from galzoo.simulate.galaxies import DISC_B
from galzoo.simulate.psf import GSPARAMS

_OVERSAMPLING = 2
"""How much finer than the pixels: the transform of the narrowest model frame (0.7 pixels) ends there at 1e-4."""

TRUNCATION = 8
"""De Vaucouleurs profiles end at 8 half-light radii, as in SDSS (Strauss et al. 2002, section 4.4.5.1)."""

_KNOT_SIZE = 0.05
"""Sigma of a knot in half-light radii of its disc, about 100 pc in a disc of 2 kpc; a choice of ours."""


class StampGrid:
    """Fourier grids of a stamp.

    Parameters
    ----------
    size : int
        Pixels on a side.
    scale : float
        Arcsec per pixel.
    psf_size : int
        Pixels on a side of a PSF image, odd.
    """

    def __init__(self, size, scale, psf_size):
        self.size, self.scale, self.psf_size = size, scale, psf_size
        # Twice the stamp keeps profiles that end within 1.5 stamps of the centre from coming back on the other side.
        self.coarse = 2 * fft.next_fast_len(max(size, (size + psf_size + 1) // 2))
        self.fine = self.coarse * _OVERSAMPLING
        step = scale / _OVERSAMPLING
        self._dk = 2 * np.pi / (self.fine * step)
        self.kx = (2 * np.pi * fft.rfftfreq(self.fine, step)).astype(np.float32)
        self.ky = (2 * np.pi * fft.fftfreq(self.fine, step)).astype(np.float32)

    def transform(self, profile):
        """Return the transform of a GalSim profile at the origin, shape (fine, fine // 2 + 1), complex64."""
        half = self.fine // 2
        image = galsim.ImageCF(galsim.BoundsI(0, half, -half, half - 1), scale=self._dk)
        profile.drawKImage(image=image, recenter=False)
        return fft.ifftshift(image.array, axes=0)

    def gaussian(self, sigma):
        """Return the transform of a round Gaussian of `sigma` arcsec."""
        return np.exp(-0.5 * sigma**2 * self.ky**2)[:, None] * np.exp(-0.5 * sigma**2 * self.kx**2)

    def points(self, x, y, weight):
        """Return the transform of points at `x`, `y` (arcsec) with `weight`."""
        column = np.exp(-1j * np.outer(self.ky, y)).astype(np.complex64) * weight.astype(np.float32)
        return column @ np.exp(-1j * np.outer(x, self.kx)).astype(np.complex64)

    def shift(self, x, y):
        """Return the two factors that move a profile from the origin to pixel (`x`, `y`) of the stamp."""
        row = np.exp(-1j * self.kx * x * self.scale).astype(np.complex64)
        column = np.exp(-1j * self.ky * y * self.scale).astype(np.complex64)
        return column[:, None], row[None, :]

    def sample(self, transform):
        """Return the stamp of a fine transform: surface brightness at the pixel centres times the pixel's area."""
        n = self.coarse
        # Samples at the pixels alone are the inverse transform of all aliases added up: rows n apart, and the columns
        # of negative frequency, which are the conjugates of their opposites.
        rows = transform[:n] + transform[n:]
        opposite = np.conj(np.roll(rows[::-1, ::-1], 1, axis=0))
        aliased = rows[:, : n // 2 + 1] + opposite[:, : n // 2 + 1]
        return fft.irfft2(aliased, s=(n, n))[: self.size, : self.size]

    def sample_psf(self, psf):
        """Return a PSF's image, (psf_size, psf_size), unit sum, and the transform that belongs to it.

        The transform is that of the PSF cut to its image, so that stamp and PSF are consistent to the last digits.
        Its grid is the pixels' where the PSF has no power beyond their Nyquist frequency, else the fine one.
        """
        fine = psf.image(_OVERSAMPLING * (self.psf_size - 1) + 1, self.scale / _OVERSAMPLING)
        image = fine[::_OVERSAMPLING, ::_OVERSAMPLING]
        image = image / image.sum()
        coarse = self._transform_of(image, self.coarse)
        nyquist = max(np.abs(coarse[self.coarse // 2]).max(), np.abs(coarse[:, self.coarse // 2]).max())
        if nyquist < 2e-3:
            return image, coarse
        return image, self._transform_of(fine, self.fine)

    def observe(self, transform, psf):
        """Return the stamp of `transform` (fine) seen through the PSF transform of `sample_psf`."""
        if psf.shape[0] == self.fine:
            return self.sample(transform * psf)
        half = self.coarse // 2
        low = np.concatenate([transform[:half, : half + 1], transform[-half:, : half + 1]])
        return fft.irfft2(low * psf, s=(self.coarse, self.coarse))[: self.size, : self.size]

    def _transform_of(self, image, size):
        padded = np.zeros((size, size), dtype=np.float32)
        n = image.shape[0]
        padded[:n, :n] = image
        return fft.rfft2(np.roll(padded, (-(n // 2), -(n // 2)), axis=(0, 1)))


def component_transform(component, angle, grid, real=None):
    """Return the unit-flux transform of a galaxy's component about the origin.

    Parameters
    ----------
    component : Component
        What to draw.
    angle : float
        Position angle of the major axis, radians from +x.
    grid : StampGrid
        Where.
    real : RealGalaxies, optional
        For components of kind "real".
    """
    if component.kind == "star":
        return np.ones((grid.fine, grid.fine // 2 + 1), np.complex64)
    if component.kind == "real":
        return real.transform(component.index, angle, grid)
    if component.kind == "knots":
        length = component.half_light_radius / DISC_B
        # A projected disc of the same area: stretched along the major axis, squeezed across it.
        along = component.points[:, 0] * length / np.sqrt(component.axis_ratio)
        across = component.points[:, 1] * length * np.sqrt(component.axis_ratio)
        x, y = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
        return grid.points(x, y, component.points[:, 2]) * grid.gaussian(_KNOT_SIZE * component.half_light_radius)
    shear = galsim.Shear(q=float(component.axis_ratio), beta=angle * galsim.radians)
    radius = float(component.half_light_radius)
    if component.kind == "pattern":
        # The pattern's azimuths count from the major axis.
        face_on = structure.profile(component.pattern).rotate(angle * galsim.radians)
        return grid.transform(face_on.dilate(radius / DISC_B).shear(shear))
    return grid.transform(_profile(component.kind).dilate(radius).shear(shear))


@functools.cache
def _profile(kind):
    if kind == "bulge":
        return galsim.Sersic(n=4, half_light_radius=1, trunc=TRUNCATION, gsparams=GSPARAMS)
    return galsim.Exponential(half_light_radius=1, gsparams=GSPARAMS)
