"""Catalogues made of cells: cells that tell of the same star are one entry."""

import numpy as np

from galzoo.contracts.detections import Detections
from galzoo.models.logistic import expit
from galzoo.models.starnet.calibration import apply
from galzoo.models.starnet.groups import LEAST, group_cells

# What is said of each pixel.
_OF_PIXELS = (
    "logit", "position", "log_position_error", "scaled_flux", "log_flux_error", "unit", "share", "star_logit",
)  # fmt: skip
# Pixels about what is asked for whose cells are looked at too: which are one entry hangs on those nearby.
_ABOUT = 8
# The greatest arcsinh of a flux.
_MOST = 30.0


def detections(model, batch, threshold=0.0):
    """Return the `Detections` of a batch; see `StarNet.detect`."""
    cells = apply(model.cells(batch), model.calibration)
    factors = model.calibration or {}
    parts = [slice(None)] * len(cells["logit"]) if batch.get("core") is None else map(_about, np.asarray(batch["core"]))
    found = [
        entries({key: cells[key][row][part] for key in _OF_PIXELS if key in cells}, threshold, factors)
        for row, part in enumerate(parts)
    ]
    return as_detections(model, batch, found)


def _about(core):
    """Return the slices of the pixels on which the stars of a part (y0, y1, x0, x1) of an image depend."""
    y0, y1, x0, x1 = (int(edge) for edge in core)
    return np.s_[max(y0 - _ABOUT, 0) : y1 + _ABOUT, max(x0 - _ABOUT, 0) : x1 + _ABOUT]


def as_detections(model, batch, found):
    """Return the `Detections` of stars of images, a dict each, see `entries`."""
    most = max((len(one["probability"]) for one in found), default=0)

    def padded(key):
        parts = [one[key] for one in found]
        return np.stack([np.pad(p, ((0, most - len(p)),) + ((0, 0),) * (p.ndim - 1)) for p in parts])

    positions, error = padded("positions"), padded("position_error")
    # The box of a star is as wide as the PSF at half maximum.
    peak = np.maximum(np.asarray(batch["psf"]).max(axis=(1, 2)).mean(axis=-1), 1e-6)
    half = 0.5 * np.sqrt(0.8825 / peak)[:, None, None]
    probability = padded("probability")
    classes = np.zeros((*probability.shape, len(model.classes)), np.float32)
    star = padded("star_probability") if found and "star_probability" in found[0] else 1.0
    classes[..., model.classes.index("star")] = star
    classes[..., model.classes.index("galaxy")] = 1.0 - star
    return Detections(
        positions=positions,
        probability=probability,
        boxes=np.concatenate([positions - half, positions + half], axis=-1),
        class_probability=classes,
        classes=model.classes,
        flux=padded("flux"),
        flux_error=padded("flux_error"),
        position_error=error,
    )


def entries(cells, threshold=0.0, factors=None):
    """Return the catalogue of one image.

    Parameters
    ----------
    cells : dict of arrays
        What the model returns, without the first axis.
    threshold : float
        Entries less probable than this are left out.
    factors : dict, optional
        Of errors, see `galzoo.models.starnet.calibrate.fit`: ``position``, ``flux`` a band; and where it is there
        ``brighter`` (knot, band), by how many of its errors, before they are scaled, the arcsinh of a flux is raised.

    Returns
    -------
    dict of arrays
        ``probability`` (star,), falling; ``positions, position_error`` (star, 2); ``flux, flux_error`` (star, band);
        ``scaled_flux, scaled_flux_error`` (star, band), the arcsinh of the flux in units of ``unit`` (star, band); and
        where the model tells galaxies ``star_probability`` (star,).

    Notes
    -----
    A cell may hold a bright star or, less probably, a faint one by its side; the mean of both is fainter than the star
    that makes the entry probable. That is what ``brighter`` is for.
    The most probable cell is first; cells that tell of a place near to its join it, the most probable first, as long as
    the sum of probabilities stays below 1. The entry's values are their mean, its variances theirs and that between.
    """
    probability = expit(cells["logit"].astype(np.float64))
    chosen = np.nonzero(probability > LEAST)
    p = probability[chosen]
    place, scaled = cells["position"][chosen].astype(float), cells["scaled_flux"][chosen].astype(float)
    place_variance = np.exp(2.0 * cells["log_position_error"][chosen])
    scaled_variance = np.exp(2.0 * cells["log_flux_error"][chosen])
    unit = cells["unit"][chosen[:2]]
    group = group_cells(p, place, np.sqrt(place_variance.mean(axis=-1)), threshold)
    kept = group >= 0
    group, p, place, scaled, unit = group[kept], p[kept], place[kept], scaled[kept], unit[kept]
    place_variance, scaled_variance = place_variance[kept], scaled_variance[kept]
    chosen = tuple(index[kept] for index in chosen)
    number = int(group.max(initial=-1)) + 1
    total = np.bincount(group, p, number)

    def mean(values):
        return np.stack([np.bincount(group, p * v, number) for v in values.T], axis=-1) / total[:, None]

    positions, z = mean(place), mean(scaled)
    place_error = np.sqrt(mean(place_variance + (place - positions[group]) ** 2))
    z_error = np.sqrt(mean(scaled_variance + (scaled - z[group]) ** 2))
    factors = factors or {}
    if "brighter" in factors and "share" in cells:
        z = z + (mean(cells["share"][chosen[:2]]) @ np.asarray(factors["brighter"])) * z_error
    place_error, z_error = factors.get("position", 1) * place_error, np.asarray(factors.get("flux", 1)) * z_error
    # What single precision holds.
    units, z = mean(unit), np.clip(z, -_MOST, _MOST)
    order = np.argsort(-total, kind="stable")
    order = order[np.minimum(total[order], 1.0) >= threshold]
    result = {
        "probability": np.minimum(total, 1.0),
        "positions": positions,
        "position_error": place_error,
        "flux": units * np.sinh(z),
        "flux_error": units * np.cosh(z) * z_error,
        "scaled_flux": z,
        "scaled_flux_error": z_error,
        "unit": units,
    }
    if "star_logit" in cells:
        star = expit(cells["star_logit"][chosen].astype(np.float64))
        result["star_probability"] = np.bincount(group, p * star, number) / total
    return {key: value[order].astype(np.float32) for key, value in result.items()}
