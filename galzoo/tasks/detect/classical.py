"""Classical detectors of batches, the baselines of the suites."""

import dataclasses

import numpy as np

from galzoo.contracts.detections import CLASSES, Detections
from galzoo.field.array_field import ArrayField
from galzoo.field.detection import Detection
from galzoo.field.psf import constant_psf, gaussian_of, mean_fwhm
from galzoo.tasks.detect.find import find
from galzoo.tasks.detect.finders import ClassicalFinder, classical_rows, rank, snr_of

# FWHM in pixels where a batch has no PSF.
_GUESSED_FWHM = 3.5
# Side of the grids on which masks are given.
MASK_SIDE = 28
# Scenes are searched down to this signal-to-noise; thresholds come after.
_LEAST_SNR = 3.6


@dataclasses.dataclass
class ClassicalDetector:
    """What ``galzoo deblend`` starts from, as a `galzoo.contracts.detections.Detector`: matched filter, then SEP.

    Parameters
    ----------
    bands : tuple of str
    pixel_scale : float
        Arcsec.
    """

    bands: tuple
    pixel_scale: float
    classes: tuple = CLASSES

    def detect(self, batch, threshold=0.0):
        """Return the `Detections` of a batch; probabilities are a `rank` of the signal-to-noise."""
        found = []
        for scene in range(len(batch["image"])):
            field, psf_of = scene_field(batch, scene, self.bands, self.pixel_scale)
            weights = tuple((1 / field.noise_levels()).tolist())
            least = max(_LEAST_SNR, snr_of(min(threshold, 0.999)))
            detection = Detection(mean_fwhm(psf_of, field), weights, threshold=least)
            found.append(find(field, ClassicalFinder(field, detection), psf_of, max(*field.shape, 64)))
        return as_detections(found, self.classes)


def scene_field(batch, scene, bands, pixel_scale):
    """Return a scene of a batch as a field, and its PSF as a function of position."""
    mask = batch["mask"][scene] if "mask" in batch else None
    field = ArrayField(batch["image"][scene], batch["variance"][scene], mask, bands, pixel_scale, name=f"scene {scene}")
    psf = batch["psf"][scene][None] if "psf" in batch else gaussian_of(_GUESSED_FWHM, len(bands))
    return field, constant_psf(psf, field)


def as_detections(found, classes):
    """Return what `find` gave of several images as `Detections`, the most probable first.

    Parameters
    ----------
    found : list of (dict of arrays, int32 array (y, x))
    classes : tuple of str
    """
    most = max([1, *(len(rows["x"]) for rows, _ in found)])
    bands = found[0][0]["aperture_flux"].shape[1]
    n = len(found)
    result = {
        "positions": np.zeros((n, most, 2)), "probability": np.zeros((n, most)), "boxes": np.zeros((n, most, 4)),
        "class_probability": np.full((n, most, 2), 0.5), "flux": np.zeros((n, most, bands)),
        "flux_error": np.zeros((n, most, bands)), "shape": np.full((n, most, 3), np.nan),
        "masks": np.zeros((n, most, MASK_SIDE, MASK_SIDE), np.float32),
    }  # fmt: skip
    for scene, (rows, instances) in enumerate(found):
        order = np.argsort(-rows["probability"], kind="stable")
        k = len(order)
        result["positions"][scene, :k] = np.stack([rows["x"], rows["y"]], axis=-1)[order]
        result["probability"][scene, :k], result["boxes"][scene, :k] = rows["probability"][order], rows["box"][order]
        starlike = rows["starlike"][order]
        result["class_probability"][scene, :k] = np.stack([1 - starlike, starlike], axis=-1)
        result["flux"][scene, :k] = rows["aperture_flux"][order]
        result["flux_error"][scene, :k] = rows["aperture_flux_error"][order]
        q2 = (rows["b"][order] / rows["a"][order]) ** 2
        e, angle = (1 - q2) / (1 + q2), 2 * rows["theta"][order]
        result["shape"][scene, :k] = np.stack([e * np.cos(angle), e * np.sin(angle), rows["radius"][order]], axis=-1)
        for place, row in enumerate(order):
            result["masks"][scene, place] = mask_grid(instances == row + 1, rows["box"][row])
    return Detections(**result, classes=tuple(classes))


def mask_grid(mask, box):
    """Return a mask of pixels on an even grid over a box."""
    steps = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    x = np.clip(np.round(box[0] + steps * (box[2] - box[0])).astype(int), 0, mask.shape[1] - 1)
    y = np.clip(np.round(box[1] + steps * (box[3] - box[1])).astype(int), 0, mask.shape[0] - 1)
    return mask[np.ix_(y, x)]


@dataclasses.dataclass
class SecondLook:
    """The classical detection and then the residual's: all that ``galzoo deblend`` finds by itself.

    Parameters
    ----------
    deblend : callable
        As `galzoo.tasks.deblend.run.deblend_field` takes, in the bands of the scenes.
    bands, pixel_scale
        As of `ClassicalDetector`.
    look : bool
        Take the second look; without it only the fit's positions are given.
    """

    deblend: object
    bands: tuple
    pixel_scale: float
    classes: tuple = CLASSES
    look: bool = True

    def detect(self, batch, threshold=0.0):
        """Return the `Detections` of a batch; what the residual asked for has been proven, and counts as sure."""
        return as_detections(
            [self.fitted(batch, scene, threshold)[:2] for scene in range(len(batch["image"]))], CLASSES
        )

    def fitted(self, batch, scene, threshold=0.5):
        """Return rows, instance map and model (y, x, band) of one scene."""
        from galzoo.field import tiles as tiling
        from galzoo.tasks.deblend.fit_groups import fit_chunk, plan
        from galzoo.tasks.deblend.run import Settings

        field, psf_of = scene_field(batch, scene, self.bands, self.pixel_scale)
        weights = tuple((1 / field.noise_levels()).tolist())
        least = max(_LEAST_SNR, snr_of(min(threshold, 0.999)))
        detection = Detection(mean_fwhm(psf_of, field), weights, least)
        parts = [tiling.detect_tile(field, (0, field.shape[0], 0, field.shape[1]), detection)]
        sources, numbers = tiling.collect(parts)
        segmentation = np.zeros(field.shape, np.int32)
        tiling.paint(segmentation, parts, numbers)
        settings = Settings(add_sources=self.look, stamp_size=0, report=False)
        chunks, sizes = plan(sources, len(self.bands), detection.fwhm) if len(sources["x"]) else ([], {})
        model = np.zeros((*field.shape, len(self.bands)), np.float32)
        fits = []
        for units in chunks:
            fit = fit_chunk(self.deblend, field, segmentation, sources, units, psf_of, detection, sizes, settings)
            _add(model, fit)
            fits.append(fit)
        return *self._rows(field, psf_of, detection, fits), model

    def _rows(self, field, psf_of, detection, fits):
        """Return the fitted positions, measured as all detections are."""
        bands = len(self.bands)
        x, y, snr = (np.concatenate([np.zeros(0), *(fit[key] for fit in fits)]) for key in ("x", "y", "snr"))
        flux, error = (
            np.concatenate([np.zeros((0, bands)), *(fit[key] for fit in fits)]) for key in ("flux", "flux_error")
        )
        fitted = np.sqrt(np.nansum((np.maximum(flux, 0) / np.where(error > 0, error, np.inf)) ** 2, axis=1))
        probability = np.where(np.isfinite(snr), rank(snr), np.maximum(rank(fitted), 0.5))
        places = np.stack([x, y], axis=-1)
        return find(field, _At(field, detection, places, probability), psf_of, max(*field.shape, 64))


def _add(model, fit):
    """Add the models of windows to that of a scene."""
    start, bands = 0, model.shape[-1]
    for x0, y0, side in fit["box"]:
        window = fit["model"][start : start + side * side * bands].reshape(side, side, bands)
        start += side * side * bands
        top, bottom, left, right = max(y0, 0), min(y0 + side, len(model)), max(x0, 0), min(x0 + side, model.shape[1])
        model[top:bottom, left:right] += window[top - y0 : bottom - y0, left - x0 : right - x0]


@dataclasses.dataclass(frozen=True)
class _At:
    """Finds given sources."""

    field: object
    detection: Detection
    places: np.ndarray
    probability: np.ndarray

    def tile(self, core, number):
        height, width = self.field.shape
        inside = (self.places > -0.5).all(axis=1) & (self.places < [width - 0.5, height - 0.5]).all(axis=1)
        found = classical_rows(self.field, core, self.detection, self.places[inside])
        return found | {
            "probability": self.probability[inside][found["row"]],
            "piece": np.full(len(found["x"]), number),
        }
