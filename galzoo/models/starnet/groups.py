"""Cells that tell of the same star."""

import dataclasses

import numpy as np

from galzoo.metrics.star_catalogues import place_tree
from galzoo.models.logistic import expit

LEAST = 0.003
"""Cells less probable than this are no part of a star of others."""
GROUPED = ("logit", "position", "log_position_error")
"""What cells are grouped by."""
# Pixels within which cells may tell of the same star, beside the error of the most probable.
_NEAR = 0.35
# No entry is so many times as probable as its most probable cell: of 20,000 entries in fields of 1 to 15 stars on 100
# pixels none was more than 12 times.
_MOST_CELLS = 24
# Cells whose neighbours are asked for at once: all at once would take gigabytes.
_AT_ONCE = 4096


def group_cells(p, place, error, threshold=0.0):
    """Return the number of the entry that each cell belongs to.

    Where a `threshold` is given, cells that only belong to entries less probable than it may have none: -1.
    """
    if not len(p):
        return np.full(0, -1)
    last = int(np.count_nonzero(p >= threshold / _MOST_CELLS))
    # The most probable first: neighbours in the order of their numbers are in that of their probabilities.
    order = np.argsort(-p, kind="stable")
    place, radius, p = place[order], _NEAR + np.minimum(error[order], 1.0), p[order].tolist()
    tree, group, number = place_tree(place), [-1] * len(p), 0
    for first in range(0, last, _AT_ONCE):
        seeds = [seed for seed in range(first, min(first + _AT_ONCE, last)) if group[seed] < 0]
        near = tree.query_ball_point(place[seeds], radius[seeds], return_sorted=True) if seeds else []
        for seed, others in zip(seeds, near, strict=True):
            if group[seed] >= 0:
                continue
            total, group[seed] = p[seed], number
            if total < 0.98:
                for other in others:
                    if group[other] < 0 and total + p[other] <= 1.02:
                        group[other] = number
                        total += p[other]
            number += 1
    found = np.empty(len(p), int)
    found[order] = group
    return found


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of cells of an image, each of which has one star at most.

    Parameters
    ----------
    probability : array, (group,)
        That it has one.
    cell : int array, (cell,)
        Number of each cell in the image, group by group.
    until : array, (cell,)
        Sum of the shares of cells in their groups, up to and with each, counted on from group to group.
    """

    probability: np.ndarray
    cell: np.ndarray
    until: np.ndarray

    @classmethod
    def of(cls, cells):
        """Return the groups of an image's cells, a dict of `GROUPED` without the first axis."""
        p = expit(cells["logit"].astype(np.float64).ravel())
        likely = np.flatnonzero(p > LEAST)
        place = cells["position"].reshape(-1, 2)[likely].astype(float)
        error = np.exp(cells["log_position_error"].reshape(-1, 2)[likely].astype(float))
        group = np.empty(len(p), int)
        group[likely] = group_cells(p[likely], place, np.sqrt((error**2).mean(axis=-1)))
        first = int(group[likely].max(initial=-1)) + 1
        alone = np.flatnonzero(p <= LEAST)
        group[alone] = first + np.arange(len(alone))
        total = np.bincount(group, p)
        order = np.argsort(group, kind="stable")
        return cls(np.minimum(total, 1.0), order, np.cumsum(p[order] / total[group[order]]))

    def moments(self):
        """Return mean and variance of the number of stars."""
        return self.probability.sum(), (self.probability * (1 - self.probability)).sum()

    def draw(self, shift, random):
        """Return the cells (star,) of the stars of one draw, with all logits shifted by a number."""
        p = self.probability
        # A logit that is shifted, written so that 0 and 1 stay what they are.
        odds = np.exp(shift)
        chosen = np.flatnonzero(random.random(len(p)) < p * odds / (1 - p + p * odds))
        at = np.searchsorted(self.until, chosen + np.minimum(random.random(len(chosen)), 1 - 1e-9), side="right")
        return np.sort(self.cell[np.minimum(at, len(self.cell) - 1)])
