"""Classes as colours."""

import numpy as np

# Hues of the published pictures.
_HUES = {"spheroid": 0.0, "disk": 0.7, "irregular": 0.3, "point_source": 0.18}
# Light is black below its noise, and as bright as can be at so many times that.
_BRIGHTEST = 100.0


def hues_of(classes):
    """Return the hue, 0 to 1, of each class but the background: the published ones, others evenly spaced."""
    return np.array([_HUES.get(name, index / (len(classes) - 1)) for index, name in enumerate(classes[:-1])])


def class_picture(votes, classes, snr=None):
    """Return a picture of the classes of pixels.

    Parameters
    ----------
    votes : array, (class, y, x)
        Share of the votes; the background last, 0 in all where nothing voted.
    classes : sequence of str
    snr : array, (y, x), optional
        Light in units of its noise. It then sets the brightness; else the votes against the background do, as
        published.

    Returns
    -------
    uint8 array, (y, x, 3)
        Hue: the class with most votes. Saturation: how far it is ahead of the second. Black where nothing voted.

    References
    ----------
    Hausen & Robertson 2020, ApJS 248, 20 (arXiv:1906.11248), section 6.
    """
    from matplotlib.colors import hsv_to_rgb

    sources = np.asarray(votes[:-1], np.float32)
    order = np.sort(sources, axis=0)
    second = order[-2] if len(order) > 1 else 0
    hue = hues_of(classes)[sources.argmax(axis=0)]
    value = 1 - np.asarray(votes[-1], np.float32)
    if snr is not None:
        shown = np.arcsinh(np.clip(np.nan_to_num(snr), 0, _BRIGHTEST)) / np.arcsinh(_BRIGHTEST)
        value = np.where(value > 0, shown, 0.3 * shown)
    value = np.where(np.asarray(votes).sum(axis=0) > 0, value, 0)
    saturation = np.where(sources.sum(axis=0) > 0, order[-1] - second, 0)
    rgb = hsv_to_rgb(np.stack([hue, np.clip(saturation, 0, 1), np.clip(value, 0, 1)], axis=-1))
    return np.round(255 * rgb).astype(np.uint8)


def legend(axis, classes):
    """Write the names of the classes in their colours onto a matplotlib axis."""
    from matplotlib.colors import hsv_to_rgb
    from matplotlib.patches import Patch

    patches = [
        Patch(color=hsv_to_rgb((hue, 1, 0.9)), label=name.replace("_", " "))
        for hue, name in zip(hues_of(classes), classes[:-1], strict=True)
    ]
    axis.legend(handles=patches, loc="upper right", fontsize=7, framealpha=0.8)
