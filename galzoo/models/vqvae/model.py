"""The VQ-VAE model."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import RecipeError
from galzoo.layers.augment import Rotate90Flip, random_masks, show_noiseless
from galzoo.layers.checks import check_batch
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.likelihood import weights
from galzoo.layers.noise import recorrupt
from galzoo.layers.psf import ConvolvePSF, sharpness
from galzoo.layers.quantizer import FiniteScalarQuantizer, VectorQuantizer
from galzoo.metrics.codebook import CodebookPerplexity
from galzoo.models.vqvae.networks import KINDS, make_decoder, make_encoder

# Signal-to-noise ratios at which noiseless images are shown in training: those at which codes can tell shapes.
_NOISELESS_SNR = 50.0, 300.0


@keras.saving.register_keras_serializable(package="galzoo")
class VQVAE(keras.Model):
    """Galaxies as maps of discrete codes, learnt from noisy, PSF-convolved images.

    The encoder sees the image in units of its noise; the decoder gives a non-negative image in the model frame (a round
    Gaussian PSF of `model_sigma` pixels); the forward model convolves that to the stamp's own PSF, where a Gaussian
    likelihood compares it with the data.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    hidden : int
        Channels of the trunk.
    blocks, block_hidden : int
        Residual blocks of encoder and decoder each, and the channels inside a block.
    downsample : int
        Factor-2 steps; a code stands for ``2**downsample`` pixels squared.
    codebook_size, code_dim : int
        K and D of the codebook.
    quantizer : {"ema", "gradient", "fsq"}
        How the codebook learns; "fsq" takes `levels` instead of `codebook_size` and `code_dim`.
    levels : sequence of int, optional
        Of the finite scalar quantiser.
    normalize : bool
        Hold the encoder's vectors at zero mean and unit variance. Without it they drift into one direction early in
        training, where few codes are.
    commitment, decay, cosine, restart_below, diversity, rate
        As in `VectorQuantizer`.
    upsampling : {"resize", "transposed"}
        As in `Upsample`; for the strided network.
    network : {"strided", "patch"}
        As in `galzoo.models.vqvae.networks`.
    likelihood : {"gaussian", "student"}
        What is minimised: half of chi2 a pixel, or half of log(1 + chi2 a pixel) of each stamp, as under a Student t of
        one degree of freedom, where a stamp of chi2 60 has no more say than one of chi2 2. Where codes, not the noise,
        limit the fit, a few bright stamps rule the first.
    model_sigma : float
        Sigma of the model-frame PSF in pixels.
    softening : float
        Noise levels at which the asinh scaling turns from linear to logarithmic.
    error_floor : float
        Fraction of the model added to the noise in quadrature, in training only: it keeps the few brightest stamps from
        ruling the gradient. Reported chi2 never contains it.
    truth_weight : float
        Weight of the error against the noiseless model-frame image, where the batch has one, under the same likelihood.
    psf_channels : bool
        Tell the encoder how sharp each band is.
    band_dropout : float
        Chance that the encoder is shown a band as absent in training, so that absent bands are no surprise later.
    mask_dropout : float
        Chance that the encoder is shown parts of a stamp as masked in training (discs like masked neighbours,
        half-planes like the edge of an image), so that it does not invent light under the masks of real data.
    noiseless : float
        Share of stamps that are replaced in training by their noiseless truth at a signal-to-noise ratio of 50 to 300,
        where the batch has one, so that codes can describe a galaxy without the noise: a prior is learnt from such.
    recorrupt : dict, optional
        For data without a truth: train on noisier pairs of each image, so that codes do not hold its noise. Has
        ``strength`` and, of the noise, ``smoothing`` and ``shared``, as in `galzoo.layers.noise.recorrupt`.
    augment : bool
        Rotate and flip in training.
    seed : int
        Of augmentation and of what the encoder is not shown.

    Notes
    -----
    Reads ``image``, ``variance`` and, where present, ``mask``, ``psf`` and ``truth``; returns a dict of ``image`` (the
    reconstruction as observed, without noise), ``deconvolved`` (model frame), both (n, y, x, band) in the unit of the
    input, and ``codes`` (n, y, x). Any stamp size; any unit, since all scaling is relative to the noise.

    References
    ----------
    van den Oord, Vinyals & Kavukcuoglu 2017, arXiv:1711.00937.
    """

    def __init__(
        self,
        bands=("band",),
        hidden=64,
        blocks=2,
        block_hidden=32,
        downsample=2,
        codebook_size=512,
        code_dim=8,
        quantizer="ema",
        levels=None,
        normalize=True,
        commitment=0.25,
        decay=0.99,
        cosine=True,
        restart_below=0.15,
        diversity=0.1,
        rate=0.0,
        upsampling="resize",
        network="strided",
        likelihood="gaussian",
        model_sigma=0.7,
        softening=1.0,
        error_floor=0.02,
        truth_weight=0.0,
        psf_channels=True,
        band_dropout=0.0,
        mask_dropout=0.3,
        noiseless=0.0,
        recorrupt=None,
        augment=True,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if quantizer not in ("ema", "gradient", "fsq"):
            raise RecipeError(f"quantizer {quantizer!r} is unknown; use 'ema', 'gradient' or 'fsq'")
        if upsampling not in ("resize", "transposed"):
            raise RecipeError(f"upsampling {upsampling!r} is unknown; use 'resize' or 'transposed'")
        if network not in KINDS:
            raise RecipeError(f"network {network!r} is unknown; use {' or '.join(map(repr, KINDS))}")
        if likelihood not in ("gaussian", "student"):
            raise RecipeError(f"likelihood {likelihood!r} is unknown; use 'gaussian' or 'student'")
        if recorrupt is not None and not (
            set(recorrupt) <= {"strength", "smoothing", "shared"} and recorrupt.get("strength", 0) > 0
        ):
            raise RecipeError(f"recorrupt {recorrupt!r}: give a strength above 0, and smoothing and shared if need be")
        self._arguments = {
            "bands": [str(band) for band in bands],
            "hidden": hidden,
            "blocks": blocks,
            "block_hidden": block_hidden,
            "downsample": downsample,
            "codebook_size": codebook_size,
            "code_dim": code_dim,
            "quantizer": quantizer,
            "levels": None if levels is None else list(levels),
            "normalize": normalize,
            "commitment": commitment,
            "decay": decay,
            "cosine": cosine,
            "restart_below": restart_below,
            "diversity": diversity,
            "rate": rate,
            "upsampling": upsampling,
            "network": network,
            "likelihood": likelihood,
            "model_sigma": model_sigma,
            "softening": softening,
            "error_floor": error_floor,
            "truth_weight": truth_weight,
            "psf_channels": psf_channels,
            "band_dropout": band_dropout,
            "mask_dropout": mask_dropout,
            "noiseless": noiseless,
            "recorrupt": None if recorrupt is None else dict(recorrupt),
            "augment": augment,
            "seed": seed,
        }
        self.bands = tuple(str(band) for band in bands)
        self.model_sigma = float(model_sigma)
        self.likelihood = likelihood
        self.error_floor = float(error_floor)
        self.truth_weight = float(truth_weight)
        self.psf_channels = bool(psf_channels)
        self.band_dropout = float(band_dropout)
        self.mask_dropout = float(mask_dropout)
        self.noiseless = float(noiseless)
        self.recorrupt = self._arguments["recorrupt"]
        self.cell = 2**downsample

        self.augment = Rotate90Flip(seed=seed) if augment else None
        self.dropout_seed = keras.random.SeedGenerator(seed + 1)
        self.scaling = FluxScaling(softening)
        self.forward_model = ConvolvePSF(model_sigma)
        if quantizer == "fsq":
            self.quantizer = FiniteScalarQuantizer(levels or (8, 8, 8))
            code_dim = len(self.quantizer.levels)
        else:
            self.quantizer = VectorQuantizer(
                codebook_size,
                quantizer,
                commitment,
                decay,
                cosine=cosine,
                restart_below=restart_below,
                diversity=diversity,
                rate=rate,
            )
        self.codebook_size = self.quantizer.codebook_size

        sizes = hidden, blocks, block_hidden, downsample
        self.encoder = make_encoder(network, *sizes, code_dim, normalize)
        self.decoder = make_decoder(network, len(self.bands), *sizes, upsampling)

        self.chi2_tracker = keras.metrics.Mean(name="chi2")
        self.quantizer_tracker = keras.metrics.Mean(name="quantizer_loss")
        self.perplexity = CodebookPerplexity(self.codebook_size, name="perplexity")
        # Built from the hyper-parameters alone: no layer depends on the size of the stamps.
        self.encoder.build((None, None, None, len(self.bands) * (3 if self.psf_channels else 2)))
        self.decoder.build((None, None, None, code_dim))
        self.quantizer.build((None, None, None, code_dim))
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        small = {"hidden": 16, "blocks": 1, "block_hidden": 8, "codebook_size": 32, "code_dim": 4}
        return cls(bands=bands, **{**small, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def encode(self, batch, training=False):
        """Return the encoder's vectors, (n, y, x, D), before quantisation."""
        image, variance = batch["image"], batch["variance"]
        valid = ops.cast(weights(variance, batch.get("mask")) > 0, "float32")
        if training and self.band_dropout:
            shape = (ops.shape(image)[0], 1, 1, len(self.bands))
            kept = keras.random.uniform(shape, seed=self.dropout_seed) >= self.band_dropout
            valid = valid * ops.cast(kept, "float32")
        if training and self.mask_dropout:
            valid = valid * random_masks(image.shape, self.mask_dropout, self.dropout_seed, ops.shape(image)[0])
        noise = noise_level(variance, batch.get("mask"))
        scaled = self.scaling(ops.where(valid > 0, image, 0.0), noise)
        channels = [scaled, valid]
        if self.psf_channels:
            told = sharpness(batch.get("psf"), len(self.bands))[:, None, None]
            channels.append(ops.broadcast_to(told, ops.shape(image)))
        return self.encoder(ops.concatenate(channels, axis=-1), training=training)

    def decode(self, codes, noise, size=None):
        """Turn codes into model-frame images.

        Parameters
        ----------
        codes : int array, (n, y, x)
            One code a cell.
        noise : array, (n, 1, 1, band)
            Noise level a band, in the unit that the image shall have.
        size : (int, int), optional
            Stamp size in pixels; all cells in full by default.

        Returns
        -------
        array, (n, y, x, band)
            Non-negative image in the model frame.
        """
        return self._decode(self.quantizer.lookup(codes), noise, size)

    def _decode(self, vectors, noise, size=None):
        scaled = ops.softplus(self.decoder(vectors))
        if size is not None:
            scaled = scaled[:, : size[0], : size[1]]
        return self.scaling.invert(scaled, noise)

    def call(self, batch, training=False):
        check_batch(batch, self.bands, "vqvae")
        batch = {**batch, "image": ops.cast(batch["image"], "float32")}
        if training and self.augment is not None:
            batch = self.augment(batch, training=True)
        if training and self.noiseless and batch.get("truth") is not None:
            batch = show_noiseless(batch, self.noiseless, _NOISELESS_SNR, self.model_sigma, self.dropout_seed)
        judged = batch
        if training and self.recorrupt:
            batch, judged = recorrupt(batch, seed=self.dropout_seed, **self.recorrupt)
        size = tuple(batch["image"].shape[1:3])
        quantised = self.quantizer(self.encode(batch, training), training=training)
        noise = noise_level(batch["variance"], batch.get("mask"))
        deconvolved = self._decode(quantised["quantised"], noise, size)
        outputs = {
            "image": self.forward_model(deconvolved, batch.get("psf")),
            "deconvolved": deconvolved,
            "codes": quantised["codes"],
        }
        if training:
            # The loss must compare with what the network saw: the augmented batch.
            outputs |= {"target": judged}
        self.add_loss(quantised["loss"])
        return outputs

    def reconstruct(self, batch):
        """Return what `call` does for a batch, as `galzoo.contracts.codec.Reconstructor` has it."""
        return self(batch)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        target = y_pred.get("target", x)
        image = ops.cast(target["image"], "float32")
        weight = weights(target["variance"], target.get("mask"))
        residual = ops.where(weight > 0, image - y_pred["image"], 0.0)
        pixels = ops.maximum(ops.sum(ops.cast(weight > 0, "float32"), axis=(1, 2, 3)), 1.0)
        chi2 = ops.sum(weight * ops.square(residual), axis=(1, 2, 3)) / pixels

        # weight / (1 + weight (f m)^2) is the inverse of variance + (f m)^2, and stays 0 where the weight is.
        floor = ops.square(self.error_floor * ops.stop_gradient(y_pred["image"]))
        softened = weight / (1.0 + weight * floor)
        reconstruction = self._misfit(ops.sum(softened * ops.square(residual), axis=(1, 2, 3)) / pixels)
        quantizer_loss = ops.sum(ops.stack(self.losses))
        loss = ops.mean(reconstruction) + quantizer_loss
        if self.truth_weight and target.get("truth") is not None:
            truth = target["truth"]
            # The model frame has no noise of its own; its errors are weighed like those of the observed image.
            noise = noise_level(target["variance"], target.get("mask"))
            scale = ops.square(noise) + ops.square(self.error_floor * truth)
            error = ops.mean(ops.square(truth - y_pred["deconvolved"]) / scale, axis=(1, 2, 3))
            loss = loss + self.truth_weight * ops.mean(self._misfit(error))

        self.chi2_tracker.update_state(chi2)
        self.quantizer_tracker.update_state(quantizer_loss)
        self.perplexity.update_state(y_pred["codes"])
        return loss

    def _misfit(self, chi2):
        """Return what a stamp of a chi2 a pixel, (n,), adds to the loss."""
        return 0.5 * (ops.log1p(chi2) if self.likelihood == "student" else chi2)

    def adapt(self, batches):
        """Start the codebook of a fresh model at the k-means centres of what its encoder gives.

        Parameters
        ----------
        batches : list of dict
            Some training batches; together at least one code cell a code.
        """
        vectors = [ops.convert_to_numpy(self.encode(batch, training=True)) for batch in batches]
        vectors = np.concatenate([part.reshape(-1, part.shape[-1]) for part in vectors])
        seed = self._arguments["seed"]
        order = np.random.default_rng(seed).permutation(len(vectors))
        self.quantizer.adapt(vectors[order[: 64 * self.codebook_size]], seed=seed)
