"""The suite "detect" of a preset: what it finds in held-out scenes, beside the classical detection."""

import numpy as np

from galzoo.contracts.suites import Result
from galzoo.data import scenes_hdf5
from galzoo.data.hdf5 import open_file, read_array
from galzoo.data.scenes import Scenes
from galzoo.errors import GalzooError, InputError
from galzoo.evaluate.held_out import evenly, refuse_real, say_held_out
from galzoo.metrics.detection import OUTCOMES
from galzoo.tasks.detect.choose_detector import check_role
from galzoo.tasks.detect.classical import ClassicalDetector, SecondLook
from galzoo.tasks.detect.plain_sep import PlainSEP
from galzoo.tasks.detect.scores import evaluate_detection

CLASSICAL, PLAIN, SECOND = "SEP", "SEP, 1.5 sigma", "SEP, second look"


def run(request):
    """Score a model on scene files; see `galzoo.tasks.detect.scores.evaluate_detection`.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request
        One scene file whose sources are known; without isolated images or cutouts average precision is left out. Where
        it has a split, only its test scenes are scored. By
        default the file that the model was trained on.

    Returns
    -------
    DetectResult
    """
    refuse_real(request, "detections are scored where the truth is known")
    model = request.model
    check_role(model, request.card["name"], residual=False)
    files = request.files or ((request.recipe["data"]["path"],) if request.recipe["data"].get("path") else ())
    if len(files) != 1:
        raise InputError(f"{len(files)} scene files; give one with --data (galzoo simulate scenes)")
    scenes = held_out(files[0], model.bands, request.limit)
    detectors = {"galzoo": model} | classical_methods(scenes)
    metrics = evaluate_detection(detectors, scenes, CLASSICAL, request.recipe["evaluate"]["batch_size"], progress=True)
    result = DetectResult({"suite": "detect", "model": "galzoo"} | metrics)
    if request.report is not None:
        from galzoo.tasks.detect.suite_report import write_suite_report

        write_suite_report(result, detectors, scenes, request.card["name"], request.report)
    return result


def classical_methods(scenes):
    """Return the detectors by name that every model is put beside: SEP's in two settings, and the second look.

    The second look needs a packaged preset that deblends, in the bands and pixels of the scenes; else it is left out.
    """
    bands, scale = tuple(scenes.bands), scenes.pixel_scale
    methods = {CLASSICAL: ClassicalDetector(bands, scale), PLAIN: PlainSEP(bands, scale)}
    deblend = packaged_deblender(bands, scale)
    return methods if deblend is None else methods | {SECOND: SecondLook(deblend, bands, scale)}


def packaged_deblender(bands, pixel_scale):
    """Return what ``galzoo deblend`` would deblend fields of these bands and pixels with; None where nothing fits."""
    from galzoo.field.array_field import ArrayField
    from galzoo.tasks.deblend.choose_preset import choose_deblender

    shape = (8, 8, len(bands))
    field = ArrayField(np.zeros(shape, np.float32), np.ones(shape, np.float32), None, bands, pixel_scale)
    try:
        return choose_deblender(None, None, "map", field)[0]
    except GalzooError:
        return None


def held_out(path, bands, limit=None):
    """Return the `Scenes` of the test split of a file, at most `limit` of them, evenly spread."""
    header = scenes_hdf5.read_header(path)
    if list(header["bands"]) != list(bands):
        raise InputError(f"{path}: bands are {', '.join(header['bands'])}; the model needs {', '.join(bands)}")
    known = any(f"snr_{band}" in header["source_columns"] for band in bands)
    if not {"isolated", "cutouts"} & set(header["keys"]) and not known:
        raise InputError(f"{path}: no isolated images or cutouts, so no truth; simulate scenes with them")
    rows = np.arange(header["n"])
    if "split" in header["columns"]:
        with open_file(path, scenes_hdf5.FORMAT) as file:
            rows = np.flatnonzero(read_array(file["catalogue/split"]) == "test")
    if not len(rows):
        raise InputError(f"{path}: no scene in split 'test'; simulate some with --split test")
    if len(rows) < header["n"]:
        say_held_out(path, len(rows), header["n"], "scene")
    return Scenes.load(path, evenly(rows, limit))


class DetectResult(Result):
    """Numbers of `evaluate_detection`."""

    def tables(self):
        methods = self.metrics["methods"]
        precision = [
            {
                "method": name, "class": kind, "box AP .5": row["box_ap50"], "box AP .5-.95": row["box_ap"],
                "mask AP .5": row["mask_ap50"], "mask AP .5-.95": row["mask_ap"],
                "precision at 80 % recall": row["precision_at_80"],
            }
            for name, one in methods.items()
            for kind, row in one["ap"].items()
        ]  # fmt: skip
        same = [
            {
                "method": name, "threshold": one["threshold"],
                "completeness": (one["completeness"], one["completeness_error"]),
                "purity": (one["purity"], one["purity_error"]),
                **{kind: (one["outcomes"][kind], one["outcomes"][f"{kind}_error"]) for kind in OUTCOMES},
                "s a scene": one["seconds"],
            }
            for name, one in methods.items()
        ]  # fmt: skip
        rate = f"{self.metrics['false_rate']:.2g} false detections a scene"
        tables = {f"At {rate}": same}
        if precision:
            tables = {"Average precision": precision} | tables
        for key in ("magnitude", "blendedness"):
            rows = {}
            for name, one in methods.items():
                for row in one.get(f"by_{key}", ()):
                    label = bin_label(row)
                    rows.setdefault(label, {key: label, "sources": row["n"]})[name] = (row["share"], row["share_error"])
            if rows:
                tables[f"Completeness by {key}"] = list(rows.values())
        rows = {}
        for name, one in methods.items():
            for row in (one.get("calibration") or {}).get("by_magnitude", ()):
                label = bin_label(row)
                rows.setdefault(label, {"magnitude": label})[name] = (row["excess"], row["excess_error"])
        if rows:
            tables["Probability less share that is true, by measured magnitude"] = list(rows.values())
        for name, one in methods.items():
            for key in ("magnitude", "radius", "separation"):
                rows = [
                    {key: bin_label(row), "sources": row["n"]}
                    | {kind: (row[kind], row[f"{kind}_error"]) for kind in OUTCOMES}
                    for row in one.get(f"outcomes_by_{key}", ())
                ]
                if rows:
                    tables[f"Outcomes of {name} by {key}"] = rows
        return tables

    def headline(self):
        one = self.metrics["methods"][self.metrics["model"]]
        galaxy, star = (one["ap"].get(name, {}) for name in ("galaxy", "star"))
        return {
            "box AP .5, galaxies": galaxy.get("box_ap50"),
            "box AP .5, stars": star.get("box_ap50"),
            "completeness at SEP's false rate": (one["completeness"], one["completeness_error"]),
            "SEP's": (self.metrics["methods"][CLASSICAL]["completeness"],
                      self.metrics["methods"][CLASSICAL]["completeness_error"]),
            "ms per scene": 1000 * one["seconds"],
        }  # fmt: skip


def bin_label(row):
    """Return the name of a bin of `galzoo.metrics.detection.share_in_bins`."""
    return f"{row['low']:g} and above" if row["high"] is None else f"{row['low']:g} to {row['high']:g}"
