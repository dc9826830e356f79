"""Region files of SAOImage DS9: an ellipse or circle a source, labelled, over the image that a catalogue is of."""

import numpy as np

from galzoo import __version__
from galzoo.files import write_text

# Radius in pixels of sources without a shape, and half-light radii at which an ellipse is drawn.
_RADIUS, _SCALE = 3.0, 2.0


def write_regions(path, positions, labels=None, shape=None, colours=None):
    """Write a DS9 region file in image coordinates, which DS9 counts from 1.

    Parameters
    ----------
    path : str or Path
        A ``.reg`` file.
    positions : array, (n, 2)
        Pixels as x, y, counted from 0; a source without a place is left out.
    labels : sequence of str, optional
        A text for each source.
    shape : array, (n, 3), optional
        e1, e2 (distortion, from +x towards +y) and half-light radius in pixels; where one is not finite, a circle.
    colours : sequence of str, optional
        Names of DS9's colours, one a source; green by default.

    References
    ----------
    SAOImage DS9 reference manual, "Regions".
    """
    positions = np.asarray(positions, float).reshape(-1, 2)
    n = len(positions)
    shape = np.full((n, 3), np.nan) if shape is None else np.asarray(shape, float)
    labels = [""] * n if labels is None else labels
    colours = ["green"] * n if colours is None else colours
    lines = ["# Region file format: DS9 version 4.1", f"# galzoo {__version__}", "global color=green width=1", "image"]
    for (x, y), (e1, e2, radius), label, colour in zip(positions + 1, shape, labels, colours, strict=True):
        text = " ".join(str(label).replace("{", "(").replace("}", ")").split())
        if not np.isfinite([x, y]).all():
            # DS9 would stop at such a line.
            continue
        end = f" # color={colour}" + (f" text={{{text}}}" if text else "")
        if np.isfinite([e1, e2, radius]).all() and radius > 0 and np.hypot(e1, e2) < 1:
            # (a^2 - b^2) / (a^2 + b^2) = |e|, and the half-light radius is the geometric mean of a and b.
            size = np.hypot(e1, e2)
            ratio = np.sqrt((1 - size) / (1 + size))
            a, b = _SCALE * radius / np.sqrt(ratio), _SCALE * radius * np.sqrt(ratio)
            angle = np.degrees(0.5 * np.arctan2(e2, e1)) % 180
            lines.append(f"ellipse({x:.3f},{y:.3f},{a:.3f},{b:.3f},{angle:.2f}){end}")
        else:
            lines.append(f"circle({x:.3f},{y:.3f},{_RADIUS:g}){end}")
    write_text(path, "\n".join(lines) + "\n")
