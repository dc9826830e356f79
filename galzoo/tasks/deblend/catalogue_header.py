"""What the columns of a deblend catalogue are, and where it comes from, for the headers of its files."""

import math
import shlex
import sys

from astropy.io import fits

from galzoo import __version__
from galzoo.contracts.deblended import FLAGS
from galzoo.data.zeropoint import AB_NJY

_COLUMNS = {
    "id": "name of the source",
    "x": "x of the centre, 0 is the middle of the first pixel",
    "y": "y of the centre, 0 is the middle of the first pixel",
    "ra": "right ascension",
    "dec": "declination",
    "group": "number of the group of sources fitted together",
    "n_in_group": "sources in the group",
    "snr": "signal-to-noise ratio of the detection",
    "flags": "sum of bits: " + ", ".join(f"{bit} {name}" for name, bit in FLAGS.items()),
    "chi2": "chi squared per pixel of the group",
    "e1": "distortion before the PSF, (a^2-b^2)/(a^2+b^2) along x",
    "e2": "distortion before the PSF, towards y = x",
    "half_light_radius": "half-light radius before the PSF",
}
_OF_A_BAND = {
    "flux_like_err": "error of the flux by noise alone, shapes held",
    "flux_err": "standard deviation of the flux",
    "flux": "total flux; of the aperture where fallback is set",
    "mag_err": "standard deviation of the AB magnitude",
    "mag": "AB magnitude",
    "blendedness": "share of neighbours in the light at the source",
    "aperture_flux_err": "standard deviation of the aperture flux",
    "aperture_flux": "flux in an aperture, not deblended",
}


def describe(table, bands):
    """Set the description of every column of a deblend catalogue."""
    for name in table.colnames:
        table[name].info.description = description(name, bands)


def description(name, bands):
    """Return what a column is in words; empty for one that is not known."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    if name.endswith("_err") and name[:-4] in _COLUMNS:
        return f"standard deviation of {name[:-4]}"
    for band in bands:
        kind = name.removesuffix(f"_{band}")
        if kind != name and kind in _OF_A_BAND:
            return f"{_OF_A_BAND[kind]}, band {band}"
    return ""


def provenance(field, about):
    """Return the header that says where a catalogue comes from: version, model, PSF, zero point and command.

    Parameters
    ----------
    field : Field
    about : dict
        What is known of the run: ``preset``, ``model`` (its sha256), ``method``, ``fwhm`` (pixels), ``correlation``.
    """
    header = fits.Header()
    header["CREATOR"] = f"galzoo {__version__}"
    header["PRESET"] = str(about.get("preset", "")), "model that the sources were fitted with"
    if "model" in about:
        # With a comment these would not fit into a card.
        header["SHA256"] = about["model"]
    header["METHOD"] = str(about.get("method", ""))
    header["IMAGE"] = field.name.rpartition("/")[2]
    header["BANDS"] = ",".join(field.bands)
    header["PIXSCALE"] = field.pixel_scale, "arcsec per pixel"
    if "fwhm" in about:
        header["PSFFWHM"] = about["fwhm"] * field.pixel_scale, "arcsec, mean over bands"
    if "correlation" in about:
        header["NOISECOR"] = float(about["correlation"]), "correlation of the noise"
    header["MAGZERO"] = AB_NJY, "AB magnitude of 1 nJy"
    for number, (band, scale) in enumerate(zip(field.bands, field.mosaic.scales, strict=True), 1):
        # What was read or given, which the fluxes of this table no longer show.
        point = AB_NJY - 2.5 * math.log10(scale)
        header[f"ZEROPT{number}"] = round(point, 6), f"AB zero point of the input image, band {band}"
    header["FLUXUNIT"] = "nJy"
    header["HISTORY"] = "command: " + shlex.join(sys.argv).encode("ascii", "replace").decode()
    return header


def fits_table(table, header, bands):
    """Return a catalogue as an HDU with units and a comment on every column, and a header of its provenance."""
    plain = table.copy()
    plain.meta = {}
    for name in plain.colnames:
        plain[name].info.description = None
    hdu = fits.table_to_hdu(plain)
    hdu.name = "CATALOGUE"
    for number, name in enumerate(plain.colnames, 1):
        hdu.header[f"TCOMM{number}"] = description(name, bands)
    hdu.header.extend(header)
    return hdu
