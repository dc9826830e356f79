"""Cropping a batch: planes, positions, boxes and label images move together."""

import dataclasses

import numpy as np

from galzoo.errors import InputError

# Axis of y in each plane of an image; x follows it.
_PLANES = {
    "image": 1,
    "variance": 1,
    "mask": 1,
    "truth": 1,
    "model": 1,
    "segmentation": 1,
    "pixel_class": 1,
    "isolated": 2,
}
# What has an entry a source, and what fills the entries beyond the last.
_SOURCES = {
    "positions": 0,
    "flux": 0,
    "boxes": 0,
    "source_class": -1,
    "ellipticity": 0,
    "half_light_radius": 0,
    "isolated": 0,
    "source_images": 0,
    "corners": 0,
}


def crop_batch(batch, size, corner=None):
    """Return a batch of NumPy arrays with its images, but not the PSFs, cut to `size` pixels.

    Parameters
    ----------
    batch : dict of arrays
        Keys of `galzoo.data.keys`.
    size : int
        Pixels on a side; images that are no larger stay whole.
    corner : (int, int), optional
        First pixel that is kept, as x, y. By default the centre is; where an odd number of pixels goes, the one more is
        taken from the far side.

    Returns
    -------
    dict of arrays
        Sources whose position is outside are left out, as is their number in the segmentation, and those that follow
        move up; boxes are cut to the image (what of a source is left in it may be smaller than its box).

    Raises
    ------
    InputError
        If `corner` does not leave so many pixels, or there are sources without positions.
    """
    height, width = batch["image"].shape[1:3]
    x, y = corner or (max(width - size, 0) // 2, max(height - size, 0) // 2)
    high, wide = min(size, height), min(size, width)
    if not (0 <= x <= width - wide and 0 <= y <= height - high):
        raise InputError(f"corner is {(x, y)}; images of {width} x {height} pixels have no {size} pixels from there on")
    result = dict(batch)
    for key in _PLANES.keys() & batch.keys():
        window = (slice(None),) * _PLANES[key] + (slice(y, y + high), slice(x, x + wide))
        result[key] = batch[key][window]
    if "n_sources" in batch:
        _crop_sources(result, np.array([x, y], np.float32), np.array([wide, high], np.float32))
    return result


def crop_stamps(stamps, size):
    """Return `Stamps` with the central `size` pixels of their planes, as `crop_batch` cuts them."""
    planes = {key: getattr(stamps, key) for key in stamps.planes}
    planes = {key: plane for key, plane in planes.items() if plane is not None}
    return dataclasses.replace(stamps, **crop_batch(planes, size))


def _crop_sources(batch, corner, shape):
    if "positions" not in batch:
        raise InputError("scenes without 'positions' cannot be cropped; ask for that key too")
    places = batch["positions"] - corner
    sources = np.arange(places.shape[1])
    present = sources < batch["n_sources"][:, None]
    inside = present & np.all((places >= -0.5) & (places < shape - 0.5), axis=-1)
    count = inside.sum(axis=1).astype(batch["n_sources"].dtype)
    order = np.argsort(~inside, axis=1, kind="stable")
    batch["positions"], batch["n_sources"] = places, count
    if "boxes" in batch:
        # Edges lie half a pixel outside the outermost pixels.
        batch["boxes"] = np.clip(batch["boxes"] - np.tile(corner, 2), -0.5, np.tile(shape - 0.5, 2))
    if "corners" in batch:
        batch["corners"] = batch["corners"] - corner
    for key in _SOURCES.keys() & batch.keys():
        tail = (1,) * (batch[key].ndim - 2)
        kept = np.take_along_axis(batch[key], order.reshape(*order.shape, *tail), axis=1)
        there = (sources < count[:, None]).reshape(*order.shape, *tail)
        batch[key] = np.where(there, kept, np.asarray(_SOURCES[key], kept.dtype))
    if "segmentation" in batch:
        # New number of each source, from 1; 0 for those that are left out and for the background.
        number = np.where(inside, np.cumsum(inside, axis=1), 0)
        number = np.concatenate([np.zeros((len(number), 1), int), number], axis=1).astype(batch["segmentation"].dtype)
        flat = batch["segmentation"].reshape(len(number), -1)
        batch["segmentation"] = np.take_along_axis(number, flat, axis=1).reshape(batch["segmentation"].shape)
