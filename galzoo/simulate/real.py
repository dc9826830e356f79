"""Real galaxies: images from space (COSMOS and alike), deconvolved and seen by another telescope."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import galsim
import numpy as np
from astropy.table import Table
from scipy import ndimage

from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.errors import InputError
from galzoo.files import expanded
from galzoo.simulate.galaxies import Component, Galaxy
from galzoo.simulate.psf import GSPARAMS

_DAMPING = 0.1
"""The deconvolution is damped where the transform of the parent's PSF falls below this, or noise would be blown up."""

_SMOOTHING = 3.0
"""Sigma, pixels, of the smoothing that finds the outline of a galaxy in its parent image."""

_BAND_WAVELENGTH = 807.0
"""Effective wavelength of ACS F814W, nm (surveycodex): the band of the COSMOS catalogues."""


class RealGalaxies:
    """The galaxies of a catalogue that `galsim.RealGalaxyCatalog` reads.

    Images carry the noise of their parent survey, which stays in what is drawn from them: only galaxies far above
    it are of use, hence the magnitude limit.

    Parameters
    ----------
    path : str or Path
        The catalogue; images and PSFs lie beside it.
    largest_radius : float
        Galaxies with a half-light radius above this (arcsec) are left out.
    magnitude_limit : float
        Galaxies fainter than this in the catalogue's band (column ``MAG``) are left out.

    Raises
    ------
    InputError
        If the file is missing or no galaxy is left.
    """

    def __init__(self, path, largest_radius, magnitude_limit=25.0):
        path = Path(expanded(path))
        if not path.is_file():
            raise InputError(f"{path}: no such catalogue; give one that galsim.RealGalaxyCatalog reads")
        self._catalogue = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
        self._magnitudes = np.asarray(Table.read(path)["MAG"], dtype=float)
        bright = np.flatnonzero(self._magnitudes <= magnitude_limit)
        self._shapes = {index: self._measure(index) for index in bright}
        self._rows = [index for index in bright if self._shapes[index][0] <= largest_radius]
        if not self._rows:
            raise InputError(
                f"{path}: none of {len(self._magnitudes)} galaxies is brighter than {magnitude_limit} and fits the "
                f"stamp; raise real_magnitude_limit or stamp_size"
            )

    def __len__(self):
        return len(self._rows)

    @property
    def ids(self):
        """Names of the galaxies, as `draw` gives them."""
        return np.array([f"real-{self._catalogue.ident[index]}" for index in self._rows])

    def select(self, chosen):
        """Return the galaxies where `chosen` (bool array, in the order of `ids`) is true."""
        result = copy.copy(self)
        result._rows = [index for index, keep in zip(self._rows, chosen, strict=True) if keep]
        return result

    def draw(self, rng, sampler):
        """Return a `Galaxy`: one of the images, turned at random, with the colours of a random one of the population.

        Parameters
        ----------
        rng : numpy.random.Generator
            Random numbers.
        sampler : GalaxySampler
            Whose bands and colours to use.
        """
        index = int(self._rows[rng.integers(len(self._rows))])
        colours, redshift = sampler.colours(rng, _BAND_WAVELENGTH)
        angle = rng.uniform(0, 2 * np.pi)
        radius, e1, e2 = self._shapes[index]
        turn = (e1 + 1j * e2) * np.exp(2j * angle)
        flux = magnitude_to_njy(self._magnitudes[index] + colours)
        return Galaxy(
            id=f"real-{self._catalogue.ident[index]}",
            kind="real",
            components=(Component("real", flux, radius, 1.0, index=index),),
            angle=angle,
            half_light_radius=radius,
            bulge_fraction=np.nan,
            ellipticity=(float(turn.real), float(turn.imag)),
            redshift=redshift,
        )

    def transform(self, index, angle, grid):
        """Return the unit-flux transform of galaxy `index`, deconvolved, turned by `angle` (radians)."""
        image, psf = self._profiles(index)
        seen = grid.transform(image.rotate(angle * galsim.radians))
        blur = grid.transform(psf.rotate(angle * galsim.radians))
        return seen * np.conj(blur) / (np.abs(blur) ** 2 + _DAMPING**2) * np.float32(1 + _DAMPING**2)

    @functools.lru_cache(maxsize=64)  # noqa: B019 - one catalogue lives as long as its process
    def _profiles(self, index):
        image = self._catalogue.getGalImage(int(index)).copy()
        image.array[...] *= _outline(image.array, self._catalogue.variance[index])
        profile = galsim.InterpolatedImage(image, flux=1, gsparams=GSPARAMS)
        return profile, self._catalogue.getPSF(int(index), gsparams=GSPARAMS).withFlux(1)

    def _measure(self, index):
        """Return the half-light radius (arcsec, PSF subtracted in quadrature) and the distortion, PSF-corrected."""
        image, psf = self._profiles(index)
        scale = self._catalogue.getGalImage(int(index)).scale
        sampled = psf.drawImage(nx=41, ny=41, scale=scale, method="no_pixel")
        radius = np.sqrt(max(image.calculateHLR() ** 2 - psf.calculateHLR() ** 2, (0.3 * scale) ** 2))
        galaxy = self._catalogue.getGalImage(int(index))
        shape = galsim.hsm.EstimateShear(galaxy, sampled, strict=False)
        if shape.error_message or np.hypot(shape.corrected_e1, shape.corrected_e2) >= 1:
            return radius, np.nan, np.nan
        return radius, shape.corrected_e1, shape.corrected_e2


def _outline(image, variance):
    """Return weights, 1 on the galaxy and falling smoothly to 0 around it, so that noise ends where the galaxy does."""
    smoothed = ndimage.gaussian_filter(image, _SMOOTHING)
    # White noise smoothed by a Gaussian of sigma s keeps 1 / (2 sqrt(pi) s) of its own; drizzled noise twice that.
    noise = 2 * np.sqrt(variance / (4 * np.pi)) / _SMOOTHING
    labels, _ = ndimage.label(smoothed > 2 * noise)
    core = labels == labels[np.unravel_index(np.argmax(smoothed), smoothed.shape)]
    return np.clip(ndimage.gaussian_filter(ndimage.binary_dilation(core, iterations=6).astype(float), _SMOOTHING), 0, 1)
