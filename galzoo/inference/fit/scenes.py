"""All sources of a blend fitted together: the most probable galaxies, their fluxes, and how sure that is.

A galaxy is a base vector u, standard normal under the prior, an offset from the given position, and a flux in each
band. The flow makes latent vectors of u, the decoder profiles of those, and the PSF images, linear in the flux. So the
posterior of a scene is a sum of squares, and a damped Gauss-Newton method (Levenberg-Marquardt) finds its mode in a few
steps; the same matrices give the Laplace approximation around it. The networks run on all sources of many scenes at
once; images are each scene's own.
"""

import functools

import numpy as np
from keras import ops

from galzoo.derivatives import columns, compiled
from galzoo.errors import InputError
from galzoo.inference.fit import batches, doubts, laplace
from galzoo.inference.fit.gaussian_profiles import Profiles
from galzoo.inference.fit.scene_windows import Patches, workers
from galzoo.progress import track

METHODS = ("encoder", "map", "hmc")
# Scenes that the networks see at once, and numbers in the matrices of these.
_CHUNK, _MOST_NUMBERS = 32, 8_000_000
# Scenes are fitted again so often, at most, in so many steps, with the pixels that sources have grown to.
_GROWN, _GROWN_STEPS = 2, 12
# Least number of sources for which functions are compiled; the others are this times powers of two.
_ROWS = 16


def deblend(
    model,
    batch,
    method="map",
    steps=100,
    position_error=0.3,
    samples=0,
    refine_steps=40,
    seed=0,
    progress=False,
    grow=True,
    **sampling,
):
    """Separate the sources of blends.

    Parameters
    ----------
    model : GalaxyModel
        See `galzoo.contracts.galaxy_model`. Its functions are compiled at the first call.
    batch : dict
        ``image``, ``variance``, ``positions`` (n, source, 2), ``n_sources`` (n,) and, where present, ``mask`` and
        ``psf``; NumPy. Without positions, one source at the centre. ``model_variance``, as ``variance``: by which
        profiles may be wrong in a pixel beside the noise. ``pixel_variance``: see
        `galzoo.inference.fit.gaussian_profiles.Patch`.
    method : {"encoder", "map", "hmc"}
        The encoder's answer; the most probable scene, which starts from it; or that and a sampled posterior.
    steps : int
        Most evaluations of the damped Gauss-Newton method; it stops when no scene gains any more.
    position_error : float
        Standard deviation, pixels, with which the given positions are believed; 0 holds them fixed.
    samples : int
        Posterior samples of the fluxes to return; "hmc" gives at least 200.
    refine_steps : int
        Most steps, in each of three rounds, by which images and fluxes are refined beyond what profiles can show, in
        scenes whose residual is more than noise (`galzoo.inference.fit.deviations`), by "map"; shapes and errors are
        those of the profiles.
    seed : int
        Of the samples.
    progress : bool
        Show a bar.
    grow : bool
        Fit sources again, to more pixels, where they become larger or shine further than they were taken for.
    **sampling
        Options of `galzoo.inference.fit.hmc.sample`.

    Returns
    -------
    Deblended

    Raises
    ------
    InputError
        If the method is unknown or the batch does not fit the model.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; use {', '.join(METHODS)}")
    batch = batches.checked(model, batch)
    n, height, width, bands = batch["image"].shape
    number, most = batch["n_sources"], batch["positions"].shape[1]
    samples = max(samples, 200) if method == "hmc" else samples
    result = batches.empty((n, most, height, width, bands), samples)
    rng = np.random.default_rng(seed)
    solver = _solver(model)
    for rows in track(_chunks(number, bands * (model.latent + 3) ** 2), "deblending", progress):
        part = {key: value[rows] for key, value in batch.items()}
        part["positions"] = part["positions"][:, : number[rows].max()]
        target = result.image, rows
        how = method, steps, position_error, samples, refine_steps, rng, _GROWN if grow else 0
        found = solver.solve(part, target, *how, **sampling)
        batches.store(result, rows, found)
    batches.finish(result, batch)
    return result


def _chunks(number, size):
    """Return rows of scenes that are solved together, of about as many sources; `size` numbers a pair of sources."""
    order = np.argsort(number, kind="stable")
    order = order[number[order] > 0]
    chunks, first = [], 0
    while first < len(order):
        last = min(first + _CHUNK, len(order))
        while last > first + 1 and (last - first) * number[order[last - 1]] ** 2 * size > _MOST_NUMBERS:
            last -= 1
        chunks.append(order[first:last])
        first = last
    return chunks


@functools.lru_cache(maxsize=4)
def _solver(model):
    """Return the model's solver; a few are kept, so that functions are compiled once."""
    return SceneSolver(model)


class SceneSolver:
    """Fit scenes with a model; holds its compiled functions.

    Parameters
    ----------
    model : GalaxyModel
    """

    def __init__(self, model):
        self.model = model
        self._look = compiled(model.look, model)
        self._decoded = compiled(model.profiles, model)
        self._base = compiled(self._base_of, model)
        self._profiles = compiled(lambda *values: columns(self._profiles_of, *values), model)

    def solve(self, batch, target, method, steps, position_error, samples, refine_steps, rng, grown, **sampling):
        """Draw the sources of a batch of scenes and return the other arrays of `Deblended`; see `Patches.draw`."""
        model = self.model
        present = np.arange(batch["positions"].shape[1]) < batch["n_sources"][:, None]
        sharp = max(position_error, 1e-3)
        precision = np.r_[np.ones(model.latent), np.full(2, 1 / sharp**2)]
        with workers() as pool:
            patches, start = self._start(batch, present, pool)
            condition = start["condition"]
            theta = np.concatenate([start["base"], np.clip(start["offset"], -sharp, sharp)], axis=-1)
            # What is no source is where the prior has it, or the fit would forever want to bring it there.
            theta = np.where(present[..., None], theta, 0)

            def evaluate(values, rows):
                here = present[rows]
                profiles = self.profiles(values[here], condition[rows][here])
                return patches.products(profiles, values[..., model.latent :], rows)

            if method == "encoder":
                profiles = start["profiles"]
                normal = laplace.Normal(*patches.products(profiles, theta[..., model.latent :]), model.colours)
                posterior = laplace.posterior(normal, theta[..., :0], np.zeros(0), samples, rng)
                variance = np.concatenate([start["spread"] ** 2, np.full_like(start["offset"], sharp**2)], axis=-1)
                posterior |= {"covariance": variance[..., None] * np.eye(theta.shape[-1])}
            else:
                theta, normal = laplace.minimise(evaluate, theta, present, precision, steps, model.colours)
                for _ in range(grown):
                    rows = patches.grow(self.profiles(theta[present], condition[present]), normal.flux)
                    if not len(rows):
                        break
                    # Of wings beyond the pixels of the fit nothing was known but what a profile makes of its core.
                    theta[rows], found = laplace.minimise(
                        lambda values, some, rows=rows: evaluate(values, rows[some]),
                        theta[rows], present[rows], precision, min(steps, _GROWN_STEPS), model.colours,
                    )  # fmt: skip
                    normal.put(rows, found)
                profiles = self.profiles(theta[present], condition[present])
                posterior = laplace.posterior(normal, theta, precision, samples, rng)
            if method == "hmc":
                from galzoo.inference.fit.hmc import sample

                scenes = patches.tensors(), theta, posterior, condition
                drawn = sample(model, *scenes, sharp, samples, rng, **sampling)
                posterior |= {"samples": drawn, "flux": drawn.mean(axis=0), "flux_error": drawn.std(axis=0)}
            part = patches.doubt(profiles, theta[..., model.latent :], normal.flux)
            flux, contamination = posterior["flux"], normal.contamination()
            if method != "encoder":
                lights = normal.in_noise(contamination), normal.in_noise(normal.flux)
                posterior["strain"] = doubts.strain(*lights, model.flux_floor)
                posterior["size_strain"] = doubts.strain(*lights, model.flux_floor, doubts.SIZES)
            error = doubts.flux_errors(posterior["flux_error"], flux, part, contamination, model.flux_floor)
            if method == "encoder":
                # Shapes that were not fitted are wrong by as much as the residual says, and so are their fluxes.
                error = np.hypot(error, part[:, None, None] * flux)
            floor = np.sqrt(np.maximum(error**2 - posterior["flux_error"] ** 2, 0))
            posterior["flux_error"] = error
            if posterior["samples"] is not None:
                posterior["samples"] = posterior["samples"] + floor * rng.standard_normal(posterior["samples"].shape)
            refine_steps = refine_steps if method == "map" else 0
            return self._answer(patches, target, profiles, theta, condition, posterior, refine_steps, sharp)

    def _start(self, batch, present, pool):
        """Return the windows of the fit, and what the encoder says.

        That is base vectors, their spread, offsets, the profiles, and the condition of the prior by the first fluxes.
        """
        model = self.model
        noise, sources = model.windows(batch, present)
        mean, deviation, offset = _in_parts(self._look, *sources)
        weights, covariances, size = _in_parts(self._decoded, mean)
        sizes, offsets = np.zeros(present.shape), np.zeros((*present.shape, 2), np.float32)
        sizes[present], offsets[present] = size, offset
        patches = Patches(batch, present, sizes, model.model_sigma, pool)
        profiles = Profiles(weights, covariances)
        flux = laplace.Normal(*patches.products(profiles, offsets)).flux * present[..., None]
        condition = ops.convert_to_numpy(model.brightness(flux.astype("float32"), noise))
        start = {"offset": offsets, "profiles": profiles, "condition": condition}
        for name, value in zip(
            ("base", "spread"), _in_parts(self._base, mean, deviation, condition[present]), strict=True
        ):
            start[name] = np.zeros((*present.shape, model.latent), np.float32)
            start[name][present] = value
        return patches, start

    def _base_of(self, mean, deviation, condition):
        """Return the base vectors of latent vectors and, to first order along each axis, their spread."""
        both = ops.concatenate([mean, mean + ops.exp(deviation)])
        base, moved = ops.split(self.model.base_of(both, ops.tile(condition, (2, 1))), 2)
        return ops.clip(base, -4.0, 4.0), ops.minimum(ops.abs(moved - base), 1.0)

    def profiles(self, theta, condition):
        """Return the galaxies of base vectors and offsets (m, latent + 2), with derivatives by the base vectors."""
        base = theta[:, : self.model.latent]
        value, slopes = _in_parts(self._profiles, base, condition, axes=(0, 1))
        slopes = np.moveaxis(slopes, 0, -1)
        bands = len(self.model.bands)
        gaussians = value.shape[1] // (bands + 3)
        shapes = (len(theta), gaussians, bands), (len(theta), gaussians, 3)
        parts = [np.split(x, [gaussians * bands], axis=1) for x in (value, slopes)]
        values = [part.reshape(shape) for part, shape in zip(parts[0], shapes, strict=True)]
        return Profiles(*values, *(part.reshape(*shape, -1) for part, shape in zip(parts[1], shapes, strict=True)))

    def _profiles_of(self, base, condition):
        weights, covariances, _ = self.model.profiles(self.model.latent_of(base, condition))
        flat = [ops.reshape(x, (-1, x.shape[1] * x.shape[2])) for x in (weights, covariances)]
        return ops.concatenate(flat, axis=-1)

    def _answer(self, patches, target, profiles, theta, condition, posterior, refine_steps, sharp):
        model, present = self.model, patches.present
        offsets = theta[..., model.latent :]
        flux = posterior["flux"] * present[..., None]
        patches.draw(profiles, offsets, flux, *target)
        if refine_steps:
            known = posterior["prior"], posterior["vector"]
            flux = patches.refine(profiles, offsets, flux, known, *target, refine_steps)
        shape, shape_error = np.zeros((*present.shape, 3)), np.zeros((*present.shape, 3))
        if profiles.weight_slopes is None:
            profiles = self.profiles(theta[present], condition[present])
        shape[present], slopes = profiles.moments(len(model.bands) // 2)
        covariance = posterior["covariance"][present][:, : model.latent, : model.latent]
        shape_error[present] = np.sqrt(np.maximum(np.einsum("mai,mij,maj->ma", slopes, covariance, slopes), 0))
        strain, size_strain = (posterior.get(key, np.ones(present.shape)) for key in ("strain", "size_strain"))
        shape_error *= np.stack([strain, strain, size_strain], axis=-1)
        spread = np.einsum("nsii->nsi", posterior["covariance"][..., model.latent :, model.latent :])
        # The prior holds a place whatever the profiles are.
        errors = np.sqrt(np.maximum(spread, 0)) * strain[..., None]
        result = {
            "flux": flux,
            "flux_error": posterior["flux_error"],
            "flux_width": posterior["flux_width"],
            "shape": shape,
            "shape_error": shape_error,
            "positions": (patches.positions + offsets) * present[..., None],
            "position_error": np.minimum(errors, sharp) * present[..., None],
        }
        return result if posterior["samples"] is None else result | {"samples": posterior["samples"]}


def _in_parts(function, *arguments, axes=None):
    """Return the results of a compiled function of m rows, in NumPy; it meets few numbers of rows.

    `axes` are those of the rows in the results, by default the first.
    """
    m = len(arguments[0])
    size = _ROWS * 2 ** int(np.ceil(np.log2(max(m / _ROWS, 1))))
    padded = [np.concatenate([x, np.zeros((size - m, *x.shape[1:]))]).astype("float32") for x in arguments]
    found = [ops.convert_to_numpy(x) for x in function(*map(ops.convert_to_tensor, padded))]
    axes = axes or (0,) * len(found)
    return [x[:m] if axis == 0 else x[:, :m] for x, axis in zip(found, axes, strict=True)]
