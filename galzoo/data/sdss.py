"""SDSS colour pictures of galaxies as one set of stamps.

Three public collections of Lupton-stretched irg pictures are known by name; any folder of pictures, with or without a
table of labels, is read the same way.

References
----------
Baillard et al. 2011, A&A 532, A74 (EFIGI). Lintott et al. 2008, MNRAS 389, 1179 (Galaxy Zoo 1).
York et al. 2000, AJ 120, 1579 (SDSS). Lupton et al. 2004, PASP 116, 133 (the stretch).
"""

import dataclasses
from pathlib import Path

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from galzoo.data import duplicates
from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.pictures import decode_picture, picture_neighbours, picture_noise, picture_r50, picture_side
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError

# Arcsec per pixel of the SDSS camera (Gunn et al. 1998, AJ 116, 3040).
PIXEL_SCALE = 0.396
BANDS = ("i", "r", "g")
SUFFIXES = (".jpg", ".jpeg", ".png")
# What the numbers of a column mean, where they are classes (Lintott et al. 2008, table 2).
CLASS_NAMES = {
    "label": {
        "0": "elliptical", "1": "clockwise", "2": "anticlockwise", "3": "edge-on", "4": "unknown", "5": "merger",
    }
}  # fmt: skip
_PART = 1024


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """How one collection is brought to stamps.

    Parameters
    ----------
    source : str
        Short name, kept in the column ``source``.
    file : str
        Name of its HDF5 file.
    crop : int
        Side of the centre square that is kept, in pixels of the pictures.
    pixel_scale : float
        Arcsec per pixel of the pictures; NaN where each is scaled to its galaxy.
    identity : str
        Column that names the object; "" where only the position does.
    """

    source: str
    file: str
    crop: int
    pixel_scale: float
    identity: str = ""


# EFIGI scales each picture to the isophotal diameter of its galaxy; Galaxy Zoo 1 to the Petrosian radius, with twice
# the room. The stripe's are at a fixed 0.198 arcsec: 128 pixels averaged by two are 64 at the camera's own 0.396.
KNOWN = {
    "efigi": PictureSet("efigi", "efigi.h5", crop=88, pixel_scale=np.nan, identity="pgc"),
    "gz1": PictureSet("gz1", "gz1_sdss.h5", crop=96, pixel_scale=np.nan, identity="objid"),
    "stripe": PictureSet("stripe", "sdss_stripe.h5", crop=128, pixel_scale=0.198),
}


def make_sdss(source, output, size=64, crop=None, deduplicate=True):
    """Make one stamp file of SDSS colour pictures, neighbours of the galaxies masked.

    Parameters
    ----------
    source : str, Path or list of them
        HDF5 files with a data set ``jpeg``, folders of JPEG or PNG files (``labels.csv``, ``.ecsv`` or ``.fits`` beside
        them is joined by its column ``file``), or a folder that holds the known HDF5 files.
    output : str or Path
        The stamp file to make.
    size : int
        Side of a stamp in pixels.
    crop : int, optional
        Side of the centre square of the pictures that fills a stamp; the known sets bring their own (for stamps of 64).
    deduplicate : bool
        Give pictures of the same galaxy one common ``id``, so that a split by id keeps them together.

    Returns
    -------
    dict
        ``n`` stamps, ``sources`` (name to number), ``duplicates`` (pairs found), ``output``.

    Raises
    ------
    InputError
        If there are no pictures, or one cannot be read or is too small.
    """
    parts = [read_pictures(path, size, crop) for path in _expand(source)]
    images = np.concatenate([images for images, _ in parts])
    table = _join([table for _, table in parts])
    pairs = np.zeros((0, 2), int)
    table["id"] = table["name"]
    if deduplicate:
        pairs = duplicates.find_duplicates(images, table)
        table["id"] = duplicates.common_names(table["name"], pairs)
    sources, counts = np.unique(table["source"], return_counts=True)
    counts = dict(zip(sources.tolist(), counts.tolist(), strict=True))
    meta = {
        "origin": "SDSS irg colour pictures: " + ", ".join(f"{name} {count}" for name, count in counts.items()),
        "note": "8-bit, display-stretched; efigi and gz1 pictures are scaled to each galaxy (column pixel_scale)",
        "duplicate_pairs": len(pairs),
    }
    if "gz1" in counts:
        meta["class_names"] = CLASS_NAMES
    with StampsWriter(output) as writer:
        for start in range(0, len(images), _PART):
            rows = slice(start, start + _PART)
            writer.write(_stamps(images[rows], table[rows], meta))
    return {"n": len(images), "sources": counts, "duplicates": len(pairs), "output": str(output)}


def sdss_pictures(source, size=64, crop=None):
    """Read one collection of SDSS colour pictures as `Stamps`, without a search for duplicates.

    Parameters are those of `make_sdss`.

    Returns
    -------
    Stamps
        ``uint8`` images with bands i, r, g and unit "", neighbours of the galaxies masked.
    """
    parts = [read_pictures(path, size, crop) for path in _expand(source)]
    table = _join([table for _, table in parts])
    table["id"] = table["name"]
    return _stamps(np.concatenate([images for images, _ in parts]), table, {})


def _stamps(images, table, meta):
    noise = picture_noise(images)
    variance = np.broadcast_to(noise[:, None, None, :] ** 2, images.shape)
    mask = np.repeat(picture_neighbours(images, noise)[..., None], images.shape[-1], axis=-1)
    return Stamps(images, BANDS, PIXEL_SCALE, "", variance, mask, catalogue=table, survey="SDSS", meta=meta)


def read_pictures(source, size=64, crop=None):
    """Read one HDF5 file or folder of pictures.

    Returns
    -------
    images : uint8 array, (n, size, size, 3)
    table : QTable
        ``name, source, ra, dec, pixel_scale`` (of the stamp), ``r50`` (its pixels), every column of the source.
        HDF5 files with a column ``is_extended`` give their extended objects only.
    """
    source = Path(source)
    if source.is_dir():
        return _finish(*_read_folder(source, size, crop), PictureSet(source.name, "", 0, np.nan), np.nan)
    known = next((known for known in KNOWN.values() if known.file == source.name), None)
    layout = known or PictureSet(source.stem, source.name, 0, np.nan)
    if crop is None and known:
        crop = round(known.crop * size / 64)
    images, table, side = _read_hdf5(source, size, crop)
    return _finish(images, table, layout, layout.pixel_scale * (crop or side) / size)


def _read_hdf5(path, size, crop):
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file of pictures: {error}") from None
    with file:
        if "jpeg" not in file:
            raise InputError(f"{path}: no data set 'jpeg'; it has {', '.join(file)}")
        n = len(file["jpeg"])
        if not n:
            raise InputError(f"{path}: its data set 'jpeg' is empty; give a file with pictures")
        rows = np.flatnonzero(file["is_extended"][:]) if "is_extended" in file else np.arange(n)
        table = QTable()
        for name, data in _datasets(file):
            if name != "jpeg" and len(data) == n:
                values = data[...][rows]
                table[name] = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
        jpeg = file["jpeg"][...]
        images = np.stack([decode_picture(jpeg[i].tobytes(), crop, size, f"{path} picture {i}") for i in rows])
        table["row"] = rows
    return images, table, picture_side(jpeg[0].tobytes())


def _datasets(file):
    """Yield (column name, data set), those in groups with the group's name before them."""
    for name, item in file.items():
        if isinstance(item, h5py.Group):
            yield from ((f"{name}_{inner}".lower(), data) for inner, data in item.items())
        else:
            yield name, item


def _read_folder(folder, size, crop):
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"{folder}: no JPEG or PNG files; give the folder that holds the pictures")
    images = np.stack([decode_picture(path, crop, size, str(path)) for path in files])
    table = QTable({"name": [path.stem for path in files], "file": [path.name for path in files]})
    labels = [folder / f"labels{end}" for end in (".csv", ".ecsv", ".fits")]
    labels = next((path for path in labels if path.exists()), None)
    if labels is None:
        return images, table
    extra = Table.read(labels)
    if "file" not in extra.colnames:
        raise InputError(f"{labels}: no column 'file' to join by; it has {', '.join(extra.colnames)}")
    row = {str(file): number for number, file in enumerate(extra["file"])}
    absent = [name for name in table["file"] if name not in row]
    if absent:
        raise InputError(f"{labels}: no row for {absent[0]} and {len(absent) - 1} others; add them")
    extra = extra[[row[name] for name in table["file"]]]
    for name in extra.colnames:
        if name not in table.colnames:
            table[name] = extra[name]
    return images, table


def _finish(images, table, layout, pixel_scale):
    n = len(images)
    names = np.asarray(table[layout.identity]).astype(str) if layout.identity else None
    if names is None:
        names = np.asarray(table["name"] if "name" in table.colnames else table["row"]).astype(str)
    table["name"] = [f"{layout.source}-{name}" for name in names]
    table["source"] = np.full(n, layout.source)
    for name in ("ra", "dec"):
        values = np.asarray(table[name], float) if name in table.colnames else np.full(n, np.nan)
        table[name] = values * u.deg
    table["pixel_scale"] = np.full(n, pixel_scale, np.float32)
    table["r50"] = picture_r50(images) * u.pix
    if "attr_t" in table.colnames:
        table["t_type"] = table["attr_t"]
    return images, table


def _join(tables):
    """Stack tables, filling what a source does not know: NaN, -1 or the empty string."""
    names = list(dict.fromkeys(name for table in tables for name in table.colnames if name not in ("row", "split")))
    joined = QTable()
    for name in names:
        known = next(table[name] for table in tables if name in table.colnames)
        columns = [table[name] if name in table.colnames else _unknown(known, len(table)) for table in tables]
        unit = getattr(known, "unit", None)
        values = np.concatenate([np.asarray(getattr(column, "value", column)) for column in columns])
        joined[name] = values if unit is None else values * unit
    return joined


def _unknown(known, n):
    kind = known.dtype.kind
    fill = {"f": np.nan, "i": -1, "u": 0, "b": False}.get(kind, "")
    return np.full(n, fill, dtype=known.dtype if kind in "fiub" else str)


def _expand(source):
    """Return the files and folders to read; a folder with the known HDF5 files stands for them."""
    paths = [Path(path) for path in (source if isinstance(source, list | tuple) else [source])]
    found = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give pictures, a folder of them or an HDF5 file")
        known = [path / known.file for known in KNOWN.values() if (path / known.file).exists()] if path.is_dir() else []
        found += known or [path]
    return found
