"""The galaxy VAE."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError, RecipeError
from galzoo.layers.adaptation import DomainLoss
from galzoo.layers.augment import Rotate90Flip, random_masks
from galzoo.layers.blocks import NormalizedStack
from galzoo.layers.checks import check_batch
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.likelihood import weights
from galzoo.layers.psf import ConvolvePSF, sharpness
from galzoo.models.galaxy_vae.arguments import check_arguments
from galzoo.models.galaxy_vae.components import principal_components
from galzoo.models.galaxy_vae.density import Mixture
from galzoo.models.galaxy_vae.losses import divergences, frame_difference, likelihood_terms
from galzoo.models.galaxy_vae.networks import (
    fit_to,
    make_decoder,
    make_encoder,
    make_translation,
    positive,
    set_components,
)

# Logarithm of the deviation of a latent dimension, at least and at most.
_LEAST, _MOST = -6.0, 2.0
# Stamps without which there are no components.
_FEWEST = 3
# Orientations of a galaxy that the mixture of vectors sees.
_TURNS = 4
# Iterations that sharpen what was found in images as observed.
_SHARPENING = 3


@keras.saving.register_keras_serializable(package="galzoo")
class GalaxyVAE(keras.Model):
    """A galaxy as one vector, learnt from noisy, PSF-convolved images.

    The encoder sees the image in units of its noise; the decoder gives a non-negative image in the model frame, which
    the stamp's own PSF brings to what the telescope saw, where a likelihood compares it with the data. Latent
    dimensions are dropped from the last on at random (nested dropout), so that the first ones tell most, and every
    number of dimensions is a model of its own. Training starts from the principal components of the data
    (`galzoo.models.galaxy_vae.networks`), which a linear map in encoder and decoder keeps: what is learnt is the rest.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    size : int
        Pixels on a side that are looked at, a multiple of ``4 * 2**(levels - 1)``; of larger stamps the middle, and
        what is missing of smaller ones counts as masked.
    latent : int
        Length of the vector.
    channels : sequence of int
        Of each level; the first has a quarter of the pixels along a side, each further one half of that.
    blocks : int
        Residual blocks a level.
    hidden : int
        Units between maps and vector.
    kl_weight : float
        Weight of the Kullback-Leibler term.
    free_bits : float
        Nats that each dimension may hold for nothing, mean over a batch, against collapse (Kingma et al. 2016).
    nested : float
        Share of stamps that are shown with the first k dimensions alone, every k as probable.
    likelihood : {"gaussian", "student"}
        Half of chi2; or, as where the noise is unknown up to a factor a stamp, half of log(1 + chi2 a pixel) times the
        pixels.
    frame_weight : float
        Weight of the difference from the noiseless image in the model frame, where the data has it: what the PSF hides
        is else not told to the decoder, which fills it with a lattice.
    softening, error_floor, model_sigma, psf_channels, band_dropout, mask_dropout, augment
        As in `galzoo.models.vqvae.model.VQVAE`.
    adaptation : {"none", "mmd", "sinkhorn", "adversarial"}
        How vectors of two surveys are brought together (`galzoo.layers.adaptation`). The first column of the condition
        says which of the two, 0 or 1, a stamp is of; where it is not told, images are decoded as those of survey 0.
        The second survey's vectors pass one more network before they are decoded, so that what its telescope does need
        not be told by the vector.
    adaptation_weight : float
        Weight of that loss against the likelihood of a pixel.
    mixture : int
        Gaussians that describe, after training, where vectors and the logarithms of noise levels are.
    seed : int
        Of all that is random.

    Notes
    -----
    Reads ``image``, ``variance`` and, where present, ``mask`` and ``psf``; returns a dict of ``image`` (as observed,
    without noise) and ``deconvolved`` (model frame), both (n, y, x, band) in the unit of the input and 0 beyond `size`,
    ``latent`` and ``log_deviation`` (n, latent).

    References
    ----------
    Kingma & Welling 2014, arXiv:1312.6114; Kingma et al. 2016, arXiv:1606.04934 (free bits); Rippel et al. 2014,
    arXiv:1402.0915 (nested dropout); Tipping & Bishop 1999 (principal components), of which a linear VAE is the
    likeness (Lucas et al. 2019, arXiv:1911.02469); Ghosh et al. 2020, arXiv:1903.12436 (a density of vectors fitted
    afterwards); Xu et al. 2023, MNRAS 526, 6391.
    """

    def __init__(
        self,
        bands=("band",),
        size=64,
        latent=40,
        channels=(64, 96, 128),
        blocks=2,
        hidden=256,
        kl_weight=1.0,
        free_bits=0.05,
        nested=0.5,
        likelihood="gaussian",
        frame_weight=0.0,
        softening=1.0,
        error_floor=0.02,
        model_sigma=0.7,
        psf_channels=True,
        band_dropout=0.0,
        mask_dropout=0.1,
        augment=True,
        adaptation="none",
        adaptation_weight=1.0,
        mixture=8,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self._arguments = {
            "bands": [str(band) for band in bands],
            "size": size,
            "latent": latent,
            "channels": list(channels),
            "blocks": blocks,
            "hidden": hidden,
            "kl_weight": kl_weight,
            "free_bits": free_bits,
            "nested": nested,
            "likelihood": likelihood,
            "frame_weight": frame_weight,
            "softening": softening,
            "error_floor": error_floor,
            "model_sigma": model_sigma,
            "psf_channels": psf_channels,
            "band_dropout": band_dropout,
            "mask_dropout": mask_dropout,
            "augment": augment,
            "adaptation": adaptation,
            "adaptation_weight": adaptation_weight,
            "mixture": mixture,
            "seed": seed,
        }
        check_arguments(self._arguments)
        self.bands = tuple(str(band) for band in bands)
        self.square, self.latent = (int(size), int(size)), int(latent)
        self.kl_weight, self.free_bits, self.nested = float(kl_weight), float(free_bits), float(nested)
        self.likelihood, self.error_floor, self.frame_weight = likelihood, float(error_floor), float(frame_weight)
        self.model_sigma, self.psf_channels = float(model_sigma), bool(psf_channels)
        self.band_dropout, self.mask_dropout = float(band_dropout), float(mask_dropout)
        self.adaptation, self.adaptation_weight = adaptation, float(adaptation_weight)

        # Batches of 32 whose principal components are what training starts from.
        self.adapt_batches = 64
        self.augment = Rotate90Flip(seed=seed) if augment else None
        self.draws = keras.random.SeedGenerator(seed + 1)
        self.scaling = FluxScaling(softening)
        self.forward_model = ConvolvePSF(model_sigma)
        number = len(self.bands)
        planes = number * (3 if self.psf_channels else 2)
        self.encoder = make_encoder(size, planes, channels, blocks, hidden, self.latent)
        self.decoder = make_decoder(size, number, channels, blocks, hidden, self.latent)
        self.domains = DomainLoss(adaptation, name="domains")
        self.domains.build((None, self.latent))
        self.mixture = Mixture(mixture, self.latent + len(self.bands), name="mixture")
        self.translation = None
        if adaptation != "none":
            self.translation = make_translation(self.latent, hidden)
        names = ["chi2", "divergence", "active"]
        names += ["frame"] * bool(frame_weight) + ["domain"] * (adaptation != "none")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    # What training leaves as it is: `adapt` and `finish` set these.
    frozen = "encoder_components", "decoder_components", "mixture"

    @property
    def encoder_components(self):
        """The linear map of the encoder."""
        return self.encoder.get_layer("linear")

    @property
    def decoder_components(self):
        """The linear map of the decoder."""
        return self.decoder.get_layer("linear")

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        small = {"size": 16, "latent": 6, "channels": (8, 16), "blocks": 1, "hidden": 16}
        return cls(bands=bands, **{**small, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def encode(self, batch, training=False):
        """Return mean and logarithm of the deviation of the vectors, both (n, latent)."""
        mean, deviation = ops.split(self.encoder(self._input(batch, training), training=training), 2, axis=-1)
        return mean, ops.clip(deviation - 1.0, _LEAST, _MOST)

    def maps(self, batch):
        """Return the maps of each level of the encoder, a list of (n, y, x, channel), from fine to coarse."""
        check_batch(batch, self.bands, "galaxy_vae")
        levels = [layer.output for layer in self.encoder.layers if isinstance(layer, NormalizedStack)]
        return keras.Model(self.encoder.inputs, levels)(self._input(batch))

    def _input(self, batch, training=False):
        """Return what the encoder sees of a batch, (n, size, size, plane)."""
        image, variance = ops.cast(batch["image"], "float32"), batch["variance"]
        valid = ops.cast(weights(variance, batch.get("mask")) > 0, "float32")
        if training and self.band_dropout:
            shape = (ops.shape(image)[0], 1, 1, len(self.bands))
            kept = keras.random.uniform(shape, seed=self.draws) >= self.band_dropout
            valid = valid * ops.cast(kept, "float32")
        if training and self.mask_dropout:
            valid = valid * random_masks(image.shape, self.mask_dropout, self.draws, ops.shape(image)[0])
        planes = self._planes(image, variance, batch.get("mask"), valid)
        if self.psf_channels:
            told = sharpness(batch.get("psf"), len(self.bands))[:, None, None]
            planes.append(ops.broadcast_to(told, ops.shape(planes[0])))
        return ops.concatenate(planes, axis=-1)

    def _planes(self, image, variance, mask, valid):
        """Return the scaled image, 0 where it is not valid, and what is valid, of the pixels that are looked at."""
        scaled = self.scaling(ops.where(valid > 0, image, 0.0), noise_level(variance, mask))
        return [fit_to(plane, self.square) for plane in (scaled, valid)]

    def adapt(self, batches):
        """Start a fresh model as the principal components of some batches; its blocks learn what these leave."""
        parts, blurs = [], []
        for batch in batches:
            batch = {**batch, "image": ops.cast(batch["image"], "float32")}
            batch = batch if self.augment is None else self.augment(batch, training=True)
            valid = ops.cast(weights(batch["variance"], batch.get("mask")) > 0, "float32")
            planes = self._planes(batch["image"], batch["variance"], batch.get("mask"), valid)
            parts.append([ops.convert_to_numpy(plane) for plane in planes])
            if batch.get("psf") is not None:
                blurs.append(ops.convert_to_numpy(batch["psf"]).mean(axis=0))
        scaled, valid = (np.concatenate(planes) for planes in zip(*parts, strict=True))
        if len(scaled) < _FEWEST:
            return
        found = principal_components(scaled.reshape(len(scaled), -1), valid.reshape(len(valid), -1), self.latent)
        shape = (-1, *self.square, len(self.bands))
        see = (found.basis * (found.loading / found.variance)[:, None]).reshape(shape)
        draw = seen = (found.basis * found.loading[:, None]).reshape(shape)
        if blurs:
            # Components of what the telescope saw, in the model frame: van Cittert's iterations with the mean PSF.
            psf = np.broadcast_to(np.mean(blurs, axis=0), (len(seen), *blurs[0].shape)).astype("float32")
            for _ in range(_SHARPENING):
                draw = draw + seen - ops.convert_to_numpy(self.forward_model(draw.astype("float32"), psf))
        set_components(self.encoder, self.decoder, found, see, draw)

    def finish(self, batches):
        """Fit the mixture to vectors and noise levels of validation batches, each galaxy turned in several ways."""
        vectors, random = [], np.random.default_rng(self._arguments["seed"])
        for batch in batches:
            batch = {**batch, "image": ops.cast(batch["image"], "float32")}
            for _ in range(1 if self.augment is None else _TURNS):
                turned = batch if self.augment is None else self.augment(batch, training=True)
                mean, deviation = (ops.convert_to_numpy(each) for each in self.encode(turned))
                noise = ops.convert_to_numpy(noise_level(batch["variance"], batch.get("mask")))[:, 0, 0]
                drawn = mean + np.exp(deviation) * random.normal(size=mean.shape)
                vectors.append(np.concatenate([drawn, np.log(noise)], axis=1))
        if vectors and sum(map(len, vectors)) > self.mixture.length:
            self.mixture.fit(np.concatenate(vectors))

    def draw(self, n, seed=0, temperature=1.0):
        """Draw galaxies from the mixture; return model-frame images (n, size, size, band) in the unit of training."""
        drawn = self.mixture.sample(n, seed, temperature)
        return self.decode(drawn[:, : self.latent], np.exp(drawn[:, None, None, self.latent :]))

    def latents(self, batch):
        """Return the means of the vectors, (n, latent), as `galzoo.contracts.encoder.Encoder` has it."""
        check_batch(batch, self.bands, "galaxy_vae")
        return self.encode(batch)[0]

    def decode(self, latent, noise, shape=None, domain=None):
        """Turn vectors into model-frame images.

        Parameters
        ----------
        latent : tensor, (n, latent)
        noise : tensor, (n, 1, 1, band)
            Noise level a band, in the unit that the image shall have.
        shape : (int, int), optional
            Pixels (y, x) of the images; `size` on both sides by default.
        domain : tensor, (n,), optional
            0 or 1: as which of the two surveys of an adaptation shows the galaxy; 0 by default.

        Returns
        -------
        tensor, (n, y, x, band)
            Not negative; 0 beyond `size`.
        """
        if self.translation is not None and domain is not None:
            latent = latent + ops.reshape(domain, (-1, 1)) * self.translation(latent)
        image = self.scaling.invert(positive(self.decoder(latent)), noise)
        return image if shape is None else fit_to(image, shape)

    def call(self, batch, training=False):
        check_batch(batch, self.bands, "galaxy_vae")
        batch = {**batch, "image": ops.cast(batch["image"], "float32")}
        if training and self.augment is not None:
            batch = self.augment(batch, training=True)
        mean, deviation = self.encode(batch, training)
        vector, kept = mean, ops.ones_like(mean)
        if training:
            vector = mean + ops.exp(deviation) * keras.random.normal(ops.shape(mean), seed=self.draws)
            kept = self._kept(ops.shape(mean)[0])
        noise = noise_level(batch["variance"], batch.get("mask"))
        deconvolved = self.decode(vector * kept, noise, batch["image"].shape[1:3], self._domain(batch))
        outputs = {
            "image": self.forward_model(deconvolved, batch.get("psf")),
            "deconvolved": deconvolved,
            "latent": mean,
            "log_deviation": deviation,
        }
        if training:
            # The loss must compare with what the network saw: the augmented batch.
            outputs |= {"target": batch, "kept": kept}
        return outputs

    def reconstruct(self, batch, dimensions=None):
        """Return what `call` does for a batch, by its first `dimensions` dimensions alone (all by default)."""
        if dimensions is None:
            return self(batch)
        if not 1 <= dimensions <= self.latent:
            raise InputError(f"dimensions is {dimensions}; the vectors have 1 to {self.latent}")
        check_batch(batch, self.bands, "galaxy_vae")
        mean, deviation = self.encode(batch)
        first = np.arange(self.latent) < dimensions
        noise = noise_level(batch["variance"], batch.get("mask"))
        vector = ops.where(first, mean, 0.0)
        deconvolved = self.decode(vector, noise, batch["image"].shape[1:3], self._domain(batch))
        seen = self.forward_model(deconvolved, batch.get("psf"))
        return {"image": seen, "deconvolved": deconvolved, "latent": mean, "log_deviation": deviation}

    def take_over(self, start):
        """Start from a galaxy VAE with the same encoder and decoder, whatever its adaptation."""
        for name in ("encoder", "decoder"):
            mine, theirs = (getattr(model, name, None) for model in (self, start))
            if theirs is None or [w.shape for w in mine.weights] != [w.shape for w in theirs.weights]:
                raise InputError(
                    f"the start model has another {name} than the recipe; use its own: {start.get_config()}"
                )
        for name in ("encoder", "decoder"):
            getattr(self, name).set_weights(getattr(start, name).get_weights())

    def _domain(self, batch):
        """Return which of two surveys each stamp is of (n,), where it is told and matters."""
        if self.adaptation == "none" or batch.get("condition") is None:
            return None
        return ops.cast(batch["condition"], "float32")[:, 0]

    def _kept(self, n):
        """Return 1 for the dimensions (n, latent) that are shown, 0 for the last ones."""
        draw = keras.random.uniform((n, 2), seed=self.draws)
        number = ops.where(draw[:, 0] < self.nested, 1.0 + ops.floor(draw[:, 1] * self.latent), float(self.latent))
        return ops.cast(np.arange(self.latent, dtype="float32") < number[:, None], "float32")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        target = y_pred.get("target", x)
        nats, chi2, pixels = likelihood_terms(self.likelihood, target, y_pred["image"], self.square, self.error_floor)
        mean = y_pred["latent"]
        kept = y_pred.get("kept", ops.ones_like(mean))
        each = divergences(mean, y_pred["log_deviation"], kept)
        divergence = ops.sum(ops.mean(kept, axis=0) * ops.maximum(each, self.free_bits))
        loss = ops.mean(nats) + self.kl_weight * divergence / ops.mean(pixels)
        if self.frame_weight:
            if target.get("truth") is None:
                raise RecipeError("frame_weight wants the noiseless image of each stamp, which these data have not")
            difference = frame_difference(self.scaling, target, y_pred["deconvolved"], self.square)
            self.trackers["frame"].update_state(difference)
            loss = loss + self.frame_weight * ops.mean(difference)
        self.trackers["chi2"].update_state(chi2)
        self.trackers["divergence"].update_state(ops.sum(each))
        self.trackers["active"].update_state(ops.sum(ops.cast(each > self.free_bits, "float32")))
        if self.adaptation != "none":
            survey = self._domain(target)
            if survey is None:
                raise RecipeError("adaptation wants a condition column that says of which survey a stamp is, 0 or 1")
            apart = self.domains(mean, survey)
            # A batch of one survey alone says nothing.
            both = ops.logical_and(ops.any(survey < 0.5), ops.any(survey >= 0.5))
            self.trackers["domain"].update_state(apart, sample_weight=ops.cast(both, "float32"))
            loss = loss + self.adaptation_weight * apart
        return loss
