"""The Morpheus model."""

import keras
import numpy as np
from keras import ops

from galzoo.contracts.segmentation import CLASSES
from galzoo.data.zeropoint import njy_per_count
from galzoo.errors import InputError, RecipeError
from galzoo.layers.augment import Rotate90Flip
from galzoo.layers.likelihood import clean
from galzoo.models.morpheus.losses import class_weights, cross_entropy, dice
from galzoo.models.morpheus.network import UNet


@keras.saving.register_keras_serializable(package="galzoo")
class Morpheus(keras.Model):
    """The class of every pixel of an image, from all its bands.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    classes : sequence of str
        Names of the classes, in order; the last is the background.
    zero_points : sequence of float, optional
        AB zero points of the counts in which the network sees each band. Images are then in nJy; without, they are seen
        in whatever unit they have.
    window : int
        Pixels on a side of what the network sees of the sky at a time, in training and in `galzoo segment`; 40 as
        published.
    margin : int
        Pixels along the rim of a window in which no class is believed; 5 as published.
    down, up : sequence of int
        Filters of the U-Net's levels, from full resolution down, and from the lowest level up. As published, it widens
        on the way up: 8, 16, 32.
    down_blocks, up_blocks, middle : int
        Blocks of a level, and filters of the block below all levels.
    dice_weight : float
        Of the background's Dice coefficient in the loss; 1 as published.
    augment : bool
        Turn and mirror in training.
    seed : int
        Of windows and augmentation.

    Notes
    -----
    Reads ``image``, ``mask`` where present, and in training ``pixel_class``; returns ``logits`` (n, y, x, class). Each
    image is brought to mean 0 and standard deviation 1 over all its pixels and bands together, so neither unit nor
    zero point count, but the bands' ratios do, and so does what else is in the window. Training sees a window at a
    random place of each stamp, validation the central one.

    Raises
    ------
    RecipeError
        If an argument cannot be used.

    References
    ----------
    Hausen & Robertson 2020, ApJS 248, 20 (arXiv:1906.11248).
    """

    def __init__(
        self,
        bands=("band",),
        classes=CLASSES,
        zero_points=None,
        window=40,
        margin=5,
        down=(8, 16, 32),
        up=(8, 16, 32),
        down_blocks=4,
        up_blocks=2,
        middle=16,
        dice_weight=1.0,
        augment=True,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bands, self.classes = tuple(str(band) for band in bands), tuple(str(name) for name in classes)
        self.window, self.margin = int(window), int(margin)
        self.dice_weight = float(dice_weight)
        self._arguments = {
            "bands": list(self.bands),
            "classes": list(self.classes),
            "zero_points": None if zero_points is None else [float(value) for value in zero_points],
            "window": self.window,
            "margin": self.margin,
            "down": list(down),
            "up": list(up),
            "down_blocks": down_blocks,
            "up_blocks": up_blocks,
            "middle": middle,
            "dice_weight": self.dice_weight,
            "augment": bool(augment),
            "seed": seed,
        }
        _check_arguments(self._arguments)
        points = [None] * len(self.bands) if zero_points is None else zero_points
        self._counts = np.array([1.0 if point is None else 1 / njy_per_count(point) for point in points], "float32")
        self.network = UNet(len(self.classes), down, up, down_blocks, up_blocks, middle, name="network")
        self.network.build((None, None, None, len(self.bands)))
        self.turn = Rotate90Flip(seed=seed) if augment else None
        self.places = keras.random.SeedGenerator(seed + 1)
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self.entropy = keras.metrics.Mean(name="cross_entropy")
        self.dice = keras.metrics.Mean(name="dice")
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        small = {"down": (4, 8), "up": (4, 8), "down_blocks": 1, "up_blocks": 1, "middle": 8, "window": 24, "margin": 2}
        return cls(bands=bands, **{**small, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def call(self, batch, training=False):
        self._check(batch)
        if training and batch.get("pixel_class") is not None:
            batch = self._window(batch, training)
            # The loss must compare with the pixels that were seen.
            return {"logits": self._logits(batch, training), "pixel_class": batch["pixel_class"]}
        return {"logits": self._logits(batch, training)}

    def _check(self, batch):
        if batch.get("image") is None:
            raise InputError("the batch has no 'image'; morpheus needs it")
        found = batch["image"].shape[-1]
        if found != len(self.bands):
            raise InputError(f"image has {found} bands, this model has {len(self.bands)}: {', '.join(self.bands)}")

    def _logits(self, batch, training=False):
        image = clean(ops.cast(batch["image"], "float32"), mask=batch.get("mask"))
        return ops.cast(self.network(standardise(image * self._counts), training=training), "float32")

    def _window(self, batch, training=False):
        """Return ``image, mask, pixel_class`` of a window of each image: at a random place in training, else central.

        One place for the whole batch: what differs between its images is what is there.
        """
        batch = {key: batch[key] for key in ("image", "mask", "pixel_class") if batch.get(key) is not None}
        height, width = batch["image"].shape[1:3]
        if batch["pixel_class"].shape[-1] != len(self.classes):
            raise InputError(
                f"pixel_class has {batch['pixel_class'].shape[-1]} classes, this model has {len(self.classes)}: "
                f"{', '.join(self.classes)}"
            )
        if training and self.turn is not None and height == width:
            batch = self.turn(batch, training=True)
        high, wide = min(height, self.window), min(width, self.window)
        if (high, wide) == (height, width):
            return batch
        start = [(height - high) // 2, (width - wide) // 2]
        if training:
            start = [
                keras.random.randint((), 0, size - part + 1, seed=self.places)
                for size, part in ((height, high), (width, wide))
            ]
        return {
            key: ops.slice(plane, (0, *start, 0), (ops.shape(plane)[0], high, wide, plane.shape[-1]))
            for key, plane in batch.items()
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if "pixel_class" not in y_pred:
            batch = self._window(x)
            y_pred = {"logits": self._logits(batch), "pixel_class": batch["pixel_class"]}
        logits, labels = y_pred["logits"], ops.cast(y_pred["pixel_class"], "float32")
        entropy = ops.mean(class_weights(labels) * cross_entropy(logits, labels))
        overlap = ops.mean(dice(logits, labels))
        same = ops.equal(ops.argmax(logits, axis=-1), ops.argmax(labels, axis=-1))
        self.accuracy.update_state(ops.cast(same, "float32"))
        self.entropy.update_state(entropy)
        self.dice.update_state(overlap)
        return entropy + self.dice_weight * (1.0 - overlap)

    def pixel_classes(self, batch):
        """Return the probability of each class in each pixel, see `galzoo.contracts.segmentation.Segmenter`."""
        self._check(batch)
        batch = {key: batch[key] for key in ("image", "mask") if batch.get(key) is not None}
        # Compiled, which is twice as quick as a plain call.
        return ops.convert_to_numpy(ops.softmax(self.predict_on_batch(batch)["logits"]))


def standardise(image):
    """Return images (n, y, x, band) with mean 0 and standard deviation 1, over pixels and bands of each together.

    The deviation is at least one over the root of the number of values, so that an empty image stays finite.
    """
    axes = (1, 2, 3)
    count = float(image.shape[1] * image.shape[2] * image.shape[3])
    centred = image - ops.mean(image, axis=axes, keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(centred), axis=axes, keepdims=True))
    return centred / ops.maximum(deviation, count**-0.5)


def _check_arguments(arguments):
    classes, window, margin = arguments["classes"], arguments["window"], arguments["margin"]
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise RecipeError(f"classes are {classes}; give two or more different names, the background last")
    points = arguments["zero_points"]
    if points is not None and len(points) != len(arguments["bands"]):
        raise RecipeError(f"zero_points has {len(points)} numbers for {len(arguments['bands'])} bands; give one a band")
    if len(arguments["up"]) != len(arguments["down"]):
        raise RecipeError(
            f"down has {len(arguments['down'])} levels and up {len(arguments['up'])}; give as many filters to both"
        )
    if window < 8:
        raise RecipeError(f"window is {window}; give 8 pixels or more")
    if not 0 <= 2 * margin < window:
        raise RecipeError(f"margin is {margin}; give 0 to less than half the window of {window} pixels")
