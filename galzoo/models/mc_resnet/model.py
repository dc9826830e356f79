"""The MC-dropout ResNet."""

import keras
import numpy as np
from keras import ops

from galzoo.contracts.counts import Counts
from galzoo.errors import InputError, RecipeError
from galzoo.layers.checks import check_batch
from galzoo.layers.flux import FluxScaling, noise_level
from galzoo.layers.likelihood import clean, weights
from galzoo.layers.psf import sharpness
from galzoo.metrics.calibration import fit_temperature, softmax, split_entropy
from galzoo.models.mc_resnet.network import SPACING, CountHead, Trunk

# Fluxes are learnt as asinh(flux / (5 * noise of a pixel)): a point source's error is about 5 pixels' noise at 3.5 px
# FWHM, so that the scale is linear for faint sources and logarithmic for bright ones.
_FLUX_UNIT = 5.0
_SMALLEST_LOG, _LARGEST_LOG = -4.0, 4.0
# Most stamps looked at in one go, and most cells of their last maps, which all passes share.
_TOGETHER, _CELLS = 32, 288
# The share of a normal distribution within one standard deviation.
_ONE_SIGMA = 68.27


@keras.saving.register_keras_serializable(package="galzoo")
class MCResNet(keras.Model):
    """Number of sources of a stamp as probabilities, and places and fluxes of the brightest, with their errors.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order; any of them may be absent in a stamp.
    pixel_scale : float, optional
        Arcsec.
    classes : int
        Numbers of sources told apart: 0, 1, ... and the last or more.
    sources : int
        How many are measured.
    filters : int
        Channels of the first stage; 64 is the full ResNet-18.
    stem_stride : {1, 2}
        Of the first convolution; 1 for stamps of some 24 pixels.
    hidden : int
        Width of the hidden layers of the head.
    dropout : float
        Rate, in the last block and the head.
    passes : int
        Random passes of `count`.
    measure_weight : float
        Weight of positions and fluxes in the loss beside the number.
    seed : int
        Of dropout.

    Notes
    -----
    It is a `galzoo.contracts.counts.Counter` and trains on scenes, their sources brightest first; what it counts is
    what those scenes say: see `galzoo.layers.count_scenes.CountScenes`. Reads ``image``, ``variance`` and, where
    present, ``mask`` and ``psf``; in training ``n_sources`` and, where present, ``positions`` and ``flux``. Returns the
    ``logits`` (n, class), ``positions`` (n, source, 2, 2) and ``flux`` (n, source, band, 2) of one pass without
    dropout: the last axis is mean and logarithm of the standard deviation, positions in pixels, fluxes as asinh of the
    flux over five times the noise of a pixel.

    References
    ----------
    He et al. 2016, arXiv:1512.03385 (ResNet-18); Gal & Ghahramani 2016, arXiv:1506.02142 (dropout as a posterior);
    Guo et al. 2017, arXiv:1706.04599 (temperature).
    """

    def __init__(
        self,
        bands=("band",),
        pixel_scale=None,
        classes=4,
        sources=3,
        filters=32,
        stem_stride=2,
        hidden=128,
        dropout=0.2,
        passes=50,
        measure_weight=0.1,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if stem_stride not in (1, 2):
            raise RecipeError(f"stem_stride is {stem_stride}; give 1 or 2")
        if classes < 2:
            raise RecipeError(f"classes is {classes}; give at least 2: no source, and one or more")
        if not 0 <= dropout < 1:
            raise RecipeError(f"dropout is {dropout}; give a share from 0 up to 1")
        self._arguments = {
            "bands": [str(band) for band in bands],
            "pixel_scale": pixel_scale,
            "classes": classes,
            "sources": sources,
            "filters": filters,
            "stem_stride": stem_stride,
            "hidden": hidden,
            "dropout": dropout,
            "passes": passes,
            "measure_weight": measure_weight,
            "seed": seed,
        }
        self.bands = tuple(str(band) for band in bands)
        self.pixel_scale = pixel_scale
        self.classes, self.sources, self.passes = int(classes), int(sources), int(passes)
        self.dropout, self.measure_weight = float(dropout), float(measure_weight)
        self.draws = keras.random.SeedGenerator(seed)
        self.scaling = FluxScaling()
        self.trunk = Trunk(filters, stem_stride, name="trunk")
        # Image, which pixels count and sharpness of the PSF, a band each.
        self.trunk.build((None, None, None, 3 * len(self.bands)))
        spacing = SPACING * stem_stride // 2
        self.head = CountHead(classes, sources, len(self.bands), hidden, spacing=spacing, name="head")
        self.head.build((None, None, None, 8 * filters))
        # Temperature, and factors of the errors of positions and of fluxes; see `finish`.
        self.calibration = self.add_weight(name="calibration", shape=(3,), initializer="ones", trainable=False)
        names = ("nats", "position_nats", "flux_nats")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        return cls(bands=bands, **{"filters": 6, "hidden": 16, "dropout": 0.05, "passes": 4, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def features(self, batch, training=False):
        """Return what all random passes share: two maps of n stamps, for `head_of`."""
        check_batch(batch, self.bands, "mc_resnet")
        image, variance, mask = ops.cast(batch["image"], "float32"), batch["variance"], batch.get("mask")
        valid = ops.cast(weights(variance, mask) > 0, "float32")
        scaled = self.scaling(clean(image, variance, mask), noise_level(variance, mask))
        told = ops.reshape(sharpness(batch.get("psf"), len(self.bands)), (-1, 1, 1, len(self.bands)))
        # What is told of an absent band must not matter.
        told = ops.cast(told, "float32") * ops.cast(ops.any(valid > 0, axis=(1, 2), keepdims=True), "float32")
        told = ops.broadcast_to(told, ops.shape(image))
        return self.trunk(ops.concatenate([scaled, valid, told], axis=-1), training=training)

    def head_of(self, inner, bypass, draws=None, training=False):
        """Return the outputs from what `features` gave; with dropout where there are `draws`, a `SeedGenerator`."""

        def drop(values, shape=None):
            if draws is None or not self.dropout:
                return values
            return keras.random.dropout(values, self.dropout, noise_shape=shape, seed=draws)

        features = self.trunk.last(drop(inner, (None, 1, 1, None)), bypass, training)
        return {key: ops.cast(value, "float32") for key, value in self.head(features, drop=drop).items()}

    def _passes_of(self, inner, bypass, passes, seed):
        """Return the outputs (pass, n, ...) of random passes, as NumPy arrays, from what `features` gave."""
        n, channels = inner.shape[0], inner.shape[-1]
        seeds = iter(range(seed, seed + 8))

        def drop(values):
            return keras.random.dropout(values, self.dropout, seed=next(seeds))

        factors = drop(ops.ones((n, passes, channels), dtype=inner.dtype))
        found = self.head(self.trunk.last_of_passes(inner, bypass, factors), drop=drop)
        found = {key: ops.convert_to_numpy(ops.cast(value, "float32")) for key, value in found.items()}
        return {key: value.reshape(n, passes, *value.shape[1:]).swapaxes(0, 1) for key, value in found.items()}

    def call(self, batch, training=False):
        inner, bypass = self.features(batch, training)
        return self.head_of(inner, bypass, self.draws if training else None, training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if x.get("n_sources") is None:
            raise InputError("the batch has no 'n_sources'; mc_resnet learns from scenes whose sources are known")
        label = ops.minimum(ops.cast(x["n_sources"], "int32"), self.classes - 1)
        self.accuracy.update_state(label, y_pred["logits"])
        terms = {"nats": keras.losses.sparse_categorical_crossentropy(label, y_pred["logits"], from_logits=True)}
        loss = ops.mean(terms["nats"])
        for name, (miss, weight, log_error) in self._misses(x, y_pred).items():
            each = 0.5 * ops.square(miss * ops.exp(-log_error)) + log_error + 0.5 * np.log(2 * np.pi)
            terms[name] = ops.sum(weight * each) / ops.maximum(ops.sum(weight), 1.0)
            loss = loss + self.measure_weight * terms[name]
        for name, value in terms.items():
            self.trackers[name].update_state(value)
        return loss

    def _misses(self, batch, outputs):
        """Return for positions and fluxes, where known: miss (n, source, number), whether it counts, its log error."""
        found = {}
        noise = noise_level(batch["variance"], batch.get("mask"))
        present = np.arange(self.sources) < ops.cast(batch["n_sources"], "int32")[:, None]
        present = ops.cast(present, "float32")[:, :, None]
        if batch.get("positions") is not None:
            miss = self._first(batch["positions"]) - outputs["positions"][..., 0]
            found["position_nats"] = (miss, ops.broadcast_to(present, ops.shape(miss)), outputs["positions"][..., 1])
        if batch.get("flux") is not None:
            shown = ops.any(weights(batch["variance"], batch.get("mask")) > 0, axis=(1, 2))
            flux = ops.arcsinh(self._first(batch["flux"]) / (_FLUX_UNIT * noise[:, 0]))
            weight = present * ops.cast(shown, "float32")[:, None]
            found["flux_nats"] = (flux - outputs["flux"][..., 0], weight, outputs["flux"][..., 1])
        return {
            key: (miss, weight, ops.clip(error, _SMALLEST_LOG, _LARGEST_LOG))
            for key, (miss, weight, error) in found.items()
        }

    def _first(self, values):
        """Return the values of the first sources, 0 where a batch has room for fewer."""
        values = ops.cast(values, "float32")[:, : self.sources]
        return ops.pad(values, ((0, 0), (0, self.sources - values.shape[1]), (0, 0)))

    def random_passes(self, batch, passes=None, seed=0):
        """Return the outputs of random passes as NumPy arrays with an axis before the stamps'.

        Parameters
        ----------
        batch : dict
        passes : int, optional
            0 for one pass without dropout.
        seed : int
            Same seed, same batch, same numbers.
        """
        passes = self.passes if passes is None else int(passes)
        parts, cells = [], int(np.prod([-(-side // self.head.spacing) for side in batch["image"].shape[1:3]]))
        together = max(1, min(_TOGETHER, _CELLS // cells))
        for start in range(0, len(batch["image"]), together):
            part = {key: value[start : start + together] if len(value) > 1 else value for key, value in batch.items()}
            inner, bypass = self.features(part)
            if not passes or not self.dropout:
                parts.append({key: ops.convert_to_numpy(v)[None] for key, v in self.head_of(inner, bypass).items()})
                continue
            number = np.random.SeedSequence([seed, start]).generate_state(1)[0] >> 2
            parts.append(self._passes_of(inner, bypass, passes, int(number)))
        return {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}

    def count(self, batch, passes=None, seed=0):
        """Return the `galzoo.contracts.counts.Counts` of a batch; see `random_passes`.

        Fluxes of absent bands are 0 and their errors infinite.
        """
        found = self.random_passes(batch, passes, seed)
        temperature, *factors = ops.convert_to_numpy(self.calibration).tolist()
        probability = softmax(found["logits"], temperature)
        total, _, mutual = split_entropy(probability)
        moments = [_moments(found[key], factor) for key, factor in zip(("positions", "flux"), factors, strict=True)]
        (positions, position_error), (scaled, scaled_error) = moments
        unit = _FLUX_UNIT * ops.convert_to_numpy(noise_level(batch["variance"], batch.get("mask")))[:, 0]
        shown = ops.convert_to_numpy(weights(batch["variance"], batch.get("mask")) > 0).any(axis=(1, 2))[:, None]
        return Counts(
            probability.mean(axis=0),
            total,
            mutual,
            positions,
            position_error,
            np.where(shown, np.sinh(scaled) * unit, 0),
            np.where(shown, np.cosh(scaled) * scaled_error * unit, np.inf),
        )

    def finish(self, batches):
        """Fit the temperature, and factors of the errors, to what training did not see.

        Parameters
        ----------
        batches : iterable of dict
            Validation batches, as in training.
        """
        logits, labels, pulls = [], [], {"position_nats": [], "flux_nats": []}
        self.calibration.assign(np.ones(3))
        for number, batch in enumerate(batches):
            found = self.random_passes(batch, seed=number)
            logits.append(found["logits"])
            labels.append(np.minimum(ops.convert_to_numpy(batch["n_sources"]), self.classes - 1))
            merged = {key: _moments(found[key]) for key in ("positions", "flux")}
            outputs = {key: np.stack([mean, np.log(error)], -1) for key, (mean, error) in merged.items()}
            for name, values in self._misses(batch, outputs).items():
                miss, weight, log_error = (ops.convert_to_numpy(value) for value in values)
                pulls[name].append(np.abs(miss * np.exp(-log_error))[weight > 0])
        values = [fit_temperature(np.concatenate(logits, axis=1), np.concatenate(labels))]
        for name in pulls:
            pull = np.concatenate([*pulls[name], np.zeros(0)])
            values.append(np.percentile(pull, _ONE_SIGMA) if len(pull) else 1.0)
        self.calibration.assign(np.asarray(values, "float32"))


def _moments(passes, factor=1.0):
    """Return mean and error over passes (pass, ..., 2) of means and log errors, these times a factor."""
    mean = passes[..., 0].mean(axis=0)
    variance = np.square(np.exp(np.clip(passes[..., 1], _SMALLEST_LOG, _LARGEST_LOG))).mean(axis=0)
    return mean, factor * np.sqrt(variance + passes[..., 0].var(axis=0))
