"""The PSF of a field: given as files or as a FWHM, or measured on its smallest bright sources."""

import logging

import numpy as np

from galzoo.data.psf import fwhm_of, read_psf
from galzoo.errors import InputError
from galzoo.field.open_field import as_list, expand
from galzoo.field.photometry import half_light_radius

logger = logging.getLogger(__name__)

LARGEST_PSF = 65
"""Largest side of a PSF image in pixels."""
# A Gaussian PSF reaches so many FWHM from its centre.
_GAUSSIAN_REACH = 2.5
# Sources that the seeing is measured on: the brightest, of which the smallest are taken for stars.
_STARS, _STAR_SNR, _STAR_QUANTILE = 200, 20.0, 0.2


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
        return read_psf(expand(as_list(paths), field.mosaic.bands), field.bands, LARGEST_PSF, field.pixel_scale)
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
    """Return Gaussian PSFs of the width of the smallest bright sources, (1, p, p, band).

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
    order = np.argsort(-sources["snr"])[:_STARS]
    order = order[sources["snr"][order] >= _STAR_SNR]
    reach, found = 16, []
    for row in order:
        x, y = sources["x"][row], sources["y"][row]
        x0, y0 = int(round(x)) - reach, int(round(y)) - reach
        planes = field.read(y0, y0 + 2 * reach + 1, x0, x0 + 2 * reach + 1)
        near = np.s_[reach - 6 : reach + 7, reach - 6 : reach + 7]
        if planes["mask"][near].any():
            continue
        place = np.array([x - x0]), np.array([y - y0])
        radii = [
            half_light_radius(planes["image"][..., band], None, *place, 8.0)[0] for band in range(len(field.bands))
        ]
        found.append(radii)
    found = np.array(found).reshape(-1, len(field.bands))
    # A disc of noise has its half-light radius at 0.7 of the aperture; a source is well inside.
    found = np.where((found > 0.5) & (found < 5.0), found, np.nan)
    if not len(found) or not np.isfinite(found).any():
        raise InputError(f"{field.name}: no bright compact source to measure the seeing on; give --psf or --seeing")
    with np.errstate(invalid="ignore"):
        values = [np.nanquantile(one, _STAR_QUANTILE) if np.isfinite(one).any() else np.nan for one in found.T]
    values = np.where(np.isfinite(values), values, np.nanmedian(values))
    # Half the light of a Gaussian is within half its FWHM.
    fwhm = 2 * values
    said = ", ".join(f"{band} {width * field.pixel_scale:.2f}" for band, width in zip(field.bands, fwhm, strict=True))
    logger.warning("%s: no PSF given; Gaussians of the FWHM measured on compact sources (arcsec): %s", field.name, said)
    return gaussian_of(fwhm, len(field.bands))
