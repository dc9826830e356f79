"""`ArrayField`: images in memory that are read as a `galzoo.field.field.Field` is."""

import copy

import numpy as np


class ArrayField:
    """One image without sky, with its noise.

    Parameters
    ----------
    image, variance : array, (y, x, band)
        Unit and its square.
    mask : bool array, (y, x, band), optional
        True = bad.
    bands : sequence of str
    pixel_scale : float
        Arcsec.
    wcs : astropy WCS, optional
    name : str
        What to call it in errors.
    gain : array, (band,), optional
        Electrons per unit, 0 where it is not known.
    """

    def __init__(self, image, variance, mask=None, bands=("band",), pixel_scale=0.2, wcs=None, name="image", gain=None):
        mask = np.zeros(image.shape, bool) if mask is None else np.asarray(mask, bool)
        mask = mask | ~np.isfinite(image) | ~np.isfinite(variance) | ~(np.asarray(variance) > 0)
        self._planes = {
            "image": np.where(mask, 0, image).astype(np.float32),
            "variance": np.where(mask, np.inf, variance).astype(np.float32),
            "mask": mask,
            "saturated": np.zeros(mask.shape, bool),
        }
        self.shape, self.bands, self.pixel_scale = image.shape[:2], tuple(bands), float(pixel_scale)
        self.wcs, self.name = wcs, name
        self.gain = np.zeros(len(self.bands)) if gain is None else np.asarray(gain, float)

    def renamed(self, bands):
        """Return the field with other names of its bands; see `Field.renamed`."""
        other = copy.copy(self)
        other.bands = tuple(bands)
        return other

    def read(self, y0, y1, x0, x1):
        """Return the pixels [y0, y1) x [x0, x1), those off the image masked; see `Field.read`."""
        height, width = self.shape
        top, bottom, left, right = max(y0, 0), min(y1, height), max(x0, 0), min(x1, width)
        empty = {"image": 0, "variance": np.inf, "mask": True, "saturated": False}
        found = {}
        for key, plane in self._planes.items():
            found[key] = np.full((y1 - y0, x1 - x0, plane.shape[-1]), empty[key], plane.dtype)
            if top < bottom and left < right:
                found[key][top - y0 : bottom - y0, left - x0 : right - x0] = plane[top:bottom, left:right]
        return found

    def noise_levels(self):
        """Return the noise of a sky pixel in each band, (band,): the darkest tenth has little light in it."""
        variance, good = self._planes["variance"], ~self._planes["mask"]
        levels = [
            np.sqrt(np.quantile(variance[..., band][good[..., band]], 0.1)) if good[..., band].any() else 0.0
            for band in range(len(self.bands))
        ]
        levels = np.array(levels)
        return np.where(levels > 0, levels, levels.max() or 1.0)
