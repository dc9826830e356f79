"""Fitted classifiers as folders: ``classifier.json``, and arrays or a Keras model beside it."""

import json
import zipfile
from pathlib import Path

import numpy as np

from galzoo.errors import InputError, PresetError
from galzoo.files import atomic_path, write_json
from galzoo.tasks.classify.classifiers import KINDS, Classifier

FILE, ARRAYS, MODEL = "classifier.json", "classifier.npz", "classifier.keras"
_VERSION = 1


def save_classifier(classifier, folder, about=None):
    """Write a classifier into a folder.

    Parameters
    ----------
    classifier : Classifier or Tuned
    folder : str or Path
        Made if absent.
    about : dict, optional
        Kept with it, such as ``encoder`` (name of the preset), ``sha256`` (of its model file) and ``views``.

    Returns
    -------
    list of Path
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    said = {"format": "galzoo-classifier", "version": _VERSION, "kind": classifier.kind, "names": classifier.names}
    said |= {"counts": classifier.counts.tolist(), "temperature": classifier.temperature, "prior": classifier.prior}
    if classifier.kind == "finetune":
        with atomic_path(folder / MODEL) as temporary:
            classifier.model.save(temporary)
    else:
        with atomic_path(folder / ARRAYS) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **classifier.arrays)
    write_json(folder / FILE, said | {"about": about or {}})
    return [folder / FILE, folder / (MODEL if classifier.kind == "finetune" else ARRAYS)]


def is_classifier(folder):
    """Say whether a folder holds a fitted classifier."""
    return (Path(folder) / FILE).is_file()


def load_classifier(folder):
    """Read a classifier.

    Returns
    -------
    classifier : Classifier or Tuned
    about : dict

    Raises
    ------
    InputError
        If the folder holds none, or it is damaged.
    """
    folder = Path(folder)
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder}: has no {FILE}; give the folder that `galzoo classify ... --column` wrote")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        names, counts, kind = [str(name) for name in said["names"]], np.array(said["counts"], int), said["kind"]
        common = names, counts, float(said["temperature"]), said["prior"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({' '.join(str(error).split())[:100]}); fit it again") from None
    if said.get("version") != _VERSION or kind not in (*KINDS, "finetune"):
        raise InputError(f"{path}: version {said.get('version')} of kind {kind!r} is unknown here; fit it again")
    if kind == "finetune":
        from galzoo.tasks.classify.run import Tuned

        return Tuned(_read_model(folder / MODEL, said["about"]), *common), said["about"]
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        arrays["centre"], arrays["components"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{folder / ARRAYS}: is missing or damaged; fit the classifier again") from None
    return Classifier(kind, names, counts, common[2], common[3], arrays), said["about"]


def encoder_of(about, folder):
    """Load the encoder that a classifier was fitted on.

    Raises
    ------
    PresetError
        If it is not the same any more.
    """
    from galzoo.presets import load_for, model_checksum

    name = about.get("encoder")
    if not name:
        raise InputError(f"{folder}: does not say which encoder it was fitted on; fit it again")
    if "sha256" in about and model_checksum(name) != about["sha256"]:
        raise PresetError(f"{folder}: was fitted on another {name} than is there now; fit the classifier again")
    return load_for("classify", name, "model", "prior", "encoder")


def _read_model(path, about):
    import keras

    from galzoo.presets import load_card
    from galzoo.registry import get_family
    from galzoo.tasks.classify import finetune  # noqa: F401  registers the class that the file names

    if about.get("encoder"):
        get_family(load_card(about["encoder"], metrics=False)["family"]).model_class()
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:200]}; fit it again") from None
