"""All sources of a blend fitted together: the most probable galaxies, their fluxes, and how sure that is.

A galaxy is a base vector u, standard normal under the prior, an offset from the given position, and a flux in each
band. The flow makes latent vectors of u, the decoder and the PSF make images of those, linear in the flux. So the
posterior of a scene is a sum of squares, and a damped Gauss-Newton method (Levenberg-Marquardt) finds its mode in a few
steps; the same matrices give the Laplace approximation around it.
"""

import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.inference import batches, laplace
from galzoo.inference.gradient import columns, compiled
from galzoo.inference.structure import needs_refinement, refine_parts
from galzoo.layers.flux import noise_level, solve_fluxes
from galzoo.layers.likelihood import weights
from galzoo.layers.psf import apply_transfer, transfer
from galzoo.progress import track

METHODS = ("encoder", "map", "hmc")
# Numbers of sources that scenes are padded to: a compiled function each.
_SOURCE_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)
# Pixels around the outermost source that take part in the fit; profiles reach beyond, and are known there.
_MARGIN = 16
# Pixels that images of sources are wider than the window of the fit.
_WINGS = 32
_CHUNK = 8


def deblend(
    model,
    batch,
    method="map",
    steps=10,
    position_error=0.3,
    samples=0,
    refine_steps=30,
    window=None,
    seed=0,
    progress=False,
    **sampling,
):
    """Separate the sources of blends.

    Parameters
    ----------
    model : VAEDeblender
    batch : dict
        ``image``, ``variance``, ``positions`` (n, source, 2), ``n_sources`` (n,) and, where present, ``mask`` and
        ``psf``; NumPy. Without positions, one source at the centre.
    method : {"encoder", "map", "hmc"}
        The encoder's answer; the most probable scene, which starts from it; or that and a sampled posterior.
    steps : int
        Most evaluations of the damped Gauss-Newton method; it stops when no scene gains any more.
    position_error : float
        Standard deviation, pixels, with which the given positions are believed; 0 holds them fixed.
    samples : int
        Posterior samples of the fluxes to return; "hmc" gives at least 200.
    refine_steps : int
        Most updates by which images and fluxes are refined beyond what profiles can show, in scenes whose residual is
        more than noise (`galzoo.inference.structure`), by "map"; shapes and errors are those of the profiles.
    window : int, optional
        Pixels on a side of the window that is fitted; by default what holds all sources with 16 pixels to spare.
    seed : int
        Of the samples.
    progress : bool
        Show a bar.
    **sampling
        Options of `galzoo.inference.sampling.sample`.

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
    chunks = []
    for low, count in zip((0, *_SOURCE_COUNTS), (*_SOURCE_COUNTS, most), strict=True):
        rows = np.flatnonzero((number > low) & (number <= count))
        chunks += [(rows[start : start + _CHUNK], min(count, most)) for start in range(0, len(rows), _CHUNK)]
    rng = np.random.default_rng(seed)
    solver = _solver(model)
    for rows, count in track(chunks, "deblending", progress):
        # Chunks of one size: another would be compiled anew.
        full = rows[np.arange(_CHUNK) % len(rows)]
        part = {key: value[full] for key, value in batch.items()}
        part["positions"] = batches.padded(part["positions"], count)
        found = solver.solve(part, method, steps, position_error, samples, refine_steps, window, rng, **sampling)
        batches.store(result, rows, found, len(rows))
    batches.finish(result, batch)
    return result


def _solver(model):
    """Return the model's solver; it is kept with the model, so that functions are compiled once."""
    if not hasattr(model, "_scene_solver"):
        object.__setattr__(model, "_scene_solver", SceneSolver(model))
    return model._scene_solver


class SceneSolver:
    """Fit scenes with a model; holds its compiled functions.

    Parameters
    ----------
    model : VAEDeblender
        With ``encode``, ``decoder``, ``prior``, ``brightness`` and ``render``.
    """

    def __init__(self, model):
        self.model = model
        self._start = compiled(self._start_of)
        self._linearise = compiled(self._linearised)
        self._plain = compiled(lambda part, theta, condition: self._linearised(part, theta, condition, slopes=False))
        self._images = compiled(self.images)
        self._shapes = compiled(self._shapes_of)

    def solve(self, batch, method, steps, position_error, samples, refine_steps, window, rng, **sampling):
        """Return the arrays of `Deblended` for a batch of scenes with the same number of entries."""
        part, _ = self._window(batch, window)
        start = self._start(part)
        start = {key: ops.convert_to_numpy(value) for key, value in start.items()}
        present = np.arange(batch["positions"].shape[1]) < batch["n_sources"][:, None]
        sharp = max(position_error, 1e-3)
        precision = np.r_[np.ones(self.model.latent), np.full(2, 1 / sharp**2)]

        def evaluate(values):
            return laplace.Normal(*self._matrices(part, values, start["condition"]))

        theta = np.concatenate([start["base"], np.clip(start["offset"], -sharp, sharp)], axis=-1)
        if method == "encoder":
            posterior = self._encoded(part, theta, start, sharp, samples, rng)
        else:
            theta, normal = laplace.minimise(evaluate, theta, present, precision, steps)
            posterior = laplace.posterior(normal, theta, precision, samples, rng)
        if method == "hmc":
            from galzoo.inference.sampling import sample

            drawn = sample(self, part, theta, posterior, start["condition"], sharp, samples, rng, **sampling)
            posterior |= {"samples": drawn, "flux": drawn.mean(axis=0), "flux_error": drawn.std(axis=0)}
        shape = part["image"].shape[1:3]
        refine_steps = refine_steps if method == "map" else 0
        return self._answer(batch, shape, theta, start["condition"], posterior, present, refine_steps)

    def _encoded(self, part, theta, start, position_error, samples, rng):
        """Return the posterior by the encoder's own spread of shapes, and by the likelihood for the fluxes."""
        found = self._plain(part, self._tensor(theta), self._tensor(start["condition"]))
        normal = laplace.Normal(*_by_source(found, theta.shape[1]))
        posterior = laplace.posterior(normal, theta[..., :0], np.zeros(0), samples, rng)
        variance = np.concatenate([start["spread"] ** 2, np.full_like(start["offset"], position_error**2)], axis=-1)
        return posterior | {"covariance": variance[..., None] * np.eye(theta.shape[-1])}

    def _answer(self, batch, shape, theta, condition, posterior, present, refine_steps):
        # Images reach further than the fit: the wings of profiles that it has found.
        part, corner = self._window(batch, max(shape) + _WINGS)
        shift = theta[..., -2:]
        drawn = self._images(part, self._tensor(theta), self._tensor(condition))
        flux = (posterior["flux"] * present[..., None]).astype(np.float32)
        drawn = ops.convert_to_numpy(drawn) * flux[:, :, None, None, :]
        if refine_steps:
            rows = np.flatnonzero(needs_refinement(drawn.sum(axis=1), part))
            if len(rows):
                drawn[rows], posterior["flux"][rows] = self._refined(part, rows, theta, condition, flux, refine_steps)
        n, _, height, width, _ = drawn.shape
        images = np.zeros((*drawn.shape[:2], *batch["image"].shape[1:]), np.float32)
        for row in range(n):
            x, y = corner[row]
            images[row, :, y : y + height, x : x + width] = drawn[row]
        shape, jacobian = (ops.convert_to_numpy(x) for x in self._shapes(self._tensor(theta), self._tensor(condition)))
        spread = np.einsum("nsai,nsij,nsaj->nsa", jacobian, posterior["covariance"], jacobian)
        result = {key: posterior[key] for key in ("flux", "flux_error", "flux_width")}
        result["flux_error"] = np.hypot(result["flux_error"], self.model.flux_floor * result["flux"])
        result |= {"image": images, "shape": shape, "shape_error": np.sqrt(np.maximum(spread, 0))}
        result["positions"] = (batch["positions"] + shift) * present[..., None]
        if posterior.get("samples") is not None:
            result["samples"] = posterior["samples"]
        return result

    def _refined(self, part, rows, theta, condition, flux, steps):
        """Return images and fluxes of the scenes `rows` with what smooth profiles have left in the residual."""
        part = {key: ops.take(value, rows, axis=0) for key, value in part.items()}
        arguments = self._tensor(theta[rows]), self._tensor(condition[rows]), part["positions"]
        frames = self._frames(*arguments, tuple(part["image"].shape[1:3]))
        frames = ops.convert_to_numpy(frames) * flux[rows][:, :, None, None, :]
        refined = refine_parts(frames, part, self.model.model_sigma, steps)
        before = np.maximum(frames, 0).sum(axis=(2, 3))
        gain = np.where(before > 0, refined.sum(axis=(2, 3)) / np.where(before > 0, before, 1), 1)
        return ops.convert_to_numpy(self._seen(part, self._tensor(refined))), flux[rows] * gain

    def _window(self, batch, size):
        """Return the batch cut to a window of one size around each scene's sources, and the windows' first pixels."""
        image, positions, number = batch["image"], batch["positions"], batch["n_sources"]
        height, width = image.shape[1:3]
        listed = (np.arange(positions.shape[1]) < number[:, None])[..., None]
        low = np.where(listed, positions, np.inf).min(axis=1)
        high = np.where(listed, positions, -np.inf).max(axis=1)
        if size is None:
            reach = float(np.max(high - low)) / 2 + _MARGIN
            # Few sizes, since each is compiled anew.
            size = 16 * int(np.ceil(2 * reach / 16))
        shape = min(size, height), min(size, width)
        limits = np.array([width - shape[1], height - shape[0]])
        middle = (low + high) / 2
        corner = np.clip(np.round(middle - (np.array(shape[::-1]) - 1) / 2), 0, limits).astype(int)
        rows = corner[:, 1, None, None] + np.arange(shape[0])[None, :, None]
        columns_ = corner[:, 0, None, None] + np.arange(shape[1])[None, None, :]
        index = np.arange(len(image))[:, None, None]
        keys = [key for key in ("image", "variance", "mask") if key in batch]
        part = {key: self._tensor(batch[key][index, rows, columns_], None) for key in keys}
        part["positions"] = self._tensor(positions - corner[:, None, :])
        part["present"] = self._tensor(listed[..., 0], None)
        if "psf" in batch:
            part["psf"] = self._tensor(batch["psf"])
        return part, corner

    @staticmethod
    def _tensor(value, dtype="float32"):
        return ops.convert_to_tensor(value, dtype) if dtype else ops.convert_to_tensor(value)

    def _start_of(self, part):
        """Return what the encoder says: base vectors, their spread, offsets, and the condition by the first fluxes."""
        model = self.model
        mean, deviation, offset = model.encode(part)
        shape = tuple(part["image"].shape[1:3])
        present = ops.cast(part["present"], "float32")[:, :, None, None, None]
        unit = model.render(mean, part["positions"] + offset, part.get("psf"), shape) * present
        weight = weights(part["variance"], part.get("mask"))
        flux = solve_fluxes(unit, ops.where(weight > 0, part["image"], 0.0), weight)
        condition = model.brightness(flux, noise_level(part["variance"], part.get("mask")))
        base, _ = model.prior.inverse(mean, condition)
        # Spread in the base space, to first order along each axis.
        moved, _ = model.prior.inverse(mean + ops.exp(deviation), condition)
        spread = ops.minimum(ops.abs(moved - base), 1.0)
        return {"base": ops.clip(base, -4.0, 4.0), "spread": spread, "offset": offset, "condition": condition}

    def _frames(self, theta, condition, positions, shape):
        """Return model-frame galaxies of unit flux, (n, source, y, x, band), of parameters (n, source, latent + 2)."""
        model = self.model
        latent, _ = model.prior.forward(theta[..., : model.latent], condition)
        positions = positions + theta[..., model.latent :]
        flat = ops.reshape(latent, (-1, model.latent)), ops.reshape(positions, (-1, 2))
        images = model.decoder.render(*flat, shape)
        return ops.reshape(images, (-1, theta.shape[1], *shape, len(model.bands)))

    def _seen(self, part, images):
        """Return images (n, m, y, x, band) through the PSF."""
        if part.get("psf") is None:
            return images
        n, m, *rest = images.shape
        kernel = transfer((n, *rest), part["psf"], self.model.model_sigma)
        flat = ops.reshape(images, (-1, *rest))
        return ops.reshape(apply_transfer(flat, ops.repeat(kernel, m, axis=0)), (-1, m, *rest))

    def images(self, part, theta, condition):
        """Return galaxies of unit flux as observed, (n, source, y, x, band), of parameters (n, source, latent + 2)."""
        shape = tuple(part["image"].shape[1:3])
        return self._seen(part, self._frames(theta, condition, part["positions"], shape))

    def _linearised(self, part, theta, condition, slopes=True):
        """Return the matrices of the least-squares problem around `theta`; see `galzoo.inference.laplace.Normal`."""
        shape = tuple(part["image"].shape[1:3])
        arguments = theta, condition, part["positions"]
        if slopes:
            frames = columns(lambda *values: self._frames(*values, shape), *arguments)
            frames = ops.moveaxis(ops.concatenate([frames[0][None], frames[1]], axis=0), 0, 2)
        else:
            frames = self._frames(*arguments, shape)[:, :, None]
        n, sources, terms, *rest = frames.shape
        frames = frames * ops.cast(part["present"], "float32")[:, :, None, None, None, None]
        seen = self._seen(part, ops.reshape(frames, (-1, sources * terms, *rest)))
        weight = weights(part["variance"], part.get("mask"))
        root = ops.sqrt(weight)
        data = ops.where(weight > 0, ops.cast(part["image"], "float32"), 0.0) * root
        pixels = rest[0] * rest[1]
        bands = rest[2]
        seen = ops.reshape(ops.transpose(seen * root[:, None], (0, 4, 1, 2, 3)), (-1, bands, sources * terms, pixels))
        data = ops.reshape(ops.transpose(data, (0, 3, 1, 2)), (-1, bands, pixels, 1))
        normal = ops.matmul(seen, ops.transpose(seen, (0, 1, 3, 2)))
        right = ops.matmul(seen, data)[..., 0]
        return normal, right, ops.sum(ops.square(data), axis=(2, 3))

    def _matrices(self, part, theta, condition):
        found = self._linearise(part, self._tensor(theta), self._tensor(condition))
        return _by_source(found, theta.shape[1])

    def _shapes_of(self, theta, condition):
        """Return shapes (n, source, 3) and their derivatives (n, source, 3, latent + 2)."""
        model = self.model
        band = len(model.bands) // 2

        def shapes(x, condition):
            latent, _ = model.prior.forward(x[..., : model.latent], condition)
            found = model.decoder.moments(ops.reshape(latent, (-1, model.latent)), band)
            return ops.reshape(found, (-1, theta.shape[1], 3))

        value, slopes = columns(shapes, theta, condition)
        return value, ops.moveaxis(slopes, 0, -1)


def _by_source(matrices, sources):
    """Return matrices in double precision, with axes of source and term apart."""
    normal, right, power = (ops.convert_to_numpy(value).astype(float) for value in matrices)
    n, bands, size = right.shape
    terms = size // sources
    return normal.reshape(n, bands, sources, terms, sources, terms), right.reshape(n, bands, sources, terms), power
