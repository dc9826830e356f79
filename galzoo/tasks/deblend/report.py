"""Pictures and report of a deblended field."""

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.evaluate.report import Report
from galzoo.resources import release
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import INK, RESIDUAL_SIGMA, save

# Most pixels on a side of a picture; larger fields are averaged down.
_SIDE = 1200
_ZOOMS, _ZOOM_SIDE = 6, 96
_FIRST_ROWS = 20
_RESIDUAL = "residual / σ"


def write_report(field, table, model, residual, output, about):
    """Write ``field.png`` and ``report.html``.

    Parameters
    ----------
    field : Field
    table : QTable
        The catalogue.
    model, residual : array, (band, y, x)
    output : Path
    about : dict

    Returns
    -------
    list of Path
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    overview = _overview(field, model, residual)
    save(overview, output / "field.png")
    report = Report("Deblended field", field.name.rpartition("/")[2])
    report.section("Field").table(_summary(field, table, about))
    report.figure(
        overview,
        f"The field, the sum of the deblended sources, and what is left over the noise, to {RESIDUAL_SIGMA:g} σ.",
    )
    if len(table):
        report.section("Crowded groups")
        report.figure(
            _zooms(field, table, model, residual),
            "The groups with most sources: data, model, residual. Crosses: sources; circles: added by the residual.",
        )
        report.section("Sources").table(_counts(table), "Flags; a source may have several.")
        report.table(_brightest(field, table), f"The {min(_FIRST_ROWS, len(table))} brightest sources; flux in nJy.")
    else:
        report.text("No source was found, so the catalogue is empty and the model is zero.")
    return [output / "field.png", report.write(output / "report.html")]


def _summary(field, table, about):
    lost = (table["flags"] & FLAGS["fallback"]) > 0
    chi2 = np.unique(np.stack([table["group"], table["chi2"]], axis=-1), axis=0)[:, 1]
    rows = {
        "bands": ", ".join(field.bands),
        "pixels": f"{field.shape[1]} x {field.shape[0]}, {field.pixel_scale:.3g} arcsec",
        "preset": about.get("preset", ""),
        "method": about.get("method", ""),
        "FWHM of the PSF": f"{about['fwhm'] * field.pixel_scale:.2f} arcsec",
        "correlation of the noise": about["correlation"],
        "sources": len(table),
        "groups": len(np.unique(table["group"])),
        "blended sources": int(np.sum(table["n_in_group"] > 1)),
        "added by the residual": int(np.sum((table["flags"] & FLAGS["added"]) > 0)),
        "fall-back to the aperture": int(lost.sum()),
        "median chi2 of the groups": float(np.nanmedian(chi2)) if np.isfinite(chi2).any() else None,
    }
    return [{"": key, "value": value} for key, value in rows.items()]


def _counts(table):
    flags = np.asarray(table["flags"])
    return [{"flag": name, "bit": bit, "sources": int(np.sum((flags & bit) > 0))} for name, bit in FLAGS.items()]


def _brightest(field, table):
    middle = field.bands[len(field.bands) // 2]
    flux = np.nan_to_num(table[f"flux_{middle}"].value, nan=-np.inf)
    shown = np.argsort(-flux, kind="stable")[:_FIRST_ROWS]
    return [
        {
            "id": str(row["id"]), "x": row["x"].value, "y": row["y"].value, "in group": int(row["n_in_group"]),
            f"flux {middle}": (float(row[f"flux_{middle}"].value), float(row[f"flux_err_{middle}"].value)),
            f"mag {middle}": (float(row[f"mag_{middle}"].value), float(row[f"mag_err_{middle}"].value)),
            f"blendedness {middle}": float(row[f"blendedness_{middle}"]),
            "half-light radius": (float(row["half_light_radius"].value), float(row["half_light_radius_err"].value)),
            "chi2": float(row["chi2"]), "flags": int(row["flags"]),
        }
        for row in table[shown]
    ]  # fmt: skip


def _overview(field, model, residual):
    """Draw field, model and residual side by side, averaged down to a size that can be seen."""
    step = max(1, -(-max(field.shape) // _SIDE))
    rows = range(0, field.shape[0] - field.shape[0] % step, step)
    data, noise, small_model, small_residual = [], [], [], []
    for y in rows:
        planes = field.read(y, y + step, 0, field.shape[1])
        data.append(_average(planes["image"], step))
        noise.append(_average(np.where(planes["mask"], 0, planes["variance"]), step) / step**2)
        small_model.append(_average(np.moveaxis(np.asarray(model[:, y : y + step]), 0, -1), step))
        left = np.nan_to_num(np.moveaxis(np.asarray(residual[:, y : y + step]), 0, -1))
        small_residual.append(_average(left, step))
        release(model, residual)
    planes = [np.concatenate(rows) for rows in (data, small_model, small_residual)]
    variance = np.concatenate(noise)
    pictures = [to_rgb(plane, field.bands, variance, like=planes[0]) for plane in planes[:2]]
    sky = None if field.wcs is None else field.wcs.celestial[::step, ::step]
    return _draw([[*pictures, _in_sigma(planes[2], variance)]], ("field", "model", _RESIDUAL), sky=sky)


def _in_sigma(residual, variance):
    """Return the residual of all bands together in units of its noise, (y, x); NaN where no band has data."""
    good = np.isfinite(residual) & np.isfinite(variance) & (variance > 0)
    scaled = np.where(good, residual / np.sqrt(np.where(good, variance, 1.0)), 0.0)
    count = good.sum(axis=-1)
    return np.divide(scaled.sum(axis=-1), np.sqrt(count), out=np.full(count.shape, np.nan), where=count > 0)


def _average(strip, step):
    """Return the mean of squares of pixels of a strip of `step` rows, (1, x / step, band)."""
    width = strip.shape[1] - strip.shape[1] % step
    return strip[:, :width].reshape(step, width // step, step, -1).mean(axis=(0, 2))[None].astype(np.float32)


def _zooms(field, table, model, residual):
    """Draw data, model and residual of the groups with most sources."""
    groups, counts = np.unique(np.asarray(table["group"]), return_counts=True)
    rows, marks = [], []
    for group in groups[np.argsort(-counts, kind="stable")[:_ZOOMS]]:
        here = table[table["group"] == group]
        x, y = here["x"].value, here["y"].value
        side = min(_ZOOM_SIDE, *field.shape)
        x0 = int(np.clip(np.mean(x) - side / 2, 0, field.shape[1] - side))
        y0 = int(np.clip(np.mean(y) - side / 2, 0, field.shape[0] - side))
        planes = field.read(y0, y0 + side, x0, x0 + side)
        window = np.s_[:, y0 : y0 + side, x0 : x0 + side]
        shown = [planes["image"], *(np.moveaxis(np.asarray(p[window], np.float32), 0, -1) for p in (model, residual))]
        variance = np.where(planes["mask"], np.nan, planes["variance"])
        pictures = [to_rgb(np.nan_to_num(plane), field.bands, variance, like=shown[0]) for plane in shown[:2]]
        rows.append([*pictures, _in_sigma(shown[2], variance)])
        marks.append((x - x0, y - y0, (np.asarray(here["flags"]) & FLAGS["added"]) > 0))
    return _draw(rows, ("data", "model", _RESIDUAL), marks)


def _draw(rows, titles, marks=None, sky=None):
    """Draw rows of pictures; planes of numbers are in sigma, on one scale. With `sky`, a WCS, axes are in degrees."""
    import matplotlib.pyplot as plt

    height, width = rows[0][0].shape[:2]
    side = 4.0 if len(rows) == 1 else 2.4
    size = (side * len(titles) * width / max(height, width), side * len(rows) * height / max(height, width) + 0.3)
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=size, squeeze=False, layout="constrained", subplot_kw={"projection": sky}
    )
    for line, pictures in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            scale = {"cmap": "RdBu_r", "vmin": -RESIDUAL_SIGMA, "vmax": RESIDUAL_SIGMA} if picture.ndim == 2 else {}
            drawn = axis.imshow(picture, origin="lower", interpolation="nearest", **scale)
            if sky is None:
                axis.set_axis_off()
            else:
                _sky_axes(axis, axis is line[0])
    bar = figure.colorbar(drawn, ax=axes[:, -1], fraction=0.05, pad=0.02, aspect=30)
    bar.ax.tick_params(labelsize=7)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9, color=INK)
    for line, (x, y, added) in zip(axes, marks or (), strict=False):
        line[0].plot(x[~added], y[~added], "+", color="white", ms=5, mew=0.7)
        line[0].plot(x[added], y[added], "o", mfc="none", color="white", ms=6, mew=0.7)
        line[0].set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    plt.close(figure)
    return figure


def _sky_axes(axis, first):
    """Label an axis with a projection in degrees, the declination at the first of a line alone."""
    for coordinate, name in zip(axis.coords, ("ra", "dec"), strict=True):
        coordinate.set_format_unit("deg", decimal=True)
        coordinate.set_ticks(number=4)
        coordinate.set_ticklabel(size=6)
        coordinate.set_axislabel(f"{name} [deg]", size=7)
    if not first:
        axis.coords[1].set_ticklabel_visible(False)
        axis.coords[1].set_axislabel("")
