"""Tables, pictures and the HTML report of the suite "pairs", and the picture that training leaves behind."""

import numpy as np

from galzoo.evaluate.report import Report
from galzoo.tasks.reconstruct.report import bin_name
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import picture_grid, save

METHODS = {
    "model": "galzoo",
    "sep": "SEP segments",
    "half": "half of the blend",
    "blend": "the blend itself",
}
MEASURES = {"psnr": "PSNR in dB", "ssim": "SSIM"}
GALAXIES = {"first": "centred galaxy", "other": "other galaxy"}
# Okabe & Ito's colours; markers tell methods apart without colour.
STYLES = {"model": ("#0072B2", "o"), "sep": ("#D55E00", "s"), "half": ("#009E73", "^"), "blend": ("#777777", "D")}


def result_tables(results):
    """Return the tables of `evaluate_pairs`, title -> rows of dicts."""
    tables = {}
    for measure, text in MEASURES.items():
        tables[f"{text} by distance of the galaxies in pixels, mean"] = [
            {
                "method": METHODS[name],
                "galaxy": GALAXIES[galaxy],
                **{
                    bin_name(row): (row["mean"], row["mean_error"])
                    for row in scores[galaxy][measure]["bins"]
                    if row["n"]
                },
                "all": _pair(scores[galaxy][measure]["all"]),
            }
            for name, scores in _ordered(results["scores"])
            for galaxy in GALAXIES
        ]
    summary = {
        f"{MEASURES[measure]} over the best other method": _pair(gain) for measure, gain in results["gain"].items()
    }
    diversity = results["diversity"]
    tables["Summary"] = [
        {
            "blends": results["pairs"],
            **summary,
            "split by SEP": _pair(results["sep_split"]),
            "spread of draws over error": "one answer" if diversity is None else _pair(diversity),
        }
    ]
    if "flux" in results:
        tables["Relative error of the flux, all bands"] = [
            {
                "method": METHODS[name],
                "median": (part["median"], part["median_error"]),
                "scatter": (part["scatter"], part["scatter_error"]),
            }
            for name, part in _ordered(results["flux"])
        ]
    return tables


def pairs_report(results, blends, methods, scores, bands, title="Pairs"):
    """Build the report of the suite.

    Parameters
    ----------
    results : dict
        From `evaluate_pairs`.
    blends : dict of arrays
        ``image, variance, isolated, positions, n_sources``.
    methods : dict of str to array, (n, source, y, x, band)
        What each method made of the blends.
    scores : dict of str to dict
        Method -> measure -> (n, source).
    bands : sequence of str
    title : str

    Returns
    -------
    Report
    """
    report = Report(title, f"{results['pairs']} blends of galaxies that training never saw.")
    report.section("What it looks like")
    psnr = np.nanmean(scores["model"]["psnr"], axis=1)
    order = np.argsort(psnr)
    rows = [int(order[int(share * (len(order) - 1))]) for share in (0.98, 0.8, 0.6, 0.4, 0.2, 0.02)]
    report.figure(
        pairs_panel(blends, methods, bands, rows, [f"{psnr[row]:.1f} dB" for row in rows], results["unit"] == ""),
        "Blends from well to badly separated.",
    )
    report.section("Scores").text(
        "The same blends for every method. SEP is told where the galaxies are; each pixel of the blend goes to its "
        "segment. The blend itself and half of it say what doing nothing is worth."
    )
    report.figure(score_figure(results), "Mean over blends and its bootstrap error.")
    for name, table in result_tables(results).items():
        report.table(table, caption=name)
    return report


def pairs_panel(blends, methods, bands, rows, labels=None, picture=False):
    """Draw blends, their true galaxies and what methods make of them, two galaxies each.

    Parameters
    ----------
    blends, methods, bands
        As in `pairs_report`.
    rows : sequence of int
        Which blends.
    labels : sequence of str, optional
        One a blend.
    picture : bool
        Pixels are those of 8-bit pictures and shown as they are.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = {"blend": []}
    shown = [name for name in ("model", "sep") if name in methods]
    for kind in ("truth", *(METHODS[name] for name in shown)):
        columns |= {f"{kind} {source}": [] for source in (1, 2)}
    for row in rows:
        image = blends["image"][row]
        stretch = {"bands": bands, "variance": blends["variance"][row], "like": image}
        if picture:
            image = np.round(np.clip(image, 0, 255)).astype(np.uint8)
            stretch = {"bands": bands, "like": image}
        columns["blend"].append(to_rgb(image, **stretch))
        for source in (1, 2):
            columns[f"truth {source}"].append(to_rgb(blends["isolated"][row, source - 1], **stretch))
            for name in shown:
                columns[f"{METHODS[name]} {source}"].append(to_rgb(methods[name][row, source - 1], **stretch))
    return picture_grid(columns, labels=labels)


def score_figure(results):
    """Draw PSNR and SSIM of every method against the distance of the galaxies, one panel a measure and galaxy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.4), layout="constrained", facecolor="white")
    axes = figure.subplots(len(MEASURES), len(GALAXIES), squeeze=False)
    for line, (measure, text) in enumerate(MEASURES.items()):
        for column, (galaxy, title) in enumerate(GALAXIES.items()):
            axis = axes[line, column]
            for name, scores in _ordered(results["scores"]):
                rows = scores[galaxy][measure]["bins"]
                points = [
                    (x, row["mean"], row["mean_error"] or 0) for x, row in enumerate(rows) if row["mean"] is not None
                ]
                if points:
                    colour, marker = STYLES[name]
                    x, y, error = zip(*points, strict=True)
                    axis.errorbar(
                        x, y, error, color=colour, marker=marker, ms=4.5, lw=1.3, capsize=2, label=METHODS[name]
                    )
            axis.set_xticks(range(len(rows)), [bin_name(row) for row in rows])
            axis.set(ylabel=text, title=title if line == 0 else "")
            axis.set_xlabel("distance of the galaxies in pixels" if line else "")
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", color="#e6e6e6", lw=0.7)
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(frameon=False, fontsize=8)
    return figure


def draw_batch(model, batch, path):
    """Draw the blends that a model makes of a batch beside its answer; the picture of a training every few epochs."""
    keys = ("image", "variance", "isolated")
    blends = {key: np.asarray(value) for key, value in model.blends(batch).items() if key in keys}
    outputs = model({key: blends[key] for key in ("image", "variance")})
    methods = {"model": np.asarray(outputs["isolated"])}
    picture = model.output_kind == "tanh"
    save(pairs_panel(blends, methods, model.bands, range(len(blends["image"])), picture=picture), path)


def _ordered(parts):
    return [(name, parts[name]) for name in METHODS if name in parts]


def _pair(part):
    return part["value"], part["value_error"]
