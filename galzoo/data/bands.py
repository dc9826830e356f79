"""Bands of images brought to the order in which a model takes them, by name."""

import dataclasses

import numpy as np

from galzoo.errors import InputError

LONGEST = 40
"""Letters of a band's name: FITS has 68 for that of a column, and the band comes behind what it is of."""


def checked(bands, name=""):
    """Return names of bands as text; `InputError` where two are the same, or a file could not hold one.

    Parameters
    ----------
    bands : sequence of str
    name : str
        What to call the images in errors.
    """
    bands, start = tuple(str(band) for band in bands), f"{name}: " if name else ""
    doubled = next((band for band in bands if bands.count(band) > 1), None)
    if doubled is not None:
        raise InputError(f"{start}band {doubled!r} is named twice; give every band its own name")
    # FITS headers hold printable ASCII, and a slash in the name of a column is a folder in HDF5.
    odd = next((band for band in bands if not (band.isascii() and band.isprintable()) or "/" in band or not band), None)
    if odd is not None:
        raise InputError(f"{start}band {odd!r} cannot be written to files; name it (--bands) in ASCII without /")
    long = next((band for band in bands if len(band) > LONGEST), None)
    if long is not None:
        raise InputError(f"{start}band {long!r} is too long for columns of FITS; name it in {LONGEST} letters or fewer")
    return bands


def spelt(bands, known):
    """Return bands as a model writes them: names of FITS extensions are all capitals, filters may not be.

    Parameters
    ----------
    bands, known : sequence of str
        Of the data, and of the model.

    Returns
    -------
    tuple of str
        `bands` as they are where two would be called the same; what the model does not know keeps its name.
    """
    lower = {name.lower(): name for name in known}
    new = tuple(band if band in known else lower.get(band.lower(), band) for band in bands)
    return new if len(set(new)) == len(new) else tuple(bands)


def magnitude_columns(bands, meta):
    """Return of which band the magnitudes of a data set's columns are, column to band; None for ``mag`` if not known.

    Parameters
    ----------
    bands : sequence of str
    meta : dict
        Of the set. The ``mag`` of simulated galaxies is that of the reference band of their simulation.
    """
    return {f"mag_{band}": band for band in bands} | {"mag": (meta.get("simulation") or {}).get("reference")}


def observed(images):
    """Return in which bands images have a good pixel, (n, band), and so were observed.

    Parameters
    ----------
    images : Stamps or Scenes
    """
    good = np.isfinite(images.image)
    if images.variance is not None:
        good &= np.isfinite(images.variance)
    if images.mask is not None:
        good &= ~images.mask
    return good.any(axis=(1, 2))


def in_order(images, bands, name="stamps"):
    """Return images whose bands are those of a model, in its order.

    Parameters
    ----------
    images : Stamps or Scenes
    bands : sequence of str
        Of the model.
    name : str
        What to call the images in errors.

    Returns
    -------
    Stamps or Scenes
        The same object where the order is right already.

    Raises
    ------
    InputError
        If the bands are not those of the model.
    """
    bands = tuple(bands)
    if tuple(images.bands) == bands:
        return images
    if sorted(images.bands) != sorted(bands):
        raise InputError(
            f"{name} have the bands {', '.join(images.bands)}, the model takes {', '.join(bands)}; "
            "bring them to these by --conform (in Python galzoo.data.conform.conform), or use a model of their bands"
        )
    order = [images.bands.index(band) for band in bands]
    planes = ("image", "variance", "mask", "psf", "truth", "model", "isolated")
    turned = {
        key: np.ascontiguousarray(getattr(images, key)[..., order])
        for key in planes
        if getattr(images, key, None) is not None
    }
    return dataclasses.replace(images, bands=bands, **turned)
