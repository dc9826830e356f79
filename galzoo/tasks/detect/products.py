"""Write what was detected: catalogue, instance map, regions, COCO masks, pictures and a report."""

import json

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo.data.sky import pixel_to_sky
from galzoo.data.zeropoint import AB_NJY, njy_to_magnitude
from galzoo.field.provenance import CREATOR, catalogue_hdu, made_by, provenance, sky_header
from galzoo.files import atomic_path, write_table, write_text
from galzoo.resources import release
from galzoo.tasks.detect.measure import FLAGS

_STRIP = 256
CLASS_COLOURS = ("cyan", "yellow", "magenta", "green", "red", "blue")
"""Of galaxies, stars and further classes, in pictures and regions."""


def write_products(field, rows, instances, search, output, settings, scores):
    """Write the products of a field, each under its name only when it is complete.

    Parameters
    ----------
    field : Field
    rows : dict of arrays
        As of `galzoo.tasks.detect.find.find`.
    instances : int32 array, (y, x)
    search : galzoo.tasks.detect.run.Search
    output : Path
    settings : galzoo.tasks.detect.run.Settings
    scores : dict
        Completeness tables, see `galzoo.tasks.detect.completeness`.

    Returns
    -------
    list of Path
        ``catalogue.ecsv, catalogue.fits``, ``catalogue.parquet`` where pyarrow is there, ``instances.fits`` (int32:
        ``id`` of the source), ``regions.reg`` (DS9), ``instances.json`` (COCO) where asked for, ``completeness.ecsv``
        where it was measured, ``detections.png`` and ``report.html``.
    """
    table = make_catalogue(field, rows, search.classes, search.about)
    written = [output / "catalogue.ecsv", output / "catalogue.fits"]
    write_table(written[0], table)
    with atomic_path(written[1]) as path:
        about = search.about
        about = about | {"fwhm": about["fwhm_pixels"], "correlation": about["noise_correlation"]}
        hdu = catalogue_hdu(table, provenance(field, about))
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    if _has_pyarrow():
        written.append(output / "catalogue.parquet")
        with atomic_path(written[-1]) as path:
            _with_little_meta(table).write(path, format="parquet", overwrite=True)
    written.append(output / "instances.fits")
    with atomic_path(written[-1]) as path:
        _write_map(path, instances, field)
    written.append(output / "regions.reg")
    write_text(written[-1], regions(table, field))
    if settings.coco:
        written.append(output / "instances.json")
        write_text(written[-1], json.dumps(coco(table, rows, instances, search.classes, field.name)))
    for name, score in scores.items():
        written.append(output / f"completeness_{name}.ecsv")
        write_table(written[-1], score["table"])
    if settings.report:
        from galzoo.tasks.detect.report import write_report

        written += write_report(field, table, search, output, scores)
    return written


def make_catalogue(field, rows, classes, about=None):
    """Return the catalogue of a field.

    Parameters
    ----------
    field : Field
    rows : dict of arrays
    classes : sequence of str
    about : dict, optional
        For the header of the table.

    Returns
    -------
    QTable
        With a description of each column: ``id, x, y, x_err, y_err``, where there is a WCS ``ra, dec``,
        ``probability``, ``class`` and ``p_<class>``, for each band ``flux_, flux_err_, mag_, mag_err_``, ``snr``,
        ``a, b, theta`` and ``position_angle``, ``half_light_radius``, ``e1, e2, intrinsic_radius`` where the detector
        says them, ``box_x0`` to ``box_y1``, and ``flags``.
    """
    n = len(rows["x"])
    table = QTable()

    def add(name, values, description, unit=None):
        table[name] = values if unit is None else values * unit
        table[name].info.description = description

    add("id", np.arange(1, n + 1), "number of the source, as in the instance map")
    add("x", rows["x"], "position, pixels counted from 0", u.pix)
    add("y", rows["y"], "position, pixels counted from 0", u.pix)
    if np.isfinite(rows["position_error"]).any():
        for index, name in enumerate("xy"):
            add(f"{name}_err", rows["position_error"][:, index], f"standard deviation of {name}", u.pix)
    if field.wcs is not None:
        ra, dec = pixel_to_sky(field.wcs, rows["x"], rows["y"])
        add("ra", ra, "right ascension, ICRS", u.deg)
        add("dec", dec, "declination, ICRS", u.deg)
    ranked = about is not None and about.get("method") == "SEP"
    probability = "that there is a source"
    if ranked:
        probability = "1 - 12.5 / snr^2 of the peak: an order, not calibrated"
    add("probability", rows["probability"], probability)
    best = np.argmax(np.nan_to_num(rows["class_probability"]), axis=1) if n else np.zeros(0, int)
    add("class", np.asarray(classes)[best] if n else np.zeros(0, "U8"), "the most probable class")
    for index, name in enumerate(classes):
        add(f"p_{name}", rows["class_probability"][:, index], f"probability of {name}, if there is a source")
    flux = np.where(np.isfinite(rows["flux"]), rows["flux"], rows["aperture_flux"])
    error = np.where(np.isfinite(rows["flux"]), rows["flux_error"], rows["aperture_flux_error"])
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = njy_to_magnitude(flux)
        magnitude_error = np.where(flux > 0, 2.5 / np.log(10) * error / np.where(flux > 0, flux, 1), np.nan)
    whose = "the detector" if np.isfinite(rows["flux"]).any() else "a Kron ellipse without other sources' pixels"
    for index, band in enumerate(field.bands):
        add(f"flux_{band}", flux[:, index], f"total flux in {band}, of {whose}", u.nJy)
        add(f"flux_err_{band}", error[:, index], f"standard deviation of flux_{band}", u.nJy)
        add(f"mag_{band}", magnitude[:, index], f"AB magnitude in {band}", u.mag)
        add(f"mag_err_{band}", magnitude_error[:, index], f"standard deviation of mag_{band}", u.mag)
    nearest, many = crowding(rows["x"], rows["y"], about["fwhm_pixels"] if about else 3.0)
    add("nearest", nearest, "distance to the nearest other source, NaN where there is none", u.pix)
    add("crowding", many, "number of other sources within 2 FWHM of the PSF")
    add("snr", rows["snr"], "signal-to-noise of the aperture flux, all bands together")
    scale = field.pixel_scale
    add("a", rows["a"] * scale, "semi-major axis (second moments of the source's pixels)", u.arcsec)
    add("b", rows["b"] * scale, "semi-minor axis (second moments of the source's pixels)", u.arcsec)
    add("theta", np.rad2deg(rows["theta"]), "angle of the major axis from +x towards +y", u.deg)
    if field.wcs is not None:
        angle = position_angle(field.wcs, rows["x"], rows["y"], rows["theta"])
        add("position_angle", angle, "of the major axis, east of north", u.deg)
    add("half_light_radius", rows["radius"] * scale, "of half the light, with the PSF", u.arcsec)
    if np.isfinite(rows["shape"]).any():
        add("e1", rows["shape"][:, 0], "distortion before the PSF, along x")
        add("e2", rows["shape"][:, 1], "distortion before the PSF, along the diagonal")
        add("intrinsic_radius", rows["shape"][:, 2] * scale, "half-light radius before the PSF", u.arcsec)
    for index, name in enumerate(("x0", "y0", "x1", "y1")):
        add(f"box_{name}", rows["box"][:, index], "edge of the box around what is above the noise, pixels", u.pix)
    bits = ", ".join(f"{bit} {name}" for name, bit in FLAGS.items())
    add("flags", rows["flags"], f"sum of: {bits}")
    table.meta |= made_by()
    table.meta |= {"zero_point_ab": AB_NJY, "pixel_scale_arcsec": scale, "flag_bits": dict(FLAGS)}
    table.meta |= {key: value for key, value in (about or {}).items() if isinstance(value, int | float | str)}
    return table


def crowding(x, y, fwhm):
    """Return the distance to the nearest other source and the number of others within 2 FWHM, (n,) each."""
    from scipy.spatial import cKDTree

    places = np.stack([x, y], axis=-1).reshape(-1, 2)
    if len(places) < 2:
        return np.full(len(places), np.nan), np.zeros(len(places), int)
    tree = cKDTree(places)
    return tree.query(places, k=2)[0][:, 1], tree.query_ball_point(places, 2 * fwhm, return_length=True) - 1


def position_angle(wcs, x, y, theta):
    """Return the angle east of north of directions `theta` (radians from +x to +y) at pixels, degrees in [0, 180)."""
    step = 0.5
    ends = []
    for sign in (-1, 1):
        ends.append(pixel_to_sky(wcs, x + sign * step * np.cos(theta), y + sign * step * np.sin(theta)))
    (ra0, dec0), (ra1, dec1) = np.deg2rad(ends)
    east = np.sin(ra1 - ra0) * np.cos(dec1)
    north = np.cos(dec0) * np.sin(dec1) - np.sin(dec0) * np.cos(dec1) * np.cos(ra1 - ra0)
    return np.rad2deg(np.arctan2(east, north)) % 180


def regions(table, field):
    """Return the ellipses of a catalogue as a DS9 region file, in image coordinates."""
    lines = ["# Region file format: DS9", f"# {CREATOR}", "global width=1", "image"]
    names = list(dict.fromkeys(name[2:] for name in table.colnames if name.startswith("p_")))
    colours = {name: CLASS_COLOURS[number % len(CLASS_COLOURS)] for number, name in enumerate(names)}
    # Plain columns, as a row of quantities takes a hundred times as long. Two sigma of a Gaussian; pixels are counted
    # from 1 there.
    x, y = (table[key].value + 1 for key in "xy")
    a, b = (2 * table[key].value / field.pixel_scale for key in "ab")
    columns = x, y, a, b, table["theta"].value, table["class"], table["id"], table["probability"]
    for x, y, a, b, theta, kind, number, probability in zip(*columns, strict=True):
        place = f"{x:.3f},{y:.3f},{a:.2f},{b:.2f},{theta:.2f}"
        lines.append(f"ellipse({place}) # color={colours.get(kind, 'white')} text={{{number} {probability:.2f}}}")
    return "\n".join(lines) + "\n"


def coco(table, rows, instances, classes, name):
    """Return the catalogue and the instance map as a COCO data set."""
    from galzoo.interop.coco import coco_dataset

    pixels = []
    for number, (x0, y0, x1, y1) in enumerate(rows["box"], 1):
        # What lies beyond the box of a source is not its own.
        low_x, low_y = max(int(np.floor(x0)) - 1, 0), max(int(np.floor(y0)) - 1, 0)
        part = np.asarray(instances[low_y : int(np.ceil(y1)) + 2, low_x : int(np.ceil(x1)) + 2])
        line, column = np.nonzero(part == number)
        pixels.append((line + low_y, column + low_x))
    best = np.argmax(np.nan_to_num(rows["class_probability"]), axis=1) if len(rows["x"]) else []
    file_name = name.rpartition("/")[2]
    return coco_dataset(
        instances.shape, rows["box"], best, classes, file_name, rows["probability"], pixels, table["id"]
    )


def segmentation_image(path):
    """Return an instance map that was written as a `photutils.segmentation.SegmentationImage`."""
    from photutils.segmentation import SegmentationImage

    return SegmentationImage(fits.getdata(path).astype(np.int32))


def _write_map(path, instances, field):
    header, tables = sky_header(field)
    with fits.open(path, "append") as hdus:
        for hdu in (fits.PrimaryHDU(instances, header), *tables):
            hdus.append(hdu)
        hdus.flush()
    release(instances)


def _with_little_meta(table):
    table = table.copy()
    table.meta = {"galzoo": table.meta["galzoo"]}
    return table


def _has_pyarrow():
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None
