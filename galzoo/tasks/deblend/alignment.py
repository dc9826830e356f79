"""Answers of deblenders that find sources themselves, put beside the true sources."""

import dataclasses

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.metrics.deblending import present_sources
from galzoo.metrics.matching import match

# A detection is a true source where it is at most so many pixels away; well sampled images have a PSF of 2 to 4 pixels.
MATCH_PIXELS = 3.0


def aligned(found, batch, max_distance=MATCH_PIXELS):
    """Put what was found into the order of a batch's own sources.

    Parameters
    ----------
    found : Deblended
    batch : dict of arrays
        With ``positions`` and ``n_sources``.
    max_distance : float
        In pixels; see `galzoo.metrics.matching.match`.

    Returns
    -------
    Deblended
        With the slots of the batch. A source that was not found has a flux of NaN, no light and the flag `not_fitted`.
    """
    present = present_sources(batch["positions"], batch["n_sources"])
    slot = matched_slots(found, batch, max_distance)
    missed = slot < 0
    row = np.arange(len(slot))[:, None]

    def taken(values, empty):
        if values is None:
            return None
        result = np.array(values[row, np.maximum(slot, 0)])
        result[missed] = empty
        return result

    samples = None
    if found.samples is not None:
        samples = np.moveaxis(taken(np.moveaxis(found.samples, 0, 2), np.nan), 2, 0)
    flags = taken(np.zeros(found.present.shape, np.int32) if found.flags is None else found.flags, FLAGS["not_fitted"])
    return dataclasses.replace(
        found,
        image=taken(found.image, 0.0),
        positions=np.where(missed[..., None], batch["positions"], taken(found.positions, 0.0)),
        present=present,
        samples=samples,
        flags=np.where(present, flags, 0),
        **{
            key: taken(getattr(found, key), np.nan)
            for key in ("flux", "flux_error", "flux_width", "shape", "shape_error", "position_error")
        },
    )


def matched_slots(found, batch, max_distance=MATCH_PIXELS):
    """Return for each source of a batch which one of the found sources it is, int (n, source); -1 where none."""
    slots = np.full(batch["positions"].shape[:2], -1)
    for scene, count in enumerate(np.asarray(batch["n_sources"])):
        rows = np.flatnonzero(found.present[scene])
        matches = match(found.positions[scene, rows], batch["positions"][scene, :count], max_distance)
        slots[scene, matches.truth] = rows[matches.found]
    return slots


@dataclasses.dataclass(frozen=True)
class AtDetections:
    """A deblender of given positions that is given those that another one finds.

    Parameters
    ----------
    deblend : callable
        ``deblend(batch) -> Deblended``.
    finder : deblender with ``find``
    """

    deblend: object
    finder: object

    def __call__(self, batch):
        """Measure the sources of a batch; those that were not found have no flux."""
        return aligned(self.find(batch), batch)

    def find(self, batch):
        """Return what is found, as `Deblended`."""
        found = self.finder.find(batch)
        given = {key: value for key, value in batch.items() if key not in ("isolated", "flux")}
        return self.deblend(given | {"positions": found.positions, "n_sources": found.present.sum(axis=1)})


@dataclasses.dataclass(frozen=True)
class Finding:
    """A deblender that is given no positions, because it finds the sources itself.

    Parameters
    ----------
    deblend : callable
        ``deblend(batch) -> Deblended``.
    """

    deblend: object

    def __call__(self, batch):
        """Measure the sources of a batch; those that were not found have no flux."""
        return aligned(self.find(batch), batch)

    def find(self, batch):
        """Return what is found, as `Deblended`."""
        return self.deblend({key: value for key, value in batch.items() if key in _SEEN})


_SEEN = ("image", "variance", "mask", "psf")
