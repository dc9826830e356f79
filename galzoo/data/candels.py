"""CANDELS: filters, and files of ready-cut stamps; `galzoo.datasets.candels` cuts them out of mosaics.

References
----------
Grogin et al. 2011, ApJS 197, 35; Koekemoer et al. 2011, ApJS 197, 36. Catalogues: Guo et al. 2013, ApJS 207, 24
(GOODS-S); Galametz et al. 2013, ApJS 206, 10 (UDS). PSFs: TinyTim (Krist et al. 2011, SPIE 8127).
"""

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from galzoo.data.psf import read_psf
from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import njy_per_count
from galzoo.errors import InputError

PIXEL_SCALE = 0.06
# AB zero points in electrons per second: ACS from its calculator for 2009-2012, WFC3/IR handbook, section 5.
ZERO_POINTS = {
    "F435W": 25.67, "F606W": 26.49, "F775W": 25.67, "F814W": 25.95, "F850LP": 24.86,
    "F105W": 26.27, "F125W": 26.23, "F140W": 26.45, "F160W": 25.94,
}  # fmt: skip


def read_candels_stamps(path, bands=("F160W",), psf=None, size=None, psf_scale=None):
    """Read a file of ready-cut CANDELS stamps with segmentation maps.

    Parameters
    ----------
    path : str or Path
        HDF5: ``images`` (n, y, x, band) in electrons per second, ``segmap`` (n, y, x), ``id``, attr ``bands``.
    bands : sequence of str
        Which filters.
    psf : path or sequence of paths, optional
    psf_scale : float, optional
        See `galzoo.data.psf.read_psf`.
    size : int, optional
        Side of the middle that is kept; all by default.

    Returns
    -------
    Stamps
        In nJy; the variance is that of the sky in each stamp (MAD of pixels without an object); neighbours are masked.
        The id is the catalogue's number, so one galaxy in two overlapping mosaics is one object.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file of stamps: {error}") from None
    with file:
        if "images" not in file or "segmap" not in file:
            raise InputError(f"{path}: no data sets 'images' and 'segmap'; it has {', '.join(file)}")
        # Attribute as "F606W(v),F160W(h)".
        names = [name.partition("(")[0].strip() for name in str(file.attrs["bands"]).split(",")]
        absent = [band for band in bands if band not in names]
        if absent:
            raise InputError(f"{path}: no band {absent[0]!r}; it has {', '.join(names)}")
        scale = np.array([njy_per_count(ZERO_POINTS[band.upper()]) for band in bands], np.float32)
        image = file["images"][...][..., [names.index(band) for band in bands]] * scale
        labels = file["segmap"][...]
        ids = np.char.decode(file["id"][...], "utf-8")
    start = 0 if size is None else (image.shape[1] - size) // 2
    if start < 0:
        raise InputError(f"{path}: stamps of {image.shape[1]} pixels, {size} wanted; ask for no more than they have")
    rows = slice(start, image.shape[1] if size is None else start + size)
    sky = np.where(labels[..., None] == 0, image, np.nan)
    middle = np.nanmedian(sky, axis=(1, 2), keepdims=True)
    noise = 1.4826 * np.nanmedian(np.abs(sky - middle), axis=(1, 2), keepdims=True)
    image, labels = (image - middle)[:, rows, rows], labels[:, rows, rows]
    own = labels[:, labels.shape[1] // 2, labels.shape[2] // 2]
    mask = ((labels != 0) & (labels != own[:, None, None]))[..., None]
    table = QTable({"id": ["GDS-" + name.rpartition("_")[2] for name in ids.tolist()], "name": ids})
    for axis in ("x", "y"):
        table[axis] = np.full(len(ids), labels.shape[1] // 2) * u.pix
    psf = None if psf is None else read_psf(psf, bands, image.shape[1], PIXEL_SCALE, psf_scale)
    return Stamps(
        image, bands, PIXEL_SCALE, variance=np.broadcast_to(noise.astype(np.float32) ** 2, image.shape),
        mask=np.broadcast_to(mask, image.shape), psf=psf,
        catalogue=table, survey="CANDELS GOODS-S", meta={"origin": "ready-cut CANDELS stamps"},
    )  # fmt: skip
