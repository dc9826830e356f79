"""Blends made in the graph from a batch of single galaxies, so that training never sees the same one twice."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import RecipeError
from galzoo.layers.likelihood import clean

# Natural logarithms of the least and largest size of a perturbed galaxy, as published.
_LOG_SCALE = -1.0, 0.5


@keras.saving.register_keras_serializable(package="galzoo")
class MixGalaxies(keras.layers.Layer):
    """Blend each galaxy of a batch with the next ones, moved off the centre.

    The first galaxy of a blend stays as it is, in the centre. The others are turned, mirrored, made smaller or larger,
    and moved along x and along y.

    Parameters
    ----------
    branches : int
        Largest number of galaxies in a blend, and length of the source axis.
    fewest : int
        Smallest number.
    blend : {"max", "add"}
        "max": each pixel is that of the brightest galaxy, as published, for display-stretched pictures. "add": light
        adds up, as on the sky; the galaxies' noise does too.
    perturbation : {"free", "exact"}
        "free": any angle and sizes of e^-1 to e^0.5, resampled bilinearly, as published. "exact": right angles and
        whole pixels, which leaves every pixel as it was.
    offset : (float, float)
        Range of the shift along each axis, as a share of the stamp's side; the published 10 to 50 of 240 pixels by
        default. The sign is random.
    seed : int
        Of the random numbers.

    Notes
    -----
    Called with a batch of stamps, ``image`` (n, y, x, band), ``variance`` and, where present, ``mask``; bad pixels
    count as 0. Returns ``image`` and ``variance`` of the blends, ``isolated`` (n, source, y, x, band), ``positions``
    (n, source, 2) and ``n_sources`` (n,). Sources beyond the number are 0. What moves in from outside a stamp has the
    level of its rim. The variance of an added blend is the centre stamp's, times the number of galaxies.

    References
    ----------
    Reiman & Gohre 2019, arXiv:1810.10098, section 2.
    """

    def __init__(
        self,
        branches=2,
        fewest=2,
        blend="max",
        perturbation="free",
        offset=(10 / 240, 50 / 240),
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        if perturbation not in ("free", "exact"):
            raise RecipeError(f"perturbation {perturbation!r} is unknown; use 'free' or 'exact'")
        if len(offset) != 2 or not 0 <= offset[0] <= offset[1] < 0.5:
            raise RecipeError(
                f"offset is {list(offset)}; give two rising shares of the stamp's side, from 0 to below 0.5"
            )
        self.branches, self.fewest, self.blend = int(branches), int(fewest), blend
        self.perturbation, self.offset = perturbation, tuple(float(part) for part in offset)
        self.seed = int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, batch, training=False):
        image = clean(ops.cast(batch["image"], "float32"), batch["variance"], batch.get("mask"))
        rows, columns = image.shape[1:3]
        n = ops.shape(image)[0]
        number = keras.random.randint((n,), self.fewest, self.branches + 1, seed=self.seed_generator)
        isolated = [image]
        positions = [ops.broadcast_to(np.array([(columns - 1) / 2, (rows - 1) / 2], "float32"), (n, 2))]
        for source in range(1, self.branches):
            draw = keras.random.uniform((n, 7), seed=self.seed_generator)
            matrix, shift = self._transform(draw, rows, columns)
            # A batch is in random order, so its next galaxy is a random one.
            other = ops.roll(image, -source, axis=0)
            sky = rim_level(other)
            moved = ops.image.affine_transform(other - sky, matrix, "bilinear", "constant", 0.0, "channels_last") + sky
            there = ops.cast(source < number, "float32")
            isolated.append(moved * ops.reshape(there, (-1, 1, 1, 1)))
            positions.append((positions[0] + shift) * there[:, None])
        isolated = ops.stack(isolated, axis=1)
        variance = ops.cast(batch["variance"], "float32")
        if self.blend == "add":
            variance = variance * ops.cast(ops.reshape(number, (-1, 1, 1, 1)), "float32")
        return {
            "image": recompose(isolated, self.blend),
            "variance": variance,
            "isolated": isolated,
            "positions": ops.stack(positions, axis=1),
            "n_sources": number,
        }

    def _transform(self, draw, rows, columns):
        """Return the matrices (n, 8), from pixels of the result to those of the galaxy, and the shifts (n, 2)."""
        angle, mirror, size = 2 * np.pi * draw[:, 0], ops.where(draw[:, 1] < 0.5, -1.0, 1.0), ops.ones_like(draw[:, 2])
        least, most = self.offset
        side = np.array([columns, rows], "float32")
        shift = side * (least + (most - least) * draw[:, 3:5]) * ops.where(draw[:, 5:7] < 0.5, -1.0, 1.0)
        if self.perturbation == "exact":
            angle, shift = 0.5 * np.pi * ops.floor(4 * draw[:, 0]), ops.round(shift)
        else:
            size = ops.exp(_LOG_SCALE[0] + (_LOG_SCALE[1] - _LOG_SCALE[0]) * draw[:, 2])
        cosine, sine = ops.cos(angle) / size, ops.sin(angle) / size
        if self.perturbation == "exact":
            cosine, sine = ops.round(cosine), ops.round(sine)
        x0, y0 = (columns - 1) / 2, (rows - 1) / 2
        from_x, from_y = x0 + shift[:, 0], y0 + shift[:, 1]
        terms = [
            mirror * cosine,
            mirror * sine,
            x0 - mirror * (cosine * from_x + sine * from_y),
            -sine,
            cosine,
            y0 + sine * from_x - cosine * from_y,
        ]
        zeros = ops.zeros_like(angle)
        return ops.stack([*terms, zeros, zeros], axis=1), shift

    def compute_output_spec(self, batch, training=False):
        return batch

    def get_config(self):
        arguments = ("branches", "fewest", "blend", "perturbation", "offset", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in arguments}}


def rim_level(image):
    """Return the median (n, 1, 1, band) of the pixels at the edge of images (n, y, x, band): their sky."""
    edges = [image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]]
    return ops.median(ops.concatenate(edges, axis=1), axis=1)[:, None, None]


def recompose(isolated, blend):
    """Return the blend (n, y, x, band) of galaxies (n, source, y, x, band): their maximum ("max") or sum ("add")."""
    return ops.max(isolated, axis=1) if blend == "max" else ops.sum(isolated, axis=1)


def repeatably(layer, batch, seed=0):
    """Call a random layer so that the same batch gives the same blends, whatever was drawn before.

    Parameters
    ----------
    layer : keras.layers.Layer
        A layer whose only variables are the states of its random numbers.
    batch : dict of tensors
    seed : int
        Another seed, other blends.
    """
    states = [
        (state, ops.convert_to_tensor(np.array([seed, number]), dtype=state.dtype))
        for number, state in enumerate(layer.variables, start=1)
    ]
    with keras.StatelessScope(state_mapping=states):
        return layer(batch, training=True)
