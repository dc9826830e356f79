"""The light of stars on pixels: a PSF's image moved to any place by Fourier phase."""

import numpy as np

# Stars at a time, and pixels of nothing about a PSF so that what is moved does not wrap.
_BATCH, _PADDING = 512, 4


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
        frequency = -2j * np.pi * np.fft.fftfreq(self.side)
        # The highest frequency of an even grid has no sign, so that its phase would not be real.
        if self.side % 2 == 0:
            frequency[self.side // 2] = 0
        self._y, self._x = frequency[:, None, None], frequency[: self.side // 2 + 1, None]

    def corners(self, places):
        """Return x, y of the first pixel of the stamps of stars at places (n, 2)."""
        return np.floor(np.asarray(places, float) - (self.psf.shape[0] - 1) / 2 + 0.5).astype(int) - _PADDING // 2

    def stamps(self, places, slopes=False):
        """Return stamps (n, side, side, band) of unit flux; with `slopes`, their derivatives by x and y as well."""
        places = np.asarray(places, float).reshape(-1, 2)
        shift = places - (self.psf.shape[0] - 1) / 2 - self.corners(places)
        phase = np.exp(self._x * shift[:, 0, None, None, None] + self._y * shift[:, 1, None, None, None])
        spectra = self._spectrum * phase

        def back(spectrum):
            return np.fft.irfft2(spectrum, (self.side, self.side), axes=(1, 2))

        if not slopes:
            return back(spectra)
        return back(spectra), back(spectra * self._x), back(spectra * self._y)

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
