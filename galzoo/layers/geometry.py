"""Turning and cropping a batch: planes, positions, boxes, ellipticities and label images move together."""

import numpy as np
from keras import ops

from galzoo.data.footprints import THRESHOLD
from galzoo.errors import InputError

# Planes that move with the sky, and the axis of y; x follows it.
PLANES = {
    "image": 1,
    "variance": 1,
    "mask": 1,
    "psf": 1,
    "truth": 1,
    "model": 1,
    "segmentation": 1,
    "pixel_class": 1,
    "isolated": 2,
    "source_images": 2,
}


def turn_batch(batch, choice):
    """Apply one of the eight symmetries of the square to each image of a batch, and to all that is known of it.

    Parameters
    ----------
    batch : dict of tensors
        With ``image`` (n, y, x, band). Of the other keys of `galzoo.data.keys` those that have a place or a direction
        are moved, the rest is left alone. A PSF shared by the batch, (1, y, x, band), becomes one for each image.
    choice : int tensor, (n,)
        As in `turn`.

    Returns
    -------
    dict of tensors

    Raises
    ------
    InputError
        If a plane is not square.
    """
    planes = {key: batch[key] for key in PLANES if batch.get(key) is not None}
    for key, plane in planes.items():
        y, x = plane.shape[PLANES[key] : PLANES[key] + 2]
        if y != x:
            raise InputError(f"{key} has stamps of {x} x {y} pixels; only square ones can be turned by 90 degrees")
    turned = {key: turn(plane, choice, PLANES[key]) for key, plane in planes.items()}
    size = batch["image"].shape[1]
    if batch.get("positions") is not None:
        turned["positions"] = turn_positions(batch["positions"], choice, size)
    if batch.get("boxes") is not None:
        turned["boxes"] = turn_boxes(batch["boxes"], choice, size)
    if batch.get("corners") is not None:
        side = batch["source_images"].shape[2]
        turned["corners"] = turn_positions(batch["corners"], choice, size - side + 1)
    if batch.get("ellipticity") is not None:
        turned["ellipticity"] = turn_ellipticity(batch["ellipticity"], choice)
    number = batch.get("n_sources")
    for key in ("positions", "boxes", "corners"):
        if key in turned and number is not None:
            # Entries beyond the last source stay 0.
            present = np.arange(turned[key].shape[1]) < ops.cast(number, "int32")[:, None]
            turned[key] = ops.where(present[..., None], turned[key], 0.0)
    return {**batch, **turned}


def turn(plane, choice, axis=1):
    """Apply one of the eight symmetries of the square to each plane.

    Parameters
    ----------
    plane : tensor, (n, ..., y, x, ...)
        Square planes; `axis` is that of y.
    choice : int tensor, (n,)
        0 to 7, by bits: 1 mirrors x, 2 mirrors y, 4 then swaps the axes.

    Returns
    -------
    tensor, same shape
    """
    plane = ops.convert_to_tensor(plane)
    order = list(range(len(plane.shape)))
    order[axis], order[axis + 1] = order[axis + 1], order[axis]
    bits = ops.reshape(choice, (-1, *[1] * (len(order) - 1)))
    for bit, moved in ((1, lambda x: ops.flip(x, axis + 1)), (2, lambda x: ops.flip(x, axis))):
        plane = ops.where(ops.bitwise_and(bits, bit) > 0, moved(plane), plane)
    return ops.where(ops.bitwise_and(bits, 4) > 0, ops.transpose(plane, order), plane)


def turn_positions(positions, choice, size):
    """Move positions as `turn` moves their pixels.

    Parameters
    ----------
    positions : tensor, (n, source, 2)
        Pixel positions as (x, y).
    choice : int tensor, (n,)
        As in `turn`.
    size : int
        Pixels on a side of the plane.
    """
    positions = ops.cast(positions, "float32")
    bits = ops.reshape(choice, (-1, 1, 1))
    mirrored = ops.bitwise_and(bits, np.array([1, 2], "int32")) > 0
    moved = ops.where(mirrored, (size - 1) - positions, positions)
    return ops.where(ops.bitwise_and(bits, 4) > 0, ops.flip(moved, -1), moved)


def turn_boxes(boxes, choice, size):
    """Move boxes (n, source, 4), x0, y0, x1, y1, as `turn` moves their pixels; edges stay in order."""
    ends = [turn_positions(boxes[..., first : first + 2], choice, size) for first in (0, 2)]
    return ops.concatenate([ops.minimum(*ends), ops.maximum(*ends)], axis=-1)


def turn_ellipticity(ellipticity, choice):
    """Turn ellipticities (n, source, 2), e1, e2 from +x towards +y, as `turn` turns the galaxies.

    A mirror of either axis changes the sign of e2; swapping the axes that of e1.
    """
    bits = ops.reshape(choice, (-1, 1))
    one_mirror = ops.bitwise_xor(ops.bitwise_and(bits, 1), ops.bitwise_and(bits, 2) // 2) > 0
    swapped = ops.bitwise_and(bits, 4) > 0
    ellipticity = ops.cast(ellipticity, "float32")
    e1 = ops.where(swapped, -ellipticity[..., 0], ellipticity[..., 0])
    e2 = ops.where(one_mirror, -ellipticity[..., 1], ellipticity[..., 1])
    return ops.stack([e1, e2], axis=-1)


def significance(images, sky):
    """Return images of sources (n, source, y, x, band) in units of the noise, the largest of all bands.

    `sky` (n, 1, 1, band) is the variance without sources; infinite where a band is absent, which then counts nothing.
    """
    return ops.max(images / ops.sqrt(sky)[:, None], axis=-1)


def footprints(isolated, sky, positions):
    """Return the boxes (n, source, 4) and the segmentation (n, y, x) of sources that are known one by one.

    Parameters
    ----------
    isolated : tensor, (n, source, y, x, band)
        Each source alone, noiseless.
    sky, positions : tensors
        As in `significance` and `boxes_of`.
    """
    found = significance(isolated, sky)
    corners = ops.zeros_like(positions, dtype="int32")
    boxes = boxes_of(found > THRESHOLD, corners, isolated.shape[2], positions)
    brightest = ops.cast(ops.argmax(found, axis=1), "int32") + 1
    return boxes, ops.where(ops.max(found, axis=1) > THRESHOLD, brightest, 0)


def boxes_of(above, corners, size, positions):
    """Return the boxes around the pixels of each source.

    Parameters
    ----------
    above : bool tensor, (n, source, y, x)
        The pixels of each source (`galzoo.data.footprints` says which).
    corners : int tensor, (n, source, 2)
        Pixel of the scene on which the first pixel of `above` lies, as x, y.
    size : int
        Pixels on a side of the scene; boxes are cut to it.
    positions : tensor, (n, source, 2)
        x, y; its pixel is the box of a source without pixels in the scene.

    Returns
    -------
    tensor, (n, source, 4)
        Edges x0, y0, x1, y1: half a pixel outside the centres of the outermost pixels.
    """
    places = [ops.expand_dims(corners[..., axis], -1) + np.arange(above.shape[3 - axis]) for axis in (0, 1)]
    x, y = (ops.logical_and(place >= 0, place < size) for place in places)
    above = ops.logical_and(above, ops.logical_and(x[:, :, None, :], y[:, :, :, None]))
    low, high = [], []
    for axis, place in enumerate(places):
        line = ops.any(above, axis=2 + axis)
        some = ops.any(line, axis=-1)
        own = ops.cast(ops.clip(ops.round(positions[..., axis]), 0, size - 1), "int32")
        place = ops.cast(place, "int32")
        low.append(ops.where(some, ops.min(ops.where(line, place, size), axis=-1), own))
        high.append(ops.where(some, ops.max(ops.where(line, place, -1), axis=-1), own))
    edges = ops.cast(ops.stack([*low, *high], axis=-1), "float32")
    return edges + np.array([-0.5, -0.5, 0.5, 0.5], "float32")
