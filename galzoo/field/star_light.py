"""The light of stars on pixels: a PSF's image moved to any place."""

import numpy as np

# Stars at a time; half the width of the interpolating kernel, and pixels of nothing about a PSF so that nothing wraps.
_BATCH, _REACH = 512, 5
_PADDING = 2 * _REACH + 2


class StarLight:
    """Stamps of stars, each the image of a PSF in each band.

    Parameters
    ----------
    psf : array, (p, p, band)
        Of unit sum; its middle is (p - 1) / 2 for odd and even p.
    """

    def __init__(self, psf):
        self.psf = np.asarray(psf, float)
        self.side = self.psf.shape[0] + _PADDING
        self._spectrum = np.fft.rfft2(self.psf, (self.side, self.side), axes=(0, 1))
        # Stars are moved by half of the padding and a fraction of a pixel.
        self._taps = np.arange(_PADDING + 1)
        self._waves = np.exp(-2j * np.pi * np.outer(self._taps, np.fft.fftfreq(self.side)))

    def corners(self, places):
        """Return x, y of the first pixel of the stamps of stars at places (n, 2)."""
        return np.floor(np.asarray(places, float) - (self.psf.shape[0] - 1) / 2 + 0.5).astype(int) - _PADDING // 2

    def stamps(self, places, slopes=False):
        """Return stamps (n, side, side, band) of unit flux; with `slopes`, their derivatives by x and y as well."""
        places = np.asarray(places, float).reshape(-1, 2)
        shift = places - (self.psf.shape[0] - 1) / 2 - self.corners(places)
        (x, along_x), (y, along_y) = (self._kernel(shift[:, axis]) for axis in (0, 1))
        half = self.side // 2 + 1
        x, along_x = x[:, None, :half, None], along_x[:, None, :half, None]
        y, along_y = y[:, :, None, None], along_y[:, :, None, None]

        def back(spectrum):
            return np.fft.irfft2(spectrum, (self.side, self.side), axes=(1, 2))

        stamp = back(self._spectrum * x * y)
        if not slopes:
            return stamp
        return stamp, back(self._spectrum * along_x * y), back(self._spectrum * x * along_y)

    def _kernel(self, shift):
        """Return the spectrum of a Lanczos kernel that moves by `shift` (n,), and its derivative by it, (n, side).

        A whole sinc would leave stripes all over the stamp of an undersampled PSF; this one reaches 5 pixels.
        """
        at = self._taps - shift[:, None]
        weights, step = _lanczos(at), 1e-4
        slopes = (_lanczos(at - step) - _lanczos(at + step)) / (2 * step)
        # Of unit sum, so that no flux is lost.
        total, change = weights.sum(axis=1, keepdims=True), slopes.sum(axis=1, keepdims=True)
        weights, slopes = weights / total, (slopes - weights * change / total) / total
        return weights @ self._waves, slopes @ self._waves

    def add(self, image, places, flux, corner=(0, 0), power=1):
        """Add stars of `flux` (n, band) to an image (y, x, band) whose first pixel is `corner`, x and y, in place.

        With `power` 2 the squares of the stamps of unit flux: what variances of fluxes do to pixels.
        """
        height, width = image.shape[:2]
        line = np.arange(self.side)
        for start in range(0, len(places), _BATCH):
            rows = slice(start, start + _BATCH)
            x, y = (self.corners(places[rows]) - corner).T[..., None] + line
            light = self.stamps(places[rows]) ** power * np.asarray(flux, float)[rows, None, None]
            inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
            pixel = (y[:, :, None] * width + x[:, None])[inside]
            for band in range(image.shape[-1]):
                added = np.bincount(pixel, light[..., band][inside], minlength=height * width)
                image[..., band] += added.reshape(height, width)
        return image


def _lanczos(at):
    """Return the Lanczos kernel of 5 lobes at distances in pixels."""
    return np.where(np.abs(at) < _REACH, np.sinc(at) * np.sinc(at / _REACH), 0.0)
