"""Pictures of a latent space: a map of galaxies, and what each code of the codebook stands for."""

import dataclasses

import numpy as np

from galzoo.data.bands import observed
from galzoo.viz.colour import to_rgb
from galzoo.viz.columns import MISSING, Column, colour_bar, legend, rgba, scale, spans
from galzoo.viz.panels import INK

# Inches: the big map, room for a colour bar or legend, titles and margins.
_MAP, _BAR, _TITLE, _MARGIN = 7.4, 1.0, 0.34, 0.12
# Ways to place thumbnails, of which that with the most is taken.
_TRIES = 24
# Thumbnails along a side of the map, and codes along a side of a code picture.
_THUMBNAILS, _CODES = 17, 10


def thin(places, size):
    """Choose places that keep a square of `size` to themselves.

    Parameters
    ----------
    places : array, (n, 2)
    size : float
        Side of the squares, centred on the places.

    Returns
    -------
    int array
        Rows of `places`, ascending. No two squares overlap, and no other could be added.
    """
    places = np.asarray(places, np.float64)
    best = np.zeros(0, int)
    # Filling row by row packs more squares than a random order, and how many depends on where rows begin.
    for offset in np.linspace(0.0, 1.0, _TRIES, endpoint=False):
        chosen = []
        free = np.lexsort((places[:, 0], np.floor(places[:, 1] / size + offset)))
        while len(free):
            chosen.append(free[0])
            free = free[np.abs(places[free] - places[free[0]]).max(axis=1) >= size]
        if len(chosen) > len(best):
            best = np.sort(np.array(chosen))
    return best


def embedding_figure(stamps, embedding, columns, known=()):
    """Draw a map of galaxies: thumbnails where they are, beside the same map coloured by columns, and scores.

    Thumbnails are thinned so that none hides another, all show the same central part of their stamp, and their frames
    have the colour of the first column.

    Parameters
    ----------
    stamps : Stamps
    embedding : Embedding
        Of the same stamps: ``xy``, ``method``, ``explained_variance``.
    columns : sequence of Column
    known : list of dict
        See `galzoo.tasks.latent.scores`; best first.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    columns = list(columns)
    lines = max(2, int(np.ceil(np.sqrt(len(columns)))))
    # Scores fill what the last column leaves free, or have one of their own.
    across = -(-len(columns) // lines) + (len(columns) % lines == 0)
    side = (_MAP - (lines - 1) * _TITLE) / lines
    stride = side + _MARGIN + _BAR
    figure = Figure(figsize=(_MAP + 2 * _MARGIN + across * stride, _MAP + _TITLE + _MARGIN), facecolor="white")
    places = _unit_square(embedding.xy)
    axis = _axes(figure, _MARGIN, _MARGIN, _MAP)
    _name_axes(axis, embedding)
    _thumbnails(axis, stamps, places, columns[0] if columns else None)
    for number, column in enumerate(columns):
        place, line = divmod(number, lines)
        left = _MAP + 2 * _MARGIN + place * stride
        axis = _axes(figure, left, _MARGIN + (lines - 1 - line) * (side + _TITLE), side)
        axis.set_title(column.label, fontsize=9, color=INK, loc="left", pad=4)
        _scatter(axis, places, column, min(24.0, max(2.0, 12000.0 / len(places))) / lines)
    free = lines - len(columns) % lines
    left = _MAP + 2 * _MARGIN + (across - 1) * stride
    axis = _axes(figure, left, _MARGIN, side, free * side + (free - 1) * _TITLE)
    _bars(axis, known, [column.name for column in columns], int((free * (side + _TITLE)) / 0.24))
    return figure


def codes_figure(stamps, embedding, usage, columns=()):
    """Draw the codes used most, from faint to bright: what they decode to, where they stand and in what galaxies.

    Parameters
    ----------
    stamps : Stamps
    embedding : Embedding
        Of the same stamps: ``patches``, ``noise`` and ``codes``.
    usage : QTable
        See `galzoo.tasks.embed.latent_scores.code_usage`.
    columns : sequence of Column
        Of which `usage` has the median or the commonest.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    count = np.asarray(usage["count"])
    # Most cells are sky, and so are the codes used most; those on galaxies say more.
    near = np.nan_to_num(np.asarray(usage["share_near"]) * count)
    codes = np.lexsort((-count, -near))[: min(_CODES**2, np.count_nonzero(count))]
    cell = embedding.patches.shape[1] // 3
    middle = np.arcsinh(embedding.patches[codes][:, cell : 2 * cell, cell : 2 * cell])
    codes = codes[np.argsort(middle.mean(axis=(1, 2, 3)), kind="stable")]
    wide = int(np.ceil(np.sqrt(len(codes))))
    high = -(-len(codes) // wide)
    panels = 3 + len(columns)
    across = 2 if panels == 4 else 3
    lines = -(-panels // across)
    side, title = 4.3, 0.34
    stride = side + _BAR
    size = across * stride + _MARGIN, lines * (side + title) + 2 * _MARGIN + 0.2
    figure = Figure(figsize=size, facecolor="white")

    def axes(number, name):
        line, place = divmod(number, across)
        axis = _axes(figure, _MARGIN + place * stride, _MARGIN + (lines - 1 - line) * (side + title), side)
        axis.set_title(name, fontsize=9, color=INK, loc="left", pad=4)
        axis.set(xlim=(0, wide), ylim=(high, 0), aspect="equal", anchor="NW")
        for spine in axis.spines.values():
            spine.set_visible(False)
        for edge in range(wide + 1):
            axis.axvline(edge, color="white", lw=1.0, zorder=3)
        for edge in range(high + 1):
            axis.axhline(edge, color="white", lw=1.0, zorder=3)
        return axis

    extent = (0, wide, high, 0)
    figure.text(
        _MARGIN / figure.get_figwidth(),
        1 - _MARGIN / figure.get_figheight(),
        f"the {len(codes)} of {len(count)} codes used most within {usage.meta['near_cells']:g} cells of the centre, "
        "from faint to bright; each has one place in all panels",
        fontsize=10,
        color=INK,
        va="top",
    )
    axis = axes(0, f"what it decodes to, {cell} px and as much around")
    axis.imshow(_patch_mosaic(stamps, embedding, codes, wide, high), extent=extent, interpolation="nearest")
    for number, code in enumerate(codes):
        _write_code(axis, number % wide, number // wide, code)

    maps = np.stack([np.mean(embedding.codes == code, axis=0) for code in codes])
    maps = np.sqrt(maps / maps.max(axis=(1, 2), keepdims=True))[:, ::-1]
    axis = axes(1, "where on the stamp it stands (root of the share, each to its own peak)")
    axis.imshow(_mosaic(maps, wide, high), extent=extent, cmap="magma", interpolation="nearest", vmin=0, vmax=1)

    share = np.asarray(usage["share"])[codes]
    _tiles(axes(2, "share of all cells"), Column("share", share, log=spans(share)), wide, high)
    for number, column in enumerate(columns):
        if column.categories:
            names = np.array(usage[f"commonest_{column.name}"])[codes]
            index = [column.categories.index(name) if name else np.nan for name in names]
            axis = axes(3 + number, f"commonest {column.name} where it stands near the centre")
            _tiles(axis, column, wide, high, np.array(index))
            continue
        median = usage[f"median_{column.name}"]
        median = np.asarray(getattr(median, "value", median))[codes]
        axis = axes(3 + number, f"median {column.label} where it stands near the centre")
        _tiles(axis, dataclasses.replace(column, values=median, log=column.log and _wide(median)), wide, high)
    return figure


def _wide(values):
    """Say whether positive values fill more than half a decade, so that a log scale has ticks."""
    return bool(np.isfinite(values).any() and np.nanmax(values) > 5 * np.nanmin(values))


def _tiles(axis, column, wide, high, index=None):
    """Draw a value a code; `index` is the category of each code, in the colours of `column`."""
    extent = (0, wide, high, 0)
    if index is not None:
        colours = rgba(column, index)[:, None, None, :]
        axis.imshow(_mosaic(colours, wide, high, fill=1.0), extent=extent, interpolation="nearest")
        legend(axis, column, index)
    else:
        tiles = _mosaic(column.values[:, None, None], wide, high)
        colour_bar(axis, axis.imshow(tiles, extent=extent, interpolation="nearest", **scale(column)), column)


def _bars(axis, known, chosen, most):
    """Draw R2 of the columns told best, and of those `chosen` in any case."""
    from matplotlib import patheffects

    axis.set_title("R² from the latent space (line: from the map alone)", fontsize=9, color=INK, loc="left", pad=4)
    others = [row for row in known if row["column"] not in chosen]
    kept = [row for row in known if row["column"] in chosen] + others
    rows = sorted(kept[:most], key=lambda row: -row["r2"])
    axis.set(xlim=(0, 1), ylim=(max(len(rows), 8) - 0.4, -0.6))
    halo = [patheffects.withStroke(linewidth=2.0, foreground="white", alpha=0.6)]
    for line, row in enumerate(rows):
        picked = row["column"] in chosen
        axis.barh(line, max(row["r2"], 0.0), height=0.78, color="#8fbcd9" if picked else "#d3e2ec", lw=0)
        # Text lies over the bars and the line.
        axis.plot([max(row["r2_map"], 0.0)] * 2, [line - 0.39, line + 0.39], color="#2f6690", lw=1.2)
        name = row["column"] + (" (log)" if row["kind"] == "log10" else "")
        axis.text(0.015, line, name, fontsize=7, color=INK, va="center", zorder=4, path_effects=halo)
        axis.text(1.02, line, f"{row['r2']:.2f} ± {row['r2_error']:.2f}", fontsize=7, color=INK, va="center")
    if not rows:
        axis.text(0.5, 0.5, "no column to score", transform=axis.transAxes, fontsize=8, color=INK, ha="center")


def _unit_square(xy):
    """Return the map stretched to run from 0 to 1 in both axes."""
    low, span = xy.min(axis=0), np.ptp(xy, axis=0)
    return np.where(span > 0, (xy - low) / np.where(span > 0, span, 1.0), 0.5)


def _axes(figure, left, bottom, side, tall=None):
    """Add an axis, square unless `tall` is given, all in inches."""
    width, height = figure.get_size_inches()
    axis = figure.add_axes([left / width, bottom / height, side / width, (tall or side) / height])
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=MISSING, linewidth=0.8)
    return axis


def _name_axes(axis, embedding):
    names = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
    text = f"{names[embedding.method]} of {len(embedding.xy)} galaxies; alike is near"
    if embedding.explained_variance is not None:
        across, up = (f"{100 * share:.0f} %" for share in embedding.explained_variance)
        text = f"PCA of {len(embedding.xy)} galaxies; {across} of the variance across, {up} up"
    axis.set_title(text, fontsize=9, color=INK, loc="left", pad=4)


def _thumbnails(axis, stamps, places, column):
    size = 1.0 / (_THUMBNAILS - 1)
    axis.set(xlim=(-0.55 * size, 1 + 0.55 * size), ylim=(-0.55 * size, 1 + 0.55 * size))
    axis.set_facecolor("#f7f7f7")
    axis.plot(*places.T, ".", color="#a9a9a9", ms=2.0, mew=0, zorder=1)
    rows = thin(places, 1.06 * size)
    low, high = _central(stamps, rows)
    from matplotlib.patches import Rectangle

    colours = None if column is None else rgba(column)
    for row in rows:
        planes = {
            key: None if getattr(stamps, key) is None else getattr(stamps, key)[row, low[0] : high[0], low[1] : high[1]]
            for key in ("image", "variance", "mask")
        }
        x, y = places[row] - 0.5 * size
        picture = to_rgb(planes.pop("image"), bands=stamps.bands, **planes)
        axis.imshow(picture, extent=(x, x + size, y, y + size), origin="lower", interpolation="antialiased", zorder=2)
        if colours is not None:
            axis.add_patch(Rectangle((x, y), size, size, fill=False, ec=colours[row], lw=1.4, zorder=3))
    # imshow sets limits and aspect by the last picture.
    axis.set(xlim=(-0.55 * size, 1 + 0.55 * size), ylim=(-0.55 * size, 1 + 0.55 * size), aspect="auto")


def _central(stamps, rows):
    """Return the corners of the central square that holds most of the light of most galaxies, in pixels."""
    image = np.nan_to_num(stamps.image[rows].astype(np.float64).sum(axis=-1))
    mean = np.median(image / np.maximum(image.max(axis=(1, 2), keepdims=True), 1e-30), axis=0)
    edge = np.r_[mean[0], mean[-1], mean[:, 0], mean[:, -1]]
    # Noise of so many pixels of sky would outweigh the galaxy.
    mean = np.where(mean > edge.max(), mean - np.median(edge), 0.0)
    y, x = (np.abs(np.arange(count) - (count - 1) / 2) for count in mean.shape)
    reach = np.maximum(y[:, None], x).ravel()
    order = np.argsort(reach, kind="stable")
    grown = np.cumsum(mean.ravel()[order])
    half = reach[order][np.searchsorted(grown, 0.9 * grown[-1])] if grown[-1] > 0 else max(mean.shape)
    half = int(np.ceil(max(2.2 * half, 8)))
    low = [max(0, count // 2 - half) for count in mean.shape]
    return low, [count - start for count, start in zip(mean.shape, low, strict=True)]


def _scatter(axis, places, column, area):
    known = np.isfinite(column.values)
    axis.scatter(*places[~known].T, s=0.6 * area, c=MISSING, linewidths=0, zorder=1)
    colours = rgba(column)
    # Drawn in a shuffled order, or the last rows of the file would hide the first.
    order = np.random.default_rng(0).permutation(np.flatnonzero(known))
    axis.scatter(*places[order].T, s=area, c=colours[order], linewidths=0, zorder=2)
    axis.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    if not column.categories:
        from matplotlib.cm import ScalarMappable

        if known.any():
            colour_bar(axis, ScalarMappable(**scale(column)), column)
        return
    legend(axis, column)


def _mosaic(tiles, wide, high, fill=np.nan):
    """Lay tiles (m, y, x, ...) out in rows; places without one hold `fill`."""
    blank = np.full((wide * high - len(tiles), *tiles.shape[1:]), fill)
    grid = np.concatenate([tiles, blank]).reshape(high, wide, *tiles.shape[1:])
    grid = np.moveaxis(grid, 2, 1)
    return grid.reshape(high * tiles.shape[1], wide * tiles.shape[2], *tiles.shape[3:])


def _patch_mosaic(stamps, embedding, codes, wide, high):
    """Return what codes decode to as one picture, so that all have one stretch."""
    patches = np.nan_to_num(embedding.patches[codes])[:, ::-1] * embedding.noise
    mosaic = np.nan_to_num(_mosaic(patches, wide, high))
    if stamps.image.dtype == np.uint8:
        return to_rgb(mosaic, bands=stamps.bands, like=np.zeros(mosaic.shape, np.uint8))
    # Averages are less noisy than stamps, and so is what they show.
    variance = np.broadcast_to((0.25 * embedding.noise) ** 2, mosaic.shape)
    variance = np.where(observed(stamps).any(axis=0), variance, np.inf)
    return to_rgb(mosaic, bands=stamps.bands, variance=variance)


def _write_code(axis, x, y, code):
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=1.0, foreground="black")]
    axis.text(x + 0.07, y + 0.08, str(code), fontsize=5, color="white", va="top", path_effects=halo, zorder=4)
