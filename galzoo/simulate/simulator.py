"""What every simulation shares: the checked specification of survey, galaxies and PSFs, and how a galaxy is seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from astropy import units as u

from galzoo.errors import InputError
from galzoo.simulate.galaxies import GalaxySampler, catsim_population
from galzoo.simulate.mixture import builtin_population
from galzoo.simulate.psf import PSFModel
from galzoo.simulate.real import RealGalaxies
from galzoo.simulate.render import component_transform
from galzoo.simulate.surveys import electrons_per_njy, get_survey, limiting_magnitude, noise_sigma
from galzoo.values import check_numbers


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """Survey, galaxies and PSFs of a simulation; every field is plain, so that JSON and YAML can hold it.

    Parameters
    ----------
    survey : str
        One of `galzoo.simulate.surveys.list_surveys`.
    bands : sequence of str
        Bands of the survey; all of them by default.
    reference : str
        Band of the magnitude range, the sizes and the bulge fractions; by default the deepest.
    stamp_size, psf_size : int
        Pixels on a side; that of the PSF is odd.
    seed : int
        Other seeds give other galaxies, PSFs and noise.
    depth : float
        Exposure in units of the full survey's.
    magnitude_range : (float, float)
        AB magnitudes in the reference band; by default from 6.5 to 1 mag brighter than the 5 sigma limit for points,
        which gives signal-to-noise ratios from about 5 to 1000.
    flat_magnitude : float
        Fraction of galaxies with uniform magnitudes; the others follow the population's counts.
    structure : float
        Fraction of discs with arms, bars, rings or lopsidedness (`galzoo.simulate.structure`).
    catalogue : str
        CatSim catalogue to draw from; the built-in population by default.
    real_galaxies : str
        Catalogue of real galaxies, for `real_fraction` of the draws.
    real_fraction : float
        See `real_galaxies`.
    real_magnitude_limit : float
        Fainter real galaxies are not used: they carry the noise of their parent image.
    psf_paths : dict of str to str
        Images of the PSF for any of the bands; the others are analytic.
    psf_pixel_scale : float
        Arcsec per pixel of those images, where their headers do not say.
    """

    survey: str = "LSST"
    bands: tuple = ()
    reference: str = ""
    stamp_size: int = 64
    psf_size: int = 41
    seed: int = 0
    depth: float = 1.0
    magnitude_range: tuple | None = None
    flat_magnitude: float = 0.7
    structure: float = 0.0
    catalogue: str | None = None
    real_galaxies: str | None = None
    real_fraction: float = 0.0
    real_magnitude_limit: float = 25.0
    psf_paths: dict = dataclasses.field(default_factory=dict)
    psf_pixel_scale: float | None = None

    def __post_init__(self):
        survey = get_survey(self.survey)
        bands = tuple(self.bands) or tuple(survey.bands)
        for name in (*bands, *self.psf_paths, *filter(None, [self.reference])):
            survey.band(name)
        depths = {name: limiting_magnitude(survey, name, self.depth) for name in bands}
        reference = self.reference or max(depths, key=depths.get)
        if reference not in bands:
            raise InputError(f"reference band {reference!r} is not simulated; choose one of {', '.join(bands)}")
        limits = self.magnitude_range or (depths[reference] - 6.5, depths[reference] - 1.0)
        if len(limits) != 2 or not limits[0] < limits[1]:
            raise InputError(f"magnitude_range is {limits}; give the brighter and the fainter limit, e.g. (19, 25)")
        for name, least in (("stamp_size", 8), ("psf_size", 3)):
            if not getattr(self, name) >= least or getattr(self, name) % 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a whole number of at least {least} pixels")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give a whole number, 0 or more")
        if self.psf_size % 2 == 0:
            raise InputError(f"psf_size is {self.psf_size}; give an odd number, so that the PSF has a central pixel")
        for name in ("flat_magnitude", "structure", "real_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a fraction from 0 to 1")
        if self.real_fraction > 0 and not self.real_galaxies:
            raise InputError("real_fraction is above 0 without real_galaxies; give the path of their catalogue")
        object.__setattr__(self, "bands", bands)
        object.__setattr__(self, "reference", reference)
        object.__setattr__(self, "magnitude_range", tuple(round(float(value), 3) for value in limits))

    def to_dict(self):
        """Return the specification as JSON can hold it."""
        return dataclasses.asdict(self) | {"bands": list(self.bands), "magnitude_range": list(self.magnitude_range)}

    def origin(self):
        """Return the specification for the header of a file: as `to_dict`, but of the files used only the names."""
        names = {key: Path(path).name for key in ("catalogue", "real_galaxies") if (path := getattr(self, key))}
        psfs = {band: Path(path).name for band, path in self.psf_paths.items()}
        return self.to_dict() | names | {"psf_paths": psfs}


class Simulator:
    """What is common to all images of one specification.

    Parameters
    ----------
    spec : ImageSpec
        What to simulate.
    largest_radius : float
        Galaxies with a half-light radius above this (arcsec) are left out: they do not fit.
    """

    def __init__(self, spec, largest_radius):
        self.spec = spec
        self.survey = get_survey(spec.survey)
        self.scale = self.survey.pixel_scale.to_value(u.arcsec)
        self.psfs = PSFModel(self.survey, spec.bands, dict(spec.psf_paths), spec.psf_pixel_scale)
        self.population = catsim_population(spec.catalogue) if spec.catalogue else builtin_population(spec.seed)
        self.wavelengths = [self.survey.band(name).effective_wavelength.to_value(u.nm) for name in spec.bands]
        self.largest_radius = largest_radius
        self.real = None
        if spec.real_fraction > 0:
            self.real = RealGalaxies(spec.real_galaxies, largest_radius, spec.real_magnitude_limit)
        self.sky = np.array([noise_sigma(self.survey, name, spec.depth) ** 2 for name in spec.bands])
        self.gain = np.array([electrons_per_njy(self.survey, name, spec.depth) for name in spec.bands])

    def make_sampler(self, population):
        """Return the `GalaxySampler` of the specification for a population."""
        return GalaxySampler(
            population,
            self.wavelengths,
            reference=self.spec.bands.index(self.spec.reference),
            magnitude_range=self.spec.magnitude_range,
            largest_radius=self.largest_radius,
            flat_magnitude=self.spec.flat_magnitude,
            structure=self.spec.structure,
        )

    def draw_galaxy(self, rng, sampler, real):
        """Return a `Galaxy`, one of `real` (`RealGalaxies` or None) as often as the specification says."""
        if real is not None and rng.random() < self.spec.real_fraction:
            return real.draw(rng, sampler)
        return sampler.draw(rng)

    def transforms(self, galaxy, grid, x, y):
        """Return the unit-flux transforms of a galaxy's components, at pixel (x, y) of the grid's stamp."""
        column, line = grid.shift(x, y)
        return [component_transform(part, galaxy.angle, grid, self.real) * column * line for part in galaxy.components]

    @staticmethod
    def observe(galaxy, transforms, grid, psfs):
        """Return the noiseless image (y, x, band) through the PSF transforms of `StampGrid.sample_psf`."""
        flux = np.array([part.flux for part in galaxy.components])
        seen = [
            grid.observe(sum(f * t for f, t in zip(flux[:, band], transforms, strict=True)), psf)
            for band, psf in enumerate(psfs)
        ]
        return np.stack(seen, axis=-1)

    def add_noise(self, noiseless, rng):
        """Return image and variance: Gaussian noise with the variance of sky and sources.

        At the thousands of sky electrons per pixel of these surveys Poisson noise is Gaussian.
        """
        variance = self.sky + np.maximum(noiseless, 0) / self.gain
        return noiseless + np.sqrt(variance) * rng.standard_normal(variance.shape), variance


def make_spec(kind, spec, changes):
    """Return `spec`, or the default one of class `kind`, with the fields `changes`; unknown fields raise InputError."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(changes) - known):
        raise InputError(f"unknown setting {unknown[0]!r} of a simulation; known are {', '.join(sorted(known))}")
    check_numbers(changes, {field.name: field.default for field in dataclasses.fields(kind)}, "simulation")
    return dataclasses.replace(spec, **changes) if spec else kind(**changes)


def unit_of(name):
    """Return the unit of a column of a simulation's tables, or None."""
    if name.startswith("flux_"):
        return u.nJy
    if name.startswith("mag"):
        return u.ABmag
    if name in ("half_light_radius", "separation") or name.startswith("psf_fwhm"):
        return u.arcsec
    return u.pix if name in ("x", "y") else None
