"""What every model that counts the sources of a stamp answers, learnt or classical."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

from galzoo.brief import Brief


@dataclasses.dataclass(repr=False)
class Counts(Brief):
    """How many sources n stamps hold, and how sure that is; all arrays are NumPy.

    Parameters
    ----------
    probability : array, (n, count)
        Of 0, 1, 2, ... sources; the last stands for that many or more. Sums to 1.
    entropy : array, (n,)
        Of `probability`, nats.
    mutual_information : array, (n,)
        The part of `entropy` that is doubt about the model: entropy less the mean entropy of single passes (Houlsby
        et al. 2011); 0 for a model of one pass.
    positions : array, (n, source, 2), optional
        Most probable sources, as x, y in pixels, brightest first.
    position_error : array, (n, source, 2), optional
        Standard deviations, pixels.
    flux, flux_error : array, (n, source, band), optional
        Total fluxes in the unit of the image, and their standard deviations.
    """

    probability: np.ndarray
    entropy: np.ndarray
    mutual_information: np.ndarray
    positions: np.ndarray | None = None
    position_error: np.ndarray | None = None
    flux: np.ndarray | None = None
    flux_error: np.ndarray | None = None

    @property
    def blended(self):
        """Probability of two sources or more, (n,)."""
        return self.probability[:, 2:].sum(axis=-1)

    def __len__(self):
        return len(self.probability)


@runtime_checkable
class Counter(Protocol):
    """A model that says how many sources are in a stamp.

    Attributes
    ----------
    bands : tuple of str
        Of the stamps, in order.
    pixel_scale : float
        Arcsec.
    """

    def count(self, batch, passes=None, seed=0):
        """Return the `Counts` of a batch; `passes` is the number of random passes, by default the model's own."""
