"""The report of the suite "detect": tables, curves, and scenes with what was found in them."""

import numpy as np

from galzoo.brief import counted
from galzoo.evaluate.report import Report
from galzoo.viz.colour import to_rgb
from galzoo.viz.detections import mark_sources
from galzoo.viz.panels import INK

_SCENES = 3
_COLOURS = ("#1f6feb", "#d9730d", "#2da44e", "#8250df")


def write_suite_report(result, detectors, scenes, name, path):
    """Write the report of a `DetectResult` to a file."""
    report = Report(
        f"Detection by {name}",
        f"{counted(result.metrics['scenes'], 'scene')}, {counted(result.metrics['sources'], 'source')}",
    )
    report.section("By magnitude and blendedness").figure(
        completeness_figure(result.metrics), "Completeness of all methods at one rate of false detections."
    )
    report.figure(scenes_figure(detectors, scenes, result.metrics), "Crosses: true sources. Circles: detections.")
    for title, rows in result.tables().items():
        report.section(title).table(rows)
    return report.write(path)


def completeness_figure(metrics):
    """Draw completeness of each method by magnitude and by blendedness."""
    from matplotlib.figure import Figure

    # Scenes that were pasted do not know the light of each source alone, which blendedness is of.
    keys = ["magnitude"] + ["blendedness"] * any(one.get("by_blendedness") for one in metrics["methods"].values())
    figure = Figure(figsize=(4.5 * len(keys), 3.4), facecolor="white", layout="constrained")
    for axis, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        for number, (name, one) in enumerate(metrics["methods"].items()):
            rows = one.get(f"by_{key}", [])
            if not rows:
                continue
            place = np.array([row["low"] + 0.5 * ((row["high"] or row["low"]) - row["low"]) for row in rows])
            place = place if key == "magnitude" else np.arange(len(rows))
            values, errors = (np.array([row[part] for row in rows], float) for part in ("share", "share_error"))
            style = {"color": _COLOURS[number % len(_COLOURS)], "marker": "o", "ms": 3.5, "lw": 1.2, "capsize": 2}
            axis.errorbar(place, values, errors, label=name, **style)
            if key != "magnitude":
                axis.set_xticks(place, [f"{row['low']:g}-{row['high']:g}" for row in rows])
        axis.set(xlabel=f"{metrics['band']} magnitude" if key == "magnitude" else key, ylim=(-0.02, 1.05))
        axis.tick_params(labelsize=8, colors=INK)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("completeness")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def scenes_figure(detectors, scenes, metrics):
    """Draw a few scenes, a column a method, with true sources and detections."""
    from matplotlib.figure import Figure

    rows = np.linspace(0, len(scenes) - 1, min(_SCENES, len(scenes))).astype(int)
    cell = 3.0
    figure = Figure(figsize=(cell * len(detectors), cell * len(rows)), facecolor="white", layout="constrained")
    axes = figure.subplots(len(rows), len(detectors), squeeze=False)
    batch = scenes.batch(rows)
    given = {key: batch[key] for key in ("image", "variance", "mask", "psf") if key in batch}
    for column, (name, detector) in zip(axes.T, detectors.items(), strict=True):
        threshold = metrics["methods"][name]["threshold"] or 0.5
        answer = detector.detect(given, threshold)
        for axis, line in zip(column, range(len(rows)), strict=True):
            picture = to_rgb(batch["image"][line], scenes.bands, batch["variance"][line])
            axis.imshow(picture, origin="lower", interpolation="nearest")
            kept = answer.probability[line] >= threshold
            star = np.zeros(kept.sum(), bool)
            if answer.class_probability is not None:
                star = np.argmax(answer.class_probability[line][kept], axis=-1) == 1
            true = batch["positions"][line, : batch["n_sources"][line]]
            mark_sources(axis, true, answer.positions[line][kept], star)
            axis.set(xlim=(-0.5, picture.shape[1] - 0.5), ylim=(-0.5, picture.shape[0] - 0.5))
            axis.set_axis_off()
        column[0].set_title(name, fontsize=9, color=INK)
    return figure
