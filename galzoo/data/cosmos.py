"""HST COSMOS galaxies: GalSim's real-galaxy catalogues as stamps at any pixel scale.

References
----------
Mandelbaum et al. 2012, MNRAS 420, 1518; Mandelbaum et al. 2014, ApJS 212, 5 (the catalogues). Rowe et al. 2015, A&C 10,
121 (GalSim). Koekemoer et al. 2007, ApJS 172, 196 (COSMOS ACS).
"""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.psf import prepare_psf
from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import njy_per_count
from galzoo.errors import InputError

# AB zero point of the F814W images in electrons per second (Mandelbaum et al. 2014).
ZERO_POINT = 25.94
BAND = "F814W"
_PART = 256
_PSF_SIDE = 63


def make_cosmos(output, path=None, pixel_scale=0.06, size=64, psf_fwhm=None, limit=None, exclusion="marginal"):
    """Draw COSMOS galaxies to a stamp file.

    Parameters
    ----------
    output : str or Path
        The stamp file to make.
    path : str or Path, optional
        The catalogue, e.g. ``real_galaxy_catalog_25.2.fits``, with its images beside it; by default where
        ``galsim_download_cosmos`` puts it.
    pixel_scale : float
        Arcsec per pixel.
    size : int
        Side of a stamp in pixels.
    psf_fwhm : float, optional
        Arcsec. By default the galaxies keep the PSF of HST; else a Moffat profile of this width replaces it.
    limit : int, optional
        Only the first so many.
    exclusion : str
        GalSim's ``exclusion_level``, used where the catalogue comes with its selection file.

    Returns
    -------
    int
        Number of stamps.

    Raises
    ------
    InputError
        If the catalogue is absent or cannot be read, or the PSF asked for is sharper than the telescope's.

    Notes
    -----
    Flux is in nJy. The noise is what HST left in the images; it is correlated, and the variance is that of one pixel.
    """
    import galsim

    path = _find(path)
    try:
        catalogue = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a real-galaxy catalogue ({error}); get one with `galsim_download_cosmos`"
        ) from None
    rows = _selected(path, exclusion, catalogue.nobjects)[:limit]
    with StampsWriter(output) as writer:
        for start in range(0, len(rows), _PART):
            writer.write(_draw(catalogue, rows[start : start + _PART], pixel_scale, size, psf_fwhm, path))
    return len(rows)


def _find(path):
    import galsim

    if path is None:
        name = "COSMOS_25.2_training_sample"
        path = Path(galsim.meta_data.share_dir) / name / "real_galaxy_catalog_25.2.fits"
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("real_galaxy_catalog*.fits"))
        found = [file for file in found if not file.stem.endswith(("_selection", "_fits"))]
        path = found[0] if found else path / "real_galaxy_catalog_25.2.fits"
    if not path.is_file():
        raise InputError(f"{path}: no COSMOS catalogue; run `galsim_download_cosmos -s 25.2` (4 GB) or give its path")
    return path


def _selected(path, exclusion, n):
    """Return the rows that GalSim's quality cuts leave, or all where the files for the cuts are absent."""
    import galsim

    if not path.with_name(f"{path.stem}_selection.fits").is_file():
        return np.arange(n)
    try:
        return np.asarray(galsim.COSMOSCatalog(path.name, dir=str(path.parent), exclusion_level=exclusion).orig_index)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: GalSim cannot select from it ({error}); try exclusion none") from None


def _draw(catalogue, rows, pixel_scale, size, psf_fwhm, path):
    n = len(rows)
    flux = njy_per_count(ZERO_POINT)
    image, mask = np.zeros((n, size, size, 1), np.float32), np.zeros((n, size, size, 1), bool)
    variance, psf = np.empty(n, np.float32), []
    middle = (size - 1) / 2
    for number, row in enumerate(rows.tolist()):
        original = catalogue.getGalImage(row)
        step = pixel_scale / original.scale
        galaxy, response, noise = _profiles(catalogue, row, original, pixel_scale, psf_fwhm, path)
        image[number, ..., 0] = galaxy.drawImage(nx=size, ny=size, scale=pixel_scale, method="no_pixel").array * flux
        # What lies beyond the catalogue's own image was never seen.
        offset = np.abs(np.arange(size) - middle) * step
        mask[number, ..., 0] = (offset[:, None] > original.array.shape[0] / 2) | (offset > original.array.shape[1] / 2)
        # Interpolation keeps the variance of surface brightness; a pixel of another area scales with the area squared.
        variance[number] = noise * step**4 * flux**2
        if psf_fwhm is None or not psf:
            side = min(size - 1 + size % 2, _PSF_SIDE)
            drawn = response.drawImage(nx=side, ny=side, scale=pixel_scale, method="no_pixel").array
            psf.append(prepare_psf(drawn, name=f"{path} PSF {row}"))
    table = QTable({"id": [f"COSMOS-{ident}" for ident in np.asarray(catalogue.ident)[rows]]})
    table["mag"], table["weight"] = np.asarray(catalogue.mag)[rows], np.asarray(catalogue.weight)[rows]
    for name in ("x", "y"):
        table[name] = np.full(n, middle) * u.pix
    for name in ("RA", "DEC"):
        if name in catalogue.cat.names:
            table[name.lower()] = np.asarray(catalogue.cat[name], float)[rows] * u.deg
    planes = np.broadcast_to(variance[:, None, None, None], image.shape)
    meta = {"origin": f"COSMOS, {path.name}", "psf_fwhm": psf_fwhm}
    return Stamps(
        image,
        (BAND,),
        pixel_scale,
        variance=planes,
        mask=mask,
        psf=np.stack(psf)[..., None],
        catalogue=table,
        survey="COSMOS",
        meta=meta,
    )


def _profiles(catalogue, row, original, pixel_scale, psf_fwhm, path):
    """Return the galaxy as observed, its PSF with the pixel, and the variance in a pixel of the original."""
    import galsim

    if psf_fwhm is None:
        return galsim.InterpolatedImage(original), catalogue.getPSF(row), float(catalogue.variance[row])
    hst = catalogue.getPSF(row).calculateFWHM()
    if psf_fwhm < hst:
        raise InputError(
            f"{path}: a PSF of {psf_fwhm} arcsec is sharper than the telescope's {hst:.3f}; ask for a wider one"
        )
    galaxy = galsim.RealGalaxy(catalogue, index=row)
    target = galsim.Convolve(galsim.Moffat(beta=3.0, fwhm=psf_fwhm), galsim.Pixel(pixel_scale))
    observed = galsim.Convolve(galaxy, target)
    return observed, target, float(observed.noise.getVariance())
