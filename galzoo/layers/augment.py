"""Augmentation of whole batches in the graph."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import RecipeError
from galzoo.layers.geometry import turn_batch
from galzoo.layers.psf import gaussian_psf


@keras.saving.register_keras_serializable(package="galzoo")
class Rotate90Flip(keras.layers.Layer):
    """Apply a random rotation by a multiple of 90 degrees, with or without a flip, to each stamp of a batch.

    Parameters
    ----------
    seed : int
        Of the random numbers. Their state is a variable of the layer, so a resumed training goes on where it stopped.
    handed : dict of int to (float, float), optional
        Columns of ``condition`` with two values that change places where a stamp is mirrored, such as clockwise and
        anticlockwise.

    Notes
    -----
    Called with a dict of tensors, it moves all that has a place or a direction (`galzoo.layers.geometry.turn_batch`)
    and leaves other keys alone. A PSF shared by the batch, (1, y, x, band), becomes one for each stamp. Active only
    with ``training=True``.

    Raises
    ------
    InputError
        If a plane is not square.
    """

    def __init__(self, seed=0, handed=None, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.seed = int(seed)
        self.handed = {int(column): tuple(pair) for column, pair in (handed or {}).items()}
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, batch, training=False):
        if not training:
            return batch
        choice = keras.random.randint((ops.shape(batch["image"])[0],), 0, 8, seed=self.seed_generator)
        turned = turn_batch(batch, choice)
        if self.handed and batch.get("condition") is not None:
            turned = {**turned, "condition": self._swap_hands(batch["condition"], choice)}
        return turned

    def _swap_hands(self, condition, choice):
        # Each of the three moves that make up a symmetry mirrors; two of them are a rotation.
        bits = sum(ops.cast(ops.bitwise_and(choice, bit) > 0, "int32") for bit in (1, 2, 4))
        mirrored = (bits % 2 == 1)[:, None]
        for column, (first, second) in self.handed.items():
            own = np.arange(condition.shape[-1])[None] == column
            other = ops.where(condition == first, second, ops.where(condition == second, first, condition))
            condition = ops.where(ops.logical_and(mirrored, own), ops.cast(other, condition.dtype), condition)
        return condition

    def compute_output_spec(self, batch, training=False):
        return batch

    def get_config(self):
        return {**super().get_config(), "seed": self.seed, "handed": self.handed or None}


def by_column(pairs, columns):
    """Return a dict of column names to two values by the number of the column. Raise `RecipeError` for other names."""
    odd = [name for name in pairs or {} if name not in columns]
    if odd:
        raise RecipeError(f"handed names {odd[0]!r}, which is not among the conditions: {', '.join(columns)}")
    return {columns.index(name): [float(value) for value in values] for name, values in (pairs or {}).items()}


def random_masks(shape, chance, seed, n=None, discs=3):
    """Return maps that hide discs, and sometimes a half-plane, in some of the stamps.

    Parameters
    ----------
    shape : tuple
        Of the stamps, (n, y, x, band).
    chance : float
        Share of stamps in which anything is hidden.
    seed : keras.random.SeedGenerator
    n : int or tensor, optional
        Number of stamps where `shape` leaves it open.
    discs : int
        Discs in each such stamp, of 4 to 15 % of its side in radius. A third of the stamps also lose what lies beyond a
        line at 20 to 100 % of the way from the centre to the side.

    Returns
    -------
    tensor, (n, y, x, 1)
        1 where shown, 0 where hidden.
    """
    n = shape[0] if n is None else n
    rows = ops.reshape(ops.linspace(-1.0, 1.0, shape[1]), (1, -1, 1, 1))
    columns = ops.reshape(ops.linspace(-1.0, 1.0, shape[2]), (1, 1, -1, 1))
    draw = keras.random.uniform((n, 4 + 3 * discs), seed=seed)

    def column(index):
        return ops.reshape(draw[:, index], (-1, 1, 1, 1))

    angle = 2 * np.pi * column(1)
    beyond = columns * ops.cos(angle) + rows * ops.sin(angle) > 0.2 + 0.8 * column(2)
    hidden = ops.logical_and(beyond, column(3) < 1 / 3)
    for disc in range(discs):
        x, y, size = (column(4 + 3 * disc + part) for part in range(3))
        distance2 = ops.square(columns - (2 * x - 1)) + ops.square(rows - (2 * y - 1))
        hidden = ops.logical_or(hidden, distance2 < ops.square(0.08 + 0.22 * size))
    hidden = ops.logical_and(hidden, column(0) < chance)
    return 1.0 - ops.cast(hidden, "float32")


def hide_bands(variance, chance, seed):
    """Return the variance, infinite in bands drawn at random, never in all of an image.

    Parameters
    ----------
    variance : tensor, (n, y, x, band)
    chance : float
        Probability that a band of an image is hidden.
    seed : keras.random.SeedGenerator

    Returns
    -------
    tensor, (n, y, x, band)
    """
    draw = keras.random.uniform((ops.shape(variance)[0], variance.shape[-1]), seed=seed)
    hidden = ops.logical_and(draw < chance, draw < ops.max(draw, axis=-1, keepdims=True))
    return ops.where(hidden[:, None, None], np.float32(np.inf), variance)


def noiseless_batch(truth, snr, model_sigma):
    """Return the batch that shows noiseless model-frame images as they are, at a signal-to-noise ratio of one's choice.

    Parameters
    ----------
    truth : tensor, (n, y, x, band)
        Noiseless images in the model frame.
    snr : float or tensor, (n,)
        Optimal signal-to-noise ratio over all bands: the noise level is ``sqrt(sum(truth**2)) / snr``, the same for
        each band, so that colours stay what they are.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.

    Returns
    -------
    dict
        ``image, variance, psf`` and ``truth``, without any noise in the image.
    """
    truth = ops.cast(truth, "float32")
    power = ops.sum(ops.square(truth), axis=(1, 2, 3), keepdims=True)
    snr = ops.reshape(ops.convert_to_tensor(snr, "float32"), (-1, 1, 1, 1))
    variance = ops.where(power > 0, power, 1.0) / ops.square(snr)
    # Nine sigmas: what is cut off is below the precision of a float.
    size = 2 * int(np.ceil(4.5 * model_sigma)) + 1
    psf = np.repeat(gaussian_psf(size, model_sigma)[None, :, :, None], truth.shape[-1], axis=-1)
    return {
        "image": truth,
        "variance": ops.broadcast_to(variance, ops.shape(truth)),
        "psf": ops.convert_to_tensor(psf),
        "truth": truth,
    }


def show_noiseless(batch, chance, snr, model_sigma, seed):
    """Replace some stamps of a batch by their noiseless truth (`noiseless_batch`), so that a model meets both.

    Parameters
    ----------
    batch : dict
        With ``image, variance, truth`` and, where there are any, ``mask`` and ``psf``.
    chance : float
        Share of the stamps.
    snr : (float, float)
        Range of signal-to-noise ratios, drawn evenly in the logarithm.
    model_sigma : float
        As in `noiseless_batch`.
    seed : keras.random.SeedGenerator

    Returns
    -------
    dict
    """
    number = ops.shape(batch["image"])[0]
    draw = keras.random.uniform((number, 2), seed=seed)
    ratio = ops.exp(np.log(snr[0]) + np.log(snr[1] / snr[0]) * draw[:, 0])
    clean = noiseless_batch(batch["truth"], ratio, model_sigma)
    chosen = ops.reshape(draw[:, 1] < chance, (-1, 1, 1, 1))
    # A band that is not there stays so: the truth knows it, the telescope does not.
    clean["variance"] = ops.where(ops.isfinite(batch["variance"]), clean["variance"], batch["variance"])
    result = {key: ops.where(chosen, clean[key], batch[key]) for key in ("image", "variance")}
    if batch.get("psf") is not None:
        size = batch["psf"].shape[1]
        round_psf = gaussian_psf(size, model_sigma)[None, :, :, None]
        result["psf"] = ops.where(chosen, round_psf, batch["psf"])
    return {**batch, **result}
