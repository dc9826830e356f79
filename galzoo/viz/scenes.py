"""Pictures of scenes, with a circle on each source."""

import numpy as np

from galzoo.errors import InputError
from galzoo.viz.colour import to_rgb

# Inches of one scene.
CELL = 1.9
GALAXY, STAR = "#ffffff", "#ffd24d"


def scene_panel(scenes, rows=16, labels=True, title=None):
    """Draw a grid of scenes in colour: white circles on galaxies, yellow ones on stars.

    Parameters
    ----------
    scenes : Scenes
    rows : int or sequence of int
        How many scenes, or which.
    labels : bool
        Write the number of sources into each picture.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is no scene to draw.
    """
    from matplotlib.figure import Figure

    rows = range(len(scenes))[:rows] if isinstance(rows, (int, np.integer)) else rows
    if not len(rows):
        raise InputError("no scenes to draw; the file or selection is empty")
    columns = int(np.ceil(np.sqrt(len(rows))))
    lines = -(-len(rows) // columns)
    # A large field is drawn larger, so that its sources can be told apart.
    cell = CELL * max(1.0, 4 / columns) * np.clip(scenes.shape[1] / 150, 1, 2)
    header = 0.38 if title else 0.08
    width, height = columns * cell + 0.16, lines * cell + header + 0.08
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.subplots(lines, columns, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    figure.subplots_adjust(left=0.08 / width, right=1 - 0.08 / width, bottom=0.08 / height, top=1 - header / height)
    if title:
        figure.suptitle(title, x=0.08 / width, y=1 - 0.08 / height, ha="left", va="top", fontsize=11)
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    for axis, row in zip(axes.flat, rows, strict=False):
        draw_scene(axis, scenes, row)
        if labels:
            _write(axis, f"{scenes.catalogue['n_sources'][row]}")
    return figure


def draw_scene(axis, scenes, row):
    """Draw scene number `row` on a Matplotlib axis."""
    planes = {key: getattr(scenes, key) for key in ("variance", "mask")}
    planes = {key: plane[row] for key, plane in planes.items() if plane is not None}
    picture = to_rgb(scenes.image[row], bands=scenes.bands, **planes)
    axis.imshow(picture, origin="lower", interpolation="nearest")
    mine = np.asarray(scenes.sources["scene"]) == row
    if mine.any():
        x, y = (np.asarray(scenes.sources[name][mine].value) for name in ("x", "y"))
        kinds = scenes.sources["kind"][mine] if "kind" in scenes.sources.colnames else np.full(mine.sum(), "")
        # Circles of about 1.2 arcsec on the sky, but never too small to see.
        radius = max(0.6 / scenes.pixel_scale, 0.012 * scenes.shape[1])
        for place, kind in zip(zip(x, y, strict=True), kinds, strict=True):
            axis.add_patch(_circle(place, radius, STAR if kind == "star" else GALAXY))
    axis.set(xticks=[], yticks=[], xlim=(-0.5, scenes.shape[1] - 0.5), ylim=(-0.5, scenes.shape[0] - 0.5))
    for spine in axis.spines.values():
        spine.set_visible(False)


def _circle(place, radius, colour):
    from matplotlib.patches import Circle

    return Circle(place, radius, fill=False, edgecolor=colour, linewidth=0.6, alpha=0.9)


def _write(axis, text):
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=1.5, foreground="black")]
    axis.text(
        0.04, 0.95, text, transform=axis.transAxes, ha="left", va="top", fontsize=7, color="white", path_effects=halo
    )
