"""Which object is for training, validation or test: decided by the object, never by the image.

The same galaxy in two data sets, or drawn twice with other noise, lands in one split, because only its identity is
hashed: the cell on the sky where there are coordinates, else its id.
"""

import hashlib

import numpy as np

from galzoo.errors import InputError

SPLITS = ("train", "valid", "test")
CELL_ARCMIN = 2.0


def sky_cells(ra, dec, size=CELL_ARCMIN):
    """Return a name for the cell on the sky that each position falls in.

    Parameters
    ----------
    ra, dec : array, (n,)
        Degrees.
    size : float
        Height of a cell in arcmin; the width is the same to about one cell in a circle of declination.
    """
    rows = np.floor((np.asarray(dec, float) + 90) * 60 / size).astype(int)
    middle = np.deg2rad((rows + 0.5) * size / 60 - 90)
    around = np.maximum(np.round(360 * 60 / size * np.cos(middle)), 1)
    columns = np.floor(np.asarray(ra, float) % 360 / 360 * around).astype(int)
    return np.char.add(np.char.add(rows.astype(str), "/"), columns.astype(str))


def split_names(columns, valid=0.1, test=0.1, seed=0):
    """Return the split of each object.

    Parameters
    ----------
    columns : dict of arrays
        Catalogue columns. ``split`` (train, valid, test) wins; else ``ra`` and ``dec`` in degrees; else ``id``.
        Coordinates count only where all are finite.
    valid, test : float
        Fractions.
    seed : int
        Another seed, another draw.

    Returns
    -------
    array of str, (n,)

    Raises
    ------
    InputError
        If the fractions are no fractions, or ``split`` has another word in it.
    """
    if valid < 0 or test < 0 or valid + test >= 1:
        raise InputError(f"split fractions valid={valid}, test={test} leave nothing to train on; keep the sum below 1")
    if "split" in columns:
        names = np.asarray(columns["split"]).astype(str)
        odd = sorted(set(names) - set(SPLITS))
        if odd:
            raise InputError(f"catalogue column 'split' holds {str(odd[0])!r}; use {', '.join(SPLITS)}")
        return names
    keys = object_keys(columns)
    unique, inverse = np.unique(keys, return_inverse=True)
    numbers = np.array([_uniform(f"{seed}/{key}") for key in unique])[inverse]
    return np.where(numbers < test, "test", np.where(numbers < test + valid, "valid", "train"))


def object_keys(columns):
    """Return what a split goes by, (n,) of str: the cell on the sky where all have finite coordinates, else the id."""
    if "ra" in columns and "dec" in columns:
        ra, dec = np.asarray(columns["ra"], float), np.asarray(columns["dec"], float)
        if np.all(np.isfinite(ra)) and np.all(np.isfinite(dec)):
            return sky_cells(ra, dec)
    return np.asarray(columns["id"]).astype(str)


def scenes_of_split(columns, sources, name, valid=0.1, test=0.1, seed=0):
    """Return which scenes are in a split.

    Parameters
    ----------
    columns : dict of arrays, (n,)
        Of the catalogue of scenes: ``id`` and, where there is one, ``split``.
    sources : dict of arrays, (sources,)
        ``scene`` and, where there is one, ``parent``.
    name : {"train", "valid", "test"}
        Which split.
    valid, test, seed
        As for `split_names`.

    Returns
    -------
    bool array, (n,)
        By the column ``split``. Where there is none: scenes whose galaxies (``parent``, else the ``id`` of the scene)
        are all in the split; scenes whose galaxies are in several are in none.
    """
    if "split" in columns or "parent" not in sources:
        return split_names(columns, valid, test, seed) == name
    scene, parent = np.asarray(sources["scene"]), np.asarray(sources["parent"]).astype(str)
    known = parent != ""
    inside = split_names({"id": columns["id"]}, valid, test, seed) == name
    inside[scene[known]] = True
    other = split_names({"id": parent[known]}, valid, test, seed) != name
    inside[scene[known][other]] = False
    return inside


def _uniform(text):
    """Return a number in [0, 1) that depends on `text` alone, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
