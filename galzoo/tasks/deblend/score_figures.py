"""Figures and the HTML report of the suite "deblend"."""

import numpy as np

from galzoo.evaluate.report import Report
from galzoo.tasks.deblend.score_tables import result_tables, set_tables
from galzoo.tasks.reconstruct.report import SET_COLOURS, bin_name
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import RESIDUAL_SIGMA, picture_grid

MARKERS = "os^vDPX*"
# Pixels around the outermost sources that a picture shows.
MARGIN = 16
# Quantity, what it is binned by, statistic; its label.
CURVES = {
    ("flux", "blendedness", "median"): "flux, relative: median",
    ("flux", "blendedness", "scatter"): "flux, relative: scatter",
    ("ellipticity", "blendedness", "scatter"): "ellipticity: scatter",
    ("found", "blendedness", "share"): "share found",
    ("flux", "magnitude", "scatter"): "flux, relative: scatter",
    ("flux", "separation", "scatter"): "flux, relative: scatter",
}
LABELS = {"blendedness": "blendedness", "magnitude": "magnitude", "separation": "separation / arcsec"}
# Grey of a source that was not found.
MISSED = 150
# Of relative errors; what a method adds of a neighbour ten times as bright need not be seen in full, nor a scatter that
# no noise could bring.
MOST, LEAST = 1.5, 1e-3


def deblending_report(results, scenes, measured, title="Deblending"):
    """Build the report of the suite.

    Parameters
    ----------
    results : dict
        From `evaluate_deblending`.
    scenes : dict of str to Scenes
    measured : dict of str to Measured
        For each set.
    title : str

    Returns
    -------
    Report
    """
    band = results["reference_band"]
    counts = "; ".join(f"{name}: {part['sources']} in {part['scenes']}" for name, part in results["sets"].items())
    report = Report(title, f"Sources in scenes: {counts}. Reference band {band}.")
    report.text(
        "Every method sees the same scenes. Fluxes are compared with the sum of the source's isolated noiseless image. "
        f"What methods find by themselves is matched one to one to the truth, within {results['match_pixels']:g} "
        "pixels, and they are scored on what they find. Errors are by bootstrap over scenes; scatter is half the width "
        "that holds the central 68 %."
    )
    if len(results["sets"]) > 1:
        name, rows = next(iter(result_tables(results).items()))
        report.section("All sets").table(rows, caption=name)
        if len(_widths(results)) > 1:
            report.figure(psf_figure(results), f"Scatter of the {band} flux against the width of the PSF.")
    for name, part in results["sets"].items():
        report.section(name if len(results["sets"]) > 1 else "What it looks like")
        for example in measured[name].examples:
            figure = scene_figure(example, scenes[name].bands)
            text = "A scene, its residual in sigma of all bands together, and its sources; the truth on top."
            report.figure(figure, text)
        report.figure(curves_figure(part), "By blendedness, magnitude and separation. Bars are bootstrap errors.")
        for caption, rows in set_tables(part, band).items():
            report.table(rows, caption=caption)
    return report


def scene_figure(example, bands):
    """Draw a scene and its sources as they are and as every method has them.

    Parameters
    ----------
    example : dict
        Of `galzoo.tasks.deblend.scores.Measured`.
    bands : sequence of str

    Returns
    -------
    matplotlib.figure.Figure
    """
    box = _box(example["positions"][: example["count"]], example["image"].shape)
    # The outermost of many bands are the noisiest.
    shown = slice(1, -1) if len(bands) > 4 else slice(None)
    box, bands = (*box, shown), bands[shown]
    image, variance, mask = (example[key][box] for key in ("image", "variance", "mask"))
    count = example["count"]
    stretch = {"bands": bands, "variance": variance, "like": image}
    made = {"truth": example["isolated"][:count], **{key: part[:count] for key, part in example["methods"].items()}}
    blank = np.full((*image.shape[:2], 3), 255, np.uint8)
    columns = {"scene, sum": [to_rgb(image, **stretch)], "residual": [blank]}
    columns |= {f"source {index + 1}": [blank] for index in range(count)}
    for sources in made.values():
        parts = [np.nan_to_num(source[box]) for source in sources]
        total = np.sum(parts, axis=0)
        pictures = [to_rgb(total, **stretch), _residual_picture(image - total, variance, mask)]
        # A source that was not found has no light at all.
        pictures += [to_rgb(part, **stretch) if part.any() else np.full_like(blank, MISSED) for part in parts]
        for column, picture in zip(columns.values(), pictures, strict=True):
            column.append(picture)
    return picture_grid(columns, labels=["observed", *made])


def _box(positions, shape):
    """Return the slices of a square around the sources, within the image."""
    height, width = shape[:2]
    middle = positions.mean(axis=0)
    half = int(np.ceil(np.abs(positions - middle).max(initial=0.0))) + MARGIN
    side = min(2 * half + 1, height, width)
    x0, y0 = (
        int(np.clip(round(m) - side // 2, 0, size - side)) for m, size in zip(middle, (width, height), strict=True)
    )
    return slice(y0, y0 + side), slice(x0, x0 + side)


def _residual_picture(difference, variance, mask):
    """Return the residual of all bands together in units of its noise as a picture; masked pixels are grey."""
    from matplotlib import colormaps

    good = np.isfinite(variance) & ~mask
    scaled = np.where(good, difference / np.sqrt(np.where(good, variance, 1.0)), 0.0)
    count = good.sum(axis=-1)
    total = scaled.sum(axis=-1) / np.sqrt(np.maximum(count, 1))
    picture = colormaps["RdBu_r"](0.5 + 0.5 * np.clip(total / RESIDUAL_SIGMA, -1, 1), bytes=True)[..., :3]
    return np.where((count > 0)[..., None], picture, np.uint8(153))


def curves_figure(part):
    """Draw bias, scatter and completeness of every method in bins of blendedness, magnitude and separation."""
    methods = part["methods"]
    shown = {key: label for key, label in CURVES.items() if all(key[1] in one[key[0]] for one in methods.values())}
    figure, axes = _figure(11.0, 6.4, (2, -(-len(shown) // 2)))
    for axis, ((quantity, by, key), label) in zip(axes.flat, shown.items(), strict=False):
        # Only what finds sources by itself can miss one.
        drawn = {name: one[quantity][by] for name, one in methods.items() if quantity != "found" or "purity" in one}
        filled = [any(rows[x]["n"] for rows in drawn.values()) for x in range(len(next(iter(drawn.values()), ())))]
        for index, name in enumerate(methods):
            rows = [row for row, some in zip(drawn.get(name, ()), filled, strict=False) if some]
            shift = 0.07 * (index - (len(methods) - 1) / 2)
            points = [
                (x + shift, row[key], row[f"{key}_error"] or 0) for x, row in enumerate(rows) if row[key] is not None
            ]
            if points:
                x, y, error = zip(*points, strict=True)
                y = np.maximum(y, LEAST) if key == "scatter" else y
                axis.errorbar(x, y, error, **_style(index), label=name)
                axis.set_xticks(range(len(rows)), [bin_name(row) for row in rows], fontsize=8)
        if key == "median":
            axis.set_ylim(max(axis.get_ylim()[0], -MOST), min(axis.get_ylim()[1], MOST))
        elif key == "scatter":
            axis.set_yscale("log")
            axis.set_ylim(bottom=LEAST)
        _finish(axis, LABELS[by], label)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    axes.flat[0].legend(frameon=False, fontsize=7)
    return figure


def psf_figure(results):
    """Draw the scatter of the flux of every method against the width of the PSF, one point a set."""
    figure, axis = _figure(6.0, 3.6, (1, 1))
    axis = axis.flat[0]
    names = list(dict.fromkeys(name for part in results["sets"].values() for name in part["methods"]))
    for index, name in enumerate(names):
        points = sorted(
            (part["psf_fwhm"], row["scatter"], row["scatter_error"] or 0)
            for part in results["sets"].values()
            if part["psf_fwhm"] is not None and name in part["methods"]
            for row in [part["methods"][name]["flux"]["all"]]
            if row["scatter"] is not None
        )
        if points:
            x, y, error = zip(*points, strict=True)
            # No lines: sets are of other galaxies, too, and may have the same PSF.
            axis.errorbar(x, np.maximum(y, LEAST), error, **_style(index) | {"ls": "none"}, label=name)
    axis.set_yscale("log")
    axis.set_ylim(bottom=LEAST)
    _finish(axis, "PSF FWHM / arcsec", "flux, scatter")
    axis.legend(frameon=False, fontsize=8)
    return figure


def _widths(results):
    return {round(part["psf_fwhm"], 3) for part in results["sets"].values() if part["psf_fwhm"] is not None}


def _style(index):
    colour = SET_COLOURS[index % len(SET_COLOURS)]
    return {"color": colour, "marker": MARKERS[index % len(MARKERS)], "ms": 4, "lw": 1.2, "capsize": 2}


def _figure(width, height, grid):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(*grid, squeeze=False)


def _finish(axis, x, y):
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e6e6e6", lw=0.7)
    axis.set_axisbelow(True)
