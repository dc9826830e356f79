"""The report of the suite "residual": tables, and scenes with what the first pass left and what was found in it."""

import numpy as np

from galzoo.brief import counted
from galzoo.evaluate.report import Report
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import INK

# Scenes of the picture.
_SHOWN = 3
_COLOURS = ("#ffd24d", "#56c8ff", "#ff7ab6", "#9be564")
# Residuals are shown from minus to plus so many standard deviations of the noise.
_RANGE = 6.0


def write_residual_report(result, views, bands, name, path):
    """Write the report of a `ResidualResult` to a file; `views` are those of `evaluate_residual`."""
    metrics = result.metrics
    # Where most was missed.
    views = sorted(views, key=lambda view: -len(view["missed"]))[:_SHOWN]
    text = f"{counted(metrics['scenes'], 'scene')}, {counted(metrics['sources'], 'source')}"
    text = f"{text}, of which the first pass misses {metrics['missed']}"
    report = Report(f"What a first pass misses, by {name}", text)
    report.section("Scenes").figure(
        residual_figure(views, metrics, bands),
        "Left: the scene, dots what the first pass knows. Others: what its fit leaves, over the noise and summed over "
        "the bands; crosses are true sources that it missed, circles what a method adds at 5 % false ones.",
    )
    for title, rows in result.tables().items():
        report.section(title).table(rows)
    return report.write(path)


def residual_figure(views, metrics, bands):
    """Draw scenes, a row each: the scene, and for each method the residual with what it adds."""
    from matplotlib.figure import Figure

    methods, cell = metrics["methods"], 3.0
    figure = Figure(figsize=(cell * (1 + len(methods)), cell * len(views)), facecolor="white", layout="constrained")
    axes = figure.subplots(len(views), 1 + len(methods), squeeze=False)
    for line, view in zip(axes, views, strict=True):
        image, variance = view["image"], view["variance"]
        line[0].imshow(to_rgb(image, bands, variance), origin="lower", interpolation="nearest")
        line[0].plot(*view["known"].T, ".", color="white", ms=2)
        rest = np.sum((image - view["model"]) / np.sqrt(variance), axis=-1) / np.sqrt(len(bands))
        for axis, (colour, (name, one)) in zip(line[1:], zip(_COLOURS, methods.items(), strict=False), strict=False):
            axis.imshow(rest, origin="lower", interpolation="nearest", cmap="gray", vmin=-_RANGE, vmax=_RANGE)
            axis.plot(*view["missed"].T, "+", color="#d62728", ms=6, mew=1)
            places, probability = view["added"][name]
            kept = probability >= (np.inf if one["threshold"] is None else one["threshold"])
            axis.plot(*places[kept].T, "o", mfc="none", mec=colour, ms=9, mew=1)
        for axis in line:
            axis.set(xlim=(-0.5, rest.shape[1] - 0.5), ylim=(-0.5, rest.shape[0] - 0.5))
            axis.set_axis_off()
    for axis, title in zip(axes[0], ("scene", *methods), strict=False):
        axis.set_title(title, fontsize=9, color=INK)
    return figure
