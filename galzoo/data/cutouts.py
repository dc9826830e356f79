"""Cut stamps of catalogued sources out of mosaics, straight to a stamp file."""

import functools
import logging

import numpy as np
from astropy import units as u

from galzoo.data.columns import find_columns, pixel_position, plain, sky_positions, to_quantities
from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.maps import variance_of
from galzoo.data.no_data import sky_of, some_rows
from galzoo.data.noise_scatter import compare_noise
from galzoo.data.plain import identifiers
from galzoo.data.sky import pixel_to_sky, sky_to_pixel, to_icrs
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.progress import track

logger = logging.getLogger(__name__)

# Pixels that one batch of stamps may hold: keeps the memory near 200 MB whatever the mosaic and the catalogue.
_BATCH_PIXELS = 1 << 22
# Half the side of what is looked at for the correlation of the noise.
_LOOKED_AT = 256
_RESERVED = ("id", "x", "y", "ra", "dec", "bad_fraction")


def make_cutouts(
    mosaic, catalogue, output, size=64, psf=None, columns=None, survey="", name="catalogue", progress=False
):
    """Cut a stamp about each position and write them to a stamp file.

    Parameters
    ----------
    mosaic : Mosaic
        With noise maps the stamps have a variance; with a segmentation map neighbours are masked.
    catalogue : Table
        Positions as ra and dec (used where the mosaic has a WCS) or x and y (0-based), and anything else.
    output : str or Path
        The stamp file to make; it appears when complete.
    size : int
        Side of a stamp in pixels.
    psf : array (1, p, p, band), array (n, p, p, band) or callable, optional
        PSF of all stamps, or of each row; or ``psf(x, y)`` for n positions in the mosaic, which returns one each.
    columns : dict, optional
        Names of the columns, see `find_columns`.
    survey : str
        Kept in the file.
    name : str
        What to call the catalogue in errors.
    progress : bool
        Show a bar.

    Returns
    -------
    dict
        ``n`` stamps written, ``outside`` dropped because their position is off the mosaic, ``empty`` kept although no
        pixel is good.

    Raises
    ------
    InputError
        If the catalogue has no positions, no rows, or none on the mosaic, or the PSF does not fit.

    Notes
    -----
    A stamp is cut so that the object lies within half a pixel of its middle, (size - 1) / 2; columns ``x`` and ``y``
    say where in the stamp it is, so nothing is interpolated. Every other column is kept; those of the same name get
    ``_mosaic`` behind theirs.
    """
    if size < 4:
        raise InputError(f"stamps of {size} pixels are too small; ask for 4 or more")
    if not len(catalogue):
        raise InputError(f"{name}: the catalogue has no rows; nothing to cut")
    found = find_columns(catalogue, columns, name)
    x, y = positions(mosaic, catalogue, found, columns, name)
    height, width = mosaic.shape
    inside = _on(mosaic, x, y)
    outside, unknown = int(np.sum(~inside)), int(np.sum(~np.isfinite(x + y) & _without_numbers(catalogue, found)))
    if not inside.any():
        raise InputError(
            f"{name}: none of {len(x)} positions is on the mosaic ({width}x{height}); check WCS and columns"
        )
    if unknown:
        logger.warning("%s: %d of %d rows have no finite position and were dropped", name, unknown, len(x))
    if outside > unknown:
        logger.warning("%s: %d of %d positions are off the mosaic and were dropped", name, outside - unknown, len(x))
    _check_noise(mosaic)
    rows = np.flatnonzero(inside)
    psf_of = _psf_of(psf, len(x), size, mosaic.bands)
    segments = plain(catalogue[found["segment"]])[rows] if "segment" in found else None
    x, y = x[rows], y[rows]
    table = _table(mosaic, catalogue[rows], found, x, y, size, name)
    header = {"bands": mosaic.bands, "pixel_scale": mosaic.pixel_scale, "unit": mosaic.unit, "survey": survey}
    step = max(1, _BATCH_PIXELS // (size * size * len(mosaic.bands)))
    mosaic.expect(len(rows))
    empty = 0
    with StampsWriter(output) as writer:
        for start in track(range(0, len(rows), step), "cutting", progress):
            part = slice(start, start + step)
            planes = cut(mosaic, x[part], y[part], size, None if segments is None else segments[part])
            bad = planes["mask"].mean(axis=(1, 2, 3), dtype=np.float32)
            empty += int(np.sum(bad >= 1))
            columns_here = table[part]
            columns_here["bad_fraction"] = bad
            psf_here = psf_of(rows[part], x[part], y[part])
            writer.write(Stamps(catalogue=columns_here, psf=psf_here, meta={"origin": name}, **planes, **header))
    if empty:
        logger.warning("%s: %d stamps have no good pixel; they were kept, fully masked", name, empty)
    return {"n": len(rows), "outside": outside, "empty": empty}


def _check_noise(mosaic):
    """Say where the scatter of an image is not that of its noise map by far."""
    for band, plane in enumerate(mosaic.planes if mosaic.noise and mosaic.unit else ()):
        rows = some_rows(lambda *window, band=band: mosaic.read_noise(band, *window), mosaic.shape)
        scale = mosaic.scales[band]
        variance = variance_of(rows, mosaic.noise_kind) * scale**2
        middle = functools.partial(_middle, plane)
        compare_noise(plane.name, sky_of(plane)[1] * scale, variance, mosaic.noise_kind, middle)


def _middle(plane):
    """Return the middle of a plane."""
    (y0, y1), (x0, x1) = ((max(size // 2 - _LOOKED_AT, 0), size // 2 + _LOOKED_AT) for size in plane.shape)
    return plane.read(y0, min(y1, plane.shape[0]), x0, min(x1, plane.shape[1]))


def cut(mosaic, x, y, size, segments=None):
    """Cut stamps about positions.

    Parameters
    ----------
    mosaic : Mosaic
    x, y : array, (n,)
        0-based positions, within half a pixel of the middle of their stamps.
    size : int
    segments : int array, (n,), optional
        Label of each object in the segmentation map; that under the position by default.

    Returns
    -------
    dict
        ``image``, ``mask`` and where known ``variance``, each (n, y, x, band).
    """
    corner_x, corner_y = _corner(x, size), _corner(y, size)
    planes = mosaic.gather(corner_x, corner_y, size)
    labels = planes.pop("segmentation", None)
    if labels is not None:
        if segments is None:
            row, column = _corner(y, 1) - corner_y, _corner(x, 1) - corner_x
            own = labels[np.arange(len(labels)), row, column]
        else:
            own = np.asarray(segments)
        planes["mask"] |= ((labels != 0) & (labels != own[:, None, None]))[..., None]
    return planes


def _corner(position, size):
    """Return the first pixel of stamps whose middle, (size - 1) / 2, is nearest to positions."""
    return np.floor(np.asarray(position, float) - (size - 1) / 2 + 0.5).astype(int)


def positions(mosaic, catalogue, found, columns=None, name="catalogue"):
    """Return 0-based positions x, y on a mosaic: from ra and dec where there is a WCS, unless x and y are mapped.

    They are NaN for rows without a position, and for places that have no pixel. `InputError` where right ascensions are
    in hours, by which alone they are on the mosaic.
    """
    pixels = {"x", "y"} <= set(found)
    if {"ra", "dec"} <= set(found) and mosaic.wcs is not None and not {"x", "y"} <= set(columns or ()):
        ra, dec, frame = sky_positions(catalogue, found)
        x, y = sky_to_pixel(mosaic.wcs, ra, dec, frame)
        if _in_hours(mosaic, ra, dec, frame) and not _on(mosaic, x, y).any():
            raise InputError(
                f"{name}: no position is on the image with column {found['ra']} in degrees; in hours? Multiply it by "
                "15, or give it the unit hourangle"
            )
    elif pixels:
        x, y = (pixel_position(catalogue, found, role) for role in ("x", "y"))
    else:
        raise InputError(f"{name}: has ra and dec, but the mosaic has no WCS; map x and y to pixel columns")
    return np.asarray(x, float), np.asarray(y, float)


def _on(mosaic, x, y):
    height, width = mosaic.shape
    return (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)


def _in_hours(mosaic, ra, dec, frame):
    known = ra[np.isfinite(ra)]
    if not len(known) or not np.all((known >= 0) & (known < 24)):
        return False
    return _on(mosaic, *sky_to_pixel(mosaic.wcs, 15 * ra, dec, frame)).any()


def _without_numbers(catalogue, found):
    """Return which rows (n,) have a position that is no number, unlike a place that has no pixel."""
    columns = [plain(catalogue[found[role]]) for role in ("ra", "dec", "x", "y") if role in found]
    return np.any([~np.isfinite(column) for column in columns if column.dtype.kind in "fiu"] or [False], axis=0)


def _table(mosaic, catalogue, found, x, y, size, name):
    """Return the columns of the stamp file."""
    table = to_quantities(catalogue, reserved=_RESERVED)
    for role in ("x", "y", "ra", "dec", "id"):
        # The catalogue's own column is kept as it is only where it says something else.
        if role in ("id", "ra", "dec") and f"{role}_mosaic" in table.colnames:
            del table[f"{role}_mosaic"]
    ids = catalogue[found["id"]] if "id" in found else np.arange(len(x))
    table["id"] = identifiers(ids, f"{name}: {found.get('id')}")
    for role, values in (("x", x), ("y", y)):
        table[role] = (values - _corner(values, size)) * u.pix
        if f"{role}_mosaic" not in table.colnames:
            table[f"{role}_mosaic"] = values * u.pix
    if mosaic.wcs is not None:
        ra, dec = pixel_to_sky(mosaic.wcs, x, y)
        table["ra"], table["dec"] = ra * u.deg, dec * u.deg
    elif {"ra", "dec"} <= set(found):
        ra, dec = to_icrs(*sky_positions(catalogue, found), name)
        table["ra"], table["dec"] = ra * u.deg, dec * u.deg
    return table


def _psf_of(psf, n, size, bands):
    """Return a function of (rows, x, y) that gives the PSFs of a batch, checked against the stamps."""
    if psf is None:
        return lambda rows, x, y: None

    def check(values):
        if values.ndim != 4 or values.shape[-1] != len(bands):
            raise InputError(f"psf has shape {values.shape}; it must be (n, y, x, band) with {len(bands)} bands")
        if max(values.shape[1:3]) > size:
            raise InputError(f"psf has {values.shape[1]} pixels a side, the stamps {size}; crop it with prepare_psf")
        return values

    if callable(psf):
        return lambda rows, x, y: check(np.asarray(psf(x, y)))
    psf = check(np.asarray(psf))
    if len(psf) == 1:
        return lambda rows, x, y: psf
    if len(psf) != n:
        raise InputError(f"{len(psf)} PSFs for {n} rows of the catalogue; give one, or one each")
    return lambda rows, x, y: psf[rows]
