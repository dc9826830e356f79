"""`Mosaic`: large images in several bands on one pixel grid, read by pieces and in nJy."""

import contextlib
import logging
import os
from pathlib import Path

import numpy as np

from galzoo.data.bands import checked
from galzoo.data.fits_keywords import filter_of
from galzoo.data.fits_keywords import pixel_scale as stated_scale
from galzoo.data.maps import (
    bad_bits,
    check_bands,
    check_flags,
    check_noise,
    check_place,
    flagged,
    labels_of,
    most_noise,
    noise_factor,
    say_filter,
    variance_of,
)
from galzoo.data.no_data import without_data
from galzoo.data.per_band import one_a_band
from galzoo.data.planes import is_picture, open_planes
from galzoo.data.sky import largest_shift, read_wcs, scale_of
from galzoo.data.zeropoint import LARGEST, flux_scale
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

# Bands must agree on where a pixel is to this part of a pixel.
_WCS_TOLERANCE = 0.1
# By so much may nominal sizes of pixels differ from measured ones.
_SCALE_TOLERANCE = 0.1
# Arcsec per pixel that a header may state: others are degrees or thousandths.
_SCALES = 5e-4, 200.0


class Mosaic:
    """Images of one field on one grid, with what is known of their noise.

    Made by `open_mosaic`; use it in a ``with`` statement or call `close`.

    Parameters
    ----------
    planes : list of Plane
        One a band.
    bands : sequence of str
    scales : sequence of float
        Unit of the stamps per unit of the pixels, a number a band.
    unit : str
        "nJy", or "" for pictures.
    wcs : astropy WCS or None
    pixel_scale : float
        Arcsec per pixel.
    noise : list of Plane or None
        Weight or rms maps, one a band.
    noise_kind : {"weight", "rms", "variance"}
    flags : list of Plane or None
        Not 0 = bad.
    segmentation : Plane or None
    flag_bits : list of int or None, optional
        For each of `flags` the bits that mean bad, None for all; see `galzoo.data.maps.bad_bits`.
    """

    def __init__(
        self,
        planes,
        bands,
        scales,
        unit,
        wcs,
        pixel_scale,
        noise=None,
        noise_kind="weight",
        flags=None,
        segmentation=None,
        flag_bits=None,
    ):
        self.planes = planes
        self.bands = tuple(bands)
        self.scales = np.asarray(scales, float)
        self.unit = unit
        self.wcs = wcs
        self.pixel_scale = float(pixel_scale)
        self.noise = noise
        self._noise_factors = [
            noise_factor(plane, noise_kind, image) for plane, image in zip(noise or (), planes, strict=False)
        ]
        self._most_noise = [most_noise(plane, noise_kind) for plane in noise or ()]
        self.noise_kind = noise_kind
        self.flags = flags
        self.flag_bits = flag_bits or [None] * len(flags or ())
        self.segmentation = segmentation
        self.shape = planes[0].shape
        self.dtype = np.uint8 if not unit and all(plane.dtype == np.uint8 for plane in planes) else np.float32

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _all(self):
        extra = [self.segmentation] if self.segmentation is not None else []
        return [*self.planes, *(self.noise or ()), *(self.flags or ()), *extra]

    def close(self):
        """Close the files."""
        for plane in self._all():
            plane.close()

    def expect(self, pieces):
        """Say how many stamps will be cut, so that compressed images are unpacked once where that is quicker."""
        for plane in self._all():
            plane.expect(pieces)

    def gather(self, x0, y0, size):
        """Cut squares of `size` pixels whose lower-left pixels are (x0, y0).

        Parameters
        ----------
        x0, y0 : int array, (n,)
            They may lie off the image; pixels there are masked.
        size : int

        Returns
        -------
        dict
            ``image`` (n, y, x, band) in `unit`, 0 where not finite; ``mask`` True where not finite, of zero weight,
            flagged or off the image; ``variance`` where there is a noise map, infinite where that is bad;
            ``segmentation`` (n, y, x).
        """
        n, many, scales = len(x0), len(self.bands), self.scales
        image = np.zeros((n, size, size, many), self.dtype)
        mask = np.zeros((n, size, size, many), bool)
        variance = None if self.noise is None else np.full((n, size, size, many), np.inf, np.float32)
        labels = None if self.segmentation is None else np.zeros((n, size, size), np.int64)
        whole, last_y, last_x = (slice(None), slice(None)), self.shape[0] - size, self.shape[1] - size
        x0, y0 = np.asarray(x0).tolist(), np.asarray(y0).tolist()
        # From bottom to top: neighbouring rows of the file are read together.
        for row in np.argsort(y0, kind="stable").tolist():
            x, y = x0[row], y0[row]
            if 0 <= x <= last_x and 0 <= y <= last_y:
                window, inside = (y, y + size, x, x + size), whole
            else:
                window, inside = self._window(x, y, size)
                mask[row] = True
                if window is None:
                    continue
                mask[(row, *inside)] = False
            if labels is not None:
                labels[(row, *inside)] = labels_of(self.segmentation, window)
            for band in range(many):
                piece = self.planes[band].read(*window)
                if self.unit:
                    # In double precision until the flux is in nJy: other units may be beyond a float32.
                    flux = np.asarray(piece, np.float64) * scales[band]
                    image[(row, *inside, band)] = np.where(np.abs(flux) <= LARGEST, flux, np.nan)
                else:
                    image[(row, *inside, band)] = piece
                if self.flags is not None:
                    mask[(row, *inside, band)] = self.flagged(band, *window)
                noise = None if variance is None else self.read_noise(band, *window)
                if self.dtype != np.uint8:
                    empty = without_data(self.planes[band], *window, piece, noise)
                    mask[(row, *inside, band)] |= empty
                    image[(row, *inside, band)][empty] = 0
                if variance is not None:
                    variance[(row, *inside, band)] = variance_of(noise, self.noise_kind) * scales[band] ** 2
        if image.dtype != np.uint8:
            # A sum is finite where every term is: one fast pass finds the few stamps to look at.
            with np.errstate(invalid="ignore", over="ignore"):
                rows = np.flatnonzero(~np.isfinite(image.reshape(n, -1).sum(axis=1)))
            bad = ~np.isfinite(image[rows])
            mask[rows] |= bad
            image[rows] = np.where(bad, 0, image[rows])
        if variance is not None:
            bad = ~(np.isfinite(variance) & (variance > 0))
            mask |= bad
            variance[bad] = np.inf
        found = {"image": image, "mask": mask, "variance": variance, "segmentation": labels}
        return {key: value for key, value in found.items() if value is not None}

    def read_noise(self, band, *window):
        """Return the noise map of a band in a window, float64 (y, x), in the unit of the image; there must be one.

        It is NaN where the noise is so large that it stands for no data.
        """
        noise = np.asarray(self.noise[band].read(*window), np.float64)
        noise = np.where(variance_of(noise, self.noise_kind) > self._most_noise[band], np.nan, noise)
        return noise * self._noise_factors[band]

    def flagged(self, band, *window):
        """Return which pixels of a window are flagged in a band, bool (y, x); there must be flags."""
        return flagged(self.flags[band].read(*window), self.flag_bits[band])

    def _window(self, x, y, size):
        """Return the part of a square that is on the image, in pixels of the image and of the stamp."""
        height, width = self.shape
        left, right, low, high = max(x, 0), min(x + size, width), max(y, 0), min(y + size, height)
        if left >= right or low >= high:
            return None, None
        return (low, high, left, right), (slice(low - y, high - y), slice(left - x, right - x))


def open_mosaic(
    paths,
    bands=None,
    weight=None,
    rms=None,
    segmentation=None,
    flags=None,
    zero_point=None,
    pixel_scale=None,
    unit=None,
    variance=None,
):
    """Open images of one field, one file a band, a cube, or a colour picture.

    Parameters
    ----------
    paths : str, Path or sequence of them
        FITS files (plain, ``.fits[EXT]``, ``.fits.fz``, ``.gz``, ``.bz2``), one FITS cube, or one JPEG or PNG picture.
        Plain and Rice files of any size are read by pieces; gzip and bzip2 are unpacked as astropy does.
    bands : sequence of str, optional
        Names; from FILTER in the header or the file name by default.
    weight, rms : path or sequence of paths, optional
        Inverse variance, or standard deviation, in the unit of the image: one a band.
    segmentation : path, optional
        Label image, 0 = sky.
    flags : path or sequence of paths, optional
        Not 0 = bad; one for all bands, or one a band.
    zero_point : float, sequence of float or dict of band to float, optional
        AB zero point; wins over the headers. Bands that a dict leaves out have that of their header.
    pixel_scale : float, optional
        Arcsec per pixel; from the WCS by default.
    unit : str, optional
        "" keeps pixels as they are, without a flux scale. By default all is brought to nJy, and pictures have "".
    variance : path or sequence of paths, optional
        In place of `weight` and `rms`: variance, in the unit of the image squared.

    Returns
    -------
    Mosaic

    Raises
    ------
    InputError
        If a file is missing or damaged, numbers of bands, shapes or WCS differ, or zero point or scale is unknown.
    """
    paths = [os.path.expanduser(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not paths:
        raise InputError("no image given; name one file a band, or a cube")
    kinds = {"weight": weight, "rms": rms, "variance": variance}
    given = [kind for kind, value in kinds.items() if value]
    if len(given) > 1:
        raise InputError(f"both {given[0]} and {given[1]} maps given; give one kind")
    noise_kind = given[0] if given else "rms"
    if unit not in (None, "", "nJy"):
        raise InputError(f'unit {unit!r} is not one that stamps are made in; use nJy, or "" for no flux scale')
    if pixel_scale is not None and not 0 < pixel_scale < np.inf:
        raise InputError(f"pixel scale {pixel_scale} is not above 0; give arcsec per pixel")
    picture = all(map(is_picture, paths))
    with contextlib.ExitStack() as opened:
        # Whatever was opened is closed again if anything below is found wrong.
        planes = _open_all(paths, bands if len(paths) == 1 else (), opened)
        named = bands is not None
        if not named:
            bands = ("r", "g", "b") if picture and len(planes) == 3 else _names(planes)
        if len(bands) != len(planes):
            raise InputError(
                f"{paths[0]}: {len(planes)} images for {len(bands)} bands ({', '.join(bands)}); name one band an image"
            )
        checked(bands, planes[0].name)
        check_bands(planes, bands, what="images")
        say_filter(planes, bands, named or picture)
        for path in {path for path in paths if paths.count(path) > 1}:
            logger.warning("%s: is given for %d bands", path, paths.count(path))
        wcs = _common_wcs(planes)
        if pixel_scale is None:
            first = planes[0]
            pixel_scale = scale_of(wcs, first.name) if wcs is not None else stated_scale(first.header, paths[0])
            if pixel_scale is None and not picture:
                raise InputError(f"{paths[0]}: no WCS, so the pixel scale is unknown; pass --pixel-scale in arcsec")
            pixel_scale = pixel_scale or 1.0
            if not _SCALES[0] < pixel_scale < _SCALES[1]:
                raise InputError(f"{paths[0]}: pixels of {pixel_scale:.3g} arcsec by its header; pass --pixel-scale")
            _same_scale(planes, pixel_scale)
        elif wcs is not None and abs(scale_of(wcs, planes[0].name) / pixel_scale - 1) > _SCALE_TOLERANCE:
            logger.warning(
                "%s: its WCS has pixels of %.4g arcsec; the %.4g that were given are taken",
                planes[0].name, scale_of(wcs, planes[0].name), pixel_scale,
            )  # fmt: skip
        unit = ("" if picture else "nJy") if unit is None else unit
        scales = np.ones(len(planes))
        if unit:
            points = one_a_band(zero_point, bands, "zero points")
            scales = [flux_scale(p.header, z, pixel_scale**2, p.name) for p, z in zip(planes, points, strict=True)]
        noise = _extra(kinds[noise_kind], planes, f"{noise_kind} maps", opened, noise_kind, share=False)
        flags = _extra(flags, planes, "flag maps", opened, "flags")
        labels = _extra(segmentation, planes, "segmentation maps", opened, "segmentation") or [None]
        for plane, image in zip(noise or (), planes, strict=False):
            check_noise(plane, noise_kind, image)
        for maps, what in ((noise, f"{noise_kind} maps"), (flags, "flag maps")):
            check_bands(maps or (), bands, planes, what)
        for plane in dict.fromkeys((*(noise or ()), *(flags or ()), *filter(None, labels))):
            check_place(plane, planes[0], wcs)
        bits = {plane: bad_bits(plane) for plane in dict.fromkeys(flags or ())}
        for plane, one in bits.items():
            check_flags(plane, one, planes[flags.index(plane)])
        opened.pop_all()
    bits = [bits[plane] for plane in flags or ()]
    return Mosaic(planes, bands, scales, unit, wcs, pixel_scale, noise, noise_kind, flags, labels[0], bits)


def _open_all(paths, names, opened, kind="image"):
    planes = []
    for path in paths:
        for plane in open_planes(path, names, kind):
            opened.callback(plane.close)
            planes.append(plane)
    return planes


def _extra(paths, planes, what, opened, kind, share=True):
    """Open maps that go with the images: one a band, or where `share` one for all."""
    if not paths:
        return None
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found = _open_all(paths, (), opened, kind)
    if len(found) == 1 and share:
        found = found * len(planes)
    if len(found) != len(planes):
        raise InputError(f"{paths[0]}: {len(found)} {what} for {len(planes)} bands; give one a band, in the same order")
    for plane in found:
        if plane.shape != planes[0].shape:
            raise InputError(f"{plane.name}: shape {plane.shape}, but {planes[0].name} has {planes[0].shape}")
    return found


def _names(planes):
    names = []
    for number, plane in enumerate(planes):
        name = filter_of(plane.header)
        stem = Path(plane.name).name.split(".")[0]
        names.append(name or (stem if len(planes) == 1 and stem.isascii() else f"band{number}"))
    return names if len(set(names)) == len(names) else [f"band{number}" for number in range(len(names))]


def _same_scale(planes, pixel_scale):
    """Raise `InputError` where a plane without WCS says that its pixels have another size than that of all."""
    for plane in planes if len(planes) > 1 else ():
        stated = stated_scale(plane.header, plane.name, plane.hdus)
        if not stated or abs(stated / pixel_scale - 1) < _SCALE_TOLERANCE:
            continue
        if read_wcs(plane.header, plane.name, plane.hdus) is None:
            raise InputError(
                f"{plane.name}: pixels of {stated:g} arcsec beside others of {pixel_scale:.4g}; "
                "resample them to one grid"
            )


def _common_wcs(planes):
    """Return the WCS that all planes share, or None where they have none."""
    first = None
    for plane in planes:
        if plane.shape != planes[0].shape:
            raise InputError(
                f"{plane.name}: shape {plane.shape}, {planes[0].name} has {planes[0].shape}; try galzoo data align"
            )
        wcs = read_wcs(plane.header, plane.name, plane.hdus)
        if wcs is None:
            continue
        if first is None:
            first = wcs
            continue
        moved = largest_shift(first, wcs, plane.shape)
        if moved >= _WCS_TOLERANCE:
            far = f"{moved:.2f} px off" if np.isfinite(moved) else "nowhere near"
            raise InputError(f"{plane.name}: its WCS is {far} {planes[0].name}; first galzoo data align")
    return first
