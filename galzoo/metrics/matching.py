"""One-to-one matching of detected sources to true ones, by distance; completeness and purity."""

import dataclasses

import numpy as np

from galzoo.errors import InputError


@dataclasses.dataclass
class Matches:
    """Pairs of detected and true sources.

    Parameters
    ----------
    found, truth : int array, (k,)
        Rows of each pair; no row is there twice.
    distance : array, (k,)
        In the unit of the matching: pixels, or arcsec on the sky.
    n_found, n_truth : int
        How many there were to match.
    """

    found: np.ndarray
    truth: np.ndarray
    distance: np.ndarray
    n_found: int
    n_truth: int

    @property
    def completeness(self):
        """Share of the true sources that were found; NaN where there is none."""
        return len(self.truth) / self.n_truth if self.n_truth else float("nan")

    @property
    def purity(self):
        """Share of the detections that are true; NaN where there is none."""
        return len(self.found) / self.n_found if self.n_found else float("nan")

    @property
    def found_of_truth(self):
        """The row of the detection of each true source, int (n_truth,); -1 where it was missed."""
        return _inverse(self.truth, self.found, self.n_truth)

    @property
    def truth_of_found(self):
        """The row of the true source of each detection, int (n_found,); -1 where it is spurious."""
        return _inverse(self.found, self.truth, self.n_found)


def _inverse(rows, values, n):
    result = np.full(n, -1)
    result[rows] = values
    return result


def match(found, truth, max_distance):
    """Match points one to one.

    As many pairs as possible are made; among such matchings the one with the least sum of distances is taken. Pairs
    are searched with a KD-tree, and the assignment is solved for each group of points that are near each other.

    Parameters
    ----------
    found : array, (n, d)
        Detected positions, for example x, y in pixels.
    truth : array, (m, d)
        True positions.
    max_distance : float
        Pairs that are farther apart are none.

    Returns
    -------
    Matches
        In the order of `truth`.

    Raises
    ------
    InputError
        If shapes do not fit, a position is not finite or the distance is not positive.

    References
    ----------
    Crouse 2016, IEEE Transactions on Aerospace and Electronic Systems 52, 1679 (the assignment problem).
    """
    found, truth = (np.asarray(points, dtype=np.float64) for points in (found, truth))
    if found.ndim != 2 or truth.ndim != 2 or found.shape[1] != truth.shape[1]:
        raise InputError(f"found has shape {found.shape} and truth {truth.shape}; give (n, d) and (m, d)")
    if not max_distance > 0:
        raise InputError(f"max_distance is {max_distance}; give a number above 0")
    for name, points in (("found", found), ("truth", truth)):
        if not np.isfinite(points).all():
            row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
            raise InputError(f"position {row} of {name} is {points[row].tolist()}; leave out what is not finite")
    if not len(found) or not len(truth):
        nothing = np.zeros(0, int)
        return Matches(nothing, nothing, np.zeros(0), len(found), len(truth))
    rows, columns, distance = _near_pairs(found, truth, max_distance)
    pairs = [pair for group in _groups(rows, columns, len(found), len(truth)) for pair in _assign(*group, distance)]
    chosen = np.array(pairs, dtype=int)
    chosen = chosen[np.argsort(columns[chosen])]
    return Matches(rows[chosen], columns[chosen], distance[chosen], len(found), len(truth))


def _unit_vectors(radec):
    radec = np.asarray(radec, dtype=np.float64)
    if radec.ndim != 2 or radec.shape[1] != 2:
        raise InputError(f"sky positions have shape {radec.shape}; give right ascension and declination, (n, 2)")
    ra, dec = np.deg2rad(radec).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _near_pairs(found, truth, max_distance):
    """Return rows, columns and distances of all pairs within the distance."""
    from scipy.spatial import KDTree

    near = KDTree(found).sparse_distance_matrix(KDTree(truth), max_distance, output_type="ndarray")
    return near["i"], near["j"], near["v"]


def _groups(rows, columns, n, m):
    """Yield the pairs, as positions in the list of pairs, of each set of points that hang together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(rows)), (rows, columns + n)), shape=(n + m, n + m))
    _, label = connected_components(graph, directed=False)
    label = label[rows]
    order = np.argsort(label, kind="stable")
    for pairs in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        if len(pairs):
            yield pairs, rows[pairs], columns[pairs]


def _assign(pairs, rows, columns, distance):
    """Return those of the pairs of one group that make the best matching."""
    from scipy.optimize import linear_sum_assignment

    if len(pairs) == 1:
        return pairs
    rows, row = np.unique(rows, return_inverse=True)
    columns, column = np.unique(columns, return_inverse=True)
    # What is too far apart costs more than any set of pairs, so that the number of pairs comes first.
    cost = np.full((len(rows), len(columns)), 1 + 2 * distance[pairs].sum())
    position = np.full(cost.shape, -1)
    cost[row, column], position[row, column] = distance[pairs], pairs
    chosen = position[linear_sum_assignment(cost)]
    return chosen[chosen >= 0]
