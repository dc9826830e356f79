"""The PixelCNN model."""

import keras
import numpy as np
from keras import layers, ops

from galzoo.errors import InputError, RecipeError
from galzoo.layers.augment import Rotate90Flip, by_column, noiseless_batch
from galzoo.layers.checks import check_batch
from galzoo.layers.conditions import Conditions
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.gated import CausalAttention, GatedBlock
from galzoo.layers.likelihood import weights
from galzoo.layers.prior_model import PriorModel
from galzoo.models.pixelcnn import sample as sampling
from galzoo.models.pixelcnn.codec import checked_codec
from galzoo.models.pixelcnn.conditions import PLACE_FEATURES, check_flux, place_features
from galzoo.models.pixelcnn.heads import CodeHead, MixtureHead, check_head
from galzoo.models.vqvae.model import VQVAE

# 8-bit pictures from 0 to 255 lie on the scale of -1 to 1.
_PICTURE_HALF = 127.5


@keras.saving.register_keras_serializable(package="galzoo")
class PixelCNN(PriorModel):
    """A prior over galaxies: over the code maps of a VQ-VAE, or over the pixels themselves.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    head : {"codes", "gaussian", "logistic"}
        What a position holds: a code of `codec`, a pixel under a mixture of Gaussians (a density, differentiable), or a
        pixel of an 8-bit picture under a discretised mixture of logistic distributions.
    codec : VQVAE or dict, optional
        The VQ-VAE of the codes; it becomes a part of this model, and recipes name it in their section ``parts``. In a
        saved model its configuration.
    channels, depth : int
        Channels of each stack, and number of gated layers.
    kernel : int
        Columns that the first layer sees to each side, and rows above.
    attention : int
        Causal attention after every so many gated layers, so that what is far apart fits together; 0 for none.
    mixtures : int
        Components of the mixture of a pixel.
    columns : sequence of str
        Names of the condition columns; the recipe's ``data.condition``.
    classes : dict of str to list, optional
        Those of them that are classes, with their values.
    condition_dropout : float
        Chance in training that a column is unknown, and that all are: the model is then also a prior for what is not
        known, and guidance is possible.
    noiseless_snr : float, optional
        Learn the noiseless truth of simulated galaxies, each coded at this signal-to-noise ratio, instead of noisy
        images.
    noiseless : bool
        Learn the noiseless truth of simulated galaxies in its own flux, in units of the typical noise of the training
        data. For Gaussian pixels: a prior that fits of images can use.
    jitter : float
        Noise added to noiseless scaled pixels, whose density it then is; one without has no bound.
    flux_column, flux_band : str, optional
        A condition that is the AB magnitude in a band of data in nJy. The flux of each sample is then set to it.
    pixel_scale, unit, survey, stamp_size
        Of the training data; (y, x) pixels. Filled in by training.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of noiseless pixels; a codec brings its own.
    augment : bool
        Rotate and flip in training; not for conditions that turn with the galaxy.
    handed : dict of str to [float, float], optional
        Columns with two values that change places where a galaxy is mirrored, such as clockwise and anticlockwise.
    guidance : float
        Of samples of codes where the caller says none: see `galzoo.models.pixelcnn.sample.sample`.
    references, seed : int
        As in `Conditions`; of what training draws.

    Notes
    -----
    Reads ``image, variance`` and, where present, ``mask, psf, truth, condition``; returns a dict of ``log_prob`` (n,)
    in nats, ``positions`` (n,), the number of codes or good pixels that it is of, and, for codes, ``codes`` (n, y, x).
    It is a `galzoo.contracts.prior.Prior`: `log_prob` is exact, and for Gaussian pixels `score` is its exact gradient.

    References
    ----------
    van den Oord et al. 2016, arXiv:1606.05328 (gated stacks); Salimans et al. 2017, arXiv:1701.05517 (mixtures);
    Ho & Salimans 2022, arXiv:2207.12598 (guidance).
    """

    exact_log_prob = True
    # Parts that training never changes, whatever the stage.
    frozen = ("codec",)

    def __init__(
        self,
        bands=("band",),
        head="codes",
        codec=None,
        channels=64,
        depth=12,
        kernel=3,
        attention=0,
        mixtures=5,
        columns=(),
        classes=None,
        condition_dropout=0.1,
        noiseless_snr=None,
        noiseless=False,
        jitter=0.1,
        flux_column=None,
        flux_band=None,
        pixel_scale=1.0,
        unit="",
        survey="",
        stamp_size=None,
        model_sigma=0.7,
        augment=True,
        handed=None,
        guidance=1.0,
        references=1024,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.keep(
            codec=None, bands=bands, head=head, channels=channels, depth=depth, kernel=kernel,
            attention=attention, mixtures=mixtures, columns=columns, classes=classes,
            condition_dropout=condition_dropout, noiseless_snr=noiseless_snr, noiseless=noiseless, jitter=jitter,
            flux_column=flux_column, flux_band=flux_band, pixel_scale=pixel_scale, unit=unit, survey=survey,
            stamp_size=stamp_size, model_sigma=model_sigma, augment=augment, handed=handed,
            guidance=guidance, references=references, seed=seed,
        )  # fmt: skip
        check_head(head, codec, guidance)
        if noiseless and (head != "gaussian" or noiseless_snr):
            raise RecipeError("noiseless is for the head 'gaussian' without noiseless_snr, which is noiseless too")
        check_flux(flux_column, flux_band, self.columns, self.bands)
        self.codec = None if codec is None else checked_codec(codec, self.bands)
        self._arguments["codec"] = None if codec is None else self.codec.get_config()
        self.kind, self.guidance, self.channels = head, float(guidance), int(channels)
        self.noiseless_snr = None if noiseless_snr is None else float(noiseless_snr)
        self.noiseless, self.jitter = bool(noiseless), float(jitter)
        self.flux_column, self.flux_band = flux_column, flux_band
        # The frame that noiseless images are in; 0 where images are as observed.
        self.model_sigma = self.codec.model_sigma if self.codec else float(model_sigma) if self.shows_truth else 0.0

        self.augment = Rotate90Flip(seed, by_column(handed, self.columns)) if augment else None
        self.random = keras.random.SeedGenerator(seed + 1)
        self.scaling = FluxScaling()
        # Where the flux is set, or the values have a scale of their own, samples need no noise level of their own.
        of_its_own = flux_column is not None or head == "logistic" or self.noiseless
        looks = 0 if of_its_own else sampling.ZONES * len(self.bands)
        self.conditions = Conditions(self.columns, classes, len(self.bands), references, looks)
        self.head = CodeHead(self.codec.codebook_size) if head == "codes" else MixtureHead(len(bands), mixtures, head)
        self.blocks = [
            GatedBlock(channels, index == 0, index == depth - 1, *((kernel, kernel) if index == 0 else (1, 1)))
            for index in range(depth)
        ]
        # Gated layers that attention follows.
        self.attended = [index for index in range(depth) if attention and (index + 1) % attention == 0]
        self.attention = [CausalAttention(channels) for _ in self.attended]
        self.entry = layers.Dense(channels)
        self.table = layers.Embedding(self.head.parameters, channels) if head == "codes" else None
        self.merge = layers.Dense(channels, activation="silu") if self.columns else None
        self.condition_maps = [layers.Dense(2 * channels, use_bias=False) for _ in self.blocks if self.columns]
        self.place_maps = [layers.Dense(2 * channels, use_bias=False) for _ in self.blocks]
        self.reader = [
            layers.Dense(2 * channels, activation="silu"),
            layers.Dense(self.head.parameters, dtype="float32"),
        ]
        if self.noiseless:
            self.typical = self.add_weight((len(self.bands),), initializer="ones", trainable=False, name="typical")
        self.nats = keras.metrics.Mean(name="nats")
        self._build()

    def _build(self):
        """Build from the hyper-parameters alone: no layer depends on the size of the maps."""
        width = self.channels
        self.entry.build((None, self.codec.quantizer.codebook.shape[-1] if self.codec else self.head.depth))
        if self.table is not None:
            self.table.build((None,))
        if self.merge is not None:
            self.merge.build((None, self.conditions.features))
        for layer in self.blocks:
            layer.build((None, None, None, width))
        for layer in self.attention:
            layer.build((None, None, None, width))
        for layer in self.condition_maps:
            layer.build((None, width))
        for layer in self.place_maps:
            layer.build((None, PLACE_FEATURES))
        self.reader[0].build((None, width))
        self.reader[1].build((None, 2 * width))
        if self.codec is not None:
            self.codec.trainable = False
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, with an untrained codec, for tests."""
        small = {"channels": 16, "depth": 3, "references": 16}
        if changes.get("head", "codes") == "codes":
            small["codec"] = VQVAE.tiny(bands).get_config()
        return cls(bands=bands, **{**small, **changes})

    @property
    def space(self):
        """ "codes" or "pixels"."""
        return "codes" if self.kind == "codes" else "pixels"

    @property
    def shows_truth(self):
        """Whether galaxies are noiseless, in the model frame."""
        return self.noiseless or self.noiseless_snr is not None

    @property
    def exact_score(self):
        """True where there is a score: pixels have one, codes and the levels of a picture do not."""
        return self.kind == "gaussian"

    def condition_contexts(self, condition):
        """Return what each layer adds for the condition (n, column), a list of (n, 2p)."""
        if self.merge is None:
            zero = ops.zeros((ops.shape(condition)[0], 2 * self.channels), self.entry.compute_dtype)
            return [zero for _ in self.blocks]
        merged = self.merge(self.conditions(condition))
        return [layer(merged) for layer in self.condition_maps]

    def place_contexts(self, height, width):
        """Return what each layer adds for the place on the map, a list of (1, y, x, 2p): galaxies are centred."""
        features = ops.convert_to_tensor(place_features(height, width))
        return [layer(features) for layer in self.place_maps]

    def embed(self, values):
        """Turn values (..., v) into features (..., p)."""
        if self.codec is None:
            return self.entry(values)
        codes = values[..., 0]
        return self.entry(self.codec.quantizer.lookup(codes)) + self.table(codes)

    def read(self, feature):
        """Turn the horizontal stack (..., p) into the parameters of the head."""
        for layer in self.reader:
            feature = layer(feature)
        return feature

    def network(self, values, condition):
        """Return the parameters of the head (n, y, x, parameters) at each position, from the positions before it.

        Parameters
        ----------
        values : tensor, (n, y, x, v)
            Codes (v = 1) or scaled pixels (v = bands).
        condition : tensor, (n, column)
        """
        vertical = horizontal = self.embed(values)
        places = self.place_contexts(*values.shape[1:3])
        contexts = zip(self.condition_contexts(condition), places, strict=True)
        for index, (block, (given, place)) in enumerate(zip(self.blocks, contexts, strict=True)):
            vertical, horizontal = block(vertical, horizontal, given[:, None, None] + place)
            if index in self.attended:
                horizontal = horizontal + self.attention[self.attended.index(index)](horizontal)
        return self.read(horizontal)

    def call(self, batch, training=False):
        values, condition, weight, _ = self.prepare(batch, training)
        if training and self.columns and self.condition_dropout:
            condition = self.conditions.hide(condition, self.condition_dropout, self.random)
        each = weight * self.head.log_prob(self.network(values, condition), values)
        outputs = {"log_prob": ops.sum(each, axis=(1, 2)), "positions": ops.sum(weight, axis=(1, 2))}
        return outputs if self.codec is None else {**outputs, "codes": values[..., 0]}

    def prepare(self, batch, training=False):
        """Turn a batch into what the network is about.

        Returns
        -------
        values : tensor, (n, y, x, v)
            Codes or scaled pixels.
        condition : tensor, (n, column)
        weight : tensor, (n, y, x)
            0 where a pixel is bad.
        noise : tensor, (n, 1, 1, band)
            Noise level that codes and scaled pixels are relative to.
        """
        batch = self._checked(batch)
        if training and self.augment is not None:
            batch = self.augment(batch, training=True)
        if self.noiseless_snr is not None:
            batch = {**batch, "mask": None, **noiseless_batch(batch["truth"], self.noiseless_snr, self.model_sigma)}
        if self.noiseless:
            truth = ops.cast(batch["truth"], "float32")
            batch = {**batch, "mask": None, "image": truth, "variance": ops.zeros_like(truth) + self.typical**2}
        noise = noise_level(batch["variance"], batch.get("mask"))
        condition = batch.get("condition")
        if condition is None:
            condition = ops.full((ops.shape(batch["image"])[0], max(len(self.columns), 1)), np.float32(np.nan))
        if self.codec is not None:
            codes = self.codec.quantizer(self.codec.encode(batch))["codes"]
            return codes[..., None], condition, ops.ones(ops.shape(codes), "float32"), noise
        good = ops.all(weights(batch["variance"], batch.get("mask")) > 0, axis=-1, keepdims=True)
        values = self.scale(ops.where(good, batch["image"], 0.0), noise)
        if self.noiseless or training and self.noiseless_snr is not None:
            # Validation draws the same noise at all times.
            seed = self.random if training else 1
            values = values + self.jitter * keras.random.normal(ops.shape(values), seed=seed)
        return values, condition, ops.cast(good[..., 0], "float32"), noise

    def scale(self, image, noise):
        """Turn pixels into the scaled values that a mixture is over."""
        return image / _PICTURE_HALF - 1.0 if self.kind == "logistic" else self.scaling(image, noise)

    def unscale(self, values, noise):
        """Turn scaled values into pixels."""
        return (values + 1.0) * _PICTURE_HALF if self.kind == "logistic" else self.scaling.invert(values, noise)

    def _checked(self, batch):
        check_batch(batch, self.bands, "pixelcnn")
        if self.shows_truth and batch.get("truth") is None:
            name = "noiseless" if self.noiseless else "noiseless_snr"
            raise InputError(
                f"the stamps have no noiseless truth, which model.{name} asks for; leave it out to learn from the "
                "images as observed"
            )
        given = batch.get("condition")
        if self.columns and given is not None and given.shape[-1] != len(self.columns):
            raise InputError(f"condition has {given.shape[-1]} columns; this model's are {', '.join(self.columns)}")
        return {**batch, "image": ops.cast(batch["image"], "float32")}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        nats = -y_pred["log_prob"] / ops.maximum(y_pred["positions"], 1.0)
        self.nats.update_state(nats)
        return ops.mean(nats)

    def adapt(self, batches):
        """Learn the range of the conditions, and remember galaxies with their noise levels, from training batches."""
        conditions, noises, looks = [], [], []
        if self.noiseless:
            levels = [
                ops.convert_to_numpy(noise_level(each["variance"], each.get("mask")))[:, 0, 0] for each in batches
            ]
            self.typical.assign(np.median(np.concatenate(levels), axis=0))
        for batch in batches:
            values, condition, _, noise = self.prepare(batch)
            if self.conditions.looks:
                looks.append(sampling.looks_of(self, ops.convert_to_numpy(values)))
            conditions.append(ops.convert_to_numpy(condition))
            noises.append(ops.convert_to_numpy(noise)[:, 0, 0])
        seen = np.concatenate(looks) if looks else None
        self.conditions.adapt(np.concatenate(conditions), np.concatenate(noises), seen)

    def log_prob(self, x, condition=None, noise=None):
        """Return the log-probability (codes, levels) or log-density (pixels) of each object.

        Parameters
        ----------
        x : int array, (n, y, x), or array, (n, y, x, band)
            Code maps, or images in the unit of the training data.
        condition : dict of str to float or array, (n,), optional
            What is known; all else is marginalised over, as far as training taught that.
        noise : float or array, (n or 1, 1, 1, band), optional
            For images: the noise level that they are scaled by; the median of the training set by default.

        Returns
        -------
        array, (n,)
            Nats. The density is one over pixels in their own unit.

        Raises
        ------
        InputError
            If a code is not in the codebook, or shape or condition do not fit.
        """
        return sampling.log_prob(self, x, condition, noise)

    def score(self, x, condition=None, noise=None):
        """Return the gradient of `log_prob` by the pixels, shape of `x`; an `InputError` for codes and levels."""
        return sampling.score(self, x, condition, noise)

    def image_density(self, image, condition):
        """Return `log_prob` of images of typical noise as a tensor; see `galzoo.contracts.prior.PixelDensity`."""
        return sampling.image_density(self, image, condition)

    def log_stretch(self, image):
        """Return the logarithm of d scaled values / d pixels, (n,): of the density of pixels over that of values."""
        return sampling.log_stretch(self, image)

    def sample(self, n, condition=None, seed=0, **options):
        """Draw galaxies; see `galzoo.models.pixelcnn.sample.sample` for the options.

        Parameters
        ----------
        n : int
        condition : dict of str to float or array, (n,), optional
            What the galaxies are drawn for. Columns not given are those of training galaxies near to what is.
        seed : int

        Returns
        -------
        Samples
        """
        return sampling.sample(self, n, condition, seed, **options)
