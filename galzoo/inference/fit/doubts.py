"""By how much errors of fluxes, places and shapes grow as galaxies are not as their profiles.

What intervals hold with the constants, and with others, is measured by ``scripts/bench_deblend_errors.py``
(``docs/benchmarks/bench_deblend_errors.json``).
"""

import numpy as np

COHERENT = 2.0
"""How many times more than pixel by pixel a profile may be wrong where it matters: misfits go on over many pixels."""
UNSEEN = 5.0
"""How many times the model's flux floor neighbours take up of what would show in the residual of a galaxy alone."""
PULLED = 1.0
"""Part of the neighbours' light by which places are pulled, where profiles are wrong by the flux floor."""
LOPSIDED = 0.4
"""The same of the galaxy's own light."""
SIZES = 1.6
"""How much more sizes are off by it than places and ellipticities."""


def flux_errors(error, flux, part, contamination, floor, coherent=COHERENT, unseen=UNSEEN):
    """Return errors of fluxes with what the profiles are wrong by.

    Parameters
    ----------
    error, flux : array, (n, source, band)
        Of the posterior of profiles.
    part : array, (n,)
        Part of its light by which the residual says that a scene differs from its profiles.
    contamination : array, (n, source, band)
        Light that sources may take from each other, as flux.
    floor : float
        Part of a flux that profiles of this kind miss at best.
    coherent, unseen : float
    """
    mistaken = np.hypot(coherent * part[:, None, None], unseen * floor) * contamination
    return np.sqrt(error**2 + (floor * flux) ** 2 + mistaken**2)


def strain(neighbours, own, floor, share=1.0, pulled=PULLED, lopsided=LOPSIDED):
    """Return by what factor places and ellipticities are less sure than noise makes them.

    Parameters
    ----------
    neighbours, own : array, (n, source)
        Light that neighbours may take and the source's own, in standard deviations of the flux.
    floor : float
        As of `flux_errors`.
    share : float
        How much more of it something else takes; sizes: `SIZES`.
    pulled, lopsided : float
    """
    return np.hypot(1, share * floor * np.hypot(pulled * neighbours, lopsided * own))
