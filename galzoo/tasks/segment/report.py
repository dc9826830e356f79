"""Pictures and report of a segmented field."""

import numpy as np

from galzoo.evaluate.report import Report
from galzoo.tasks.segment.catalogue import FLAGS
from galzoo.tasks.segment.colours import class_picture, legend
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import INK, save

# Most pixels on a side of a picture; larger fields are averaged down.
_SIDE = 1200
_ZOOMS, _ZOOM_SIDE, _FIRST_ROWS = 6, 96, 20


def write_report(field, segmented, table, band, output, about):
    """Write ``classes.png``, ``field.png`` and ``report.html``.

    Parameters
    ----------
    field : galzoo.field.field.Field
    segmented : galzoo.contracts.segmentation.Segmented
    table : QTable
        The catalogue.
    band : str
        Band that sets the brightness.
    output : Path
    about : dict

    Returns
    -------
    list of Path
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    import matplotlib.image

    from galzoo.files import atomic_path

    step = max(1, -(-max(field.shape) // _SIDE))
    light, snr, votes = _small(field, segmented, band, step)
    with atomic_path(output / "classes.png") as path:
        matplotlib.image.imsave(path, class_picture(votes, segmented.classes), origin="lower")
    pictures = [light, class_picture(votes, segmented.classes), class_picture(votes, segmented.classes, snr)]
    overview = _draw([pictures], segmented.classes)
    save(overview, output / "field.png")
    report = Report("Segmented field", field.name.rpartition("/")[2])
    report.section("Field").table(_summary(field, segmented, table, about))
    report.figure(
        overview,
        "The field; its classes, as bright as the votes against the background; the same, as bright as the light. Hue: "
        "the class with most votes; pale where the second is near.",
    )
    if len(table):
        report.section("Classes").table(_counts(segmented, table), "Sources by their most probable class, and pixels.")
        report.figure(_zooms(field, segmented, table, band), "The brightest sources: light, classes, segments.")
        report.section("Sources").table(
            _brightest(table, band), f"The {min(_FIRST_ROWS, len(table))} brightest sources."
        )
    else:
        report.text("No source was found, so the catalogue is empty.")
    return [output / "classes.png", output / "field.png", report.write(output / "report.html")]


def _summary(field, segmented, table, about):
    flags = np.asarray(table["flags"])
    rows = {
        "bands": ", ".join(field.bands),
        "pixels": f"{field.shape[1]} x {field.shape[0]}, {field.pixel_scale:.3g} arcsec",
        "preset": about["preset"],
        "windows": f"every {about['stride']} pixels" if about["stride"] > 1 else "at every pixel (exact)",
        "most windows on a pixel": int(segmented.windows.max()),
        "pixels without a vote": int(np.sum(segmented.windows == 0)),
        "sources": len(table),
    } | {f"flag {name}": int(np.sum((flags & bit) > 0)) for name, bit in FLAGS.items()}
    return [{"": key, "value": value} for key, value in rows.items()]


def _counts(segmented, table):
    best = segmented.votes.argmax(axis=0)
    voted = segmented.windows > 0
    found = np.asarray(table["class"])
    return [
        {
            "class": name.replace("_", " "),
            "sources": int(np.sum(found == name)) if index < len(segmented.classes) - 1 else None,
            "pixels": f"{100 * np.mean(best[voted] == index):.2f} %",
        }
        for index, name in enumerate(segmented.classes)
    ]


def _order(table, band):
    return np.argsort(-np.nan_to_num(table[f"flux_{band}"].value, nan=-np.inf), kind="stable")


def _brightest(table, band):
    names = [name for name in table.colnames if name.startswith("p_")]
    return [
        {
            "id": int(row["id"]), "x": float(row["x"].value), "y": float(row["y"].value), "pixels": int(row["npix"]),
            f"mag {band}": (float(row[f"mag_{band}"].value), float(row[f"mag_err_{band}"].value)),
            "S/N": float(row["snr"]), "class": str(row["class"]).replace("_", " "),
            **{name[2:].replace("_", " "): float(row[name]) for name in names}, "flags": int(row["flags"]),
        }
        for row in table[_order(table, band)[:_FIRST_ROWS]]
    ]  # fmt: skip


def _small(field, segmented, band, step):
    """Return a picture of the light, the light over its noise, and the votes, averaged down by `step`."""
    images, noise, votes = [], [], []
    for y in range(0, field.shape[0] - field.shape[0] % step, step):
        planes = field.read(y, y + step, 0, field.shape[1])
        images.append(_average(planes["image"], step))
        noise.append(_average(np.where(planes["mask"], 0, planes["variance"]), step) / step**2)
        votes.append(_average(np.moveaxis(segmented.votes[:, y : y + step], 0, -1), step))
    image, variance, votes = (np.concatenate(rows) for rows in (images, noise, votes))
    index = field.bands.index(band)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.nan_to_num(image[..., index] / np.sqrt(variance[..., index]), posinf=0.0, neginf=0.0)
    return to_rgb(image, field.bands, variance), snr, np.moveaxis(votes, -1, 0)


def _average(strip, step):
    width = strip.shape[1] - strip.shape[1] % step
    return strip[:, :width].reshape(step, width // step, step, -1).mean(axis=(0, 2))[None].astype(np.float32)


def _zooms(field, segmented, table, band):
    """Draw light, classes and segments of the brightest sources."""
    rows = []
    for row in table[_order(table, band)[:_ZOOMS]]:
        side = min(_ZOOM_SIDE, *field.shape)
        x0 = int(np.clip(row["x"].value - side / 2, 0, field.shape[1] - side))
        y0 = int(np.clip(row["y"].value - side / 2, 0, field.shape[0] - side))
        planes = field.read(y0, y0 + side, x0, x0 + side)
        window = np.s_[y0 : y0 + side, x0 : x0 + side]
        index = field.bands.index(band)
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = planes["image"][..., index] / np.sqrt(planes["variance"][..., index])
        votes = np.asarray(segmented.votes[(slice(None), *window)])
        light = to_rgb(planes["image"], field.bands, np.where(planes["mask"], np.nan, planes["variance"]))
        rows.append(
            [light, class_picture(votes, segmented.classes, snr), segments_picture(segmented.segmentation[window])]
        )
    return _draw(rows, segmented.classes, ("light", "classes", "segments"))


def segments_picture(labels):
    """Return segments in colours that neighbours hardly share, uint8 (y, x, 3); grey where nothing voted."""
    from matplotlib.colors import hsv_to_rgb

    # Steps of the golden ratio around the circle of hues.
    hue = (np.maximum(labels, 0) * 0.618034) % 1
    rgb = hsv_to_rgb(np.stack([hue, np.full(hue.shape, 0.75), np.full(hue.shape, 0.95)], axis=-1))
    rgb = np.where((labels > 0)[..., None], rgb, np.where((labels < 0)[..., None], 0.35, 0.0))
    return np.round(255 * rgb).astype(np.uint8)


def _draw(rows, classes, titles=("light", "classes", "classes, by their light")):
    import matplotlib.pyplot as plt

    height, width = rows[0][0].shape[:2]
    side = 4.0 if len(rows) == 1 else 2.4
    size = (side * len(titles) * width / max(height, width), side * len(rows) * height / max(height, width) + 0.3)
    figure, axes = plt.subplots(len(rows), len(titles), figsize=size, squeeze=False, layout="constrained")
    for line, pictures in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture, origin="lower", interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9, color=INK)
    legend(axes[0, 1], classes)
    plt.close(figure)
    return figure
