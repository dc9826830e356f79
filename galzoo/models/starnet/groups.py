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


def group_cells(p, place, error):
    """Return the number of the entry that each cell belongs to."""
    group = np.full(len(p), -1)
    if not len(p):
        return group
    tree = place_tree(place)
    number = 0
    radius = _NEAR + np.minimum(error, 1.0)
    for seed in np.argsort(-p, kind="stable"):
        if group[seed] >= 0:
            continue
        total = p[seed]
        group[seed] = number
        if total < 0.98:
            near = np.array(tree.query_ball_point(place[seed], radius[seed]))
            near = near[group[near] < 0]
            for other in near[np.argsort(-p[near], kind="stable")]:
                if total + p[other] <= 1.02:
                    group[other] = number
                    total += p[other]
        number += 1
    return group


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
