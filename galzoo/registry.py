"""Which families, tasks and data sets exist: a walk over ``galzoo/models/``, ``tasks/`` and ``datasets/``, and entry
points.

Other packages add theirs by entry points of the groups ``galzoo.families``, ``galzoo.tasks`` and ``galzoo.datasets``,
each naming a descriptor. Only descriptors are imported here, never a back end, so listing is instant.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.resources
import pkgutil
import warnings
from collections.abc import Mapping
from pathlib import Path

from galzoo import resources
from galzoo.errors import UnknownNameError

MODEL = "model"
"""The role that a family plays in a task unless it names another."""


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
        What a trained model serves: the name of a task, or "task:role" where the role is not "model".
    keys : tuple of str
        Keys of a batch that it reads; see `galzoo.data.keys`.
    required : tuple of str
        Those of `keys` without which it cannot run.
    inputs : tuple of str
        Kinds of files that it trains on: "stamps", "scenes" or both.
    adds : mapping of str to str
        Keys that this family alone knows, with what each holds.
    capabilities : mapping
        What can be relied on, as data: ``exact_log_prob``, ``space``, ...
    reference : str
        Papers, with their arXiv numbers.
    picture : str
        Import path of ``draw(model, batch, path)``, which draws a batch while the model trains; optional. A parameter
        ``pixel_scale`` is given the arcsec per pixel of the data.
    recipes, presets : str
        Folders of a family of another package, "package:folder"; galzoo's own lie in zoo_configs/ and pretrained/.
    """

    name: str
    title: str
    model: str
    tasks: tuple[str, ...]
    keys: tuple[str, ...]
    required: tuple[str, ...] = ("image",)
    inputs: tuple[str, ...] = ("stamps",)
    adds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    capabilities: Mapping[str, object] = dataclasses.field(default_factory=dict)
    reference: str = ""
    picture: str = ""
    recipes: str = ""
    presets: str = ""

    def model_class(self):
        """Import and return the model class (this imports Keras)."""
        return import_object(self.model)

    def roles(self):
        """Return the pairs (task, role) that a trained model serves."""
        return _pairs(self.tasks)

    def serves(self, task, role=MODEL):
        """Return whether a trained model can play a role in a task."""
        return (task, role) in self.roles()

    def recipes_dir(self):
        """Return the folder of the family's recipes."""
        return package_folder(self.recipes) if self.recipes else resources.configs_dir() / self.name

    def presets_dir(self):
        """Return the folder of presets that the family's package brings, None for galzoo's own."""
        return package_folder(self.presets) if self.presets else None


@dataclasses.dataclass(frozen=True)
class Suite:
    """Measurements that trained models are compared by.

    Parameters
    ----------
    name : str
        As in ``galzoo evaluate --suite NAME``.
    title : str
        One line for people.
    run : str
        Import path of ``run(request)``, which takes a `galzoo.contracts.suites.Request` and returns a `result`.
    result : str
        Import path of a subclass of `galzoo.contracts.suites.Result`, made of the measured numbers alone, so that a
        card can be shown without measuring again.
    tasks : tuple of str
        Names of tasks whose models it judges, or "task:role".
    data : str
        Kind of file that it reads: "stamps" or "scenes".
    real : bool
        Also takes observed images without truth (``--real``).
    many : bool
        Takes several files of data.
    """

    name: str
    title: str
    run: str
    result: str
    tasks: tuple[str, ...]
    data: str = "stamps"
    real: bool = False
    many: bool = False

    def roles(self):
        """Return the pairs (task, role) of the models that it judges."""
        return _pairs(self.tasks)

    def judges(self, family):
        """Return whether the suite is for models of a `Family`."""
        return any(pair in family.roles() for pair in self.roles())


@dataclasses.dataclass(frozen=True)
class Task:
    """What trained models are used for.

    Parameters
    ----------
    name : str
        The folder's name.
    title : str
        One line for people.
    roles : mapping of str to str
        Each role that a model can play, and the import path of the protocol that it must then fulfil.
    run : str
        Import path of the function that does it.
    command : str
        Import path of the function that is the command ``galzoo NAME``; imported when it is called.
    help : str
        The command's line in ``galzoo --help``.
    next : str
        What to type with a trained model: ``{preset}`` is its name, ``{data}`` the file that it learnt from.
    suites : tuple of Suite
        Suites that this task brings.
    picture : str
        Import path of ``figure(model, card)``, which shows on data of its own what a preset does; optional.
    """

    name: str
    title: str
    roles: Mapping[str, str]
    run: str
    command: str = ""
    help: str = ""
    next: str = ""
    suites: tuple[Suite, ...] = ()
    picture: str = ""

    def protocol(self, role=MODEL):
        """Import and return the protocol of a role.

        Raises
        ------
        UnknownNameError
            If the task has no such role.
        """
        if role not in self.roles:
            raise UnknownNameError.of(f"role of task {self.name}", role, self.roles)
        return import_object(self.roles[role])


def import_object(path):
    """Import what a path "package.module:name" names."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def package_folder(path):
    """Return the folder that "package:folder" names."""
    package, _, folder = path.partition(":")
    return Path(str(importlib.resources.files(package))) / folder


@functools.cache
def families():
    """Return all families, name to `Family`, sorted by name."""
    return _discover("models", Family)


@functools.cache
def tasks():
    """Return all tasks, name to `Task`, sorted by name."""
    return _discover("tasks", Task)


@functools.cache
def suites():
    """Return all suites, name to `Suite`, in the order of their tasks."""
    found = {}
    for task in tasks().values():
        for suite in task.suites:
            if suite.name in found:
                _refuse(f"task {task.name!r} brings a suite {suite.name!r}, a name that is in use")
                continue
            found[suite.name] = suite
    return found


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
    return _get("family", name, families())


def get_task(name):
    """Return the `Task` of a name; `UnknownNameError` if there is none."""
    return _get("task", name, tasks())


def get_suite(name):
    """Return the `Suite` of a name; `UnknownNameError` if there is none."""
    return _get("suite", name, suites())


def suites_of(family):
    """Return the suites that judge models of a `Family`."""
    return [suite for suite in suites().values() if suite.judges(family)]


def _pairs(texts):
    """Return (task, role) of each "task" or "task:role"."""
    return [(task, role or MODEL) for task, _, role in (text.partition(":") for text in texts)]


def _get(kind, name, known):
    if name not in known:
        raise UnknownNameError.of(kind, name, known)
    return known[name]


def _discover(folder, kind, modules=False):
    """Return the descriptors of galzoo's own folder and of entry points, name to descriptor.

    Each folder (or, with `modules`, each file) in ``galzoo/<folder>/`` holds one as the constant named like its class
    (``FAMILY``).
    """
    constant = kind.__name__.upper()
    package = importlib.import_module(f"galzoo.{folder}")
    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        if (info.ispkg or modules) and not info.name.startswith("_"):
            descriptor = getattr(importlib.import_module(f"galzoo.{folder}.{info.name}"), constant)
            found[descriptor.name] = descriptor
    for entry in importlib.metadata.entry_points(group=f"galzoo.{_plural(kind)}"):
        try:
            descriptor = entry.load()
            if not isinstance(descriptor, kind):
                raise TypeError(f"is a {type(descriptor).__name__}, not a {kind.__name__}")
        except Exception as error:
            # A broken plug-in must not take the rest of the zoo with it.
            _refuse(f"plug-in {entry.value} of {entry.group} cannot be loaded: {' '.join(str(error).split())}")
            continue
        if descriptor.name in found:
            _refuse(f"plug-in {entry.value} of {entry.group}: the name {descriptor.name!r} is in use; rename it")
            continue
        found[descriptor.name] = descriptor
    return dict(sorted(found.items()))


def _plural(kind):
    name = kind.__name__.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


class PluginWarning(UserWarning):
    """Something that another package brings cannot be used."""


def _refuse(message):
    warnings.warn(message, PluginWarning, stacklevel=4)


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A named data set, as in ``galzoo data make NAME``.

    Parameters
    ----------
    name : str
        What it is called.
    title : str
        One line for people.
    build : str
        Import path of the function that makes it: options as keywords and ``output``, the path of the file to write.
    kind : str
        What it writes: "stamps" or "scenes".
    """

    name: str
    title: str
    build: str
    kind: str = "stamps"

    def builder(self):
        """Import and return the function that makes the data set."""
        return import_object(self.build)


@functools.cache
def datasets():
    """Return all data sets, name to `DataSet`, sorted by name."""
    return _discover("datasets", DataSet, modules=True)


def get_dataset(name):
    """Return the `DataSet` of a name; `UnknownNameError` if there is none."""
    return _get("data set", name, datasets())
