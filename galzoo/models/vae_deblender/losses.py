"""The term of the loss for total fluxes."""

from keras import ops

# Error of a total flux that counts as much as one standard deviation of its noise.
_FLUX_SCALE = 0.01


def flux_miss(flux, true, weight):
    """Return how far total fluxes are off, in units of 1 % and of their noise, summed over bands.

    The faint wings decide total fluxes; pixel by pixel the likelihood hardly sees them.

    Parameters
    ----------
    flux, true : tensor, (n, source, band)
    weight : tensor, same shape
        Inverse variance of the flux; 0 where a band is absent.

    Returns
    -------
    tensor, (n, source)
    """
    seen = weight > 0
    scale = ops.square(_FLUX_SCALE * true) + 1.0 / ops.where(seen, weight, 1.0)
    return 0.5 * ops.sum(ops.where(seen, ops.square(flux - true) / scale, 0.0), axis=-1)
