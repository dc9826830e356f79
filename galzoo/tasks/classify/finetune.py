"""A classifier that trains its encoder too, from the linear probe on (Kumar et al. 2022, arXiv:2202.10054)."""

import warnings

import keras
import numpy as np
from keras import ops

from galzoo.contracts.encoder import Encoder
from galzoo.data.batches import stamps_batch
from galzoo.errors import InputError
from galzoo.inference.stamp_features import ring_shares, symmetries
from galzoo.layers.augment import Rotate90Flip

_PATIENCE = 3


@keras.saving.register_keras_serializable(package="galzoo")
class FineTuned(keras.Model):
    """Logits of classes from an encoder and a linear layer on its vectors.

    Parameters
    ----------
    encoder : keras.Model
        A `galzoo.contracts.codec.Codec` or `galzoo.contracts.encoder.Encoder`.
    size : int
        Length of its vectors, as of `galzoo.inference.stamp_features.features`.
    classes : int
    seed : int
        Of the random turns in training.
    """

    def __init__(self, encoder, size, classes, seed=0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.encoder, self.size, self.classes, self.seed = encoder, int(size), int(classes), int(seed)
        self.bands = tuple(encoder.bands)
        self.turn = Rotate90Flip(seed=seed)
        self.head = keras.layers.Dense(self.classes, dtype="float32", name="head")
        self.head.build((None, self.size))
        self.built = True

    def get_config(self):
        arguments = {"size": self.size, "classes": self.classes, "seed": self.seed}
        return {**super().get_config(), **arguments, "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})

    def vectors(self, batch):
        """Return the vectors of a batch, (n, size)."""
        if isinstance(self.encoder, Encoder):
            return ops.cast(self.encoder.latents(batch), "float32")
        cells = ops.cast(self.encoder.quantizer(self.encoder.encode(batch))["quantised"], "float32")
        shares = ring_shares(cells.shape[1:3], batch["image"].shape[1:3])
        mean = ops.einsum("ryx,nyxd->nrd", shares, cells)
        square = ops.einsum("ryx,nyxd->nrd", shares, ops.square(cells))
        # The square root has no gradient at 0.
        spread = ops.sqrt(ops.maximum(square - ops.square(mean), 1e-12))
        return ops.reshape(ops.stack([mean, spread], axis=2), (-1, self.size))

    def call(self, batch, training=False):
        batch = {**batch, "image": ops.cast(batch["image"], "float32")}
        return self.head(self.vectors(self.turn(batch, training=True) if training else batch))

    def logits(self, stamps, batch_size=64, views=8):
        """Return logits (n, class) of stamps, mean over `views` orientations."""
        parts = [np.zeros((0, self.classes))]
        for start in range(0, len(stamps), batch_size):
            seen = symmetries(stamps_batch(stamps, slice(start, start + batch_size)), views)
            parts.append(np.mean([ops.convert_to_numpy(self(view)) for view in seen], axis=0))
        return np.concatenate(parts)


class Batches(keras.utils.PyDataset):
    """Batches of stamps and their classes, in another order each epoch; `weight` is of each class, if any."""

    def __init__(self, stamps, rows, label, batch_size, seed, weight=None):
        super().__init__()
        self.weight = weight
        self.stamps, self.rows, self.label, self.batch_size = stamps, np.array(rows), label, batch_size
        self.random = np.random.default_rng(seed)

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __getitem__(self, number):
        rows = self.rows[number * self.batch_size : (number + 1) * self.batch_size]
        known = (self.label[rows],) if self.weight is None else (self.label[rows], self.weight[self.label[rows]])
        return (stamps_batch(self.stamps, rows), *known)

    def on_epoch_end(self):
        self.random.shuffle(self.rows)


def finetune(encoder, stamps, label, probe, fitted, checked, epochs=10, rate=1e-4, batch_size=32, seed=0):
    """Train an encoder with a linear layer on its vectors, which starts as the linear probe.

    Parameters
    ----------
    encoder : Codec or Encoder
        Is changed.
    stamps : Stamps
    label : int array, (n,)
    probe : galzoo.tasks.classify.classifiers.Classifier
        Of kind "linear".
    fitted, checked : int array
        Rows to learn from, and rows whose likelihood says when to stop.
    epochs : int
    rate : float
        Of AdamW.
    batch_size, seed : int

    Returns
    -------
    FineTuned
    """
    if epochs < 1 or not rate > 0:
        raise InputError(f"epochs is {epochs} and the rate {rate}; give at least 1 epoch and a rate above 0")
    arrays = probe.arrays
    tuned = FineTuned(encoder, len(arrays["centre"]), len(probe.names), seed)
    kernel = arrays["components"] @ arrays["weights"] / probe.temperature
    bias = arrays["bias"] / probe.temperature - arrays["centre"] @ kernel
    tuned.head.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    tuned.compile(optimizer=keras.optimizers.AdamW(rate, weight_decay=0.01), loss=loss)
    stop = keras.callbacks.EarlyStopping(patience=_PATIENCE, restore_best_weights=True)
    batches = [Batches(stamps, rows, label, batch_size, seed) for rows in (fitted, checked)]
    before = tuned.evaluate(batches[1], verbose=0)
    weights = tuned.get_weights()
    with warnings.catch_warnings():
        # The decoder and the like are part of the encoder's model, and have no part in the classes.
        warnings.filterwarnings("ignore", message="Gradients do not exist")
        history = tuned.fit(batches[0], validation_data=batches[1], epochs=epochs, verbose=0, callbacks=[stop])
    if not min(history.history["val_loss"]) < before:
        tuned.set_weights(weights)
    return tuned
