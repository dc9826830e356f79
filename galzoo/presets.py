"""Presets: trained models that load by name, each with a card that says what it is worth."""

import hashlib
import json
import shutil
from pathlib import Path

from galzoo import __version__, resources
from galzoo.errors import PresetError, UnknownNameError
from galzoo.files import atomic_path, write_text

MODEL_FILE, CARD_FILE = "model.keras", "card.yaml"


def list_presets():
    """Return the names of the packaged presets."""
    return sorted(path.parent.name for path in resources.pretrained_dir().glob(f"*/{CARD_FILE}"))


def find_preset(name):
    """Return the folder of a preset or run, given as a packaged name or a path.

    Raises
    ------
    UnknownNameError
        If `name` is neither.
    """
    if str(name) in list_presets():
        return resources.pretrained_dir() / str(name)
    folder = Path(name)
    if folder.is_dir() and not (folder / MODEL_FILE).is_file():
        raise PresetError(f"{folder}: has no {MODEL_FILE}; finish the run with `galzoo train ... --resume`")
    if folder.is_dir():
        return folder
    raise UnknownNameError.of("preset", name, list_presets())


def load_card(name):
    """Return the card of a preset as a dict; for a run folder, what is known of it so far."""
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
    # Training finds its start model here too, on machines without YAML.
    import yaml

    try:
        # Cards hold all that was measured; the parser in C takes a tenth of the time, where it is there.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        card = yaml.load(path.read_text(encoding="utf-8"), loader)
    except yaml.YAMLError as error:
        raise PresetError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(card, dict) or "family" not in card:
        raise PresetError(f"{path}: is no card (it names no family); install galzoo again")
    return card


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
    from galzoo.registry import get_family

    folder = find_preset(name)
    card = load_card(name)
    path = folder / MODEL_FILE
    if "sha256" in card and checksum(path) != card["sha256"]:
        raise PresetError(f"{path}: is not the file that its card describes (sha256 differs); install galzoo again")
    get_family(card["family"]).model_class()  # registers the classes that the file names

    import keras

    from galzoo.train import exact_products

    exact_products()
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise PresetError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None


def checksum(path):
    """Return the SHA-256 of a file as hexadecimal."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise PresetError(f"{path}: no such file; install galzoo again") from None


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


def write_preset(run, folder, metrics, header, created):
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
        Header of the stamp file that it was trained on (`galzoo.data.hdf5.read_header`).
    created : str
        Date, ISO 8601.

    Returns
    -------
    dict
        The card.
    """
    import yaml

    run, folder = Path(run), Path(folder)
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    training = json.loads((run / "training.json").read_text(encoding="utf-8"))
    export = recipe["export"]
    # The path of the stamp file is of the machine that trained; it means nothing elsewhere.
    recipe["data"]["path"] = Path(recipe["data"]["path"]).name if recipe["data"]["path"] else None
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / MODEL_FILE) as path:
        shutil.copyfile(run / MODEL_FILE, path)
    card = {
        "name": folder.name,
        "title": export["title"],
        "family": recipe["family"],
        "created": created,
        "galzoo": __version__,
        "sha256": checksum(folder / MODEL_FILE),
        "licence": export["licence"],
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
        "metrics": metrics,
        "recipe": recipe,
    }
    card = json.loads(json.dumps(card))
    write_text(folder / CARD_FILE, yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return card
