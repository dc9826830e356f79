"""A page of many galaxies in one stretch, so that faint ones look faint."""

import numpy as np

from galzoo.data.stamps import Stamps
from galzoo.viz.colour import to_rgb
from galzoo.viz.panels import panel

# Most galaxies on the page; more would be too small to see.
_SHOWN = 64
# This percentile of the brightest pixels of the galaxies is white.
_BRIGHT = 95
# Without noise the stretch bends at this part of white.
_BEND = 1e-3


def page(stamps, condition=None, title=None, names=None):
    """Draw a page of galaxies, all with one stretch, in colour where there are bands for it.

    Parameters
    ----------
    stamps : Stamps
        The first 64 are drawn.
    condition : dict of arrays, (n,), optional
        What each was drawn for: written into it where it is known, into the title where it is one for all.
    title : str, optional
    names : dict, optional
        Column of `condition` -> {number: name} of what are classes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = stamps[:_SHOWN]
    pictures, bands = shown.image, stamps.bands
    if pictures.dtype != np.uint8:
        # One tall picture of all galaxies has one stretch.
        tall = shown.image.reshape(-1, *shown.image.shape[2:])
        peak = np.percentile(shown.image.max(axis=(1, 2)), _BRIGHT, axis=0)
        noise = _BEND * peak
        if shown.variance is not None:
            noise = np.sqrt([np.median(plane[np.isfinite(plane)]) for plane in np.moveaxis(shown.variance, -1, 0)])
        # One noise for all bands, so that colours are ratios of fluxes.
        common = np.full(tall.shape, np.exp(np.mean(np.log(np.maximum(noise, 1e-30)))) ** 2)
        pictures = to_rgb(tall, shown.bands, common, like=np.broadcast_to(peak, tall.shape))
        pictures = pictures.reshape(*shown.image.shape[:3], 3)
        bands = ("R", "G", "B")
    many, one = [], [title or f"{stamps.survey} {'·'.join(stamps.bands)}, {stamps.pixel_scale:.3g}″ pixels"]
    for name, values in (condition or {}).items():
        called = (names or {}).get(name, {})
        texts = [
            called.get(value, f"{name} {_brief(value)}") if value == value else ""
            for value in np.asarray(values)[:_SHOWN]
        ]
        if len(set(texts)) == 1:
            one.append(texts[0])
        else:
            many.append(texts)
    labels = ["\n".join(filter(None, lines)) for lines in zip(*many, strict=True)] if many else None
    n = len(shown)
    # As few gaps as possible in the last line, of grids between a square and twice as wide as high.
    columns = min(range(int(np.ceil(np.sqrt(n))), int(np.ceil(np.sqrt(2 * n))) + 1), key=lambda k: (-n % k, k))
    drawn = Stamps(pictures, bands=bands, pixel_scale=stamps.pixel_scale, unit="")
    return panel(drawn, rows=n, labels=labels, columns=columns, title=", ".join(filter(None, one)))


def _brief(value):
    return f"{value + 0:.4g}" if isinstance(value, int | float | np.number) else str(value)
