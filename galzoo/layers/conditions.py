"""What a galaxy is drawn for: numbers and classes, any of which may be unknown."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError, RecipeError

# Gaussian bumps that a standardised number is spread over, so that a network can tell neighbouring values apart.
_CENTRES = np.linspace(-2.5, 2.5, 11, dtype="float32")
_WIDTH = 0.5
# Training galaxies that the open columns of a request are taken from: those nearest in the columns that are given.
_NEAREST = 32


@keras.saving.register_keras_serializable(package="galzoo")
class Conditions(keras.layers.Layer):
    """Turn condition columns into features; NaN and, for a class, a value that is not listed mean "unknown".

    Parameters
    ----------
    columns : sequence of str
        Names of the columns, in order.
    classes : dict of str to list
        Columns that hold classes, with their values, which may be negative.
    bands : int
        Bands of the noise levels that are remembered.
    references : int
        Training galaxies whose conditions are remembered, so that open columns of a request can be filled in with what
        goes with those given.
    looks : int
        Numbers that say what each of them looks like in units of its noise; 0 where noise levels are of no use.

    Notes
    -----
    Called with (n, column) and gives (n, features). What it knows of the data is in weights that `adapt` sets: mean and
    standard deviation, least and greatest value of each column, and the references with their noise levels.
    """

    def __init__(self, columns=(), classes=None, bands=1, references=1024, looks=0, **kwargs):
        super().__init__(**{"autocast": False, "dtype": "float32", **kwargs})
        self.columns = tuple(columns)
        self.classes = {name: [float(value) for value in values] for name, values in (classes or {}).items()}
        self.bands, self.references, self.looks = int(bands), int(references), int(looks)
        odd = sorted(set(self.classes) - set(self.columns))
        if odd:
            raise RecipeError(f"classes are given for {odd[0]!r}, which is not among the conditions: {self.columns}")
        count = max(len(self.columns), 1)
        self.statistics = self.add_weight(shape=(4, count), initializer="zeros", trainable=False, name="statistics")
        self.table = self.add_weight(
            shape=(self.references, count + self.bands), initializer="zeros", trainable=False, name="table"
        )
        if self.looks:
            self.seen = self.add_weight(
                shape=(self.references, self.looks), initializer="zeros", trainable=False, name="seen"
            )
        self.filled = self.add_weight(shape=(), initializer="zeros", trainable=False, name="filled")
        self.features = sum(
            1 + len(self.classes.get(name, ())) if name in self.classes else 1 + len(_CENTRES) for name in self.columns
        )
        self.built = True

    def call(self, condition):
        features = []
        for index, name in enumerate(self.columns):
            value = condition[:, index : index + 1]
            if name in self.classes:
                hit = ops.cast(ops.equal(value, np.asarray([self.classes[name]], "float32")), "float32")
                features += [ops.sum(hit, axis=-1, keepdims=True), hit]
            else:
                known = ops.cast(ops.isfinite(value), "float32")
                spread = ops.maximum(self.statistics[1, index], 1e-6)
                scaled = (ops.where(known > 0, value, 0.0) - self.statistics[0, index]) / spread
                bumps = ops.exp(-0.5 * ops.square((ops.clip(scaled, -3.5, 3.5) - _CENTRES) / _WIDTH))
                features += [known, known * bumps]
        return ops.concatenate(features, axis=-1)

    def hide(self, condition, chance, seed):
        """Return the conditions with each column unknown by `chance`, and all of them in as many rows again."""
        draw = keras.random.uniform((ops.shape(condition)[0], len(self.columns) + 1), seed=seed)
        hidden = ops.logical_or(draw[:, :-1] < chance, draw[:, -1:] < chance)
        return ops.where(hidden, np.float32(np.nan), condition)

    def adapt(self, condition, noise, looks=None):
        """Learn the range of each column and remember the galaxies.

        Parameters
        ----------
        condition : array, (n, column)
        noise : array, (n, band)
            Noise level that each galaxy's codes are relative to.
        looks : array, (n, looks), optional
        """
        number = min(len(noise), self.references)
        count = max(len(self.columns), 1)
        table = np.zeros((self.references, count + self.bands), "float32")
        table[:number, count:] = noise[:number]
        statistics = np.zeros((4, count), "float32")
        for index, name in enumerate(self.columns):
            values = np.asarray(condition[:, index], "float64")
            table[:number, index] = values[:number]
            known = np.isin(values, self.classes[name]) if name in self.classes else np.isfinite(values)
            if not known.any():
                raise InputError(f"condition {name!r} is unknown for all of {len(values)} galaxies; take it out")
            kept = values[known]
            statistics[:, index] = kept.mean(), kept.std(), kept.min(), kept.max()
        self.statistics.assign(statistics)
        self.table.assign(table)
        if self.looks:
            seen = np.zeros((self.references, self.looks), "float32")
            seen[:number] = looks[:number]
            self.seen.assign(seen)
        self.filled.assign(float(number))

    @property
    def ranges(self):
        """Dict of each column's (least, greatest) value in training, or of the list of its classes."""
        statistics = ops.convert_to_numpy(self.statistics)
        return {
            name: self.classes[name] if name in self.classes else tuple(float(edge) for edge in statistics[2:, index])
            for index, name in enumerate(self.columns)
        }

    def complete(self, n, given, rng):
        """Return conditions (n, column) and noise levels (n, band) for a request.

        The columns that are given are kept; all else is that of a training galaxy near to them.

        Parameters
        ----------
        n : int
        given : dict of str to float or array, (n,)
            NaN leaves a column open in that row.
        rng : numpy.random.Generator

        Raises
        ------
        InputError
            If a column or class does not exist, or nothing was learnt yet.
        """
        count = max(len(self.columns), 1)
        table = np.array(self.table)[: int(self.filled)]
        if not len(table):
            raise InputError("this prior has not seen any data yet; train it first")
        wanted = np.full((n, count), np.nan, "float32")
        for name, values in given.items():
            self.check(name, values, n)
            wanted[:, self.columns.index(name)] = values
        for index, name in enumerate(self.columns):
            if name in self.classes:
                table[~np.isin(table[:, index], self.classes[name]), index] = np.nan
        scale = np.maximum(ops.convert_to_numpy(self.statistics)[1], 1e-6)
        chosen = np.empty(n, int)
        for row, request in enumerate(wanted):
            distance = np.zeros(len(table))
            for index in np.flatnonzero(np.isfinite(request[: len(self.columns)])):
                offset = np.abs(table[:, index] - request[index]) / scale[index]
                if self.columns[index] in self.classes:
                    offset = np.where(offset > 0, 10.0, offset)
                # A galaxy of which the column is not known comes after all others.
                distance += np.where(np.isfinite(offset), offset, 100.0) ** 2
            if distance.any():
                chosen[row] = rng.choice(np.argsort(distance, kind="stable")[:_NEAREST])
            else:
                chosen[row] = rng.integers(len(table))
        found = table[chosen]
        condition = np.where(np.isfinite(wanted), wanted, found[:, :count])
        return condition[:, : len(self.columns)], found[:, count:]

    def noise_like(self, looks):
        """Return noise levels (n, band) that go with galaxies that look so in units of their noise, (n, looks).

        Values are relative to the noise of their own stamp, so its level is a part of the galaxy: another's would
        change brightness and colour. It is that of the training galaxy that looks most alike.
        """
        number = int(self.filled)
        seen = ops.convert_to_numpy(self.seen)[:number]
        spread = np.maximum(seen.std(axis=0), 1e-6)
        noise = ops.convert_to_numpy(self.table)[:number, -self.bands :]
        nearest = [np.argmin(np.sum(((seen - look) / spread) ** 2, axis=-1)) for look in np.asarray(looks)]
        return noise[nearest]

    def typical_noise(self):
        """Return the median noise level of the references, a tensor (band,), also within a graph."""
        number = ops.maximum(ops.cast(self.filled, "int32"), 1)
        row = ops.arange(self.table.shape[0], dtype="int32")[:, None]
        # Rows that are not filled come last.
        noise = ops.sort(ops.where(row < number, self.table[:, -self.bands :], np.inf), axis=0)
        return 0.5 * (ops.take(noise, (number - 1) // 2, axis=0) + ops.take(noise, number // 2, axis=0))

    def by_name(self, condition):
        """Return a batch's condition (n, column) as values by name; a class that is none of the prior's is NaN."""
        named = {name: np.asarray(condition)[:, index] for index, name in enumerate(self.columns)}
        known = {name: np.where(np.isin(named[name], own), named[name], np.nan) for name, own in self.classes.items()}
        return named | known

    def check(self, name, values, n):
        """Raise `InputError` unless `values`, one or `n`, can be those of column `name`."""
        if name not in self.columns:
            has = f"it has {', '.join(self.columns)}" if self.columns else "it has none"
            raise InputError(f"this prior has no condition {name!r}; {has}")
        unit = str(getattr(values, "unit", None) or "mag")
        if "mag" not in unit and unit != "arcsec":
            raise InputError(f"condition {name!r} is in {unit}; give a number in the unit of the training data")
        values = np.asarray(values, "float64")
        if values.shape not in ((), (n,)):
            raise InputError(f"condition {name!r} has shape {values.shape}; give one value, or {n}")
        if name in self.classes:
            odd = values[np.isfinite(values) & ~np.isin(values, self.classes[name])]
            if odd.size:
                listed = ", ".join(f"{value:g}" for value in self.classes[name])
                raise InputError(f"condition {name!r} has no class {odd.flat[0]:g}; its classes are {listed}")

    def get_config(self):
        arguments = {name: getattr(self, name) for name in ("classes", "bands", "references", "looks")}
        return {**super().get_config(), "columns": list(self.columns), **arguments}
