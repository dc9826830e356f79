"""Catalogues of the posterior of tiles: the most probable one, and draws."""

import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.models.starnet.catalogues import as_detections
from galzoo.models.starnet.lit import NO_STAR
from galzoo.models.starnet.posterior import stacked
from galzoo.models.starnet.tiles import CORE, STARS, slots_of

# The greatest arcsinh of a flux.
_MOST = 30.0


def tile_detections(model, batch, threshold):
    """Return the `Detections` of a batch.

    A core has as many stars as have a probability of `threshold`, where the posterior of that many has them; the
    probability of the k-th, in order of brightness, is that of k stars or more.
    """
    found = _numpy(model, batch)
    at_least = np.cumsum(np.exp(found["log_count"])[..., ::-1], axis=-1)[..., ::-1][..., 1:]
    number = (at_least >= max(threshold, 1e-3)).sum(axis=-1)
    images = []
    for row in range(len(number)):
        parts = [_entries(found, row, number[row] == some, some, at_least[row]) for some in _numbers(at_least)]
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        order = np.argsort(-joined["probability"], kind="stable")
        images.append({key: value[order].astype(np.float32) for key, value in joined.items()})
    return as_detections(model, batch, images)


def _numbers(at_least):
    return range(1, at_least.shape[-1] + 1)


def _entries(found, row, cores, some, at_least):
    """Return the stars of the cores (row, column) of an image that have `some`, brightest of a core first."""
    y, x = np.nonzero(cores)
    part = {key: found[key][row, y[:, None], x[:, None], slots_of(some)] for key in (*STARS, "unit")}
    order = np.argsort(-part["scaled_flux"][..., 0], axis=1)[..., None]
    part = {key: np.take_along_axis(value, order, axis=1) for key, value in part.items()}
    part = {key: value.reshape(-1, value.shape[-1]) for key, value in part.items()}
    z, unit = np.clip(part["scaled_flux"], -_MOST, _MOST), part["unit"]
    return {
        "probability": at_least[y, x, :some].ravel(),
        "positions": part["position"],
        "position_error": np.exp(part["log_position_error"]),
        "flux": unit * np.sinh(z),
        "flux_error": unit * np.cosh(z) * np.exp(part["log_flux_error"]),
    }


def draw_tiles(model, batch, n, seed=0):
    """Draw `Catalogues`: of each core a number of stars, then their places, which are held to the core, and fluxes."""
    if n < 1:
        raise InputError(f"n is {n}; draw at least one catalogue")
    found = _numpy(model, batch)
    random = np.random.default_rng(seed)
    share = np.cumsum(np.exp(found["log_count"].astype(np.float64)), axis=-1)
    images, down, across = share.shape[:3]
    bands = found["scaled_flux"].shape[-1]
    corner = CORE * np.stack(np.meshgrid(np.arange(across), np.arange(down)), axis=-1) - 0.5
    drawn = []
    for _ in range(n):
        number = (random.random((images, down, across, 1)) > share[..., :-1]).sum(axis=-1)
        parts = []
        for some in range(1, share.shape[-1]):
            image, y, x = np.nonzero(number == some)
            at = image[:, None], y[:, None], x[:, None], slots_of(some)
            shape = (len(image), some)
            place = np.exp(found["log_position_error"][at]) * random.standard_normal((*shape, 2))
            place = np.clip(found["position"][at] + place - corner[y, x][:, None], 0, CORE) + corner[y, x][:, None]
            z = found["scaled_flux"][at] + np.exp(found["log_flux_error"][at]) * random.standard_normal((*shape, bands))
            flux = found["unit"][at] * np.sinh(np.clip(z, -_MOST, _MOST))
            parts.append((np.repeat(image, some), place.reshape(-1, 2), flux.reshape(-1, bands)))
        image, place, flux = (np.concatenate(one) for one in zip(*parts, strict=True))
        order = np.argsort(image, kind="stable")
        drawn.append((image[order], place[order], flux[order]))
    return stacked(drawn, images, bands, np.shape(batch["image"])[1:3])


def _numpy(model, batch):
    """Return what the model says of tiles, with ``unit`` (n, row, column, slot, band) of each slot."""
    found = {key: ops.convert_to_numpy(value) for key, value in model(batch).items()}
    rows, columns = found["unit"].shape[1:3]
    x, y = np.moveaxis(np.round(found["position"]).astype(int), -1, 0)
    x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
    found["unit"] = found["unit"][np.arange(len(x))[:, None, None, None], y, x]
    known = np.pad(found["known"] > 0, ((0, 0), (0, rows % CORE), (0, columns % CORE)))
    known = known.reshape(len(known), -1, CORE, known.shape[2] // CORE, CORE).any(axis=(2, 4))
    # No star where no pixel tells of one.
    nothing = np.append(0, np.full(found["log_count"].shape[-1] - 1, NO_STAR)).astype(np.float32)
    found["log_count"] = np.where(known[..., None], found["log_count"], nothing)
    return found
