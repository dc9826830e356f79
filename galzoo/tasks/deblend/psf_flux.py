"""Fluxes of the sources of a window as if each were a star."""

import numpy as np

from galzoo.field.star_light import StarLight


def psf_fluxes(unit, planes, fit, places, psf, others=None):
    """Return the PSF fluxes of deblended sources: the others' models are taken off first.

    Parameters
    ----------
    unit : galzoo.field.windows.Unit
    planes : dict
        Of `galzoo.field.windows.cut`.
    fit : galzoo.tasks.deblend.fit_windows.Fit
    places : array, (n, 2)
        x, y in pixels of the field.
    psf : callable
        ``psf(x, y)`` returns PSFs (n, p, p, band) of unit sum.
    others : array, (y, x, band), optional
        Models of other windows.

    Returns
    -------
    flux, error : arrays, (n, band)
        NaN of a source without a model, and where all pixels are bad.

    Notes
    -----
    All good pixels count alike, so that a PSF that is a little wrong does to bright stars what it does to faint ones
    (Bosch et al. 2018, PASJ 70, S5, section 4.9.6). The error is that of independent pixels.
    """
    model = np.nan_to_num(fit.image.astype(float))
    rest = planes["image"] - model.sum(axis=0) - (0 if others is None else others)
    good = ~(planes["mask"] | planes["other"][..., None]) & np.isfinite(planes["variance"])
    variance = np.where(good, planes["variance"], 0)
    flux, error = np.full((2, *fit.flux.shape), np.nan)
    shown = np.flatnonzero((np.abs(model) > 0).any(axis=(1, 2, 3)))
    if not len(shown):
        return flux, error
    for row, one in zip(shown, np.asarray(psf(*places[shown].T), float), strict=True):
        star = StarLight(one).add(
            np.zeros(rest.shape), places[row : row + 1], np.ones((1, rest.shape[-1])), (unit.x0, unit.y0)
        )
        star = np.where(good, star, 0)
        power = (star**2).sum(axis=(0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            flux[row] = (star * np.where(good, rest + model[row], 0)).sum(axis=(0, 1)) / power
            error[row] = np.sqrt((star**2 * variance).sum(axis=(0, 1))) / power
    return flux, error


def extendedness(psf_flux, psf_error, flux):
    """Return how much of the light of sources is not that of a star, 0 of stars, with its error, (n,) each.

    That is 1 less the ratio of PSF flux to model flux over all bands, weighted by the errors of the PSF fluxes; NaN
    where no band has both. The error is that of the PSF fluxes.
    """
    known = np.isfinite(psf_flux) & np.isfinite(psf_error) & (psf_error > 0) & np.isfinite(flux)
    weight = np.where(known, 1 / np.where(known, psf_error, 1) ** 2, 0)
    total = (weight * np.where(known, flux, 0) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.sum(weight * np.where(known, flux * psf_flux, 0), axis=-1) / total
        return 1 - share, 1 / np.sqrt(total)
