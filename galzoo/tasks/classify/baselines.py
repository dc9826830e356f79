"""What an encoder is compared with: pixels, structure, an untrained encoder, and a network trained on labels alone."""

import keras
import numpy as np
from keras import ops

from galzoo.data.batches import stamps_batch
from galzoo.layers.augment import Rotate90Flip
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.likelihood import clean, weights
from galzoo.metrics.morphology import morphology
from galzoo.models.mc_resnet.network import Trunk

COMPONENTS = 40
_STRUCTURE = ("half_light_radius", "ellipticity", "sigma", "gini", "m20", "concentration", "asymmetry", "smoothness")


def pixel_components(stamps, train, number=COMPONENTS, seed=0):
    """Return principal components (n, number) of the scaled pixels, learnt from the rows of `train`.

    Pixels are asinh of the flux over the noise, masked ones 0, as an encoder sees them.
    """
    from sklearn.decomposition import PCA

    parts = []
    scaling = FluxScaling()
    for start in range(0, len(stamps), 512):
        batch = stamps_batch(stamps, slice(start, start + 512))
        mask = batch.get("mask")
        image = ops.cast(batch["image"], "float32")
        scaled = scaling(clean(image, batch["variance"], mask), noise_level(batch["variance"], mask))
        parts.append(ops.convert_to_numpy(scaled).reshape(len(batch["image"]), -1))
    pixels = np.concatenate(parts)
    number = min(number, len(train), pixels.shape[1])
    return PCA(number, svd_solver="randomized", random_state=seed).fit(pixels[train]).transform(pixels)


def structure(stamps):
    """Return concentration, asymmetry, smoothness, Gini, M20, size and shape of the mean of the bands, and colours.

    Returns
    -------
    array, (n, 8 + bands - 1)
        What cannot be measured is the median of the others.
    """
    batch = stamps_batch(stamps)
    image = np.asarray(batch["image"], np.float64)
    bad = np.zeros(image.shape, bool) if batch.get("mask") is None else np.asarray(batch["mask"], bool)
    image = np.where(bad, np.nan, image)
    image -= np.nanmedian(np.where(_border(image.shape), image, np.nan), axis=(1, 2), keepdims=True)
    found = morphology(image.mean(axis=-1))
    columns = [found[name] for name in _STRUCTURE]
    flux = np.maximum(np.nansum(image, axis=(1, 2)), 1e-6 * np.nanmax(np.abs(image), axis=(1, 2)) + 1e-12)
    columns += [np.log(flux[:, band + 1] / flux[:, band]) for band in range(flux.shape[1] - 1)]
    values = np.stack(columns, axis=1)
    values[~np.isfinite(values)] = np.nan
    middle = np.nan_to_num(np.nanmedian(values, axis=0))
    values = np.where(np.isfinite(values), values, middle)
    spread = np.percentile(values, [1, 99], axis=0)
    values = np.clip(values, *spread)
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)


def untrained(model):
    """Return the same network with the weights that it had before training."""
    return type(model).from_config(model.get_config())


class ResNetClassifier(keras.Model):
    """A ResNet-18 that learns classes, or one number, from labels alone.

    Parameters
    ----------
    bands : int
    outputs : int
        Classes; 1 for a number.
    filters : int
        Channels of its first stage.
    seed : int
    """

    def __init__(self, bands, outputs, filters=32, seed=0):
        super().__init__()
        self.turn, self.scaling = Rotate90Flip(seed=seed), FluxScaling()
        self.trunk = Trunk(filters, 2)
        self.trunk.build((None, None, None, 2 * bands))
        self.head = keras.layers.Dense(outputs)
        self.head.build((None, 8 * filters))
        self.built = True

    def call(self, batch, training=False):
        batch = {**batch, "image": ops.cast(batch["image"], "float32")}
        batch = self.turn(batch, training=True) if training else batch
        image, variance, mask = batch["image"], batch["variance"], batch.get("mask")
        valid = ops.cast(weights(variance, mask) > 0, "float32")
        scaled = self.scaling(clean(image, variance, mask), noise_level(variance, mask))
        maps = self.trunk.last(*self.trunk(ops.concatenate([scaled, valid], axis=-1), training=training), training)
        return self.head(ops.mean(maps, axis=(1, 2)))


def train_resnet(stamps, label, rows, outputs, steps, filters=32, batch_size=32, seed=0):
    """Train a ResNet-18 on the labels of some rows, classes weighted alike.

    Parameters
    ----------
    stamps : Stamps
    label : array, (n,)
        Classes, or numbers where `outputs` is 1 (unit variance at best).
    rows : int array
    outputs, steps, filters, batch_size, seed : int

    Returns
    -------
    ResNetClassifier
    """
    from galzoo.tasks.classify.finetune import Batches

    keras.utils.set_random_seed(seed)
    network = ResNetClassifier(len(stamps.bands), outputs, filters, seed)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    loss = "mean_squared_error" if outputs == 1 else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.02), loss=loss)
    weight = None
    if outputs > 1:
        counts = np.bincount(label[rows], minlength=outputs)
        weight = len(rows) / (outputs * np.maximum(counts, 1))
    batches = Batches(stamps, rows, label, min(batch_size, len(rows)), seed, weight)
    network.fit(batches, epochs=max(1, round(steps / len(batches))), verbose=0)
    return network


def predict_resnet(network, stamps, rows, batch_size=256):
    """Return the outputs of a network for some rows, mean of a stamp and its mirror image."""
    parts = []
    for start in range(0, len(rows), batch_size):
        batch = stamps_batch(stamps, rows[start : start + batch_size])
        mirrored = {key: plane[:, :, ::-1] for key, plane in batch.items()}
        parts.append(np.mean([ops.convert_to_numpy(network(view)) for view in (batch, mirrored)], axis=0))
    return np.concatenate(parts)


def _border(shape):
    border = np.zeros(shape, bool)
    width = max(1, shape[1] // 16)
    border[:, :width] = border[:, -width:] = border[:, :, :width] = border[:, :, -width:] = True
    return border
