"""Detectors with known answers."""

import dataclasses

import numpy as np
from scipy import ndimage

from galzoo.contracts.detections import CLASSES, Detections
from tests.field.fields import BANDS, FWHM, SCALE


@dataclasses.dataclass
class Peaks:
    """Peaks of the smoothed sum of the bands and their centroids: what it says of a source depends on 15 pixels about.

    `doubt` is the probability of peaks right of x = `right`; those of others grow with their height.
    """

    bands: tuple = BANDS
    pixel_scale: float = SCALE
    classes: tuple = CLASSES
    masks: bool = True
    level: float = 6.0
    seen: list = dataclasses.field(default_factory=list)

    def detect(self, batch, threshold=0.0):
        self.seen.append({key: values.shape for key, values in batch.items()})
        answers = [self.one(image, mask, threshold) for image, mask in zip(batch["image"], batch["mask"], strict=True)]
        most = max(1, max(len(one) for one in answers))
        table = np.zeros((len(answers), most, 4))
        for row, one in zip(table, answers, strict=True):
            row[: len(one)] = one
        x, y, probability, flux = np.moveaxis(table, -1, 0)
        boxes = np.stack([x - FWHM, y - FWHM, x + FWHM, y + FWHM], axis=-1)
        grid = np.linspace(-1, 1, 8)
        mask = np.where(grid[:, None] ** 2 + grid**2 < 1, 0.9, 0.1)
        return Detections(
            np.stack([x, y], axis=-1),
            probability,
            boxes,
            np.stack([0.3 + 0 * x, 0.7 + 0 * x], axis=-1),
            flux=np.repeat(flux[..., None], len(self.bands), axis=-1),
            flux_error=np.ones((*x.shape, len(self.bands))),
            masks=np.broadcast_to(mask, (*x.shape, 8, 8)) if self.masks else None,
        )

    def one(self, image, mask, threshold):
        smooth = ndimage.gaussian_filter(np.where(mask, 0, image).sum(axis=-1).astype(float), FWHM / 2.3548, truncate=4)
        top = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > self.level)
        rows = []
        for y, x in zip(*np.nonzero(top), strict=True):
            if not (1 <= y < smooth.shape[0] - 1 and 1 <= x < smooth.shape[1] - 1):
                continue
            # The peak of the parabola through three pixels.
            place = []
            for low, middle, high in (
                (smooth[y, x - 1], smooth[y, x], smooth[y, x + 1]),
                (smooth[y - 1, x], smooth[y, x], smooth[y + 1, x]),
            ):
                place.append(0.5 * (low - high) / (low - 2 * middle + high))
            rows.append((x + place[0], y + place[1], 1 - np.exp(-smooth[y, x] / self.level / 2), 10 * smooth[y, x]))
        rows = [row for row in rows if row[2] >= threshold]
        return np.array(sorted(rows, key=lambda row: -row[2])).reshape(-1, 4)


@dataclasses.dataclass
class Listed:
    """Says what it is told: rows x, y, probability in pixels of a field of one block whose margin is `margin`."""

    rows: list
    margin: int = 64
    bands: tuple = BANDS
    pixel_scale: float = SCALE
    classes: tuple = CLASSES

    def detect(self, batch, threshold=0.0):
        rows = np.array([row for row in self.rows if row[2] >= threshold], float).reshape(1, -1, 3)
        place = rows[..., :2] + self.margin
        boxes = np.concatenate([place - 4, place + 4], axis=-1)
        return Detections(place, rows[..., 2], boxes)
