"""The PSF: convolution of the model with the telescope's blur, without wrap-around."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers import fft

# Below this transfer of the model-frame Gaussian the ratio of transfer functions is damped: the Gaussian has next to
# no signal left there, and the noise of a measured PSF would be blown up without bound.
FLOOR = 1e-2


def gaussian_psf(size, sigma):
    """Return a Gaussian PSF of unit sum, shape (size, size), centred on ``(size - 1) / 2``.

    Parameters
    ----------
    size : int
        Pixels on a side.
    sigma : float
        Width in pixels.
    """
    offset = np.arange(size) - (size - 1) / 2
    line = np.exp(-0.5 * (offset / sigma) ** 2)
    return (np.outer(line, line) / line.sum() ** 2).astype("float32")


def model_gain(kx, ky, model_sigma):
    """Return the real factor, at frequencies in radians a pixel, that undoes a Gaussian of `model_sigma` pixels.

    It is exactly 1 at frequency 0; see the notes of `convolve`.
    """
    gaussian = np.exp(-0.5 * model_sigma**2 * (kx**2 + ky**2))
    return (gaussian * (1 + FLOOR**2) / (gaussian**2 + FLOOR**2)).astype("float32")


def _check(shape, psf, model_sigma):
    """Raise `InputError` unless the shape of the image and the PSF fit each other."""
    if len(shape) != 4:
        raise InputError(f"image has shape {tuple(shape)}; a PSF is applied to (n, y, x, band)")
    if len(psf.shape) != 4 or psf.shape[-1] != shape[-1]:
        raise InputError(f"psf has shape {tuple(psf.shape)}; it must be (n, y, x, band) with {shape[-1]} bands")
    if None not in (shape[0], psf.shape[0]) and psf.shape[0] not in (1, shape[0]):
        raise InputError(f"{psf.shape[0]} PSFs for {shape[0]} images; give one PSF, or one each")
    if None in (*shape[1:], *psf.shape[1:]):
        raise InputError("the size of image and psf must be known when the model is built; only n may be left open")
    if model_sigma is not None and not model_sigma > 0:
        raise InputError(f"model_sigma is {model_sigma}; give a width in pixels above 0, or None")


def _crop(psf, shape):
    """Cut the parts of `psf` that are too far out to reach any pixel of an image of `shape` (y, x)."""
    for axis, size in ((1, shape[0]), (2, shape[1])):
        extra = max(psf.shape[axis] - 2 * size, 0) // 2
        stop = psf.shape[axis] - extra
        psf = psf[:, extra:stop] if axis == 1 else psf[:, :, extra:stop]
    return psf


def sharpness(psf, bands):
    """Return log(sum of squares of a PSF) a band, about 0 for a PSF of 3 px FWHM: what an encoder is told of it.

    Parameters
    ----------
    psf : tensor, (n, y, x, band), optional
        Unit sum; 0 is returned without one.
    bands : int

    Returns
    -------
    tensor, (n or 1, band)
    """
    if psf is None:
        return ops.zeros((1, bands))
    return ops.log(ops.maximum(ops.sum(ops.square(psf), axis=(1, 2)), 1e-6)) + 3.0


def convolve(image, psf, model_sigma=None):
    """Convolve images with PSFs; pixels outside the image count as 0.

    Parameters
    ----------
    image : tensor, (n, y, x, band)
        Images, in any unit.
    psf : tensor, (n, py, px, band) or (1, py, px, band), or None
        PSFs of unit sum, of any size and parity, centred on ``((py - 1) / 2, (px - 1) / 2)``. None: no convolution.
    model_sigma : float, optional
        The image is already blurred by a Gaussian of this sigma in pixels (the model frame), so convolve with the
        difference kernel, which is the PSF with that Gaussian taken out.

    Returns
    -------
    tensor, (n, y, x, band)

    Raises
    ------
    InputError
        If the shapes do not fit each other.

    Notes
    -----
    The difference kernel is ``P G (1 + f^2) / (G^2 + f^2)`` in Fourier space, with the transfer functions P of the PSF
    and G of the Gaussian, and f = `FLOOR`; where G is well above f it is P / G (Melchior et al. 2018, section 2.3).
    """
    if psf is None:
        return image
    image = ops.convert_to_tensor(image)
    kernel = transfer(image.shape, psf, model_sigma)
    return apply_transfer(image, kernel)


def transfer(shape, psf, model_sigma=None):
    """Return the transfer function of PSFs for images of `shape`; made once where many images go through one PSF.

    Parameters
    ----------
    shape : tuple
        Of the images, (n, y, x, band).
    psf, model_sigma
        As in `convolve`.

    Returns
    -------
    tensor, (n, band, kx, 2, ky)
        For `apply_transfer`.
    """
    psf = ops.cast(ops.convert_to_tensor(psf), "float32")
    _check(shape, psf, model_sigma)
    psf = _crop(psf, shape[1:3])
    grid = tuple(fft.padded_size(a, b) for a, b in zip(shape[1:3], psf.shape[1:3], strict=True))
    kernel = fft.spectrum(psf, grid, centre=tuple((size - 1) / 2 for size in psf.shape[1:3]))
    return kernel if model_sigma is None else kernel * model_gain(*fft.frequencies(grid), model_sigma)


def apply_transfer(image, kernel, adjoint=False):
    """Convolve images with a PSF given by its `transfer`, or, with `adjoint`, with the PSF turned by half a circle."""
    shape = image.shape[1:3]
    # The half spectrum of an odd grid of x pixels has (x + 1) / 2 columns.
    grid = (kernel.shape[4], 2 * kernel.shape[2] - 1)
    if adjoint:
        kernel = kernel * np.array([[1.0], [-1.0]], "float32")
    spectrum = fft.spectrum(ops.cast(image, "float32"), grid)
    return ops.cast(fft.inverse(fft.multiply(spectrum, kernel), grid, shape), image.dtype)


def difference_kernel(psf, model_sigma, size=None):
    """Return the kernel that takes the model frame to the observed frame.

    Parameters
    ----------
    psf : array, (n, py, px, band)
        PSFs of unit sum.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.
    size : int, optional
        Pixels on a side of the kernel; by default the larger side of the PSF, made odd.

    Returns
    -------
    tensor, (n, size, size, band)
        Centred on ``(size - 1) / 2``.

    Raises
    ------
    InputError
        If the shape of `psf` does not fit or `model_sigma` is not positive.
    """
    if size is None:
        size = max(psf.shape[1:3]) // 2 * 2 + 1
    if size % 2 == 0:
        raise InputError(f"size is {size}; a kernel needs an odd size to have a central pixel")
    delta = np.zeros((psf.shape[0], size, size, psf.shape[-1]), "float32")
    delta[:, size // 2, size // 2] = 1
    return convolve(delta, psf, model_sigma)


@keras.saving.register_keras_serializable(package="galzoo")
class ConvolvePSF(keras.layers.Layer):
    """Convolve images with their PSFs; see `convolve`.

    Parameters
    ----------
    model_sigma : float, optional
        Sigma in pixels of the Gaussian PSF of the model frame, when the input is in it.

    Notes
    -----
    Called with ``(image, psf)``, (n, y, x, band) and (n or 1, py, px, band). Without a PSF the image is returned as it
    is: the model learns the image as seen.
    """

    def __init__(self, model_sigma=None, **kwargs):
        # Half precision would lose the flux.
        super().__init__(**{"dtype": "float32", **kwargs})
        if model_sigma is not None and not model_sigma > 0:
            raise InputError(f"model_sigma is {model_sigma}; give a width in pixels above 0, or None")
        self.model_sigma = None if model_sigma is None else float(model_sigma)

    def call(self, image, psf=None):
        return convolve(image, psf, self.model_sigma)

    def compute_output_shape(self, image_shape, psf_shape=None):
        return image_shape

    def get_config(self):
        return {**super().get_config(), "model_sigma": self.model_sigma}
