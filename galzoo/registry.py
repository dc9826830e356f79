"""Which families exist: a walk over ``galzoo/models/`` and the entry points of group ``galzoo.families``.

Only descriptors are imported here, never a back end, so listing is instant.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import pkgutil

from galzoo.errors import UnknownNameError


@dataclasses.dataclass(frozen=True)
class Family:
    """What the zoo knows about a family without importing it.

    Parameters
    ----------
    name : str
        The folder's name, as in ``galzoo train NAME``.
    title : str
        One line for people.
    model : str
        Import path of the model class, "package.module:Class".
    tasks : tuple of str
        What a trained model can do: "reconstruct", "sample", "deblend", ...
    keys : tuple of str
        Keys of a batch that it reads; see `galzoo.data.keys`.
    required : tuple of str
        Those of `keys` without which it cannot run.
    reference : str
        Papers, with their arXiv numbers.
    picture : str
        Import path of ``draw(model, batch, path)``, which draws a batch while the model trains; optional.
    """

    name: str
    title: str
    model: str
    tasks: tuple[str, ...]
    keys: tuple[str, ...]
    required: tuple[str, ...] = ("image",)
    reference: str = ""
    picture: str = ""

    def model_class(self):
        """Import and return the model class (this imports Keras)."""
        return import_object(self.model)


def import_object(path):
    """Import what a path "package.module:name" names."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


@functools.cache
def families():
    """Return all families, name to `Family`, sorted by name."""
    from galzoo import models

    found = {}
    for info in pkgutil.iter_modules(models.__path__):
        if info.ispkg and not info.name.startswith("_"):
            descriptor = importlib.import_module(f"galzoo.models.{info.name}").FAMILY
            found[descriptor.name] = descriptor
    for entry in importlib.metadata.entry_points(group="galzoo.families"):
        descriptor = entry.load()
        found[descriptor.name] = descriptor
    return dict(sorted(found.items()))


def list_families():
    """Return the names of all families."""
    return list(families())


def get_family(name):
    """Return the `Family` of a name.

    Raises
    ------
    UnknownNameError
        If there is none; the message names the nearest.
    """
    known = families()
    if name not in known:
        raise UnknownNameError.of("family", name, known)
    return known[name]
