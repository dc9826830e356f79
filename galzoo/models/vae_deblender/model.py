"""The VAE deblender."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import RecipeError
from galzoo.layers.blend import BlendScenes
from galzoo.layers.checks import check_batch
from galzoo.layers.colours import ColourPrior
from galzoo.layers.flow import CouplingFlow
from galzoo.layers.flux import FluxScaling, noise_level, solve_fluxes
from galzoo.layers.likelihood import weights
from galzoo.layers.psf import convolve, sharpness
from galzoo.models.vae_deblender.decoder import ProfileDecoder
from galzoo.models.vae_deblender.encoder import WindowEncoder, marks, scene_windows, windows
from galzoo.models.vae_deblender.losses import flux_miss

# Error of the positions that the encoder is told in training, pixels.
_POSITION_JITTER = 0.3
# Scatter, pixels, to which the encoder's offsets are trained.
_OFFSET_SCALE = 0.1
# Galaxies that each component of the prior over colours wants.
_GALAXIES_A_COLOUR = 20
# Signal-to-noise ratio of the noiseless stamps whose latent vectors the prior is of.
_PRIOR_SNR = 300.0


@keras.saving.register_keras_serializable(package="galzoo")
class VAEDeblender(keras.Model):
    """Blends as sums of galaxies, each a latent vector and a flux in every band.

    What is trained in a stage decides what it learns. With the decoder free: a VAE on isolated galaxies. With only the
    `prior` free: a flow that gives the density of latent vectors of well-measured galaxies. With the decoder and the
    prior frozen: the encoder on blends, made in the graph of the same galaxies. Fluxes are never learnt: given the
    galaxies' profiles they are the solution of a linear problem.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    latent : int
        Length of a latent vector.
    gaussians, decoder_hidden, size
        As in `ProfileDecoder`.
    window : int
        Pixels on a side of what the encoder sees around a source, a multiple of 8.
    filters, hidden
        As in `WindowEncoder`.
    couplings, flow_hidden : int
        Of the prior, see `CouplingFlow`.
    colours : int
        Components of the prior over colours, see `ColourPrior`.
    max_sources : int
        Most sources of a blend in training.
    radius : float
        Largest distance of a source from the centre of a training blend, pixels.
    kl_weight : float
        Weight of the Kullback-Leibler term.
    error_floor : float
        Fraction of a source added to the noise in quadrature, in training only, so that the few brightest do not rule.
    model_sigma : float
        Sigma in pixels of the model-frame PSF.
    band_dropout : float
        Chance that the encoder is shown a band as absent in training.
    flux_floor : float
        Fraction of a flux that is added in quadrature to its posterior error: what profiles of this kind cannot show.
    seed : int
        Of blending, sampling and what the encoder is not shown.

    Notes
    -----
    It is a `galzoo.contracts.galaxy_model.GalaxyModel`: `galzoo.inference.deblend.deblend` gives fluxes with
    uncertainties. Reads ``image``, ``variance`` and, where present, ``mask``, ``psf``, ``positions`` and ``n_sources``;
    without positions, one source at the centre. Training needs ``truth``; stamps without it are learnt as they are, one
    source each. Returns a dict of ``image`` (n, y, x, band), the sum of all sources as observed without noise;
    ``isolated`` (n, source, y, x, band), its parts; ``latent`` (n, source, latent).

    References
    ----------
    Arcelin et al. 2021, arXiv:2005.12039 (two stages); Biswas et al. 2025, A&A 700 A129 (flow prior, MAP).
    """

    # Batches that `adapt` wants: enough galaxies for their kinds of colours.
    adapt_batches = 96

    def __init__(
        self,
        bands=("band",),
        latent=8,
        gaussians=12,
        decoder_hidden=64,
        size=2.0,
        window=48,
        filters=32,
        hidden=256,
        couplings=6,
        flow_hidden=64,
        colours=8,
        max_sources=4,
        radius=12.0,
        kl_weight=1.0,
        error_floor=0.01,
        model_sigma=0.7,
        band_dropout=0.0,
        flux_floor=0.02,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if window % 8:
            raise RecipeError(f"window is {window}; give a multiple of 8 pixels")
        if latent < 4:
            raise RecipeError(f"latent is {latent}; give at least 4: size, two of ellipticity, and a profile")
        self._arguments = {
            "bands": [str(band) for band in bands],
            "latent": latent,
            "gaussians": gaussians,
            "decoder_hidden": decoder_hidden,
            "size": size,
            "window": window,
            "filters": filters,
            "hidden": hidden,
            "couplings": couplings,
            "flow_hidden": flow_hidden,
            "colours": colours,
            "max_sources": max_sources,
            "radius": radius,
            "kl_weight": kl_weight,
            "error_floor": error_floor,
            "model_sigma": model_sigma,
            "band_dropout": band_dropout,
            "flux_floor": flux_floor,
            "seed": seed,
        }
        self.bands = tuple(str(band) for band in bands)
        self.window, self.latent = int(window), int(latent)
        self.flux_floor = float(flux_floor)
        self.kl_weight, self.error_floor = float(kl_weight), float(error_floor)
        self.model_sigma, self.band_dropout = float(model_sigma), float(band_dropout)

        # Simulated galaxies have any position angle: quarters of a turn, which are quick and exact, will do.
        common = {"rotate": False, "model_sigma": model_sigma}
        self.single = BlendScenes(window, sources=(1, 1), radius=1.0, seed=seed, **common)
        self.blends = BlendScenes(sources=(1, max_sources), radius=radius, seed=seed + 1, **common)
        self.draws = keras.random.SeedGenerator(seed + 2)
        self.scaling = FluxScaling()
        number = len(self.bands)
        # Image, which pixels count and sharpness of the PSF a band; marks at the neighbours.
        self.encoder = WindowEncoder(3 * number + 1, latent, window, filters, hidden, name="encoder")
        self.decoder = ProfileDecoder(number, latent, gaussians, decoder_hidden, size, model_sigma, name="decoder")
        self.prior = CouplingFlow(latent, couplings, flow_hidden, condition=1, seed=seed, name="prior")
        self.colours = ColourPrior(number, colours, name="colours")
        names = ("likelihood", "divergence", "flux", "offset", "prior_nats")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        small = {"latent": 5, "gaussians": 6, "decoder_hidden": 16, "window": 24, "filters": 8, "hidden": 32}
        small |= {"couplings": 2, "flow_hidden": 8, "colours": 2, "max_sources": 2, "radius": 4.0}
        return cls(bands=bands, **{**small, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def adapt(self, batches):
        """Fit the prior over colours to the galaxies of some training batches.

        Parameters
        ----------
        batches : list of dict
            With ``truth``; without it, as in stamps of the sky, or with too few galaxies, colours keep no prior.
        """
        flux = [np.sum(batch["truth"], axis=(1, 2)) for batch in batches if batch.get("truth") is not None]
        flux = np.concatenate(flux) if flux else np.zeros((0, len(self.bands)))
        flux = flux[np.isfinite(flux).all(axis=1) & (flux.sum(axis=1) > 0)]
        if len(flux) >= _GALAXIES_A_COLOUR * self.colours.components:
            self.colours.adapt(flux, seed=self._arguments["seed"])

    def brightness(self, flux, noise):
        """Return the condition of the prior, (n, source, 1): log10 of total flux over noise, all bands, less 2.

        Parameters
        ----------
        flux : tensor, (n, source, band)
        noise : tensor, (n, 1, 1, band)
            As `galzoo.layers.flux.noise_level`; in any unit, the flux in the same.
        """
        ratio = ops.maximum(flux, 0.0) / noise[:, 0]
        total = ops.sqrt(ops.sum(ops.square(ratio), axis=-1, keepdims=True))
        return ops.clip(0.5 * ops.log(ops.square(total) + 1.0) / np.log(10.0) - 2.0, -2.0, 4.0)

    def encode(self, batch, training=False):
        """Return mean and log-deviation (n, source, latent) and offsets (n, source, 2) in pixels.

        Parameters
        ----------
        batch : dict
            With ``positions`` (n, source, 2) and ``present`` (n, source).
        """
        variance, positions = batch["variance"], batch["positions"]
        valid = ops.cast(weights(variance, batch.get("mask")) > 0, "float32")
        if training and self.band_dropout:
            kept = keras.random.uniform((ops.shape(valid)[0], 1, 1, len(self.bands)), seed=self.draws)
            valid = valid * ops.cast(kept >= self.band_dropout, "float32")
        corners = ops.cast(ops.floor(positions + 0.5), "int32") - self.window // 2
        image = ops.where(valid > 0, batch["image"], 0.0)
        cut = windows(ops.concatenate([image, valid], axis=-1), corners, self.window)
        sources, number = positions.shape[1], len(self.bands)

        def flat(values):
            return ops.reshape(values, (-1, *values.shape[2:]))

        def for_each(values):
            return ops.repeat(ops.reshape(values, (-1, 1, 1, number)), sources, axis=0)

        found = self.look(
            flat(cut[..., :number]),
            flat(cut[..., number:]),
            for_each(noise_level(variance, batch.get("mask"))),
            for_each(ops.broadcast_to(sharpness(batch.get("psf"), len(self.bands)), (ops.shape(valid)[0], number))),
            flat(marks(corners, positions, batch["present"], self.window)),
            flat(positions - ops.floor(positions + 0.5)),
        )
        return tuple(ops.reshape(value, (-1, sources, value.shape[-1])) for value in found)

    def latents(self, batch):
        """Return the mean vectors (n, latent) of the galaxies in the middle of stamps; see `Encoder`."""
        image = ops.cast(batch["image"], "float32")
        return self.encode(self._complete({**batch, "image": image, "positions": None}))[0][:, 0]

    def look(self, image, valid, noise, sharpness, marked, fraction):
        """Return what `encode` does, of windows around m sources.

        Parameters
        ----------
        image, valid : tensor, (m, window, window, band)
            Data, 0 where they do not count, and whether they do.
        noise, sharpness : tensor, (m, 1, 1, band)
            See `galzoo.layers.flux.noise_level` and `galzoo.layers.psf.sharpness`.
        marked : tensor, (m, window, window, 1)
            Where the other sources are.
        fraction : tensor, (m, 2)
            Position of the source from the middle of its pixel.
        """
        sharpness = ops.broadcast_to(sharpness, ops.shape(image))
        return self.encoder(ops.concatenate([self.scaling(image, noise), valid, sharpness, marked], axis=-1), fraction)

    def windows(self, batch, present):
        """Return the noise of scenes and the arguments of `look` for their sources, in NumPy; see `GalaxyModel`."""
        told = ops.convert_to_numpy(sharpness(batch.get("psf"), len(self.bands)))
        told = np.broadcast_to(told, (len(batch["image"]), len(self.bands)))
        return scene_windows(batch, told, present, self.window)

    def profiles(self, latent):
        """Return weights (m, gaussian, band), covariances (m, gaussian, 3) and sizes (m,) of galaxies."""
        parameters = self.decoder.parameters(latent)
        covariances = ops.stack(self.decoder.covariances(parameters), axis=-1)
        return parameters["weights"], covariances, parameters["size"]

    def latent_of(self, base, condition):
        """Return the latent vectors of base vectors; see `CouplingFlow.forward`."""
        return self.prior.forward(base, condition)[0]

    def base_of(self, latent, condition):
        """Return the base vectors of latent vectors; see `CouplingFlow.inverse`."""
        return self.prior.inverse(latent, condition)[0]

    def render(self, latent, positions, psf, shape):
        """Return galaxies of unit flux as observed.

        Parameters
        ----------
        latent : tensor, (n, source, latent)
        positions : tensor, (n, source, 2)
        psf : tensor, (n, y, x, band) or None
        shape : (int, int)

        Returns
        -------
        tensor, (n, source, y, x, band)
        """
        sources = latent.shape[1]
        flat = ops.reshape(latent, (-1, self.latent)), ops.reshape(positions, (-1, 2))
        images = self.decoder.render(*flat, shape)
        if psf is not None:
            psf = ops.broadcast_to(psf, (ops.shape(latent)[0], *psf.shape[1:]))
            psf = ops.repeat(psf, sources, axis=0)
        images = convolve(images, psf, self.model_sigma)
        return ops.reshape(images, (-1, sources, *shape, len(self.bands)))

    def call(self, batch, training=False):
        self.check(batch)
        batch = {**batch, "image": ops.cast(batch["image"], "float32")}
        if training and batch.get("truth") is not None:
            return self._learn(self._blend(batch))
        batch = self._complete(batch)
        mean, _, offset = self.encode(batch)
        shape = tuple(batch["image"].shape[1:3])
        unit = self.render(mean, batch["positions"] + offset, batch.get("psf"), shape)
        unit = unit * ops.cast(batch["present"], "float32")[:, :, None, None, None]
        weight = weights(batch["variance"], batch.get("mask"))
        flux = solve_fluxes(unit, ops.where(weight > 0, batch["image"], 0.0), weight)
        isolated = unit * flux[:, :, None, None, :]
        return {"image": ops.sum(isolated, axis=1), "isolated": isolated, "latent": mean}

    def check(self, batch):
        """Raise `InputError` if a batch does not fit the model."""
        check_batch(batch, self.bands, "vae_deblender")

    def _complete(self, batch):
        """Return the batch with positions and ``present``; one source at the centre where it has none."""
        image = batch["image"]
        if batch.get("positions") is None:
            centre = np.array([[[(image.shape[2] - 1) / 2, (image.shape[1] - 1) / 2]]], "float32")
            positions = ops.broadcast_to(centre, (ops.shape(image)[0], 1, 2))
            return {**batch, "positions": positions, "present": ops.ones_like(positions[..., 0]) > 0}
        positions = ops.cast(batch["positions"], "float32")
        present = np.arange(positions.shape[1]) < ops.cast(batch["n_sources"], "int32")[:, None]
        return {**batch, "positions": positions, "present": present}

    def _blend(self, batch):
        """Return what a stage trains on: single galaxies while the decoder or the prior learns, else blends."""
        learning_galaxies = self.decoder.trainable or self.prior.trainable
        blend = (self.single if learning_galaxies else self.blends)(batch, training=True)
        return self._complete(blend)

    def _learn(self, batch):
        """Return the terms of the loss of a batch of blends whose parts are known."""
        if not self.encoder.trainable:
            return {"prior_nats": self._prior_nats(batch)}
        true = batch["positions"]
        jitter = _POSITION_JITTER * keras.random.normal(ops.shape(true), seed=self.draws)
        mean, deviation, offset = self.encode({**batch, "positions": true + jitter}, training=True)
        present = ops.cast(batch["present"], "float32")
        sample = mean + ops.exp(deviation) * keras.random.normal(ops.shape(mean), seed=self.draws)
        shape = tuple(batch["image"].shape[1:3])
        unit = self.render(sample, true, batch.get("psf"), shape)
        target = batch["isolated"]
        weight = weights(batch["variance"], batch.get("mask"))[:, None]
        # Each part is compared with itself without noise: the noise would only blur the gradient.
        weight = weight / (1.0 + weight * ops.square(self.error_floor * target))
        product = ops.sum(weight * unit * target, axis=(2, 3))
        flux = product / ops.maximum(ops.sum(weight * ops.square(unit), axis=(2, 3)), 1e-30)
        miss = flux_miss(flux, batch["flux"], ops.sum(weight * ops.square(unit), axis=(2, 3)))
        error = target - unit * ops.stop_gradient(flux)[:, :, None, None, :]
        likelihood = 0.5 * ops.sum(weight * ops.square(error), axis=(2, 3, 4))
        noise = noise_level(batch["variance"], batch.get("mask"))
        condition = self.brightness(batch["flux"], noise)
        divergence = self._divergence(mean, deviation, sample, condition)
        off = 0.5 * ops.sum(ops.square((offset + jitter) / _OFFSET_SCALE), axis=-1)
        number = ops.maximum(ops.sum(present), 1.0)
        terms = {"likelihood": likelihood, "divergence": divergence, "flux": miss, "offset": off}
        terms = {name: ops.sum(value * present) / number for name, value in terms.items()}
        if self.prior.trainable:
            terms["prior_nats"] = -ops.mean(self.prior.log_prob(ops.stop_gradient(sample), condition))
        return terms

    def _divergence(self, mean, deviation, sample, condition):
        """Return KL(q || p) of each source: in closed form for a normal p, by one sample for the flow."""
        if self.decoder.trainable:
            return 0.5 * ops.sum(ops.square(mean) + ops.exp(2 * deviation) - 1.0 - 2 * deviation, axis=-1)
        entropy = ops.sum(deviation + 0.5 * (1.0 + np.log(2 * np.pi)), axis=-1)
        return -entropy - self.prior.log_prob(sample, condition)

    def _prior_nats(self, batch):
        """Return -log p of the latent vectors of single galaxies, seen without noise, at their survey's brightness."""
        clean = ops.sum(batch["isolated"], axis=1)
        weight = weights(batch["variance"])
        power = ops.sum(weight * ops.square(clean), axis=(1, 2, 3), keepdims=True)
        # Through its own PSF and with the noise of its own survey, only less of it: what the encoder knows.
        variance = batch["variance"] * ops.minimum(power / _PRIOR_SNR**2, 1.0)
        mean, deviation, _ = self.encode({**batch, "image": clean, "variance": variance})
        sample = mean + ops.exp(deviation) * keras.random.normal(ops.shape(mean), seed=self.draws)
        noise = noise_level(batch["variance"], batch.get("mask"))
        return -ops.mean(self.prior.log_prob(sample, self.brightness(batch["flux"], noise)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        terms = self._learn_as_seen(x, y_pred) if "image" in y_pred else y_pred
        for name, value in terms.items():
            self.trackers[name].update_state(value)
        factors = {"divergence": self.kl_weight}
        return sum(factors.get(name, 1.0) * value for name, value in terms.items())

    def _learn_as_seen(self, batch, outputs):
        """Return the terms of stamps as observed, without noiseless truth to blend: half of chi squared."""
        weight = weights(batch["variance"], batch.get("mask"))
        image = ops.where(weight > 0, ops.cast(batch["image"], "float32"), 0.0)
        floor = ops.square(self.error_floor * ops.stop_gradient(outputs["image"]))
        error = ops.square(image - outputs["image"]) * (weight / (1.0 + weight * floor))
        mean = outputs["latent"]
        divergence = 0.5 * ops.mean(ops.sum(ops.square(mean), axis=(1, 2)))
        return {"likelihood": 0.5 * ops.mean(ops.sum(error, axis=(1, 2, 3))), "divergence": divergence}
