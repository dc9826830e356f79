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
        rows, columns, bands = self.psf.shape
        self.side = rows + _PADDING
        # Stars are moved by half of the padding and a fraction of a pixel: by these whole pixels, weighted.
        self._taps = np.arange(_PADDING + 1)
        moved = np.zeros((len(self._taps), rows, self.side, bands))
        for tap in self._taps:
            moved[tap, :, tap : tap + columns] = self.psf
        self._moved = moved.reshape(len(self._taps), -1)
        line = np.arange(self.side)[:, None] - np.arange(rows)
        self._tap_of, self._within = np.clip(line, 0, _PADDING), (line >= 0) & (line <= _PADDING)

    def corners(self, places):
        """Return x, y of the first pixel of the stamps of stars at places (n, 2)."""
        return np.floor(np.asarray(places, float) - (self.psf.shape[0] - 1) / 2 + 0.5).astype(int) - _PADDING // 2

    def stamps(self, places, slopes=False):
        """Return stamps (n, side, side, band) of unit flux; with `slopes`, their derivatives by x and y as well."""
        places = np.asarray(places, float).reshape(-1, 2)
        shift = places - (self.psf.shape[0] - 1) / 2 - self.corners(places)
        (x, along_x), (y, along_y) = (self._kernel(shift[:, axis]) for axis in (0, 1))
        lines = self._along_x(x)
        stamp = self._along_y(y, lines)
        if not slopes:
            return stamp
        return stamp, self._along_y(y, self._along_x(along_x)), self._along_y(along_y, lines)

    def _along_x(self, weights):
        """Return the PSF moved along x by weights (n, tap), as (n, p, side * band)."""
        return (weights @ self._moved).reshape(len(weights), self.psf.shape[0], -1)

    def _along_y(self, weights, lines):
        """Return what `_along_x` gives moved along y by weights (n, tap), (n, side, side, band)."""
        matrix = np.where(self._within, weights[:, self._tap_of], 0.0)
        return (matrix @ lines).reshape(len(weights), self.side, self.side, -1)

    def _kernel(self, shift):
        """Return a Lanczos kernel that moves by `shift` (n,), and its derivative by it, (n, tap).

        A whole sinc would leave stripes all over the stamp of an undersampled PSF; this one reaches 5 pixels.
        """
        at = self._taps - shift[:, None]
        weights, step = _lanczos(at), 1e-4
        slopes = (_lanczos(at - step) - _lanczos(at + step)) / (2 * step)
        # Of unit sum, so that no flux is lost.
        total, change = weights.sum(axis=1, keepdims=True), slopes.sum(axis=1, keepdims=True)
        weights, slopes = weights / total, (slopes - weights * change / total) / total
        return weights, slopes

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
