"""Catalogues drawn from the posterior."""

import numpy as np

from galzoo.contracts.catalogues import Catalogues
from galzoo.errors import InputError
from galzoo.models.logistic import expit
from galzoo.models.starnet.calibration import AS_SAID, apply, common_spread
from galzoo.models.starnet.groups import GROUPED, Groups

# The furthest that the logits of a draw are shifted together.
_FURTHEST = 2.0


def draw(model, batch, n, seed=0):
    """Draw catalogues of a batch; see `StarNet.posterior`."""
    if n < 1:
        raise InputError(f"n is {n}; draw at least one catalogue")
    return draw_cells(apply(model.cells(batch), model.calibration), n, seed)


def draw_cells(cells, n, seed=0):
    """Draw `Catalogues` from what the model says of the cells of images.

    Cells that tell of the same star are one group (`galzoo.models.starnet.groups`). Whether a group has a star is drawn
    for each by itself, then which of its cells holds it, its place and the arcsinh of each flux, from their normal
    distributions. Where the model says ``log_spread``, the logits of all groups of an image are first shifted by one
    random number, so that the mean count varies by that share.
    """
    random = np.random.default_rng(seed)
    images, bands = len(cells["logit"]), cells["scaled_flux"].shape[-1]
    groups = [Groups.of({key: cells[key][row] for key in GROUPED}) for row in range(images)]
    common = np.zeros(images)
    if "log_spread" in cells:
        mean, variance = np.transpose([one.moments() for one in groups])
        share = common_spread(cells["log_spread"], mean, variance, cells.get("spread", AS_SAID))
        common = share * mean / np.maximum(variance, 1e-6)
    drawn, kinds = [], []
    for _ in range(n):
        shift = np.clip(common * random.standard_normal(images), -_FURTHEST, _FURTHEST)
        found = [one.draw(by, random) for one, by in zip(groups, shift, strict=True)]
        image = np.repeat(np.arange(images), [len(one) for one in found])
        chosen = (image, *np.unravel_index(np.concatenate(found), cells["logit"].shape[1:]))
        stars = len(image)
        place = np.exp(cells["log_position_error"][chosen]) * random.standard_normal((stars, 2))
        scaled = np.exp(cells["log_flux_error"][chosen]) * random.standard_normal((stars, bands))
        scaled = cells["scaled_flux"][chosen] + scaled
        flux = cells["unit"][chosen[:3]] * np.sinh(np.clip(scaled, -30, 30))
        drawn.append((image, cells["position"][chosen] + place, flux))
        if "star_logit" in cells:
            kinds.append(random.random(stars) < expit(cells["star_logit"][chosen].astype(np.float64)))
    return stacked(drawn, images, bands, cells["logit"].shape[1:3], kinds)


def stacked(drawn, images, bands, shape, kinds=()):
    """Return `Catalogues` of draws: of each the image (star,), rising, places (star, 2) and fluxes (star, band).

    `kinds` says of each draw which are stars, bool (star,), where that is known.
    """
    count = np.stack([np.bincount(image, minlength=images) for image, _, _ in drawn])
    most = max(int(count.max(initial=0)), 1)
    positions = np.full((len(drawn), images, most, 2), np.nan, np.float32)
    fluxes = np.full((len(drawn), images, most, bands), np.nan, np.float32)
    star = np.zeros(positions.shape[:-1], bool) if kinds else None
    for row, (image, place, flux) in enumerate(drawn):
        # Cells come image by image.
        number = np.arange(len(image)) - np.repeat(np.cumsum(count[row]) - count[row], count[row])
        positions[row, image, number], fluxes[row, image, number] = place, flux
        if kinds:
            star[row, image, number] = kinds[row]
    return Catalogues(count, positions, fluxes, shape, star)
