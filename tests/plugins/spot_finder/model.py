"""The spot finder's model."""

import keras
import numpy as np
from keras import layers, ops

from galzoo.errors import InputError
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.likelihood import clean


@keras.saving.register_keras_serializable(package="spot_finder")
class SpotFinder(keras.Model):
    """The chance that a source is centred in a pixel.

    Notes
    -----
    Reads ``image, variance``, where present ``mask``, and in training ``positions, n_sources``; returns ``logits``
    (n, y, x).
    """

    def __init__(self, bands=("band",), channels=16, **kwargs):
        super().__init__(**kwargs)
        self.bands = tuple(str(band) for band in bands)
        self._arguments = {"bands": list(self.bands), "channels": channels}
        self.scaling = FluxScaling()
        self.network = keras.Sequential(name="network")
        for _ in range(2):
            self.network.add(layers.Conv2D(channels, 5, padding="same", activation="relu"))
        self.network.add(layers.Conv2D(1, 1, bias_initializer=keras.initializers.Constant(-4.0)))
        self.network.build((None, None, None, len(self.bands)))
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        return cls(bands=bands, **{"channels": 8, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def call(self, batch, training=False):
        found, mask = batch["image"].shape[-1], batch.get("mask")
        if found != len(self.bands):
            raise InputError(f"image has {found} bands, this model has {len(self.bands)}: {', '.join(self.bands)}")
        scaled = self.scaling(clean(batch["image"], batch["variance"], mask), noise_level(batch["variance"], mask))
        return {"logits": ops.cast(self.network(scaled, training=training), "float32")[..., 0]}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        logits = y_pred["logits"]
        rows, columns = (np.arange(size, dtype="float32") for size in logits.shape[1:])
        places = ops.cast(x["positions"], "float32")
        known = np.arange(places.shape[1])[None] < ops.cast(x["n_sources"], "int32")[:, None]
        distance = (columns - places[..., :1, None]) ** 2 + (rows[:, None] - places[..., 1:, None]) ** 2
        spots = ops.where(known[..., None, None], ops.exp(-0.5 * distance), 0.0)
        return ops.mean(keras.losses.binary_crossentropy(ops.max(spots, axis=1), logits, from_logits=True))

    def find(self, batch, threshold=0.3):
        """Return the peaks of each image as a list of arrays (source, 3): x, y and the chance there."""
        chance = ops.convert_to_numpy(ops.sigmoid(self(batch)["logits"]))
        highest = ops.convert_to_numpy(ops.max_pool(chance[..., None], 5, strides=1, padding="same"))[..., 0]
        peaks = (chance == highest) & (chance > threshold)
        return [
            np.stack([*np.nonzero(peak)[::-1], one[peak]], axis=-1) for peak, one in zip(peaks, chance, strict=True)
        ]
