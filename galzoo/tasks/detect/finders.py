"""Ways of finding the sources of a tile of a field: the classical one, and any `Detector`, block by block.

Both answer in the same form, a dict of arrays: of each source ``x, y`` (pixels of the field), ``depth`` and ``piece``
(see `galzoo.field.merging`), ``probability``, ``class_probability`` (n, class), ``flux, flux_error`` (n, band),
``position_error`` (n, 2), ``shape`` (n, 3) and ``box`` (n, 4), NaN where it is not known; and of each pixel that
belongs to one ``pixel_y, pixel_x, pixel_source`` (number in the tile) and ``pixel_share``.
"""

import dataclasses

import numpy as np

from galzoo.field.detection import Detection
from galzoo.field.merging import GUARD, depth_in
from galzoo.field.tiles import detect_tile
from galzoo.tasks.detect.footprints import pixels_of

ROW_KEYS = (
    "x", "y", "depth", "piece", "probability", "class_probability", "flux", "flux_error", "position_error", "shape",
    "box",
)  # fmt: skip
PIXEL_KEYS = ("pixel_y", "pixel_x", "pixel_source", "pixel_share")
SURE = 5.0
"""Signal-to-noise at which the classical detection is called even."""
# A detector sees blocks of a fixed grid, so that its answer does not depend on tiles: core and margin in pixels.
BLOCK, MARGIN = 384, 64
# A pixel is that of one of so many nearest sources of its group, or so many brightest.
_RIVALS = 8


def rank(snr):
    """Return a number from 0 to 1 that grows with the signal-to-noise, 1/2 at `SURE`.

    It puts classical detections in order; how often they are true it does not say.
    """
    return np.clip(1 - 0.5 * (SURE / np.maximum(snr, 1e-9)) ** 2, 0, 1)


def snr_of(probability):
    """Return the signal-to-noise of a `rank`."""
    return SURE * np.sqrt(0.5 / (1 - probability))


@dataclasses.dataclass(frozen=True)
class ClassicalFinder:
    """Peaks behind a matched filter, taken apart by SEP: what ``galzoo deblend`` starts from.

    Parameters
    ----------
    field : Field
    detection : galzoo.field.detection.Detection
    """

    field: object
    detection: Detection

    def tile(self, core, number):
        """Find the sources of tile `number`, whose core is (y0, y1, x0, x1)."""
        found = classical_rows(self.field, core, self.detection)
        del found["row"]
        return found | {"piece": np.full(len(found["x"]), number)}


def classical_rows(field, core, detection, places=None):
    """Return the sources of a tile as all finders do, and ``row``, the number of each in `places`, (n, 2)."""
    found = detect_tile(field, core, detection, places)
    n, bands = len(found["x"]), len(field.bands)
    owner, kept = _brightest(found)
    return {
        "x": found["x"], "y": found["y"], "row": found["row"].astype(int),
        # A group is found by one tile, so all of it stays.
        "depth": np.zeros(n), "piece": np.zeros(n, int), "probability": rank(found["snr"] / detection.correlation),
        "class_probability": np.full((n, 2), np.nan), "flux": np.full((n, bands), np.nan),
        "flux_error": np.full((n, bands), np.nan), "position_error": np.full((n, 2), np.nan),
        "shape": np.full((n, 3), np.nan),
        "box": _boxes(found, owner, kept, detection.fwhm),
        "pixel_y": found["pixel_y"][kept], "pixel_x": found["pixel_x"][kept],
        "pixel_source": owner, "pixel_share": np.ones(len(owner), np.float32),
    }  # fmt: skip


def _brightest(found):
    """Return the source of the group of each pixel with the most light there, and which pixels have a group.

    Light falls as (1 + r^2 / b^2)^-1.5 from the peak, where b is the minor semi-axis of the pixels nearest the source:
    a sector of a bright galaxy's outskirts is long, but not wide. Split by distance alone, a faint neighbour takes all
    of that sector. SEP's own split depends on random numbers, and so on tiles.
    """
    from scipy.spatial import cKDTree

    kept = found["pixel_group"] >= 0
    n = len(found["x"])
    if not n:
        return np.zeros(0, int), np.zeros(len(kept), bool)
    x, y, group = (found[key][kept] for key in ("pixel_x", "pixel_y", "pixel_group"))
    peak = np.maximum(np.nan_to_num(found["snr"]), 1)
    # The group as a third coordinate, far apart, keeps groups to themselves.
    tree = cKDTree(np.stack([found["x"], found["y"], 1e7 * found["group"]], axis=-1))
    near = tree.query(np.stack([x, y, 1e7 * group], axis=-1), k=np.arange(1, min(_RIVALS, n) + 1))[1]
    owner, most = np.zeros(len(x), int), np.full(len(x), -1.0)
    for rival in (*near.T, *(one[group] for one in _bright_of_groups(found["group"], peak))):
        distance = (found["x"][rival] - x) ** 2 + (found["y"][rival] - y) ** 2
        light = np.where(
            found["group"][rival] == group, peak[rival] * (1 + distance / found["b"][rival] ** 2) ** -1.5, -1
        )
        # Of equal ones the first source, in whatever order they are looked at.
        better = (light > most) | ((light == most) & (rival < owner))
        owner[better], most[better] = rival[better], light[better]
    return owner, kept


def _bright_of_groups(group, peak):
    """Return the brightest source of each group, the second, and so on; the last one again where there are no more."""
    order = np.lexsort((-peak, group))
    count = np.bincount(group)
    first = np.cumsum(count) - count
    return [order[first + np.minimum(place, count - 1)] for place in range(min(_RIVALS, count.max()))]


def _boxes(found, owner, kept, fwhm):
    """Return edges x0, y0, x1, y1 of the pixels of each source, at least a FWHM from it."""
    edges, reach = [], int(np.ceil(fwhm))
    for key in "xy":
        low, high, pixel = np.round(found[key]) - reach, np.round(found[key]) + reach, found[f"pixel_{key}"][kept]
        np.minimum.at(low, owner, pixel)
        np.maximum.at(high, owner, pixel)
        edges.append((low - 0.5, high + 0.5))
    (x0, x1), (y0, y1) = edges
    return np.stack([x0, y0, x1, y1], axis=-1).reshape(len(found["x"]), 4)


@dataclasses.dataclass(frozen=True)
class DetectorFinder:
    """A `galzoo.contracts.detections.Detector` on blocks of a fixed grid.

    Parameters
    ----------
    field : Field
    detect : callable
        ``detect(batch, threshold) -> Detections`` in the bands of the field.
    psf_of : callable
        ``psf_of(x, y)`` returns PSFs (n, p, p, band).
    threshold : float
        Least probability.
    model : sequence of arrays (y, x), optional
        What a first pass has fitted, one a band, for detectors of the role "residual".
    block, margin : int
        Pixels of the core of a block, and about it.
    """

    field: object
    detect: object
    psf_of: object
    threshold: float = 0.5
    model: object = None
    block: int = BLOCK
    margin: int = MARGIN

    def tile(self, core, number):
        """Find the sources of tile `number`, whose core is (y0, y1, x0, x1): edges are multiples of `block`."""
        shape = self.field.shape
        parts, sources = [], 0
        columns = -(-shape[1] // self.block)
        # One at a time: several are no faster, and each takes half a gigabyte in a network.
        for one in self.cores(core):
            answer = self.detect(self.batch([one]), self.threshold)
            piece = (one[0] // self.block) * columns + one[2] // self.block
            part = self._part(answer, one, piece)
            part["pixel_source"] = part["pixel_source"] + sources
            sources += len(part["x"])
            parts.append(part)
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def batch(self, cores):
        """Return what a detector is told of the blocks whose cores are (y0, y1, x0, x1), margins and all."""
        side, margin = self.block + 2 * self.margin, self.margin
        windows = [(y0 - margin, y0 - margin + side, x0 - margin, x0 - margin + side) for y0, _, x0, _ in cores]
        planes = [self.field.read(*window) for window in windows]
        batch = {key: np.stack([one[key] for one in planes]) for key in ("image", "variance", "mask")}
        middle = np.array([(x0 + (self.block - 1) / 2, y0 + (self.block - 1) / 2) for y0, _, x0, _ in cores])
        batch["psf"] = np.asarray(self.psf_of(*middle.T), np.float32)
        first = margin - int(np.ceil(GUARD))
        ends = [(2 * margin + y1 - y0 - first, 2 * margin + x1 - x0 - first) for y0, y1, x0, x1 in cores]
        batch["core"] = np.array([(first, y, first, x) for y, x in ends])
        batch["gain"] = np.tile(np.asarray(self.field.gain, np.float32), (len(cores), 1))
        if self.model is not None:
            batch["model"] = np.stack([_window(self.model, window) for window in windows])
        return batch

    def cores(self, core):
        """Return the cores of the blocks of a part (y0, y1, x0, x1) of the field."""
        shape = self.field.shape
        return [
            (y0, min(y0 + self.block, shape[0]), x0, min(x0 + self.block, shape[1]))
            for y0 in range(core[0], core[1], self.block)
            for x0 in range(core[2], core[3], self.block)
        ]

    def _part(self, answer, core, piece):
        """Return what was found in one block."""
        x0, y0 = core[2] - self.margin, core[0] - self.margin
        x, y = answer.positions[0, :, 0] + x0, answer.positions[0, :, 1] + y0
        depth = depth_in(x, y, core, self.field.shape)
        inside = (x > -0.5) & (x < self.field.shape[1] - 0.5) & (y > -0.5) & (y < self.field.shape[0] - 0.5)
        kept = np.flatnonzero(
            (answer.probability[0] > 0) & (answer.probability[0] >= self.threshold) & (depth > -GUARD) & inside
        )
        n, bands = len(kept), len(self.field.bands)

        def taken(values, *size):
            return np.full((n, *size), np.nan) if values is None else np.asarray(values[0, kept], np.float64)

        box = np.asarray(answer.boxes[0, kept], np.float64).reshape(n, 4) + [x0, y0, x0, y0]
        masks = None if answer.masks is None else answer.masks[0, kept]
        source, pixel_y, pixel_x, pixel_share = pixels_of(box, masks, self.field.shape)
        return {
            "x": x[kept], "y": y[kept], "depth": depth[kept], "piece": np.full(n, piece),
            "probability": np.asarray(answer.probability[0, kept], np.float64),
            "class_probability": taken(answer.class_probability, len(answer.classes)),
            "flux": taken(answer.flux, bands), "flux_error": taken(answer.flux_error, bands),
            "position_error": taken(answer.position_error, 2), "shape": taken(answer.shape, 3), "box": box,
            "pixel_y": pixel_y, "pixel_x": pixel_x, "pixel_source": source, "pixel_share": pixel_share,
        }  # fmt: skip


def _window(model, window):
    """Return a window of planes (y, x), one a band, as (y, x, band), 0 off the field."""
    (y0, y1, x0, x1), (height, width) = window, model[0].shape
    found = np.zeros((y1 - y0, x1 - x0, len(model)), np.float32)
    top, bottom, left, right = max(y0, 0), min(y1, height), max(x0, 0), min(x1, width)
    if top < bottom and left < right:
        for band, plane in enumerate(model):
            found[top - y0 : bottom - y0, left - x0 : right - x0, band] = plane[top:bottom, left:right]
    return found
