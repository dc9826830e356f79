"""Detection in a field of any size: tile by tile, sources whose light touches in groups, merged without seams.

What a tile finds depends on the pixels about each group alone, and a group belongs to the tile that holds its brightest
pixel, so the answer is the same for any size of tile.
"""

import numpy as np
from scipy import ndimage

from galzoo.errors import InputError
from galzoo.field.coadd import coadd
from galzoo.field.detection import disc, find_sources, significance
from galzoo.field.gaps import bridge_gaps
from galzoo.field.photometry import moment_axes

SOURCE_KEYS = ("x", "y", "a", "b", "theta", "snr", "row")
_BOX_KEYS = ("x0", "x1", "y0", "y1")
_MARGIN, _MOST_MARGIN = 96, 768
# Sources of different tiles that are nearer than this, in pixels, are one.
_SAME = 1.0
_DIGITS = 6


def tiles(shape, size):
    """Return the cores of the tiles of a field as (y0, y1, x0, x1)."""
    if size < 64:
        raise InputError(f"--tile is {size}; give 64 pixels or more")
    rows, columns = (np.append(np.arange(0, side, size), side) for side in shape)
    return [
        (int(y0), int(y1), int(x0), int(x1))
        for y0, y1 in zip(rows[:-1], rows[1:], strict=True)
        for x0, x1 in zip(columns[:-1], columns[1:], strict=True)
    ]


def detect_tile(field, core, detection, catalogue=None, margins=(_MARGIN, _MOST_MARGIN)):
    """Find the groups whose brightest pixel is in a tile.

    Parameters
    ----------
    field : Field
    core : tuple of int
        The tile as (y0, y1, x0, x1).
    detection : Detection
    catalogue : array, (n, 2), optional
        Positions x, y of the sources; none are detected then, only their footprints.
    margins : (int, int)
        Pixels about the tile that are looked at, and up to which groups are followed that are cut there.

    Returns
    -------
    dict of arrays
        ``x, y`` (pixels of the field), ``a, b`` (pixels), ``theta``, ``snr``, ``row`` (of the catalogue, else -1), a
        box ``x0, x1, y0, y1`` and ``group`` of each source; ``pixel_y, pixel_x, pixel_group`` of the footprints, where
        group -1 is light of nothing in the catalogue; ``peak_y, peak_x`` of each group.
    """
    margin, most = margins
    while True:
        window = (
            max(core[0] - margin, 0), min(core[1] + margin, field.shape[0]),
            max(core[2] - margin, 0), min(core[3] + margin, field.shape[1]),
        )  # fmt: skip
        found, cut = _detect(field, core, window, detection, catalogue)
        if not cut or margin >= most:
            return found
        margin *= 2


def _detect(field, core, window, detection, catalogue):
    """Return the groups of a tile, and whether one of them is cut by the window's edge within the field."""
    y0, y1, x0, x1 = window
    planes = field.read(*window)
    image, error, mask = coadd(bridge_gaps(planes, detection.fwhm), detection.weights)
    # What was filled in is no evidence.
    snr = significance(image, error, planes["mask"].all(axis=-1), detection.fwhm)
    image, error = np.ascontiguousarray(image, np.float32), np.ascontiguousarray(error, np.float32)
    sources, footprint = find_sources(image, error, mask, snr, detection)
    if catalogue is not None:
        sources = _listed(catalogue, window, snr, detection)
        footprint = footprint | _discs(footprint.shape, sources, 0.5 * detection.fwhm)
    near = ndimage.binary_dilation(footprint, disc(detection.grow * detection.fwhm)) if footprint.any() else footprint
    labels, count = ndimage.label(near, np.ones((3, 3)))
    at = labels[sources.pop("line"), sources.pop("column")]
    sources |= _shapes(image, labels, at, sources, detection.fwhm)
    numbers = np.arange(1, count + 1)
    peaks = np.array(ndimage.maximum_position(snr, labels, numbers), int).reshape(-1, 2)
    inside = (peaks[:, 0] + y0 >= core[0]) & (peaks[:, 0] + y0 < core[1])
    inside &= (peaks[:, 1] + x0 >= core[2]) & (peaks[:, 1] + x0 < core[3])
    filled = np.isin(numbers, at)
    cut = _touches(labels, window, field.shape)
    own = inside & (filled | (catalogue is not None))
    new = np.full(count + 1, -2)
    new[1:][own & filled] = np.arange(np.sum(own & filled))
    new[1:][own & ~filled] = -1
    kept = new[at] >= 0
    pixel_y, pixel_x = np.nonzero(new[labels] > -2)
    found = {key: values[kept] for key, values in sources.items()}
    for key, start in (("x", x0), ("y", y0)):
        # Rounded, as the last digits depend on where the window begins.
        found[key] = np.round(found[key] + start, _DIGITS)
    for key, start in (("x0", x0), ("x1", x0), ("y0", y0), ("y1", y0)):
        found[key] = found[key].astype(int) + start
    found |= {
        "group": new[at][kept],
        "pixel_y": (pixel_y + y0).astype(np.int32),
        "pixel_x": (pixel_x + x0).astype(np.int32),
        "pixel_group": new[labels[pixel_y, pixel_x]].astype(np.int32),
        "peak_y": peaks[own & filled, 0] + y0,
        "peak_x": peaks[own & filled, 1] + x0,
    }
    return found, bool((cut & own).any())


def _shapes(image, labels, at, sources, fwhm):
    """Return semi-axes, angle and box of sources from the pixels of their group that are nearest to each.

    SEP's own depend on random numbers, by which it shares out the pixels between peaks.
    """
    from scipy.spatial import cKDTree

    n, floor = len(sources["x"]), fwhm / 2.3548
    if not n:
        return {key: np.zeros(0) for key in ("a", "b", "theta", *_BOX_KEYS)}
    line, column = np.nonzero(np.isin(labels, at[at > 0]))
    # The label as a third coordinate, far apart, keeps groups to themselves.
    tree = cKDTree(np.stack([sources["x"], sources["y"], 1e6 * at], axis=-1))
    owner = tree.query(np.stack([column, line, 1e6 * labels[line, column]], axis=-1))[1]
    step_x, step_y = column - sources["x"][owner], line - sources["y"][owner]
    light = np.maximum(image[line, column].astype(float), 0)
    total = np.bincount(owner, light, minlength=n)

    def moment(values):
        return np.bincount(owner, light * values, minlength=n) / np.maximum(total, 1e-30)

    xx, yy, xy = moment(step_x**2), moment(step_y**2), moment(step_x * step_y)
    found = dict(zip(("a", "b", "theta"), moment_axes(xx, yy, xy), strict=True))
    found |= {key: np.maximum(found[key], floor) for key in "ab"}
    # A source without pixels of its own still has the width of the PSF.
    reach = int(np.ceil(fwhm))
    for low, high, pixel, place in (("x0", "x1", column, sources["x"]), ("y0", "y1", line, sources["y"])):
        first, last = np.round(place) - reach, np.round(place) + reach
        np.minimum.at(first, owner, pixel)
        np.maximum.at(last, owner, pixel)
        found[low], found[high] = first, last + 1
    return found


def _listed(catalogue, window, snr, detection):
    """Return the sources of a catalogue in a window, in its pixels."""
    y0, y1, x0, x1 = window
    x, y = catalogue[:, 0], catalogue[:, 1]
    row = np.flatnonzero((x > x0 - 0.5) & (x < x1 - 0.5) & (y > y0 - 0.5) & (y < y1 - 0.5))
    x, y = x[row] - x0, y[row] - y0
    column, line = np.round(x).astype(int), np.round(y).astype(int)
    return {"x": x, "y": y, "snr": snr[line, column], "row": row, "line": line, "column": column}


def _discs(shape, sources, radius):
    points = np.zeros(shape, bool)
    points[sources["line"], sources["column"]] = True
    return ndimage.binary_dilation(points, disc(radius))


def _touches(labels, window, shape):
    """Return for each label whether it reaches an edge of the window that is not the edge of the field."""
    count, (y0, y1, x0, x1) = labels.max(), window
    edges = [labels[0] if y0 > 0 else [], labels[-1] if y1 < shape[0] else []]
    edges += [labels[:, 0] if x0 > 0 else [], labels[:, -1] if x1 < shape[1] else []]
    return np.isin(np.arange(1, count + 1), np.concatenate(edges).astype(int))


def collect(parts):
    """Put what the tiles found together, groups in the order of their peaks from the bottom up.

    Parameters
    ----------
    parts : sequence of dict
        Answers of `detect_tile`.

    Returns
    -------
    sources : dict of arrays
        As of a tile, with ``group`` counted over the field; in the order of their groups, brightest first.
    numbers : list of int arrays
        For each tile the number that each of its groups has in the field; -1 for groups that another tile has too.
    """
    peaks = np.concatenate([np.stack([part["peak_y"], part["peak_x"]], axis=-1) for part in parts]).reshape(-1, 2)
    unique, first = np.unique(peaks, axis=0, return_index=True)
    number = np.full(len(peaks), -1)
    number[first] = np.arange(len(unique))
    ends = np.cumsum([len(part["peak_y"]) for part in parts])
    numbers = np.split(number, ends[:-1])
    keys = (*SOURCE_KEYS, *_BOX_KEYS)
    group = np.concatenate([own[part["group"]] for own, part in zip(numbers, parts, strict=True)])
    sources = {key: np.concatenate([part[key] for part in parts]) for key in keys} | {"group": group}
    keep = np.flatnonzero(group >= 0)
    keep = keep[np.lexsort((sources["x"][keep], sources["y"][keep], -sources["snr"][keep], group[keep]))]
    sources = {key: values[keep] for key, values in sources.items()}
    keep = ~_repeated(sources)
    return {key: values[keep] for key, values in sources.items()}, numbers


def _repeated(sources):
    """Return which sources another group has too: a footprint beyond the largest margin is found in pieces."""
    from scipy.spatial import cKDTree

    repeated = np.zeros(len(sources["x"]), bool)
    if len(repeated) > 1:
        pairs = cKDTree(np.stack([sources["x"], sources["y"]], axis=-1)).query_pairs(_SAME, output_type="ndarray")
        pairs = pairs[sources["group"][pairs[:, 0]] != sources["group"][pairs[:, 1]]]
        repeated[pairs.max(axis=1)] = True
    return repeated


def paint(segmentation, parts, numbers):
    """Write group numbers + 1 into a label image; light of nothing in the catalogue is -1.

    Parameters
    ----------
    segmentation : int32 array, (y, x)
        Zeros, changed in place.
    parts, numbers
        As of `collect`.
    """
    for part, own in zip(parts, numbers, strict=True):
        # The last entry answers for group -1.
        value = np.append(own + 1, -1)[part["pixel_group"]]
        shown = value != 0
        segmentation[part["pixel_y"][shown], part["pixel_x"][shown]] = value[shown]
