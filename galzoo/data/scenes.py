"""`Scenes`: images with several sources and, where they are simulated, the truth of each source."""

from __future__ import annotations

import dataclasses

import numpy as np
from astropy.table import QTable
from astropy.units import Unit

from galzoo.data import scenes_hdf5
from galzoo.data.hdf5 import HEADER_KEYS
from galzoo.data.images import Images, in_unit, make_table, table_columns
from galzoo.data.plain import identifiers, plain
from galzoo.data.source import clean_planes
from galzoo.data.splits import SPLITS, scenes_of_split
from galzoo.errors import InputError

MOST_ISOLATED = 16
"""`isolated` is dense, so its scenes have at most so many sources."""


@dataclasses.dataclass(repr=False)
class Scenes(Images):
    """Images of one size with several sources each.

    Fields are those of `galzoo.data.images.Images`, with a row a scene in ``catalogue`` (``n_sources`` is counted
    here) and in ``segmentation`` per pixel the number of its brightest source + 1, or 0 where none is above the noise;
    and these.

    Parameters
    ----------
    isolated : array, (n, source, y, x, band), optional
        Each source alone: noiseless, through the PSF, 0 where a scene has fewer sources. At most `MOST_ISOLATED`.
    cutouts : sequence of arrays, (y, x, band), optional
        The same for scenes of any number of sources: for each row of `sources` a small image, whose first pixel lies on
        pixel ``cutout_x``, ``cutout_y`` (columns of `sources`) of the scene. Sizes may differ.
    sources : QTable, optional
        A row a source over all scenes. ``scene`` and ``source`` (int, both from 0) say which; ``id`` (str) is made of
        them if absent. Others are ``parent`` (str: the galaxy that it was drawn from, empty where it is none),
        ``kind``, ``source_class`` (int), ``x``, ``y`` (pixels), ``flux_<band>``, ``mag_<band>``,
        ``half_light_radius``, ``e1``, ``e2`` (distortion, from +x towards +y), ``box_x0``, ``box_y0``, ``box_x1``,
        ``box_y1`` (pixel edges, `galzoo.data.footprints`), ``blendedness_<band>``, ``separation`` (to the nearest
        source, NaN if alone), ``snr_<band>``. Rows are sorted by scene and source here.

    Raises
    ------
    InputError
        If shapes, bands, sources or values do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> scenes = Scenes(np.zeros((2, 32, 32, 1)), bands=["i"], pixel_scale=0.2,
    ...                 sources={"scene": [0, 1, 1], "source": [0, 0, 1], "x": [9., 8., 7.], "y": [4., 5., 6.]})
    >>> scenes.positions()[1]
    array([1, 2], dtype=int32)
    """

    kind = "scenes"
    _drawn_by = "galzoo.viz.scenes:scene_panel"
    planes = scenes_hdf5.PLANES

    isolated: np.ndarray | None = None
    cutouts: list | None = None
    sources: QTable | None = None

    def __post_init__(self):
        super().__post_init__()
        self.image = self.image.astype(np.float32, copy=False)
        self._set_sources()
        self.catalogue["n_sources"] = self._count
        if self.isolated is not None:
            width = np.shape(self.isolated)[1] if np.ndim(self.isolated) == 5 else 0
            most = max(width, int(self._count.max(initial=0)))
            if most > MOST_ISOLATED:
                raise InputError(
                    f"a scene has {most} sources, isolated holds at most {MOST_ISOLATED}; leave it out or give cutouts"
                )
            self._bare("isolated", 1)
            self._set_plane("isolated", np.float32, (len(self), most, *self.image.shape[1:]))
        if self.cutouts is not None:
            self._set_cutouts()

    def _set_cutouts(self):
        cutouts = [in_unit(cutout, self.unit, "a cutout") for cutout in self.cutouts]
        cutouts = [np.asarray(cutout).astype(np.float32, copy=False) for cutout in cutouts]
        odd = [cutout.shape for cutout in cutouts if cutout.ndim != 3 or cutout.shape[2] != len(self.bands)]
        if odd:
            raise InputError(f"a cutout has shape {odd[0]}; they are (y, x, band) with {len(self.bands)} bands")
        if len(cutouts) != len(self.sources):
            raise InputError(f"{len(cutouts)} cutouts for {len(self.sources)} sources; give one each")
        if len(cutouts) and not {"cutout_x", "cutout_y"} <= {*self.sources.colnames}:
            raise InputError("cutouts need the columns 'cutout_x' and 'cutout_y' of sources: where each lies")
        self.cutouts = cutouts

    def _set_sources(self):
        table = QTable() if self.sources is None else QTable(self.sources, copy=False)
        for name in ("scene", "source"):
            if name not in table.colnames:
                if len(table):
                    raise InputError(f"sources have no column {name!r}; say of each source in which scene it is")
                table[name] = np.zeros(0, np.int32)
            table[name] = _numbers(table[name], name)
        for name, unit in self._units().items():
            if name in table.colnames and getattr(table[name], "unit", None) is not None:
                # Files and batches have these numbers without their units.
                table[name] = in_unit(table[name], unit, f"column {name} of sources") * Unit(unit)
        scene, source = np.asarray(table["scene"]), np.asarray(table["source"])
        n = len(self.image)
        if len(table) and not 0 <= scene.min() <= scene.max() < n:
            raise InputError(f"sources are in scenes {scene.min()} to {scene.max()}; there are {n}, counted from 0")
        order = np.lexsort((source, scene))
        if not np.array_equal(order, np.arange(len(order))):
            table, scene, source = table[order], scene[order], source[order]
            if self.cutouts is not None:
                self.cutouts = [self.cutouts[row] for row in order]
        self._count = np.bincount(scene, minlength=n).astype(np.int32)
        first = np.repeat(np.cumsum(self._count) - self._count, self._count)
        odd = np.flatnonzero(source != np.arange(len(source)) - first)
        if len(odd):
            row = odd[0]
            raise InputError(f"sources of scene {scene[row]} are not numbered 0, 1, ...: there is {source[row]}")
        if "id" not in table.colnames:
            table["id"] = [f"{one}/{other}" for one, other in zip(scene, source, strict=True)]
        table["id"] = identifiers(table["id"], "id")
        self.sources = table

    def _units(self):
        """Return the units of columns of sources that have to have them, name to unit."""
        fluxes = {f"flux_{band}": self.unit for band in self.bands} if self.unit else {}
        return {"x": "pix", "y": "pix", "half_light_radius": "arcsec"} | fluxes

    @property
    def most(self):
        """Number of sources that all scenes are padded to."""
        return max(1, int(self._count.max(initial=0))) if self.isolated is None else self.isolated.shape[1]

    def __getitem__(self, rows):
        """Return the scenes of `rows` (slice, int array or bool array) as new `Scenes`; PSFs not used are dropped."""
        rows = np.arange(len(self))[self._rows(rows)]
        changes = self._taken(rows)
        take, scene = scenes_hdf5.source_rows(np.asarray(self.sources["scene"]), rows)
        changes["sources"] = self.sources[take]
        changes["sources"]["scene"] = scene.astype(np.int32)
        if self.cutouts is not None:
            changes["cutouts"] = [self.cutouts[row] for row in take]
        return dataclasses.replace(self, **changes)

    def positions(self):
        """Return where the sources are and how many there are.

        Returns
        -------
        positions : float32 array, (n, source, 2)
            Pixel position as x, y; 0 beyond the last source of a scene.
        n_sources : int32 array, (n,)

        Raises
        ------
        InputError
            If the table of sources has no ``x`` or ``y``.
        """
        return np.stack([self._padded("x"), self._padded("y")], axis=-1), self._count.copy()

    def flux(self):
        """Return the total flux of each source, (n, source, band), float32; 0 beyond the last source of a scene."""
        return np.stack([self._padded(f"flux_{band}") for band in self.bands], axis=-1)

    def _padded(self, name):
        if name not in self.sources.colnames:
            if len(self.sources):
                raise InputError(f"sources have no column {name!r}; they have {', '.join(self.sources.colnames)}")
            return np.zeros((len(self), self.most), np.float32)
        result = np.zeros((len(self), self.most), np.float32)
        result[np.asarray(self.sources["scene"]), np.asarray(self.sources["source"])] = plain(self.sources[name])
        return result

    def batch(self, rows=slice(None)):
        """Return some scenes as a batch, a dict of arrays with the keys of `galzoo.data.keys`.

        Parameters
        ----------
        rows : slice, int array or bool array
            Which scenes.

        Returns
        -------
        dict of arrays
            ``image, variance, mask`` with bad pixels 0 and masked, and an absent variance estimated from the rim;
            ``positions, n_sources, index``; and where the scenes have them ``psf, isolated, flux``.
        """
        rows = np.arange(len(self))[rows]
        keys = [key for key in ("image", "variance", "mask") if getattr(self, key) is not None]
        batch = clean_planes({key: getattr(self, key)[rows] for key in keys}, estimate=True)
        if self.psf is not None:
            batch["psf"] = self.psf_of(rows)
        if self.isolated is not None:
            batch["isolated"] = self.isolated[rows]
        batch["positions"], batch["n_sources"] = (values[rows] for values in self.positions())
        if all(f"flux_{band}" in self.sources.colnames for band in self.bands):
            batch["flux"] = self.flux()[rows]
        return batch | {"index": rows.astype(np.int32)}

    def split(self, name, valid=0.1, test=0.1, seed=0):
        """Return the scenes of a split.

        Parameters
        ----------
        name : {"train", "valid", "test", "all"}
            Which.
        valid, test, seed
            As for `galzoo.data.splits.split_names`, which says in which split a galaxy is.

        Returns
        -------
        Scenes
            Those whose catalogue column ``split`` says so. Where there is none: those whose galaxies (``parent``, else
            the ``id`` of the scene) are all in the split; scenes whose galaxies are in several are in none.
        """
        if name == "all":
            return self
        if name not in SPLITS:
            raise InputError(f"split {name!r} is unknown; use {', '.join(SPLITS)} or all")
        columns = {
            column: np.asarray(self.catalogue[column]) for column in {"id", "split"} & {*self.catalogue.colnames}
        }
        sources = {
            column: np.asarray(self.sources[column]) for column in {"scene", "parent"} & {*self.sources.colnames}
        }
        return self[scenes_of_split(columns, sources, name, valid, test, seed)]

    def source_columns(self):
        """Return the table of sources as a dict of (values, unit string)."""
        return table_columns(self.sources)

    def save(self, path):
        """Write the scenes to an HDF5 file, atomically."""
        with scenes_hdf5.ScenesWriter(path) as writer:
            writer.write(self)

    @classmethod
    def load(cls, path, rows=slice(None)):
        """Read scenes from an HDF5 file.

        Parameters
        ----------
        path : str or Path
            A file made by `save`, `ScenesWriter` or ``galzoo simulate scenes``.
        rows : slice, int array or bool array
            Which scenes; all by default. Only these are read.

        Raises
        ------
        InputError
            If the file is missing, damaged or of another format or version.
        """
        header = scenes_hdf5.read_header(path)
        planes, catalogue, sources = scenes_hdf5.read_scenes(path, rows)
        for key in ("cutout_height", "cutout_width"):
            sources.pop(key, None)
        try:
            return cls(
                **planes,
                catalogue=make_table(catalogue, header["columns"]),
                sources=make_table(sources, header["source_columns"]),
                **{key: header[key] for key in HEADER_KEYS},
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def _numbers(column, name):
    """Return the whole numbers of a column of sources, int32 (n,)."""
    values = plain(column)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or np.any(values != np.round(values)):
        raise InputError(f"column {name!r} of sources holds no whole numbers; count scenes and their sources from 0")
    return values.astype(np.int32)
