"""A segmenter that is quick and depends on its window as the real one does, and small fields for it."""

import numpy as np
from astropy.io import fits

from galzoo.contracts.segmentation import CLASSES
from tests.field.fields import gaussian, wcs

BANDS = ("F160W", "F125W", "F606W", "F850LP")
COLOURS = np.array([1.0, 0.8, 0.3, 0.5])


class Thresholds:
    """Pixels above a level of their window are sources, red ones spheroids, blue ones disks."""

    bands, classes, window, margin = BANDS, CLASSES, 40, 5

    def pixel_classes(self, batch):
        image = batch["image"].astype(float)
        scaled = (image - image.mean(axis=(1, 2, 3), keepdims=True)) / image.std(axis=(1, 2, 3), keepdims=True)
        light = scaled.sum(axis=-1)
        red = image[..., 0] > image[..., 2]
        best = np.where(light > 10, np.where(red, 0, 1), 4)
        return np.eye(5)[best]


def draw(shape=(100, 110), sources=((30, 30, 900, 1), (70, 60, 900, -1), (75, 62, 500, -1)), seed=0, noise=0.5):
    """Return a field (band, y, x) of round sources (x, y, flux, 1 red or -1 blue)."""
    image = noise * np.random.default_rng(seed).normal(size=(4, *shape))
    for x, y, flux, sign in sources:
        image += flux * COLOURS[::sign, None, None] * gaussian(shape, x, y, 2.5)
    return image


def write(path, image, names=BANDS, scale=0.06, **cards):
    """Write a file with an extension a band."""
    hdus = [fits.PrimaryHDU()]
    for name, plane in zip(names, image, strict=True):
        grid = wcs()
        grid.wcs.cdelt = [-scale / 3600, scale / 3600]
        header = grid.to_header()
        header["MAGZERO"] = 31.4
        for key, value in cards.items():
            header[key] = value
        hdus.append(fits.ImageHDU(np.asarray(plane, np.float32), header, name=name))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
