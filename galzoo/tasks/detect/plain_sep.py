"""SEP as most people call it, a baseline of the suites."""

import dataclasses

import numpy as np

from galzoo.contracts.detections import CLASSES, Detections
from galzoo.data.extraction import extract
from galzoo.field.coadd import coadd
from galzoo.tasks.detect.classical import MASK_SIDE, mask_grid, scene_field
from galzoo.tasks.detect.finders import rank

_SIGMA, _LEAST_AREA = 1.5, 5


@dataclasses.dataclass
class PlainSEP:
    """SEP with SExtractor's usual setting: five connected pixels above 1.5 sigma of the sum of the bands.

    Parameters
    ----------
    bands : tuple of str
    pixel_scale : float
        Arcsec.

    Notes
    -----
    Fulfils `galzoo.contracts.detections.Detector`. Probabilities are a `rank` of the signal-to-noise of the pixels
    above the threshold. It does not tell stars from galaxies.
    """

    bands: tuple
    pixel_scale: float
    classes: tuple = CLASSES

    def detect(self, batch, threshold=0.0):
        """Return the `Detections` of a batch."""
        found = [self._found(batch, scene) for scene in range(len(batch["image"]))]
        most, bands = max([1, *(len(one["probability"]) for one in found)]), len(self.bands)
        sizes = {"positions": (2,), "probability": (), "boxes": (4,), "flux": (bands,)}
        sizes["masks"] = (MASK_SIDE, MASK_SIDE)
        result = {key: np.zeros((len(found), most, *size)) for key, size in sizes.items()}
        for scene, one in enumerate(found):
            order = np.argsort(-one["probability"], kind="stable")
            order = order[one["probability"][order] >= threshold]
            for key, values in result.items():
                values[scene, : len(order)] = one[key][order]
        return Detections(**result, class_probability=np.full((len(found), most, 2), 0.5), classes=self.classes)

    def _found(self, batch, scene):
        field, _ = scene_field(batch, scene, self.bands, self.pixel_scale)
        height, width = field.shape
        planes = field.read(0, height, 0, width)
        image, error, mask = coadd(planes, tuple((1 / field.noise_levels()).tolist()))
        image, error = np.asarray(image, np.float32), np.asarray(error, np.float32)
        objects, labels = extract(image, _SIGMA, error, mask, least_area=_LEAST_AREA)
        boxes = np.stack([objects[key] for key in ("xmin", "ymin", "xmax", "ymax")], axis=-1).astype(float)
        boxes = boxes.reshape(-1, 4) + [-0.5, -0.5, 0.5, 0.5]
        good, number = ~planes["mask"], len(objects)
        flux = [
            np.bincount(labels.ravel(), np.where(good, planes["image"], 0)[..., band].ravel(), number + 1)[1:]
            for band in range(len(self.bands))
        ]
        power = np.bincount(labels.ravel(), np.square(error).ravel(), number + 1)[1:]
        return {
            "positions": np.stack([objects["x"], objects["y"]], axis=-1).reshape(-1, 2),
            "probability": rank(objects["flux"] / np.sqrt(np.maximum(power, 1e-30))), "boxes": boxes,
            "flux": np.stack(flux, axis=-1).reshape(-1, len(self.bands)),
            "masks": np.array([mask_grid(labels == row + 1, box) for row, box in enumerate(boxes)]).reshape(
                -1, MASK_SIDE, MASK_SIDE
            ),
        }  # fmt: skip
