"""Time the layer BlendScenes against GalSim drawing the same kind of blends object by object, in one process.

    python scripts/bench_blend.py --output docs/benchmarks/bench_blend.json

Both make scenes of 24 arcsec in the six LSST bands with 2 to 4 galaxies of bulge and disc, each galaxy alone and all
together with noise. GalSim draws profile (*) PSF for each galaxy and band onto the scene's pixels, as the
BlendingToolKit does (Mendoza et al. 2021, arXiv:2008.04894). The two are timed in turns, so that what else the machine
does slows both.
"""

import argparse
import os
import platform
import time
from pathlib import Path

import galsim
import keras
import numpy as np
from astropy import units as u
from rich.console import Console
from rich.table import Table

from galzoo.files import write_json
from galzoo.layers.blend import BlendScenes
from galzoo.simulate.galaxies import GalaxySampler
from galzoo.simulate.mixture import builtin_population
from galzoo.simulate.stamps import StampSpec, simulate_stamps
from galzoo.simulate.surveys import electrons_per_njy, get_survey, noise_sigma

SIZE, SOURCES, RADIUS = 120, (2, 4), 20.0
SPEC = StampSpec(survey="LSST", reference="i", stamp_size=64, seed=1)
BATCH = 16


class GalSimBlends:
    """Blends drawn object by object with GalSim alone, with one PSF a band, as BTK's survey has it."""

    def __init__(self, seed=0):
        self.survey = get_survey(SPEC.survey)
        self.scale = self.survey.pixel_scale.to_value(u.arcsec)
        self.rng = np.random.default_rng(seed)
        wavelengths = [self.survey.band(name).effective_wavelength.to_value(u.nm) for name in SPEC.bands]
        self.sampler = GalaxySampler(
            builtin_population(0),
            wavelengths,
            SPEC.bands.index(SPEC.reference),
            SPEC.magnitude_range,
            SPEC.stamp_size * self.scale / 6,
            knots=0.0,
        )
        self.psfs = [self._psf(name) for name in SPEC.bands]
        self.sky = np.array([noise_sigma(self.survey, name) ** 2 for name in SPEC.bands])
        self.gain = np.array([electrons_per_njy(self.survey, name) for name in SPEC.bands])

    def _psf(self, name):
        """Return the seeing (Kolmogorov) with the telescope's diffraction."""
        band, survey = self.survey.band(name), self.survey
        diameter = survey.mirror_diameter.to_value(u.m)
        airy = galsim.Airy(
            lam=band.effective_wavelength.to_value(u.nm), diam=diameter, obscuration=float(np.sqrt(survey.obscuration))
        )
        return galsim.Convolve(galsim.Kolmogorov(fwhm=band.psf_fwhm.to_value(u.arcsec)), airy)

    def draw(self):
        """Return one blend: its image with noise, and its galaxies alone."""
        number = self.rng.integers(SOURCES[0], SOURCES[1] + 1)
        isolated = np.zeros((SOURCES[1], SIZE, SIZE, len(self.psfs)), np.float32)
        for source in range(number):
            galaxy = self.sampler.draw(self.rng)
            distance, angle = RADIUS * np.sqrt(self.rng.random()), 2 * np.pi * self.rng.random()
            shift = self.scale * distance * np.array([np.cos(angle), np.sin(angle)])
            for band, psf in enumerate(self.psfs):
                parts = [self._profile(part, galaxy.angle, band) for part in galaxy.components]
                seen = galsim.Convolve(galsim.Add(parts), psf).shift(*shift)
                isolated[source, ..., band] = seen.drawImage(nx=SIZE, ny=SIZE, scale=self.scale).array
        noiseless = isolated.sum(axis=0)
        variance = self.sky + np.maximum(noiseless, 0) / self.gain
        return noiseless + np.sqrt(variance) * self.rng.standard_normal(noiseless.shape, np.float32), isolated

    @staticmethod
    def _profile(part, angle, band):
        kind = galsim.DeVaucouleurs if part.kind == "bulge" else galsim.Exponential
        shear = galsim.Shear(q=float(part.axis_ratio), beta=angle * galsim.radians)
        return kind(half_light_radius=float(part.half_light_radius), flux=float(part.flux[band])).shear(shear)


def compiled(layer, batch):
    """Return a function that makes one batch of blends and waits for it."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        step = tf.function(lambda: layer(batch))
        return lambda: [value.numpy() for value in step().values()]
    if keras.config.backend() == "jax":
        import jax

        call = jax.jit(lambda state, batch: layer.stateless_call([], state, batch))
        state = [variable.value for variable in layer.non_trainable_variables]
        return lambda: jax.block_until_ready(call(state, batch))
    raise SystemExit(f"back end {keras.config.backend()} is not timed; use tensorflow or jax")


def seconds_of(function, count):
    """Return the elapsed and the processor time in seconds of one of the `count` blends that `function` makes."""
    elapsed, processor = time.perf_counter(), time.process_time()
    function()
    return (time.perf_counter() - elapsed) / count, (time.process_time() - processor) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=7, help="turns of both")
    parser.add_argument("--blends", type=int, default=12, help="blends of GalSim in a turn")
    arguments = parser.parse_args()
    galsim_blends = GalSimBlends()
    stamps = simulate_stamps(SPEC, range(BATCH))
    batch = {key: keras.ops.convert_to_tensor(getattr(stamps, key)) for key in ("truth", "variance", "psf")}
    steps = {
        "any angle": compiled(BlendScenes(SIZE, SOURCES, RADIUS), batch),
        "quarter turns": compiled(BlendScenes(SIZE, SOURCES, RADIUS, rotate=False), batch),
    }
    galsim_blends.draw()
    for step in steps.values():
        step(), step()
    slow, fast = [], {name: [] for name in steps}
    for _ in range(arguments.repeats):
        slow.append(seconds_of(lambda: [galsim_blends.draw() for _ in range(arguments.blends)], arguments.blends))
        for name, step in steps.items():
            fast[name].append(seconds_of(step, BATCH))
    table = Table("BlendScenes", "blends/s", "GalSim blends/s", "ratio", "lowest", "highest", "of processor time")
    results = []
    for name, times in fast.items():
        ratios = np.array(slow) / np.array(times)
        rates = 1 / np.median(times, axis=0), 1 / np.median(slow, axis=0)
        row = {
            "BlendScenes": name,
            "blends_per_second": rates[0][0],
            "galsim_blends_per_second": rates[1][0],
            "ratio": np.median(ratios[:, 0]),
            "lowest_ratio": ratios[:, 0].min(),
            "highest_ratio": ratios[:, 0].max(),
            "ratio_of_processor_time": np.median(ratios[:, 1]),
        }
        results.append({key: value if isinstance(value, str) else float(value) for key, value in row.items()})
        table.add_row(name, *(f"{value:.1f}" for value in list(row.values())[1:]))
    Console(width=120).print(table)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "platform": platform.platform()}
    if arguments.output:
        settings = {"backend": keras.config.backend(), "batch": BATCH, "repeats": arguments.repeats}
        write_json(arguments.output, settings | {"machine": machine, "results": results})


if __name__ == "__main__":
    main()
