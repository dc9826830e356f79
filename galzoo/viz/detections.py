"""What a detector finds, drawn on the scenes where it looked."""

import numpy as np

# A source that is more probable than this is drawn.
_SHOWN = 0.5
_GALAXY, _STAR = "#56c8ff", "#ffd24d"


def mark_sources(axis, true, places, star):
    """Draw true sources as white crosses, and those found as circles: blue, or yellow where they are taken for stars.

    Parameters
    ----------
    axis : matplotlib Axes
    true, places : array, (n, 2)
        Pixel positions as x, y, of the true sources and of those found.
    star : bool array, (n,)
        Which of those found are taken for stars.
    """
    axis.plot(*true.T, "+", color="white", ms=4, mew=0.6)
    for colour, chosen in ((_GALAXY, ~star), (_STAR, star)):
        axis.plot(*places[chosen].T, "o", mfc="none", mec=colour, ms=8, mew=0.8)


def draw_batch(model, batch, path):
    """Draw scenes with what is found (yellow boxes, stars cyan) and with the true sources (crosses), as a PNG.

    Parameters
    ----------
    model : MaskRCNN
    batch : dict
        Of the validation split.
    path : str or Path
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    from galzoo.files import atomic_path
    from galzoo.viz.colour import to_rgb

    found = model.detect(batch, _SHOWN)
    count = min(4, len(batch["image"]))
    figure, axes = plt.subplots(1, count, figsize=(4 * count, 4), squeeze=False, layout="constrained")
    for row, axis in enumerate(axes[0]):
        image, variance = np.asarray(batch["image"][row]), np.asarray(batch["variance"][row])
        mask = np.asarray(batch["mask"][row]).astype(bool) if batch.get("mask") is not None else None
        axis.imshow(to_rgb(image, bands=model.bands, variance=variance, mask=mask), origin="lower")
        true = np.asarray(batch["positions"][row])[: int(batch["n_sources"][row])]
        axis.plot(*true.T, "+", color="white", markersize=4, markeredgewidth=0.5)
        for source in np.flatnonzero(found.probability[row] >= _SHOWN):
            x0, y0, x1, y1 = found.boxes[row, source]
            star = found.class_probability[row, source].argmax() == 1
            edge = "cyan" if star else "yellow"
            axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=edge, linewidth=0.6))
        axis.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
    plt.close(figure)
