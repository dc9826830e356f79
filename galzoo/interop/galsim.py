"""Samples as GalSim objects, for image simulations."""

from galzoo.errors import InputError, MissingDependencyError


def to_interpolated_images(samples, rows=None, deconvolve=False, x_interpolant="lanczos15", gsparams=None):
    """Turn sampled galaxies into GalSim objects, ready to be convolved with a PSF and drawn.

    Parameters
    ----------
    samples : Samples
        Images with a flux scale.
    rows : sequence of int, optional
        Which galaxies; all by default.
    deconvolve : bool
        Take the Gaussian PSF of the model frame out, so that the object can be convolved with a telescope's whole PSF.
        The result can only be drawn convolved with a PSF that is wider than that Gaussian.
    x_interpolant : str or galsim.Interpolant
        How GalSim fills in between pixels.
    gsparams : galsim.GSParams, optional
        Accuracy of GalSim.

    Returns
    -------
    list of dict of str to galsim.GSObject
        For each galaxy one object a band: about its true centre, sky coordinates in arcsec, flux in the unit of the
        samples.

    Raises
    ------
    MissingDependencyError
        If GalSim is not installed.
    InputError
        If the samples are pictures without a flux scale, have no model frame to deconvolve, or one has no light.

    Notes
    -----
    The pixels of a sample are points of its surface brightness: the model frame's Gaussian is all its blur. So an
    object is drawn with ``method="no_pixel"``, or with a PSF without the pixel response and GalSim's own pixel.

    Examples
    --------
    >>> galaxy = to_interpolated_images(samples, deconvolve=True)[0]["r"]
    >>> galsim.Convolve(galaxy, galsim.Kolmogorov(fwhm=0.7)).drawImage(scale=0.2)
    """
    try:
        import galsim
    except ImportError:
        raise MissingDependencyError("GalSim objects need GalSim: pip install galsim") from None
    import numpy as np

    if not samples.unit:
        raise InputError("these samples are display-stretched pictures without a flux scale; GalSim needs fluxes")
    if deconvolve and not samples.model_sigma:
        raise InputError("these samples have no model frame to deconvolve; leave out deconvolve")
    blur = galsim.Gaussian(sigma=(samples.model_sigma or 1.0) * samples.pixel_scale, gsparams=gsparams)
    objects = []
    for row in range(len(samples)) if rows is None else rows:
        objects.append({})
        for index, band in enumerate(samples.bands):
            pixels = np.array(samples.image[row, ..., index], dtype=float)
            total = pixels.sum()
            if not np.isfinite(total) or total == 0:
                raise InputError(f"sample {row} has a flux of {total:g} in band {band!r}; GalSim needs a flux, drop it")
            image = galsim.InterpolatedImage(
                galsim.Image(pixels, scale=samples.pixel_scale),
                x_interpolant=x_interpolant,
                flux=total,
                gsparams=gsparams,
            )
            objects[-1][band] = galsim.Convolve(image, galsim.Deconvolve(blur)) if deconvolve else image
    return objects
