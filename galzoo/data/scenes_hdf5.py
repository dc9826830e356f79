"""The HDF5 file of `Scenes`, read and written with NumPy and h5py alone.

Layout (version 1)::

    attrs         format, version, header (JSON: bands, pixel_scale, unit, survey, meta)
    image         (n, y, x, band)          float32
    variance      (n, y, x, band)          float32, optional
    mask          (n, y, x, band)          bool, optional, True = bad
    isolated      (n, source, y, x, band)  float32, optional: each source alone, without noise, through the PSF;
                                           padded with 0 to the largest number of sources in the file
    segmentation  (n, y, x)                int32, optional: number of the source + 1, or 0
    psf           (m, y, x, band)          float32, optional, unit sum
    psf_index     (n,)                     which of the m PSFs belongs to each scene
    catalogue/<column>   (n, ...)          with attr ``unit``; ``id`` is always there
    sources/<column>     (sources, ...)    all sources in the order of the scenes; ``scene`` and ``source`` say which
"""

import json

import numpy as np

from galzoo.data.hdf5 import FileWriter, open_file, read_array, read_rows
from galzoo.errors import InputError

FORMAT = "galzoo-scenes"
PLANES = ("image", "variance", "mask", "isolated", "segmentation")


def read_header(path):
    """Return the header of a scene file.

    Returns
    -------
    dict
        ``bands, pixel_scale, unit, survey, meta``, and from the data sets ``n``, ``shape`` (y, x), ``keys``,
        ``columns`` and ``source_columns`` (name to unit string), ``n_sources`` (all scenes together).
    """
    with open_file(path, FORMAT) as file:
        header = json.loads(file.attrs["header"])
        header["n"] = len(file["image"])
        header["shape"] = tuple(int(size) for size in file["image"].shape[1:3])
        header["keys"] = [key for key in (*PLANES, "psf") if key in file]
        header["columns"] = {name: data.attrs.get("unit", "") for name, data in file["catalogue"].items()}
        header["source_columns"] = {name: data.attrs.get("unit", "") for name, data in file["sources"].items()}
        header["n_sources"] = len(file["sources/scene"])
    return header


def read_scenes(path, rows=slice(None)):
    """Return what a file holds of some scenes; only that is read.

    Parameters
    ----------
    path : str or Path
        A scene file.
    rows : slice, int array or bool array
        Which scenes.

    Returns
    -------
    planes : dict of arrays
        ``image`` and all that the file has of ``variance, mask, isolated, segmentation, psf, psf_index``; of the PSFs
        those that are used.
    catalogue : dict of arrays, (n, ...)
    sources : dict of arrays, (sources, ...)
        ``scene`` counts the scenes that were asked for.
    """
    with open_file(path, FORMAT) as file:
        rows = np.arange(len(file["image"]))[rows]
        planes = {key: read_rows(file[key], rows) for key in PLANES if key in file}
        if "psf" in file:
            used, planes["psf_index"] = np.unique(file["psf_index"][...][rows], return_inverse=True)
            planes["psf"] = read_rows(file["psf"], used)
        catalogue = {name: read_array(data)[rows] for name, data in file["catalogue"].items()}
        sources = {name: read_array(data) for name, data in file["sources"].items()}
    take, scene = source_rows(sources["scene"], rows)
    return planes, catalogue, {name: values[take] for name, values in sources.items()} | {"scene": scene}


def source_rows(scene, rows):
    """Return which sources belong to the scenes `rows`, in that order, and the new number of the scene of each.

    Parameters
    ----------
    scene : int array, (sources,)
        Scene of each source, not decreasing.
    rows : int array
        Which scenes; they may repeat.
    """
    first, last = np.searchsorted(scene, rows), np.searchsorted(scene, rows, side="right")
    count = last - first
    start = np.repeat(first - (np.cumsum(count) - count), count)
    return np.arange(count.sum()) + start, np.repeat(np.arange(len(rows)), count)


class ScenesWriter(FileWriter):
    """Write a scene file piece by piece, visible under its name only when complete.

    Parameters
    ----------
    path : str or Path
        The file to make.
    append : bool
        Add to an existing file of the same bands, shape and unit instead of replacing it.

    Examples
    --------
    >>> with ScenesWriter("scenes.h5") as writer:      # doctest: +SKIP
    ...     for part in parts:
    ...         writer.write(part)
    """

    form = FORMAT
    planes = PLANES

    def write(self, scenes):
        """Append `scenes` (a `galzoo.Scenes`)."""
        arrays = scenes.arrays()
        self._start(scenes.header(), arrays)
        before = len(self)
        for key in PLANES:
            if key == "isolated" and key in arrays:
                self._append_isolated(arrays[key])
            elif key in arrays:
                self._append(key, arrays[key])
        self._append_psf(arrays)
        self._append_columns("catalogue", scenes.columns(), len(scenes))
        columns = scenes.source_columns()
        numbers, unit = columns["scene"]
        self._append_columns("sources", columns | {"scene": (numbers + before, unit)}, len(scenes.sources))

    def _append_isolated(self, values):
        if "isolated" not in self._file:
            # The number of sources grows with the largest scene, so one source is a chunk.
            shape = values.shape[2:]
            self._create("isolated", (0, values.shape[1], *shape), (None, None, *shape), (1, 1, *shape), values.dtype)
        data = self._file["isolated"]
        if data.shape[2:] != values.shape[2:]:
            old, new = data.shape[2:], values.shape[2:]
            raise InputError(f"{self.path}: isolated has images of shape {old}, the new part {new}; write another file")
        start, count = len(data), values.shape[1]
        data.resize(max(data.shape[1], count), axis=1)
        data.resize(start + len(values), axis=0)
        data[start:, :count] = values
