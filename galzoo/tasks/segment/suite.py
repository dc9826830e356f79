"""The suite "segment" of a preset or run."""

import numpy as np

from galzoo.contracts.suites import Result
from galzoo.data.open_source import read_header
from galzoo.data.scenes import Scenes
from galzoo.errors import InputError
from galzoo.evaluate.held_out import evenly, held_out, refuse_real, say_held_out

# Scenes that are made anew for a model of simulated ones: as large as a few windows, a dozen sources each.
_SCENES, _SIDE, _SEED = 40, 160, 1000


def run(request):
    """Score the classes of pixels of held-out images, and where they are scenes, the sources made of them.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request
        One file with ``pixel_class``, stamps or scenes; new scenes for a model of simulated ones.

    Returns
    -------
    SegmentResult
    """
    from galzoo.tasks.segment.scores import calibration_scores, pixel_scores, segment_images, source_scores
    from galzoo.tasks.segment.votes import STRIDE

    refuse_real(request, "the suite needs the true class of every pixel")
    images, model = _images(request), request.model
    if images.pixel_class is None:
        raise InputError(f"{request.files[0]}: has no pixel_class, the true class of every pixel; give one that has it")
    if images.pixel_class.shape[-1] != len(model.classes):
        raise InputError(
            f"{request.files[0]}: pixel_class has {images.pixel_class.shape[-1]} classes, the model "
            f"{len(model.classes)}: {', '.join(model.classes)}"
        )
    found = segment_images(model, images, STRIDE)
    truth = images.pixel_class.astype(np.float32)
    metrics = {"suite": "segment", "images": len(images), "side": int(images.image.shape[1]), "stride": STRIDE}
    metrics |= {"pixels": pixel_scores(found, truth, model.classes)}
    metrics |= {"calibration": calibration_scores(found, truth)}
    if isinstance(images, Scenes) and f"mag_{model.bands[0]}" in images.sources.colnames:
        metrics["sources"] = source_scores(found, images, model) | {"band": model.bands[0]}
    result = SegmentResult(metrics)
    if request.report is not None:
        from galzoo.tasks.segment.picture import report_of

        report_of(result, images, found, request.card["name"]).write(request.report)
    return result


def _images(request):
    if len(request.files) > 1:
        raise InputError(f"this suite is of one file; leave out --data {request.files[1]}")
    data = request.recipe["data"]
    if not request.files:
        if data["name"] != "morphology":
            raise InputError(f"{request.card['name']} was trained on data of yours; give them with --data")
        from galzoo.simulate.morphology import MorphologySimulator, MorphologySpec

        changes = {"stamp_size": _SIDE, "seed": data["options"].get("seed", 0) + _SEED, "isolated": False}
        options = {key: value for key, value in data["options"].items() if key != "n"} | changes
        return MorphologySimulator(MorphologySpec(**options)).simulate(range(request.limit or _SCENES))
    path = request.files[0]
    if read_header(path)["kind"] == "stamps":
        return held_out(path, "test", data["split"], request.limit)
    every = Scenes.load(path)
    scenes = every.split("test", **data["split"])
    if not len(scenes):
        raise InputError(
            f"{path}: no scene in split 'test'; use the file that the model was trained on, or a larger one"
        )
    say_held_out(path, len(scenes), len(every), "scene")
    return scenes[evenly(np.arange(len(scenes)), request.limit)]


class SegmentResult(Result):
    """Numbers of the suite "segment"."""

    def tables(self):
        pixels, calibration = self.metrics["pixels"], self.metrics["calibration"]
        rows = [{"class": name.replace("_", " "), **one} for name, one in pixels["classes"].items()]
        tables = {
            "Pixels": [
                {
                    "images": self.metrics["images"],
                    **{
                        title: (pixels[key], pixels[f"{key}_error"])
                        for title, key in (
                            ("accuracy", "accuracy"),
                            ("accuracy of sources' pixels", "source_accuracy"),
                            ("mean IoU", "mean_iou"),
                        )
                    },
                }
            ],
            "Classes of pixels": rows,
            "Calibration: share of the votes, and of the truth": calibration["bins"],
        }
        sources = self.metrics.get("sources")
        if sources is None:
            return tables
        band = sources["band"]
        tables["Completeness"] = [
            {
                f"{band}, mag": "{:g}-{:g}".format(*one["magnitude"]),
                "sources": one["sources"],
                "segments": (one["model"], one["model_error"]),
                "SEP": (one["sep"], one["sep_error"]),
            }
            for one in sources["bins"]
        ]
        tables["Sources"] = [
            {
                "method": name,
                "completeness": (sources[key]["completeness"], sources[key]["completeness_error"]),
                "purity": sources[key]["purity"],
            }
            for name, key in (("segments", "model"), ("SEP", "sep"))
        ]
        if sources.get("classes"):
            tables["Classes of sources: true in rows, most probable in columns"] = [
                {"true": name.replace("_", " "), **{key.replace("_", " "): value for key, value in line.items()}}
                for name, line in sources["classes"].items()
            ]
        return tables

    def headline(self):
        pixels, sources = self.metrics["pixels"], self.metrics.get("sources")
        row = {
            "pixels with the right class": (pixels["accuracy"], pixels["accuracy_error"]),
            "of sources' pixels": (pixels["source_accuracy"], pixels["source_accuracy_error"]),
            "mean IoU": (pixels["mean_iou"], pixels["mean_iou_error"]),
            "calibration error": self.metrics["calibration"]["ece"],
        }
        if sources is not None:
            row["completeness"] = (sources["model"]["completeness"], sources["model"]["completeness_error"])
        return row
