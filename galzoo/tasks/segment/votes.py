"""The rank vote: windows all over a field say the class of their pixels, and each pixel takes what most of them say.

A window's answer depends on where it lies, by the light in it and by the network's grid of cells, so one pass over
an image answers otherwise than many windows do. The published vote has a window at every pixel; every `stride`-th is
nearly as good (docs/segment.md has the measurements).
"""

import numpy as np

from galzoo.errors import InputError
from galzoo.field.pieces import save_piece
from galzoo.field.tiles import tiles
from galzoo.progress import track

STRIDE = 7
"""Pixels between windows: odd, so that they fall on all cells of a network that pools by powers of two."""
# Windows at every pixel are affordable, about 20 s, where there are at most so many.
_FEW = 10_000
# Windows that go through the network at a time.
_BATCH = 128


def window_starts(size, window, stride):
    """Return the first pixels of windows along an axis of `size` pixels: every `stride`-th, and the last there is."""
    last = size - window
    return np.unique(np.append(np.arange(0, last + 1, stride), last))


def chosen_stride(shape, window, stride=None):
    """Return the pixels between windows that was asked for; by default 1, the exact vote, of small images, else 7."""
    if stride is not None:
        return stride
    return 1 if np.prod([max(size - window + 1, 0) for size in shape]) <= _FEW else STRIDE


def check_windows(shape, model, stride, name="image"):
    """Raise `InputError` if no window fits, or windows leave pixels between them."""
    if min(shape) < model.window:
        raise InputError(
            f"{name}: {shape[1]} x {shape[0]} pixels; the model looks at {model.window} x {model.window}, so give a "
            "larger field"
        )
    inner = model.window - 2 * model.margin
    if not 1 <= stride <= inner:
        raise InputError(f"--stride is {stride}; give 1 (exact, slow) to {inner} pixels")


def vote_image(model, image, mask=None, stride=STRIDE):
    """Let windows vote on the pixels of an image.

    Parameters
    ----------
    model : galzoo.contracts.segmentation.Segmenter
    image : array, (y, x, band)
        In the unit and bands of the model.
    mask : bool array, same shape, optional
        True = bad.
    stride : int
        Pixels between windows; 1 is the published vote.

    Returns
    -------
    uint16 array, (y, x, class)
        How many windows find each class the most probable; their sum is the number of windows on a pixel.
    """
    check_windows(image.shape[:2], model, stride)
    counts = np.zeros((*image.shape[:2], len(model.classes)), np.uint16)
    starts = [window_starts(size, model.window, stride) for size in image.shape[:2]]
    _add_votes(counts, model, image, mask, *starts)
    return counts


def vote_field(model, field, order, counts, stride=STRIDE, tile=1024, progress=False, work=None):
    """Let windows vote on the pixels of a field, tile by tile; each window votes once, whatever the tiles.

    Parameters
    ----------
    model : galzoo.contracts.segmentation.Segmenter
    field : galzoo.field.field.Field
    order : sequence of int
        Which bands of the field are those of the model, in its order.
    counts : uint16 array, (y, x, class)
        Zeros, or a file mapped into memory; changed in place.
    stride : int
    tile : int
        Side of a tile in pixels; bounds the memory.
    progress : bool
    work : Path, optional
        Folder in which the votes of each tile are a file when it is finished; those that are there are not cast again.
    """
    check_windows(field.shape, model, stride, field.name)
    rows, columns = (window_starts(size, model.window, stride) for size in field.shape)
    for number, (y0, y1, x0, x1) in enumerate(track(tiles(field.shape, tile), "segmenting", progress)):
        here = [starts[(starts >= low) & (starts < high)] for starts, low, high in ((rows, y0, y1), (columns, x0, x1))]
        if not all(len(starts) for starts in here):
            continue
        low, high = [starts[0] for starts in here], [starts[-1] + model.window for starts in here]
        path = None if work is None else work / f"votes_{number:05d}.npz"
        if path is not None and path.is_file():
            with np.load(path) as file:
                votes = file["votes"]
        else:
            planes = field.read(low[0], high[0], low[1], high[1])
            image, mask = (np.ascontiguousarray(planes[key][..., order]) for key in ("image", "mask"))
            votes = np.zeros((*image.shape[:2], counts.shape[-1]), counts.dtype)
            _add_votes(votes, model, image, mask, here[0] - low[0], here[1] - low[1])
            if path is not None:
                save_piece(path, {"votes": votes})
        # Windows of the next tile reach into this one.
        counts[low[0] : high[0], low[1] : high[1]] += votes


def _add_votes(counts, model, image, mask, rows, columns):
    """Add the votes of the windows that begin at `rows` and `columns` to `counts`, in place."""
    side, inner = model.window, slice(model.margin, model.window - model.margin)
    ballots = np.eye(len(model.classes), dtype=np.uint16)
    places = [(row, column) for row in rows for column in columns]
    for first in range(0, len(places), _BATCH):
        some = places[first : first + _BATCH]
        batch = {"image": _cut(image, some, side)}
        if mask is not None and mask.any():
            batch["mask"] = _cut(mask, some, side)
        votes = ballots[model.pixel_classes(batch)[:, inner, inner].argmax(axis=-1)]
        for (row, column), vote in zip(some, votes, strict=True):
            counts[row + inner.start : row + inner.stop, column + inner.start : column + inner.stop] += vote


def _cut(plane, places, side):
    return np.stack([plane[row : row + side, column : column + side] for row, column in places])
