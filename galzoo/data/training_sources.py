"""What a recipe trains and validates on, checked before anything runs."""

import logging
from pathlib import Path

from galzoo.data.in_graph import MadeSource, kind_of_keys, make_layer
from galzoo.data.keys import KEYS
from galzoo.data.open_source import open_source, read_header
from galzoo.data.pipeline import fixed_source
from galzoo.errors import InputError


def training_sources(path, data, family, seed=0):
    """Return the sources of a training.

    Parameters
    ----------
    path : str or Path
        Stamp or scene file.
    data : dict
        A resolved recipe's data section.
    family : galzoo.registry.Family
        Says which keys it reads, which it requires, and which kinds of file it takes. Keys that it can use and that are
        not there are said in one line of the log.
    seed : int
        Of what is made in the graph.

    Returns
    -------
    dict
        ``train`` and ``valid``, each a `galzoo.contracts.source.Source`. With ``data.make``, ``train`` is endless, and
        ``valid`` is the file ``data.valid_path``, or made once of the validation split.

    Raises
    ------
    InputError
        If the family does not take such a file, or a key that it requires is served by neither file nor layer.
    RecipeError
        If ``data.make`` is wrong.
    """
    make, valid_path = data.get("make"), data.get("valid_path")
    optional = [key for key in family.keys if key not in family.required]
    common = {"split_options": data["split"], "label": data["label"], "condition": data["condition"]}
    if make is None:
        _check_kind(read_header(path)["kind"], path, family)
        sources = {
            split: open_source(path, family.required, split, optional=optional, limit=data["limit"], **common)
            for split in ("train", "valid")
        }
        for source in sources.values():
            source.check_pixels()
    else:
        sources = _made_sources(path, data, family, make, common, seed, valid_path is None)
    if valid_path is not None:
        _check_kind(read_header(valid_path)["kind"], valid_path, family)
        wanted = [key for key in sources["train"].keys() if key != "index"]  # noqa: SIM118 (a source is no dict)
        sources["valid"] = open_source(valid_path, wanted, "all", label=data["label"], condition=data["condition"])
    served = sources["train"].keys()
    absent = [key for key in optional if key not in served]
    if absent:
        # Standard error shows warnings wherever training runs.
        words = f"{Path(path).name}: {family.name} trains without {', '.join(absent)}, which are not in the data"
        logging.getLogger("galzoo").warning(words)
    return sources


def _made_sources(path, data, family, make, common, seed, with_valid):
    layer = make_layer(make, seed)
    everything = open_source(path, (), "all", optional=list(KEYS), limit=1, **_columns(common))
    reads = layer.needs(everything.keys())
    serves = layer.serves(reads)
    name = make["layer"]
    missing = [key for key in family.required if key not in serves]
    if missing:
        raise InputError(
            f"{path}: {family.name} needs {missing[0]!r}; data.make {name} makes {', '.join(serves)} of it"
        )
    _check_kind(kind_of_keys(serves), f"{path}, made by {name}", family)
    keys = [key for key in serves if key in {*family.keys, "mask"}]
    found = {}
    for split in ("train", "valid") if with_valid else ("train",):
        base = open_source(path, reads, split, limit=data["limit"], **common)
        base.check_pixels()
        made = MadeSource(base, layer, keys)
        found[split] = made if split == "train" else fixed_source(made, seed)
    return found


def _columns(common):
    return {key: common[key] for key in ("label", "condition")}


def _check_kind(kind, path, family):
    if kind not in family.inputs:
        raise InputError(
            f"{path}: holds {kind}; {family.name} trains on {' or '.join(family.inputs)}"
            + (", or name a layer that makes scenes in data.make" if kind == "stamps" else "")
        )
