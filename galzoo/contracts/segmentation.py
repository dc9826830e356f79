"""Models that say of every pixel what it belongs to, and what a field of such pixels becomes."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

CLASSES = ("spheroid", "disk", "irregular", "point_source", "background")
"""The classes of Morpheus; the background is the last of any set of classes."""


@runtime_checkable
class Segmenter(Protocol):
    """The class of every pixel of an image.

    Attributes
    ----------
    bands : tuple of str
        Of the images, in order.
    classes : tuple of str
        Names of the classes, in order; the last is the background.
    window : int
        Pixels on a side of the images that it has learnt from, and is asked about.
    margin : int
        Pixels along the rim of such an image in which its answer is not to be used.
    """

    def pixel_classes(self, batch):
        """Return the probability of each class in each pixel.

        Parameters
        ----------
        batch : dict of arrays
            ``image`` (n, y, x, band) and, where known, ``mask`` of the same shape, True = bad.

        Returns
        -------
        float array, (n, y, x, class)
            Sums to 1 over the classes.

        Raises
        ------
        InputError
            If the image has another number of bands.
        """


@dataclasses.dataclass
class Segmented:
    """A field, pixel by pixel and source by source.

    Parameters
    ----------
    votes : float32 array, (class, y, x)
        Share of the windows on a pixel in which each class is the most probable; 0 in all where there are none.
    windows : int array, (y, x)
        How many windows voted; 0 along the rim of the field and where all bands are bad.
    segmentation : int32 array, (y, x)
        Number of the source, from 1; 0 background, -1 where nothing voted.
    classes : tuple of str
    """

    votes: np.ndarray
    windows: np.ndarray
    segmentation: np.ndarray
    classes: tuple
