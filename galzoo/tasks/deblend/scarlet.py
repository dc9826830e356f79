"""scarlet2 as a baseline of the suite "deblend", where it is installed: one spectrum and one free image a source."""

import dataclasses
import importlib.util

import numpy as np

from galzoo.metrics.reconstruction import inverse_variance
from galzoo.tasks.deblend.deblenders import deblended_scenes, scenes_of

# Of its quick start.
STEPS, CONVERGED = 1000, 1e-4
# Sigma in pixels of the PSF of its model frame.
MODEL_SIGMA = 0.7


def installed():
    """Return whether scarlet2 can be imported."""
    return importlib.util.find_spec("scarlet2") is not None


@dataclasses.dataclass(frozen=True)
class Scarlet2:
    """scarlet2 at the given positions: sources of positive spectrum and morphology in [0, 1], fitted by Adam.

    Parameters
    ----------
    steps : int
        Most steps of a fit.
    converged : float
        Relative change at which it stops.

    References
    ----------
    Melchior et al. 2018, Astron. Comput. 24, 129; Sampson et al. 2024, Astron. Comput. 49, 100875.
    """

    steps: int = STEPS
    converged: float = CONVERGED

    def __call__(self, batch):
        """Fit the scenes of a batch, which must have ``psf``, one after the other."""
        return deblended_scenes(
            [self._measure(scene) for scene in scenes_of(batch)], batch, batch["positions"].shape[1]
        )

    def _measure(self, scene):
        positions = scene["positions"]
        weight = inverse_variance(scene["variance"], scene["mask"])
        image = np.where(weight > 0, scene["image"], 0)
        planes = (np.moveaxis(value, -1, 0) for value in (image, weight, scene["psf"]))
        found = self._fit(*planes, positions) if len(positions) else np.zeros((0, *image.shape))
        flux = found.sum(axis=(1, 2))
        # It is asked for no errors.
        return positions, flux, np.full_like(flux, np.nan), found

    def _fit(self, image, weight, psf, positions):
        """Return images of the sources as observed, (source, y, x, band); arguments have bands first."""
        import jax.numpy as jnp
        import scarlet2
        from numpyro.distributions import constraints
        from scarlet2.validation_utils import set_validation

        set_validation(False)
        channels = [str(band) for band in range(len(image))]
        observed = scarlet2.Observation(
            jnp.asarray(image), jnp.asarray(weight), psf=scarlet2.ArrayPSF(jnp.asarray(psf)), channels=channels
        )
        frame = scarlet2.Frame(scarlet2.Box(image.shape), psf=scarlet2.GaussianPSF(MODEL_SIGMA), channels=channels)
        observed.match(frame)
        with scarlet2.Scene(frame) as scene:
            for x, y in positions:
                scarlet2.Source(jnp.array([y, x]), *_start(observed, jnp.array([y, x]), np.abs(image).max()))
        with scarlet2.Parameters(scene):
            for number, source in enumerate(scene.sources):
                scarlet2.Parameter(
                    source.spectrum, name=f"spectrum{number}", constraint=constraints.positive,
                    stepsize=scarlet2.relative_step,
                )  # fmt: skip
                scarlet2.Parameter(
                    source.morphology, name=f"morphology{number}", constraint=constraints.unit_interval, stepsize=0.1
                )
        fitted = scene.fit(observed, max_iter=self.steps, e_rel=self.converged, progress_bar=False)
        seen = [np.asarray(observed.render(fitted.evaluate_source(source))) for source in fitted.sources]
        return np.moveaxis(np.stack(seen), 1, -1)


def _start(observed, centre, brightest):
    """Return spectrum and morphology by Gaussian moments; those of a compact source where these fail."""
    import jax.numpy as jnp
    import scarlet2

    try:
        spectrum, morphology = scarlet2.init.from_gaussian_moments(observed, centre)
        usable = bool(np.isfinite(spectrum).all() and np.isfinite(morphology).all() and (spectrum > 0).any())
    except Exception:  # whatever goes wrong within a faint or crowded source's moments
        usable = False
    if not usable:
        spectrum = scarlet2.init.pixel_spectrum(observed, centre, correct_psf=True)
        spectrum = jnp.maximum(spectrum, 1e-3 * brightest)
        morphology = scarlet2.init.compact_morphology()
    return jnp.maximum(spectrum, 1e-6 * jnp.abs(spectrum).max()), morphology
