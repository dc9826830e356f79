"""Stars for scenes: points with the colours of black bodies."""

from __future__ import annotations

import numpy as np

from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.simulate.galaxies import Component, Galaxy

_TEMPERATURES = 3000.0, 8000.0
"""K. Black bodies between these have g - r from 1.6 to 0.1, about the range of the stellar locus. A choice of ours."""

_SLOPE = 0.1
"""Slope of log10 counts per magnitude: at high galactic latitude they rise slowly. A choice of ours."""

_PLANCK = 1.438776877e7
"""Second radiation constant h c / k, nm K (CODATA 2018)."""


class StarSampler:
    """Draw stars.

    Parameters
    ----------
    wavelengths : array, (band,)
        Effective wavelengths of the bands, nm.
    reference : int
        Which band the magnitude range refers to.
    magnitude_range : (float, float)
        Brightest and faintest AB magnitude in the reference band.
    """

    def __init__(self, wavelengths, reference, magnitude_range):
        self._wavelengths = np.asarray(wavelengths, dtype=float)
        self._reference = reference
        self._range = magnitude_range

    def draw(self, rng):
        """Return a star as a `Galaxy` of kind "star", with no size and an empty id."""
        low, high = (10 ** (_SLOPE * magnitude) for magnitude in self._range)
        magnitude = np.log10(rng.uniform(low, high)) / _SLOPE
        temperature = np.exp(rng.uniform(*np.log(_TEMPERATURES)))
        shape = planck(self._wavelengths, temperature)
        flux = magnitude_to_njy(magnitude) * shape / shape[self._reference]
        return Galaxy(
            id="",
            kind="star",
            components=(Component("star", flux, 0.0, 1.0),),
            angle=0.0,
            half_light_radius=0.0,
            bulge_fraction=np.nan,
            ellipticity=(0.0, 0.0),
            redshift=0.0,
        )


def planck(wavelengths, temperature):
    """Return the flux per frequency of a black body at `wavelengths` (nm), any unit; `temperature` is in K."""
    return wavelengths**-3.0 / np.expm1(_PLANCK / (wavelengths * temperature))
