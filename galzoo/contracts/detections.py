"""What every detector of sources answers, learnt or classical, so that one task and one suite serve them all."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

from galzoo.brief import Brief

CLASSES = ("galaxy", "star")
"""Names of the numbers in `source_class`."""


@dataclasses.dataclass(repr=False)
class Detections(Brief):
    """The sources found in n images, most probable first, padded to one number; all arrays are NumPy.

    Parameters
    ----------
    positions : array, (n, source, 2)
        Pixel positions of the centroids as x, y.
    probability : array, (n, source)
        That there is a source here that no earlier entry stands for; 0 beyond the last.
    boxes : array, (n, source, 4)
        x0, y0, x1, y1: pixel edges of what of the source is above the noise.
    class_probability : array, (n, source, class), optional
        Of the classes `classes`, given that there is a source; sums to 1.
    classes : tuple of str
        Names of the classes.
    flux, flux_error : array, (n, source, band), optional
        Total flux and its standard deviation, in the unit of the image.
    position_error : array, (n, source, 2), optional
        Standard deviations of x and y, pixels.
    shape, shape_error : array, (n, source, 3), optional
        e1, e2 (distortion, from +x towards +y) and half-light radius in pixels, before the PSF.
    masks : array, (n, source, m, m), optional
        Share of the light of each pixel that is the source's, on an even grid of m x m over its box.
    """

    positions: np.ndarray
    probability: np.ndarray
    boxes: np.ndarray
    class_probability: np.ndarray | None = None
    classes: tuple[str, ...] = CLASSES
    flux: np.ndarray | None = None
    flux_error: np.ndarray | None = None
    position_error: np.ndarray | None = None
    shape: np.ndarray | None = None
    shape_error: np.ndarray | None = None
    masks: np.ndarray | None = None

    def __len__(self):
        return len(self.positions)

    def galaxies(self):
        """Return whether each source is more probably something else than a star, (n, source); not where unsaid."""
        if self.class_probability is None or "star" not in self.classes:
            return np.zeros(self.probability.shape, bool)
        return np.asarray(self.class_probability)[..., self.classes.index("star")] < 0.5


@runtime_checkable
class Detector(Protocol):
    """A model that finds the sources of an image of any size that its network admits.

    Attributes
    ----------
    bands : tuple of str
        Of the images, in order.
    pixel_scale : float or None
        Arcsec; None where any will do.
    classes : tuple of str
        Names of the classes that it tells apart, by number.
    margin : int, optional
        Pixels about a part of a field that it is shown to tell what is in that part; 64 where it does not say.
    """

    def detect(self, batch, threshold=0.0):
        """Return the `Detections` of a batch (see `galzoo.data.keys`), without those less probable than `threshold`.

        Where the batch has ``core``, sources that lie beyond it may be left out.

        A detector of the role "residual" also reads ``model``, the image that a first pass has fitted, and ``image`` is
        then still the observed image.
        """
