"""Simulated `Stamps`: one galaxy each, drawn with GalSim, seen by a survey.

Stamp k depends on the specification and k alone, so that a file is the same for any number of processes, and a longer
file begins with the shorter one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable
from threadpoolctl import threadpool_limits

from galzoo.data.hdf5 import StampsWriter
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.simulate.galaxies import GalaxySampler, catsim_population
from galzoo.simulate.mixture import builtin_population
from galzoo.simulate.psf import PSFModel, fwhm_of
from galzoo.simulate.real import RealGalaxies
from galzoo.simulate.render import StampGrid, component_transform
from galzoo.simulate.surveys import electrons_per_njy, get_survey, limiting_magnitude, njy_to_magnitude, noise_sigma

_PART = 32


@dataclasses.dataclass(frozen=True)
class StampSpec:
    """What to simulate; every field is plain, so that JSON and YAML can hold it.

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
    model_sigma : float
        Sigma of the model frame's Gaussian, pixels.
    catalogue : str
        CatSim catalogue to draw from; the built-in population by default.
    real_galaxies : str
        Catalogue of real galaxies, for `real_fraction` of the stamps.
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
    model_sigma: float = 0.7
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
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; give at least {least} pixels")
        if self.psf_size % 2 == 0:
            raise InputError(f"psf_size is {self.psf_size}; give an odd number, so that the PSF has a central pixel")
        for name in ("flat_magnitude", "real_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a fraction from 0 to 1")
        if self.real_fraction > 0 and not self.real_galaxies:
            raise InputError("real_fraction is above 0 without real_galaxies; give the path of their catalogue")
        if not self.model_sigma > 0:
            raise InputError(f"model_sigma is {self.model_sigma}; give pixels, above 0")
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


class StampSimulator:
    """Simulate the stamps of one specification; keeps what is common to all of them.

    Parameters
    ----------
    spec : StampSpec
        What to simulate.
    """

    def __init__(self, spec):
        self.spec = spec
        self.survey = get_survey(spec.survey)
        self.scale = self.survey.pixel_scale.to_value(u.arcsec)
        self.grid = StampGrid(spec.stamp_size, self.scale, spec.psf_size)
        self.psfs = PSFModel(self.survey, spec.bands, dict(spec.psf_paths), spec.psf_pixel_scale)
        population = catsim_population(spec.catalogue) if spec.catalogue else builtin_population(spec.seed)
        largest = spec.stamp_size * self.scale / 6
        wavelengths = [self.survey.band(name).effective_wavelength.to_value(u.nm) for name in spec.bands]
        self.sampler = GalaxySampler(
            population,
            wavelengths,
            reference=spec.bands.index(spec.reference),
            magnitude_range=spec.magnitude_range,
            largest_radius=largest,
            flat_magnitude=spec.flat_magnitude,
        )
        self.real = None
        if spec.real_fraction > 0:
            self.real = RealGalaxies(spec.real_galaxies, largest, spec.real_magnitude_limit)
        self.sky = np.array([noise_sigma(self.survey, name, spec.depth) ** 2 for name in spec.bands])
        self.gain = np.array([electrons_per_njy(self.survey, name, spec.depth) for name in spec.bands])

    def simulate(self, rows):
        """Return the `Stamps` of the numbers `rows`.

        Notes
        -----
        Noise is Gaussian with the variance of sky and source, to which Poisson noise comes at the thousands of sky
        electrons per pixel of these surveys. ``snr_<band>`` is that of the perfect matched filter,
        sqrt(sum(model^2 / variance)) of the noiseless image; ``snr`` is all bands in quadrature.
        """
        parts = [self._one(int(row)) for row in rows]
        if not parts:
            raise InputError("no rows to simulate; give at least one")
        planes = {key: np.stack([part[0][key] for part in parts]) for key in parts[0][0]}
        names = parts[0][1]
        table = QTable({name: np.array([part[1][name] for part in parts]) for name in names})
        for name in names:
            if unit := _unit_of(name):
                table[name] = table[name] * unit
        meta = {"origin": "simulated", "model_sigma": self.spec.model_sigma, "simulation": self.spec.origin()}
        return Stamps(
            **planes, bands=self.spec.bands, pixel_scale=self.scale, survey=self.survey.name, catalogue=table, meta=meta
        )

    def _one(self, row):
        spec, grid = self.spec, self.grid
        rng = np.random.default_rng(np.random.SeedSequence([spec.seed, row]))
        if self.real is not None and rng.random() < spec.real_fraction:
            galaxy = self.real.draw(rng, self.sampler)
        else:
            galaxy = self.sampler.draw(rng)
        centre = (spec.stamp_size - 1) / 2 + rng.uniform(-0.5, 0.5, size=2)
        psfs = [grid.sample_psf(profile) for profile in self.psfs.draw(rng)]
        column, line = grid.shift(*centre)
        parts = galaxy.components
        transforms = [component_transform(part, galaxy.angle, grid, self.real) * column * line for part in parts]
        flux = np.array([part.flux for part in parts])
        model_frame = [grid.sample(transform * self._model_psf) for transform in transforms]
        truth = np.einsum("cyx,cb->yxb", model_frame, flux)
        noiseless = np.stack(
            [
                grid.observe(sum(f * t for f, t in zip(flux[:, band], transforms, strict=True)), psf[1])
                for band, psf in enumerate(psfs)
            ],
            axis=-1,
        )
        variance = self.sky + np.maximum(noiseless, 0) / self.gain
        image = noiseless + np.sqrt(variance) * rng.standard_normal(variance.shape)
        snr = np.sqrt((noiseless**2 / variance).sum(axis=(0, 1)))
        planes = {
            "image": image.astype(np.float32),
            "variance": variance.astype(np.float32),
            "psf": np.stack([psf[0] for psf in psfs], axis=-1).astype(np.float32),
            "truth": truth.astype(np.float32),
        }
        return planes, self._columns(galaxy, centre, snr, planes["psf"])

    @functools.cached_property
    def _model_psf(self):
        return self.grid.gaussian(self.spec.model_sigma * self.scale).astype(np.float32)

    def _columns(self, galaxy, centre, snr, psf):
        bands, flux = self.spec.bands, galaxy.flux
        columns = {
            "id": galaxy.id,
            "kind": galaxy.kind,
            "x": centre[0],
            "y": centre[1],
            "mag": float(njy_to_magnitude(flux[bands.index(self.spec.reference)])),
            "half_light_radius": galaxy.half_light_radius,
            "bulge_fraction": galaxy.bulge_fraction,
            "e1": galaxy.ellipticity[0],
            "e2": galaxy.ellipticity[1],
            "redshift": galaxy.redshift,
            "snr": float(np.sqrt((snr**2).sum())),
        }
        for band, name in enumerate(bands):
            columns[f"flux_{name}"] = flux[band]
            columns[f"mag_{name}"] = float(njy_to_magnitude(flux[band]))
            columns[f"snr_{name}"] = snr[band]
            columns[f"psf_fwhm_{name}"] = fwhm_of(psf[..., band]) * self.scale
        return columns


def simulate_stamps(spec, rows):
    """Return simulated stamps.

    Parameters
    ----------
    spec : StampSpec
        What to simulate.
    rows : iterable of int
        Numbers of the stamps; each number is always the same stamp.

    Returns
    -------
    Stamps
        Image, variance, PSF and truth in nJy, with a catalogue.

    Examples
    --------
    >>> stamps = simulate_stamps(StampSpec(survey="LSST", bands=["r", "i"]), range(4))
    >>> stamps.image.shape
    (4, 64, 64, 2)
    """
    return StampSimulator(spec).simulate(rows)


def make_simulated(output, n=4000, spec=None, processes=None, progress=True, **changes):
    """Simulate `n` stamps into an HDF5 file.

    Parameters
    ----------
    output : str or Path
        The file to make; it appears only when complete.
    n : int
        Number of stamps.
    spec : StampSpec, optional
        What to simulate.
    processes : int, optional
        Worker processes; one for each core by default. The file does not depend on it.
    progress : bool
        Show a bar.
    **changes
        Fields of `StampSpec` that differ from `spec`.

    Returns
    -------
    Path
        The file.
    """
    if n < 1:
        raise InputError(f"n is {n}; give at least one stamp")
    known = {field.name for field in dataclasses.fields(StampSpec)}
    if unknown := sorted(set(changes) - known):
        raise InputError(f"unknown setting {unknown[0]!r} of a simulation; known are {', '.join(sorted(known))}")
    spec = dataclasses.replace(spec, **changes) if spec else StampSpec(**changes)
    parts = [range(start, min(start + _PART, n)) for start in range(0, n, _PART)]
    workers = min(processes or len(os.sched_getaffinity(0)), len(parts))
    with StampsWriter(output) as writer, _bar(n, spec, progress) as advance:
        for stamps in _simulated(spec, parts, workers):
            writer.write(stamps)
            advance(len(stamps))
    return writer.path


def _simulated(spec, parts, workers):
    """Yield the parts in order, from `workers` processes."""
    if workers == 1:
        simulator = StampSimulator(spec)
        with threadpool_limits(limits=1):
            yield from map(simulator.simulate, parts)
        return
    # Processes are spawned: forked ones inherit the threads and locks of TensorFlow where the caller has loaded it.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_start_worker, initargs=(spec,)) as pool:
        yield from pool.imap(_work, parts)


def _start_worker(spec):
    global _simulator
    # The matrices of one stamp are small: threads inside a process only take the cores from its neighbours.
    threadpool_limits(limits=1)
    # Ctrl-C goes to the parent, which ends the workers; their own tracebacks would only hide its message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _simulator = StampSimulator(spec)


def _work(rows):
    return _simulator.simulate(rows)


@contextlib.contextmanager
def _bar(n, spec, show):
    """Show a progress bar; yield the function that advances it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not show) as progress:
        task = progress.add_task(f"{spec.survey} {spec.stamp_size} px", total=n)
        yield lambda count: progress.advance(task, count)


def _unit_of(name):
    if name.startswith("flux_"):
        return u.nJy
    if name.startswith("mag"):
        return u.ABmag
    if name == "half_light_radius" or name.startswith("psf_fwhm"):
        return u.arcsec
    return u.pix if name in ("x", "y") else None
