"""`Images`: what stamps and scenes share, with the checks of it."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from typing import ClassVar

import numpy as np
from astropy.table import QTable, Table

from galzoo.brief import Brief
from galzoo.data.bands import checked
from galzoo.data.hdf5 import HEADER_KEYS, PLANES
from galzoo.data.plain import beyond_reals, check_whole, identifiers, plain
from galzoo.data.tables import flat
from galzoo.errors import InputError
from galzoo.registry import import_object


@dataclasses.dataclass(repr=False)
class Images(Brief):
    """Images of one size with everything needed to use them; `galzoo.Stamps` and `galzoo.Scenes` add to it.

    Pixel centres are at integers, 0-based; the centre of an n-pixel axis is ``(n - 1) / 2``.

    Quantities are brought to `unit`, and what is masked in masked arrays is so in `mask`.

    Parameters
    ----------
    image : array, (n, y, x, band)
        Pixels in `unit`; float32, or uint8 for display-stretched pictures (unit "").
    bands : sequence of str
        Names of the bands, in the order of the last axis.
    pixel_scale : float
        Arcsec per pixel.
    unit : str
        Unit of the pixels, e.g. "nJy" (AB zero point 31.4); "" for pictures without a flux scale.
    variance : array, (n, y, x, band), optional
        Variance in `unit` squared. A band that is absent has infinite variance.
    mask : bool array, (n, y, x, band), optional
        True = bad.
    psf : array, (m, y, x, band), optional
        PSF images with the pixel response in them, unit sum. Normalised here to the last digits.
    psf_index : int array, (n,), optional
        Which of the m PSFs belongs to each image; not needed for m = n or m = 1.
    truth : array, (n, y, x, band), optional
        Simulated images only: the noiseless image in the model frame (``meta["model_sigma"]`` pixels).
    model : array, (n, y, x, band), optional
        Image that a first pass has fitted.
    segmentation : int array, (n, y, x), optional
        Label image.
    pixel_class : array, (n, y, x, class), optional
        Membership of each pixel in each class; float32, or uint8 where it is whole numbers.
    catalogue : QTable, optional
        A row an image; a column ``id`` (str) is made from the row number if absent. Columns ``gain_<band>`` (electrons
        per unit) and ``sky_<band>`` (level of the sky that was subtracted, in `unit`) say what noise is made of.
    survey : str
        Where the image is from.
    meta : dict
        Anything else that JSON can hold: origin, references, seed.

    Raises
    ------
    InputError
        If shapes, bands or values do not fit each other.
    """

    kind: ClassVar[str] = "images"
    """What messages call them."""
    planes: ClassVar[tuple] = PLANES
    """Names of the arrays with an entry an image."""

    _drawn_by: ClassVar[str] = "galzoo.viz.panels:panel"

    image: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float
    unit: str = "nJy"
    variance: np.ndarray | None = None
    mask: np.ndarray | None = None
    psf: np.ndarray | None = None
    psf_index: np.ndarray | None = None
    truth: np.ndarray | None = None
    model: np.ndarray | None = None
    segmentation: np.ndarray | None = None
    pixel_class: np.ndarray | None = None
    catalogue: QTable | None = None
    survey: str = ""
    meta: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.unit = str(self.unit or "")
        if self.unit and not _known(self.unit):
            raise InputError(f"unit {self.unit!r} is not known; give nJy, another unit of astropy's, or '' for none")
        planes = {"image": 1, "variance": 2, "truth": 1, "model": 1, "psf": 0, "segmentation": 0, "pixel_class": 0}
        hidden = [found for key, power in planes.items() if (found := self._bare(key, power)) is not None]
        image = np.asarray(self.image)
        self.image = image if image.dtype == np.uint8 else _as(image, np.float32, "image")
        self.bands = checked(self.bands)
        scale = np.asarray(in_unit(self.pixel_scale, "arcsec", "pixel_scale"))
        if self.image.ndim != 4:
            raise InputError(f"image has shape {self.image.shape}; {self.kind} are (n, y, x, band)")
        if self.image.shape[-1] != len(self.bands):
            names = ", ".join(self.bands)
            raise InputError(f"image has {self.image.shape[-1]} bands but {len(self.bands)} names: {names}")
        try:
            self.pixel_scale = float(scale)
        except (TypeError, ValueError):
            self.pixel_scale = np.nan
        if not 0 < self.pixel_scale < np.inf:
            raise InputError(f"pixel_scale is {scale}; give arcsec per pixel, one number above 0")
        for key, dtype in (("variance", np.float32), ("mask", bool), ("truth", np.float32), ("model", np.float32)):
            self._set_plane(key, dtype, self.image.shape)
        for bad in hidden:
            self.mask = bad if self.mask is None else self.mask | bad
        self._set_plane("segmentation", np.int32, self.image.shape[:3])
        if self.pixel_class is not None:
            plane = np.asarray(self.pixel_class)
            dtype = np.float32 if plane.dtype.kind == "f" else np.uint8
            self._set_plane("pixel_class", dtype, (*self.image.shape[:3], *plane.shape[3:4]))
        if self.variance is not None and bool(np.any(self.variance < 0)):
            raise InputError("variance has negative values; give variance, not weight, and mask bad pixels")
        if self.psf is None:
            self.psf_index = None
        else:
            self.psf, self.psf_index = check_psf(self.psf, self.psf_index, len(self), len(self.bands), self.kind)
        self._set_catalogue()

    def _bare(self, key, power):
        """Bring a quantity to the unit and take the mask off an array; return that, or None where nothing is masked."""
        plane = in_unit(getattr(self, key), self.unit, key, power)
        setattr(self, key, plane)
        if getattr(plane, "mask", None) is None:
            return None
        mask = np.ma.getmaskarray(plane) if isinstance(plane, np.ma.MaskedArray) else np.asarray(plane.mask)
        if mask.any() and key not in ("image", "variance"):
            raise InputError(f"{key} has masked values; fill them, or mask these pixels of the image")
        plane = np.asarray(getattr(plane, "unmasked", plane))
        setattr(self, key, np.where(mask, np.array(1 if key == "variance" else 0, plane.dtype), plane))
        return mask if mask.any() else None

    def _set_plane(self, key, dtype, shape):
        plane = getattr(self, key)
        if plane is not None:
            plane = _as(np.asarray(plane), dtype, key)
            if plane.shape != tuple(shape):
                raise InputError(f"{key} has shape {plane.shape}, for these {self.kind} it must be {tuple(shape)}")
            setattr(self, key, plane)

    def _set_catalogue(self):
        table = Table() if self.catalogue is None else Table(self.catalogue, copy=False)
        for name in table.colnames:
            if getattr(table[name], "unit", None) is not None and beyond_reals(table[name]):
                table[name] = plain(table[name])
        table = QTable(table, copy=False)
        if table.colnames and len(table) != len(self.image):
            raise InputError(f"catalogue has {len(table)} rows for {len(self.image)} {self.kind}")
        if "id" not in table.colnames:
            table["id"] = [str(row) for row in range(len(self.image))]
        table["id"] = identifiers(table["id"], "id")
        self.catalogue = table

    def __len__(self):
        return len(self.image)

    @property
    def shape(self):
        """Size of an image in pixels, (y, x)."""
        return self.image.shape[1:3]

    def plot(self, rows=None, **options):
        """Draw some of the images in colour; `rows` and options as in `panel` and `scene_panel` of `galzoo.viz`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return import_object(self._drawn_by)(self, **({} if rows is None else {"rows": rows}), **options)

    def to_nddata(self, row=0):
        """Return one image, (y, x, band), as `astropy.nddata.NDData` with unit, variance, mask and what is known of it.

        Parameters
        ----------
        row : int
        """
        from astropy.nddata import NDData, VarianceUncertainty

        return NDData(
            self.image[row],
            uncertainty=None if self.variance is None else VarianceUncertainty(self.variance[row]),
            mask=None if self.mask is None else self.mask[row],
            unit=self.unit or None,
            psf=None if self.psf is None else self.psf[self.psf_index[row]],
            meta={"bands": self.bands, "pixel_scale": self.pixel_scale, "survey": self.survey, **self.meta}
            | {name: self.catalogue[name][row] for name in self.catalogue.colnames},
        )

    def to_table(self):
        """Return a copy of the catalogue, a row an image."""
        return self.catalogue.copy()

    def _rows(self, rows):
        """Return `rows` as a slice or an array, whatever `__getitem__` was given."""
        if isinstance(rows, (int, np.integer)):
            # Raises IndexError beyond the last, which is what ends a loop over images.
            row = range(len(self))[rows]
            return slice(row, row + 1)
        return rows

    def _taken(self, rows):
        """Return what changes when only `rows` are kept; PSFs that are not used are dropped."""
        changes = {key: plane[rows] for key in self.planes if (plane := getattr(self, key)) is not None}
        changes["catalogue"] = self.catalogue[rows]
        if self.psf is not None:
            used, index = np.unique(self.psf_index[rows], return_inverse=True)
            changes["psf"], changes["psf_index"] = self.psf[used], index
        return changes

    def psf_of(self, rows):
        """Return the PSFs of `rows`, shape (n, y, x, band), or None where there are none."""
        return None if self.psf is None else self.psf[self.psf_index[rows]]

    def arrays(self):
        """Return the planes that are present, with ``psf`` and ``psf_index``, as a dict of arrays."""
        keys = (*self.planes, "psf", "psf_index")
        return {key: value for key in keys if (value := getattr(self, key)) is not None}

    def header(self):
        """Return what is the same for all images, as JSON can hold it."""
        header = {key: getattr(self, key) for key in HEADER_KEYS} | {"bands": list(self.bands)}
        return json.loads(json.dumps(header, default=_for_json))

    def columns(self):
        """Return the catalogue as a dict of (values, unit string)."""
        return table_columns(self.catalogue)


@functools.lru_cache
def _known(unit):
    """Return whether astropy knows a unit."""
    from astropy import units

    try:
        return units.Unit(unit) is not None
    except (ValueError, TypeError):
        return False


def in_unit(quantity, unit, key, power=1):
    """Return a quantity in a unit, and what is none as it is; `InputError` where the unit does not fit."""
    from astropy import units

    if not hasattr(quantity, "unit"):
        return quantity
    wanted = units.dimensionless_unscaled
    try:
        wanted = units.Unit(unit) ** power
        return quantity.to_value(wanted)
    except (units.UnitConversionError, ValueError):
        raise InputError(f"{key} is in {quantity.unit}, not {str(wanted) or 'without unit'}; convert it") from None


def _as(plane, dtype, key):
    """Return a plane in the type that it is kept in; raise `InputError` where that cannot hold its numbers."""
    if plane.dtype.kind not in "fiub":
        raise InputError(f"{key} holds {plane.dtype}; give real numbers")
    if dtype is np.int32 and plane.size:
        # NaN is 0, where there is no source.
        plane = np.where(np.isnan(plane), 0, plane) if plane.dtype.kind == "f" else plane
        low, high = plane.min(), plane.max()
        if not -(2**31) <= low <= high < 2**31:
            raise InputError(f"{key} has labels up to {high:.0f}, beyond 32 bits; number them from 1")
        check_whole(plane, key)
    if dtype is np.uint8 and plane.size and not 0 <= plane.min() <= plane.max() <= 255:
        raise InputError(f"{key} has whole numbers from {plane.min()} to {plane.max()}, beyond 8 bits; give reals")
    with np.errstate(over="ignore"):
        new = plane.astype(dtype, copy=False)
    if new.dtype.kind == "f" and plane.dtype.itemsize > new.dtype.itemsize:
        lost = np.isinf(new) & np.isfinite(plane)
        if lost.any():
            raise InputError(
                f"{key} has values up to {np.abs(plane[lost]).max():.3g}, beyond float32; use a larger unit"
            )
    return new


def check_psf(psf, index, n, bands, of="stamps"):
    """Return PSFs of unit sum and which of them belongs to each of `n` images, or raise an error.

    Parameters
    ----------
    psf : array, (m, y, x, band)
        Sums near 1.
    index : int array, (n,), or None
        Not needed for m = n or m = 1.
    n, bands : int
        Number of images and of bands.
    of : str
        What the images are, for messages.

    Returns
    -------
    psf : float32 array, (m, y, x, band)
    index : int32 array, (n,)

    Raises
    ------
    InputError
        If shapes do not fit, or a sum is not finite or off by more than a fifth.
    """
    psf = np.asarray(psf, dtype=np.float32)
    if psf.ndim != 4 or psf.shape[-1] != bands:
        raise InputError(f"psf has shape {psf.shape}; it must be (m, y, x, band) with {bands} bands")
    m = len(psf)
    if index is None:
        if m not in (1, n):
            raise InputError(f"{m} PSFs for {n} {of}; give psf_index, one PSF, or one each")
        index = np.arange(n) if m == n else np.zeros(n)
    if np.any(np.asarray(index) != np.round(index)):
        raise InputError("psf_index holds fractions; give whole numbers")
    index = np.asarray(index, dtype=np.int32)
    if index.shape != (n,) or (n and not 0 <= index.min() <= index.max() < m):
        raise InputError(f"psf_index must hold {n} numbers from 0 to {m - 1}")
    total = psf.sum(axis=(1, 2), dtype=np.float64)
    if not np.all(np.isfinite(total)) or np.any(np.abs(total - 1) > 0.2):
        worst = total.flat[np.argmax(np.abs(np.nan_to_num(total, nan=np.inf) - 1))] if total.size else 0
        raise InputError(f"psf sums to {worst:.4g}, not 1; normalise it (and check that its background is 0)")
    return (psf / total[:, None, None, :]).astype(np.float32), index


def _for_json(value):
    """Return what JSON cannot hold as what it can: numbers and arrays of NumPy, and paths."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU" and not hasattr(value, "unit"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise InputError(f"meta holds a {type(value).__name__}, which no file can; give numbers, text, lists and dicts")


def table_columns(table):
    """Return a table as a dict of (values, unit string), as a file holds it: what is missing as in `plain`.

    Raises
    ------
    InputError
        If astropy would not read a unit again.
    """
    result, table = {}, flat(table.copy(copy_data=False))
    for name in table.colnames:
        column = table[name]
        unit = getattr(column, "unit", None)
        text = "" if unit is None else unit.to_string()
        if text and not _known(text):
            raise InputError(f"column {name} is in {text!r}, a unit that nobody could read again; convert it")
        result[name] = plain(column), text
    return result


def make_table(columns, units):
    """Return the QTable of a dict of arrays and a dict of unit strings."""
    table = QTable()
    for name, values in columns.items():
        table[name] = values * _unit(units[name]) if units[name] else values
    return table


def _unit(text):
    from astropy import units

    try:
        return units.Unit(text)
    except (ValueError, TypeError):
        raise InputError(f"unknown unit {text!r} of a column") from None
