"""The score prior model."""

import inspect

import keras
import numpy as np
from keras import layers, ops

from galzoo.derivatives import value_and_gradients
from galzoo.errors import InputError, RecipeError
from galzoo.layers.augment import Rotate90Flip, by_column
from galzoo.layers.checks import check_batch
from galzoo.layers.conditions import Conditions
from galzoo.layers.flux import noise_level
from galzoo.layers.likelihood import weights
from galzoo.layers.prior_model import PriorModel
from galzoo.models.score_prior import sampling
from galzoo.models.score_prior.guess import guessed_values, maps_of
from galzoo.models.score_prior.network import LEVEL_FEATURES, Trunk, level_features, zero_head


@keras.saving.register_keras_serializable(package="galzoo")
class ScorePrior(PriorModel):
    """A normalised density over images of galaxies at any level of added noise, and its gradient.

    Pixels are scaled as ``z = asinh(x / softening)``, the softening in units of the typical noise of the training data;
    noise of standard deviation sigma is added to z. The network's energy gives ``log p(z; sigma)``, which at large
    sigma is a Gaussian by construction. The prior itself is the density at `sigma_min`.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    channels : sequence of int
        Of each level of the U-net; the first has half of the pixels along a side, each further one half of that.
    depth : int
        Residual blocks at the last level.
    features : int
        Length of the vector that tells the network noise level and condition.
    softening : float
        In units of the noise level.
    sigma_min, sigma_max : float
        Least and greatest noise on the scaled pixels.
    level_weight : float
        Weight of the loss on the derivative by the noise level, which normalises the density.
    columns, classes, condition_dropout, pixel_scale, unit, survey, stamp_size, model_sigma, augment, references, seed
        As in `galzoo.layers.prior_model.PriorModel` and `galzoo.models.pixelcnn.model.PixelCNN`.
    handed : dict of str to [float, float], optional
        Conditions with two values that change places where a stamp is mirrored.
    noiseless : bool
        Learn the noiseless truth of simulated galaxies, in the model frame, instead of noisy images.
    energy : bool
        Without, the network is a score alone, which is learnt sooner: `score` is an estimate and no gradient, and
        `log_prob` is integrated along the probability flow, which is slow.
    guess : bool
        Without an energy: noiseless values are means of the noisy image, of blurred ones and of one that the network
        draws, and the network says the shares; see `galzoo.models.score_prior.guess`. Of smooth images in several bands
        it learns in a tenth of the steps, as it need not hand on the noise of each pixel.
    attention : bool
        The two ends of a galaxy see each other: of use for stamps above 32 px.

    Notes
    -----
    Reads ``image, variance`` and, where present, ``mask, truth, condition``; returns a dict of ``log_prob`` (n,), the
    density of the scaled pixels in nats, where there is an energy, and ``positions`` (n,), the number of pixels. With
    ``s^2 = sigma^2 + spread^2``, y = z / s, N pixels and a network with maps F and q::

        log p = -|z|^2 / 2 s^2 - N / 2 log(2 pi s^2) + sum(spread / (2 sigma) y F + g q),   g = log(s / sigma)

    The inner product makes a step cheap, as the gradient is nearly F, which a score network of the preconditioning of
    Karras et al. would give; q is 1 where a pixel has no freedom of its own, as sky has. Both terms fade where sigma is
    large. While the layer ``potential`` is frozen, F alone is trained, as a free score network, which is three times
    faster; a later stage trains the energy.

    It is a `galzoo.contracts.prior.Prior` over pixels: with an energy, `score` is the exact gradient of `log_prob`.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364; Guth et al. 2025, arXiv:2506.05310 (dual score matching, inner product);
    Sampson et al. 2024, arXiv:2401.07313 (the use in scarlet2).
    """

    space = "pixels"

    def __init__(
        self,
        bands=("band",),
        channels=(48, 96, 128),
        depth=2,
        features=128,
        softening=1.0,
        sigma_min=0.05,
        sigma_max=50.0,
        level_weight=0.05,
        columns=(),
        classes=None,
        condition_dropout=0.1,
        noiseless=True,
        energy=True,
        guess=False,
        attention=False,
        pixel_scale=1.0,
        unit="",
        survey="",
        stamp_size=None,
        model_sigma=0.7,
        augment=True,
        handed=None,
        references=1024,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if not 0 < sigma_min < sigma_max:
            raise RecipeError(f"sigma_min is {sigma_min}, sigma_max {sigma_max}; they must rise from above 0")
        if guess and energy:
            raise RecipeError(
                "model.guess is true, which a prior with an energy cannot have; set model.energy to false"
            )
        self.keep(
            bands=bands, channels=channels, depth=depth, features=features, softening=softening,
            sigma_min=sigma_min, sigma_max=sigma_max, level_weight=level_weight, columns=columns,
            classes=classes, condition_dropout=condition_dropout, noiseless=noiseless, energy=energy,
            guess=guess, attention=attention, pixel_scale=pixel_scale, unit=unit, survey=survey, stamp_size=stamp_size,
            model_sigma=model_sigma, augment=augment, handed=handed, references=references, seed=seed,
        )  # fmt: skip
        self.softening, self.level_weight = float(softening), float(level_weight)
        self.sigma_min, self.sigma_max = float(sigma_min), float(sigma_max)
        self.noiseless, self.energy, self.guess = bool(noiseless), bool(energy), bool(guess)
        self.model_sigma = float(model_sigma) if noiseless else 0.0

        number = len(self.bands)
        self.augment = Rotate90Flip(seed, by_column(handed, self.columns)) if augment else None
        self.random = keras.random.SeedGenerator(seed + 1)
        self.conditions = Conditions(self.columns, classes, number, references)
        self.told = [layers.Dense(features, activation="silu", name=f"told_{index}") for index in range(2)]
        self.told[0].build((None, LEVEL_FEATURES + self.conditions.features))
        self.told[1].build((None, features))
        inputs = 2 * number if self.guess else number
        self.trunk = Trunk(inputs, channels, depth, features, attention, raw=self.guess)
        self.trunk.build((None, None, None, inputs))
        if self.guess:
            self.guessed = zero_head(maps_of(number), 2 * channels[0], name="guessed")
        else:
            self.field = zero_head(number, channels[0], name="field")
            self.potential = zero_head(number, channels[0], "ones", name="potential")
        # What training data set: softening in their unit, spread of scaled pixels, correction of log p a pixel.
        self.soft = self.add_weight(shape=(number,), initializer="ones", trainable=False, name="soft")
        self.spread = self.add_weight(shape=(), initializer="ones", trainable=False, name="spread")
        self.offset = self.add_weight(shape=(), initializer="zeros", trainable=False, name="offset")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("space", "level")}
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests; it learns images as observed."""
        small = {"channels": (8, 16), "depth": 1, "features": 16, "references": 16, "noiseless": False}
        return cls(bands=bands, **{**small, **changes})

    @property
    def free(self):
        """Whether the field alone is being trained, as a score network without an energy."""
        return not (self.energy and self.potential.trainable)

    @property
    def exact_log_prob(self):
        """Whether `log_prob` is a number of the network, fit for an energy in MCMC."""
        return self.energy

    @property
    def exact_score(self):
        """Whether `score` is the gradient of `log_prob`."""
        return self.energy

    @property
    def frozen(self):
        """Parts that training never changes, whatever the stage."""
        return () if self.energy or self.guess else ("potential",)

    def scale(self, image):
        """Turn pixels (n, y, x, band) into the scaled values that noise is added to."""
        return ops.arcsinh(image / self.soft)

    def unscale(self, values):
        """Turn scaled values into pixels."""
        return ops.sinh(ops.clip(values, -12.0, 12.0)) * self.soft

    def maps(self, values, log_sigma, condition, heads):
        """Return the maps (n, y, x, channel) that `heads` draw of scaled values at noise level ``exp(log_sigma)``."""
        s = ops.sqrt(ops.exp(2 * log_sigma) + ops.square(self.spread))[:, None, None, None]
        told = level_features(log_sigma)
        if self.columns:
            told = ops.concatenate([told, self.conditions(condition)], axis=-1)
        for layer in self.told:
            told = layer(told)
        inputs = values / s
        if self.guess:
            # In units of the noise, so that what is sky is seen alike at all levels.
            noise = ops.exp(log_sigma)[:, None, None, None]
            inputs = ops.concatenate([inputs, ops.arcsinh(values / noise)], axis=-1)
        features = self.trunk(inputs, told)
        size = values.shape[1:3]
        return [self.trunk.cut(ops.cast(head(features), "float32"), *size) for head in heads]

    def log_density(self, values, log_sigma, condition):
        """Return ``log p`` of scaled, noisy values, (n,), in nats.

        Parameters
        ----------
        values : tensor, (n, y, x, band)
        log_sigma : tensor, (n,)
        condition : tensor, (n, column)
            NaN for what is not known.
        """
        variance = ops.exp(2 * log_sigma) + ops.square(self.spread)
        number = float(np.prod(values.shape[1:]))
        base = -0.5 * ops.sum(ops.square(values), axis=(1, 2, 3)) / variance - 0.5 * number * ops.log(
            2 * np.pi * variance
        )
        if self.guess:
            return base + self.offset * number
        field, potential = self.maps(values, log_sigma, condition, [self.field, self.potential])
        ratio = self.spread * ops.exp(-log_sigma)
        inner = 0.5 * ratio / ops.sqrt(variance) * ops.sum(values * field, axis=(1, 2, 3))
        gate = 0.5 * ops.log1p(ops.square(ratio))
        return base + inner + gate * ops.sum(potential, axis=(1, 2, 3)) + self.offset * number

    def denoise(self, values, log_sigma, condition):
        """Return the mean of the noiseless values, and the derivative of log p by `log_sigma` (0 without an energy)."""
        sigma2 = ops.exp(2 * log_sigma)[:, None, None, None]
        if self.guess:
            (maps,) = self.maps(values, log_sigma, condition, [self.guessed])
            return guessed_values(maps, values, log_sigma, self.spread), ops.zeros_like(log_sigma)
        if self.free:
            (field,) = self.maps(values, log_sigma, condition, [self.field])
            s2 = sigma2 + ops.square(self.spread)
            clean = ops.square(self.spread) / s2 * values + ops.sqrt(sigma2 / s2) * self.spread * field
            return clean, ops.zeros_like(log_sigma)
        _, (score, level) = value_and_gradients(
            lambda noisy, at: self.log_density(noisy, at, condition), values, log_sigma
        )
        return values + sigma2 * score, level

    def call(self, batch, training=False):
        values, condition, weight, _ = self.prepare(batch, training)
        if training:
            return {"values": values, "condition": condition, "weight": weight}
        level = ops.full((ops.shape(values)[0],), np.float32(np.log(self.sigma_min)))
        found = {"log_prob": self.log_density(values, level, condition)} if self.energy else {}
        return {**found, "positions": ops.sum(ops.ones_like(weight), axis=(1, 2))}

    def prepare(self, batch, training=False):
        """Turn a batch into scaled values (n, y, x, band), condition, weights (n, y, x) and softening (n, 1, 1, band).

        Bad pixels of images as observed are 0. Weights are 1, and 0 where a band is bad.
        """
        check_batch(batch, self.bands, "score_prior")
        if self.noiseless and batch.get("truth") is None:
            raise InputError(
                "the stamps have no noiseless truth, which model.noiseless asks for; set it to false to learn from the "
                "images as observed"
            )
        given = batch.get("condition")
        if self.columns and given is not None and given.shape[-1] != len(self.columns):
            raise InputError(f"condition has {given.shape[-1]} columns; this model's are {', '.join(self.columns)}")
        if training and self.augment is not None:
            batch = self.augment(batch, training=True)
        if self.noiseless:
            image = ops.cast(batch["truth"], "float32")
            weight = ops.ones_like(image[..., 0])
        else:
            good = weights(batch["variance"], batch.get("mask")) > 0
            image = ops.where(good, ops.cast(batch["image"], "float32"), 0.0)
            weight = ops.cast(ops.all(good, axis=-1), "float32")
        number = ops.shape(image)[0]
        condition = batch.get("condition")
        if condition is None:
            condition = ops.full((number, max(len(self.columns), 1)), np.float32(np.nan))
        if training and self.columns and self.condition_dropout:
            condition = self.conditions.hide(condition, self.condition_dropout, self.random)
        soft = ops.broadcast_to(self.soft, (number, 1, 1, len(self.bands)))
        return self.scale(image), condition, weight, soft

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if training:
            clean, condition, good = (y_pred[key] for key in ("values", "condition", "weight"))
        else:
            clean, condition, good, _ = self.prepare(x)
        number, pixels = ops.shape(clean)[0], float(np.prod(clean.shape[1:]))
        # Validation draws the same noise at all times.
        place, noise = (self.random, self.random) if training else (1, 2)
        within = keras.random.uniform((number,), seed=place) if training else 0.5
        share = (ops.cast(ops.arange(number), "float32") + within) / ops.cast(number, "float32")
        log_sigma = np.float32(np.log(self.sigma_min)) + share * np.float32(np.log(self.sigma_max / self.sigma_min))
        log_sigma = ops.broadcast_to(log_sigma, (number,))
        noise = keras.random.normal(ops.shape(clean), seed=noise)
        sigma = ops.exp(log_sigma)
        found, level = self.denoise(clean + sigma[:, None, None, None] * noise, log_sigma, condition)
        # The weight of Karras et al.: the error of F, which is of order one at every noise level.
        weight = 1 / ops.square(sigma) + 1 / ops.square(self.spread)
        # Nothing is asked where the image is not known.
        error = good * ops.mean(ops.square(found - clean), axis=-1)
        error = ops.sum(error, axis=(1, 2)) / ops.maximum(ops.sum(good, axis=(1, 2)), 1.0)
        space = ops.mean(weight * error)
        self.trackers["space"].update_state(space)
        if self.free:
            return space
        # Given the noiseless image, d log p / d log sigma is |noise|^2 - N, of variance 2 N.
        wanted = ops.sum(ops.square(noise), axis=(1, 2, 3)) - pixels
        normalised = ops.mean(ops.square(level - wanted)) / (2 * pixels)
        self.trackers["level"].update_state(normalised)
        return space + self.level_weight * normalised

    def adapt(self, batches):
        """Learn softening, spread and the range of the conditions from training batches."""
        noise = np.concatenate(
            [ops.convert_to_numpy(noise_level(batch["variance"], batch.get("mask")))[:, 0, 0] for batch in batches]
        )
        self.soft.assign(self.softening * np.median(noise, axis=0))
        parts = [self.prepare(batch) for batch in batches]
        values, conditions = (np.concatenate([ops.convert_to_numpy(part[at]) for part in parts]) for at in (0, 1))
        self.spread.assign(max(float(np.sqrt(np.mean(np.square(values, dtype="float64")))), 1e-3))
        soft = np.broadcast_to(ops.convert_to_numpy(self.soft), (len(values), len(self.bands)))
        self.conditions.adapt(conditions, soft)

    def finish(self, batches):
        """Set the constant of log p: at `sigma_max` it must be what a mixture about validation galaxies gives."""
        parts = [self.prepare(batch) for batch in batches]
        values, conditions = (np.concatenate([ops.convert_to_numpy(part[at]) for part in parts]) for at in (0, 1))
        self.offset.assign(0.0)
        self.offset.assign(sampling.base_offset(self, values, conditions))

    def log_prob(self, x, condition=None):
        """Return the log-density of images, (n,), in nats of pixels in their own unit.

        Parameters
        ----------
        x : array, (n, y, x, band)
            In the unit of the training data, in the model frame.
        condition : dict of str to float or array, (n,), optional

        Raises
        ------
        InputError
            If the images do not fit, hold NaN, or a condition does not exist.
        """
        return sampling.log_prob(self, x, condition)

    def score(self, x, condition=None, sigma=None):
        """Return the gradient of `log_prob` by the pixels, shape of `x`.

        With `sigma`, that of the density of images with so much noise on their scaled values instead.
        """
        return sampling.score(self, x, condition, sigma)

    def image_density(self, image, condition, log_sigma=None):
        """Return `log_prob` of a tensor (n, y, x, band) for conditions (n, column), as a tensor to differentiate.

        With `log_sigma`, a number, it is the density at another level of noise on the scaled values.
        """
        level = ops.full((ops.shape(image)[0],), np.float32(np.log(self.sigma_min)))
        if log_sigma is not None:
            level = ops.zeros_like(level) + log_sigma
        return self.log_density(self.scale(image), level, condition) + self.log_stretch(image)

    def log_stretch(self, image):
        """Return the logarithm of d scaled values / d pixels, (n,): of the density of pixels over that of values."""
        slope = ops.log(self.soft) + 0.5 * ops.log1p(ops.square(image / self.soft))
        return -ops.sum(slope, axis=(1, 2, 3))

    def image_score(self, image, condition, log_sigma):
        """Return the score by the denoiser as a tensor: the gradient of `image_density` where there is no energy."""
        values = self.scale(image)
        level = ops.zeros((ops.shape(image)[0],), "float32") + log_sigma
        clean, _ = self.denoise(values, level, condition)
        square = ops.square(self.soft) + ops.square(image)
        return (clean - values) * ops.exp(-2 * log_sigma) / ops.sqrt(square) - image / square

    def sample(self, n, condition=None, seed=0, **options):
        """Draw galaxies; see `galzoo.models.score_prior.sampling.sample` for the options. Returns `Samples`.

        Raises
        ------
        InputError
            If an option or a condition is not one of this prior.
        """
        odd = [name for name in options if name not in inspect.signature(sampling.sample).parameters]
        if odd:
            raise InputError(f"a score prior draws without {', '.join(odd)}; leave it out")
        return sampling.sample(self, n, condition, seed, **options)

    def artefacts(self, x, condition=None, levels=sampling.LEVELS):
        """Return how much too much light each pixel has, (n, y, x); see `score_prior.sampling.artefacts`."""
        return sampling.artefacts(self, x, condition, levels)
