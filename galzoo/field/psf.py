"""The seeing of a field whose PSF nobody gave, from its smallest bright sources."""

import logging

import numpy as np

from galzoo.errors import InputError
from galzoo.field.field import gaussian_of

logger = logging.getLogger(__name__)

# Sources that the seeing is measured on: the brightest, of which the smallest are taken for stars.
_STARS, _STAR_SNR, _STAR_QUANTILE = 200, 20.0, 0.2


def measured_psf(field, sources):
    """Return Gaussian PSFs of the width of the smallest bright sources, (1, p, p, band).

    Parameters
    ----------
    field : Field
    sources : dict of arrays
        As of `galzoo.field.detection.collect`.

    Raises
    ------
    InputError
        If there is no bright compact source.
    """
    import sep

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
        radii = [
            sep.flux_radius(np.ascontiguousarray(planes["image"][..., band]), [x - x0], [y - y0], [8.0], 0.5, subpix=5)[
                0
            ][0]
            for band in range(len(field.bands))
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
