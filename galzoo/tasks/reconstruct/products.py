"""Write what a task made: FITS images, an ECSV catalogue, stamps and a picture."""

import logging
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo.data.bands import observed
from galzoo.data.stamps import Stamps
from galzoo.field.provenance import CREATOR
from galzoo.files import atomic_path, write_table
from galzoo.metrics.shape import adaptive_moments, aperture_flux

logger = logging.getLogger(__name__)

PANEL_ROWS = 12
"""Stamps of the picture."""
# Holds 99 % of a Gaussian's light and nearly all of an exponential disc's.
APERTURE_SIGMAS = 4.0
# Columns that galzoo itself makes where it cuts stamps.
_OF_STAMPS = {
    "id": "name of the source",
    "x": "x of the source in the stamp, 0 is the middle of the first pixel",
    "y": "y of the source in the stamp, 0 is the middle of the first pixel",
    "x_mosaic": "x of the source in the image that the stamp was cut from",
    "y_mosaic": "y of the source in the image that the stamp was cut from",
    "ra": "right ascension, ICRS",
    "dec": "declination, ICRS",
    "bad_fraction": "share of bad pixels of the stamp",
}


def write_reconstruction(stamps, reconstruction, folder):
    """Write a reconstruction into a folder.

    Parameters
    ----------
    stamps : Stamps
        What was reconstructed.
    reconstruction : Reconstruction
        What came out.
    folder : str or Path
        Made if absent.

    Returns
    -------
    list of Path
        ``reconstruction.fits`` (extensions IMAGE, RECONSTRUCTION, DECONVOLVED as stamp, band, y, x, and CODES),
        ``catalogue.ecsv``, ``deconvolved.h5`` (Stamps) and ``panel.png``, of the `shown_rows`. What the model guesses
        of bands in which nothing was observed is in the images only, whose headers name these bands.
    """
    from galzoo.viz.panels import reconstruction_panel, save

    folder, absent = Path(folder), absent_bands(stamps)
    if absent:
        logger.warning(
            "bands %s were not observed: the model's guess at them is in the images only, model_flux of them is NaN",
            ", ".join(absent),
        )
    paths = [folder / name for name in ("reconstruction.fits", "catalogue.ecsv", "deconvolved.h5", "panel.png")]
    with atomic_path(paths[0]) as path:
        _fits(stamps, reconstruction).writeto(path, overwrite=True)
    write_table(paths[1], catalogue(stamps, reconstruction))
    meta = {**stamps.meta, "model_sigma": reconstruction.model_sigma, "content": "deconvolved to the model frame"}
    meta |= {"not_observed": ",".join(absent)} if absent else {}
    Stamps(
        reconstruction.deconvolved,
        stamps.bands,
        stamps.pixel_scale,
        unit=stamps.unit,
        catalogue=stamps.catalogue,
        survey=stamps.survey,
        meta=meta,
    ).save(paths[2])
    save(reconstruction_panel(stamps, reconstruction, rows=shown_rows(stamps, PANEL_ROWS)), paths[3])
    return paths


def shown_rows(stamps, number):
    """Return the brightest of the stamps of which least is masked, as at edges and near others; in their order."""
    masked = np.zeros(len(stamps)) if stamps.mask is None else stamps.mask.mean(axis=(1, 2, 3))
    if "snr" in stamps.catalogue.colnames:
        bright = np.nan_to_num(np.asarray(stamps.catalogue["snr"], float))
    else:
        bright = np.nansum(stamps.image, axis=(1, 2, 3), dtype=float)
    whole = np.lexsort((-bright, masked))[: 3 * number]
    return np.sort(whole[np.argsort(-bright[whole], kind="stable")][:number])


def catalogue(stamps, reconstruction):
    """Return the catalogue of the stamps with what was measured on the reconstruction.

    Returns
    -------
    QTable
        With a description of each new column: ``chi2`` per pixel; ``model_flux_<band>`` inside a circle of
        `APERTURE_SIGMAS` adaptive sigmas about the adaptive centroid of the deconvolved image, in the unit of the
        stamps, NaN where a stamp has no good pixel in the band; ``model_e1``, ``model_e2`` (distortion of adaptive
        moments, model frame) and ``model_sigma`` (pixels), of the sum of the observed bands; ``flag_no_data`` where no
        pixel is good and ``flag_shape`` where the moments failed, in which case the flux is that of the whole stamp.
    """
    table = QTable(stamps.catalogue, copy=True)
    for name in set(_OF_STAMPS) & set(table.colnames):
        table[name].info.description = table[name].info.description or _OF_STAMPS[name]

    def add(name, values, description, unit=None):
        table[name] = values if unit is None else values * unit
        table[name].info.description = description

    add("chi2", reconstruction.chi2, "chi squared per good pixel, all bands")
    seen = observed(stamps)
    # A guess at what was not observed has no part in the shape.
    light = np.where(seen[:, None, None], reconstruction.deconvolved, 0)
    moments = adaptive_moments(light.sum(axis=-1, keepdims=True))
    failed = ~np.isfinite(moments["sigma"][:, 0])
    centre = np.stack([moments["x"][:, 0], moments["y"][:, 0]], axis=-1)
    middle = (np.array(stamps.shape[::-1]) - 1) / 2
    radius = np.where(failed, max(stamps.shape), APERTURE_SIGMAS * moments["sigma"][:, 0])
    flux = aperture_flux(reconstruction.deconvolved, radius, np.where(failed[:, None], middle, centre))
    flux = np.where(seen, flux, np.nan)
    about = f"flux of the model within {APERTURE_SIGMAS:g} model_sigma, NaN where not observed"
    for index, band in enumerate(stamps.bands):
        add(f"model_flux_{band}", flux[:, index], f"{about}, band {band}", u.Unit(stamps.unit) if stamps.unit else None)
    add("model_e1", moments["e1"][:, 0], "distortion of the deconvolved image, (a^2-b^2)/(a^2+b^2) along x")
    add("model_e2", moments["e2"][:, 0], "distortion of the deconvolved image, towards y = x")
    add("model_sigma", moments["sigma"][:, 0], "adaptive sigma of the deconvolved image", u.pix)
    add("flag_no_data", ~np.isfinite(reconstruction.chi2), "no pixel of the stamp is good")
    add("flag_shape", failed, "the moments failed: fluxes are of the whole stamp")
    table.meta |= {
        "survey": stamps.survey,
        "pixel_scale_arcsec": stamps.pixel_scale,
        "model_frame_sigma_pixels": reconstruction.model_sigma,
    }
    return table


def absent_bands(stamps):
    """Return the bands in which no stamp has a good pixel, though some has one in another band."""
    seen = observed(stamps).any(axis=0)
    return [band for band, there in zip(stamps.bands, seen, strict=True) if seen.any() and not there]


def _fits(stamps, reconstruction):
    primary, absent = fits.PrimaryHDU(), absent_bands(stamps)
    primary.header["CREATOR"] = CREATOR
    primary.header["PIXSCALE"] = stamps.pixel_scale, "arcsec per pixel"
    primary.header["BUNIT"] = stamps.unit, "unit of the pixels"
    primary.header["MSIGMA"] = reconstruction.model_sigma, "pixels, Gaussian PSF of DECONVOLVED"
    for index, band in enumerate(stamps.bands):
        primary.header[f"BAND{index}"] = (band, "not observed, the model's guess" if band in absent else "")
    planes = {
        "IMAGE": stamps.image,
        "RECONSTRUCTION": reconstruction.image,
        "DECONVOLVED": reconstruction.deconvolved,
    }
    hdus = [fits.ImageHDU(np.moveaxis(plane, -1, 1).astype(np.float32), name=name) for name, plane in planes.items()]
    for hdu in hdus:
        hdu.header["BUNIT"] = stamps.unit, "unit of the pixels"
        hdu.header["PIXSCALE"] = stamps.pixel_scale, "arcsec per pixel"
    if reconstruction.codes is not None:
        hdus.append(fits.ImageHDU(reconstruction.codes.astype(np.int32), name="CODES"))
    return fits.HDUList([primary, *hdus])
