"""Models that take a blend apart without being told where its galaxies are."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Separator(Protocol):
    """A network with an image for each galaxy of a blend.

    Attributes
    ----------
    bands : tuple of str
        Of the images, in order.
    permutation : {"fixed", "invariant"}
        Whether its images have an order of their own: the centred galaxy first. Else they may come in any.
    noise_channels : int
        Channels of noise that it draws with; 0 where one blend has one answer.
    """

    def deblend(self, batch, threshold=0.0):
        """Return the `Deblended` of a batch; images with less than `threshold` noise levels of light are no source."""

    def blends(self, batch, seed=0):
        """Return blends made of a batch of single galaxies, as the model was trained on.

        Returns
        -------
        dict of arrays
            ``image, variance`` (n, y, x, band), ``isolated`` (n, source, y, x, band), ``positions`` (n, source, 2) as
            x, y in pixels, ``n_sources`` (n,).
        """

    def draws(self, batch, n, seed=0):
        """Return `n` answers for each blend, a list of arrays (blend, source, y, x, band)."""
