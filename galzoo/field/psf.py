"""The PSF of a field: given as files or as a FWHM, or measured on the stars of the field."""

import logging

import numpy as np

from galzoo.brief import counted
from galzoo.data.psf import fwhm_of, psf_from_stars, read_psf, stack_psf
from galzoo.errors import InputError
from galzoo.field.detection import discs
from galzoo.field.open_field import as_list, expand
from galzoo.field.stars import LEAST_STARS, around, find_stars, sizes

logger = logging.getLogger(__name__)

LARGEST_PSF = 65
"""Largest side of a PSF image in pixels."""
# A Gaussian PSF reaches so many FWHM from its centre.
_GAUSSIAN_REACH = 2.5
# A stack of fewer stars becomes a Moffat profile, and is said to be uncertain.
_FEW = 8
# So many stars are stacked, out to so many of their half-light radii.
_STACKED, _STACK_REACH = 60, 8.0
# Of the stack of few stars, the core out to so many FWHM is kept, as a Moffat profile, and its slopes (beta) at most.
_CORE_FWHM, _SLOPES = 1.2, (2.2, 20.0)
# Signal-to-noise of all its stars together below which the stack of a band is noise.
_LEAST_SNR = 50.0
# Pixels within so many of a star's middle have to be good; other sources reach so many semi-axes.
_CORE, _EXTENT = 3, 3.0
# Without stars, this part of the bright sources is taken to be as small as they would be.
_SMALLEST = 0.05
# Logarithm of widths by which a given PSF contradicts the stars, if they are so many.
_CONTRADICTS, _WITNESSES = np.log(1.1), 8


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
        return read_psf(
            expand(as_list(paths), field.mosaic.bands), field.bands, LARGEST_PSF, field.pixel_scale,
            images=field.mosaic.planes,
        )  # fmt: skip
    if seeing is None:
        return None
    if not 0 < seeing < np.inf:
        raise InputError(f"--seeing is {seeing}; give the FWHM in arcsec, above 0")
    if seeing > LARGEST_PSF / 2 * field.pixel_scale:
        raise InputError(
            f"--seeing is {seeing:g} arcsec, {seeing / field.pixel_scale:.0f} pixels, more than half of the largest "
            f"PSF ({LARGEST_PSF}); give the FWHM in arcsec, and check the pixel scale ({field.pixel_scale:g} arcsec)"
        )
    return gaussian_of(seeing / field.pixel_scale, len(field.bands))


def gaussian_of(fwhm, bands):
    """Return a Gaussian PSF of `fwhm` pixels for each of `bands` bands, (1, p, p, band); `fwhm` may be one a band."""
    fwhm = np.broadcast_to(np.asarray(fwhm, float), (bands,))
    side = min(2 * int(np.ceil(_GAUSSIAN_REACH * fwhm.max())) + 1, LARGEST_PSF)
    line = np.exp(-0.5 * ((np.arange(side)[:, None] - side // 2) / (fwhm / 2.3548)) ** 2)
    psf = line[:, None] * line[None]
    return (psf / psf.sum(axis=(0, 1))).astype(np.float32)[None]


def constant_psf(psf, field):
    """Return a function of (x, y) that gives the PSFs (n, p, p, band) at n positions in pixels.

    Parameters
    ----------
    psf : callable or array, (1, p, p, band)
        One that is such a function is returned as it is.
    field : Field

    Raises
    ------
    InputError
        If an array does not fit the field, is not finite, or has no positive sum.
    """
    if callable(psf):
        return psf
    psf = np.asarray(psf, np.float32)
    if psf.ndim != 4 or psf.shape[-1] != len(field.bands):
        raise InputError(f"psf has shape {psf.shape}; it must be (1, y, x, band) with {len(field.bands)} bands")
    if not np.isfinite(psf).all() or not (psf.sum(axis=(1, 2)) > 0).all():
        raise InputError("psf is not finite, or its sum is not positive; give a clean PSF")
    psf = psf[:1] / psf[:1].sum(axis=(1, 2), keepdims=True)
    return lambda x, y: np.broadcast_to(psf, (len(x), *psf.shape[1:]))


def mean_fwhm(psf_of, field):
    """Return the FWHM in pixels in the middle of a field, the mean over bands, weighted as they are in detection."""
    middle = psf_of(np.array([field.shape[1] / 2]), np.array([field.shape[0] / 2]))
    widths = [fwhm_of(plane) for plane in np.moveaxis(middle[0], -1, 0)]
    return float(np.average(widths, weights=1 / field.noise_levels()))


def measured_psf(field, sources):
    """Return PSFs measured on the stars of a field, (1, p, p, band).

    That is the stack of its stars (`galzoo.field.stars`), or the Moffat profile of that where they are few; fewer than
    three leave Gaussians as wide as the smallest bright sources.

    Parameters
    ----------
    field : Field
    sources : dict of arrays
        As of `galzoo.field.tiles.collect`.

    Raises
    ------
    InputError
        If there is no bright compact source.
    """
    rows, radii = find_stars(field, sources)
    if len(rows):
        psf, faint = _stacked(field, sources, rows, radii)
        if faint:
            logger.warning("%s: its stars are too faint in %s for a PSF; there it is a Gaussian as wide as %s",
                field.name, ", ".join(faint),
                "in the other bands" if len(faint) < len(field.bands) else "half of their light says",
            )  # fmt: skip
        form = "Moffat profile" if len(rows) < _FEW else "stack"
        how = f"{form} of {counted(min(len(rows), _STACKED), 'star')}"
    else:
        rows, radii = sizes(field, sources)
        if not len(rows):
            raise InputError(f"{field.name}: no bright compact source to measure the seeing on; give --psf or --seeing")
        # Half the light of a Gaussian is within half its FWHM.
        psf = gaussian_of(2 * np.quantile(radii, _SMALLEST), len(field.bands))
        how = "Gaussian as wide as the smallest bright sources, which may be galaxies: too few of one size to be stars"
    if 0 < len(rows) < _FEW:
        how += ", so few that its wings are uncertain (give --psf if you can)"
    said = ", ".join(f"{band} {width * field.pixel_scale:.2f}" for band, width in _widths(field, psf).items())
    logger.warning("%s: no PSF given; %s, FWHM in arcsec: %s", field.name, how, said)
    return psf


def _stacked(field, sources, rows, radii):
    """Return the stack of stars, (1, p, p, band), and the bands that hardly see them, where it is a Gaussian."""
    reach = int(np.clip(np.ceil(_STACK_REACH * np.median(radii)), 8, LARGEST_PSF // 2))
    rows = rows[:_STACKED]
    planes = [around(field, sources["x"][row], sources["y"][row], reach)[0] for row in rows]
    others = np.array([_others(sources, row, reach) for row in rows])
    image, bad, variance = (np.array([one[key] for one in planes]) for key in ("image", "mask", "variance"))
    with np.errstate(invalid="ignore"):
        noise = np.sqrt(np.nanmedian(np.where(bad, np.nan, variance), axis=(1, 2)))
    stacks = []
    y, x = np.indices(image.shape[1:3]) - reach
    core = np.hypot(x, y) <= 2 * np.median(radii)
    for band in range(image.shape[-1]):
        masks = bad[..., band] | others
        # A star that one band masks in its middle still serves the others.
        whole = ~bad[:, reach - _CORE : reach + _CORE + 1, reach - _CORE : reach + _CORE + 1, band].any(axis=(1, 2))
        whole = whole if whole.sum() >= LEAST_STARS else np.ones(len(rows), bool)
        errors = np.where(np.isfinite(noise[:, band]), noise[:, band], 1.0)
        light = np.where(core & ~masks, image[..., band], 0).sum(axis=(1, 2)) / errors / np.sqrt(core.sum())
        clear = np.sqrt(np.sum(np.maximum(light[whole], 0) ** 2)) >= _LEAST_SNR
        name = f"{field.name}, band {field.bands[band]}, stack of its stars"
        stack = None
        if clear:
            stack = psf_from_stars(image[whole, ..., band], masks=masks[whole], noise=errors[whole], name=name)
        stacks.append(moffat_like(stack) if clear and len(rows) < _FEW else stack)
    faint = [band for band, stack in zip(field.bands, stacks, strict=True) if stack is None]
    if faint:
        widths = [fwhm_of(stack) for stack in stacks if stack is not None] or [2 * np.median(radii)]
        stacks = [gaussian_of(np.median(widths), 1)[0, ..., 0] if stack is None else stack for stack in stacks]
    return stack_psf(stacks)[None], faint


def moffat_like(stack):
    """Return the elliptical Moffat profile that is nearest to the core of a stack of stars, (p, p), of unit sum.

    The wings of few stars are noise, their sky and sources that nobody saw: light that fluxes would have too much.

    Parameters
    ----------
    stack : array, (p, p)
        Odd, with the star in the middle.

    References
    ----------
    Moffat 1969, A&A 3, 455.
    """
    from scipy.optimize import least_squares

    y, x = np.indices(stack.shape) - len(stack) // 2
    width, peak = fwhm_of(stack), stack.max()
    near = np.hypot(x, y) <= _CORE_FWHM * width

    def profile(shape):
        height, xx, yy, xy, slope = shape
        form = (xx * x) ** 2 + (yy * y) ** 2 + 2 * xy * xx * yy * x * y
        return height * peak * (1 + form) ** -slope

    start = 2 * np.sqrt(2 ** (1 / 3) - 1) / width
    low, high = (0.5, 0.2 * start, 0.2 * start, -0.7, _SLOPES[0]), (1.5, 4 * start, 4 * start, 0.7, _SLOPES[1])
    fit = least_squares(
        lambda shape: ((profile(shape) - stack)[near]) / peak, (1, start, start, 0, 3), bounds=(low, high)
    )
    found = profile(fit.x)
    return (found / found.sum()).astype(np.float32)


def _others(sources, row, reach):
    """Return which pixels of the square of `reach` about a source are other sources', (y, x)."""
    middle = np.round([sources["x"][row], sources["y"][row]])
    away, radii = np.stack([sources["x"], sources["y"]], axis=-1) - middle, np.maximum(_EXTENT * sources["a"], _CORE)
    near = (np.abs(away) < (reach + radii)[:, None]).all(axis=1)
    near[row] = False
    return discs((2 * reach + 1,) * 2, away[near] + reach, radii[near])


def _widths(field, psf):
    return dict(zip(field.bands, (fwhm_of(plane) for plane in np.moveaxis(psf[0], -1, 0)), strict=True))


def contradiction(field, sources, psf_of):
    """Say in a line of the log in which bands a given PSF is more than 10 % wider or narrower than the field's stars.

    Parameters
    ----------
    field : Field
    sources : dict of arrays
        As of `galzoo.field.tiles.collect`.
    psf_of : callable
        As of `constant_psf`.

    Returns
    -------
    dict of str to (float, float)
        FWHM in pixels of the given PSF and of the stars, in bands where they differ.
    """
    rows, radii = find_stars(field, sources)
    if len(rows) < _WITNESSES:
        return {}
    middle = np.median(sources["x"][rows]), np.median(sources["y"][rows])
    given = _widths(field, np.asarray(psf_of(*np.array(middle)[:, None])))
    stack, faint = _stacked(field, sources, rows, radii)
    seen = {band: width for band, width in _widths(field, stack).items() if band not in faint}
    found = {
        band: (given[band], width) for band, width in seen.items() if abs(np.log(given[band] / width)) > _CONTRADICTS
    }
    if found:
        said = ", ".join(
            f"{band} {one * field.pixel_scale:.2f} and {other * field.pixel_scale:.2f}"
            for band, (one, other) in found.items()
        )
        logger.warning(
            "%s: the PSF given and %d stars of the field differ by more than 10 %% in FWHM (arcsec): %s; check the PSF "
            "and its pixel scale", field.name, len(rows), said,
        )  # fmt: skip
    return found
