"""Catalogues drawn from the posterior."""

import dataclasses

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
    """

    count: np.ndarray
    positions: np.ndarray
    flux: np.ndarray
    shape: tuple[int, int]

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


def draw(model, batch, n, seed=0):
    """Draw catalogues of a batch; see `StarNet.posterior`."""
    from keras import ops

    if n < 1:
        raise InputError(f"n is {n}; draw at least one catalogue")
    keys = ("image", "variance", "mask", "psf", "gain")
    seen = {key: np.asarray(batch[key]) for key in keys if batch.get(key) is not None}
    return draw_cells({key: ops.convert_to_numpy(value) for key, value in model(seen).items()}, n, seed)


def draw_cells(cells, n, seed=0):
    """Draw `Catalogues` from what the model says of the cells of images.

    Whether a cell has a star is drawn for each by itself, as the variance of the count in the likelihood has it; then
    the place and the arcsinh of each flux, from their normal distributions.
    """
    random = np.random.default_rng(seed)
    logit = cells["logit"].astype(np.float64)
    probability = 1 / (1 + np.exp(-logit))
    images, bands = len(logit), cells["scaled_flux"].shape[-1]
    drawn = []
    for _ in range(n):
        chosen = np.nonzero(random.random(logit.shape) < probability)
        stars = len(chosen[0])
        place = np.exp(cells["log_position_error"][chosen]) * random.standard_normal((stars, 2))
        scaled = np.exp(cells["log_flux_error"][chosen]) * random.standard_normal((stars, bands))
        scaled = cells["scaled_flux"][chosen] + scaled
        flux = cells["unit"][chosen[:3]] * np.sinh(np.clip(scaled, -30, 30))
        drawn.append((chosen[0], cells["position"][chosen] + place, flux))
    count = np.stack([np.bincount(image, minlength=images) for image, _, _ in drawn])
    most = max(int(count.max(initial=0)), 1)
    positions = np.full((n, images, most, 2), np.nan, np.float32)
    fluxes = np.full((n, images, most, bands), np.nan, np.float32)
    for row, (image, place, flux) in enumerate(drawn):
        # Cells come image by image.
        number = np.arange(len(image)) - np.repeat(np.cumsum(count[row]) - count[row], count[row])
        positions[row, image, number], fluxes[row, image, number] = place, flux
    return Catalogues(count, positions, fluxes, logit.shape[1:3])
