"""SDSS corrected frames with photoObj and psField: linear stamps in nJy with a PSF each.

The bands of SDSS are some pixels apart, so each band is shifted to the object by spline; the PSF is reconstructed at
each object from the eigen-images of its field.

References
----------
Lupton et al. 2001, ASPC 238, 269 (PSF by Karhunen-Loeve); https://data.sdss.org/datamodel (frame, psField, photoObj).
"""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo.data.columns import plain, read_table, select, sky_positions
from galzoo.data.planes import open_planes
from galzoo.data.psf import prepare_psf, stack_psf
from galzoo.data.resample import resample, resample_mask
from galzoo.data.sky import read_wcs, sky_to_pixel
from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import njy_per_count
from galzoo.errors import InputError

BANDS = ("u", "g", "r", "i", "z")
PIXEL_SCALE = 0.396
_NANOMAGGY = 22.5
# psField polynomials take row and column in thousands of pixels.
_POLYNOMIAL = 1e-3


def make_sdss_frames(output, frames, catalogue, psfield, size=64, where=None):
    """Cut linear stamps of catalogued objects out of the frames of one SDSS field.

    Parameters
    ----------
    output : str or Path
        The stamp file to make.
    frames : sequence of paths
        ``frame-<band>-...fits`` (plain or bz2); the bands are read from the headers.
    catalogue : path
        photoObj columns: RA, DEC and anything else; numbers of u, g, r, i, z are kept as arrays.
    psfield : path
        psField file of the field.
    size : int
        Side of a stamp in pixels of 0.396 arcsec.
    where : str, optional
        Rows to keep, e.g. ``"OBJC_TYPE=3"`` for galaxies.

    Returns
    -------
    int
        Number of stamps.

    Raises
    ------
    InputError
        If a file is absent or of another kind, or no object is on the frames.
    """
    table = read_table(catalogue)
    absent = [name for name in ("RA", "DEC") if name not in table.colnames]
    if absent:
        raise InputError(f"{catalogue}: no column {absent[0]}; it has {', '.join(table.colnames)}")
    if where:
        table = select(table, where, str(catalogue))
    sky = sky_positions(table, {"ra": "RA", "dec": "DEC"})
    images = [_Frame(path, psfield) for path in frames]
    images.sort(key=lambda frame: BANDS.index(frame.band))
    places = np.stack([np.stack(sky_to_pixel(frame.wcs, *sky), axis=-1) for frame in images], axis=1)
    shape = np.array(images[0].image.shape[::-1])
    inside = np.all((places > -0.5) & (places < shape - 0.5), axis=(1, 2))
    if not inside.any():
        raise InputError(f"{catalogue}: none of {len(table)} objects is on the frames; give the frames of its field")
    table, places = table[inside], places[inside]
    cut = [[frame.cut(*place, size) for frame, place in zip(images, of_bands, strict=True)] for of_bands in places]
    image, variance, mask = (
        np.stack([np.stack([band[key] for band in bands], axis=-1) for bands in cut]) for key in range(3)
    )
    psf = np.stack([stack_psf([band[3] for band in bands]) for bands in cut])
    columns = _columns(table, size)
    bands = [frame.band for frame in images]
    meta = {"origin": f"SDSS frames, {Path(frames[0]).name}"}
    Stamps(
        image, bands, PIXEL_SCALE, variance=variance, mask=mask, psf=psf, catalogue=columns, survey="SDSS", meta=meta
    ).save(output)
    return len(columns)


def _columns(table, size):
    columns = QTable()
    for name in table.colnames:
        columns[{"RA": "ra", "DEC": "dec"}.get(name, name)] = plain(table[name])
    columns["ra"], columns["dec"] = columns["ra"] * u.deg, columns["dec"] * u.deg
    ids = columns["OBJID"] if "OBJID" in columns.colnames else np.arange(len(columns))
    columns["id"] = np.char.add("sdss-", np.asarray(ids).astype(str))
    for name in ("x", "y"):
        columns[name] = np.full(len(columns), (size - 1) / 2) * u.pix
    return columns


class _Frame:
    """One band of a field: image in nJy, its noise, and PSFs."""

    def __init__(self, path, psfield):
        plane = open_planes(path)[0]
        self.path, self.psfield = str(path), str(psfield)
        self.band = str(plane.header.get("FILTER", "")).strip()
        if self.band not in BANDS or "NMGY" not in plane.header:
            raise InputError(f"{path}: not an SDSS frame (no FILTER and NMGY); give frame-<band>-...fits files")
        self.wcs = read_wcs(plane.header, str(path))
        self.nmgy = float(plane.header["NMGY"])
        self.image = np.array(plane.read(0, plane.shape[0], 0, plane.shape[1]), np.float32)
        plane.close()
        try:
            with fits.open(psfield) as hdus:
                field, number = hdus[6].data[0], BANDS.index(self.band)
                self.sky, self.gain = float(field["sky"][number]), float(field["gain"][number])
                self.dark = float(field["dark_variance"][number])
                # The eigen-images lie in the heap of the file and are lost when it closes.
                names = ("nrow_b", "ncol_b", "c", "RNROW", "RNCOL", "RROWS")
                self.eigen = [{name: np.array(one[name]) for name in names} for one in hdus[1 + number].data]
        except (OSError, IndexError, KeyError) as error:
            raise InputError(f"{psfield}: not a psField file ({error})") from None

    def cut(self, x, y, size):
        """Return image, variance, mask and PSF about a position, all (size, size) but the PSF."""
        reach = size // 2 + 6
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        patch = np.full((2 * reach + 1, 2 * reach + 1), np.nan, np.float32)
        height, width = self.image.shape
        rows, columns = (slice(max(c - reach, 0), min(c + reach + 1, n)) for c, n in ((row, height), (column, width)))
        patch[rows.start - row + reach : rows.stop - row + reach, columns.start - column + reach :][
            :, : columns.stop - columns.start
        ] = self.image[rows, columns]
        centre = x - column + reach, y - row + reach
        bad = ~np.isfinite(patch)
        image = resample(np.where(bad, 0, patch), 1.0, size, centre)
        # Object and sky by Poisson; dark current and read-out noise come in counts squared (datamodel: frame).
        counts = np.maximum(image, 0) / self.nmgy + self.sky
        variance = (counts / self.gain + self.dark) * self.nmgy**2
        scale = njy_per_count(_NANOMAGGY)
        psf = prepare_psf(eigen_psf(self.eigen, y, x), size, name=f"{self.psfield} {self.band}")
        return (image * scale).astype(np.float32), variance * scale**2, resample_mask(bad, 1.0, size, centre), psf


def eigen_psf(table, row, column):
    """Reconstruct the PSF of a psField table at a position of the frame.

    Parameters
    ----------
    table : sequence of dict or record
        Eigen-images ``RROWS`` with polynomials ``c`` of row and column.
    row, column : float
        Pixels.

    Returns
    -------
    float64 array, (51, 51)
    """
    image = 0.0
    for eigen in table:
        rows, columns = int(eigen["nrow_b"]), int(eigen["ncol_b"])
        # Which index is the power of the row was checked on stars: the other way is worse than no variation at all.
        powers = ((row * _POLYNOMIAL) ** np.arange(rows))[:, None] * (column * _POLYNOMIAL) ** np.arange(columns)
        weight = (np.reshape(eigen["c"], (5, 5))[:rows, :columns] * powers).sum()
        image = image + weight * np.reshape(eigen["RROWS"], (int(eigen["RNROW"]), int(eigen["RNCOL"])))
    return image
