"""The report of the suite "count"."""

import numpy as np
from matplotlib.figure import Figure

from galzoo.brief import counted
from galzoo.evaluate.report import Report
from galzoo.tasks.screen.baselines import signal_to_noise
from galzoo.tasks.screen.pages import stamps_page

_SHOWN = 24


def write_report(request, result, batches, label, probability, doubt):
    """Write scores, the reliability curve and the stamps that the model doubts itself on most.

    Parameters
    ----------
    request : Request
    result : CountResult
    batches : list of dict
    label : int array, (n,)
    probability : array, (n, class)
    doubt : array, (n,)
        Mutual information, nats.
    """
    report = Report("Number of sources", f"{request.card['name']}, {counted(result.metrics['stamps'], 'stamp')}")
    for title, rows in result.tables().items():
        report.section(title).table(rows)
    report.section("Pictures")
    report.figure(reliability_figure(result.metrics["reliability"]), "Said and true share of blends; equal on the line")
    # A band by itself may be absent.
    image = np.concatenate([signal_to_noise(batch)[0] for batch in batches])
    rows = np.argsort(-doubt, kind="stable")[:_SHOWN]
    said = probability.argmax(axis=1)
    captions = [f"true {label[row]}, said {said[row]}\nMI {doubt[row]:.2f}" for row in rows]
    report.figure(stamps_page(image[rows], captions), "The stamps with the most mutual information, all bands together")
    report.write(request.report)


def reliability_figure(rows):
    """Return a figure of rows of `galzoo.metrics.calibration.reliability`."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    said, true, error = (
        [np.nan_to_num(row[key]) for row in rows] for key in ("confidence", "frequency", "frequency_error")
    )
    axis.errorbar(said, true, yerr=error, fmt="o-", color="C0", markersize=4)
    axis.set(xlabel="probability of two or more", ylabel="share that has", xlim=(0, 1), ylim=(0, 1))
    return figure
