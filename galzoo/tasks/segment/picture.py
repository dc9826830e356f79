"""Pictures of classes: of a batch while a model trains, of what a preset does, and of a suite's report."""

import numpy as np

from galzoo.tasks.segment.colours import class_picture, legend

# Training has seed 0.
_SEED, _ROWS, _SIDE = 2026, 4, 120
_SHOWN = 6


def draw_batch(model, batch, path):
    """Draw a batch beside the classes of its pixels, found and true; left behind by training every few epochs."""
    from galzoo.viz.panels import save

    found = np.moveaxis(model.pixel_classes({key: batch[key] for key in ("image", "mask") if key in batch}), -1, 1)
    true = np.moveaxis(np.asarray(batch["pixel_class"], np.float32), -1, 1)
    rows = range(min(_SHOWN, len(found)))
    save(classes_figure(np.asarray(batch["image"]), found, true, model.bands, model.classes, rows), path)


def preset_figure(model, card):
    """Draw the classes that a preset finds in simulated scenes that it never saw.

    Parameters
    ----------
    model : galzoo.contracts.segmentation.Segmenter
    card : dict

    Returns
    -------
    figure : matplotlib Figure
    caption : str
        Markdown.
    """
    from galzoo.simulate.morphology import MorphologySimulator, MorphologySpec
    from galzoo.tasks.segment.scores import segment_images

    options = {key: value for key, value in card["recipe"]["data"]["options"].items() if key != "n"}
    changes = {"seed": _SEED, "stamp_size": _SIDE, "isolated": False, "split": "any"}
    scenes = MorphologySimulator(MorphologySpec(**options | changes)).simulate(range(_ROWS))
    found = np.stack([one.votes for one in segment_images(model, scenes)])
    true = np.moveaxis(scenes.pixel_class, -1, 1)
    figure = classes_figure(scenes.image, found, true, scenes.bands, model.classes, range(_ROWS), scenes.variance)
    caption = (
        f"Simulated scenes seen by the preset `{card['name']}` ({card['title']}). *Classes*: hue is the class with "
        "most votes, pale where the second is near, dark where the votes are for the background. *Truth*: what was "
        "drawn."
    )
    return figure, caption


def classes_figure(image, found, true, bands, classes, rows, variance=None):
    """Draw images beside found and true classes.

    Parameters
    ----------
    image : array, (n, y, x, band)
    found, true : array, (n, class, y, x)
    bands, classes : sequence of str
    rows : sequence of int
        Which images.
    variance : array, (n, y, x, band), optional

    Returns
    -------
    matplotlib Figure
    """
    import matplotlib.pyplot as plt

    from galzoo.viz.colour import to_rgb
    from galzoo.viz.panels import INK

    figure, axes = plt.subplots(len(rows), 3, figsize=(6, 2 * len(rows) + 0.3), squeeze=False, layout="constrained")
    for line, row in zip(axes, rows, strict=True):
        noise = None if variance is None else variance[row]
        pictures = [to_rgb(image[row], bands, noise), *(class_picture(votes[row], classes) for votes in (found, true))]
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture, origin="lower", interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], ("image", "classes", "truth"), strict=True):
        axis.set_title(title, fontsize=9, color=INK)
    legend(axes[0, 1], classes)
    plt.close(figure)
    return figure


def report_of(result, images, found, name):
    """Return the report of the suite: its tables and a picture of some images."""
    from galzoo.evaluate.report import Report

    report = Report("Classes of pixels", name)
    rows = range(min(_SHOWN, len(images)))
    votes = np.stack([one.votes for one in found[: len(rows)]])
    true = np.moveaxis(images.pixel_class[: len(rows)].astype(np.float32), -1, 1)
    classes = found[0].classes
    report.figure(classes_figure(images.image, votes, true, images.bands, classes, rows), "Image, classes, truth.")
    for title, table in result.tables().items():
        report.section(title).table(table)
    return report
