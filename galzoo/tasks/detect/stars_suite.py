"""The suite "stars" of a preset: catalogues of held-out crowded fields, beside PSF photometry."""

from pathlib import Path

import numpy as np

from galzoo.brief import counted
from galzoo.contracts.suites import Result
from galzoo.data.scenes import Scenes
from galzoo.errors import InputError
from galzoo.evaluate.held_out import evenly, refuse_real, say_held_out
from galzoo.tasks.detect.stars_scores import GIVEN, SURE, evaluate_stars


def run(request):
    """Score a model on star fields; see `galzoo.tasks.detect.stars_scores.evaluate_stars`.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request
        One scene file with the flux of each source in each band; where it has a split, or is that of the model's
        recipe, only its test fields are scored. By default the recipe's.

    Returns
    -------
    StarsResult
    """
    refuse_real(request, "catalogues are scored where the truth is known")
    model = request.model
    scenes = _fields(request)
    size = request.recipe["evaluate"]["batch_size"]
    rows = evenly(np.arange(len(scenes)), request.limit)
    batches = [scene_batch(scenes, rows[start : start + size]) for start in range(0, len(rows), size)]
    result = StarsResult({"suite": "stars"} | evaluate_stars(model, batches, progress=True))
    if request.report is not None:
        write_report(result, model, batches[0], request.card["name"], request.report)
    return result


def _fields(request):
    """Return the `Scenes` that are scored."""
    from galzoo.data.build_dataset import cache_file, prepare
    from galzoo.recipe import Data

    if len(request.files) > 1:
        raise InputError(f"this suite is of one file; leave out --data {request.files[1]}")
    data = request.recipe["data"]
    if request.files:
        path = request.files[0]
        trained = Path(data["path"]) if data.get("path") else cache_file(data["name"], data["options"])
        own = trained.resolve() == path.resolve()
    else:
        path, own = prepare(Data(**data)), True
    scenes = every = Scenes.load(path)
    if list(scenes.bands) != list(request.model.bands):
        raise InputError(
            f"{path}: bands are {', '.join(scenes.bands)}; the model needs {', '.join(request.model.bands)}"
        )
    if not all(f"flux_{band}" in scenes.sources.colnames for band in scenes.bands) or scenes.psf is None:
        raise InputError(f"{path}: no flux of each source, or no PSF; make fields by galzoo data make starfield")
    if own:
        scenes = scenes.split("test", **data["split"])
    elif "split" in scenes.catalogue.colnames:
        scenes = scenes.split("test")
    if not len(scenes):
        raise InputError(f"{path}: no field in split 'test'; make more of them")
    if len(scenes) < len(every):
        say_held_out(path, len(scenes), len(every), "field")
    return scenes


def scene_batch(scenes, rows):
    """Return some of `Scenes` of stars as a batch, with ``gain`` and ``faintest`` where the catalogue says them."""
    batch = scenes.batch(rows)
    names = [f"gain_{band}" for band in scenes.bands]
    if all(name in scenes.catalogue.colnames for name in names):
        gain = [np.asarray(scenes.catalogue[name], np.float32)[rows] for name in names]
        batch["gain"] = np.stack(gain, axis=-1)
    if "faintest" in scenes.catalogue.colnames:
        batch["faintest"] = np.asarray(scenes.catalogue["faintest"], np.float32)[rows]
    return batch


class StarsResult(Result):
    """Numbers of `evaluate_stars`."""

    def tables(self):
        methods = [
            {
                "method": name, "fields": one["fields"], "stars": one["stars"], "found": one["found"],
                "recall": one["recall"], "precision": one["precision"], "F1": (one["f1"], one["f1_error"]),
                "s a field": one["seconds"],
            }
            for name, one in self.metrics["methods"].items()
        ]  # fmt: skip
        tables = {"One-to-one matches within .5 px and .5 mag, 5 px from the edges": methods}
        counts = [
            {
                "number of stars in a": name, "n": one["n"],
                "in 90 % intervals": (one["coverage"], one["coverage_error"]),
                "mean, relative error": one["relative_bias"], "p of even ranks": one["rank_p"],
                "spread of ranks": one["rank_spread"],
            }
            for name, one in self.metrics.get("counts", {}).items()
        ]  # fmt: skip
        if counts:
            tables["Number of stars against catalogues drawn"] = counts
        pulls = [
            {"pull of": name, "stars": one["n"], "median": one["median"], "spread": one["spread"],
             "beyond 3": one["outliers"]}
            for name, one in self.metrics["pulls"].items()
        ]  # fmt: skip
        if pulls:
            tables["Error over its standard deviation, matches within 1 px and 1 mag"] = pulls
        return tables

    def headline(self):
        methods = self.metrics["methods"]
        own, classical = methods["galzoo"], methods.get("photutils", {})
        counts = self.metrics.get("counts", {}).get("field", {})
        flux = next((one["spread"] for name, one in self.metrics["pulls"].items() if name.startswith("flux")), None)
        return {
            "F1": (own["f1"], own["f1_error"]),
            "photutils' F1": (classical.get("f1"), classical.get("f1_error")) if classical else None,
            "count in 90 % intervals": (counts["coverage"], counts["coverage_error"]) if counts else None,
            "flux pulls": flux,
            "ms per field": 1000 * own["seconds"],
        }


def write_report(result, model, batch, name, path):
    """Write the report of a `StarsResult`: tables, and the first fields of a batch with what was found."""
    from galzoo.evaluate.report import Report

    metrics = result.metrics
    report = Report(f"Stars by {name}", f"{counted(metrics['fields'], 'field')}, {counted(metrics['stars'], 'star')}")
    caption = f"Circles: true stars. Crosses: stars of a probability of {SURE:g} and more."
    report.section("Fields").figure(fields_figure(model, batch), caption)
    for title, rows in result.tables().items():
        report.section(title).table(rows)
    if "photometry" in metrics:
        best = metrics["photometry"]
        sky = "no sky" if best["sky"] is None else f"percentile {best['sky']:g} of the field as sky"
        report.text(
            f"PSF photometry of photutils: {sky} taken off, DAOFIND at {best['threshold']:g} times the noise, stars "
            f"within {best['group']:g} FWHM fitted together; the best settings on the first field, which is not scored "
            "where there are others."
        )
    return report.write(path)


def fields_figure(model, batch, most=3):
    """Draw the first fields of a batch with true stars and the ones found."""
    from matplotlib.figure import Figure

    number = min(most, len(batch["image"]))
    found = model.detect({key: batch[key][:number] for key in GIVEN if batch.get(key) is not None}, SURE)
    figure = Figure(figsize=(4.2 * number, 4.2), facecolor="white", layout="constrained")
    for row, axis in enumerate(figure.subplots(1, number, squeeze=False)[0]):
        noise = np.sqrt(np.nanmedian(batch["variance"][row, ..., 0]))
        axis.imshow(np.arcsinh(batch["image"][row, ..., 0] / (3 * noise)), origin="lower", cmap="gray")
        axis.plot(*batch["positions"][row, : batch["n_sources"][row]].T, "o", ms=7, mfc="none", mec="#56c8ff", mew=0.8)
        kept = found.probability[row] >= SURE
        axis.plot(*found.positions[row, kept].T, "+", ms=5, color="#ff6a3d", mew=0.9)
        axis.set(xlim=(-0.5, axis.get_images()[0].get_array().shape[1] - 0.5))
        axis.set_axis_off()
    return figure
