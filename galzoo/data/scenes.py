"""`Scenes`: images with several sources and, where they are simulated, the truth of each source."""

from __future__ import annotations

import dataclasses

import numpy as np
from astropy.table import QTable

from galzoo.data import scenes_hdf5
from galzoo.data.hdf5 import HEADER_KEYS
from galzoo.data.source import clean_planes
from galzoo.data.splits import SPLITS, split_names
from galzoo.data.stamps import check_psf, make_table, table_columns
from galzoo.errors import InputError

MOST_ISOLATED = 16
"""`isolated` is dense, so its scenes have at most so many sources."""


@dataclasses.dataclass
class Scenes:
    """Images of one size with several sources each.

    Pixel centres are at integers, 0-based; the centre of an n-pixel axis is ``(n - 1) / 2``.

    Parameters
    ----------
    image : array, (n, y, x, band)
        Pixels in `unit`.
    bands : sequence of str
        Names of the bands, in the order of the last axis.
    pixel_scale : float
        Arcsec per pixel.
    unit : str
        Unit of the pixels, e.g. "nJy" (AB zero point 31.4).
    variance : array, (n, y, x, band), optional
        Variance in `unit` squared. A band that is absent has infinite variance.
    mask : bool array, (n, y, x, band), optional
        True = bad.
    psf : array, (m, y, x, band), optional
        PSF images with the pixel response in them, unit sum. Normalised here to the last digits.
    psf_index : int array, (n,), optional
        Which of the m PSFs belongs to each scene; not needed for m = n or m = 1.
    isolated : array, (n, source, y, x, band), optional
        Each source alone: noiseless, through the PSF, 0 where a scene has fewer sources. At most `MOST_ISOLATED`.
    segmentation : int array, (n, y, x), optional
        Per pixel the number of its brightest source + 1, or 0 where none is above the noise.
    sources : QTable, optional
        A row a source over all scenes. ``scene`` and ``source`` (int, both from 0) say which; ``id`` (str) is made of
        them if absent. Others are ``parent`` (str: the galaxy that it was drawn from, empty where it is none),
        ``kind``, ``x``, ``y`` (pixels), ``flux_<band>``, ``mag_<band>``, ``half_light_radius``, ``e1``, ``e2``
        (distortion, from +x towards +y), ``blendedness_<band>``, ``separation`` (to the nearest source, NaN if alone),
        ``snr_<band>``. Rows are sorted by scene and source here.
    catalogue : QTable, optional
        A row a scene; ``id`` (str) is made from the row number if absent, ``n_sources`` is counted here.
    survey : str
        Where the image is from.
    meta : dict
        Anything else that JSON can hold: origin, references, seed.

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

    image: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float
    unit: str = "nJy"
    variance: np.ndarray | None = None
    mask: np.ndarray | None = None
    psf: np.ndarray | None = None
    psf_index: np.ndarray | None = None
    isolated: np.ndarray | None = None
    segmentation: np.ndarray | None = None
    sources: QTable | None = None
    catalogue: QTable | None = None
    survey: str = ""
    meta: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.image = np.asarray(self.image).astype(np.float32, copy=False)
        self.bands = tuple(str(band) for band in self.bands)
        self.pixel_scale = float(self.pixel_scale)
        if self.image.ndim != 4:
            raise InputError(f"image has shape {self.image.shape}; scenes are (n, y, x, band)")
        if self.image.shape[-1] != len(self.bands):
            names = ", ".join(self.bands)
            raise InputError(f"image has {self.image.shape[-1]} bands but {len(self.bands)} names: {names}")
        if not self.pixel_scale > 0:
            raise InputError(f"pixel_scale is {self.pixel_scale}; give arcsec per pixel, above 0")
        n, *shape = self.image.shape
        self._set_plane("variance", np.float32, self.image.shape)
        self._set_plane("mask", bool, self.image.shape)
        self._set_plane("segmentation", np.int32, self.image.shape[:3])
        if self.variance is not None and bool(np.any(self.variance < 0)):
            raise InputError("variance has negative values; give variance, not weight, and mask bad pixels")
        if self.psf is None:
            self.psf_index = None
        else:
            self.psf, self.psf_index = check_psf(self.psf, self.psf_index, n, len(self.bands), "scenes")
        self._set_sources()
        if self.isolated is not None:
            width = np.shape(self.isolated)[1] if np.ndim(self.isolated) == 5 else 0
            most = int(self._count.max(initial=0))
            if max(width, most) > MOST_ISOLATED:
                raise InputError(
                    f"a scene has {max(width, most)} sources, isolated holds at most {MOST_ISOLATED}; leave it out"
                )
            self._set_plane("isolated", np.float32, (n, max(width, most), *shape))
        self._set_catalogue()

    def _set_plane(self, key, dtype, shape):
        plane = getattr(self, key)
        if plane is not None:
            plane = np.asarray(plane).astype(dtype, copy=False)
            if plane.shape != tuple(shape):
                raise InputError(f"{key} has shape {plane.shape}, for these scenes it must be {tuple(shape)}")
            setattr(self, key, plane)

    def _set_sources(self):
        table = QTable() if self.sources is None else QTable(self.sources, copy=False)
        for name in ("scene", "source"):
            if name not in table.colnames:
                if len(table):
                    raise InputError(f"sources have no column {name!r}; say of each source in which scene it is")
                table[name] = np.zeros(0, np.int32)
            table[name] = np.asarray(table[name]).astype(np.int32)
        scene, source = np.asarray(table["scene"]), np.asarray(table["source"])
        n = len(self.image)
        if len(table) and not 0 <= scene.min() <= scene.max() < n:
            raise InputError(f"sources are in scenes {scene.min()} to {scene.max()}; there are {n}, counted from 0")
        order = np.lexsort((source, scene))
        if not np.array_equal(order, np.arange(len(order))):
            table, scene, source = table[order], scene[order], source[order]
        self._count = np.bincount(scene, minlength=n).astype(np.int32)
        first = np.repeat(np.cumsum(self._count) - self._count, self._count)
        odd = np.flatnonzero(source != np.arange(len(source)) - first)
        if len(odd):
            row = odd[0]
            raise InputError(f"sources of scene {scene[row]} are not numbered 0, 1, ...: there is {source[row]}")
        if "id" not in table.colnames:
            table["id"] = [f"{one}/{other}" for one, other in zip(scene, source, strict=True)]
        table["id"] = np.asarray(table["id"]).astype(str)
        self.sources = table

    def _set_catalogue(self):
        table = QTable() if self.catalogue is None else QTable(self.catalogue, copy=False)
        if table.colnames and len(table) != len(self.image):
            raise InputError(f"catalogue has {len(table)} rows for {len(self.image)} scenes")
        if "id" not in table.colnames:
            table["id"] = [str(row) for row in range(len(self.image))]
        table["id"] = np.asarray(table["id"]).astype(str)
        table["n_sources"] = self._count
        self.catalogue = table

    def __len__(self):
        return len(self.image)

    @property
    def shape(self):
        """Size of a scene in pixels, (y, x)."""
        return self.image.shape[1:3]

    @property
    def most(self):
        """Number of sources that all scenes are padded to."""
        return max(1, int(self._count.max(initial=0))) if self.isolated is None else self.isolated.shape[1]

    def __getitem__(self, rows):
        """Return the scenes of `rows` (slice, int array or bool array) as new `Scenes`; PSFs not used are dropped."""
        if isinstance(rows, (int, np.integer)):
            # Raises IndexError beyond the last, which is what ends a loop over scenes.
            rows = [range(len(self))[rows]]
        rows = np.arange(len(self))[rows]
        changes = {key: plane[rows] for key in scenes_hdf5.PLANES if (plane := getattr(self, key)) is not None}
        changes["catalogue"] = self.catalogue[rows]
        take, scene = scenes_hdf5.source_rows(np.asarray(self.sources["scene"]), rows)
        changes["sources"] = self.sources[take]
        changes["sources"]["scene"] = scene.astype(np.int32)
        if self.psf is not None:
            used, index = np.unique(self.psf_index[rows], return_inverse=True)
            changes["psf"], changes["psf_index"] = self.psf[used], index
        return dataclasses.replace(self, **changes)

    def psf_of(self, rows):
        """Return the PSFs of `rows`, shape (n, y, x, band), or None where the scenes have none."""
        return None if self.psf is None else self.psf[self.psf_index[rows]]

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
        column = self.sources[name]
        values = column.value if hasattr(column, "value") else column
        result[np.asarray(self.sources["scene"]), np.asarray(self.sources["source"])] = values
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
        ids = np.asarray(self.catalogue["id"])
        if "split" in self.catalogue.colnames or "parent" not in self.sources.colnames:
            columns = {name: np.asarray(self.catalogue[name]) for name in {"id", "split"} & {*self.catalogue.colnames}}
            return self[split_names(columns, valid, test, seed) == name]
        scene, parent = np.asarray(self.sources["scene"]), np.asarray(self.sources["parent"]).astype(str)
        known = parent != ""
        inside = split_names({"id": ids}, valid, test, seed) == name
        inside[scene[known]] = True
        other = split_names({"id": parent[known]}, valid, test, seed) != name
        inside[scene[known][other]] = False
        return self[inside]

    def arrays(self):
        """Return the planes that are present, with ``psf`` and ``psf_index``, as a dict of arrays."""
        keys = (*scenes_hdf5.PLANES, "psf", "psf_index")
        return {key: value for key in keys if (value := getattr(self, key)) is not None}

    def header(self):
        """Return what is the same for all scenes, as JSON can hold it."""
        return {key: getattr(self, key) for key in HEADER_KEYS} | {"bands": list(self.bands)}

    def columns(self):
        """Return the catalogue of scenes as a dict of (values, unit string)."""
        return table_columns(self.catalogue)

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
        return cls(
            **planes,
            catalogue=make_table(catalogue, header["columns"]),
            sources=make_table(sources, header["source_columns"]),
            **{key: header[key] for key in HEADER_KEYS},
        )
