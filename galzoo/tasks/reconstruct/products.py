"""Write what a task made: FITS images, an ECSV catalogue, stamps and a picture."""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo.data.stamps import Stamps
from galzoo.files import atomic_path, write_table
from galzoo.metrics.shape import adaptive_moments, aperture_flux

_PANEL_ROWS = 12
# Holds 99 % of a Gaussian's light and nearly all of an exponential disc's.
APERTURE_SIGMAS = 4.0


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
        ``catalogue.ecsv``, ``deconvolved.h5`` (Stamps) and ``panel.png``, of the `shown_rows`.
    """
    from galzoo.viz.panels import reconstruction_panel, save

    folder = Path(folder)
    paths = [folder / name for name in ("reconstruction.fits", "catalogue.ecsv", "deconvolved.h5", "panel.png")]
    with atomic_path(paths[0]) as path:
        _fits(stamps, reconstruction).writeto(path, overwrite=True)
    write_table(paths[1], catalogue(stamps, reconstruction))
    meta = {**stamps.meta, "model_sigma": reconstruction.model_sigma, "content": "deconvolved to the model frame"}
    Stamps(
        reconstruction.deconvolved,
        stamps.bands,
        stamps.pixel_scale,
        unit=stamps.unit,
        catalogue=stamps.catalogue,
        survey=stamps.survey,
        meta=meta,
    ).save(paths[2])
    save(reconstruction_panel(stamps, reconstruction, rows=shown_rows(stamps, _PANEL_ROWS)), paths[3])
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
        New columns: ``chi2`` per pixel; ``model_flux_<band>`` inside a circle of `APERTURE_SIGMAS` adaptive sigmas
        about the adaptive centroid of the deconvolved image, in the unit of the stamps; ``model_e1``, ``model_e2``
        (distortion of adaptive moments, model frame) and ``model_sigma`` (pixels); ``flag_no_data`` where no pixel is
        good and ``flag_shape`` where the moments failed, in which case the flux is that of the whole stamp.
    """
    table = QTable(stamps.catalogue, copy=True)
    table["chi2"] = reconstruction.chi2
    moments = adaptive_moments(reconstruction.deconvolved.sum(axis=-1, keepdims=True))
    failed = ~np.isfinite(moments["sigma"][:, 0])
    centre = np.stack([moments["x"][:, 0], moments["y"][:, 0]], axis=-1)
    middle = (np.array(stamps.shape[::-1]) - 1) / 2
    radius = np.where(failed, max(stamps.shape), APERTURE_SIGMAS * moments["sigma"][:, 0])
    flux = aperture_flux(reconstruction.deconvolved, radius, np.where(failed[:, None], middle, centre))
    for index, band in enumerate(stamps.bands):
        table[f"model_flux_{band}"] = flux[:, index] * u.Unit(stamps.unit) if stamps.unit else flux[:, index]
    for name in ("e1", "e2", "sigma"):
        table[f"model_{name}"] = moments[name][:, 0]
    table["flag_no_data"] = ~np.isfinite(reconstruction.chi2)
    table["flag_shape"] = failed
    table.meta |= {
        "survey": stamps.survey,
        "pixel_scale_arcsec": stamps.pixel_scale,
        "model_frame_sigma_pixels": reconstruction.model_sigma,
    }
    return table


def _fits(stamps, reconstruction):
    primary = fits.PrimaryHDU()
    primary.header["PIXSCALE"] = stamps.pixel_scale, "arcsec per pixel"
    primary.header["BUNIT"] = stamps.unit, "unit of the pixels"
    primary.header["MSIGMA"] = reconstruction.model_sigma, "pixels, Gaussian PSF of DECONVOLVED"
    for index, band in enumerate(stamps.bands):
        primary.header[f"BAND{index}"] = band
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
