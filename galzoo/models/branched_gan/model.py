"""The branched GAN."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError, RecipeError
from galzoo.layers.augment import Rotate90Flip
from galzoo.layers.blend import BlendScenes
from galzoo.layers.checks import check_batch
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.likelihood import clean
from galzoo.models.branched_gan.deblended import LEAST_SNR, deblended
from galzoo.models.branched_gan.losses import adversarial_losses, content_loss
from galzoo.models.branched_gan.mix import MixGalaxies, recompose, repeatably
from galzoo.models.branched_gan.networks import Discriminator, Generator

# Level of 8-bit pictures that lies in the middle of tanh, whose ends are black and white.
_MIDDLE = 127.5
# Widths, in pixels, of the bumps about the centre that tell a pixel how far out it is.
_PLACE_WIDTHS = 2.0, 6.0, 16.0
# Black and white lie at infinity of arctanh; up to here there is still a gradient.
_INNER = 0.98
_CHOICES = {
    "output": ("flux", "tanh"),
    "blend": ("add", "max"),
    "permutation": ("fixed", "invariant"),
    "content": ("mse", "features"),
}
# Permutations are tried one by one.
_MOST_PERMUTED = 4


@keras.saving.register_keras_serializable(package="galzoo")
class BranchedGAN(keras.Model):
    """A blend taken apart by one network with a branch for each galaxy, trained against a discriminator.

    Training takes single galaxies and blends them in the graph (`MixGalaxies`, or `BlendScenes` where the batch has
    ``truth`` and ``psf`` and light adds up), so that no blend comes twice. What it is called with otherwise is a blend.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    branches : int
        Galaxies that the network can tell apart.
    filters, trunk_blocks, branch_blocks : int
        Channels, and residual blocks of the trunk and of each branch; 64, 10 and 6 as published.
    stride : {1, 2}
        2 runs trunk and branches at half the resolution, at a third of the cost; 1 as published.
    output : {"flux", "tanh"}
        "flux": the branches share out a non-negative image of the whole blend, pixel by pixel, so that they sum to it;
        the network sees asinh(image / noise). "tanh": for pictures of 8 bits, each branch paints on its own, as
        published.
    skip : bool
        With "tanh", the branches start as the blend itself and learn what to take away, which is several times quicker;
        False as published.
    place : bool
        Show the generator how far each pixel is from the centre, which a "fixed" permutation turns on; False as
        published, where only the edges of the stamp tell.
    blend : {"add", "max"}
        How training blends: light adds up, or the brightest galaxy's pixel counts, as published. "add" is physical.
    permutation : {"fixed", "invariant"}
        "fixed": the centred galaxy comes from the first branch, as published. "invariant": any branch may give any
        galaxy; the best assignment counts.
    fewest : int, optional
        Training blends have this many galaxies to `branches`; by default always `branches`, as published.
    radius : float, optional
        As in `BlendScenes`.
    perturbation, offset
        As in `MixGalaxies`.
    content : {"mse", "features"}
        As in `content_loss`.
    adversarial_weight : float
        Of the discriminator's opinion in the generator's loss; 0 trains without a discriminator.
    burn_in : int
        Steps on the content loss alone; 2000 as published.
    discriminator_filters, discriminator_dense : int
        Sizes of the discriminator; 64 and 1024 as published.
    noise_channels : int
        Random numbers that the generator sees beside each blend; 0 as published, where the answer is one image. With
        them `draws` gives several.
    augment : bool
        Turn and mirror the blends in training.
    seed : int
        Of blends, noise and augmentation.

    Notes
    -----
    Reads ``image``, ``variance`` and, where present, ``mask``, ``psf`` and ``truth``; returns a dict of ``isolated``
    (n, branch, y, x, band), the galaxies as observed, without noise, and ``image`` (n, y, x, band), the blend made of
    them again, both in the unit of the input. Any stamp size.

    Raises
    ------
    RecipeError
        If an argument has none of its allowed values.

    References
    ----------
    Reiman & Gohre 2019, arXiv:1810.10098.
    """

    def __init__(
        self,
        bands=("band",),
        branches=2,
        filters=24,
        trunk_blocks=4,
        branch_blocks=2,
        stride=2,
        output="flux",
        skip=True,
        place=True,
        blend="add",
        permutation="fixed",
        fewest=None,
        radius=None,
        perturbation="free",
        offset=(10 / 240, 50 / 240),
        content="mse",
        adversarial_weight=1e-3,
        burn_in=200,
        discriminator_filters=8,
        discriminator_dense=64,
        noise_channels=0,
        augment=True,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self._arguments = {
            "bands": [str(band) for band in bands],
            "branches": branches,
            "filters": filters,
            "trunk_blocks": trunk_blocks,
            "branch_blocks": branch_blocks,
            "stride": stride,
            "output": output,
            "skip": skip,
            "place": place,
            "blend": blend,
            "permutation": permutation,
            "fewest": fewest,
            "radius": radius,
            "perturbation": perturbation,
            "offset": list(offset),
            "content": content,
            "adversarial_weight": adversarial_weight,
            "burn_in": burn_in,
            "discriminator_filters": discriminator_filters,
            "discriminator_dense": discriminator_dense,
            "noise_channels": noise_channels,
            "augment": augment,
            "seed": seed,
        }
        _check_arguments(self._arguments)
        fewest = branches if fewest is None else fewest
        self.bands = tuple(str(band) for band in bands)
        self.branches, self.noise_channels, self.burn_in = int(branches), int(noise_channels), int(burn_in)
        self.output_kind, self.blend_kind, self.skip = output, blend, bool(skip)
        self.place = bool(place)
        self.content, self.permutation = content, permutation
        self.adversarial_weight = float(adversarial_weight)

        self.scaling = FluxScaling()
        self.augment = Rotate90Flip(seed=seed) if augment else None
        self.noise_seed = keras.random.SeedGenerator(seed + 1)
        self.mixer = MixGalaxies(branches, fewest, blend, perturbation, offset, seed=seed + 2)
        self.scenes = BlendScenes(sources=(fewest, branches), radius=radius, centred=True, seed=seed + 3)
        self.generator = Generator(
            len(self.bands),
            branches,
            filters,
            trunk_blocks,
            branch_blocks,
            stride,
            whole=output == "flux",
            name="generator",
        )
        self.discriminator = None
        if self.adversarial_weight:
            self.discriminator = Discriminator(discriminator_filters, discriminator_dense, name="discriminator")
            self.discriminator.build((None, None, None, len(self.bands)))
        channels = len(self.bands) + self.noise_channels + len(_PLACE_WIDTHS) * self.place
        self.generator.build((None, None, None, channels))
        self.steps = self.add_weight(shape=(), initializer="zeros", dtype="float32", trainable=False, name="steps")
        self.content_tracker = keras.metrics.Mean(name="content")
        self.adversarial_tracker = keras.metrics.Mean(name="adversarial")
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator")
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        small = {"filters": 8, "trunk_blocks": 1, "branch_blocks": 1, "discriminator_filters": 4}
        return cls(bands=bands, **{**small, "discriminator_dense": 8, "burn_in": 0, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def call(self, batch, training=False):
        check_batch(batch, self.bands, "branched_gan")
        if not training:
            return self._separate(batch)
        blends = self.blends(batch, training=True)
        # The loss must compare with the galaxies that were blended.
        return {**self._separate(blends, training=True), "target": blends}

    def blends(self, batch, seed=0, training=False):
        """Blend the single galaxies of a batch as training does.

        Parameters
        ----------
        batch : dict
            Stamps: ``image``, ``variance`` and, where present, ``mask``, ``psf`` and ``truth``.
        seed : int
            Another seed, other blends; the same, the same. Not used in training, where every call gives new ones.
        training : bool
            Draw new blends, and turn and mirror them.

        Returns
        -------
        dict
            ``image, variance, isolated, positions, n_sources`` and what else the layer returns.
        """
        simulated = batch.get("truth") is not None and batch.get("psf") is not None
        if self.blend_kind == "add" and simulated:
            return self.scenes(batch) if training else _scenes_repeatably(self.scenes, batch, self.branches, seed)
        if not training:
            return repeatably(self.mixer, batch, seed)
        blends = self.mixer(batch)
        y, x = batch["image"].shape[1:3]
        return self.augment(blends, training=True) if self.augment is not None and y == x else blends

    def _separate(self, batch, training=False, noise_vector=None):
        mask = batch.get("mask")
        image = clean(ops.cast(batch["image"], "float32"), batch["variance"], mask)
        noise = noise_level(batch["variance"], mask)
        scaled = self._scale(image, noise)
        raw = ops.cast(self.generator(self._inputs(scaled, training, noise_vector), training=training), "float32")
        if self.output_kind == "tanh":
            if self.skip:
                raw = raw + ops.arctanh(ops.clip(scaled, -_INNER, _INNER))[:, None]
            isolated = _MIDDLE * (1.0 + ops.tanh(raw))
        else:
            # The whole starts as the image itself, which is right where the light is well above the noise.
            whole = self.scaling.invert(ops.softplus(scaled + raw[:, -1]), noise)
            isolated = ops.softmax(raw[:, :-1], axis=1) * whole[:, None]
        return {"image": recompose(isolated, self.blend_kind), "isolated": isolated}

    def _inputs(self, scaled, training, vector=None):
        """Return the generator's input; without a draw, the noise is at its mean, 0."""
        n, rows, columns = ops.shape(scaled)[0], *scaled.shape[1:3]
        if self.place:
            planes = ops.broadcast_to(_bumps(rows, columns), (n, rows, columns, len(_PLACE_WIDTHS)))
            scaled = ops.concatenate([scaled, planes], axis=-1)
        if not self.noise_channels:
            return scaled
        if vector is None:
            vector = ops.zeros((n, self.noise_channels))
            if training:
                vector = keras.random.normal((n, self.noise_channels), seed=self.noise_seed)
        planes = ops.broadcast_to(vector[:, None, None], (n, rows, columns, self.noise_channels))
        return ops.concatenate([scaled, planes], axis=-1)

    def _scale(self, image, noise):
        """Return images in the network's units; `noise` broadcasts to them."""
        return image / _MIDDLE - 1.0 if self.output_kind == "tanh" else self.scaling(image, noise)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if "target" in y_pred:
            target = y_pred["target"]
        else:
            # Data for evaluation are single galaxies too; their blends are the same each time.
            target = self.blends(x)
            y_pred = self._separate(target)
        noise = noise_level(target["variance"], target.get("mask"))[:, None]
        made, true = self._scale(y_pred["isolated"], noise), self._scale(target["isolated"], noise)
        content = content_loss(made, true, self.content, self.permutation)
        self.content_tracker.update_state(content)
        loss = ops.mean(content)
        if not training or self.discriminator is None:
            return loss
        size = true.shape[2:]
        generator, discriminator = adversarial_losses(
            self.discriminator, ops.reshape(made, (-1, *size)), ops.reshape(true, (-1, *size))
        )
        begun = ops.cast(self.steps >= self.burn_in, "float32")
        self.steps.assign_add(1.0)
        self.adversarial_tracker.update_state(generator)
        self.discriminator_tracker.update_state(discriminator)
        return loss + begun * (self.adversarial_weight * generator + discriminator)

    def deblend(self, batch, threshold=LEAST_SNR):
        """Take blends apart.

        Parameters
        ----------
        batch : dict of arrays
            ``image`` and ``variance`` (n, y, x, band) and, where present, ``mask``. With ``positions``
            (n, source, 2) and ``n_sources`` (n,) the answer has these sources, in their order; otherwise one for each
            branch.
        threshold : float
            Least signal-to-noise, all bands together, of a branch that holds a source.

        Returns
        -------
        Deblended
            Positions are centroids.
        """
        outputs = {key: ops.convert_to_numpy(value) for key, value in self(batch).items()}
        given = {key: np.asarray(value) for key, value in batch.items() if value is not None}
        return deblended(outputs["isolated"], outputs["image"], given, threshold)

    def draws(self, batch, number, seed=0):
        """Draw several answers to the same blends.

        Parameters
        ----------
        batch : dict of arrays
            As in `deblend`.
        number : int
            Answers to each blend.
        seed : int

        Returns
        -------
        float32 array, (number, n, branch, y, x, band)

        Raises
        ------
        InputError
            If the model has no noise to draw.
        """
        if not self.noise_channels:
            raise InputError(
                "the model has noise_channels 0 and gives one answer; train one with noise_channels above 0"
            )
        check_batch(batch, self.bands, "branched_gan")
        shape = (number, len(batch["image"]), self.noise_channels)
        vectors = np.random.default_rng(seed).standard_normal(shape).astype("float32")
        made = [self._separate(batch, noise_vector=ops.convert_to_tensor(vector))["isolated"] for vector in vectors]
        return np.stack([ops.convert_to_numpy(part) for part in made])


def _bumps(rows, columns):
    """Return round Gaussians about the centre of a stamp, (y, x, width): how far out a pixel is."""
    y, x = np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2
    radius2 = (y[:, None] ** 2 + x**2)[..., None]
    return np.exp(-0.5 * radius2 / np.square(_PLACE_WIDTHS)).astype("float32")


def _scenes_repeatably(layer, batch, branches, seed):
    """Blend a batch that may have fewer stamps than a scene has sources, as the last of a data set may."""
    keys = [key for key in ("truth", "variance", "mask", "psf") if batch.get(key) is not None]
    n = ops.shape(batch["truth"])[0]
    rows = ops.arange(n + branches - 1) % n
    shared = batch["psf"].shape[0] == 1
    longer = {key: batch[key] if key == "psf" and shared else ops.take(batch[key], rows, axis=0) for key in keys}
    blends = repeatably(layer, longer, seed)
    return {key: value if key == "psf" and shared else value[:n] for key, value in blends.items()}


def _check_arguments(arguments):
    for name, allowed in _CHOICES.items():
        if arguments[name] not in allowed:
            raise RecipeError(f"{name} {arguments[name]!r} is unknown; use {' or '.join(map(repr, allowed))}")
    branches, fewest = arguments["branches"], arguments["fewest"]
    if branches < 2:
        raise RecipeError(f"branches is {branches}; a blend has at least 2")
    if fewest is not None and not 1 <= fewest <= branches:
        raise RecipeError(f"fewest is {fewest}; give a number from 1 to the {branches} branches")
    if arguments["permutation"] == "invariant" and branches > _MOST_PERMUTED:
        raise RecipeError(
            f"permutation 'invariant' is for at most {_MOST_PERMUTED} branches, not {branches}; use 'fixed'"
        )
    if arguments["stride"] not in (1, 2):
        raise RecipeError(f"stride is {arguments['stride']}; use 1 or 2")
