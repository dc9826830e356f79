"""Presets: trained models that load by name, each with a card that says what it is worth."""

import copy
import functools
import hashlib
import json
import zipfile
from pathlib import Path

from galzoo import __version__, resources
from galzoo.errors import InputError, PresetError, UnknownNameError
from galzoo.files import atomic_path, expanded, write_text
from galzoo.pack import BITS, pack_model
from galzoo.registry import MODEL, families, get_family, get_suite, get_task, import_object

MODEL_FILE, CARD_FILE = "model.keras", "card.yaml"
METRICS_FILE = "metrics.json"
"""All numbers that a card's headline is taken from; beside the card, since they are many."""


def preset_folders():
    """Return the folders of galzoo's presets and those that other packages bring, name to folder, sorted by name."""
    places = [resources.pretrained_dir(), *(family.presets_dir() for family in families().values() if family.presets)]
    found = {path.parent.name: path.parent for place in reversed(places) for path in place.glob(f"*/{CARD_FILE}")}
    return dict(sorted(found.items()))


def list_presets():
    """Return the names of the packaged presets."""
    return list(preset_folders())


def presets_for(task, *roles):
    """Return the names of the packaged presets that serve a task, in any of the given roles ("model" by default)."""
    roles = roles or (MODEL,)
    can = {name for name, family in families().items() if any(family.serves(task, role) for role in roles)}
    return [name for name in list_presets() if load_card(name, metrics=False)["family"] in can]


def find_preset(name):
    """Return the folder of a preset or run, given as a packaged name or a path.

    Raises
    ------
    UnknownNameError
        If `name` is neither.
    """
    packaged = preset_folders()
    if str(name) in packaged:
        return packaged[str(name)]
    folder = Path(expanded(name))
    if folder.is_dir() and not (folder / MODEL_FILE).is_file():
        raise PresetError(f"{folder}: has no {MODEL_FILE}; finish the run with `galzoo train ... --resume`")
    if folder.is_dir():
        return folder
    raise UnknownNameError.of("preset", name, packaged)


def load_card(name, metrics=True):
    """Return the card of a preset as a dict; for a run folder, what is known of it so far.

    Parameters
    ----------
    name : str or Path
    metrics : bool
        Read the numbers of its evaluation too.
    """
    folder = find_preset(name)
    path = folder / CARD_FILE
    if not path.is_file():
        path = folder / "recipe.json"
        try:
            recipe = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PresetError(f"{folder}: has neither {CARD_FILE} nor recipe.json; give a preset or a run") from None
        except json.JSONDecodeError as error:
            raise PresetError(f"{path}: not valid JSON: {error}; train again") from None
        return {"name": folder.name, "family": recipe["family"], "recipe": recipe}
    card = copy.deepcopy(_read_card(path, path.stat().st_mtime_ns))
    if metrics and "metrics" not in card and (folder / METRICS_FILE).is_file():
        try:
            card["metrics"] = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise PresetError(f"{folder / METRICS_FILE}: not valid JSON: {error}; install galzoo again") from None
    return card


@functools.lru_cache(maxsize=32)
def _read_card(path, changed):
    """Read a card, which is asked for several times a command."""
    # Training finds its start model here too, on machines without YAML.
    import yaml

    try:
        # The parser in C takes a tenth of the time, where it is there.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        card = yaml.load(path.read_text(encoding="utf-8"), loader)
    except yaml.YAMLError as error:
        raise PresetError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(card, dict) or "family" not in card:
        raise PresetError(f"{path}: is no card (it names no family); install galzoo again")
    return card


def hyper_parameters(name):
    """Return what a preset's model was made with, as its file says, without loading it; empty where it does not say.

    Parameters
    ----------
    name : str or Path
        A preset or run; a run without a model yet has none.

    Returns
    -------
    dict
    """
    path = find_preset(name) / MODEL_FILE
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("config.json")).get("config") or {}


def load(name):
    """Load a trained model.

    Parameters
    ----------
    name : str or Path
        Name of a packaged preset, or a folder: a preset or a finished run.

    Returns
    -------
    keras.Model
        Ready for use, not compiled.

    Raises
    ------
    UnknownNameError
        If there is no such preset.
    PresetError
        If the file was altered since its card was written, or cannot be read.
    """
    folder = find_preset(name)
    card = load_card(name)
    path = folder / MODEL_FILE
    check_file(folder, card)
    get_family(card["family"]).model_class()  # registers the classes that the file names

    import keras

    from galzoo.runtime import exact_products

    exact_products()
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise PresetError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None


def check_file(folder, card):
    """Raise `PresetError` if the model file of a preset is not the one that its card describes."""
    path = folder / MODEL_FILE
    if "sha256" in card and checksum(path) != card["sha256"]:
        raise PresetError(f"{path}: is not the file that its card describes (sha256 differs); install galzoo again")


def card_for(task, name, *roles):
    """Return the card of a preset or run that serves a task, in any of the given roles ("model" by default).

    Raises
    ------
    InputError
        If its family does not; the message names presets that do.
    """
    card = load_card(name)
    family = get_family(card["family"])
    if not any(family.serves(task, role) for role in roles or (MODEL,)):
        known = ", ".join(presets_for(task, *roles)) or f"none is packaged; train one of {_families_for(task, roles)}"
        raise InputError(f"{name}: models of {family.name} do not {task}; presets that do: {known}")
    return card


def load_for(task, name, *roles):
    """Load a trained model for a task, in any of the given roles ("model" by default).

    Raises
    ------
    InputError
        If its family does not serve the task; the message names presets that do.
    PresetError
        If the model lacks what its family promises.
    """
    card = card_for(task, name, *roles)
    family = get_family(card["family"])
    model = load(name)
    for role in roles or (MODEL,):
        if family.serves(task, role) and not isinstance(model, get_task(task).protocol(role)):
            raise PresetError(f"{name}: {type(model).__name__} is no {get_task(task).protocol(role).__name__}")
    return model


def _families_for(task, roles):
    can = [name for name, family in families().items() if any(family.serves(task, role) for role in roles or (MODEL,))]
    return ", ".join(can) or "the families of other packages"


def checksum(path):
    """Return the SHA-256 of a file as hexadecimal."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise PresetError(f"{path}: no such file; install galzoo again") from None


def model_checksum(name):
    """Return the SHA-256 of the weights of a preset or run, as hexadecimal."""
    return checksum(find_preset(name) / MODEL_FILE)


def check_better(folder, metrics, better):
    """Raise `PresetError` unless new metrics are better than those of the preset in `folder`, where there is one.

    Parameters
    ----------
    folder : Path
        The preset's folder.
    metrics : dict
        Results of the evaluation suite for the new model.
    better : galzoo.recipe.Better or None
        The recipe's ``export.better``: which figure decides.
    """
    if not (folder / CARD_FILE).is_file():
        return
    if better is None:
        raise PresetError(f"{folder}: is there already; say in export.better of the recipe which figure decides")
    path = ".".join(map(str, better.metric))
    old, new = _figure(load_card(folder)["metrics"], better.metric), _figure(metrics, better.metric)
    for value, owner in ((old, "the preset that is there"), (new, "the new model")):
        if value is None:
            raise PresetError(f"{folder}: {owner} has no number {path}, so it is kept; mend export.better.metric")
    # Not the other way round: a NaN is not better than anything.
    if not (new < old if better.lower else new > old):
        order = "lower" if better.lower else "higher"
        raise PresetError(f"{folder}: kept, {path} is {new:.6g} now and was {old:.6g}; {order} is better")


def _figure(metrics, path):
    for part in path:
        try:
            metrics = metrics[part]
        except (KeyError, IndexError, TypeError):
            return None
    return metrics if isinstance(metrics, (int, float)) else None


def write_preset(run, folder, metrics, header, created, evaluation=None, exact=False):
    """Make a preset folder from a finished run.

    Parameters
    ----------
    run : Path
        Folder of the run.
    folder : Path
        The preset's folder; its name is the preset's.
    metrics : dict
        Results of the evaluation suite.
    header : dict
        Header of the file that it was trained on (`galzoo.data.open_source.read_header`).
    created : str
        Date, ISO 8601.
    evaluation : dict, optional
        What it was scored on: ``limit`` of objects of each set, and ``files``, name to ``rows`` and ``sha256``.
    exact : bool
        Keep every bit of the weights; large arrays are rounded otherwise (`galzoo.pack`).

    Returns
    -------
    dict
        The card.
    """
    run, folder = Path(run), Path(folder)
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    training = json.loads((run / "training.json").read_text(encoding="utf-8"))
    export = recipe["export"]
    # The path of the stamp file is of the machine that trained; it means nothing elsewhere.
    recipe["data"]["path"] = Path(recipe["data"]["path"]).name if recipe["data"]["path"] else None
    folder.mkdir(parents=True, exist_ok=True)
    before = load_card(folder, metrics=False) if (folder / CARD_FILE).is_file() else {}
    with atomic_path(folder / MODEL_FILE) as path:
        pack_model(run / MODEL_FILE, path, exact, export.get("mantissa") or BITS)
    sha256 = checksum(folder / MODEL_FILE)
    card = {
        "name": folder.name,
        "title": export["title"],
        "family": recipe["family"],
        "created": created,
        "galzoo": __version__,
        "sha256": sha256,
        "licence": export["licence"],
        "citation": get_family(recipe["family"]).reference,
        "data": {
            "origin": export["data_origin"],
            "survey": header["survey"],
            "bands": header["bands"],
            "pixel_scale_arcsec": header["pixel_scale"],
            "stamp_size": list(header["shape"]),
            "unit": header["unit"],
            "meta": header["meta"],
        },
        "training": training,
        "limits": export["limits"],
        "changelog": [
            *before.get("changelog", []),
            changelog_entry(created, __version__, sha256, metrics, export.get("better")),
        ],
        "headline": headline(metrics),
        **({} if evaluation is None else {"evaluation": evaluation}),
        "metrics": metrics,
        "recipe": recipe,
    }
    card = json.loads(json.dumps(card))
    write_card(folder, card)
    return card


def write_card(folder, card):
    """Write a card into a preset's folder: the metrics into a file of their own, all else into ``card.yaml``."""
    import yaml

    rest = {key: value for key, value in card.items() if key != "metrics"}
    write_text(Path(folder) / METRICS_FILE, json.dumps(card["metrics"]) + "\n")
    write_text(Path(folder) / CARD_FILE, yaml.safe_dump(rest, sort_keys=False, allow_unicode=True, width=120))


def headline(metrics):
    """Return the few numbers that presets are chosen by, title -> value or [value, error]; none without a suite."""
    if "suite" not in metrics:
        return {}
    return import_object(get_suite(metrics["suite"]).result)(metrics).headline()


def changelog_entry(date, version, sha256, metrics, better=None):
    """Return what a card's changelog says of one model: when it was made, and the figure that it was chosen by."""
    entry = {"date": date, "galzoo": version, "sha256": sha256}
    if better is not None:
        entry["figure"] = {".".join(map(str, better["metric"])): _figure(metrics, better["metric"])}
    return entry
