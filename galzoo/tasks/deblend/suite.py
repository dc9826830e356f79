"""The suite "deblend" of a preset: what its model can do, beside the baselines, on scene files or new scenes."""

import dataclasses

import numpy as np

from galzoo.contracts.suites import Result
from galzoo.data import scenes_hdf5
from galzoo.data.hdf5 import open_file, read_array
from galzoo.data.scenes import Scenes
from galzoo.errors import InputError
from galzoo.evaluate.held_out import evenly, refuse_real, usable_options
from galzoo.inference.deblend import deblend
from galzoo.tasks.deblend.alignment import AtDetections, Finding
from galzoo.tasks.deblend.deblenders import SEP, baselines
from galzoo.tasks.deblend.scarlet import Scarlet2, installed
from galzoo.tasks.deblend.score_tables import result_tables
from galzoo.tasks.deblend.scores import evaluate_deblending

# New scenes: enough for a scatter to a few per cent; seed away from that of the training.
_SCENES, _SEED = 300, 1000
# Their sources lie within so many pixels of the centre (2 arcsec for LSST); least and largest side, at twice a stamp's.
_REACH, _LEAST, _MOST = 10, 64, 120
# Sources of a new scene at most.
_SOURCES = 4


def run(request):
    """Score a model on scenes; see `evaluate_deblending`.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request
        Scene files with isolated images, each a set; where they have a split, only its test scenes are scored. By
        default new scenes, where the recipe simulates its own data.

    Returns
    -------
    DeblendResult

    Raises
    ------
    InputError
        If a file holds no scenes, none of the test split, or other bands than the model's.
    """
    refuse_real(request, "sources are scored where their truth is known")
    model, recipe = request.model, request.recipe
    sets = {}
    for path in request.files or [new_scenes(recipe["data"], request.card["name"], model)]:
        name = path.stem.removeprefix("scenes_").removeprefix("scenes-")
        if name in sets:
            raise InputError(f"{path}: a set named {name!r} is there already; rename one of the files")
        sets[name] = held_out_scenes(path, model.bands, request.limit)
    methods = model_deblenders(request.models)
    metrics = evaluate_deblending(
        methods | baselines() | ({"scarlet2": Scarlet2()} if installed() else {}),
        sets,
        batch_size=recipe["evaluate"]["batch_size"],
        report=request.report,
        model=next(iter(methods)),
        progress=True,
        title=f"Deblending by {request.card['name']}",
    )
    return DeblendResult(metrics)


class DeblendResult(Result):
    """Numbers of `evaluate_deblending`."""

    def tables(self):
        return result_tables(self.metrics)

    def headline(self):
        band, first = self.metrics["reference_band"], next(iter(self.metrics["sets"].values()))
        scores = first["methods"][self.metrics["model"]]

        def found(*path, key="scatter"):
            part = scores
            for name in path:
                part = part[name]
            return None if part[key] is None else (part[key], part[f"{key}_error"])

        seconds = scores["seconds"]
        return {
            f"scatter of the {band} flux": found("flux", "all"),
            "blendedness > 0.3": found("flux", "blended"),
            f"median error of the {band} flux": found("flux", "all", key="median"),
            "scatter of the ellipticity": found("ellipticity", "all"),
            "chi2 per pixel, median": found("chi2", key="median"),
            "ms per scene": None if seconds is None else 1000 * seconds,
        }


def model_deblenders(models):
    """Return what models can do as deblenders, name -> callable, the best first.

    A `GalaxyModel` is asked for the most probable scene and for its encoder's answer at the true positions, and for the
    former at those that SEP finds. A `Separator` finds its sources itself. A prior over pixels is started from what the
    packaged preset for its bands answers, which stands beside it.

    Parameters
    ----------
    models : mapping of str to model
        By role.
    """
    if "prior" in models:
        return _prior_deblenders(models["prior"])
    if "separator" in models:
        return {"galzoo": Finding(models["separator"].deblend)}
    model = models["model"]

    def most_probable(batch):
        return deblend(model, batch, method="map")

    return {
        "galzoo": most_probable,
        "galzoo, encoder": lambda batch: deblend(model, batch, method="encoder"),
        "galzoo, SEP's positions": AtDetections(most_probable, SEP()),
    }


def _prior_deblenders(prior):
    from galzoo.tasks.deblend.pixel_prior import first_deblender, with_prior

    name, first = first_deblender(prior.bands, prior.pixel_scale)
    return {"galzoo": with_prior(first, prior), name: first}


def held_out_scenes(path, bands, limit=None):
    """Return the `Scenes` of the test split of a file, at most `limit` of them, evenly spread.

    Parameters
    ----------
    path : str or Path
        A scene file. Where its scenes have no split, they are taken to be of galaxies that training did not have.
    bands : sequence of str
        What the file must have.
    limit : int, optional

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    header = scenes_hdf5.read_header(path)
    if list(header["bands"]) != list(bands):
        raise InputError(f"{path}: bands are {', '.join(header['bands'])}; the model needs {', '.join(bands)}")
    if "isolated" not in header["keys"]:
        raise InputError(f"{path}: no isolated images, so no truth; simulate scenes without --no-isolated")
    rows = np.arange(header["n"])
    if "split" in header["columns"]:
        with open_file(path, scenes_hdf5.FORMAT) as file:
            rows = np.flatnonzero(read_array(file["catalogue/split"]) == "test")
    if not len(rows):
        raise InputError(f"{path}: no scene in split 'test'; simulate some with --split test")
    return Scenes.load(path, evenly(rows, limit))


def new_scenes(data, name, model):
    """Return a file of scenes simulated for evaluation, by a recipe's data section: test galaxies, another seed.

    Parameters
    ----------
    data : dict
        Data section of a recipe.
    name : str
        Of the preset, for messages.
    model : keras.Model
        With ``bands``, and ``max_sources`` where it is limited.

    Returns
    -------
    Path
        In the cache; made if it is not there.

    Raises
    ------
    InputError
        If the recipe's data are not simulated.
    """
    from galzoo.data.build_dataset import cache_file
    from galzoo.simulate.scene_spec import SceneSpec
    from galzoo.simulate.scenes import make_scenes
    from galzoo.simulate.simulator import ImageSpec
    from galzoo.simulate.surveys import get_survey

    if data["name"] != "simulated":
        raise InputError(f"{name} was trained on data of yours; give scenes with --data (galzoo simulate scenes)")
    known = {field.name for field in dataclasses.fields(ImageSpec)}
    given = {key: value for key, value in usable_options(data["options"], name).items() if key in known}
    spec = SceneSpec(**given | scene_options(data, get_survey(given.get("survey", "LSST")), model))
    path = cache_file("scenes", {"n": _SCENES, **spec.to_dict()})
    return path if path.exists() else make_scenes(path, _SCENES, spec, progress=True)


def scene_options(data, survey, model):
    """Return what `SceneSpec` needs beside a recipe's options, as a dict."""
    options = data["options"]
    return {
        "bands": tuple(model.bands),
        "stamp_size": int(np.clip(2 * options.get("stamp_size", _LEAST), _LEAST, _MOST)),
        "seed": options.get("seed", 0) + _SEED,
        "n_sources": (1, min(_SOURCES, getattr(model, "max_sources", _SOURCES))),
        "max_radius": _REACH * survey.pixel_scale.to_value("arcsec"),
        "split": "test",
        **{f"split_{key}": value for key, value in data["split"].items()},
    }
