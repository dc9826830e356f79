"""Detections as COCO JSON: boxes and masks with compressed run-length encoding, which pycocotools reads.

References
----------
Lin et al. 2014, arXiv:1405.0312; the encoding is that of pycocotools' ``maskApi.c``.
"""

import numpy as np

from galzoo.errors import InputError


def encode_mask(mask):
    """Return a mask in compressed run-length encoding.

    Parameters
    ----------
    mask : bool array, (y, x)

    Returns
    -------
    dict
        ``size`` [height, width] and ``counts`` (str): runs of 0 and 1 in turn, column by column.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2:
        raise InputError(f"mask has shape {mask.shape}; give (y, x)")
    flat = mask.ravel(order="F")
    return {"size": list(mask.shape), "counts": _text(_runs(np.flatnonzero(flat), flat.size))}


def encode_pixels(y, x, shape):
    """Return the mask of pixels of an image of `shape` in compressed run-length encoding; see `encode_mask`."""
    places = np.sort(np.asarray(x, np.int64) * shape[0] + np.asarray(y, np.int64))
    return {"size": [int(side) for side in shape], "counts": _text(_runs(places, int(shape[0]) * int(shape[1])))}


def decode_mask(encoded):
    """Return the mask, bool (y, x), of what `encode_mask` gave."""
    runs, text, place = [], encoded["counts"], 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            code = ord(text[place]) - 48
            value |= (code & 0x1F) << shift
            more, shift, place = bool(code & 0x20), shift + 5, place + 1
        if code & 0x10:
            value -= 1 << shift
        # From the fourth on a run is the difference to the one before the last.
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    height, width = encoded["size"]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    if flat.size != height * width:
        raise InputError(f"runs of {flat.size} pixels in a mask of {height} x {width}; the encoding is damaged")
    return flat.reshape(height, width, order="F")


def _runs(places, size):
    """Return the lengths of runs of 0 and 1 in turn, the first of 0, of pixels set at sorted `places`."""
    if not len(places):
        return [size]
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts, ends = places[np.append(0, breaks + 1)], places[np.append(breaks, len(places) - 1)] + 1
    edges = np.stack([starts, ends], axis=-1).ravel()
    runs = np.diff(np.concatenate([[0], edges, [size]])).tolist()
    return runs if runs[-1] else runs[:-1]


def _text(runs):
    found = []
    for number, run in enumerate(runs):
        value = int(run) - (int(runs[number - 2]) if number > 2 else 0)
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != -1 if code & 0x10 else value != 0
            found.append(chr((code | 0x20 if more else code) + 48))
    return "".join(found)


def coco_dataset(shape, boxes, classes, names, file_name="", scores=None, pixels=None, keys=None):
    """Return one image and its sources as a COCO data set.

    Parameters
    ----------
    shape : (int, int)
        Size of the image, (y, x).
    boxes : array, (n, 4)
        Pixel edges x0, y0, x1, y1, where the centre of the first pixel is at 0. COCO's own edges begin at 0.
    classes : int array, (n,)
        Class numbers from 0; COCO's categories are these + 1.
    names : sequence of str
        Of the classes.
    file_name : str
        Of the image.
    scores : array, (n,), optional
        Probabilities.
    pixels : sequence of (int array, int array), optional
        y and x of the pixels of each source.
    keys : sequence of int, optional
        Numbers of the sources; from 1 by default.

    Returns
    -------
    dict
        ``info, images, categories, annotations``, as JSON can hold them.
    """
    boxes, classes = np.asarray(boxes, float).reshape(-1, 4), np.asarray(classes, int)
    keys = range(1, len(boxes) + 1) if keys is None else keys
    annotations = []
    for row, (key, box) in enumerate(zip(keys, boxes, strict=True)):
        x0, y0, x1, y1 = (box + 0.5).tolist()
        one = {"id": int(key), "image_id": 1, "category_id": int(classes[row]) + 1, "iscrowd": 0}
        one |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
        if scores is not None:
            one["score"] = float(scores[row])
        if pixels is not None:
            one |= {"segmentation": encode_pixels(*pixels[row], shape), "area": float(len(pixels[row][0]))}
        annotations.append(one)
    return {
        "info": {"contributor": "galzoo"},
        "images": [{"id": 1, "width": int(shape[1]), "height": int(shape[0]), "file_name": file_name}],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(names)],
        "annotations": annotations,
    }
