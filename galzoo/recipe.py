"""Recipes: YAML files that say how to train a model, checked before anything runs."""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path
from typing import Any, Literal

import pydantic

from galzoo.errors import RecipeError, UnknownNameError
from galzoo.files import expanded
from galzoo.registry import families, get_family
from galzoo.values import load_yaml, parse_value


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class Split(_Section):
    """Fractions of the objects kept out of training, and the seed of the draw."""

    valid: float = pydantic.Field(0.1, ge=0, lt=1)
    test: float = pydantic.Field(0.1, ge=0, lt=1)
    seed: int = pydantic.Field(0, ge=0)


class Make(pydantic.BaseModel):
    """Training data made in the graph: a layer by name or import path, and its arguments."""

    model_config = pydantic.ConfigDict(extra="allow")

    layer: str


class Data(_Section):
    """What to train on: a stamp or scene file, or a named data set with its options; and what is made of it."""

    path: str | None = None
    name: str | None = None
    options: dict[str, Any] = {}
    split: Split = Split()
    label: str | None = None
    condition: list[str] = []
    limit: int | None = pydantic.Field(None, gt=0)
    make: Make | None = None
    # Validate on all of this file; the split of the same file by default, or what `make` makes of it once.
    valid_path: str | None = None

    @pydantic.model_validator(mode="after")
    def _one_source(self):
        if self.path is None and self.name is None:
            raise ValueError("give data.path (a stamp or scene file) or data.name (a named data set)")
        return self


class Stage(_Section):
    """One call of `fit`."""

    name: str = "main"
    epochs: int = pydantic.Field(gt=0)
    steps_per_epoch: int = pydantic.Field(gt=0)
    batch_size: int = pydantic.Field(32, gt=0)
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = pydantic.Field(1e-3, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = pydantic.Field(0, ge=0)
    clip_norm: float | None = pydantic.Field(None, gt=0)
    freeze: list[str] = []
    # Momentum of a moving average of the weights, which validation, pictures and the saved model then use.
    ema: float | None = pydantic.Field(None, gt=0, lt=1)
    # Epochs without a better validation loss after which the stage ends, with the weights of its best epoch.
    patience: int | None = pydantic.Field(None, gt=0)
    # Train on so many central pixels of each stamp; what lies around a galaxy is sky, and sky is quickly learnt.
    crop: int | None = pydantic.Field(None, ge=16)


class Runtime(_Section):
    """How to run: seed, devices, precision."""

    seed: int = pydantic.Field(0, ge=0)
    # What training takes on the machine that makes the preset; a queue plans with it.
    hours: float | None = pydantic.Field(None, gt=0)
    strategy: Literal["single", "mirrored", "data_parallel"] = "single"
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    deterministic: bool = True
    jit: bool = False


class DataSet(_Section):
    """A file to judge a preset on, or a named data set with its options, which may name {ROOT}, {WORK}, {TRAINED}."""

    path: str | None = None
    name: str | None = None
    options: dict[str, Any] = {}

    @pydantic.model_validator(mode="after")
    def _one_source(self):
        if (self.path is None) == (self.name is None):
            raise ValueError("give either path or name")
        return self


class Evaluate(_Section):
    """What `galzoo evaluate` measures; `data` and `real` are what its options of these names are for the preset."""

    suite: str | None = None
    batch_size: int = pydantic.Field(64, gt=0)
    limit: int | None = pydantic.Field(None, gt=0)
    # In place of the held-out part of the training data, and beside it.
    data: dict[str, DataSet] = {}
    real: dict[str, DataSet] = {}


class Better(_Section):
    """The figure that decides whether a preset is better than the one that is there: where it lies in the metrics."""

    metric: list[str | int] = pydantic.Field(min_length=1)
    lower: bool


class Export(_Section):
    """The preset that the run becomes."""

    preset: str | None = None
    title: str = ""
    limits: str = ""
    licence: str = ""
    data_origin: str = ""
    # Options of the data set that differ when the preset is made, such as catalogues that not everybody has.
    data: dict[str, Any] = {}
    better: Better | None = None
    # Bits of the mantissa that are kept of large arrays of weights, as many as `galzoo.pack` says without it; a network
    # trained in bfloat16 has 7.
    mantissa: int | None = pydantic.Field(None, ge=7, le=22)


class Recipe(_Section):
    """A whole recipe; see docs/train.md."""

    family: str
    model: dict[str, Any] = {}
    # Models that are parts of this one, by the argument of its constructor: a preset, the folder of a run, or
    # recipe:FAMILY/NAME, which is trained first.
    parts: dict[str, str] = {}
    data: Data
    stages: list[Stage] = pydantic.Field(min_length=1)
    runtime: Runtime = Runtime()
    evaluate: Evaluate = Evaluate()
    export: Export = Export()

    def resolved(self):
        """Return the recipe with every default filled in, as JSON can hold it."""
        return self.model_dump(mode="json")


def list_recipes(family):
    """Return the names of a family's recipes."""
    return sorted(path.stem for path in get_family(family).recipes_dir().glob("*.yaml"))


def load_recipe(family, name="default", overrides=()):
    """Read and check a recipe.

    Parameters
    ----------
    family : str
        Name of a family.
    name : str or Path
        Name of one of its recipes, or the path of a YAML file or of the ``recipe.json`` of a run.
    overrides : sequence of str
        Changes as ``section.key=value``, the value in YAML, e.g. ``stages.0.epochs=2``.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        If the YAML cannot be read, or a key or value is not allowed.
    UnknownNameError
        If the family or the recipe does not exist.
    """
    folder = get_family(family).recipes_dir()
    path = Path(expanded(name)) if str(name).endswith((".yaml", ".yml", ".json")) else folder / f"{name}.yaml"
    if not path.is_file():
        if path.parent == folder:
            raise UnknownNameError.of(f"recipe of {family}", name, list_recipes(family))
        raise RecipeError(f"{path}: no such file; recipes of {family} are {', '.join(list_recipes(family))}")
    try:
        content = load_yaml(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a mapping with family, data and stages")
    for override in overrides:
        _override(content, override)
    return check_recipe(content, path, family)


def check_recipe(content, origin="recipe", family=None):
    """Check a recipe given as a dict and return it as `Recipe`; `origin` is named in errors."""
    try:
        recipe = Recipe.model_validate(content)
    except pydantic.ValidationError as error:
        raise RecipeError(f"{origin}: {_first(error, content)}") from None
    if family is not None and recipe.family != family:
        raise RecipeError(f"{origin}: is a recipe of {recipe.family!r}, not of {family!r}")
    if recipe.family not in families():
        raise UnknownNameError.of("family", recipe.family, families())
    return recipe


def check_model_arguments(model_class, arguments, origin="recipe"):
    """Raise `RecipeError` if `arguments` holds something that the constructor does not take."""
    known = [name for name in inspect.signature(model_class.__init__).parameters if name not in ("self", "kwargs")]
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise RecipeError(f"{origin}: model has no argument {name!r}: {hint}it takes {', '.join(known)}")


def _first(error, content):
    """Return the first problem of a validation error as one line that names the key and the mend."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = _fields(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {where!r}: {hint}allowed are {', '.join(allowed)}"
    given = f" (given: {problem['input']!r})" if not isinstance(problem["input"], dict) else ""
    return f"{where or 'recipe'}: {problem['msg'].removeprefix('Value error, ')}{given}"


def _fields(location):
    model = Recipe
    for part in location:
        # Numbers of a list and names in a dict are no fields.
        if part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        kinds = (kind for kind in getattr(annotation, "__args__", ()) if inspect.isclass(kind))
        inner = [kind for kind in kinds if issubclass(kind, _Section)]
        model = inner[0] if inner else annotation
    return list(model.model_fields)


def _override(content, text):
    """Apply one ``a.b.0.c=value`` to a nested dict."""
    key, found, value = text.partition("=")
    if not found or not key.strip():
        raise RecipeError(f"--set {text!r}: write it as section.key=value, e.g. stages.0.epochs=2")
    parts = key.strip().split(".")
    place = content
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise RecipeError(f"--set {text!r}: {part!r} is no index of a list of {len(place)}")
            part = int(part)
        elif not isinstance(place, dict):
            raise RecipeError(f"--set {text!r}: {part!r} lies below a plain value")
        if after is None:
            try:
                place[part] = parse_value(value)
            except ValueError as error:
                raise RecipeError(f"--set {text!r}: {value!r} is not valid YAML: {error}") from None
        else:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
