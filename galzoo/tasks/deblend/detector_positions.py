"""Positions to deblend at, by a detector where it is sure and by the classical detection where it is not."""

import numpy as np

from galzoo.tasks.detect.choose_detector import choose_detector, fit_detector
from galzoo.tasks.detect.find import Pieces, find
from galzoo.tasks.detect.finders import DetectorFinder

SURE, DOUBTFUL = 0.5, 0.2
"""A detection from the first probability on is believed; one between both leaves its group to the classical answer."""


def detector_of(detector, field):
    """Return ``detect(batch, threshold)`` of a preset's name or a `Detector`, in the bands of a field."""
    if hasattr(detector, "detect"):
        return fit_detector(detector, field)[0]
    return choose_detector(detector, field)[0]


def detected_positions(field, detect, psf_of, sources, segmentation, tile, folder):
    """Return positions x, y, (n, 2).

    A group of sources whose light touches is taken from the detector where it has sure detections there and no doubtful
    ones, else from the classical detection; what the detector is sure of outside of all groups is added.

    Parameters
    ----------
    field : Field
    detect : callable
        Of `detector_of`.
    psf_of : callable
    sources : dict of arrays
        Classical, of `galzoo.field.tiles.collect`.
    segmentation : int32 array, (y, x)
        Number of the group + 1.
    tile : int
    folder : Path
        For what is finished.
    """
    folder.mkdir(exist_ok=True)
    finder = DetectorFinder(field, detect, psf_of, DOUBTFUL)
    found, _ = find(field, finder, psf_of, tile, Pieces(folder), measure=False)
    sure = found["probability"] >= SURE
    column = np.clip(np.round(found["x"]).astype(int), 0, field.shape[1] - 1)
    line = np.clip(np.round(found["y"]).astype(int), 0, field.shape[0] - 1)
    group = np.asarray(segmentation[line, column]) - 1
    trusted = np.setdiff1d(group[sure], group[~sure])
    kept = sure & ((group < 0) | np.isin(group, trusted))
    rest = ~np.isin(sources["group"], trusted)
    return np.concatenate(
        [
            np.stack([found["x"][kept], found["y"][kept]], axis=-1),
            np.stack([sources["x"][rest], sources["y"][rest]], axis=-1),
        ]
    )
