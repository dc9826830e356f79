"""What every deblender answers, learnt or classical, so that one suite and one task serve them all."""

import dataclasses

import numpy as np

from galzoo.brief import Brief

FLAGS = {
    "fallback": 1,
    "negative_flux": 2,
    "edge": 4,
    "masked": 8,
    "saturated": 16,
    "poor_fit": 32,
    "not_fitted": 64,
    "added": 128,
    "truncated": 256,
    "shared": 512,
}
"""Bits of a source's flag: the undeblended measurement is given; a flux is not positive; its light reaches the edge of
the image; part of its core is masked; it holds saturated pixels; chi squared stays high; no model was fitted; it was
added where the residual asked for it; it is larger than any window, so no model was fitted to the whole of it; a
fainter source was added in its light, and may be a part of it."""


@dataclasses.dataclass(repr=False)
class Deblended(Brief):
    """The sources of n blends, padded to the largest number of sources; all arrays are NumPy.

    Parameters
    ----------
    image : array, (n, source, y, x, band)
        Each source as observed (PSF-convolved), without noise, in the unit of the data; 0 where there is no source.
    flux : array, (n, source, band)
        Total flux.
    positions : array, (n, source, 2)
        Pixel positions as (x, y), as fitted.
    present : bool array, (n, source)
        Which entries are sources.
    flux_error : array, (n, source, band), optional
        Standard deviation of the posterior, with what the model's kind of galaxies is worth at best and what
        neighbours that are not of that kind may take.
    flux_width : array, (n, source, band), optional
        Standard deviation by the likelihood alone, with all shapes held: what noise does to the flux.
    samples : array, (draw, n, source, band), optional
        Posterior samples of the flux.
    shape : array, (n, source, 3), optional
        e1, e2 (distortion) and half-light radius in pixels of the intrinsic galaxy, before the PSF.
    shape_error : array, (n, source, 3), optional
        Standard deviations of `shape`.
    position_error : array, (n, source, 2), optional
        Standard deviations of `positions`, pixels.
    chi2 : array, (n,), optional
        Mean of (data - sum of sources)^2 / variance over the good pixels.
    residual : array, (n, y, x, band), optional
        Data less the sum of the sources; 0 at bad pixels.
    flags : int array, (n, source), optional
        Bits of `FLAGS`.
    """

    image: np.ndarray
    flux: np.ndarray
    positions: np.ndarray
    present: np.ndarray
    flux_error: np.ndarray | None = None
    flux_width: np.ndarray | None = None
    samples: np.ndarray | None = None
    shape: np.ndarray | None = None
    shape_error: np.ndarray | None = None
    position_error: np.ndarray | None = None
    chi2: np.ndarray | None = None
    residual: np.ndarray | None = None
    flags: np.ndarray | None = None

    def __len__(self):
        return len(self.image)

    def to_table(self, bands):
        """Return a row a source as an `astropy.table.QTable`, with columns a band named as `bands`.

        Columns are ``blend, source, x, y`` (pixels), ``flux_<band>``, where known ``flux_err_<band>``, ``e1, e2,
        half_light_radius`` (pixels) and ``flags``.
        """
        from astropy.table import QTable

        table = QTable()
        table["blend"], table["source"] = np.nonzero(self.present)
        table["x"], table["y"] = self.positions[self.present].T
        for index, band in enumerate(bands):
            table[f"flux_{band}"] = self.flux[self.present][:, index]
            if self.flux_error is not None:
                table[f"flux_err_{band}"] = self.flux_error[self.present][:, index]
        if self.shape is not None:
            table["e1"], table["e2"], table["half_light_radius"] = self.shape[self.present].T
        if self.flags is not None:
            table["flags"] = self.flags[self.present]
        return table
