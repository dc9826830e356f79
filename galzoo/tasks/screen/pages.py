"""A page of stamps."""

import numpy as np
from matplotlib.figure import Figure

_COLUMNS = 6


def stamps_page(images, captions):
    """Return a figure of stamps (n, y, x), a caption above each; brightness asinh of the pixels over their scatter."""
    lines = max(1, -(-len(images) // _COLUMNS))
    figure = Figure(figsize=(1.5 * _COLUMNS, 1.9 * lines), layout="constrained")
    axes = np.ravel(figure.subplots(lines, _COLUMNS, squeeze=False))
    for axis in axes:
        axis.axis("off")
    for axis, image, caption in zip(axes, images, captions, strict=False):
        scatter = 1.4826 * np.median(np.abs(image - np.median(image))) or 1.0
        axis.imshow(np.arcsinh(image / (3 * scatter)), origin="lower", cmap="gray")
        axis.set_title(caption, fontsize=7)
    return figure
