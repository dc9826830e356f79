"""A classifier for another survey than that of its labels: features of the two are brought together as it learns."""

import dataclasses

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.adaptation import DomainLoss
from galzoo.metrics.calibration import fit_temperature, softmax
from galzoo.models.logistic import expit
from galzoo.tasks.classify import heads

# Of the source's objects, those that the temperature is fitted to.
_CHECKED = 0.2
_BATCH = 64
_HIDDEN, _LENGTH = 128, 16
_RATE, _DECAY, _DROPOUT = 2e-3, 0.01, 0.3
# Of the domain loss against the cross-entropy.
_WEIGHT = 1.0


class _Network(keras.Model):
    """Features (n, D) to a short vector, in which two surveys shall be alike, and from that to classes."""

    def __init__(self, size, classes, kind, weight, seed):
        super().__init__(dtype="float32", name="alignment")
        self.weight = float(weight)
        self.dropout = keras.layers.Dropout(_DROPOUT, seed=seed)
        self.hidden, self.vector = keras.layers.Dense(_HIDDEN, activation="silu"), keras.layers.Dense(_LENGTH)
        self.head, self.domains = keras.layers.Dense(classes), DomainLoss(kind)
        for layer, width in ((self.hidden, size), (self.vector, _HIDDEN), (self.head, _LENGTH)):
            layer.build((None, width))
        self.domains.build((None, _LENGTH))
        self.built = True

    def call(self, batch, training=False):
        vector = self.vector(self.hidden(self.dropout(batch["features"], training=training)))
        return {"vector": vector, "logits": self.head(ops.silu(vector))}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        each = keras.losses.sparse_categorical_crossentropy(x["label"], y_pred["logits"], from_logits=True)
        source = ops.cast(x["survey"] < 0.5, "float32")
        learnt = ops.sum(source * each) / ops.maximum(ops.sum(source), 1.0)
        return learnt + self.weight * self.domains(y_pred["vector"], x["survey"])


class _Batches(keras.utils.PyDataset):
    """As many of each survey, those of the source with each class as often; labels of the target are not handed on."""

    def __init__(self, features, label, sets, steps, seed):
        super().__init__()
        self.features, self.label, self.sets, self.steps = features.astype(np.float32), label, sets, steps
        self.random = np.random.default_rng(seed)
        self.share = _even(label[sets[0]])

    def __len__(self):
        return self.steps

    def __getitem__(self, number):
        source = self.random.choice(self.sets[0], _BATCH, p=self.share)
        rows = np.concatenate([source, self.random.choice(self.sets[1], _BATCH)])
        label = np.concatenate([self.label[source], np.zeros(_BATCH, int)])
        return ({"features": self.features[rows], "label": label, "survey": np.repeat(np.float32([0, 1]), _BATCH)},)


@dataclasses.dataclass
class Aligned:
    """A classifier of `align`.

    Parameters
    ----------
    centre, scale : array, (2, D)
        Mean and deviation of the features of each survey.
    arrays : dict of str to array
        What takes standardised features to their principal components.
    layers : list of (array, array)
        Kernels and biases.
    temperature : float
    """

    centre: np.ndarray
    scale: np.ndarray
    arrays: dict
    layers: list
    temperature: float

    def vectors(self, features, survey):
        """Return short vectors (n, 16) of features (n, D), of which survey (n,) each is: 0 the labelled one, 1."""
        survey = np.asarray(survey).astype(int)
        standard = (np.asarray(features, float) - self.centre[survey]) / self.scale[survey]
        (first, start), (second, rest) = self.layers[:2]
        return _silu(heads.project(self.arrays, standard) @ first + start) @ second + rest

    def probability(self, features, survey):
        """Return the probability of each class, (n, class), as if all were as frequent."""
        kernel, bias = self.layers[2]
        return softmax(_silu(self.vectors(features, survey)) @ kernel + bias, self.temperature)


def align(features, label, survey, classes, kind="mmd", weight=_WEIGHT, steps=300, seed=0):
    """Learn classes from the labels of one survey so that they hold on another, of which no label is used.

    Features of each survey are standardised by their own mean and deviation. A small network takes them to vectors of
    16 numbers, from which it tells the classes of the labelled survey, while a domain loss brings the vectors of both
    surveys together: MMD (Long et al. 2015), the Sinkhorn divergence (Pandya et al. 2025, SIDDA) or an adversary
    (Tzeng et al. 2015).

    Parameters
    ----------
    features : array, (n, D)
        As of `galzoo.inference.stamp_features.features`.
    label : int array, (n,)
        Not read where `survey` is 1.
    survey : int array, (n,)
        0 for the one with labels, 1 for the other.
    classes : int
    kind : {"mmd", "sinkhorn", "adversarial", "none"}
    weight : float
        Of the domain loss against the cross-entropy.
    steps, seed : int

    Returns
    -------
    Aligned

    Raises
    ------
    InputError
        If arrays do not fit, features are not finite, or a survey or a class has fewer than two members.
    RecipeError
        If the kind is unknown.

    References
    ----------
    Long et al. 2015, arXiv:1502.02791; Pandya et al. 2025, arXiv:2501.14048; Tzeng et al. 2015, arXiv:1510.02192.
    """
    features, label, survey = np.asarray(features, float), np.asarray(label).astype(int), np.asarray(survey).astype(int)
    if features.ndim != 2 or not label.shape == survey.shape == features.shape[:1]:
        raise InputError(
            f"features have the shape {features.shape}, labels {label.shape} and surveys {survey.shape}; "
            "give (n, feature), (n,) and (n,)"
        )
    if not np.isfinite(features).all():
        raise InputError(f"features of {(~np.isfinite(features)).any(axis=1).sum()} stamps are not finite")
    sets = [np.flatnonzero(survey == number) for number in (0, 1)]
    counts = np.bincount(label[sets[0]], minlength=classes)
    if min(map(len, sets)) < 2 or counts.min() < 2:
        raise InputError(
            f"{len(sets[0])} galaxies of the labelled survey, {counts.tolist()} a class, and {len(sets[1])} of the "
            "other; at least 2 of each are needed"
        )
    centre = np.stack([features[rows].mean(axis=0) for rows in sets])
    scale = np.stack([np.maximum(features[rows].std(axis=0), 1e-6) for rows in sets])
    standard = (features - centre[survey]) / scale[survey]
    arrays = heads.components(standard)
    inputs = heads.project(arrays, standard)
    checked = np.concatenate([_part(sets[0][label[sets[0]] == number], seed) for number in range(classes)])
    learnt = np.setdiff1d(sets[0], checked)
    keras.utils.set_random_seed(seed)
    network = _Network(inputs.shape[1], classes, kind, weight, seed)
    schedule = keras.optimizers.schedules.CosineDecay(_RATE, steps)
    network.compile(optimizer=keras.optimizers.AdamW(schedule, weight_decay=_DECAY), jit_compile=False)
    network.fit(_Batches(inputs, label, (learnt, sets[1]), steps, seed), epochs=1, verbose=0)
    layers = [tuple(map(ops.convert_to_numpy, one.weights)) for one in (network.hidden, network.vector, network.head)]
    found = Aligned(centre, scale, arrays, layers, 1.0)
    # Classes count alike, in the temperature as in training.
    rows = np.random.default_rng(seed).choice(checked, 4 * len(checked), p=_even(label[checked]))
    logits = np.log(np.maximum(found.probability(features[rows], survey[rows]), 1e-12))
    return dataclasses.replace(found, temperature=fit_temperature(logits, label[rows]))


def _part(rows, seed):
    """Return a fifth of rows, at least one of them."""
    return np.random.default_rng(seed).permutation(rows)[: max(1, int(_CHECKED * len(rows)))]


def _even(label):
    """Return the chance of each row to be drawn, so that classes are drawn alike."""
    share = 1 / np.bincount(label)[label]
    return share / share.sum()


def _silu(values):
    return values * expit(values)
