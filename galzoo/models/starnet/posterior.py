"""Catalogues drawn from the posterior."""

import numpy as np

from galzoo.contracts.catalogues import Catalogues
from galzoo.errors import InputError
from galzoo.models.starnet.calibration import apply

# The furthest that the logits of a draw are shifted together.
_FURTHEST = 2.0


def draw(model, batch, n, seed=0):
    """Draw catalogues of a batch; see `StarNet.posterior`."""
    if n < 1:
        raise InputError(f"n is {n}; draw at least one catalogue")
    return draw_cells(apply(model.cells(batch), model.calibration), n, seed)


def draw_cells(cells, n, seed=0):
    """Draw `Catalogues` from what the model says of the cells of images.

    Whether a cell has a star is drawn for each by itself, as the variance of the count in the likelihood has it; then
    the place and the arcsinh of each flux, from their normal distributions. Where the model says ``log_spread``, all
    logits of an image are first shifted by one random number, so that the mean count varies by that share.
    """
    random = np.random.default_rng(seed)
    logit = cells["logit"].astype(np.float64)
    probability = 1 / (1 + np.exp(-logit))
    images, bands = len(logit), cells["scaled_flux"].shape[-1]
    together = None
    if "log_spread" in cells:
        mean = probability.sum(axis=(1, 2, 3))
        slope = mean / np.maximum((probability * (1 - probability)).sum(axis=(1, 2, 3)), 1e-6)
        together = slope * np.exp(cells["log_spread"].astype(np.float64))
    drawn = []
    for _ in range(n):
        if together is not None:
            shift = np.clip(together * random.standard_normal(images), -_FURTHEST, _FURTHEST)
            probability = 1 / (1 + np.exp(-logit - shift[:, None, None, None]))
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
