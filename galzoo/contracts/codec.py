"""Models that turn images into codes and back, and models that show an image without noise and PSF."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Codec(Protocol):
    """Images as maps of discrete codes.

    Attributes
    ----------
    bands : tuple of str
        Of the images, in order.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.
    cell : int
        Pixels along the side that one code stands for.
    quantizer : keras.layers.Layer
        ``quantizer(vectors)`` returns a dict of ``quantised`` (n, y, x, D) and ``codes`` (n, y, x);
        ``quantizer.codebook_size`` is the number of codes and ``quantizer.lookup(codes)`` gives their vectors.
    """

    def encode(self, batch, training=False):
        """Return the vectors (n, y, x, D) of a batch before quantisation."""

    def decode(self, codes, noise, size=None):
        """Return images (n, y, x, band) in the model frame, of codes (n, y, x) and noise levels (n, 1, 1, band)."""


@runtime_checkable
class Reconstructor(Protocol):
    """Images without their noise, as observed and in the model frame.

    Attributes
    ----------
    bands : tuple of str
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.
    """

    def reconstruct(self, batch):
        """Return a dict of arrays for a batch with ``image, variance`` and, where known, ``mask, psf``.

        Returns
        -------
        dict of arrays
            ``image`` (n, y, x, band), as observed, without noise; ``deconvolved`` (n, y, x, band), in the model frame,
            nowhere negative; of a codec also ``codes`` int (n, y, x), one for each cell. In the unit of the data.
        """
