"""What the extensions of a FITS file hold, in words, and what commands have to be told beside."""

import math
import warnings

import numpy as np

from galzoo.brief import counted
from galzoo.data import fits_keywords
from galzoo.data.hdus import full_header
from galzoo.data.planes import check_scaling, is_band, of_layer, open_fits
from galzoo.data.sky import pixel_to_sky, read_wcs
from galzoo.data.zeropoint import AB_NJY, flux_scale
from galzoo.errors import InputError

# Pixels that the median and the scatter are measured on, evenly spread; and columns of a table that are named.
_SAMPLED, _NAMED = 200_000, 24


def describe_fits(path):
    """Return lines that say what is in a FITS file, packed or not, extension by extension.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    list of str
        Of images size, pixels on the sky, zero point, saturation, centre, and the level and scatter of the pixels; of
        tables the rows and columns. The last lines are the options that commands need where a header is silent.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    with open_fits(str(path)) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines, lacking = [f"{path}: FITS, {len(hdus)} extensions" if len(hdus) > 1 else f"{path}: FITS"], {}
        for number, hdu in enumerate(hdus):
            name = f"[{number}] {hdu.name or 'unnamed'}"
            if hdu.is_image and len(hdu.shape) >= 2:
                found, lacks = _image(full_header(hdus, hdu), hdu, hdus)
                lines += [f"{name}: {found[0]}", *(f"  {line}" for line in found[1:])]
                if is_band(hdu.name):
                    lacking |= lacks
            elif hdu.is_image:
                lines.append(f"{name}: no image")
            else:
                columns = [f"{column.name} [{column.unit}]" if column.unit else column.name for column in hdu.columns]
                more = f", and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
                lines.append(f"{name}: table of {counted(len(hdu.data), 'row')}: {', '.join(columns[:_NAMED])}{more}")
    return [*lines, *lacking.values()]


def _image(header, hdu, hdus):
    """Return lines on an image, and what its header does not say, option -> line."""
    unit = str(header.get("BUNIT", "")).strip()
    size = " x ".join(str(size) for size in hdu.shape[::-1])
    lines = [f"{size} pixels{f', unit {unit}' if unit else ''}"]
    lacking, scale = {}, None
    try:
        scale = fits_keywords.pixel_scale(header, hdus=hdus)
        if scale is None:
            lacking["scale"] = "no pixel scale in the header: --pixel-scale ARCSEC"
        else:
            lines[0] += f", {scale:.4g} arcsec each"
    except InputError as error:
        lines.append(str(error))
    try:
        area = None if scale is None else scale**2
        point = round(AB_NJY - 2.5 * math.log10(flux_scale(header, pixel_area=area)), 6) + 0.0
        lines[0] += f", AB zero point {point:.5g}"
    except InputError as error:
        lacking["zero point"] = str(error).removeprefix("image: ")
    saturated = fits_keywords.saturation(header)
    if math.isfinite(saturated):
        lines[0] += f", saturated at {saturated:g}"
    layers = hdu.shape[:-2]
    bands = [fits_keywords.filter_of(of_layer(header, number, layers)) for number in range(int(np.prod(layers)))]
    if any(bands):
        # The one filter of a cube says nothing of its layers.
        bands = list(dict.fromkeys(bands))
        lines[0] += f", {'filter' if len(bands) == 1 else 'bands'} {', '.join(bands)}"
    try:
        wcs = read_wcs(header, hdus=hdus)
        if wcs is not None:
            middle = pixel_to_sky(wcs, *((np.array([size]) - 1) / 2 for size in hdu.shape[:-3:-1]))
            lines.append("centre at ra, dec {:.5f}, {:.5f}".format(*(float(value[0]) for value in middle)))
    except InputError as error:
        lines.append(str(error))
    return [*lines, _pixels(hdu)], lacking


def _pixels(hdu):
    """Return a line on the pixels: level and scatter, and how many are not finite or exactly 0."""
    try:
        check_scaling(hdu, "its header")
        values = np.asarray(hdu.data).ravel()
    except InputError as error:
        return str(error)
    except Exception as error:  # each kind of compression has errors of its own
        return f"pixels are damaged ({str(error).splitlines()[0]})"
    values = values[:: max(1, len(values) // _SAMPLED)].astype(float)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "no finite pixel"
    level = np.median(finite)
    text = f"median {level:.4g}, scatter {1.4826 * np.median(np.abs(finite - level)):.4g}, largest {finite.max():.4g}"
    for share, what in ((np.mean(~np.isfinite(values)), "not finite"), (np.mean(finite == 0), "exactly 0")):
        if share > 0:
            text += f", {100 * share:.2g} % {what}"
    return text
