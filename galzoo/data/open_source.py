"""`open_source`: the source of a file, whatever it holds."""

from galzoo.data import hdf5, scenes_hdf5
from galzoo.data.scene_source import SceneSource
from galzoo.data.source import StampSource

SOURCES = {"stamps": StampSource, "scenes": SceneSource}


def open_source(path, keys=("image", "variance"), split="train", **options):
    """Open one split of a stamp or scene file.

    Parameters
    ----------
    path : str or Path
        The file; it says what it holds.
    keys : sequence of str
        Keys that must be served, of `galzoo.data.keys`.
    split : {"train", "valid", "test", "all"}
        Which objects.
    **options
        As for `galzoo.data.source.FileSource`: ``optional`` keys, ``label``, ``condition``, ``limit``,
        ``split_options``.

    Returns
    -------
    StampSource or SceneSource
        Fulfils `galzoo.contracts.source.Source`.

    Raises
    ------
    InputError
        If the file is missing or damaged, or cannot serve a key: the message says what it can serve.

    Examples
    --------
    >>> source = open_source("scenes.h5", ("image", "positions"), optional=["psf"])     # doctest: +SKIP
    >>> source.batch([0, 1])["positions"].shape                                         # doctest: +SKIP
    (2, 4, 2)
    """
    return SOURCES[hdf5.kind_of(path)](path, keys, split, **options)


def read_header(path):
    """Return the header of a stamp or scene file, with ``kind``."""
    kind = hdf5.kind_of(path)
    return {"stamps": hdf5, "scenes": scenes_hdf5}[kind].read_header(path) | {"kind": kind}
