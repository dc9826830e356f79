"""`StampSource`: batches of NumPy arrays from a stamp file, the same for every back end.

All planes, labels and conditions of a batch are gathered with one set of row numbers, so they cannot come apart.
"""

import logging

import numpy as np

from galzoo.data import hdf5
from galzoo.data.keys import KEYS
from galzoo.data.plain import marks_of_missing
from galzoo.data.splits import SPLITS, split_names
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

# Files up to this many bytes are kept in memory, larger ones are read batch by batch.
MEMORY_BYTES = 6 << 30


class FileSource:
    """One split of a file, served in batches; fulfils `galzoo.contracts.source.Source`.

    Parameters
    ----------
    path : str or Path
        Stamp or scene file.
    keys : sequence of str
        Keys that must be served; those of `always` are anyway. An absent ``variance`` is estimated from the sky of
        each image.
    split : {"train", "valid", "test", "all"}
        Which objects.
    split_options : dict, optional
        Arguments of `galzoo.data.splits.split_names`.
    label : str, optional
        Catalogue column for ``label``, which is then served.
    condition : sequence of str
        Catalogue columns for ``condition``, which is then served.
    limit : int, optional
        Use at most so many objects.
    optional : sequence of str
        Keys that are served where the file has them; `absent` is a list of the others.

    Raises
    ------
    InputError
        If the split is empty, a key cannot be served, or a column is absent.
    """

    kind = "stamps"
    form = hdf5.FORMAT
    planes = hdf5.PLANES
    always = ("image", "mask", "index")

    def __init__(
        self,
        path,
        keys=("image", "variance"),
        split="train",
        split_options=None,
        label=None,
        condition=(),
        limit=None,
        optional=(),
    ):
        self.path = path
        self._header = self._read_header()
        columns = hdf5.read_columns(path, form=self.form)
        if split not in (*SPLITS, "all"):
            raise InputError(f"split {split!r} is unknown; use {', '.join(SPLITS)} or all")
        chosen = np.ones(self._header["n"], bool)
        if split != "all":
            try:
                chosen = self._in_split(columns, split, split_options or {})
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
        self.rows = np.flatnonzero(chosen)[:limit]
        if not len(self.rows):
            n = self._header["n"]
            raise InputError(f"{path}: none of {n} {self.kind} is in split {split!r}; use a larger file or fraction")
        makers = self._columns_of(columns) | self._named_columns(columns, label, condition)
        planes = [key for key in (*self.planes, "psf") if key in self._header["keys"]]
        has = {*planes, *makers, *self._extra_keys(), "variance", "mask", "index"}
        self._refuse_absent(keys, has)
        wanted = {*keys, *optional, *self.always}
        wanted |= {name for name, given in (("label", label), ("condition", len(condition))) if given}
        self.absent = [key for key in optional if key not in has]
        self._keys = tuple(key for key in KEYS if key in wanted & has)
        self._estimate = "variance" in self._keys and "variance" not in planes
        self._columns = {key: make()[self.rows] for key, make in makers.items() if key in self._keys}
        self._psf = None
        if "psf" in self._keys:
            psf = hdf5.read_planes(path, ("psf", "psf_index"), form=self.form)
            self._psf, self._psf_index = psf["psf"], psf["psf_index"][self.rows]
        self._planes = [key for key in planes if key != "psf" and key in self._keys]
        self._cache = None
        if self._bytes() < MEMORY_BYTES:
            self._cache = hdf5.read_planes(path, self._planes, self.rows, self.form)

    def _read_header(self):
        return hdf5.read_header(self.path)

    def _in_split(self, columns, split, options):
        return split_names(columns, **options) == split

    def _extra_keys(self):
        """Return keys that are neither planes nor columns."""
        return ()

    def _columns_of(self, columns):
        """Return a function for each key that columns of the file give: it makes the array of all rows."""
        found = {}
        for key in ("gain", "sky"):
            names = [f"{key}_{band}" for band in self._header["bands"]]
            if all(name in columns for name in names):
                found[key] = _stacking(columns, names)
        if "faintest" in columns:
            found["faintest"] = lambda: columns["faintest"].astype(np.float32)
        return found

    def _named_columns(self, columns, label, condition):
        """Return the same for the keys that the caller names columns for."""
        found = {}
        if label:
            values = _column(self.path, columns, label)
            if values.dtype.kind not in "iub":
                kind = values.dtype
                raise InputError(
                    f"{self.path}: column {label!r} is no label: it holds {kind}; number the classes from 0"
                )
            own = values[self.rows]
            if own.ndim != 1 or (own.min() < 0 or own.max() >= 2**31):
                # Whole numbers that are missing are kept as -1.
                said = f"labels from {own.min()} to {own.max()}" if own.ndim == 1 else "several labels a row"
                raise InputError(
                    f"{self.path}: column {label!r} has {said}; number the classes from 0, and leave out rows without"
                )
            found["label"] = lambda: values.astype(np.int32)
        if len(condition):
            words = [name for name in condition if _column(self.path, columns, name).dtype.kind not in "iubf"]
            if words:
                raise InputError(f"{self.path}: column {words[0]!r} holds no numbers to condition on; take it out")
            for name in condition:
                own = columns[name][self.rows]
                with np.errstate(over="ignore"):
                    infinite = np.isinf(own.astype(np.float32)).any()
                if own.ndim != 1:
                    raise InputError(f"{self.path}: column {name!r} has several values a row; name one with one")
                if infinite:
                    raise InputError(f"{self.path}: column {name!r} has infinite values; write NaN where not known")
                for mark, count in marks_of_missing(columns[name]).items():
                    logger.warning(
                        "%s: %d values of %s are %g, which marks what is not known in many catalogues, and are taken "
                        "as they are; write NaN there", self.path, count, name, mark,
                    )  # fmt: skip
            found["condition"] = _stacking(columns, condition)
        return found

    def _refuse_absent(self, keys, has):
        missing = [key for key in keys if key not in has]
        if not missing:
            return
        if missing[0] not in KEYS:
            raise InputError(f"{self.path}: {missing[0]!r} is no key of a batch; they are {', '.join(KEYS)}")
        mend = {"label": "; name its column (data.label)", "condition": "; name its columns (data.condition)"}
        raise InputError(
            f"{self.path}: these {self.kind} have no {missing[0]!r}{mend.get(missing[0], '')}; "
            f"they have {', '.join(key for key in KEYS if key in has)}"
        )

    def _bytes(self):
        with hdf5.open_file(self.path, self.form) as file:
            return len(self.rows) * sum(4 * int(np.prod(file[key].shape[1:])) for key in self._planes)

    def __len__(self):
        return len(self.rows)

    def check_pixels(self):
        """Raise `InputError` where no object has a good pixel: a model would learn, or be scored, from nothing."""
        n = len(self)
        first = np.unique(np.linspace(0, n - 1, min(n, 9)).astype(int))
        for position in (*first, *range(n)):
            if not self.batch([position])["mask"].all():
                return
        raise InputError(
            f"{self.path}: none of {n} {self.kind} has a good pixel: all are NaN, masked, or without a variance above "
            "0; mend image, mask or variance"
        )

    def header(self):
        """Return the header of the file, with ``kind``."""
        return self._header | {"kind": self.kind}

    def keys(self):
        """Return the keys of every batch."""
        return self._keys

    def batch(self, positions):
        """Return the batch of the objects at `positions` (0 to len - 1) as a dict of arrays.

        Bad pixels (NaN or infinite, or with no usable variance) are set to 0 and masked.
        """
        positions = np.asarray(positions)
        if self._cache is not None:
            planes = {key: plane[positions] for key, plane in self._cache.items()}
        else:
            planes = hdf5.read_planes(self.path, self._planes, self.rows[positions], self.form)
        batch = clean_planes(planes, self._estimate)
        if self._psf is not None:
            batch["psf"] = self._psf[self._psf_index[positions]]
        batch |= {key: values[positions] for key, values in self._columns.items()}
        batch["index"] = self.rows[positions].astype(np.int32)
        return batch


class StampSource(FileSource):
    """One split of a stamp file, served in batches; see `FileSource`.

    It can serve the planes of the file, ``psf``, ``label``, ``condition``, and from columns of the catalogue ``gain``
    and ``sky`` (``gain_<band>`` and ``sky_<band>``), ``faintest``, and of the one source of each stamp ``ellipticity``
    (e1, e2) and ``half_light_radius``.
    """

    def _columns_of(self, columns):
        found = super()._columns_of(columns)
        if "e1" in columns and "e2" in columns:
            found["ellipticity"] = lambda: np.stack([columns[name] for name in ("e1", "e2")], -1)[:, None].astype("f4")
        if "half_light_radius" in columns:
            unit = self._header["columns"]["half_light_radius"]
            found["half_light_radius"] = lambda: converted(
                columns["half_light_radius"][:, None], unit, "arcsec", f"{self.path}: half_light_radius"
            ).astype("f4")
        return found


def clean_planes(planes, estimate=False):
    """Return planes fit for a network: float32, bad pixels 0 and masked, no variance that is NaN or not positive.

    Parameters
    ----------
    planes : dict of arrays, (n, y, x, band)
        ``image`` and any of ``variance, mask, truth``.
    estimate : bool
        Estimate an absent variance from the sky of each stamp.
    """
    image = planes["image"].astype(np.float32)
    good = np.isfinite(image)
    if "mask" in planes:
        good &= ~planes["mask"].astype(bool)
    variance = planes.get("variance")
    if variance is None and estimate:
        variance = sky_variance(np.where(good, image, np.nan))
    result = {key: plane for key, plane in planes.items() if key not in ("image", "variance", "mask")}
    if variance is not None:
        # Infinite variance is a band that is not there: no weight, but not a defect either.
        usable = variance > 0
        good &= usable
        result["variance"] = np.where(usable, variance, np.float32(np.inf)).astype(np.float32)
    result["image"] = np.where(good, image, np.float32(0))
    result["mask"] = ~good
    return result


def sky_variance(image):
    """Estimate the variance of the sky, one number a stamp and band, from the sigma-clipped MAD of its rim.

    Parameters
    ----------
    image : array, (n, y, x, band)
        NaN where bad.

    Returns
    -------
    array, (n, y, x, band)
        Infinite where a stamp has no good pixel.
    """
    width = max(2, min(image.shape[1:3]) // 8)
    rim = np.ones(image.shape[1:3], bool)
    rim[width:-width, width:-width] = False
    values = image[:, rim].astype(np.float64)
    full = image.reshape(len(image), -1, image.shape[-1])
    with np.errstate(invalid="ignore"):
        empty = ~np.isfinite(values).any(axis=1)
    values = np.where(empty[:, None], 0.0, values)
    for _ in range(3):
        centre = np.nanmedian(values, axis=1, keepdims=True)
        sigma = 1.4826 * np.nanmedian(np.abs(values - centre), axis=1, keepdims=True)
        values = np.where(np.abs(values - centre) > 3 * np.maximum(sigma, 1e-30), np.nan, values)
        # A constant rim has a MAD of 0 and would clip itself away.
        values = np.where(np.isnan(values).all(axis=1, keepdims=True), centre, values)
    # A rim without noise (a padded or quantised picture) gets a thousandth of the stamp's range.
    peak = np.nanmax(np.abs(np.where(np.isfinite(full), full, 0.0)), axis=1)
    floor = np.maximum(1e-3 * peak, 1e-12)
    variance = np.maximum(sigma[:, 0], floor) ** 2
    variance = np.where(empty, np.inf, variance).astype(np.float32)
    return np.broadcast_to(variance[:, None, None, :], image.shape)


def converted(values, unit, wanted, name):
    """Return values of a file that are in `unit`, "" where it says none, in the one that is wanted.

    Raises
    ------
    InputError
        If the one cannot be brought to the other.
    """
    if unit in ("", wanted):
        return values
    from astropy import units

    try:
        return units.Quantity(values, unit).to_value(wanted)
    except (TypeError, ValueError):
        raise InputError(f"{name} is in {unit}, not {wanted or 'without unit'}; convert it") from None


def _stacking(columns, names):
    return lambda: np.stack([columns[name].astype(np.float32) for name in names], axis=-1)


def _column(path, columns, name):
    if name not in columns:
        raise InputError(f"{path}: no catalogue column {name!r}; it has {', '.join(sorted(columns))}")
    return columns[name]


def epoch_order(n, epoch, seed, shuffle=True):
    """Return the order of `n` objects in an epoch: a function of (seed, epoch) alone, so a run can resume anywhere."""
    return np.random.default_rng([seed, epoch]).permutation(n) if shuffle else np.arange(n)


def step_positions(n, step, batch_size, seed, shuffle=True):
    """Return the positions of batch number `step` of an endless pass over `n` objects.

    Every batch is full: the last of an epoch takes the first objects of the next.
    """
    first = step * batch_size
    positions = np.arange(first, first + batch_size)
    epochs, within = positions // n, positions % n
    result = np.empty(batch_size, np.int64)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        result[chosen] = epoch_order(n, int(epoch), seed, shuffle)[within[chosen]]
    return result
