"""Pictures and report of what was detected in a field."""

import numpy as np

from galzoo.evaluate.report import Report
from galzoo.tasks.detect.measure import FLAGS
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import INK, save

# Most pixels on a side of a picture; larger fields are averaged down, and only so many ellipses are drawn then.
_SIDE, _MOST_ELLIPSES = 1200, 6000
_COLOURS = ("#56c8ff", "#ffd24d", "#ff6fd8", "#7ee787", "#ff7b72", "#79a8ff")
_FIRST_ROWS = 20


def write_report(field, table, search, output, scores):
    """Write ``detections.png`` and ``report.html``, and return their paths."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    overview = picture(field, table, search.classes)
    save(overview, output / "detections.png")
    report = Report("Detected sources", field.name.rpartition("/")[2])
    report.section("Field").table(_summary(field, table, search))
    caption = "The field in colour; ellipses at two sigma of the light, by class: " + ", ".join(
        f"{name} {colour}" for name, colour in zip(search.classes, ("blue", "yellow", "pink", "green"), strict=False)
    )
    report.figure(overview, caption + ".")
    for name, score in scores.items():
        title = "Beside the list of what is there" if name == "truth" else "Artificial sources"
        report.section(title).table(score["summary"])
        report.figure(curves(score["table"]), "By magnitude, with standard errors.")
        if "outcomes" in score:
            report.table(score["outcomes"], "What became of the sources of the list, as shares.")
    report.section("Sources")
    if len(table):
        flags = np.asarray(table["flags"])
        rows = [{"flag": name, "bit": bit, "sources": int(np.sum((flags & bit) > 0))} for name, bit in FLAGS.items()]
        report.table(rows, "Flags; a source may have several.")
        report.table(_brightest(field, table), f"The {min(_FIRST_ROWS, len(table))} brightest sources.")
    else:
        report.text("No source was found, so the catalogue is empty.")
    return [output / "detections.png", report.write(output / "report.html")]


def _summary(field, table, search):
    rows = {
        "bands": ", ".join(field.bands),
        "pixels": f"{field.shape[1]} x {field.shape[0]}, {field.pixel_scale:.3g} arcsec",
        "method": search.about["method"],
        "least probability": search.threshold,
        "FWHM of the PSF": f"{search.fwhm * field.pixel_scale:.2f} arcsec",
        "correlation of the noise": search.classical.correlation,
        "sources": len(table),
    }
    rows |= {f"of class {name}": int(np.sum(np.asarray(table["class"]) == name)) for name in search.classes}
    rows["sum of the probabilities"] = float(np.sum(table["probability"]))
    return [{"": key, "value": value} for key, value in rows.items()]


def _brightest(field, table):
    band = field.bands[len(field.bands) // 2]
    flux = np.nan_to_num(table[f"flux_{band}"].value, nan=-np.inf)
    shown = np.argsort(-flux, kind="stable")[:_FIRST_ROWS]
    return [
        {
            "id": str(row["id"]), "x": row["x"].value, "y": row["y"].value, "class": str(row["class"]),
            "probability": float(row["probability"]),
            f"flux {band} (nJy)": (float(row[f"flux_{band}"].value), float(row[f"flux_err_{band}"].value)),
            f"mag {band}": (float(row[f"mag_{band}"].value), float(row[f"mag_err_{band}"].value)),
            "half-light radius (arcsec)": float(row["half_light_radius"].value), "flags": int(row["flags"]),
        }
        for row in table[shown]
    ]  # fmt: skip


def picture(field, table, classes=(), truth=None):
    """Draw a field with ellipses on the sources of a catalogue, coloured by class, and crosses on those of a list.

    Parameters
    ----------
    field : Field
    table : QTable
        As of `galzoo.tasks.detect.products.make_catalogue`.
    classes : sequence of str
    truth : array, (n, 2), optional
        Positions x, y.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.collections import EllipseCollection
    from matplotlib.figure import Figure

    step = max(1, -(-max(field.shape) // _SIDE))
    image, variance = [], []
    for y in range(0, field.shape[0] - field.shape[0] % step, step):
        planes = field.read(y, y + step, 0, field.shape[1])
        image.append(_average(planes["image"], step))
        variance.append(_average(np.where(planes["mask"], 0, planes["variance"]), step) / step**2)
    image, variance = (np.concatenate(plane) for plane in (image, variance))
    shown = to_rgb(image, field.bands, variance)
    height, width = image.shape[:2]
    scale = 9 / max(height, width)
    figure = Figure(figsize=(width * scale, height * scale), facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(shown, origin="lower", interpolation="nearest", extent=(-0.5, width - 0.5, -0.5, height - 0.5))
    brightest = np.argsort(-np.nan_to_num(np.asarray(table["snr"])), kind="stable")[:_MOST_ELLIPSES]
    table = table[brightest]
    offset = (step - 1) / 2
    for index, name in enumerate(classes or np.unique(np.asarray(table["class"]))):
        here = table[np.asarray(table["class"]) == name]
        if not len(here):
            continue
        a, b = (np.maximum(4 * here[key].value / field.pixel_scale / step, 4) for key in "ab")
        places = np.stack([(here[key].value - offset) / step for key in "xy"], axis=-1)
        ellipses = EllipseCollection(
            a, b, here["theta"].value, units="xy", offsets=places, transOffset=axis.transData, facecolors="none",
            edgecolors=_COLOURS[index % len(_COLOURS)], linewidths=0.7,
        )  # fmt: skip
        axis.add_collection(ellipses)
    if truth is not None:
        x, y = ((truth - offset) / step).T
        axis.plot(x, y, "+", color="white", ms=4, mew=0.6)
    axis.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    axis.set_axis_off()
    return figure


def _average(strip, step):
    """Return the mean of squares of pixels of a strip of `step` rows, (1, x / step, band)."""
    width = strip.shape[1] - strip.shape[1] % step
    return strip[:, :width].reshape(step, width // step, step, -1).mean(axis=(0, 2))[None].astype(np.float32)


def curves(table):
    """Draw completeness, and purity or bias where they are there, by magnitude."""
    from matplotlib.figure import Figure

    measured = "bias" in table.colnames
    figure = Figure(figsize=(9 if measured else 6, 3.4), facecolor="white", layout="constrained")
    axes = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
    middle = (table["low"].value + table["high"].value) / 2
    for name, colour in (("completeness", "#1f6feb"), ("purity", "#d9730d")):
        if name in table.colnames:
            style = {"color": colour, "label": name, "marker": "o", "ms": 3.5, "lw": 1.2, "capsize": 2}
            axes[0].errorbar(middle, np.asarray(table[name]), np.asarray(table[f"{name}_err"]), **style)
    axes[0].set(xlabel="AB magnitude", ylabel="share", ylim=(-0.02, 1.05))
    axes[0].legend(frameon=False, fontsize=8)
    if measured:
        style = {"color": "#1f6feb", "marker": "o", "ms": 3.5, "lw": 1.2, "capsize": 2}
        axes[1].errorbar(middle, table["bias"].value, table["scatter"].value, **style)
        axes[1].axhline(0, color="#999999", lw=0.8)
        axes[1].set(xlabel="AB magnitude", ylabel="measured less true, median and scatter")
    for axis in axes:
        axis.tick_params(labelsize=8, colors=INK)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
