"""What discs have beside their smooth profile: spiral arms, bars, rings, lopsidedness.

A pattern is a surface brightness over the face-on disc in units of its scale length. It is drawn once on a grid, and
GalSim inclines, turns and convolves it as any profile, so that it is right at every pixel scale. Patterns have no
negative light: their flux is taken from the smooth disc's.
"""

from __future__ import annotations

import dataclasses
import functools

import galsim
import numpy as np

from galzoo.simulate.psf import GSPARAMS

REACH = 5.0
"""Patterns end here, in scale lengths of the disc."""

_CELLS = 100
"""Cells on a side of the face-on grid, a tenth of a scale length each."""


@dataclasses.dataclass(frozen=True)
class Arms:
    """Logarithmic spiral arms (Binney & Tremaine 2008, section 6.1.3) with a texture of feathers.

    Parameters
    ----------
    number : int
        How many arms.
    pitch : float
        Angle between arm and circle, radians; its sign is the sense of winding.
    sharpness : float
        Concentration of the arms' von Mises profile across the phase; 1 is wide, 8 is narrow.
    inner : float
        Where the arms begin, scale lengths.
    length : float
        Scale length of the arms' light, in that of the disc; above 1, as arms stand out more on the outside.
    phase : float
        Azimuth of the first arm at `inner`, radians.
    uneven : float
        How much brighter the arms on one side are, 0 to 1.
    texture : tuple of (int, float, float)
        Feathers: number around the disc, phase (radians) and strength of each.
    """

    number: int
    pitch: float
    sharpness: float
    inner: float
    length: float
    phase: float
    uneven: float = 0.0
    texture: tuple = ()

    def brightness(self, x, y):
        """Return the surface brightness at `x`, `y` (scale lengths), in arbitrary units."""
        radius, azimuth = np.hypot(x, y), np.arctan2(y, x)
        winding = np.log(np.maximum(radius, 0.2) / self.inner) / np.tan(self.pitch)
        ridge = np.exp(self.sharpness * (np.cos(self.number * (azimuth - self.phase - winding)) - 1))
        feathers = sum(
            strength * np.cos(around * (azimuth - 1.5 * winding) + phase) for around, phase, strength in self.texture
        )
        begin = 1 - np.exp(-((radius / self.inner) ** 4))
        end = np.clip((REACH - radius) / 1.0, 0, 1)
        side = 1 + self.uneven * np.cos(azimuth - self.phase)
        return np.exp(-radius / self.length) * begin * end * side * ridge * np.exp(feathers)


@dataclasses.dataclass(frozen=True)
class Bar:
    """A Ferrers bar, (1 - (x/a)^2 - (y/b)^2)^2 (Binney & Tremaine 2008, equation 2.138), seen face-on.

    Parameters
    ----------
    length : float
        Semi-major axis, scale lengths.
    axis_ratio : float
        Minor to major axis.
    phase : float
        Azimuth of the major axis, radians.
    """

    length: float
    axis_ratio: float
    phase: float

    def brightness(self, x, y):
        """Return the surface brightness at `x`, `y` (scale lengths), in arbitrary units."""
        along = x * np.cos(self.phase) + y * np.sin(self.phase)
        across = y * np.cos(self.phase) - x * np.sin(self.phase)
        return np.maximum(1 - (along / self.length) ** 2 - (across / self.length / self.axis_ratio) ** 2, 0) ** 2


@dataclasses.dataclass(frozen=True)
class Ring:
    """A ring of Gaussian profile.

    Parameters
    ----------
    radius, width : float
        Radius and sigma, scale lengths.
    """

    radius: float
    width: float

    def brightness(self, x, y):
        """Return the surface brightness at `x`, `y` (scale lengths), in arbitrary units."""
        return np.exp(-0.5 * ((np.hypot(x, y) - self.radius) / self.width) ** 2)


@dataclasses.dataclass(frozen=True)
class Lopsided:
    """An exponential disc with its light on one side, strongest outside (Rix & Zaritsky 1995).

    Parameters
    ----------
    phase : float
        Azimuth of the brighter side, radians.
    """

    phase: float

    def brightness(self, x, y):
        """Return the surface brightness at `x`, `y` (scale lengths), in arbitrary units."""
        radius = np.hypot(x, y)
        end = np.clip((REACH - radius) / 1.0, 0, 1)
        return radius * np.exp(-radius) * (1 + np.cos(np.arctan2(y, x) - self.phase)) * end


@functools.lru_cache(maxsize=16)
def profile(pattern):
    """Return a pattern as a GalSim profile of unit flux, face-on, in units of the disc's scale length."""
    cell = 2 * REACH / _CELLS
    place = (np.arange(_CELLS) - (_CELLS - 1) / 2) * cell
    brightness = pattern.brightness(place[None, :], place[:, None])
    image = galsim.ImageD(brightness, scale=cell)
    return galsim.InterpolatedImage(image, flux=1, x_interpolant="cubic", gsparams=GSPARAMS)


@dataclasses.dataclass(frozen=True)
class StructureModel:
    """How often discs have arms, bars, rings and lopsidedness, and how strong these are.

    The frequencies are of bright nearby galaxies. The strength was chosen by the asymmetry, smoothness, Gini
    coefficient and M20 of real galaxies in HST images (`scripts/fit_structure.py`); the 17 galaxies at hand tell
    structure from none, but not one strength from the next.

    Parameters
    ----------
    arms, bar, ring, lopsided : float
        Share of the structured discs that have each (bars: Masters et al. 2011; lopsidedness: Zaritsky & Rix 1997).
    strength : float
        Median share of the disc's light in arms; its logarithm has a scatter of `scatter`.
    scatter : float
        See `strength`.
    """

    arms: float = 0.8
    bar: float = 0.3
    ring: float = 0.12
    lopsided: float = 0.5
    strength: float = 0.5
    scatter: float = 0.5

    def draw(self, rng):
        """Return what one disc has: pairs of a pattern and its share of the disc's light, which sum below 0.8."""
        found = []
        phase, sense = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
        barred, length = rng.random() < self.bar, rng.uniform(0.5, 1.3)
        if barred:
            found.append((Bar(length, rng.uniform(0.2, 0.45), phase), self._share(rng, 0.5)))
        if rng.random() < self.arms:
            arms = Arms(
                number=int(rng.choice([1, 2, 3, 4], p=[0.05, 0.6, 0.2, 0.15])),
                pitch=sense * np.radians(rng.uniform(9, 32)),
                sharpness=rng.uniform(1.0, 6.0),
                # Arms of barred galaxies begin at the ends of the bar.
                inner=length if barred else rng.uniform(0.2, 0.7),
                length=rng.uniform(0.9, 1.5),
                phase=phase,
                uneven=rng.uniform(0, 0.6),
                texture=tuple(
                    (int(rng.integers(4, 14)), rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)) for _ in range(6)
                ),
            )
            found.append((arms, self._share(rng, 1.0)))
        if rng.random() < self.ring:
            found.append((Ring(rng.uniform(0.8, 2.5), rng.uniform(0.1, 0.3)), self._share(rng, 0.4)))
        if rng.random() < self.lopsided:
            found.append((Lopsided(rng.uniform(0, 2 * np.pi)), self._share(rng, 0.6)))
        total = sum(share for _, share in found)
        return [(pattern, share * min(1, 0.8 / total)) for pattern, share in found]

    def _share(self, rng, factor):
        return min(0.7, factor * self.strength * np.exp(self.scatter * rng.standard_normal()))
