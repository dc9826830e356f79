"""A scene as FITS files, as a telescope's pipeline would leave them: for trying tasks that read images."""

from pathlib import Path

import numpy as np

from galzoo.data.zeropoint import AB_NJY
from galzoo.errors import InputError
from galzoo.files import atomic_path

# Where simulated scenes are put on the sky, degrees.
_PLACE = 53.1, -27.8


def write_fits(scenes, row, folder):
    """Write one scene: ``image.fits`` and ``variance.fits``, an extension a band, and ``psf_<band>.fits``.

    Parameters
    ----------
    scenes : Scenes
        With variance, PSF and a unit of nJy.
    row : int
        Which scene.
    folder : str or Path
        Made if absent.

    Returns
    -------
    dict
        ``image`` and ``variance``, paths; ``psf``, a list of paths, one a band: what
        `galzoo.tasks.deblend.run.deblend_field` takes.

    Raises
    ------
    InputError
        If variance or PSF are missing or the unit is another.
    """
    from astropy.io import fits
    from astropy.wcs import WCS

    if scenes.variance is None or scenes.psf is None or scenes.unit != "nJy":
        raise InputError("only scenes in nJy with variance and PSF are written as FITS; simulate them")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval = ["RA---TAN", "DEC--TAN"], _PLACE
    sky.wcs.crpix = (np.array(scenes.shape[::-1]) + 1) / 2
    sky.wcs.cdelt = np.array([-1, 1]) * scenes.pixel_scale / 3600
    header = sky.to_header()
    # AB zero point of nJy.
    header["MAGZERO"], header["PIXSCALE"] = AB_NJY, scenes.pixel_scale
    written = {}
    for key in ("image", "variance"):
        plane = getattr(scenes, key)[row]
        hdus = [fits.ImageHDU(plane[..., band], header, name=name) for band, name in enumerate(scenes.bands)]
        written[key] = folder / f"{key}.fits"
        with atomic_path(written[key]) as path:
            fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    written["psf"] = []
    psf = scenes.psf_of([row])[0]
    for band, name in enumerate(scenes.bands):
        written["psf"].append(folder / f"psf_{name}.fits")
        with atomic_path(written["psf"][-1]) as path:
            fits.PrimaryHDU(psf[..., band], fits.Header({"PIXSCALE": scenes.pixel_scale})).writeto(path, overwrite=True)
    return written
