"""How many sources stamps hold, as a table."""

import numpy as np


def screen(model, batch, passes=None, seed=0):
    """Return a table of how likely each stamp of a batch is a blend.

    Parameters
    ----------
    model : Counter
        See `galzoo.contracts.counts.Counter`.
    batch : dict of arrays
        Keys of `galzoo.data.keys`.
    passes, seed : int, optional
        As of `Counter.count`.

    Returns
    -------
    astropy.table.Table
        ``p_0``, ``p_1``, ... of each number, the last of so many or more; ``p_blend`` of two or more; ``entropy`` and
        ``mutual_information`` in nats.
    """
    from astropy.table import Table

    counts = model.count(batch, passes, seed)
    table = Table({f"p_{number}": values for number, values in enumerate(np.transpose(counts.probability))})
    table["p_blend"] = counts.blended
    table["entropy"], table["mutual_information"] = counts.entropy, counts.mutual_information
    return table
