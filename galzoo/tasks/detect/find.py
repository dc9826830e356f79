"""Find and measure the sources of a field, tile by tile: one answer for any size of tile, in bounded memory."""

import logging

import numpy as np

from galzoo.field import tiles as tiling
from galzoo.field.merging import merge
from galzoo.field.pieces import save_piece
from galzoo.progress import counter
from galzoo.resources import release
from galzoo.tasks.detect.finders import PIXEL_KEYS, ROW_KEYS
from galzoo.tasks.detect.measure import measure_tile

logger = logging.getLogger(__name__)


class Pieces:
    """Dicts of arrays by name, made once; files in `folder`, or in memory where there is none."""

    def __init__(self, folder=None):
        self.folder, self._kept = folder, {}

    def make(self, name, function, *arguments):
        """Make a piece by ``function(*arguments)`` where it is not there yet."""
        if self.folder is None:
            self._kept[name] = function(*arguments)
        elif not (self.folder / f"{name}.npz").is_file():
            save_piece(self.folder / f"{name}.npz", function(*arguments))

    def read(self, name, keys):
        """Return some arrays of a piece."""
        if self.folder is None:
            return {key: self._kept[name][key] for key in keys}
        with np.load(self.folder / f"{name}.npz") as file:
            return {key: file[key] for key in keys}

    def image(self, name, shape, kind):
        """Return an array of zeros, on disk where there is a folder."""
        if self.folder is None:
            return np.zeros(shape, kind)
        return np.memmap(self.folder / f"{name}.dat", kind, "w+", shape=shape)


def find(field, finder, psf_of, tile, pieces=None, progress=False, measure=True):
    """Find the sources of a field.

    Parameters
    ----------
    field : Field
    finder : object
        One of `galzoo.tasks.detect.finders`; where it has a `block`, tiles are whole numbers of blocks.
    psf_of : callable
        ``psf_of(x, y)`` returns PSFs (n, p, p, band).
    tile : int
        Side of a tile in pixels; bounds the memory.
    pieces : Pieces, optional
        In memory by default.
    progress : bool
        Show bars, with the time left.
    measure : bool
        Measure fluxes and shapes too.

    Returns
    -------
    rows : dict of arrays
        `ROW_KEYS` of `galzoo.tasks.detect.finders`, from the bottom of the field up, and what
        `galzoo.tasks.detect.measure.measure_tile` says.
    instances : int32 array, (y, x)
        Number of the source + 1, 0 where there is none.
    """
    pieces = pieces or Pieces()
    block = getattr(finder, "block", 1)
    side = max(block, tile // block * block)
    cores = tiling.tiles(field.shape, max(side, 64))
    names = [f"tile_{number:05d}" for number in range(len(cores))]
    with counter(len(cores), "finding sources", progress) as advance:
        for number, (name, core) in enumerate(zip(names, cores, strict=True)):
            pieces.make(name, finder.tile, core, number)
            advance(1)
    rows, place = _merged(pieces, names)
    instances = _painted(pieces, names, place, field.shape)
    if measure:
        with counter(len(cores), "measuring", progress) as advance:
            for number, core in enumerate(cores):
                pieces.make(f"measured_{number:05d}", measure_tile, field, instances, rows, core, psf_of)
                release(instances)
                advance(1)
        rows |= _measured(pieces, len(cores), len(rows["x"]))
    return rows, instances


def _merged(pieces, names):
    """Return the rows of all tiles that stay, in order, and for each tile the number of each of its sources, or -1."""
    parts = [pieces.read(name, ROW_KEYS) for name in names]
    rows = {key: np.concatenate([part[key] for part in parts]) for key in ROW_KEYS}
    order = merge(rows["x"], rows["y"], rows["piece"], rows["depth"])
    number = np.full(len(rows["x"]), -1)
    number[order] = np.arange(len(order))
    ends = np.cumsum([len(part["x"]) for part in parts])
    return {key: values[order] for key, values in rows.items()}, np.split(number, ends[:-1])


def _painted(pieces, names, place, shape):
    """Return the label image: where detections share a pixel, it is that of the largest share."""
    instances, best = pieces.image("instances", shape, np.int32), pieces.image("share", shape, np.float32)
    for name, own in zip(names, place, strict=True):
        found = pieces.read(name, PIXEL_KEYS)
        number = own[found["pixel_source"]] if len(own) else np.zeros(0, int)
        y, x, share = found["pixel_y"], found["pixel_x"], found["pixel_share"]
        kept = number >= 0
        # The last one written stays: the largest share, and of equal ones the first source.
        order = np.flatnonzero(kept)[np.lexsort((-number[kept], share[kept]))]
        y, x, share, number = y[order], x[order], share[order], number[order]
        above = share > best[y, x]
        instances[y[above], x[above]], best[y[above], x[above]] = number[above] + 1, share[above]
        release(instances, best)
    return instances


def _measured(pieces, tiles, n):
    """Return what was measured, in the order of the sources."""
    parts = []
    for number in range(tiles):
        name = f"measured_{number:05d}"
        parts.append(pieces.read(name, MEASURED_KEYS))
    found = {key: np.concatenate([part[key] for part in parts]) for key in MEASURED_KEYS}
    order = np.argsort(found.pop("row"), kind="stable")
    assert len(order) == n
    return {key: values[order] for key, values in found.items()}


MEASURED_KEYS = ("row", "aperture_flux", "aperture_flux_error", "a", "b", "theta", "radius", "snr", "starlike", "flags")
