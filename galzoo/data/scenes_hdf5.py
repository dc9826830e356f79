"""The HDF5 file of `Scenes`, read and written with NumPy and h5py alone.

Layout (version 1)::

    attrs         format, version, header (JSON: bands, pixel_scale, unit, survey, meta)
    image         (n, y, x, band)          float32
    variance      (n, y, x, band)          float32, optional
    mask          (n, y, x, band)          bool, optional, True = bad
    isolated      (n, source, y, x, band)  float32, optional: each source alone, without noise, through the PSF;
                                           padded with 0 to the largest number of sources in the file
    segmentation  (n, y, x)                int32, optional: number of the source + 1, or 0
    truth, model, pixel_class              as in a stamp file
    psf           (m, y, x, band)          float32, optional, unit sum
    psf_index     (n,)                     which of the m PSFs belongs to each scene
    cutouts       (pixels,)                float32, optional: the small image (y, x, band) of one source after the other
    catalogue/<column>   (n, ...)          with attr ``unit``; ``id`` is always there
    sources/<column>     (sources, ...)    all sources in the order of the scenes; ``scene`` and ``source`` say which;
                                           ``cutout_height`` and ``cutout_width`` give the shape of its small image
"""

import numpy as np

from galzoo.data import hdf5
from galzoo.data.hdf5 import open_file, read_array, read_rows, row_numbers
from galzoo.data.hdf5_writer import FileWriter
from galzoo.errors import InputError

FORMAT = "galzoo-scenes"
PLANES = (*hdf5.PLANES, "isolated")


def read_header(path):
    """Return the header of a scene file.

    Returns
    -------
    dict
        ``bands, pixel_scale, unit, survey, meta``, and from the data sets ``n``, ``shape`` (y, x), ``keys``,
        ``columns`` and ``source_columns`` (name to unit string), ``n_sources`` (all scenes together).
    """
    header = hdf5.read_header(path, FORMAT, PLANES)
    with open_file(path, FORMAT) as file:
        header["keys"] += [key for key in ("cutouts",) if key in file]
        header["source_columns"] = {name: data.attrs.get("unit", "") for name, data in file["sources"].items()}
        header["n_sources"] = len(file["sources/scene"])
    return header


def read_sources(path):
    """Return the table of sources of all scenes as a dict of arrays."""
    with open_file(path, FORMAT) as file:
        return {name: read_array(data) for name, data in file["sources"].items()}


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
        ``image`` and all that the file has of the other `PLANES`, ``psf`` and ``psf_index``; of the PSFs those that
        are used; and ``cutouts``, a list of arrays.
    catalogue : dict of arrays, (n, ...)
    sources : dict of arrays, (sources, ...)
        ``scene`` counts the scenes that were asked for.
    """
    with open_file(path, FORMAT) as file:
        rows = row_numbers(rows, len(file["image"]))
        planes = {key: read_rows(file[key], rows) for key in PLANES if key in file}
        if "psf" in file:
            used, planes["psf_index"] = np.unique(file["psf_index"][...][rows], return_inverse=True)
            planes["psf"] = read_rows(file["psf"], used)
        catalogue = {name: read_array(data)[rows] for name, data in file["catalogue"].items()}
        sources = {name: read_array(data) for name, data in file["sources"].items()}
        if "cutouts" in file:
            planes["cutouts"] = split_cutouts(file["cutouts"], file["image"].shape[-1], sources, rows)
    take, scene = source_rows(sources["scene"], rows)
    return planes, catalogue, {name: values[take] for name, values in sources.items()} | {"scene": scene}


def split_cutouts(pixels, bands, sources, rows):
    """Return the small images of the sources of the scenes `rows` as a list of arrays (y, x, band).

    Parameters
    ----------
    pixels : array or HDF5 data set, (pixels,)
        All images of the file, one after the other.
    bands : int
    sources : dict of arrays
        ``scene``, ``cutout_height`` and ``cutout_width`` of all sources of the file.
    rows : int array
        Which scenes.
    """
    shapes = np.stack([sources["cutout_height"], sources["cutout_width"]], axis=-1).astype(int)
    ends = np.concatenate([[0], np.cumsum(shapes.prod(axis=1) * bands)])
    found = []
    for row in rows:
        first, last = np.searchsorted(sources["scene"], [row, row + 1])
        own = pixels[ends[first] : ends[last]]
        parts = np.split(own, ends[first + 1 : last] - ends[first]) if last > first else []
        found += [part.reshape(*shape, bands) for part, shape in zip(parts, shapes[first:last], strict=True)]
    return found


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
        columns["scene"] = numbers + before, unit
        if scenes.cutouts is not None:
            shapes = np.array([cutout.shape[:2] for cutout in scenes.cutouts], np.int32).reshape(-1, 2)
            columns["cutout_height"], columns["cutout_width"] = (shapes[:, 0], ""), (shapes[:, 1], "")
            self._append("cutouts", np.concatenate([np.zeros(0, np.float32), *map(np.ravel, scenes.cutouts)]))
        self._append_columns("sources", columns, len(scenes.sources))

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
