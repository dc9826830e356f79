"""Simulated `Stamps`: one galaxy each, drawn with GalSim, seen by a survey.

Stamp k depends on the specification and k alone, so that a file is the same for any number of processes, and a longer
file begins with the shorter one.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from astropy import units as u
from astropy.table import QTable

from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.psf import fwhm_of
from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import njy_to_magnitude
from galzoo.errors import InputError
from galzoo.progress import counter
from galzoo.simulate.render import StampGrid
from galzoo.simulate.simulator import ImageSpec, Simulator, make_spec, unit_of
from galzoo.simulate.surveys import get_survey
from galzoo.simulate.workers import run_parts

_PART = 32


@dataclasses.dataclass(frozen=True)
class StampSpec(ImageSpec):
    """What to simulate: the fields of `ImageSpec`, and the model frame.

    Parameters
    ----------
    model_sigma : float
        Sigma of the model frame's Gaussian, pixels.
    """

    model_sigma: float = 0.7

    def __post_init__(self):
        super().__post_init__()
        if not self.model_sigma > 0:
            raise InputError(f"model_sigma is {self.model_sigma}; give pixels, above 0")


class StampSimulator(Simulator):
    """Simulate the stamps of one specification; keeps what is common to all of them.

    Parameters
    ----------
    spec : StampSpec
        What to simulate.
    """

    def __init__(self, spec):
        scale = get_survey(spec.survey).pixel_scale.to_value(u.arcsec)
        super().__init__(spec, largest_radius=spec.stamp_size * scale / 6)
        self.grid = StampGrid(spec.stamp_size, scale, spec.psf_size)
        self.sampler = self.make_sampler(self.population)

    def simulate(self, rows):
        """Return the `Stamps` of the numbers `rows`.

        Notes
        -----
        Noise is that of `Simulator.add_noise`. ``snr_<band>`` is that of the perfect matched filter,
        sqrt(sum(model^2 / variance)) of the noiseless image; ``snr`` is all bands in quadrature.
        """
        parts = [self._one(int(row)) for row in rows]
        if not parts:
            raise InputError("no rows to simulate; give at least one")
        planes = {key: np.stack([part[0][key] for part in parts]) for key in parts[0][0]}
        names = parts[0][1]
        table = QTable({name: np.array([part[1][name] for part in parts]) for name in names})
        for name in names:
            if unit := unit_of(name):
                table[name] = table[name] * unit
        meta = {"origin": "simulated", "model_sigma": self.spec.model_sigma, "simulation": self.spec.origin()}
        return Stamps(
            **planes, bands=self.spec.bands, pixel_scale=self.scale, survey=self.survey.name, catalogue=table, meta=meta
        )

    def _one(self, row):
        spec, grid = self.spec, self.grid
        rng = np.random.default_rng(np.random.SeedSequence([spec.seed, row]))
        galaxy = self.draw_galaxy(rng, self.sampler, self.real)
        centre = (spec.stamp_size - 1) / 2 + rng.uniform(-0.5, 0.5, size=2)
        psfs = [grid.sample_psf(profile) for profile in self.psfs.draw(rng)]
        transforms = self.transforms(galaxy, grid, *centre)
        model_frame = [grid.sample(transform * self._model_psf) for transform in transforms]
        truth = np.einsum("cyx,cb->yxb", model_frame, np.array([part.flux for part in galaxy.components]))
        noiseless = self.observe(galaxy, transforms, grid, [psf[1] for psf in psfs])
        image, variance = self.add_noise(noiseless, rng)
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
    spec = make_spec(StampSpec, spec, changes)
    parts = [range(start, min(start + _PART, n)) for start in range(0, n, _PART)]
    with StampsWriter(output) as writer, counter(n, f"{spec.survey} {spec.stamp_size} px", progress) as advance:
        for stamps in run_parts(_simulating, (spec,), parts, processes):
            writer.write(stamps)
            advance(len(stamps))
    return writer.path


def _simulating(spec):
    return StampSimulator(spec).simulate
