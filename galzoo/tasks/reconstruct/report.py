"""Tables, figures and the HTML report of the suite "reconstruction"."""

import numpy as np

from galzoo.evaluate.report import Report
from galzoo.metrics.binned import bin_masks
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import picture_grid, reconstruction_panel

METHODS = {
    "model": "galzoo",
    "codes": "galzoo, codes alone",
    "richardson_lucy": "Richardson-Lucy",
    "wiener": "Wiener",
    "none": "as observed",
    "truth": "truth",
}
QUANTITIES = {"flux": "flux, relative", "half_light_radius": "half-light radius, relative", "e1": "e1", "e2": "e2"}
CHI2 = "Chi squared per pixel, median"
ERRORS = "Squared error of the deconvolved image over the squared truth, median"
ARTEFACTS = "Artefacts of the deconvolved image"
# Okabe & Ito's colours, told apart with any colour vision; markers tell methods apart without colour.
STYLES = {
    "model": ("#0072B2", "o"),
    "codes": ("#CC79A7", "v"),
    "richardson_lucy": ("#D55E00", "s"),
    "wiener": ("#009E73", "^"),
    "none": ("#777777", "D"),
}
SET_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def bin_name(row):
    """Return the name of a bin's row: "10–30", "> 300" or "all"."""
    if row.get("low") is None:
        return "all" if row.get("high") is None else f"< {row['high']:g}"
    return f"> {row['low']:g}" if row["high"] is None else f"{row['low']:g}–{row['high']:g}"


def result_tables(results):
    """Return the tables of the suite's results, as rows of dicts for `Report.table`, `markdown_table` or `rich_table`.

    Parameters
    ----------
    results : dict
        From `evaluate_reconstruction`.

    Returns
    -------
    dict of str to list of dict
        By title.
    """
    tables = {}
    if "codebook" in results:
        tables["Codebook"] = [
            {
                "set": name,
                "stamps": row["stamps"],
                "perplexity": (row["perplexity"], row["perplexity_error"]),
                "of": row["size"],
                "codes used": f"{100 * row['share_used']:.1f} %",
                "dead codes": row["dead"],
            }
            for name, row in results["codebook"].items()
        ]
    tables[CHI2] = [
        {"set": name, **{f"S/N {bin_name(row)}": (row["median"], row["median_error"]) for row in rows}}
        for name, rows in results["chi2"].items()
    ]
    if "deconvolution" in results:
        tables[ERRORS] = [
            {
                "method": METHODS[name],
                **{f"S/N {bin_name(row)}": (row["median"], row["median_error"]) for row in part["bins"]},
                "all": (part["all"]["median"], part["all"]["median_error"]),
                "all, mean": (part["all"]["mean"], part["all"]["mean_error"]),
                "ratio to galzoo": (part["all"]["ratio"], part["all"]["ratio_error"]) if name != "model" else "1",
            }
            for name, part in _ordered(results["deconvolution"])
        ]
    tables[ARTEFACTS] = [
        {
            "method": METHODS[name],
            "pixels below 0, %": _percent(results["negative_share"].get(name)),
            **{f"power at period {p}": (v["value"], v["value_error"]) for p, v in periods.items()},
        }
        for name, periods in _ordered(results["checkerboard"])
    ]
    # Fluxes of single bands come last.
    biases = results.get("bias", {})
    shown = [name for name in QUANTITIES if name in biases]
    for quantity in [*shown, *(name for name in biases if name not in shown)]:
        methods = biases[quantity]
        title = f"{QUANTITIES.get(quantity, quantity.replace('_', ' ', 1) + ', relative')}: bias and scatter"
        tables[title[0].upper() + title[1:]] = [
            {
                "method": METHODS[name],
                "": kind,
                **{f"S/N {bin_name(row)}": (row[key], row[f"{key}_error"]) for row in rows},
                "failed": f"{100 * (rows[-1]['failed'] or 0):.1f} %",
            }
            for name, rows in _ordered(methods)
            for kind, key in (("median bias", "median"), ("scatter", "scatter"))
        ]
    return tables


def reconstruction_report(results, stamps, reconstruction, images, planes, title="Reconstruction and deconvolution"):
    """Build the report of the suite.

    Parameters
    ----------
    results : dict
        From `evaluate_reconstruction`.
    stamps : Stamps
        The test stamps.
    reconstruction : Reconstruction
        Of the test stamps.
    images : dict of str to array, (n, y, x, band)
        Deconvolved images by method.
    planes : dict
        From `seen_planes`, of the test stamps.
    title : str

    Returns
    -------
    Report
    """
    tables = result_tables(results)
    counts = ", ".join(f"{count} {name}" for name, count in results["stamps"].items())
    report = Report(title, f"Stamps: {counts}. Signal-to-noise: {results['snr']}.")
    rows = example_rows(planes["snr"])
    report.section("What it looks like")
    report.figure(reconstruction_panel(stamps, reconstruction, rows), "Test stamps from faint to bright.")
    for name, text in (
        ("Codebook", "A perplexity near the size of the codebook means that all codes are used about equally."),
        (CHI2, "1 is expected of a true model that does not fit the noise."),
    ):
        if name in tables:
            report.section(name).text(text).table(tables.pop(name))
    report.figure(chi2_figure(results), "Median chi squared per pixel. Bars are bootstrap errors.")
    report.section("Deconvolution")
    report.text(f"All methods give images in one frame, a round Gaussian of {results['model_sigma']:g} pixels.")
    report.table(tables.pop(ARTEFACTS), caption=ARTEFACTS)
    if "deconvolution" in results:
        _truth_sections(report, results, tables, methods_panel(stamps, images, planes, rows))
    return report


def _truth_sections(report, results, tables, examples):
    """Add what can be said where the truth is known; `tables` are those not shown yet."""
    report.section("Deconvolution against the truth")
    report.figure(examples, "The same stamps by every method.")
    report.figure(error_figure(results), "Squared error over squared truth, median. Lower is better.")
    report.table(tables.pop(ERRORS), caption=ERRORS)
    used = [
        {"method": METHODS[name], **{f"S/N {bin_name(row)}": row["setting"] for row in part["settings"]}}
        for name, part in _ordered(results["deconvolution"])
        if part["settings"]
    ]
    if used:
        tuned = f"the setting that is best on {results['stamps']['tuning']} other stamps"
        report.text(f"Classical methods use, in each bin of signal-to-noise, {tuned}.")
        report.table(used, "Settings: iterations (Richardson-Lucy), balance (Wiener).")
    report.section("Flux, size and shape against the truth")
    report.text("Measured in the same apertures on the truth and on every deconvolved image, the sum of all bands.")
    report.figure(bias_figure(results), "Median difference to the truth; the wide bars are the 68 % scatter.")
    for name, part in tables.items():
        report.table(part, caption=name)


def example_rows(snr, count=6):
    """Return rows of stamps spread evenly over the bins of signal-to-noise, faint to bright."""
    groups = [np.flatnonzero(members) for _, _, members in bin_masks(snr)]
    groups = [list(group) for group in groups if len(group)] or [list(range(len(snr)))]
    chosen = []
    while len(chosen) < count and any(groups):
        chosen += [group.pop(0) for group in groups if group]
    return [int(row) for row in sorted(chosen[:count], key=lambda row: snr[row])]


def methods_panel(stamps, images, planes, rows):
    """Draw the image, what every method makes of it, and the truth, in one stretch for each line."""
    columns = {"image": [], **{METHODS[name]: [] for name, _ in _ordered(images) if name != "none"}, "truth": []}
    for row in rows:
        truth = stamps.truth[row]
        stretch = {"bands": stamps.bands, "variance": planes["variance"][row], "like": truth}
        columns["image"].append(to_rgb(planes["image"][row], **stretch))
        columns["truth"].append(to_rgb(truth, **stretch))
        for name, image in images.items():
            if name != "none":
                columns[METHODS[name]].append(to_rgb(image[row], **stretch))
    return picture_grid(columns, labels=[f"S/N {planes['snr'][row]:.0f}" for row in rows])


def chi2_figure(results):
    """Draw the median chi squared per pixel against signal-to-noise, one line a set of stamps."""
    figure, axis = _figure(6.0, 3.2)
    axis.axhline(1, color="#999999", lw=1)
    for index, (name, rows) in enumerate(results["chi2"].items()):
        colour = SET_COLOURS[index % len(SET_COLOURS)]
        _draw(axis, rows[:-1], "median", colour, "osD^vP"[index % 6], name, 0.06 * index)
    _finish(axis, next(iter(results["chi2"].values()))[:-1], "χ² per pixel")
    return figure


def error_figure(results):
    """Draw the median error of every method against signal-to-noise."""
    figure, axis = _figure(6.0, 3.4)
    for index, (name, part) in enumerate(_ordered(results["deconvolution"])):
        _draw(axis, part["bins"], "median", *STYLES[name], METHODS[name], 0.06 * (index - 1.5))
    axis.set_yscale("log")
    _finish(axis, results["deconvolution"]["model"]["bins"], "squared error / squared truth")
    return figure


def bias_figure(results):
    """Draw bias and scatter of flux, size and ellipticity against signal-to-noise."""
    names = [name for name in QUANTITIES if name in results["bias"]]
    figure, axes = _figure(9.0, 6.0, (2, 2))
    for axis, quantity in zip(np.ravel(axes), names, strict=True):
        axis.axhline(0, color="#999999", lw=1)
        methods = _ordered(results["bias"][quantity])
        for index, (name, rows) in enumerate(methods):
            shift = 0.14 * (index - (len(methods) - 1) / 2)
            for position, row in enumerate(rows[:-1]):
                if row["median"] is not None and row["scatter"] is not None:
                    low, high = row["median"] - row["scatter"], row["median"] + row["scatter"]
                    axis.plot([position + shift] * 2, [low, high], color=STYLES[name][0], lw=5, alpha=0.25)
            _draw(axis, rows[:-1], "median", *STYLES[name], METHODS[name], shift, line=False)
        _finish(axis, methods[0][1][:-1], QUANTITIES[quantity], legend=quantity == names[0])
        # One method that fails must not flatten the others.
        spread = [[row["scatter"] for row in rows[:-1] if row["scatter"] is not None] for _, rows in methods]
        reach = 2.5 * min((max(part) for part in spread[1:] if part), default=0.1)
        reach = max([reach, 0.05, *(2.5 * part for part in spread[0])])
        axis.set_ylim(max(axis.get_ylim()[0], -reach), min(axis.get_ylim()[1], reach))
    return figure


def _figure(width, height, grid=(1, 1)):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(*grid)


def _draw(axis, rows, key, colour, marker, label, shift=0.0, line=True):
    points = [(x + shift, row[key], row[f"{key}_error"] or 0) for x, row in enumerate(rows) if row[key] is not None]
    if points:
        x, y, error = zip(*points, strict=True)
        style = "-" if line else "none"
        axis.errorbar(x, y, error, color=colour, marker=marker, ms=4.5, lw=1.3, ls=style, capsize=2, label=label)


def _finish(axis, rows, label, legend=True):
    axis.set_xticks(range(len(rows)), [bin_name(row) for row in rows])
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.set_xlabel("signal-to-noise")
    axis.set_ylabel(label)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e6e6e6", lw=0.7)
    axis.set_axisbelow(True)
    if legend and axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)


def _ordered(parts):
    """Return the (name, part) pairs of methods in the order in which they are shown."""
    return [(name, parts[name]) for name in METHODS if name in parts]


def _percent(pair):
    if pair is None:
        return None
    value, error = pair["value"], pair["value_error"]
    return (100 * value, None if error is None else 100 * error)
