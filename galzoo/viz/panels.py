"""Grids of stamps and of what a model makes of them."""

from pathlib import Path

import numpy as np

from galzoo.data.open_source import read_header
from galzoo.data.scenes import Scenes
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.files import atomic_path
from galzoo.viz.colour import to_rgb
from galzoo.viz.scenes import scene_panel

# Inches of one thumbnail.
CELL = 1.35
INK, FAINT = "#222222", "#777777"
# Residuals saturate at this many sigma.
RESIDUAL_SIGMA = 5.0
# Stamps or scenes of a file that are drawn.
_FILE_PANEL, _FILE_SCENES = 40, 16


def panel(stamps, rows=None, labels=None, columns=None, title=None):
    """Draw a grid of thumbnails.

    Parameters
    ----------
    stamps : Stamps
    rows : int or sequence of int, optional
        How many stamps, or which; the first 32 by default.
    labels : sequence of str, optional
        One a thumbnail, written into it.
    columns : int, optional
        Thumbnails in a line; by default about twice as many as lines.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no stamps or the number of labels is wrong.
    """
    rows = _rows(rows, len(stamps), 32)
    if labels is not None and len(labels) != len(rows):
        raise InputError(f"{len(labels)} labels for {len(rows)} stamps")
    columns = columns or min(len(rows), max(4, int(np.ceil(np.sqrt(2 * len(rows))))))
    lines = -(-len(rows) // columns)
    figure, axes = _grid(lines, columns, title, header=0.08, footer=0.08)
    for axis, position in zip(axes.flat, range(lines * columns), strict=True):
        if position >= len(rows):
            axis.set_visible(False)
            continue
        _show(axis, _picture(stamps, rows[position]))
        if labels is not None:
            _label(axis, labels[position])
    _scale_bar(axes[0, 0], stamps)
    return figure


def reconstruction_panel(stamps, reconstruction, rows=6, title=None):
    """Draw stamps beside their reconstruction, residual, deconvolved image, truth and codes (if any).

    The observed image and its reconstruction share one stretch, and so do the deconvolved image and the truth.
    Residuals are image minus reconstruction in units of the noise, of all bands together; colours of the codes are
    arbitrary.

    Parameters
    ----------
    stamps : Stamps
    reconstruction : Reconstruction
        Of the same stamps: ``image``, ``deconvolved``, ``codes`` and ``chi2``.
    rows : int or sequence of int
        How many stamps, or which.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    if len(reconstruction.image) != len(stamps):
        raise InputError(f"{len(reconstruction.image)} reconstructions for {len(stamps)} stamps; they must be the same")
    from galzoo.data.source import clean_planes

    rows = _rows(rows, len(stamps), 6)
    names = ["image", "reconstruction", "residual / σ", "deconvolved", "truth", "codes"]
    if stamps.truth is None:
        names.remove("truth")
    if reconstruction.codes is None:
        names.remove("codes")
    figure, axes = _grid(len(rows), len(names), title, header=0.28, footer=0.3)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=9, color=INK, pad=4)
    for line, row in enumerate(rows):
        cell = dict(zip(names, axes[line], strict=True))
        keys = [key for key in ("image", "variance", "mask") if getattr(stamps, key) is not None]
        planes = clean_planes({key: getattr(stamps, key)[row : row + 1] for key in keys}, estimate=True)
        image, variance, mask = (planes[key][0] for key in ("image", "variance", "mask"))
        model, sharp = reconstruction.image[row], reconstruction.deconvolved[row]
        is_picture = stamps.image.dtype == np.uint8
        seen = stamps.image[row] if is_picture else image
        stretch = {"bands": stamps.bands, "variance": variance, "mask": mask, "like": seen}
        _show(cell["image"], _picture(stamps, row))
        _show(cell["reconstruction"], to_rgb(model, **stretch))
        drawn = _residual(cell["residual / σ"], image - model, variance, mask)
        reference = seen if is_picture else sharp if stamps.truth is None else stamps.truth[row]
        # The noise of the observed image bends this stretch as well: what lies far below it is not measured.
        for name, plane in (("deconvolved", sharp), ("truth", stamps.truth[row] if "truth" in cell else None)):
            if plane is not None:
                _show(cell[name], to_rgb(plane, bands=stamps.bands, variance=variance, like=reference))
        if "codes" in cell:
            _codes(cell["codes"], reconstruction.codes[row])
        _label(cell["reconstruction"], f"χ²/pixel {reconstruction.chi2[row]:.2f}")
        if "snr" in stamps.catalogue.colnames:
            _label(cell["image"], f"S/N {float(stamps.catalogue['snr'][row]):.0f}")
    _scale_bar(axes[0, 0], stamps)
    _colour_bar(figure, axes[-1, names.index("residual / σ")], drawn)
    return figure


def picture_grid(columns, labels=None, title=None):
    """Draw columns of pictures, for example one a method.

    Parameters
    ----------
    columns : dict of str to sequence of uint8 array, (y, x, 3)
        Title of each column and its pictures from top to bottom; see `to_rgb`.
    labels : sequence of str, optional
        One a line, written into its first picture.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    lines = {len(pictures) for pictures in columns.values()}
    if len(lines) != 1 or 0 in lines:
        raise InputError(f"columns have {sorted(lines)} pictures; give as many in each, at least one")
    figure, axes = _grid(lines.pop(), len(columns), title, header=0.28, footer=0.08)
    for column, (name, pictures) in enumerate(columns.items()):
        axes[0, column].set_title(name, fontsize=9, color=INK, pad=4)
        for line, picture in enumerate(pictures):
            _show(axes[line, column], picture)
    for line, label in enumerate(labels or ()):
        _label(axes[line, 0], label)
    return figure


def check_picture(path):
    """Raise `InputError` where the name of a picture to write is of no format of pictures."""
    from matplotlib.backend_bases import FigureCanvasBase

    if Path(path).suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise InputError(f"{path}: no format of pictures; name it .png, .pdf or .svg")


def save(figure, path, dpi=150):
    """Write a figure to `path` atomically; the suffix chooses the format (png, pdf, svg)."""
    check_picture(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def _rows(rows, n, most):
    if not n:
        raise InputError("no stamps to draw; the file or selection is empty")
    if rows is None:
        rows = most
    if isinstance(rows, (int, np.integer)):
        return list(range(min(int(rows), n)))
    rows = [int(row) for row in rows]
    if not rows or min(rows) < 0 or max(rows) >= n:
        raise InputError(f"rows are {rows}; choose from 0 to {n - 1}")
    return rows


def _grid(lines, columns, title, header, footer):
    """Return a figure and its axes; `header` and `footer` are inches above and below the grid."""
    # A Figure without pyplot keeps no global state: it is freed with its last reference and safe in threads.
    from matplotlib.figure import Figure

    header += 0.3 if title else 0.0
    width, height = columns * CELL + 0.16, lines * CELL + header + footer
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.subplots(lines, columns, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    figure.subplots_adjust(left=0.08 / width, right=1 - 0.08 / width, bottom=footer / height, top=1 - header / height)
    if title:
        figure.suptitle(title, x=0.08 / width, y=1 - 0.08 / height, ha="left", va="top", fontsize=11, color=INK)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure, axes


def _picture(stamps, row):
    planes = {key: None if getattr(stamps, key) is None else getattr(stamps, key)[row] for key in ("variance", "mask")}
    return to_rgb(stamps.image[row], bands=stamps.bands, **planes)


def _show(axis, picture):
    axis.imshow(picture, origin="lower", interpolation="nearest")


def _residual(axis, difference, variance, mask):
    """Draw the residual of all bands together in units of its noise; masked pixels are grey."""
    good = np.isfinite(variance) & ~mask
    scaled = np.where(good, difference / np.sqrt(np.where(good, variance, 1.0)), 0.0)
    count = good.sum(axis=-1)
    # The sum over bands has a noise of sqrt(bands).
    total = np.divide(scaled.sum(axis=-1), np.sqrt(count), out=np.full(count.shape, np.nan), where=count > 0)
    axis.set_facecolor("#999999")
    return axis.imshow(
        total, origin="lower", interpolation="nearest", cmap="RdBu_r", vmin=-RESIDUAL_SIGMA, vmax=RESIDUAL_SIGMA
    )


def _codes(axis, codes):
    """Draw a code map. Neighbouring numbers are unrelated, so colours are spread by the golden ratio."""
    axis.imshow((np.asarray(codes) * 0.6180339887) % 1.0, origin="lower", interpolation="nearest", cmap="cividis")


def _label(axis, text):
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=1.5, foreground="black")]
    axis.text(
        0.04, 0.95, text, transform=axis.transAxes, ha="left", va="top", fontsize=7, color="white", path_effects=halo
    )


def _scale_bar(axis, stamps):
    """Draw a bar of a round number of arcsec, about a third of the stamp, at the lower left."""
    from matplotlib import patheffects

    width = stamps.shape[1]
    extent = width * stamps.pixel_scale
    exponent = 10.0 ** np.floor(np.log10(extent / 3))
    length = max(step * exponent for step in (1, 2, 5) if step * exponent <= extent / 3)
    halo = [patheffects.withStroke(linewidth=3, foreground="black")]
    x0, y0 = 0.06 * width, 0.07 * stamps.shape[0]
    axis.plot([x0, x0 + length / stamps.pixel_scale], [y0, y0], color="white", lw=1.5, path_effects=halo)
    halo = [patheffects.withStroke(linewidth=1.5, foreground="black")]
    axis.text(x0, 1.5 * y0, f"{length:g}″", color="white", fontsize=7, va="bottom", path_effects=halo)


def _colour_bar(figure, axis, image):
    """Put a slim colour bar below `axis`."""
    box = axis.get_position()
    height = figure.get_figheight()
    slot = figure.add_axes([box.x0, 0.2 / height, box.width, 0.06 / height])
    bar = figure.colorbar(image, cax=slot, orientation="horizontal", ticks=[-RESIDUAL_SIGMA, 0, RESIDUAL_SIGMA])
    bar.outline.set_visible(False)
    slot.tick_params(length=0, pad=1, labelsize=6, colors=FAINT)


def draw_file(path, picture):
    """Draw a panel of stamps or scenes, evenly spaced through the file, to a PNG."""
    header = read_header(path)
    n, kind = header["n"], header["kind"]
    if not n:
        raise InputError(f"{path}: holds no {kind}, there is nothing to draw")
    most = _FILE_PANEL if kind == "stamps" else _FILE_SCENES
    rows = np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
    save(panel(Stamps.load(path, rows)) if kind == "stamps" else scene_panel(Scenes.load(path, rows)), picture)
