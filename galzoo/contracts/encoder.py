"""Models that describe a galaxy by one vector."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Encoder(Protocol):
    """Stamps as vectors.

    Attributes
    ----------
    bands : tuple of str
        Of the images, in order.
    """

    def latents(self, batch):
        """Return one vector a stamp, (n, D), of a batch with ``image, variance`` and, where known, ``mask, psf``."""
