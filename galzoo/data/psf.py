"""PSF images brought to the rule of the house: odd size, centred, unit sum, the stamp's pixels."""

import contextlib
import logging
import os

import numpy as np

from galzoo.data.fits_keywords import OVERSAMPLINGS, number
from galzoo.data.fits_keywords import pixel_scale as pixel_scale_of
from galzoo.data.maps import check_bands
from galzoo.data.planes import open_planes
from galzoo.data.resample import resample, resample_mask
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

# A PSF that is cut to the stamp must keep this part of its flux, or models would see the wings as noise.
LEAST_FLUX = 0.9
_BACKGROUND = 0.02
# A background is as high at the border as so far in, as parts of the half-width, and has this part of the flux; the
# wings of a PSF have fallen by then.
_INNER, _FLAT, _BACKGROUND_FLUX = 0.7, 0.7, 0.03
_OFF_CENTRE = 3.0
# What is so many FWHM away has less than this part of the peak: wings and rings do.
_APART, _NEIGHBOUR = 2.0, 0.1
# Pixels of a PSF are no coarser than so many of the image.
_MOST_ZOOM = 10.0
# What is so many standard deviations, and such a part of the peak, above the other side of a star, so many of its FWHM
# from the middle, is another source that was not seen; and so are the pixels about it.
_LONE, _LONE_PART, _LONE_APART, _LONE_REACH = 5.0, 0.02, 1.0, 2
# Half-widths at half maximum within which a stack of stars is kept pixel by pixel.
_CORE_RADII = 3.0
# Square of the FWHM of a round Gaussian of unit sum times its peak.
_GAUSSIAN = 0.8825


def psf_transfer(psf, grid):
    """Return the half spectrum of PSFs as kernels about the origin of a grid, (..., ky, kx), complex64.

    Parameters
    ----------
    psf : array, (..., y, x)
        Centred on (size - 1) / 2, for odd and even sizes alike; no larger than the grid.
    grid : (int, int)
        Pixels (y, x) that images are padded to with zeros.
    """
    from scipy import fft

    height, width = psf.shape[-2:]
    rows = np.exp(1j * np.pi * (height - 1) * np.fft.fftfreq(grid[0]))
    columns = np.exp(1j * np.pi * (width - 1) * np.fft.rfftfreq(grid[1]))
    spectrum = fft.rfft2(np.asarray(psf, np.float32), s=grid)
    return spectrum * (rows[:, None] * columns).astype(np.complex64)


def fwhm_of(image):
    """Return the full width at half maximum of a sampled PSF in pixels, from the area above half of its peak.

    Parameters
    ----------
    image : array, (y, x)

    Notes
    -----
    For odd sizes within 1 % of the profile's, from 2 pixels on; where the peak lies between pixels, up to 4 % wide at
    2.5 pixels. GalSim's ``InterpolatedImage.calculateFWHM`` looks along one axis, and photutils fits a Gaussian, 8 %
    off for a Moffat profile; both take longer.
    """
    from scipy import ndimage

    zoom, n = 4, len(image)
    width = np.sqrt((image > image.max() / 2).sum())
    reach = min(n // 2, int(width) + 2)
    core = image[n // 2 - reach : n // 2 + reach + 1, n // 2 - reach : n // 2 + reach + 1]
    fine = ndimage.zoom(core.astype(float), (2 * reach * zoom + 1) / (2 * reach + 1), order=3)
    # A pixel that the contour crosses counts by the part of it that lies inside.
    slope = np.hypot(*np.gradient(fine)) + 1e-12
    inside = np.clip(0.5 + (fine - fine.max() / 2) / slope, 0, 1)
    return float(2 * np.sqrt(inside.sum() / np.pi) / zoom)


def peak_fwhm(psf):
    """Return the full width at half maximum in pixels of the round Gaussian that has the peak of PSFs, (p, p, band).

    A number for all bands, by the mean of their peaks: how far a star tells of itself. `fwhm_of` measures widths.
    """
    return float(np.sqrt(_GAUSSIAN / max(psf.max(axis=(0, 1)).mean(), 1e-6)))


def centroid(image, radius=4.0):
    """Return the centre of a PSF as x, y: Gaussian-weighted, iterated, so that wings and noise do not pull it.

    Parameters
    ----------
    image : array, (y, x)
    radius : float
        Sigma of the weight in pixels.
    """
    yy, xx = np.indices(image.shape)
    y, x = np.unravel_index(np.argmax(image), image.shape)
    for _ in range(30):
        weight = image * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * radius**2))
        total = weight.sum()
        # The weighted centroid of a Gaussian moves half-way or more; doubling the step converges fast.
        dx, dy = (weight * (xx - x)).sum() / total, (weight * (yy - y)).sum() / total
        x, y = x + dx, y + dy
        if abs(dx) + abs(dy) < 1e-6:
            break
    return float(x), float(y)


def prepare_psf(image, size=None, ratio=1.0, name="psf"):
    """Centre, resample, crop and normalise one PSF.

    Parameters
    ----------
    image : array, (y, x)
    size : int, optional
        Largest side of the result; its own by default. The result is odd.
    ratio : float
        New pixel scale over that of the PSF.
    name : str
        What to call it in errors.

    Returns
    -------
    float32 array, (p, p)
        Unit sum, centroid on the middle pixel.

    Raises
    ------
    InputError
        If it is not finite, not positive, has a background, is off-centre, or `size` cuts too much of it.
    """
    image = np.asarray(image, float)
    if image.ndim != 2 or min(image.shape) < 3:
        raise InputError(f"{name}: shape {image.shape}; a PSF is an image of 3 pixels or more a side")
    if not np.all(np.isfinite(image)) or image.sum() <= 0 or image.max() <= 0:
        raise InputError(f"{name}: not finite, or its sum {np.nansum(image):.4g} is not positive; give a clean PSF")
    check_background(image, name)
    x, y = centroid(image)
    off = np.hypot(x - (image.shape[1] - 1) / 2, y - (image.shape[0] - 1) / 2)
    if off > _OFF_CENTRE:
        raise InputError(f"{name}: its centre is {off:.1f} px off the middle of the image; cut it about the star")
    check_neighbours(image, (x, y), name)
    total = image.sum()
    full = int(np.floor(min(image.shape) / ratio))
    full -= 1 - full % 2
    if full < 3 or ratio < 1 / _MOST_ZOOM:
        raise InputError(
            f"{name}: {image.shape[1]} x {image.shape[0]} pixels that are {1 / ratio:.3g} times as wide as the image's "
            "cannot be its PSF; mend PIXSCALE (arcsec) in its header"
        )
    side = full if size is None else min(full, size - 1 + size % 2)
    new = resample(image, ratio, side, centre=(x, y))
    if new.sum() < LEAST_FLUX * total:
        raise InputError(f"{name}: {side} pixels hold only {new.sum() / total:.1%} of its flux; use larger stamps")
    return (new / new.sum()).astype(np.float32)


def check_background(image, name="psf"):
    """Raise `InputError` where a PSF image, (y, x), does not go down to 0 at its border."""
    edge = np.median(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]))
    if abs(edge) > _BACKGROUND * image.max():
        raise InputError(f"{name}: its border is {edge / image.max():.1%} of the peak; subtract the background")
    share = edge * image.size / image.sum()
    if abs(share) > _BACKGROUND_FLUX and _is_flat(image, edge):
        raise InputError(f"{name}: a level border has {share:.1%} of its flux; subtract the background")


def check_neighbours(image, centre, name="psf"):
    """Say where something else than the star is in a PSF image, (y, x), whose star is at `centre` (x, y)."""
    from scipy import ndimage

    above, _ = ndimage.label(image > image.max() / 2)
    own = above[int(np.rint(centre[1])), int(np.rint(centre[0]))]
    width = 2 * np.sqrt(np.sum(above == own) / np.pi)
    y, x = np.indices(image.shape)
    far = np.where(np.hypot(x - centre[0], y - centre[1]) > _APART * width, image, 0)
    if own and far.max() > _NEIGHBOUR * image.max():
        row, column = np.unravel_index(far.argmax(), far.shape)
        logger.warning(
            "%s: something else, of %.0f %% of the star's peak, %+.0f, %+.0f pixels off in x, y; its light counts as "
            "the star's, so give a PSF without it", name, 100 * far.max() / image.max(), column - centre[0],
            row - centre[1],
        )  # fmt: skip


def _is_flat(image, edge):
    """Return whether a PSF is hardly higher inside its border than on it."""
    y, x = (np.abs(np.arange(side) - (side - 1) / 2) / (side / 2) for side in image.shape)
    distance = np.maximum(y[:, None], x)
    inner = np.median(image[np.abs(distance - _INNER) <= 1.01 / min(image.shape)])
    return edge / inner > _FLAT if inner * edge > 0 else False


def read_psf(paths, bands, size, pixel_scale=None, psf_scale=None, images=()):
    """Read one PSF a band.

    Parameters
    ----------
    paths : path or sequence of paths
        FITS images, one a band or a cube, or one for all bands.
    bands : sequence of str
    size : int
        Side of the stamps: no PSF is larger.
    pixel_scale : float, optional
        Arcsec per pixel of the stamps.
    psf_scale : float, optional
        Arcsec per pixel of the PSFs; by default as their headers state it by any of
        `galzoo.data.fits_keywords.PIXEL_SCALES` or a WCS, else as the stamps.
    images : sequence of Plane, optional
        Of the bands, whose headers may call them otherwise.

    Returns
    -------
    float32 array, (1, p, p, band)
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    with contextlib.ExitStack() as opened:
        named = bands if len(paths) == 1 else ()
        planes = [plane for path in paths for plane in open_planes(path, named, kind="psf")]
        for plane in planes:
            opened.callback(plane.close)
        arrays = [np.array(plane.read(0, plane.shape[0], 0, plane.shape[1]), float) for plane in planes]
        scales = [psf_scale or _scale_of(plane, pixel_scale) for plane in planes]
    if len(planes) not in (1, len(bands)):
        raise InputError(f"{paths[0]}: {len(planes)} PSFs for {len(bands)} bands ({', '.join(bands)}); give one a band")
    if len(planes) > 1:
        check_bands(planes, bands, images, "PSFs")
    found = []
    for plane, image, own in zip(planes, arrays, scales, strict=True):
        found.append(prepare_psf(image, size, pixel_scale / own if own and pixel_scale else 1.0, plane.name))
    return stack_psf(found * len(bands) if len(found) == 1 else found)[None]


def _scale_of(plane, pixel_scale):
    """Return arcsec per pixel of a PSF as its header states it, None where it says nothing."""
    own, sampling = pixel_scale_of(plane.header, plane.name, plane.hdus), number(plane.header, "PSF_SAMP")
    if own is None and pixel_scale and sampling and sampling > 0:
        # PSFEx has it in pixels of the image.
        return sampling * pixel_scale
    if own is None and any((number(plane.header, key) or 1) > 1 for key in OVERSAMPLINGS):
        raise InputError(
            f"{plane.name}: oversampled, and its pixel scale is not in the header; write it as PIXSCALE (arcsec)"
        )
    return own


def stack_psf(images):
    """Pad odd PSFs of different sizes with zeros to the largest and stack them, (p, p, band)."""
    side = max(image.shape[0] for image in images)
    return np.stack([np.pad(image, (side - image.shape[0]) // 2) for image in images], axis=-1)


def psf_from_stars(stars, size=None, taper=0.75, masks=None, noise=None, name="stack of stars"):
    """Stack images of stars to a PSF.

    Parameters
    ----------
    stars : array, (n, y, x)
        Isolated, unsaturated; centred to a pixel or two.
    size : int, optional
        Side of the result; theirs by default. Made odd.
    taper : float
        From this part of the half-width outwards a star, mostly noise there, goes smoothly to the level of its sky.
    masks : bool array, (n, y, x), optional
        Pixels that are bad, or another source's.
    noise : array, (n,), optional
        Standard deviation of a pixel. Without it all stars weigh the same, and sources beside them that are not masked
        stay.
    name : str
        What to call the result in errors and warnings.

    Returns
    -------
    float32 array, (p, p)
        Median of the stars, each shifted by spline to its middle and scaled to unit flux within a third of the
        half-width, and weighted by the noise that is left then; the wings are round.

    Raises
    ------
    InputError
        If there are no stars.
    """
    stars = np.asarray(stars, float)
    if stars.ndim != 3 or not len(stars):
        raise InputError("no stars to make a PSF of; give a PSF image")
    masks = np.zeros(stars.shape, bool) if masks is None else np.asarray(masks, bool)
    side = min(stars.shape[1:]) if size is None else size
    side -= 1 - side % 2
    y, x = np.indices((side, side)) - (side - 1) / 2
    radius = np.hypot(x, y) / (side / 2)
    centred, good, errors = [], [], []
    for row, (star, mask) in enumerate(zip(stars, masks, strict=True)):
        star = _mended(star, mask)
        middle = _inner(star)
        if middle is None:
            continue
        new = resample(star, 1.0, side, centre=middle)
        seen = ~resample_mask(mask, 1.0, side, centre=middle)
        rim = seen & (radius > taper) & (radius < 1)
        new -= np.median(new[rim]) if rim.any() else 0.0
        flux = new[radius < 1 / 3].sum()
        if flux > 0:
            if noise is not None:
                beside = _beside(new, noise[row])
                new, seen = np.where(beside, new[::-1, ::-1], new), seen & ~beside
            centred.append(new / flux)
            good.append(seen)
            errors.append(1.0 if noise is None else noise[row] / flux)
    if not centred:
        raise InputError("no stars to make a PSF of: none has light above its sky; give a PSF image")
    errors = np.array(errors)
    # Stars brighter than most weigh alike, so that no single one is the stack.
    weights = 1 / (errors**2 + np.median(errors) ** 2)
    stack, known = weighted_median(np.array(centred), weights[:, None, None] * good)
    stack *= np.where(radius < taper, 1, np.cos(np.pi / 2 * np.clip((radius - taper) / (1 - taper), 0, 1)) ** 2)
    return prepare_psf(_smooth_wings(stack, radius * side / 2, known), name=name)


def _beside(star, noise):
    """Return the pixels of a centred star with light of another source: that of PSFs is on both sides."""
    from scipy import ndimage

    above = star - star[::-1, ::-1] > max(_LONE * np.sqrt(2) * noise, _LONE_PART * star.max())
    if not above.any():
        return above
    y, x = np.indices(star.shape) - (np.array(star.shape) - 1)[:, None, None] / 2
    above &= np.hypot(x, y) > _LONE_APART * fwhm_of(star)
    return ndimage.binary_dilation(above, iterations=_LONE_REACH)


def weighted_median(values, weights):
    """Return the median (...) along the first axis, that of equal weights where these are equal; and where it is known.

    Parameters
    ----------
    values, weights : array, (n, ...)
        Where all weights are 0 nothing is known, and the median is 0.
    """
    order = np.argsort(values, axis=0)
    values, weights = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    total = weights.sum(axis=0)
    part = np.cumsum(weights, axis=0) / np.where(total > 0, total, 1)
    ends = [np.argmax(part > half, axis=0)[None] for half in (0.5 - 1e-9, 0.5 + 1e-9)]
    low, high = (np.take_along_axis(values, end, 0)[0] for end in ends)
    return np.where(total > 0, (low + high) / 2, 0), total > 0


def _mended(star, mask):
    """Return a star whose masked pixels are those on the other side of its middle, or the mean of their ring."""
    if not mask.any() or mask.all():
        return np.where(mask, 0, star)
    y, x = np.indices(star.shape)
    rings = np.hypot(y - (star.shape[0] - 1) / 2, x - (star.shape[1] - 1) / 2).astype(int)
    weight = np.bincount(rings[~mask], minlength=rings.max() + 1)
    mean = np.bincount(rings[~mask], star[~mask], minlength=rings.max() + 1) / np.maximum(weight, 1)
    found = np.flatnonzero(weight)
    round_star = np.interp(rings, found, mean[found])
    return np.where(~mask, star, np.where(mask[::-1, ::-1], round_star, star[::-1, ::-1]))


def _smooth_wings(stack, radius, known):
    """Replace wings and unknown pixels by the mean about the centre: clipping noise pixel by pixel would add light."""
    rings = radius.astype(int)
    number = np.bincount(rings.ravel(), known.ravel())
    profile = np.bincount(rings.ravel(), (stack * known).ravel()) / np.maximum(number, 1)
    profile = np.interp(np.arange(len(profile)), np.flatnonzero(number), profile[number > 0])
    core = _CORE_RADII * np.sqrt(np.sum(profile > profile[0] / 2) ** 2 + 1)
    mean = np.interp(radius, np.arange(len(profile)) + 0.5, np.clip(profile, 0, None))
    return np.where(known & (radius < core), np.clip(stack, 0, None), mean)


def _inner(star):
    """Return the centroid of the middle third, where a brighter neighbour does not reach; None if it has no light."""
    low_y, low_x = star.shape[0] // 3, star.shape[1] // 3
    middle = star[low_y : star.shape[0] - low_y, low_x : star.shape[1] - low_x]
    if not middle.any():
        return None
    x, y = centroid(middle)
    return x + low_x, y + low_y
