"""Catalogues of sources drawn from a posterior, as any detector may give them."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

from galzoo.brief import Brief
from galzoo.errors import InputError


@dataclasses.dataclass(repr=False)
class Catalogues(Brief):
    """Catalogues drawn for n images, padded to one number of stars.

    Parameters
    ----------
    count : int array, (draw, n)
        Number of stars.
    positions : array, (draw, n, star, 2)
        Pixel positions as x, y; NaN beyond the last star.
    flux : array, (draw, n, star, band)
        Total flux, in the unit of the image; NaN beyond the last star.
    shape : (int, int)
        Size (y, x) of the images.
    star : bool array, (draw, n, star), optional
        Which are stars and no galaxies, where the sampler tells them apart; not beyond the last.
    """

    count: np.ndarray
    positions: np.ndarray
    flux: np.ndarray
    shape: tuple[int, int]
    star: np.ndarray | None = None

    def __len__(self):
        return len(self.count)

    def counts(self, side):
        """Return the number of stars in squares of `side` pixels, (draw, n, rows, columns).

        Squares start at the corner of the first pixel; those at the far edges may be narrower. A star that is drawn
        beyond the edge of the image counts in the nearest square.

        Raises
        ------
        InputError
            If `side` is below 1.
        """
        if side < 1:
            raise InputError(f"side is {side}; give regions of at least 1 pixel")
        return region_counts(self.positions, self.count, self.shape, side)


@runtime_checkable
class CatalogueSampler(Protocol):
    """A detector that can draw catalogues from its posterior."""

    def posterior(self, batch, n=100, seed=0):
        """Return `n` `Catalogues` of each image of a batch (see `galzoo.data.keys`); same seed, same catalogues."""


def region_counts(positions, count, shape, side):
    """Return the number of stars (..., rows, columns) in squares of `side` pixels of an image of `shape` (y, x).

    ``positions`` (..., star, 2) are x, y; of each catalogue the first ``count`` (...,) are stars.
    """
    rows, columns = (-(-int(length) // int(side)) for length in shape)
    *outer, most, _ = np.shape(positions)
    there = np.arange(most) < np.asarray(count)[..., None]
    place = np.where(there[..., None], positions, 0.0)
    x, y = np.moveaxis(np.floor((place + 0.5) / side).astype(int), -1, 0)
    square = np.clip(y, 0, rows - 1) * columns + np.clip(x, 0, columns - 1)
    number = int(np.prod(outer))
    square = square + rows * columns * np.arange(number).reshape(*outer, 1)
    total = np.bincount(square[there], minlength=number * rows * columns)
    return total.reshape(*outer, rows, columns)
