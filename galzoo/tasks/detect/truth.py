"""What is there in simulated scenes, as detections are compared with it."""

import dataclasses

import numpy as np

from galzoo.data.footprints import footprint_boxes, significance, sky_sigma
from galzoo.data.zeropoint import njy_to_magnitude
from galzoo.metrics.deblending import blendedness, nearest_separation

LEAST_SNR = 5.0
"""Sources below this signal-to-noise, all bands together, need not be found, and to find one is no error."""


@dataclasses.dataclass
class SceneTruth:
    """The sources of one scene.

    Parameters
    ----------
    positions : array, (n, 2)
    boxes : array, (n, 4)
        Pixel edges of what of each is above the noise alone; 0 where the scenes have no images of the sources.
    pixels : list of int arrays
        Numbers ``y * width + x`` of pixels in which it is above the noise and has half of the light or more.
    classes : int array, (n,)
    magnitude, radius, separation, blendedness, snr : array, (n,)
        In the reference band; half-light radius and distance to the nearest other source in arcsec, NaN where unknown.
    wanted : bool array, (n,)
        Above `LEAST_SNR`.
    """

    positions: np.ndarray
    boxes: np.ndarray
    pixels: list
    classes: np.ndarray
    magnitude: np.ndarray
    radius: np.ndarray
    separation: np.ndarray
    blendedness: np.ndarray
    snr: np.ndarray
    wanted: np.ndarray


def scene_truths(scenes, band):
    """Return the `SceneTruth` of each scene.

    Parameters
    ----------
    scenes : Scenes
        With isolated images or cutouts, or at least with the signal-to-noise ratio of each source.
    band : int
        The reference band.
    """
    table, name = scenes.sources, scenes.bands[band]
    places, counts = scenes.positions()
    near = nearest_separation(places, counts) * scenes.pixel_scale
    sigma = sky_sigma(scenes.variance, scenes.mask)
    first, found = 0, []
    for row, count in enumerate(counts):
        own = slice(first, first + count)
        first += count
        shown = has_images(scenes)
        images, corners = _images(scenes, row, own, count) if shown else ([], [])
        positions = places[row, :count].astype(float)
        columns = {key: _column(table, key, own, count) for key in ("half_light_radius", f"blendedness_{name}")}
        flux = _column(table, f"flux_{name}", own, count)
        each = np.stack([_column(table, f"snr_{one}", own, count) for one in scenes.bands])
        # A band without the column adds nothing.
        snr = np.where(np.isfinite(each).any(axis=0), np.sqrt(np.nansum(each**2, axis=0)), np.nan)
        if shown and not np.isfinite(each).all():
            # Of the pixels, by a matched filter that knows the source.
            snr = np.array([np.sqrt(np.sum((image / sigma[row]) ** 2)) for image in images])
        blended = columns[f"blendedness_{name}"]
        if count and not np.isfinite(blended).any() and scenes.isolated is not None:
            blended = blendedness(scenes.isolated[row : row + 1])[0, :count, band]
        with np.errstate(divide="ignore", invalid="ignore"):
            magnitude = njy_to_magnitude(flux)
        found.append(
            SceneTruth(
                positions,
                _boxes(images, sigma[row], positions, corners, scenes.shape) if shown else np.zeros((count, 4)),
                _pixels(images, corners, sigma[row], scenes.shape) if shown else [np.zeros(0, int)] * count,
                _classes(table, own, count), magnitude,
                columns["half_light_radius"], near[row, :count], blended, snr, snr >= LEAST_SNR,
            )
        )  # fmt: skip
    return found


def has_images(scenes):
    """Return whether scenes have each source alone, as boxes and masks need it."""
    return scenes.isolated is not None or scenes.cutouts is not None


def _images(scenes, row, own, count):
    """Return each source alone and the pixel (x, y) of the scene on which its first pixel lies."""
    if scenes.cutouts is not None:
        corners = np.stack([np.asarray(scenes.sources[f"cutout_{axis}"][own]) for axis in "xy"], axis=-1)
        return scenes.cutouts[own], corners.astype(int)
    return list(scenes.isolated[row, :count]), np.zeros((count, 2), int)


def _column(table, name, own, count):
    if name not in table.colnames:
        return np.full(count, np.nan)
    values = table[name][own]
    return np.asarray(getattr(values, "value", values), float)


def _classes(table, own, count):
    if "source_class" in table.colnames:
        return np.asarray(table["source_class"][own]).astype(int)
    if "kind" in table.colnames:
        return (np.asarray(table["kind"][own]) == "star").astype(int)
    return np.zeros(count, int)


def _boxes(images, sigma, positions, corners, shape):
    boxes = [
        footprint_boxes(image[None], sigma, positions[row : row + 1], corners[row : row + 1], shape)[0]
        for row, image in enumerate(images)
    ]
    return np.array(boxes, float).reshape(-1, 4)


def _pixels(images, corners, sigma, shape):
    """Return the pixels of each source."""
    weight = np.where(np.isfinite(sigma) & (sigma > 0), 1 / np.where(sigma > 0, sigma, 1), 0)
    total, parts = np.zeros(shape), []
    for image, (x0, y0) in zip(images, corners, strict=True):
        top, left = max(-y0, 0), max(-x0, 0)
        image = image[top : max(shape[0] - y0, 0), left : max(shape[1] - x0, 0)]
        light, low, first = image @ weight, y0 + top, x0 + left
        total[low : low + light.shape[0], first : first + light.shape[1]] += light
        parts.append((image, light, low, first))
    found = []
    for image, light, low, first in parts:
        share = light >= 0.5 * total[low : low + light.shape[0], first : first + light.shape[1]]
        y, x = np.nonzero(share & (significance(image, sigma) > 1)) if light.size else (np.zeros(0, int),) * 2
        found.append((y + low) * shape[1] + x + first)
    return found
