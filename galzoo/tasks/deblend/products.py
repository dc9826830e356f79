"""Write what deblending a field gave: catalogue, model and residual images, stamps, pictures and a report."""

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo.contracts.deblended import FLAGS
from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.sky import pixel_to_sky
from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import AB_NJY, njy_to_magnitude
from galzoo.field.provenance import catalogue_hdu, made_by, provenance, sky_header
from galzoo.files import atomic_path, write_table
from galzoo.interop.ds9 import write_regions
from galzoo.resources import release
from galzoo.tasks.deblend.catalogue_header import describe
from galzoo.tasks.deblend.psf_flux import extendedness

# Rows of pixels that are in memory at a time, and stamps.
_STRIP, _STAMPS = 64, 256
_ROW_KEYS = (
    "x", "y", "group", "n_in_group", "snr", "row", "flags", "flux", "flux_error", "shape", "shape_error", "blendedness",
    "flux_like_err", "aperture_flux", "aperture_flux_err", "psf_flux", "psf_flux_err", "chi2", "position_error",
)  # fmt: skip


def write_products(field, chunks, segmentation, psf, ids, output, work, settings, about):
    """Write the products of a field, each under its name only when it is complete.

    Parameters
    ----------
    field : Field
    chunks : list of Path
        Files with the answers of `galzoo.tasks.deblend.fit_groups.fit_chunk`.
    segmentation : int array, (y, x)
    psf : callable or None
    ids : array of str or None
        Names of the catalogue's rows.
    output, work : Path
        Folder of the products, and of temporary files.
    settings : galzoo.tasks.deblend.run.Settings
    about : dict
        What the report says of the run.

    Returns
    -------
    list of Path
        ``catalogue.ecsv``, ``catalogue.fits``, ``sources.reg`` (regions of DS9: red where the aperture's flux is given,
        cyan for added sources), ``model.fits``, ``residual.fits`` (an extension a band, nJy),
        ``segmentation.fits`` (number of the group + 1), ``stamps.h5`` where there are sources, ``field.png`` and
        ``report.html``.
    """
    rows, order = _rows(chunks, len(field.bands))
    table = make_catalogue(field, rows, ids, about)
    written = []
    write_table(output / "catalogue.ecsv", table)
    with atomic_path(output / "catalogue.fits") as path:
        hdu = catalogue_hdu(table, provenance(field, about))
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    _write_regions(output / "sources.reg", table, field.pixel_scale)
    written += [output / name for name in ("catalogue.ecsv", "catalogue.fits", "sources.reg")]
    model, residual = _images(field, chunks, work)
    for name, planes in (("model.fits", model), ("residual.fits", residual)):
        written.append(_write_images(output / name, field, planes))
    with atomic_path(output / "segmentation.fits") as path:
        header, tables = sky_header(field)
        fits.HDUList([fits.PrimaryHDU(segmentation, header), *tables]).writeto(path, overwrite=True)
    written.append(output / "segmentation.fits")
    if settings.stamp_size and len(table):
        written.append(_write_stamps(output / "stamps.h5", field, chunks, order, table, psf, work, settings.stamp_size))
    if settings.report:
        from galzoo.tasks.deblend.report import write_report

        written += write_report(field, table, model, residual, output, about)
    return written


def _rows(chunks, bands):
    """Return the rows of all chunks in the order of their groups, and the place of each row in that order."""
    parts = []
    for path in chunks:
        with np.load(path) as file:
            parts.append({key: file[key] for key in _ROW_KEYS})
    if not parts:
        wide = {"flux", "flux_error", "blendedness", "flux_like_err"}
        wide |= {f"{kind}_{name}" for kind in ("aperture", "psf") for name in ("flux", "flux_err")}
        sizes = dict.fromkeys(wide, (0, bands)) | {"shape": (0, 3), "shape_error": (0, 3), "position_error": (0, 2)}
        integers = ("group", "n_in_group", "row", "flags")
        return {key: np.zeros(sizes.get(key, 0), int if key in integers else float) for key in _ROW_KEYS}, np.zeros(
            0, int
        )
    rows = {key: np.concatenate([part[key] for part in parts]) for key in _ROW_KEYS}
    order = np.argsort(rows["group"], kind="stable")
    return {key: values[order] for key, values in rows.items()}, np.argsort(order)


def make_catalogue(field, rows, ids=None, about=None):
    """Return the catalogue of a field.

    Parameters
    ----------
    field : Field
    rows : dict of arrays
        A row a source, see `galzoo.tasks.deblend.fit_groups.fit_chunk`.
    ids : array of str, optional
        Names of the rows of the catalogue that was given; sources are counted from 1 by default.
    about : dict, optional
        For the header of the table.

    Returns
    -------
    QTable
        ``id, x, y`` (pixels) with ``_err``, ``ra, dec`` where there is a WCS, ``group, n_in_group, snr, flags, chi2``,
        for each band ``flux_, flux_err_, mag_, mag_err_`` (AB), ``flux_like_err_``, ``blendedness_``, ``aperture_flux_,
        aperture_flux_err_, psf_flux_, psf_flux_err_``, then ``extendedness`` and ``e1, e2, half_light_radius`` (arcsec)
        with ``_err``. Where the flag `fallback` is set, ``flux`` is that of the aperture and the shape is NaN.
    """
    n = len(rows["x"])
    table = QTable()
    numbers = np.arange(1, n + 1).astype(str)
    if ids is None:
        table["id"] = numbers
    else:
        added = np.cumsum(rows["row"] < 0).astype(str)
        table["id"] = np.where(rows["row"] < 0, np.char.add("added-", added), np.asarray(ids)[rows["row"]])
    table["x"], table["y"] = rows["x"] * u.pix, rows["y"] * u.pix
    table["x_err"], table["y_err"] = (rows["position_error"] * u.pix).T
    if field.wcs is not None:
        ra, dec = pixel_to_sky(field.wcs, rows["x"], rows["y"])
        table["ra"], table["dec"] = ra * u.deg, dec * u.deg
    for key in ("group", "n_in_group", "snr", "flags", "chi2"):
        table[key] = rows[key]
    lost = (rows["flags"] & FLAGS["fallback"]) > 0
    error = np.where(np.isnan(rows["flux_error"]), rows["flux_like_err"], rows["flux_error"])
    flux = np.where(lost[:, None], rows["aperture_flux"], rows["flux"])
    error = np.where(lost[:, None], rows["aperture_flux_err"], error)
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = njy_to_magnitude(flux)
        mag_error = np.where(flux > 0, 2.5 / np.log(10) * error / np.where(flux > 0, flux, 1), np.nan)
    for index, band in enumerate(field.bands):
        table[f"flux_{band}"], table[f"flux_err_{band}"] = flux[:, index] * u.nJy, error[:, index] * u.nJy
        table[f"mag_{band}"], table[f"mag_err_{band}"] = mag[:, index] * u.mag, mag_error[:, index] * u.mag
        table[f"flux_like_err_{band}"] = rows["flux_like_err"][:, index] * u.nJy
        table[f"blendedness_{band}"] = rows["blendedness"][:, index]
        table[f"aperture_flux_{band}"] = rows["aperture_flux"][:, index] * u.nJy
        table[f"aperture_flux_err_{band}"] = rows["aperture_flux_err"][:, index] * u.nJy
        table[f"psf_flux_{band}"] = rows["psf_flux"][:, index] * u.nJy
        table[f"psf_flux_err_{band}"] = rows["psf_flux_err"][:, index] * u.nJy
    table["extendedness"], table["extendedness_err"] = extendedness(
        rows["psf_flux"], rows["psf_flux_err"], rows["flux"]
    )
    shape, shape_error = (np.where(lost[:, None], np.nan, rows[key]) for key in ("shape", "shape_error"))
    scale = [1, 1, field.pixel_scale * u.arcsec]
    for index, name in enumerate(("e1", "e2", "half_light_radius")):
        table[name], table[f"{name}_err"] = shape[:, index] * scale[index], shape_error[:, index] * scale[index]
    describe(table, field.bands)
    table.meta |= made_by()
    table.meta |= {"zero_point_ab": AB_NJY, "pixel_scale_arcsec": field.pixel_scale, "flag_bits": dict(FLAGS)}
    table.meta |= {key: value for key, value in (about or {}).items() if isinstance(value, int | float | str)}
    return table


def _write_regions(path, table, pixel_scale):
    flags = np.asarray(table["flags"], int)
    colours = np.where(flags & FLAGS["added"], "cyan", np.where(flags & FLAGS["fallback"], "red", "green"))
    radius = np.asarray(table["half_light_radius"].to_value(u.arcsec)) / pixel_scale
    positions = np.stack([table[axis].value for axis in ("x", "y")], axis=-1)
    shape = np.stack([np.asarray(table["e1"]), np.asarray(table["e2"]), radius], axis=-1)
    write_regions(path, positions, table["id"], shape, colours)


def _images(field, chunks, work):
    """Return model and residual of the field, (band, y, x) each, on disk."""
    shape = (len(field.bands), *field.shape)
    # Byte order of FITS, so that nothing is copied when they are written.
    model = np.memmap(work / "model.dat", ">f4", "w+", shape=shape)
    residual = np.memmap(work / "residual.dat", ">f4", "w+", shape=shape)
    for path in chunks:
        with np.load(path) as file:
            pixels, boxes = file["model"], file["box"]
        start = 0
        for x0, y0, side in boxes:
            size = side * side * shape[0]
            window = np.moveaxis(pixels[start : start + size].reshape(side, side, shape[0]), -1, 0)
            start += size
            top, bottom, left, right = max(y0, 0), min(y0 + side, shape[1]), max(x0, 0), min(x0 + side, shape[2])
            model[:, top:bottom, left:right] += window[:, top - y0 : bottom - y0, left - x0 : right - x0]
        release(model)
    for y0 in range(0, shape[1], _STRIP):
        y1 = min(y0 + _STRIP, shape[1])
        planes = field.read(y0, y1, 0, shape[2])
        left = np.where(planes["mask"], np.nan, planes["image"] - np.moveaxis(model[:, y0:y1], 0, -1))
        residual[:, y0:y1] = np.moveaxis(left, -1, 0)
        release(model, residual)
    return model, residual


def _write_images(path, field, planes):
    with atomic_path(path) as temporary, fits.open(temporary, "append") as hdus:
        header, tables = sky_header(field)
        hdus.append(fits.PrimaryHDU())
        for band, plane in zip(field.bands, planes, strict=True):
            header["BUNIT"], header["MAGZERO"], header["FILTER"] = "nJy", AB_NJY, band
            hdus.append(fits.ImageHDU(plane, header, name=band))
            hdus.flush()
            release(plane)
        for table in tables:
            hdus.append(table)
    return path


def _write_stamps(path, field, chunks, order, table, psf, work, size):
    """Write one stamp a source in the order of the catalogue."""
    shape = (len(table), size, size, len(field.bands))
    image, mask = (
        np.memmap(work / f"stamps_{name}.dat", kind, "w+", shape=shape)
        for name, kind in (("image", np.float32), ("mask", bool))
    )
    corner = np.zeros((len(table), 2), int)
    start = 0
    for chunk in chunks:
        with np.load(chunk) as file:
            rows = order[start : start + len(file["x"])]
            image[rows], mask[rows] = file["stamps"], file["stamp_mask"]
            corner[rows] = np.stack([file["stamp_x"], file["stamp_y"]], axis=-1)
        start += len(rows)
        release(image, mask)
    plain = table.copy()
    plain.meta.clear()
    for name, index in (("x", 0), ("y", 1)):
        plain[f"{name}_field"] = table[name]
        plain[name] = table[name] - corner[:, index] * u.pix
    with StampsWriter(path) as writer:
        for first in range(0, len(table), _STAMPS):
            rows = slice(first, first + _STAMPS)
            psfs = psf(table["x"][rows].value, table["y"][rows].value)
            same = bool((psfs == psfs[:1]).all())
            stamps = Stamps(
                image[rows], field.bands, field.pixel_scale, mask=mask[rows], psf=psfs[:1] if same else psfs,
                catalogue=plain[rows], meta={"content": "deblended sources as observed, without noise"},
            )  # fmt: skip
            writer.write(stamps)
            release(image, mask)
    return path
