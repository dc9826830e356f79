"""`Field`: a multi-band image of any size with its sky, noise and PSF, read by rectangles in nJy."""

import logging
import os
import re
import warnings
from pathlib import Path

import numpy as np
from scipy import ndimage

from galzoo.data.fits import open_mosaic
from galzoo.data.psf import read_psf
from galzoo.errors import InputError
from galzoo.field.background import CELL, measure_sky
from galzoo.field.detection import coadd, faint_scatter, significance

logger = logging.getLogger(__name__)

# Extensions that hold something else than pixels of a band.
_NOT_A_BAND = re.compile(r"(?i)^(var|weight|wht|ivar|rms|sigma|err|mask|flag|dq|seg|psf)")
# Headers that say at which count a detector saturates.
_SATURATION_KEYS = ("SATURATE", "SATLEVEL", "SATURATA")
# The sky is measured again so often without the light that is seen: pixels of this signal-to-noise behind a filter of
# this FWHM, grown by so many pixels; strips are read with a margin for that.
_SKY_PASSES, _LIGHT_SNR, _LIGHT_FWHM, _LIGHT_GROWTH, _LIGHT_MARGIN = 2, 3.0, 4.0, 6, 16
# A Gaussian PSF reaches so many FWHM from its centre.
_GAUSSIAN_REACH = 2.5
# Nothing on the sky has this many nJy in a pixel (AB = -6); squares of more would not fit into a float32.
_LARGEST = 1e15
LARGEST_PSF = 65
"""Largest side of a PSF image in pixels."""
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
    saturation : float, optional
        Pixels of this value and above, in the unit of the file, are saturated; from the header by default.

    Attributes
    ----------
    bands : tuple of str
    shape : (int, int)
        Pixels, (y, x).
    wcs : astropy WCS or None
    pixel_scale : float
        Arcsec per pixel.
    psf : array, (1, p, p, band) or None
        Unit sum.

    Raises
    ------
    InputError
        If no pixel is good, or there is no noise to be found.
    """

    def __init__(self, mosaic, names=None, subtract_sky=True, saturation=None):
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
        self._saturation = [_saturation(plane.header, saturation) for plane in mosaic.planes]
        mosaic.expect(max(1, self.shape[0] // CELL))
        names = [f"{plane.name}, band {band}" for plane, band in zip(mosaic.planes, self.bands, strict=True)]
        self.sky = measure_sky(self._raw_nan, self.shape, names, need_noise=mosaic.noise is None)
        for _ in range(_SKY_PASSES):
            self.sky = measure_sky(self._dark, self.shape, names, mosaic.noise is None, first=self.sky)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

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
                noise[..., band] = self.mosaic.noise[band].read(y0, y1, x0, x1)
            if self.mosaic.flags is not None:
                bad[..., band] = np.asarray(self.mosaic.flags[band].read(y0, y1, x0, x1)) != 0
        return image, noise, bad, saturated

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
        light = ndimage.binary_dilation(snr > _LIGHT_SNR * faint_scatter(snr[~mask]), iterations=_LIGHT_GROWTH)
        inside = slice(_LIGHT_MARGIN, _LIGHT_MARGIN + y1 - y0)
        return np.where(light[inside, :, None], np.nan, self._raw_nan(y0, y1, x0, x1))

    def _variance(self, noise):
        """Return the variance in nJy^2, infinite where it is not a positive number."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            variance = {"weight": lambda x: 1 / x, "rms": np.square, "variance": np.array}[self.mosaic.noise_kind](
                noise
            )
            variance = variance * self.mosaic.scales**2
            # A negative rms has a positive square.
            good = np.isfinite(variance) & (variance > 0) & (noise > 0) & (variance < np.finfo(np.float32).max)
        return np.where(good, variance, np.inf)

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
        mask = bad | ~np.isfinite(image) | ~np.isfinite(variance) | (np.abs(image) > _LARGEST)
        # An infinite pixel is what some pipelines leave where the detector saturates.
        saturated |= np.isposinf(image)
        mask |= saturated
        inside = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
        found["image"][inside] = np.where(mask, 0, image)
        found["variance"][inside] = np.where(mask, np.inf, variance)
        found["mask"][inside], found["saturated"][inside] = mask, saturated
        return found

    def noise_levels(self):
        """Return a typical standard deviation of a sky pixel in each band, nJy, (band,)."""
        levels = np.median(self.sky.rms, axis=(0, 1))
        # A band without noise must not take all the weight.
        return np.where(levels > 0, levels, levels.max() or 1.0)


def open_field(
    paths, bands=None, names=None, weight=None, rms=None, variance=None, flags=None, zero_point=None, pixel_scale=None,
    subtract_sky=True, saturation=None,
):  # fmt: skip
    """Open a field: a cube, a file with an extension a band, one file a band, or a pattern with ``{band}``.

    Parameters
    ----------
    paths : path or sequence of paths
        ``field_{band}.fits`` stands for a file of each of `bands`.
    bands : sequence of str, optional
        Names in the files, in their order; extension names, or FILTER in the headers, by default.
    names : sequence of str, optional
        What the model calls each of them; "-" leaves a band out.
    weight, rms, variance : path or sequence of paths, optional
        Inverse variance, standard deviation or variance in the unit of the image. At most one kind.
    flags : path or sequence of paths, optional
        Not 0 = bad; one for all bands, or one a band.
    zero_point, pixel_scale
        As in `galzoo.data.fits.open_mosaic`.
    subtract_sky, saturation
        As in `Field`.

    Returns
    -------
    Field

    Raises
    ------
    InputError
        If a file is missing, damaged, or does not fit the others.
    """
    kinds = {"weight": weight or None, "rms": rms or None, "variance": variance or None}
    given = [kind for kind, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"both {given[0]} and {given[1]} maps given; give one kind")
    paths = _as_list(paths)
    if bands is None and any("{band}" in path for path in paths):
        raise InputError(f"{paths[0]}: which bands? name them with --bands, e.g. --bands g,r,i")
    if bands is None and len(paths) == 1:
        bands = _extension_names(paths[0])
    paths = _expand(paths, bands)
    if names is not None:
        if bands is None or len(names) != len(bands):
            raise InputError(f"--as has {len(names)} names for {len(bands or ())} bands; give one a name in --bands")
        if len(paths) == len(bands):
            keep = [index for index, name in enumerate(names) if name != "-"]
        elif "-" in names:
            raise InputError(f"{paths[0]}: a layer of a cube cannot be left out; give one file or extension a band")
        else:
            keep = list(range(len(names)))
        paths = [paths[index] for index in keep] if len(paths) == len(bands) else paths
        kinds = {kind: _pick(_expand(_as_list(value), bands), keep, len(bands)) for kind, value in kinds.items()}
        flags = _pick(_expand(_as_list(flags), bands), keep, len(bands))
        zero_point = _pick(zero_point, keep, len(bands)) if isinstance(zero_point, list | tuple) else zero_point
        bands, names = [bands[index] for index in keep], [names[index] for index in keep]
    else:
        kinds = {kind: _expand(_as_list(value), bands) for kind, value in kinds.items()}
        flags = _expand(_as_list(flags), bands)
    doubled = [name for name in (names or bands or ()) if (names or bands).count(name) > 1]
    if doubled:
        raise InputError(f"band {doubled[0]!r} is named twice; give every band its own name")
    mosaic = open_mosaic(
        paths,
        bands,
        weight=kinds["weight"] or None,
        rms=kinds["rms"] or kinds["variance"] or None,
        flags=flags or None,
        zero_point=zero_point,
        pixel_scale=pixel_scale,
        unit="nJy",
    )
    mosaic.noise_kind = given[0] if given else mosaic.noise_kind
    try:
        return Field(mosaic, names, subtract_sky, saturation)
    except BaseException:
        mosaic.close()
        raise


def field_psf(field, paths=None, seeing=None):
    """Return the PSF of a field from files or as a Gaussian, (1, p, p, band); None where neither is given.

    Parameters
    ----------
    field : Field
    paths : path or sequence of paths, optional
        FITS images, see `galzoo.data.psf.read_psf`; also one file with an extension a band.
    seeing : float, optional
        FWHM of a Gaussian in arcsec, for all bands.

    Raises
    ------
    InputError
        If they cannot be used.
    """
    if paths is not None and seeing is not None:
        raise InputError("both --psf and --seeing given; give one")
    if paths is not None:
        return read_psf(_expand(_as_list(paths), field.mosaic.bands), field.bands, LARGEST_PSF, field.pixel_scale)
    if seeing is None:
        return None
    if not 0 < seeing < np.inf:
        raise InputError(f"--seeing is {seeing}; give the FWHM in arcsec, above 0")
    return gaussian_of(seeing / field.pixel_scale, len(field.bands))


def gaussian_of(fwhm, bands):
    """Return a Gaussian PSF of `fwhm` pixels for each of `bands` bands, (1, p, p, band); `fwhm` may be one a band."""
    fwhm = np.broadcast_to(np.asarray(fwhm, float), (bands,))
    side = min(2 * int(np.ceil(_GAUSSIAN_REACH * fwhm.max())) + 1, LARGEST_PSF)
    line = np.exp(-0.5 * ((np.arange(side)[:, None] - side // 2) / (fwhm / 2.3548)) ** 2)
    psf = line[:, None] * line[None]
    return (psf / psf.sum(axis=(0, 1))).astype(np.float32)[None]


def fwhm_of(psf):
    """Return the FWHM of PSFs in pixels from the area above half their peak, (n, band)."""
    from scipy.ndimage import zoom

    def area(plane):
        # On a finer grid, since a PSF may be only two pixels wide.
        fine = zoom(plane / plane.max(), 5, order=3, mode="nearest", grid_mode=True)
        return (fine > 0.5).sum() / 25

    planes = np.moveaxis(psf, -1, 1)
    return np.sqrt([[area(plane) * 4 / np.pi for plane in one] for one in planes])


def _as_list(paths):
    if paths is None:
        return []
    return [str(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def _expand(paths, bands):
    """Write out ``{band}``, and one file with an extension a band."""
    if bands and any("{band}" in path for path in paths):
        return [path.replace("{band}", band) for path in paths for band in (bands if "{band}" in path else [""])]
    if bands and len(paths) == 1 and len(bands) > 1:
        found = {name.upper(): name for name in _extension_names(paths[0]) or ()}
        if all(band.upper() in found for band in bands):
            return [f"{paths[0]}[{found[band.upper()]}]" for band in bands]
    return paths


def _extension_names(path):
    """Return the names of image extensions of one size in a FITS file, None where there are fewer than two."""
    from astropy.io import fits

    if not Path(path).is_file() or Path(path).suffix.lower() in (".jpg", ".jpeg", ".png"):
        return None
    try:
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore")
            images = [
                hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS") == 2 and hdu.name not in ("", "PRIMARY")
            ]
            images = [hdu for hdu in images if not _NOT_A_BAND.match(hdu.name) and hdu.shape == images[0].shape]
            names = [hdu.header["EXTNAME"] for hdu in images]
    except Exception:  # a damaged file is described by the reader that opens it
        return None
    return names if len(names) > 1 else None


def _pick(values, keep, n):
    return [values[index] for index in keep] if values is not None and len(values) == n else values


def _saturation(header, given):
    if given is not None:
        return float(given)
    for key in _SATURATION_KEYS:
        value = header.get(key)
        if isinstance(value, int | float) and np.isfinite(value) and value > 0:
            return float(value)
    return np.inf
