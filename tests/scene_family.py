"""A family that counts the sources of scenes and says where they are on average; for tests of training on scenes."""

import keras
from keras import ops

from galzoo.registry import Family

FAMILY = Family(
    name="counter",
    title="Counter of sources",
    model="tests.scene_family:Counter",
    tasks=(),
    keys=("image", "variance", "positions", "n_sources", "boxes", "ellipticity"),
    required=("image", "variance", "positions", "n_sources", "boxes"),
    inputs=("scenes",),
)


@keras.saving.register_keras_serializable(package="galzoo_tests")
class Counter(keras.Model):
    """Predicts the number of sources and the means of their positions and of the sides of their boxes."""

    def __init__(self, bands=("r",), **kwargs):
        super().__init__(**kwargs)
        self.bands = tuple(bands)
        self.convolution = keras.layers.Conv2D(4, 4, strides=4, activation="relu")
        self.dense = keras.layers.Dense(5)
        self.convolution.build((None, None, None, len(self.bands)))
        self.dense.build((None, 4))
        self.built = True

    def call(self, batch, training=None):
        maps = self.convolution(batch["image"] / ops.sqrt(batch["variance"]) / 10)
        return self.dense(ops.mean(maps, axis=(1, 2)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        number = ops.cast(x["n_sources"], "float32")[:, None]
        sides = x["boxes"][..., 2:] - x["boxes"][..., :2]
        means = ops.sum(ops.concatenate([x["positions"], sides], axis=-1), axis=1) / ops.maximum(number, 1.0)
        truth = ops.concatenate([number, means / x["image"].shape[1]], axis=-1)
        return ops.mean(ops.square(y_pred - truth))

    def get_config(self):
        return {**super().get_config(), "bands": self.bands}


def recipe(*stages, **data):
    """Return a resolved recipe of the family; only what is said here is read by training."""
    from galzoo.recipe import Recipe

    stage = {"epochs": 2, "steps_per_epoch": 3, "batch_size": 8, "learning_rate": 0.01}
    made = Recipe(family="counter", data=data, stages=[{**stage, **changes} for changes in stages or ({},)])
    return made.model_dump(mode="json") | {"model": {}}
