"""Pictures of a classifier: confusion, reliability, balance of the classes."""

import numpy as np
from matplotlib.figure import Figure

from galzoo.viz.panels import FAINT, INK

_BLUE = "#3b6ea8"


def confusion_figure(metrics):
    """Return a figure of the confusion matrix; shades are shares of each true class, numbers are stamps."""
    table = np.array(metrics["confusion"])
    names = [row["class"] for row in metrics["classes"]]
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.55 * len(names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained", facecolor="white")
    axis = figure.subplots()
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            if table[row, column]:
                colour = "white" if share[row, column] > 0.6 else INK
                axis.text(column, row, table[row, column], ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlabel("class given", fontsize=9)
    axis.set_ylabel("label", fontsize=9)
    _plain(axis)
    return figure


def reliability_figure(metrics):
    """Return a figure of the share of right classes against the probability of the most probable one."""
    rows = metrics["reliability"]
    figure = Figure(figsize=(4.2, 4.0), layout="constrained", facecolor="white")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--")
    axis.errorbar(
        [row["confidence"] for row in rows],
        [row["frequency"] for row in rows],
        yerr=np.nan_to_num([row["frequency_error"] for row in rows]),
        fmt="o",
        ms=5,
        color=_BLUE,
        capsize=2,
        lw=1,
    )
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    axis.set_xlabel("probability of the most probable class", fontsize=9)
    axis.set_ylabel("share that is right", fontsize=9)
    axis.set_title(
        f"expected calibration error {metrics['ece']:.3f} ± {metrics['ece_error']:.3f}; "
        f"{metrics['ece_if_calibrated']:.3f} if calibrated",
        fontsize=8,
        color=INK,
    )
    _plain(axis)
    return figure


def balance_figure(names, labelled, given):
    """Return a figure of how many stamps have each label, and are given each class."""
    figure = Figure(figsize=(5.2, 0.9 + 0.34 * len(names)), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, counts, title in zip(axes, (labelled, given), ("labels", "classes given to all stamps"), strict=True):
        axis.barh(range(len(names)), counts, color=_BLUE, height=0.7)
        for place, count in enumerate(counts):
            axis.text(count, place, f" {count}", va="center", fontsize=7, color=INK)
        axis.set_title(title, fontsize=9, color=INK)
        axis.set_xlim(0, 1.25 * max(1, *counts))
        axis.set_xticks([])
        _plain(axis)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].invert_yaxis()
    return figure


def _plain(axis):
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8, colors=INK, length=0)
