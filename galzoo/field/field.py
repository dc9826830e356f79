"""`Field`: a multi-band image of any size with its sky, noise and PSF, read by rectangles in nJy."""

import copy
import functools
import logging

import numpy as np
from scipy import ndimage

from galzoo.data.fits_keywords import electrons_per_unit
from galzoo.data.fits_keywords import saturation as header_saturation
from galzoo.data.maps import variance_of
from galzoo.data.no_data import sky_of, without_data
from galzoo.data.noise_scatter import compare_noise
from galzoo.data.per_band import one_a_band
from galzoo.data.zeropoint import LARGEST, njy_to_magnitude
from galzoo.errors import InputError
from galzoo.field.background import CELL, measure_sky
from galzoo.field.coadd import coadd
from galzoo.field.detection import quiet_scatter, significance

logger = logging.getLogger(__name__)

# The sky is measured again so often without the light that is seen: pixels of this signal-to-noise behind a filter of
# this FWHM, grown by so many pixels; strips are read with a margin for that.
_SKY_PASSES, _LIGHT_SNR, _LIGHT_FWHM, _LIGHT_GROWTH, _LIGHT_MARGIN = 2, 3.0, 4.0, 6, 16
# Scatter of the sky in nJy that an image may have in a pixel: AB 38 to 10.
_LEVELS = 2.3e-3, 3.6e8
LEAST_SIDE = 8
"""Least side of a field in pixels."""


class Field:
    """What is known of a field, and its pixels rectangle by rectangle.

    Parameters
    ----------
    mosaic : Mosaic
        The images; its `noise_kind` may also be "variance".
    names : sequence of str
        What each band is called in the answers; as in the mosaic by default.
    subtract_sky : bool
        Subtract the level of a mesh of fixed cells.
    saturation : float, sequence of float or dict of band to float, optional
        Pixels of this value and above, in the unit of the file, are saturated; from the header by default. A dict goes
        by the bands of the mosaic.
    sky_passes : int
        How often the sky is measured again without the light that is seen above it.
    gain : float, sequence of float or dict of band to float, optional
        Electrons per unit of the file; from the header by default, where that is in counts.

    Attributes
    ----------
    bands : tuple of str
    shape : (int, int)
        Pixels, (y, x).
    wcs : astropy WCS or None
    pixel_scale : float
        Arcsec per pixel.
    gain : array, (band,)
        Electrons per nJy, 0 where it is not known.
    psf : array, (1, p, p, band) or None
        Unit sum.

    Raises
    ------
    InputError
        If no pixel is good, there is no noise to be found, or a gain is not above 0.
    """

    def __init__(self, mosaic, names=None, subtract_sky=True, saturation=None, sky_passes=_SKY_PASSES, gain=None):
        self.mosaic = mosaic
        self.bands = tuple(names or mosaic.bands)
        self.shape, self.wcs, self.pixel_scale = mosaic.shape, mosaic.wcs, mosaic.pixel_scale
        self.name = mosaic.planes[0].name
        self.subtract_sky = bool(subtract_sky)
        self.psf = None
        if min(self.shape) < LEAST_SIDE:
            raise InputError(
                f"{self.name}: {self.shape[1]} x {self.shape[0]} pixels; a field has {LEAST_SIDE} or more a side"
            )
        given = one_a_band(saturation, mosaic.bands, "saturation levels")
        self._saturation = [_saturation(plane, one) for plane, one in zip(mosaic.planes, given, strict=True)]
        self.gain = self._electrons(gain)
        mosaic.expect(max(1, self.shape[0] // CELL))
        names = [f"{plane.name}, band {band}" for plane, band in zip(mosaic.planes, self.bands, strict=True)]
        noise = [""] * len(names) if mosaic.noise is None else [f", noise map {plane.name}" for plane in mosaic.noise]
        looked = [name + one for name, one in zip(names, noise, strict=True)]
        self.sky = measure_sky(self._raw_nan, self.shape, looked, need_noise=mosaic.noise is None)
        for _ in range(sky_passes):
            self.sky = measure_sky(self._dark, self.shape, names, mosaic.noise is None, first=self.sky)
        if mosaic.noise is not None and sky_passes:
            self._compare_noise(names)
        for name, level in zip(names if sky_passes else (), self.noise_levels(), strict=False):
            if not _LEVELS[0] < level < _LEVELS[1]:
                logger.warning(
                    "%s: its sky scatters by %.3g nJy (AB %.1f) a pixel, as that of no survey does; check its zero "
                    "point (--zero-point)", name, level, njy_to_magnitude(level),
                )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _electrons(self, gain):
        """Return electrons per nJy of each band, 0 where it is not known."""
        given = one_a_band(gain, self.mosaic.bands, "gains")
        wrong = next((one for one in given if one is not None and not 0 < one < np.inf), None)
        if wrong is not None:
            raise InputError(f"{self.name}: gain is {wrong}; give electrons per unit of the image, above 0")
        known = [
            (electrons_per_unit(plane.header) if one is None else float(one)) or 0.0
            for plane, one in zip(self.mosaic.planes, given, strict=True)
        ]
        return np.array(known) / np.asarray(self.mosaic.scales, float)

    def close(self):
        """Close the files."""
        self.mosaic.close()

    def _raw(self, y0, y1, x0, x1):
        """Return pixels in nJy with their sky, noise as in the file, bad and saturated pixels; (y, x, band) each."""
        size = (y1 - y0, x1 - x0, len(self.bands))
        image, noise = np.zeros(size), None if self.mosaic.noise is None else np.zeros(size)
        bad, saturated = np.zeros(size, bool), np.zeros(size, bool)
        for band, plane in enumerate(self.mosaic.planes):
            pixels = np.asarray(plane.read(y0, y1, x0, x1), dtype=np.float64)
            saturated[..., band] = pixels >= self._saturation[band]
            image[..., band] = pixels * self.mosaic.scales[band]
            if noise is not None:
                noise[..., band] = self.mosaic.read_noise(band, y0, y1, x0, x1)
            if self.mosaic.flags is not None:
                bad[..., band] = self.mosaic.flagged(band, y0, y1, x0, x1)
            bad[..., band] |= without_data(plane, y0, y1, x0, x1, pixels, None if noise is None else noise[..., band])
            bad[..., band] |= np.abs(image[..., band]) > LARGEST
        return image, noise, bad, saturated

    def _compare_noise(self, names):
        """Say where the scatter of the sky is not that of the noise map by far: one given as another kind is."""
        middle = self.shape[0] // 2
        y0, y1 = max(middle - CELL // 2, 0), min(middle + CELL // 2, self.shape[0])
        planes = self.read(y0, y1, 0, self.shape[1])
        sky, variance = np.where(planes["mask"], np.nan, planes["image"]), planes["variance"]
        scatter = np.median(self.sky.at(y0, y1, 0, self.shape[1])[1], axis=(0, 1))
        for band, name in enumerate(names):
            pixels = functools.partial(np.take, sky, band, axis=-1)
            compare_noise(name, scatter[band], variance[..., band], self.mosaic.noise_kind, pixels)

    def _raw_nan(self, *window):
        image, noise, bad, saturated = self._raw(*window)
        good = np.isfinite(image) & ~bad & ~saturated
        if noise is not None:
            good &= np.isfinite(self._variance(noise))
        return np.where(good, image, np.nan)

    def _dark(self, y0, y1, x0, x1):
        """Return pixels with their sky but without light that is seen above it, (y, x, band), NaN there.

        Clipping alone leaves the wings and the faint galaxies in, which lift the sky of a deep field.
        """
        planes = self.read(y0 - _LIGHT_MARGIN, y1 + _LIGHT_MARGIN, x0, x1)
        image, error, mask = coadd(planes, 1 / self.noise_levels())
        snr = significance(image, error, mask, _LIGHT_FWHM)
        light = ndimage.binary_dilation(snr > _LIGHT_SNR * max(1.0, quiet_scatter(snr, mask)), iterations=_LIGHT_GROWTH)
        inside = slice(_LIGHT_MARGIN, _LIGHT_MARGIN + y1 - y0)
        return np.where(light[inside, :, None], np.nan, self._raw_nan(y0, y1, x0, x1))

    def _variance(self, noise):
        """Return the variance in nJy^2, infinite where it is not a positive number."""
        variance = variance_of(noise, self.mosaic.noise_kind) * self.mosaic.scales**2
        return np.where(variance < np.finfo(np.float32).max, variance, np.inf)

    def read(self, y0, y1, x0, x1):
        """Return the pixels [y0, y1) x [x0, x1); those off the field are masked.

        Returns
        -------
        dict of arrays, (y, x, band)
            ``image`` float32 in nJy without sky, 0 where bad; ``variance`` float32, infinite where bad; ``mask`` bool;
            ``saturated`` bool.
        """
        height, width = self.shape
        top, bottom, left, right = max(y0, 0), min(y1, height), max(x0, 0), min(x1, width)
        size = (y1 - y0, x1 - x0, len(self.bands))
        found = {
            "image": np.zeros(size, np.float32),
            "variance": np.full(size, np.inf, np.float32),
            "mask": np.ones(size, bool),
            "saturated": np.zeros(size, bool),
        }
        if top >= bottom or left >= right:
            return found
        image, noise, bad, saturated = self._raw(top, bottom, left, right)
        level, rms, dead = self.sky.at(top, bottom, left, right)
        if self.subtract_sky:
            image = image - level
        variance = np.where(dead, np.inf, rms**2) if noise is None else self._variance(noise)
        mask = bad | ~np.isfinite(image) | ~np.isfinite(variance)
        # An infinite pixel is what some pipelines leave where the detector saturates.
        saturated |= np.isposinf(image)
        mask |= saturated
        inside = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
        found["image"][inside] = np.where(mask, 0, image)
        found["variance"][inside] = np.where(mask, np.inf, variance)
        found["mask"][inside], found["saturated"][inside] = mask, saturated
        return found

    def renamed(self, bands):
        """Return the field with other names of its bands; the files are shared."""
        other = copy.copy(self)
        other.bands = tuple(bands)
        return other

    def say_noise(self):
        """Say in the log that errors lack the noise of photons, where no map has it."""
        if self.mosaic.noise is None:
            logger.warning(
                "%s: errors are of the noise of the sky, without that of the sources' own photons; --rms or --variance "
                "gives a map that has both", self.name,
            )  # fmt: skip

    def noise_levels(self):
        """Return a typical standard deviation of a sky pixel in each band, nJy, (band,)."""
        levels = np.median(self.sky.rms, axis=(0, 1))
        # A band without noise must not take all the weight.
        return np.where(levels > 0, levels, levels.max() or 1.0)


def _saturation(plane, given):
    """Return the value at which pixels of a plane are saturated; what the header says is not used below the sky."""
    level = header_saturation(plane.header, plane.name) if given is None else float(given)
    if level == np.inf:
        return level
    if np.isnan(level):
        raise InputError(f"{plane.name}: --saturation is {given}; give a level in the image's unit")
    sky, scatter, _ = sky_of(plane)
    if not level <= sky + scatter:
        return level
    where = "below its sky" if level <= sky else "within the noise of its sky"
    if given is not None:
        raise InputError(f"{plane.name}: --saturation {level:g} is {where}, {sky:.4g}; give it in the image's unit")
    logger.warning(
        "%s: its header says that pixels saturate at %g, %s (%.4g), so in another unit; left out, pass --saturation",
        plane.name, level, where, sky,
    )  # fmt: skip
    return np.inf
