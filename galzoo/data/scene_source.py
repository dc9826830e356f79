"""`SceneSource`: batches of NumPy arrays from a scene file, with what is known of each source."""

import numpy as np

from galzoo.data import hdf5, scenes_hdf5
from galzoo.data.footprints import footprint_boxes, sky_sigma
from galzoo.data.source import MEMORY_BYTES, FileSource, converted
from galzoo.data.splits import scenes_of_split

STAR = 1
"""Class number of stars where a file says the ``kind`` of its sources; galaxies are 0."""

_PADDED = {
    "positions": ("x", "y"),
    "ellipticity": ("e1", "e2"),
    "half_light_radius": ("half_light_radius",),
}
_BOXES = ("box_x0", "box_y0", "box_x1", "box_y1")


class SceneSource(FileSource):
    """One split of a scene file, served in batches; see `galzoo.data.source.FileSource`.

    It can serve the planes of the file, ``psf, label, condition, gain, sky, faintest`` as a `StampSource`;
    ``n_sources``, always; and from the table of sources ``positions`` (x, y), ``flux``, ``ellipticity`` (e1, e2),
    ``half_light_radius``, ``source_class`` (that column, else `STAR` where ``kind`` is star and 0 elsewhere), ``boxes``
    (from those columns, else from each source alone), and ``source_images`` with their ``corners``. All are padded to
    the most sources of a scene in the file: by 0, or -1 for classes.
    """

    kind = "scenes"
    form = scenes_hdf5.FORMAT
    planes = scenes_hdf5.PLANES
    always = (*FileSource.always, "n_sources")

    def __init__(self, path, *arguments, **options):
        self._sources = scenes_hdf5.read_sources(path)
        super().__init__(path, *arguments, **options)
        self._pixels = None
        if "source_images" in self._keys:
            with hdf5.open_file(path, self.form) as file:
                if 4 * file["cutouts"].shape[0] < MEMORY_BYTES:
                    self._pixels = file["cutouts"][...]

    def _read_header(self):
        return scenes_hdf5.read_header(self.path)

    def _in_split(self, columns, split, options):
        return scenes_of_split(columns, self._sources, split, **options)

    def _extra_keys(self):
        return ("source_images",) if "cutouts" in self._header["keys"] else ()

    def _columns_of(self, columns):
        found = super()._columns_of(columns)
        sources, bands = self._sources, self._header["bands"]
        self._count = np.bincount(sources["scene"], minlength=self._header["n"]).astype(np.int32)
        found["n_sources"] = lambda: self._count
        for key, names in (_PADDED | {"flux": [f"flux_{band}" for band in bands]}).items():
            if all(name in sources for name in names):
                found[key] = self._padding(names)
        if "source_class" in sources or "kind" in sources:
            found["source_class"] = self._classes
        keys = self._header["keys"]
        if all(name in sources for name in _BOXES):
            found["boxes"] = self._padding(_BOXES)
        elif "positions" in found and "variance" in keys and ("isolated" in keys or "cutouts" in keys):
            found["boxes"] = self._find_boxes
        if "cutouts" in keys:
            found["corners"] = self._padding(("cutout_x", "cutout_y"))
        return found

    @property
    def _most(self):
        """Return the number of sources that all scenes are padded to."""
        with hdf5.open_file(self.path, self.form) as file:
            wide = file["isolated"].shape[1] if "isolated" in file else 1
        return max(wide, int(self._count.max(initial=0)))

    def _pad(self, values, fill=0):
        """Return what each source has (sources, ...) as (n, source, ...)."""
        result = np.full((len(self._count), self._most, *values.shape[1:]), fill, values.dtype)
        result[self._sources["scene"], self._sources["source"]] = values
        return result

    def _padding(self, names):
        units = {"x": "pix", "y": "pix", "half_light_radius": "arcsec"}
        units |= {f"flux_{band}": self._header["unit"] for band in self._header["bands"] if self._header["unit"]}

        def column(name):
            own = self._header["source_columns"].get(name, "")
            values = converted(self._sources[name], own, units.get(name, own), f"{self.path}: {name} of sources")
            return values.astype(np.float32)

        def make():
            values = np.stack([column(name) for name in names], axis=-1)
            return self._pad(values[:, 0] if names == _PADDED["half_light_radius"] else values)

        return make

    def _classes(self):
        if "source_class" in self._sources:
            values = self._sources["source_class"].astype(np.int32)
        else:
            values = np.where(self._sources["kind"] == "star", STAR, 0).astype(np.int32)
        return self._pad(values, fill=-1)

    def _find_boxes(self):
        """Return the boxes of all sources, for files that do not say them."""
        x, y = self._sources["x"], self._sources["y"]
        boxes = np.zeros((len(x), 4), np.float32)
        first = np.cumsum(self._count) - self._count
        alone = "isolated" if "isolated" in self._header["keys"] else "cutouts"
        with hdf5.open_file(self.path, self.form) as file:
            for row in np.flatnonzero(self._count):
                own = np.arange(first[row], first[row] + self._count[row])
                places = np.stack([x[own], y[own]], axis=-1)
                mask = file["mask"][row][None] if "mask" in file else None
                sigma = sky_sigma(file["variance"][row][None], mask)[0]
                if alone == "isolated":
                    boxes[own] = footprint_boxes(file["isolated"][row, : len(own)], sigma, places)
                    continue
                images = scenes_hdf5.split_cutouts(file["cutouts"], len(sigma), self._sources, [row])
                corners = np.stack([self._sources["cutout_x"][own], self._sources["cutout_y"][own]], axis=-1)
                for source, image in enumerate(images):
                    one = slice(source, source + 1)
                    shape = self._header["shape"]
                    boxes[own[one]] = footprint_boxes(image[None], sigma, places[one], corners[one], shape)
        return self._pad(boxes)

    def batch(self, positions):
        """Return the batch of the scenes at `positions`, as `FileSource.batch`."""
        batch = super().batch(positions)
        if "source_images" in self._keys:
            batch["source_images"] = self._source_images(batch["index"])
        return batch

    def _source_images(self, rows):
        bands = len(self._header["bands"])
        # Square, so that they can be turned.
        side = max(int(self._sources[f"cutout_{name}"].max(initial=1)) for name in ("height", "width"))
        if self._pixels is not None:
            images = scenes_hdf5.split_cutouts(self._pixels, bands, self._sources, rows)
        else:
            with hdf5.open_file(self.path, self.form) as file:
                images = scenes_hdf5.split_cutouts(file["cutouts"], bands, self._sources, rows)
        result = np.zeros((len(rows), self._most, side, side, bands), np.float32)
        places = [(place, source) for place, row in enumerate(rows) for source in range(self._count[row])]
        for place, image in zip(places, images, strict=True):
            result[place][: image.shape[0], : image.shape[1]] = image
        return result
