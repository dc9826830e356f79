"""The posterior of Liu et al.: tiles whose cores have no star, one, or more, each number with places and fluxes."""

import itertools

import keras
import numpy as np
from keras import layers, ops

CORE = 2
"""Pixels of the side of a tile's core, whose stars are the tile's."""
STARS = ("position", "log_position_error", "scaled_flux", "log_flux_error")
"""What is said of the star of each slot."""
_CHANNELS, _DENSE, _MOMENTUM = 20, 256, 0.5


class TileNetwork(keras.layers.Layer):
    """Say of each tile of images how many stars its core has, and for each number where they are and how bright.

    Parameters
    ----------
    planes : int
        Channels of the input.
    bands : int
    tile : int
        Pixels of the side of a tile, even; its core of 2 is in the middle.
    most : int
        Greatest number of stars of a core; more count as so many.

    Notes
    -----
    Four 3 x 3 convolutions of 20 channels in each tile by itself, batch norms behind the second and the fourth, and
    three dense layers of 256. Images are padded with zeros, so that cores cover all pixels; those of the paper left out
    the outer 3.

    References
    ----------
    Liu et al. 2021, arXiv:2102.02409.
    """

    def __init__(self, planes, bands, tile, most, **kwargs):
        super().__init__(**kwargs)
        self.tile, self.most, self.bands = int(tile), int(most), int(bands)
        self.width = most * (most + 1) // 2 * (4 + 2 * bands) + 1 + most
        body = []
        for number in range(4):
            body += [layers.Conv2D(_CHANNELS, 3, padding="same"), layers.ReLU()]
            if number % 2:
                body.append(layers.BatchNormalization(momentum=_MOMENTUM))
        body.append(layers.Flatten())
        for _ in range(3):
            body += [layers.Dense(_DENSE), layers.BatchNormalization(momentum=_MOMENTUM), layers.ReLU()]
        self.body = keras.Sequential(body, name="body")
        self.body.build((None, tile, tile, planes))
        # In single precision, as logarithms of probabilities are.
        self.last = layers.Dense(self.width, dtype="float32", name="last")
        self.last.build((None, _DENSE))
        self.built = True

    def call(self, planes, training=False):
        """Return the posterior of tiles of ``planes`` (n, y, x, plane).

        Returns
        -------
        dict of tensors
            ``log_count`` (n, row, column, number), log of the probabilities of 0, 1, ... stars; ``position``,
            ``log_position_error`` (n, row, column, slot, 2), in pixels of the image; ``scaled_flux``,
            ``log_flux_error`` (n, row, column, slot, band). Slots are those of one star, then the two of two, and so
            on.
        """
        rows, columns = planes.shape[1:3]
        before = (self.tile - CORE) // 2
        padding = ((0, 0), (before, before + rows % CORE), (before, before + columns % CORE), (0, 0))
        patches = ops.image.extract_patches(ops.pad(planes, padding), (self.tile, self.tile), strides=CORE)
        down, across = patches.shape[1:3]
        values = self.body(ops.reshape(patches, (-1, self.tile, self.tile, planes.shape[-1])), training=training)
        values = ops.reshape(self.last(values), (-1, down, across, self.width))
        count, rest = ops.split(values, [self.most + 1], axis=-1)
        slots = self.most * (self.most + 1) // 2
        rest = ops.reshape(rest, (-1, down, across, slots, 4 + 2 * self.bands))
        place, place_error, flux, flux_error = ops.split(rest, [2, 4, 4 + self.bands], axis=-1)
        corner = CORE * np.stack(np.meshgrid(np.arange(across), np.arange(down)), axis=-1) - 0.5
        place = ops.sigmoid(place) * CORE + corner[:, :, None].astype("float32")
        return {
            "log_count": ops.log_softmax(count),
            "position": place,
            "log_position_error": 0.5 * place_error,
            "scaled_flux": flux,
            "log_flux_error": 0.5 * flux_error,
        }


def slots_of(number):
    """Return the slots of the stars of a core that has `number` of them."""
    return np.arange(number * (number - 1) // 2, number * (number + 1) // 2)


def tile_truth(truth, unit, down, across, most):
    """Return how many stars cores have, at most `most`, and the brightest of each.

    Parameters
    ----------
    truth : dict of tensors
        ``positions`` (n, star, 2), ``n_sources`` (n,), ``flux`` (n, star, band); brightest first.
    unit : tensor, (n, y, x, band)
        Of the arcsinh of fluxes.

    Returns
    -------
    count : tensor, (n, row, column)
    place : tensor, (n, row, column, star, 2)
    scaled : tensor, (n, row, column, star, band)
        0 where there is no star.
    """
    places, flux = ops.cast(truth["positions"], "float32"), ops.cast(truth["flux"], "float32")
    number, bands = places.shape[1], flux.shape[-1]
    there = np.arange(number, dtype="int32") < ops.cast(truth["n_sources"], "int32")[:, None]
    fields = ops.shape(places)[0]
    pixel = ops.cast(ops.round(places), "int32")
    rows, columns = unit.shape[1:3]
    x, y = ops.clip(pixel[..., 0], 0, columns - 1), ops.clip(pixel[..., 1], 0, rows - 1)
    tile = (y // CORE) * across + x // CORE
    same = ops.logical_and(tile[:, :, None] == tile[:, None], there[:, None])
    rank = ops.sum(ops.cast(ops.logical_and(same, np.tri(number, k=-1, dtype=bool)), "int32"), axis=-1)
    kept = ops.logical_and(there, rank < most)
    all_tiles = down * across
    field = ops.arange(fields, dtype="int32")[:, None]
    # Whoever has no place goes to the one behind the last.
    slot = ops.where(kept, (field * all_tiles + tile) * most + rank, fields * all_tiles * most)
    own = ops.take(ops.reshape(unit, (-1, bands)), ops.reshape(field * rows * columns + y * columns + x, (-1,)), axis=0)
    scaled = ops.arcsinh(flux / ops.reshape(own, ops.shape(flux)))
    one = ops.ones_like(places[..., :1])
    values = ops.reshape(ops.concatenate([places, scaled, one], axis=-1), (-1, 3 + bands))
    put = ops.segment_sum(values, ops.reshape(slot, (-1,)), fields * all_tiles * most + 1)[:-1]
    put = ops.reshape(put, (-1, down, across, most, 3 + bands))
    place, scaled, one = ops.split(put, [2, 2 + bands], axis=-1)
    return ops.cast(ops.sum(one[..., 0], axis=-1), "int32"), place, scaled


def tile_nll(found, truth, unit, present):
    """Return the negative log likelihood of catalogues, its two parts a field, (n,).

    Parameters
    ----------
    found : dict of tensors
        Of `TileNetwork`.
    truth, unit
        As for `tile_truth`.
    present : tensor, (n, band)
        1 where a band is there.

    Returns
    -------
    count, stars : tensors, (n,)
        Cross-entropy of the numbers; and of the stars of each core the likelihood of the order that fits their places
        best, without the constant ``log(2 pi) / 2`` of each place and flux.
    """
    down, across, most = *found["log_count"].shape[1:3], found["log_count"].shape[-1] - 1
    number, place, scaled = tile_truth(truth, unit, down, across, most)
    hot = ops.one_hot(number, most + 1)
    count = -ops.sum(hot * found["log_count"], axis=(1, 2, 3))
    stars = 0.0
    for some in range(1, most + 1):
        part = {key: ops.take(value, slots_of(some), axis=3) for key, value in found.items() if key in STARS}
        orders = []
        for order in itertools.permutations(range(some)):
            true_place, true_flux = (ops.take(one, np.array(order), axis=3) for one in (place, scaled))
            off = (true_place - part["position"]) * ops.exp(-part["log_position_error"])
            of_place = ops.sum(0.5 * ops.square(off) + part["log_position_error"], axis=(3, 4))
            off = (true_flux - part["scaled_flux"]) * ops.exp(-part["log_flux_error"])
            of_flux = 0.5 * ops.square(off) + part["log_flux_error"]
            orders.append((of_place, ops.sum(of_flux * present[:, None, None, None], axis=(3, 4))))
        of_place, of_flux = (ops.stack(one, axis=-1) for one in zip(*orders, strict=True))
        # The order is that of places alone.
        best = ops.one_hot(ops.argmin(of_place, axis=-1), of_place.shape[-1])
        stars = stars + ops.sum(hot[..., some] * ops.sum(best * (of_place + of_flux), axis=-1), axis=(1, 2))
    return count, stars
