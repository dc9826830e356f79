"""Galaxies to draw: a population with joint magnitudes, sizes, bulge fractions, shapes and colours.

A galaxy is an exponential disc, a de Vaucouleurs bulge and, in part of the discs, knots of star formation and, on
request, arms, bars, rings and lopsidedness (`galzoo.simulate.structure`); each has its own spectrum, so that the
galaxy's colour changes from centre to edge. The population is a table: the rows of a CatSim
catalogue, or a table of the same columns drawn from a Gaussian mixture fitted to it (`galzoo.simulate.mixture`), which
needs no file.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy.special import gammainc

from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.errors import InputError
from galzoo.files import expanded
from galzoo.simulate.structure import REACH, Arms, Bar, StructureModel

WAVELENGTHS = np.array([368.1, 486.4, 625.0, 756.5, 870.2, 972.2])
"""Effective wavelengths of LSST ugrizy, nm (surveycodex): where the population's magnitudes are."""

_REFERENCE_WAVELENGTH = 500.0
"""CatSim normalises the spectra of bulge and disc at 500 nm (LSST CatSim `fluxnorm`)."""

_BULGE_COLOUR = 0.3, 0.15
"""Bulges are redder than their discs by this much in g - i (mean, scatter; mag). A choice of ours: component colours
differ by a few tenths, and by less in red or faint galaxies (Kennedy et al. 2016, arXiv:1605.04720)."""

_KNOT_COLOUR = -0.3
"""Knots are bluer than the smooth disc by this much in g - i (mag). A choice of ours."""

_ARM_COLOUR = -0.2, 0.1
"""Arms and rings are bluer than the smooth disc by this much in g - i (mean, scatter; mag). A choice of ours; bars are
redder by as much as bulges."""

BULGE_B = 7.66924944
"""b_n of the Sersic profile for n = 4 (Ciotti & Bertin 1999)."""

DISC_B = 1.67834699
"""Half-light radius of an exponential disc in scale lengths."""


@dataclasses.dataclass(frozen=True)
class Component:
    """A part of a galaxy with one spectrum.

    Parameters
    ----------
    kind : {"bulge", "disc", "knots", "pattern", "real", "star"}
        Which profile.
    flux : array, (band,)
        Total flux, nJy.
    half_light_radius : float
        Circularised, arcsec; for knots and patterns that of the disc they lie in.
    axis_ratio : float
        Minor to major axis.
    points : array, (knot, 3), optional
        Knots only: x, y in units of the disc's scale length before projection, and weight (sum 1).
    index : int
        Real galaxies only: which one.
    pattern : Arms, Bar, Ring or Lopsided, optional
        Patterns only: the surface brightness over the face-on disc.
    """

    kind: str
    flux: np.ndarray
    half_light_radius: float
    axis_ratio: float
    points: np.ndarray | None = None
    index: int = -1
    pattern: object = None


@dataclasses.dataclass(frozen=True)
class Galaxy:
    """One galaxy: components that share centre and position angle, and what a catalogue says of it.

    Sizes are in arcsec, `angle` is the position angle of the major axis from +x towards +y in radians, ellipticity is
    the distortion (a^2 - b^2) / (a^2 + b^2), flux-weighted over the components in the reference band.
    """

    id: str
    kind: str
    components: tuple
    angle: float
    half_light_radius: float
    bulge_fraction: float
    ellipticity: tuple
    redshift: float

    @property
    def flux(self):
        """Total flux per band, nJy."""
        return np.sum([component.flux for component in self.components], axis=0)


@dataclasses.dataclass
class Population:
    """A table of galaxies to draw from.

    Parameters
    ----------
    id : array of str, (n,)
        Identifies the galaxy; draws of the same row have the same.
    magnitudes : array, (n, 6)
        Total AB magnitudes in LSST ugrizy.
    redshift : array, (n,)
        Redshift.
    bulge_radius, bulge_ratio, disc_radius, disc_ratio : array, (n,)
        Circularised half-light radius (arcsec) and axis ratio of the two components.
    bulge_fraction : array, (n,)
        Bulge to total flux at 500 nm.
    """

    id: np.ndarray
    magnitudes: np.ndarray
    redshift: np.ndarray
    bulge_radius: np.ndarray
    bulge_ratio: np.ndarray
    disc_radius: np.ndarray
    disc_ratio: np.ndarray
    bulge_fraction: np.ndarray

    def __len__(self):
        return len(self.id)

    def __getitem__(self, rows):
        return Population(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})

    def magnitudes_at(self, wavelengths):
        """Return total magnitudes at `wavelengths` (nm), shape (n, wavelength).

        Linear in log wavelength between the LSST bands. Outside, the slope of the last two bands (of i to y on the red
        side, as single bands are noisy there) is carried on at half strength: spectra flatten towards the infrared.
        """
        position, nodes = np.log(np.asarray(wavelengths, dtype=float)), np.log(WAVELENGTHS)
        m = self.magnitudes
        inside = np.stack([_interpolate(x, nodes, m) for x in np.clip(position, nodes[0], nodes[-1])], axis=1)
        red = 0.5 * (m[:, 5] - m[:, 3]) / (nodes[5] - nodes[3])
        blue = 0.5 * (m[:, 1] - m[:, 0]) / (nodes[1] - nodes[0])
        beyond, before = np.maximum(position - nodes[-1], 0), np.minimum(position - nodes[0], 0)
        return inside + red[:, None] * beyond + blue[:, None] * before

    def bulge_fractions_at(self, wavelengths, colour=_BULGE_COLOUR[0]):
        """Return the bulge fraction at `wavelengths` (nm), (n, wavelength), for bulges redder by `colour` in g - i."""
        ratio = _reddening(wavelengths, colour)
        bulge = self.bulge_fraction[:, None] * ratio
        return bulge / (bulge + 1 - self.bulge_fraction[:, None])

    def half_light_radii(self, fraction):
        """Return circularised half-light radii of bulge and disc together, arcsec, for bulge fractions `fraction`."""
        low = np.zeros(len(self))
        high = np.maximum(self.bulge_radius, self.disc_radius)
        for _ in range(24):
            middle = (low + high) / 2
            bulge = gammainc(8, BULGE_B * (middle / np.maximum(self.bulge_radius, 1e-6)) ** 0.25)
            disc = gammainc(2, DISC_B * middle / np.maximum(self.disc_radius, 1e-6))
            below = fraction * bulge + (1 - fraction) * disc < 0.5
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2


def catsim_population(path):
    """Return the population of a CatSim catalogue (the columns of LSST's OneDegSq).

    Parameters
    ----------
    path : str or Path
        A table that astropy reads, with ``redshift, fluxnorm_bulge, fluxnorm_disk, a_b, b_b, a_d, b_d`` and
        ``u_ab ... y_ab``; the id is ``galtileid`` or ``id`` or the row number. Half-light axes are in arcsec.

    Raises
    ------
    InputError
        If the file or a column is missing.
    """
    from astropy.table import Table

    path = Path(expanded(path))
    if not path.is_file():
        raise InputError(f"{path}: no such catalogue; give a CatSim table, or none for the built-in population")
    table = Table.read(path)
    columns = ("redshift", "fluxnorm_bulge", "fluxnorm_disk", "a_b", "b_b", "a_d", "b_d")
    bands = [f"{band}_ab" for band in "ugrizy"]
    absent = [name for name in (*columns, *bands) if name not in table.colnames]
    if absent:
        raise InputError(f"{path}: no column {absent[0]!r}; a CatSim catalogue has {', '.join((*columns, *bands))}")
    value = {name: np.asarray(table[name], dtype=float) for name in (*columns, *bands)}
    magnitudes = np.stack([value[name] for name in bands], axis=1)
    total = value["fluxnorm_bulge"] + value["fluxnorm_disk"]
    name = next((name for name in ("galtileid", "id") if name in table.colnames), None)
    ids = table[name] if name else np.arange(len(table))
    population = Population(
        id=np.array([f"catsim-{identifier}" for identifier in ids]),
        magnitudes=magnitudes,
        redshift=value["redshift"],
        bulge_radius=np.sqrt(value["a_b"] * value["b_b"]),
        bulge_ratio=_ratio(value["b_b"], value["a_b"]),
        disc_radius=np.sqrt(value["a_d"] * value["b_d"]),
        disc_ratio=_ratio(value["b_d"], value["a_d"]),
        bulge_fraction=np.divide(value["fluxnorm_bulge"], total, out=np.zeros(len(table)), where=total > 0),
    )
    return population[np.all(np.isfinite(magnitudes), axis=1) & (total > 0)]


class GalaxySampler:
    """Draw galaxies from a population, more evenly in magnitude than the sky has them.

    Parameters
    ----------
    population : Population
        What to draw from.
    wavelengths : array, (band,)
        Effective wavelengths of the bands, nm.
    reference : int
        Which band the magnitude range, sizes and bulge fractions refer to.
    magnitude_range : (float, float)
        Brightest and faintest AB magnitude in the reference band.
    largest_radius : float
        Galaxies with a half-light radius along the major axis above this (arcsec) are left out: they do not fit.
    flat_magnitude : float
        Fraction of draws with a uniform magnitude; the others follow the population.
    knots : float
        Fraction of discs with knots.
    structure : float
        Fraction of discs with what `model` draws: arms, bars, rings, lopsidedness.
    model : StructureModel, optional
        How often and how strong these are.
    """

    def __init__(
        self,
        population,
        wavelengths,
        reference,
        magnitude_range,
        largest_radius,
        flat_magnitude=0.7,
        knots=0.5,
        structure=0.0,
        model=None,
    ):
        wavelengths = np.asarray(wavelengths, dtype=float)
        magnitude = population.magnitudes_at(wavelengths[[reference]])[:, 0]
        fraction = population.bulge_fractions_at(wavelengths[[reference]])[:, 0]
        radius = population.half_light_radii(fraction)
        ratio = fraction * population.bulge_ratio + (1 - fraction) * population.disc_ratio
        faintest, brightest = max(magnitude_range), min(magnitude_range)
        good = (magnitude >= brightest) & (magnitude <= faintest) & (radius / np.sqrt(ratio) <= largest_radius)
        if good.sum() < 2:
            raise InputError(
                f"{good.sum()} of {len(good)} galaxies have magnitudes {brightest:.1f} to {faintest:.1f} and fit the "
                f"stamp (half-light radius below {largest_radius:.2f} arcsec); widen the range or the stamp"
            )
        order = np.flatnonzero(good)[np.argsort(magnitude[good], kind="stable")]
        self.population = population[order]
        self.wavelengths = wavelengths
        self.reference = reference
        self.flat_magnitude = flat_magnitude
        self.knots = knots
        self.structure = structure
        self.model = model or StructureModel()
        self._sorted = magnitude[order]
        self._radius = radius[order]
        self._magnitudes = self.population.magnitudes_at(wavelengths)

    def row(self, rng):
        """Return the row of one draw."""
        if rng.random() >= self.flat_magnitude:
            return int(rng.integers(len(self._sorted)))
        target = rng.uniform(self._sorted[0], self._sorted[-1])
        # Galaxies within 0.1 mag, and at least the ten nearest where the bright end is sparse.
        low, high = np.searchsorted(self._sorted, [target - 0.1, target + 0.1])
        if high - low < 10:
            low = max(0, min(low, len(self._sorted) - 10))
            high = min(len(self._sorted), low + 10)
        return int(rng.integers(low, high))

    def draw(self, rng):
        """Return a `Galaxy` with a random position angle."""
        row = self.row(rng)
        table, reference = self.population, self.reference
        flux = magnitude_to_njy(self._magnitudes[row])
        colour = rng.normal(*_BULGE_COLOUR)
        fraction = table[row : row + 1].bulge_fractions_at(self.wavelengths, colour)[0]
        components = []
        if table.bulge_fraction[row] > 0:
            components.append(Component("bulge", flux * fraction, table.bulge_radius[row], table.bulge_ratio[row]))
        if table.bulge_fraction[row] < 1:
            components += self._disc(rng, flux * (1 - fraction), table.disc_radius[row], table.disc_ratio[row])
        angle = rng.uniform(0, np.pi)
        weight = np.array([component.flux[reference] for component in components])
        ratio = np.array([component.axis_ratio for component in components])
        e = np.average((1 - ratio**2) / (1 + ratio**2), weights=weight)
        return Galaxy(
            id=str(table.id[row]),
            kind="parametric",
            components=tuple(components),
            angle=angle,
            half_light_radius=float(self._radius[row]),
            bulge_fraction=float(fraction[reference]),
            ellipticity=(float(e * np.cos(2 * angle)), float(e * np.sin(2 * angle))),
            redshift=float(table.redshift[row]),
        )

    def colours(self, rng, wavelength):
        """Return one draw: its magnitudes less that at `wavelength` (nm), shape (band,), and its redshift."""
        row = self.row(rng)
        here = self.population[row : row + 1].magnitudes_at([wavelength])[0]
        return self._magnitudes[row] - here, float(self.population.redshift[row])

    def _disc(self, rng, flux, radius, ratio):
        """Return the components of a disc: the smooth one, its patterns, its knots."""
        # Without structure no random number is spent on it, so that such galaxies are what they always were.
        patterns = self.model.draw(rng) if self.structure > 0 and rng.random() < self.structure else []
        parts = []
        for pattern, share in patterns:
            colour = rng.normal(*(_BULGE_COLOUR if isinstance(pattern, Bar) else _ARM_COLOUR))
            part = np.minimum(share * _reddening(self.wavelengths, colour), 0.8 / len(patterns))
            parts.append(Component("pattern", flux * part, radius, ratio, pattern=pattern))
        if rng.random() < self.knots:
            left = flux - sum(part.flux for part in parts)
            share = np.minimum(rng.uniform(0.05, 0.4) * _reddening(self.wavelengths, _KNOT_COLOUR), 0.8)
            arms = next((pattern for pattern, _ in patterns if isinstance(pattern, Arms)), None)
            parts.append(Component("knots", left * share, radius, ratio, _knots(rng, arms)))
        return [Component("disc", flux - sum(part.flux for part in parts), radius, ratio), *parts]


def _knots(rng, arms):
    """Return knots (knot, 3) as `Component` holds them; along `arms` if there are any, where stars form."""
    number = int(np.exp(rng.uniform(np.log(6), np.log(60))))
    # Radii of an exponential disc are Gamma(2) distributed; luminosities fall off exponentially.
    distance, azimuth = np.minimum(rng.gamma(2, size=number), REACH), rng.uniform(0, 2 * np.pi, number)
    if arms is not None:
        tries = rng.uniform(0, 2 * np.pi, (24, number))
        light = arms.brightness(distance * np.cos(tries), distance * np.sin(tries))
        azimuth = np.take_along_axis(tries, np.argmax(light * rng.random(tries.shape), axis=0)[None], axis=0)[0]
    weight = rng.exponential(size=number)
    return np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), weight / weight.sum()], axis=1)


def _reddening(wavelengths, colour):
    """Return the flux ratio, 1 at 500 nm, of a component redder by `colour` in g - i than another."""
    slope = 0.4 * colour / np.log10(WAVELENGTHS[3] / WAVELENGTHS[1])
    # Beyond the optical the colour difference levels off; without a bound it would run away in the infrared.
    return (np.clip(wavelengths, 300, 1100) / _REFERENCE_WAVELENGTH) ** slope


def _interpolate(x, nodes, values):
    right = int(np.clip(np.searchsorted(nodes, x), 1, len(nodes) - 1))
    share = (x - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    return values[:, right - 1] * (1 - share) + values[:, right] * share


def _ratio(minor, major):
    # Shears of extreme ratios have no use and GalSim needs one above 0.
    return np.clip(np.divide(minor, major, out=np.ones_like(major), where=major > 0), 0.1, 1)
