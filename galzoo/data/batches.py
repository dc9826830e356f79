"""Stamps in memory as the batch of a model."""

from galzoo.data.source import clean_planes


def stamps_batch(stamps, rows=slice(None)):
    """Return the batch of some rows of `stamps`, bad pixels masked, as every model takes it.

    Parameters
    ----------
    stamps : Stamps
        An absent variance is estimated from the sky of each stamp.
    rows : slice or array
    """
    keys = [key for key in ("image", "variance", "mask") if getattr(stamps, key) is not None]
    batch = clean_planes({key: getattr(stamps, key)[rows] for key in keys}, estimate=stamps.variance is None)
    if stamps.psf is not None:
        batch["psf"] = stamps.psf_of(rows)
    return batch
