"""Figures and the HTML report of the suite "realism"."""

import numpy as np

from galzoo.evaluate.report import Report
from galzoo.tasks.sample.realism_tables import SETS, VIEWS, result_tables
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import picture_grid, save

PAGE = "samples_beside_real.png"
# Okabe & Ito's colours, told apart with any colour vision.
COLOURS = {"real": "#777777", "samples": "#0072B2", "codec": "#D55E00"}
# Galaxies on a page, in a square.
SIDE = 7
GAP = 2


def realism_report(results, test, parts, folder, title):
    """Build the report of the suite, and write the page of samples beside real galaxies into a folder.

    Parameters
    ----------
    results : dict
        From `evaluate_realism`.
    test : Stamps
    parts : dict
        ``views``, ``rows`` (test galaxies that they are of), ``tables`` (view -> set -> statistics), ``pairs`` (the
        closest, with ``bands``) and ``measured`` (condition -> asked and got).
    folder : Path
    title : str

    Returns
    -------
    Report
    """
    counts = results["objects"]
    report = Report(title, f"{test.survey} {', '.join(test.bands)}: {counts['test']} held-out galaxies")
    tables = result_tables(results)

    def show(start):
        for name in [name for name in tables if name.startswith(start)]:
            if tables[name]:
                report.table(tables[name], caption=name)
            del tables[name]

    report.section("What it looks like")
    if len(parts["rows"]):
        save(page_figure(test, parts["views"]["observed"], parts["rows"]), folder / PAGE)
        text = "Real galaxies and samples for the same conditions, place by place, in the stretch of the real one."
        report.figure(folder / PAGE, text)
    report.text(f"Samples are shown, and measured, {results['view']}.")
    report.section("Likelihood")
    report.text("Nats of galaxies that training never saw; fewer is better. Differences are galaxy by galaxy.")
    show("Held-out nats")
    show("What a condition is worth")
    if "statistics" in results:
        report.section("Distributions")
        report.text(
            f"{counts['compared']} galaxies and samples; the Wasserstein distance of each statistic over the standard "
            "deviation of the real ones. Two sets of real galaxies of this size are not at distance 0 either; those "
            "through the codec are the test galaxies themselves, and may be nearer."
        )
        for view, part in results["statistics"].items():
            show(f"Distance to real galaxies in standard deviations, {VIEWS[view]}")
            if part["left_out"]:
                why = "; ".join(f"{name.replace('_', ' ')}: {text}" for name, text in part["left_out"].items())
                report.text(f"Left out, {VIEWS[view]}: {why}.")
            report.figure(histograms(parts["tables"][view]), f"Distributions of what is measured, {VIEWS[view]}.")
        show("Wavelet scattering")
        report.figure(spectrum_figure(results["power_spectrum"]), "Mean power over that of the test galaxies.")
        show("Power over")
    if results["conditions"]:
        report.section("Asked and got")
        measured = {name: part for name, part in parts["measured"].items() if not results["conditions"][name]["set"]}
        if measured:
            report.figure(asked_figure(measured), "What was got for what was asked.")
        for name in results["conditions"]:
            show(f"Got for {name} ")
            show(f"{name}, judged")
    report.section("Memory")
    report.text(
        f"Distances between {results['memorisation']['what']} of unit norm, the least over turns and flips. Samples of "
        "a model that copies are nearer to its training galaxies than test galaxies are."
    )
    text = "The closest of all samples, and the closest of all test galaxies, with both distances."
    report.figure(pairs_figure(parts["pairs"]), text)
    for name, rows in tables.items():
        report.table(rows, caption=name)
    if results["skipped"]:
        report.section("Left out")
        report.table([{"what": name, "why": why} for name, why in results["skipped"].items()])
    return report


def page_figure(test, view, rows):
    """Draw a page of real galaxies beside one of samples."""
    number = min(SIDE**2, len(rows))
    chosen = np.linspace(0, len(rows) - 1, number).astype(int)
    columns = {}
    for name in ("real", "samples", "codec"):
        if name in view.images:
            columns[SETS[name]] = _page(test, view, name, rows, chosen)
    return _wide(columns)


def _page(test, view, name, rows, chosen):
    """Return one picture of many galaxies, each in the stretch of the real one in its place."""
    height, width = test.shape
    side = int(np.ceil(np.sqrt(len(chosen))))
    picture = np.full((side * (height + GAP) - GAP, side * (width + GAP) - GAP, 3), 255, np.uint8)
    for place, row in enumerate(chosen):
        real, image = (view.images[key][row] for key in ("real", name))
        if test.unit:
            variance = None if view.sigma is None else np.broadcast_to(view.sigma["real"][row] ** 2, real.shape)
            tile = to_rgb(image, bands=test.bands, variance=variance, like=real)
        else:
            tile = to_rgb(image.astype(np.uint8), bands=test.bands, like=real.astype(np.uint8))
        # Pictures are drawn from the bottom up.
        y, x = (side - 1 - place // side) * (height + GAP), place % side * (width + GAP)
        picture[y : y + height, x : x + width] = tile
    return picture


def _wide(columns):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(columns), 5.5), layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for axis, (name, picture) in zip(axes, columns.items(), strict=True):
        axis.imshow(picture, origin="lower", interpolation="nearest")
        axis.set_title(name, fontsize=11, loc="left")
        axis.set_axis_off()
    return figure


def histograms(table):
    """Draw the distribution of each statistic of each set."""
    names = [name for name, values in table["real"].items() if np.isfinite(values).sum() > 1]
    lines = -(-len(names) // 4)
    figure, axes = _figure(11.0, 2.3 * max(lines, 1), (max(lines, 1), 4))
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for index, name in enumerate(names):
        axis = axes.flat[index]
        sets = {key: table[key][name][np.isfinite(table[key][name])] for key in SETS if key in table}
        low, high = np.percentile(np.concatenate(list(sets.values())), [0.5, 99.5])
        edges = np.linspace(low, high if high > low else low + 1, 26)
        for key, values in sets.items():
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                style = {"histtype": "stepfilled", "alpha": 0.35} if key == "real" else {"histtype": "step", "lw": 1.5}
                axis.hist(values, edges, weights=weights, color=COLOURS[key], label=SETS[key], **style)
        axis.set_xlabel(name.replace("_", " ") + (" / pixels" if name == "half_light_radius" else ""))
        _tidy(axis)
        axis.set_yticks([])
        if not index:
            axis.legend(frameon=False, fontsize=7)
    return figure


def spectrum_figure(spectrum):
    """Draw the power of samples over that of real galaxies against frequency."""
    figure, axes = _figure(6.5, 3.3)
    axis = axes.flat[0]
    axis.axhline(1, color="#999999", lw=1)
    for name in ("real", "codec", "samples"):
        if name in spectrum:
            ratio, error = (np.array(spectrum[name][key], dtype=float) for key in ("ratio", "error"))
            label = "other real galaxies" if name == "real" else SETS[name]
            axis.plot(spectrum["frequency"], ratio, color=COLOURS[name], lw=1.5, label=label)
            band = np.maximum(ratio - error, 1e-9), ratio + error
            axis.fill_between(spectrum["frequency"], *band, color=COLOURS[name], alpha=0.2, lw=0)
    axis.set_yscale("log")
    _plain_ticks(axis.yaxis)
    axis.set_xlabel("cycles per pixel")
    axis.set_ylabel("power over that of real galaxies")
    axis.legend(frameon=False, fontsize=8)
    _tidy(axis)
    return figure


def asked_figure(measured):
    """Draw what was got against what was asked, samples and real galaxies."""
    figure, axes = _figure(4.2 * len(measured), 3.8, (1, len(measured)))
    for axis, (name, part) in zip(axes.flat, measured.items(), strict=True):
        asked = part["asked"]
        for key in ("real", "samples"):
            axis.plot(asked, part[key], ".", ms=3, alpha=0.5, color=COLOURS[key], label=SETS[key])
        span = [np.nanmin(asked), np.nanmax(asked)]
        axis.plot(span, span, color="#222222", lw=1)
        axis.set(xscale="log", yscale="log", xlabel=f"asked: {name.replace('_', ' ')}", ylabel="got")
        _plain_ticks(axis.xaxis)
        _plain_ticks(axis.yaxis)
        axis.legend(frameon=False, fontsize=8)
        _tidy(axis)
    return figure


def pairs_figure(pairs, count=6):
    """Draw the closest samples and test galaxies beside their nearest training galaxies."""
    columns, labels = {}, []
    for name, (images, nearest, distance) in pairs["pairs"].items():
        for title, part in ((f"{name}", images), ("nearest in training", nearest)):
            # Titles are keys, so the second of a name gets a blank.
            columns[title if title not in columns else f"{title} "] = [
                _unit_picture(image, pairs["bands"], pairs["pictures"]) for image in part[:count]
            ]
        labels.append([f"{value:.2f}" for value in distance[:count]])
    return picture_grid(columns, labels=[" and ".join(line) for line in zip(*labels, strict=True)])


def _unit_picture(image, bands, picture):
    """Return the colours of an image scaled to a peak of 1; a picture of 8 bits is shown as it is."""
    if picture:
        return to_rgb(np.clip(image, 0, 255).astype(np.uint8), bands=bands)
    unit = image / max(np.abs(image).max(), 1e-30)
    return to_rgb(unit, bands=bands, variance=np.full(unit.shape, 3e-3**2), like=np.ones_like(unit))


def _figure(width, height, grid=(1, 1)):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(*grid, squeeze=False)


def _plain_ticks(axis):
    """Label 1, 2 and 5 of each decade of a logarithmic axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _tidy(axis):
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#ececec", lw=0.6)
    axis.set_axisbelow(True)
