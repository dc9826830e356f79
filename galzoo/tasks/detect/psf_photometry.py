"""Stars by DAOFIND and grouped PSF fitting (photutils): what people run on crowded fields today."""

import dataclasses
import warnings

import numpy as np

from galzoo.data.psf import peak_fwhm
from galzoo.metrics.reconstruction import inverse_variance


@dataclasses.dataclass(frozen=True)
class PSFPhotometry:
    """Find stars by DAOFIND on all bands together, and fit those near to each other at once in the first band.

    Parameters
    ----------
    threshold : float
        Of a peak, in units of the noise of the summed bands.
    group : float
        Stars nearer than so many FWHM are fitted together.
    apart : float
        Of two peaks nearer than so many FWHM the brighter is taken.
    sky : float, optional
        Percentile of each band that is taken off first, for the light of stars that are not found.

    References
    ----------
    Stetson 1987, PASP 99, 191; Bradley et al., photutils, https://doi.org/10.5281/zenodo.596036.
    """

    threshold: float = 4.0
    group: float = 1.0
    apart: float = 0.5
    sky: float | None = None

    def __call__(self, image, variance, mask, psf):
        """Return positions (star, 2) as x, y and the fluxes (star,) in the first band of one image (y, x, band)."""
        import inspect

        from astropy.table import QTable
        from photutils.detection import DAOStarFinder
        from photutils.psf import ImagePSF, SourceGrouper
        from photutils.psf import PSFPhotometry as Fit

        weight = inverse_variance(variance, mask)
        good = weight[..., 0] > 0
        if self.sky is not None and good.any():
            image = image - np.nanpercentile(np.where(weight > 0, image, np.nan)[good], self.sky, axis=0)
        usable = np.where(weight > 0, image, 0).astype(float)
        noise = np.sqrt(np.maximum((weight > 0).sum(axis=-1), 1))
        together = (usable * np.sqrt(weight)).sum(axis=-1) / noise
        fwhm = peak_fwhm(psf[..., :1])
        nothing = np.zeros((0, 2)), np.zeros(0)
        with warnings.catch_warnings():
            # Both warn of stars that were not found or not fitted.
            warnings.simplefilter("ignore")
            # Near neighbours are what such fields are made of, and blends are neither sharp nor round; the names of the
            # bounds changed with photutils 3.
            wide = {"sharpness": (-9.0, 9.0), "roundness": (-9.0, 9.0)}
            if "sharpness_range" in inspect.signature(DAOStarFinder).parameters:
                bounds = {f"{name}_range": pair for name, pair in wide.items()}
            else:
                bounds = {
                    f"{name[:5]}{end}": value
                    for name, pair in wide.items()
                    for end, value in zip(("lo", "hi"), pair, strict=True)
                }
            finder = DAOStarFinder(self.threshold, fwhm, min_separation=self.apart * fwhm, **bounds)
            found = finder(together, mask=~good)
            if found is None:
                return nothing
            names = ("x_centroid", "y_centroid") if "x_centroid" in found.colnames else ("xcentroid", "ycentroid")
            start = QTable({"x_init": found[names[0]], "y_init": found[names[1]]})
            peak = psf[..., 0].max()
            column, row = (np.round(np.asarray(start[name])).astype(int) for name in ("x_init", "y_init"))
            shape = usable.shape
            start["flux_init"] = usable[np.clip(row, 0, shape[0] - 1), np.clip(column, 0, shape[1] - 1), 0] / peak
            side = 2 * int(np.ceil(fwhm / 2)) + 1
            fit = Fit(
                ImagePSF(psf[..., 0].astype(float)), (side, side), grouper=SourceGrouper(max(self.group * fwhm, 0.1)),
                group_warning_threshold=10**6, xy_bounds=fwhm,
            )  # fmt: skip
            error = np.where(good, 1 / np.sqrt(np.where(good, weight[..., 0], 1)), 1)
            try:
                table = fit(usable[..., 0], error=error, mask=~good, init_params=start)
            except ValueError:
                # None of the stars has a pixel to fit.
                return nothing
        places = np.stack([np.asarray(table[name], float) for name in ("x_fit", "y_fit")], axis=-1)
        flux = np.asarray(table["flux_fit"], float)
        kept = np.isfinite(places).all(axis=-1) & np.isfinite(flux) & (flux > 0)
        return places[kept], flux[kept]
