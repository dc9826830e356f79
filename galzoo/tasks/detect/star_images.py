"""What a catalogue of stars makes of a field: the model's image and the residual."""

import numpy as np
from astropy.io import fits

from galzoo.data.zeropoint import AB_NJY
from galzoo.field.provenance import sky_header
from galzoo.field.star_light import StarLight
from galzoo.files import atomic_path
from galzoo.resources import release

# Rows of the field at a time; the PSF is that of the middle of such squares.
_STRIP = 384


def write_images(field, rows, psf_of, output, work):
    """Write ``model.fits`` and ``residual.fits``, an extension a band in nJy.

    Parameters
    ----------
    field : Field
    rows : dict of arrays
        With ``x, y`` and ``flux`` (n, band).
    psf_of : callable
        ``psf_of(x, y)`` returns PSFs (n, p, p, band).
    output, work : Path
        Folders of products and of what is unfinished.

    Returns
    -------
    list of Path
    """
    places = np.stack([rows["x"], rows["y"]], axis=-1)
    flux = np.nan_to_num(rows["flux"])
    size = (len(field.bands), *field.shape)
    model = np.memmap(work / "model.dat", np.float32, "w+", shape=size)
    residual = np.memmap(work / "residual.dat", np.float32, "w+", shape=size)
    for y0 in range(0, field.shape[0], _STRIP):
        for x0 in range(0, field.shape[1], _STRIP):
            y1, x1 = min(y0 + _STRIP, field.shape[0]), min(x0 + _STRIP, field.shape[1])
            psf = np.asarray(psf_of(np.array([(x0 + x1 - 1) / 2]), np.array([(y0 + y1 - 1) / 2])))[0]
            reach = psf.shape[0] / 2 + 4
            near = (places[:, 0] > x0 - reach) & (places[:, 0] < x1 + reach)
            near &= (places[:, 1] > y0 - reach) & (places[:, 1] < y1 + reach)
            seen = StarLight(psf).add(
                np.zeros((y1 - y0, x1 - x0, len(field.bands))), places[near], flux[near], (x0, y0)
            )
            planes = field.read(y0, y1, x0, x1)
            left = np.where(planes["mask"], np.nan, planes["image"] - seen)
            model[:, y0:y1, x0:x1] = np.moveaxis(seen, -1, 0)
            residual[:, y0:y1, x0:x1] = np.moveaxis(left, -1, 0)
        release(model, residual)
    written = []
    header, tables = sky_header(field)
    header["BUNIT"], header["MAGZERO"] = "nJy", AB_NJY
    for name, planes in (("model", model), ("residual", residual)):
        written.append(output / f"{name}.fits")
        with atomic_path(written[-1]) as path, fits.open(path, "append") as hdus:
            hdus.append(fits.PrimaryHDU())
            bands = [fits.ImageHDU(plane, header, name=band) for band, plane in zip(field.bands, planes, strict=True)]
            for hdu in (*bands, *tables):
                hdus.append(hdu)
            hdus.flush()
        release(planes)
    return written
