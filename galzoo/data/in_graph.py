"""Endless data made in the graph: a seeded layer that turns stamps into what a scene source would serve."""

import importlib
import importlib.metadata
import inspect
import pkgutil

import keras
import numpy as np

from galzoo.contracts.source import DataLayer
from galzoo.errors import RecipeError, UnknownNameError

GROUP = "galzoo.layers"
"""Entry points by which other packages name their layers."""


def make_layer(section, seed):
    """Return the layer that a recipe's ``data.make`` describes.

    Parameters
    ----------
    section : dict
        ``layer``, the name of a layer of `galzoo.layers` or of an entry point, or an import path
        "package.module:Class"; the rest are the arguments of its constructor.
    seed : int
        Given to the layer where `section` has none.

    Returns
    -------
    DataLayer

    Raises
    ------
    RecipeError
        If an argument is unknown or has a wrong value, or the layer is none that makes data.
    UnknownNameError
        If there is no such layer.
    """
    name = section["layer"]
    kind = _find(name)
    if not (inspect.isclass(kind) and issubclass(kind, DataLayer)):
        raise RecipeError(f"data.make: {name} makes no data; it must be a galzoo.contracts.source.DataLayer")
    arguments = {"seed": seed} | {key: value for key, value in section.items() if key != "layer"}
    known = [key for key in inspect.signature(kind.__init__).parameters if key not in ("self", "kwargs")]
    odd = sorted(set(arguments) - set(known))
    if odd:
        raise RecipeError(f"data.make: {name} has no argument {odd[0]!r}; it takes {', '.join(known)}")
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"data.make: {name}: {' '.join(str(error).split())[:300]}") from None


def _find(name):
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise RecipeError(f"data.make: {name!r} cannot be imported: {error}") from None
    from galzoo import layers

    found = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
    if name in found:
        return found[name].load()
    known = []
    for info in pkgutil.iter_modules(layers.__path__):
        module = importlib.import_module(f"galzoo.layers.{info.name}")
        for attribute, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, DataLayer):
                if attribute == name:
                    return value
                known.append(attribute)
    raise UnknownNameError.of("layer of data.make", name, [*known, *found])


class MadeSource:
    """Endless scenes that a layer makes of the objects of another source; what training reads.

    Fulfils `galzoo.contracts.source.Source`; `galzoo.data.pipeline` runs the layer inside the graph.

    Parameters
    ----------
    base : Source
        What the layer is given.
    layer : DataLayer
    keys : sequence of str
        Which of the keys that the layer serves are kept.
    """

    def __init__(self, base, layer, keys):
        self.base, self.layer = base, layer
        self._keys = tuple(keys)

    def __len__(self):
        return len(self.base)

    def header(self):
        """Return the header of the base, with the kind and shape of what is made."""
        header = self.base.header()
        return header | {"kind": kind_of_keys(self._keys), "shape": tuple(self.layer.shape(header["shape"]))}

    def keys(self):
        """Return the keys of every batch."""
        return self._keys

    def batch(self, positions):
        """Return what is made of the objects at `positions` and of the seed 0: as many as there are objects for."""
        made = self.made(self.base.batch(positions), state_of(0, int(np.sum(positions))))
        return {key: keras.ops.convert_to_numpy(value) for key, value in made.items()}

    def made(self, batch, state):
        """Return what the layer makes of `batch` with its generator in `state`; nothing of the layer changes."""
        generator = self.layer.seed_generator.state
        with keras.StatelessScope(state_mapping=[(generator, keras.ops.cast(state, generator.dtype))]):
            made = self.layer(batch)
        return {key: made[key] for key in self._keys}


class FixedSource:
    """Batches kept in memory; fulfils `galzoo.contracts.source.Source`.

    Parameters
    ----------
    header : dict
    batch : dict of arrays
    """

    def __init__(self, header, batch):
        self._header, self._batch = header, batch

    def __len__(self):
        return len(self._batch["image"])

    def header(self):
        """Return the header."""
        return self._header | {"n": len(self)}

    def keys(self):
        """Return the keys of every batch."""
        return tuple(self._batch)

    def batch(self, positions):
        """Return the objects at `positions`."""
        return {key: values[np.asarray(positions)] for key, values in self._batch.items()}


def state_of(seed, step):
    """Return the state of a seed generator for a step of training: a function of (seed, step) alone."""
    return np.random.SeedSequence([seed, step]).generate_state(2).astype(np.uint32) >> 1


def kind_of_keys(keys):
    """Return "scenes" where the number of sources is known, else "stamps"."""
    return "scenes" if "n_sources" in keys else "stamps"
