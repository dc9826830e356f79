"""What `galzoo classify` writes."""

import re
from pathlib import Path

import numpy as np
from astropy.table import QTable

from galzoo.evaluate.report import Report
from galzoo.files import write_json, write_table
from galzoo.tasks.classify.pictures import balance_figure, confusion_figure, reliability_figure
from galzoo.viz.panels import panel, save

# Stamps on a page: surest of each class, and surest mistakes.
_EACH, _MISTAKES, _CLASSES = 8, 24, 8


def write_products(stamps, result, folder, about=None, report=True):
    """Write a table of classes, and what was measured of the classifier.

    Parameters
    ----------
    stamps : Stamps
        That were classified.
    result : galzoo.tasks.classify.run.Classified
    folder : str or Path
        Made if absent.
    about : dict, optional
        For the table's header and the report.
    report : bool
        Draw pictures and write the report.

    Returns
    -------
    list of Path
        ``classes.ecsv``; where it was fitted ``summary.json``; with a report ``classes.png`` and ``report.html``, and
        where it was fitted ``confusion.png``, ``reliability.png``, ``balance.png`` and, where there are any,
        ``mistakes.png``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = about or {}
    written = [folder / "classes.ecsv"]
    write_table(written[0], make_table(stamps, result, about))
    if result.metrics is not None:
        write_json(folder / "summary.json", about | {"notes": result.notes} | result.metrics)
        written.append(folder / "summary.json")
    return written + (_report(stamps, result, folder, about) if report else [])


def make_table(stamps, result, about):
    """Return the classes of all stamps as a QTable: ``id, class, probability, p_<class>``, and label and part."""
    table = QTable()

    def add(name, values, description):
        table[name] = values
        table[name].info.description = description

    catalogue = stamps.catalogue
    add("id", catalogue["id"] if "id" in catalogue.colnames else np.arange(len(stamps)), "of the stamp")
    for name in ("ra", "dec"):
        if name in catalogue.colnames:
            table[name] = catalogue[name]
    names = np.array(result.names)
    add("class", names[result.chosen], "the most probable one")
    add("probability", result.probability.max(axis=1), "of that class")
    for name, column, values in zip(result.names, column_names(result.names), result.probability.T, strict=True):
        add(column, values, f"probability of class {name}")
    if result.number is not None:
        add("label", np.where(result.number >= 0, names[result.number], ""), "as given; empty where not known")
        add("part", result.part, "train: learnt from, test: held out; empty without label")
    table.meta |= about | {
        "classes": list(result.names),
        "kind": result.classifier.kind,
        "prior": result.classifier.prior,
    }
    return table


def column_names(names):
    """Return a name of a column for each class: ``p_`` and the class, other signs than letters and digits as _."""
    found = []
    for number, name in enumerate(names):
        plain = "p_" + re.sub(r"\W+", "_", name.replace("-", "m" if name[:1] == "-" else "_", 1))
        found.append(plain if plain not in found else f"{plain}_{number}")
    return found


def _report(stamps, result, folder, about):
    report, written = Report("Classes", about.get("file", "")), []

    def draw(name, figure, caption):
        save(figure, folder / name)
        report.figure(folder / name, caption)
        written.append(folder / name)

    classifier = result.classifier
    rows = about | {"classifier": classifier.kind, "probabilities at": f"{classifier.prior} frequencies of the classes"}
    rows |= {
        "temperature": classifier.temperature,
        "stamps": len(stamps),
        "labels learnt from": int(classifier.counts.sum()),
    }
    report.section("Summary").table([{"": key, "value": value} for key, value in rows.items()])
    report.text("\n\n".join(result.notes))
    given = np.bincount(result.chosen, minlength=len(result.names))
    if result.metrics is not None:
        found = result.metrics
        report.section("How good it is").text(
            f"Measured on {found['n']} labelled stamps, {found['of']}. Cross-entropy, Brier score, accuracy of the "
            "most probable class and calibration are at the frequencies of the labels; balanced accuracy is the share "
            "of each class that is found, mean over classes."
        )
        names = ("balanced_accuracy", "accuracy", "nll", "brier", "ece")
        line = {name: (found[name], found[f"{name}_error"]) for name in names}
        known = {"balanced_accuracy": 1 / len(result.names), "accuracy": found["commonest_class"]}
        known |= {"nll": found["base_rate_nll"]}
        report.table([{"": "this classifier"} | line, {"": "knowing frequencies alone"} | known])
        report.table(found["classes"], "found: share of the class that is given it; pure: share of what is given it")
        draw("confusion.png", confusion_figure(found), "Labels against classes given; shade: share of the label")
        draw(
            "reliability.png",
            reliability_figure(found),
            "Whether probabilities are what they say; on the line is right",
        )
        report.section("Balance of the classes")
        labelled = np.bincount(result.number[result.number >= 0], minlength=len(result.names))
        draw("balance.png", balance_figure(result.names, labelled, given), "Labels, and classes given to all stamps")
    else:
        report.section("Classes given").table(
            [{"class": name, "stamps": int(n)} for name, n in zip(result.names, given, strict=True)]
        )
    report.section("The surest of each class")
    draw("classes.png", _surest(stamps, result), "A line a class, the surest first, and its probability")
    if result.metrics is not None:
        wrong = np.flatnonzero((result.part == "test") & (result.number >= 0) & (result.chosen != result.number))
        wrong = wrong[np.argsort(-result.probability[wrong].max(axis=1), kind="stable")][:_MISTAKES]
        if len(wrong):
            names = [f"{result.names[result.number[row]]} → {result.names[result.chosen[row]]}" for row in wrong]
            labels = [f"{name}\n{result.probability[row].max():.2f}" for name, row in zip(names, wrong, strict=True)]
            report.section("The surest mistakes")
            draw("mistakes.png", panel(stamps, wrong, labels, columns=8), "Held out: label → class given, probability")
    return [*written, report.write(folder / "report.html")]


def _surest(stamps, result):
    """Return a figure with a line of stamps for each of the commonest classes."""
    given = np.bincount(result.chosen, minlength=len(result.names))
    shown = sorted(np.argsort(-given, kind="stable")[:_CLASSES])
    rows, labels = [], []
    for number in (number for number in shown if given[number]):
        inside = np.flatnonzero(result.chosen == number)
        best = inside[np.argsort(-result.probability[inside, number], kind="stable")]
        # Those that were not learnt from, where there are enough: they say more.
        if result.part is not None and (result.part[best] != "train").sum() >= _EACH:
            best = best[result.part[best] != "train"]
        rows.append(best[:_EACH])
        labels.append([f"{result.names[number]}\n{result.probability[row, number]:.2f}" for row in rows[-1]])
    return _lines(stamps, rows, labels)


def _lines(stamps, rows, labels):
    from galzoo.viz.colour import to_rgb
    from galzoo.viz.panels import picture_grid

    width = max(len(line) for line in rows)
    columns = {}
    blank = np.ones((*stamps.shape, 3), np.float32)
    for place in range(width):
        pictures = []
        for line in rows:
            if place >= len(line):
                pictures.append(blank)
                continue
            planes = {key: None if getattr(stamps, key) is None else getattr(stamps, key)[line[place]]
                      for key in ("variance", "mask")}  # fmt: skip
            pictures.append(to_rgb(stamps.image[line[place]], bands=stamps.bands, **planes))
        columns[" " * place] = pictures
    return picture_grid(columns, [line[0] for line in labels])
