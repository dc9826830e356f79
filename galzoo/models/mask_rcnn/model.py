"""The Mask R-CNN."""

import keras
import numpy as np
from keras import layers, ops

from galzoo.contracts.detections import CLASSES
from galzoo.errors import InputError, RecipeError
from galzoo.layers import boxes as boxing
from galzoo.layers.augment import hide_bands
from galzoo.layers.checks import check_batch
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.likelihood import clean, weights
from galzoo.layers.roi_align import roi_align
from galzoo.models.mask_rcnn import losses
from galzoo.models.mask_rcnn.anchors import anchor_boxes, anchor_losses, anchor_proposals
from galzoo.models.mask_rcnn.aperture import aperture_light
from galzoo.models.mask_rcnn.calibrate import fit_calibration
from galzoo.models.mask_rcnn.detections import detections
from galzoo.models.mask_rcnn.networks import Pyramid, StartBias, dense_head, mask_head, perceptron
from galzoo.models.mask_rcnn.residual_batch import after_first_pass

# Bins of the features of a proposal, and of its mask; the mask comes out twice as fine.
_BINS, _MASK_BINS = 7, 14
# A proposal is read on a square of this many times its box, at least so many pixels.
_CONTEXT, _LEAST_SIDE = 1.5, 14.0
_STRIDE = 2
_FILLER = -1e3


@keras.saving.register_keras_serializable(package="galzoo")
class MaskRCNN(keras.Model):
    """Find stars and galaxies in multi-band images, and measure each.

    Proposals are the peaks of a map of the probability that a centre lies in a cell of 2 x 2 pixels, whatever the size
    of the source. At each, features of the pyramid are read (ROI align), and a second network says how probable it is
    that there is a source that no other proposal stands for, its class, place, box, fluxes and shape with errors, and
    its mask.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    pixel_scale : float, optional
        Arcsec; 0.2 where nothing says it.
    channels, blocks : sequence of int
        Channels and residual blocks of the levels of the backbone, of 2, 4, 8, ... pixels to a cell.
    width : int
        Channels of the feature pyramid.
    hidden : int
        Units of the layers of the second network.
    mask_filters : int
        Channels of the network of masks.
    proposals : int
        Most proposals in 128 x 128 pixels; images of other sizes have as many a pixel, but at least a quarter.
    masks : int
        Masks of each image that are trained in a step.
    snr_limit : float
        Sources of at least this signal-to-noise ratio (all bands, matched filter, alone) must be found; fainter ones
        are neither asked for nor held against it.
    match_radius : float
        Pixels within which a proposal is the source's (`losses.match`).
    band_dropout : float
        Probability that a band of an image is hidden in training; one at least is left.
    residual : bool
        Look for what a first pass has missed: reads ``model`` too, or makes it where the batch has ``source_images``
        (`first_pass`).
    seed : int
        Of what is hidden and shifted in training.
    anchors : sequence of float
        Heights over widths of the anchors of a region proposal network, of 8, 16, 32, ... pixels a side, in place of
        the map of centres.
    matrix_nms : bool
        Proposals of anchors that overlap are lowered (matrix non-maximum suppression) rather than left out.
    calibration : (float, float, float), optional
        Slope of the logit of existence, offset, and slope with the logarithm of the signal-to-noise ratio that is
        measured; set by `finish`.

    Notes
    -----
    Reads ``image``, ``variance`` and, where present, ``mask``; any number of pixels. Truth keys, where present, add
    what the losses need.

    References
    ----------
    He et al. 2017, arXiv:1703.06870; Zhou et al. 2019, arXiv:1904.07850 (centres).
    """

    classes = CLASSES

    def __init__(
        self,
        bands=("band",),
        pixel_scale=None,
        channels=(32, 64, 96, 128, 128),
        blocks=(1, 2, 2, 2, 1),
        width=48,
        hidden=256,
        mask_filters=32,
        proposals=64,
        masks=12,
        snr_limit=5.0,
        match_radius=2.0,
        band_dropout=0.0,
        residual=False,
        seed=0,
        anchors=(),
        matrix_nms=False,
        calibration=None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if len(channels) != len(blocks):
            raise RecipeError(f"channels has {len(channels)} numbers, blocks {len(blocks)}; give one a level")
        self._arguments = {
            "bands": [str(band) for band in bands],
            "pixel_scale": pixel_scale,
            "channels": list(channels),
            "blocks": list(blocks),
            "width": width,
            "hidden": hidden,
            "mask_filters": mask_filters,
            "proposals": proposals,
            "masks": masks,
            "snr_limit": snr_limit,
            "match_radius": match_radius,
            "band_dropout": band_dropout,
            "residual": residual,
            "seed": seed,
            "anchors": [float(ratio) for ratio in anchors],
            "matrix_nms": bool(matrix_nms),
            "calibration": None if calibration is None else [float(value) for value in calibration],
        }
        self.anchors, self.matrix_nms = tuple(self._arguments["anchors"]), bool(matrix_nms)
        self.bands = tuple(str(band) for band in bands)
        self.pixel_scale = 0.2 if pixel_scale is None else float(pixel_scale)
        self.proposals, self.masks = int(proposals), int(masks)
        self.snr_limit, self.match_radius = float(snr_limit), float(match_radius)
        self.band_dropout, self.residual = float(band_dropout), bool(residual)
        self.strides = [_STRIDE * 2**level for level in range(len(channels))]
        number = len(self.bands)

        self.scaling = FluxScaling()
        self.seeds = keras.random.SeedGenerator(seed)
        # Bands that are there, the sum of all in units of its noise, bad pixels.
        self.pyramid = Pyramid(channels, blocks, width, name="pyramid")
        self.pyramid.build(number + 2)
        self.presence = layers.Dense(channels[0], use_bias=False, kernel_initializer="zeros", name="presence")
        self.presence.build((None, number))
        self.first_pass = layers.Conv2D(channels[0], 2, strides=2, name="first_pass")
        self.first_pass.build((None, None, None, number))
        self.frozen = () if self.residual else ("first_pass",)
        self.first_pass.trainable = self.residual
        outputs = 5 * len(self.anchors) if self.anchors else 7
        self.proposer = dense_head("proposer", width, outputs, StartBias(len(self.anchors)))
        self.parts = {
            "existence": 1, "class_logits": len(CLASSES), "reach": 4, "position": 2, "log_position_error": 2,
            "scaled_flux": number, "log_flux_error": number, "shape": 3, "log_shape_error": 3,
        }  # fmt: skip
        inputs = _BINS**2 * width + 2 * number + 2
        self.measurer = perceptron("measurer", inputs, (hidden, hidden), sum(self.parts.values()))
        self.masker = mask_head(width, mask_filters, _MASK_BINS)
        names = ("centres", "places", "existence", "classes", "boxes", "position", "flux", "shape", "masks", "proposed")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        small = {"channels": (8, 16, 16), "blocks": (1, 1, 1), "width": 8, "hidden": 32, "mask_filters": 8}
        return cls(bands=bands, **{**small, "proposals": 2048, "masks": 2, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def call(self, batch, training=False):
        batch, made = losses.with_source_images(batch), {}
        if self.residual and batch.get("model") is None and batch.get("source_images") is not None:
            batch, made["missed"] = after_first_pass(batch, self.seeds if training else 0)
        seen = self.look(batch, training)
        outputs = {"maps": seen["maps"], "noise": seen["noise"], **made}
        if batch.get("boxes") is None or batch.get("positions") is None:
            return outputs | self.propose(seen)
        outputs |= self.propose(seen, self._true_proposals(seen, batch, training))
        if batch.get("source_images") is not None:
            first = min(self.masks, batch["positions"].shape[1])
            outputs["mask_logits"] = self.paint(seen["features"], ops.cast(batch["boxes"], "float32")[:, :first])
        return outputs

    def look(self, batch, training=False):
        """Return what is seen of a batch: scaled planes through backbone and pyramid, and the map of centres.

        Returns
        -------
        dict
            ``features``, the pyramid; ``maps`` (n, y, x, 7); ``image`` (n, y, x, band) with bad pixels 0; ``noise``
            (n, 1, 1, band); ``present`` (n, band), 1 where a band is there.
        """
        check_batch(batch, self.bands, "mask_rcnn")
        mask, variance = batch.get("mask"), ops.cast(batch["variance"], "float32")
        if training and self.band_dropout:
            variance = hide_bands(variance, self.band_dropout, self.seeds)
        image = clean(ops.cast(batch["image"], "float32"), variance, mask)
        noise = noise_level(variance, mask)
        good = ops.cast(weights(variance, mask) > 0, "float32")
        present = ops.max(good, axis=(1, 2))
        more = self.presence(present)[:, None, None]
        rows, columns = image.shape[1:3]
        coarsest = self.strides[-1]
        padding = ((0, 0), (0, -rows % coarsest), (0, -columns % coarsest), (0, 0))
        if self.residual:
            if batch.get("model") is None:
                raise InputError("the batch has no 'model'; a residual detector needs the image that was fitted")
            model = clean(ops.cast(batch["model"], "float32"), variance, mask)
            image = image - model
            more = more + self.first_pass(ops.pad(self.scaling(model, noise), padding))
        number = ops.maximum(ops.sum(present, axis=-1), 1.0)[:, None, None, None]
        together = ops.sum(image / noise, axis=-1, keepdims=True) / ops.sqrt(number)
        bad = 1 - ops.sum(good, axis=-1, keepdims=True) / number
        planes = ops.concatenate([self.scaling(image, noise), ops.arcsinh(together), bad], axis=-1)
        features = self.pyramid(ops.pad(planes, padding), more)
        if self.anchors:
            maps = [ops.reshape(self.proposer(level), (-1, level.shape[1] * level.shape[2] * len(self.anchors), 5))
                    for level in features]  # fmt: skip
            maps = ops.cast(ops.concatenate(maps, axis=1), "float32")
        else:
            maps = ops.cast(self.proposer(features[0]), "float32")
            maps = maps[:, : -(-rows // _STRIDE), : -(-columns // _STRIDE)]
        return {"features": features, "maps": maps, "image": image, "noise": noise, "present": present}

    def propose(self, seen, more=None):
        """Return what is measured at proposals: as `measure`, with ``score`` and ``present``.

        `more`, centres, boxes and scores of further ones, are measured too, and returned as ``true_...``.
        """
        number = self._number(seen["image"].shape[1:3])
        if self.anchors:
            anchors = anchor_boxes([level.shape[1:3] for level in seen["features"]], self.strides, self.anchors)
            boxes, score = anchor_proposals(seen["maps"], anchors, number, self.matrix_nms)
            centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        else:
            score, cell = boxing.top_peaks(seen["maps"][..., 0], number)
            centre, boxes = self._proposed(seen["maps"], cell)
        proposals = (centre, boxes, score)
        if more is not None:
            proposals = [ops.concatenate(pair, axis=1) for pair in zip(proposals, more, strict=True)]
        # The map learns from its own losses alone.
        measured = self.measure(seen, *map(ops.stop_gradient, proposals))
        found = {key: value[:, :number] for key, value in measured.items()}
        if more is not None:
            found |= {f"true_{key}": value[:, number:] for key, value in measured.items()}
        return found | {"score": score, "present": seen["present"]}

    def measure(self, seen, centre, boxes, score):
        """Measure sources at proposals.

        Parameters
        ----------
        seen : dict
            As from `look`.
        centre, boxes, score : tensors, (n, proposal, 2), (n, proposal, 4), (n, proposal)

        Returns
        -------
        dict
            ``centre`` as given; ``existence`` (n, proposal), a logit; ``class_logits``; ``reach``, logarithms of the
            distances from the centre to the edges of the box; ``position``; ``scaled_flux``, arcsinh of the flux in
            units of ``flux_unit`` (n, proposal, band); ``shape``: e1, e2 and the logarithm of the half-light radius in
            pixels; ``log_..._error``, logarithms of standard deviations.
        """
        number = centre.shape[1]
        sides = boxes[..., 2:] - boxes[..., :2]
        side = ops.maximum(_CONTEXT * ops.max(sides, axis=-1), _LEAST_SIDE)
        square = boxing.squares(centre, side)
        level = ops.cast(ops.floor(ops.log(side / _LEAST_SIDE) / np.log(2) + 1e-3), "int32")
        level = ops.clip(level, 0, len(self.strides) - 1)
        features = roi_align(seen["features"], self.strides, square, level, _BINS)
        aperture, unit = aperture_light(seen, square, side)
        inputs = [
            ops.reshape(features, (-1, number, _BINS**2 * features.shape[-1])),
            aperture / 4,
            seen["present"][:, None] + ops.zeros_like(aperture),
            ops.log(side / _LEAST_SIDE)[..., None],
            ops.maximum(score, -10.0)[..., None] / 4,
        ]
        inputs = ops.concatenate([ops.cast(part, features.dtype) for part in inputs], axis=-1)
        values = ops.cast(self.measurer(ops.reshape(inputs, (-1, inputs.shape[-1]))), "float32")
        values = ops.split(values, np.cumsum(list(self.parts.values()))[:-1].tolist(), axis=-1)
        found = {
            name: ops.reshape(part, (-1, number, part.shape[-1])) for name, part in zip(self.parts, values, strict=True)
        }
        found["existence"] = found["existence"][..., 0] + ops.maximum(score, -10.0)
        found["reach"] = found["reach"] + boxing.box_to_reach(centre, boxes)
        found["position"] = found["position"] + centre
        found["scaled_flux"] = found["scaled_flux"] + aperture
        return found | {"centre": centre, "flux_unit": unit}

    def paint(self, features, boxes):
        """Return the logits of masks, (n, box, 28, 28, 2), of boxes on the pyramid: share of the light, footprint."""
        side = ops.max(boxes[..., 2:] - boxes[..., :2], axis=-1)
        level = ops.cast(ops.floor(ops.log(ops.maximum(side, 1.0) / (2 * _MASK_BINS)) / np.log(2) + 1e-3), "int32")
        aligned = roi_align(features, self.strides, boxes, ops.clip(level, 0, len(self.strides) - 1), _MASK_BINS)
        number = boxes.shape[1]
        logits = self.masker(ops.reshape(aligned, (-1, *aligned.shape[2:])))
        return ops.reshape(ops.cast(logits, "float32"), (-1, number, 2 * _MASK_BINS, 2 * _MASK_BINS, 2))

    def _number(self, size):
        """Return how many proposals images of this size have."""
        cells = int(np.prod([-(-side // _STRIDE) for side in size]))
        share = max(self.proposals * cells * _STRIDE**2 / 128**2, self.proposals / 4)
        return min(int(np.ceil(share)), cells)

    def _proposed(self, maps, cell):
        """Return centres and boxes of cells (n, proposal)."""
        values = boxing.at_cells(maps, cell)
        middles = boxing.cell_centres(*maps.shape[1:3], _STRIDE)
        centre = ops.take(middles, cell, axis=0) + values[..., 1:3]
        largest = np.log(2.0 * max(maps.shape[1:3]) * _STRIDE)
        return centre, boxing.reach_to_box(centre, ops.clip(values[..., 3:7], -1.0, largest))

    def _true_proposals(self, seen, batch, training):
        """Return centres, boxes and scores of the true places, shifted a little in training."""
        positions = ops.cast(batch["positions"], "float32")
        if training:
            positions = positions + 0.3 * keras.random.normal(ops.shape(positions), seed=self.seeds)
        if self.anchors:
            boxes, score = ops.cast(batch["boxes"], "float32"), ops.zeros_like(positions[..., 0])
        else:
            height, width = seen["maps"].shape[1:3]
            cell = ops.cast(ops.floor((positions + 0.5) / _STRIDE), "int32")
            cell = ops.clip(cell[..., 1], 0, height - 1) * width + ops.clip(cell[..., 0], 0, width - 1)
            reach = boxing.at_cells(seen["maps"], cell)[..., 3:7]
            boxes = boxing.reach_to_box(positions, ops.clip(reach, -1.0, np.log(4.0 * max(height, width))))
            score = boxing.at_cells(seen["maps"][..., 0], cell)
        return positions, boxes, score

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        x, noise, present = losses.with_source_images(x), y_pred["noise"], y_pred["present"]
        wanted = y_pred["missed"] > 0 if "missed" in y_pred else None
        truth = losses.select_truth(x, noise, present, self.snr_limit, wanted)
        if self.anchors:
            sides = [-(-side // self.strides[-1]) * self.strides[-1] for side in x["image"].shape[1:3]]
            shapes = [[side // stride for side in sides] for stride in self.strides]
            parts = anchor_losses(y_pred["maps"], anchor_boxes(shapes, self.strides, self.anchors), truth)
        else:
            parts = losses.map_losses(y_pred["maps"], truth, _STRIDE)
        owner, matched, known = losses.match(y_pred["centre"], y_pred["score"], truth, self.match_radius)
        counted = ops.cast(ops.logical_and(known, y_pred["score"] > _FILLER), "float32")
        matched = ops.cast(matched, "float32")
        each = counted * losses.cross_entropy(y_pred["existence"], matched)
        positive = ops.cast(truth["positive"], "float32")
        parts["existence"] = ops.sum(each) / (ops.sum(positive) + 1.0)
        # What is measured is learnt at the proposals that have a source, and at the true places.
        places = np.arange(positive.shape[1], dtype="int32") + ops.zeros_like(positive, dtype="int32")
        owner = ops.concatenate([ops.cast(owner, "int32"), places], axis=1)
        weight = ops.concatenate([matched * counted, positive], axis=1)
        measured = ("centre", "flux_unit", *self.parts)
        found = {key: ops.concatenate([y_pred[key], y_pred[f"true_{key}"]], axis=1) for key in measured}
        parts |= losses.measurement_losses(found, x, truth, owner, weight, present, self.pixel_scale)
        if "mask_logits" in y_pred:
            parts["masks"] = losses.mask_loss(y_pred["mask_logits"], x, truth, noise, present, x["image"].shape[1:3])
        for name, value in parts.items():
            self.trackers[name].update_state(value)
        self.trackers["proposed"].update_state(ops.sum(matched) / (ops.sum(positive) + 1e-6))
        return sum(parts.values())

    @property
    def calibration(self):
        """Slope, offset and slope with the signal-to-noise ratio of the logit of existence, or None."""
        return self._arguments["calibration"]

    def finish(self, batches):
        """Fit the probabilities of existence to batches with truth that training did not see (`fit_calibration`)."""
        self._arguments["calibration"] = fit_calibration(self, batches)

    def detect(self, batch, threshold=0.0):
        """Find the sources of images.

        Parameters
        ----------
        batch : dict of arrays
            ``image`` and ``variance`` (n, y, x, band) and, where present, ``mask``; with ``residual`` also ``model`` or
            the truth of which a first pass is made.
        threshold : float
            Sources less probable than this are left out.

        Returns
        -------
        Detections
        """
        if self.residual and batch.get("model") is None:
            batch = losses.with_source_images(batch)
            if batch.get("source_images") is not None:
                batch, _ = after_first_pass(batch, 0)
        return detections(self, batch, threshold)
