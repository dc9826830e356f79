"""What was found in pieces of a field put together: no source twice, none lost at a seam."""

import numpy as np

GUARD = 2.0
"""Pixels beyond its core up to which a piece reports sources: the same source may lie a little elsewhere in another."""
SAME = 1.0
"""Sources of different pieces that are nearer than this, in pixels, are one."""


def depth_in(x, y, core, shape):
    """Return how far positions lie inside the core (y0, y1, x0, x1) of a piece, pixels, negative outside.

    Where a core ends with the field there is no other piece, so that side counts as infinitely far.
    """
    y0, y1, x0, x1 = core
    sides = [
        np.where(at > 0, place - (at - 0.5), np.inf) if low else np.where(at < size, (at - 0.5) - place, np.inf)
        for place, at, size, low in (
            (y, y0, 0, True),
            (y, y1, shape[0], False),
            (x, x0, 0, True),
            (x, x1, shape[1], False),
        )
    ]
    return np.min(sides, axis=0)


def merge(x, y, piece, depth):
    """Return which sources stay, and in which order.

    Parameters
    ----------
    x, y : array, (n,)
        Positions in the field, pixels.
    piece : int array, (n,)
        Number of the piece that found each.
    depth : array, (n,)
        Of `depth_in`.

    Returns
    -------
    int array, (k,)
        Rows that stay, from the bottom of the field up. Of a source that several pieces found, the one farthest inside
        its own core; one that lies outside its piece's core and that no other piece found is left out.
    """
    from scipy.spatial import cKDTree

    lost = depth < 0
    near = np.flatnonzero(depth <= GUARD)
    if len(near) > 1:
        places = np.stack([x[near], y[near]], axis=-1)
        pairs = near[cKDTree(places).query_pairs(SAME, output_type="ndarray")]
        pairs = pairs[piece[pairs[:, 0]] != piece[pairs[:, 1]]]
        distance = np.hypot(*(places_of(x, y, pairs[:, 0]) - places_of(x, y, pairs[:, 1])).T)
        lost = _best_of_each(pairs[np.argsort(distance, kind="stable")], piece, depth, lost)
    kept = np.flatnonzero(~lost)
    return kept[np.lexsort((np.round(x[kept], 3), np.round(y[kept], 3)))]


def places_of(x, y, rows):
    """Return positions of rows, (n, 2)."""
    return np.stack([x[rows], y[rows]], axis=-1)


def _best_of_each(pairs, piece, depth, lost):
    """Return which rows are lost once the nearest pairs are joined, at most one row of a piece in each source."""
    source, members = {}, {}
    for one, other in pairs.tolist():
        groups = [members.get(source.get(row, -1), [row]) for row in (one, other)]
        if groups[0] is groups[1] or {piece[row] for row in groups[0]} & {piece[row] for row in groups[1]}:
            continue
        joined = groups[0] + groups[1]
        for row in joined:
            source[row] = one
        members[one] = joined
    lost = lost.copy()
    for number, group in members.items():
        if source[group[0]] == number:
            lost[group] = True
            lost[max(group, key=lambda row: (depth[row], -row))] = False
    return lost
