"""Where the catalogue of a field comes from, for the headers of its files."""

import math
import shlex
import sys

from astropy.io import fits

from galzoo import __version__
from galzoo.data.hdus import ascii_columns, ascii_text
from galzoo.data.sky import wcs_cards
from galzoo.data.zeropoint import AB_NJY

CREATOR = f"galzoo {__version__}"
"""What headers of FITS files say made them."""
# Letters that fit into a card behind a number.
_COMMENT = 47


def provenance(field, about):
    """Return the header that says where a catalogue comes from: version, model, PSF, zero points and command.

    Parameters
    ----------
    field : Field
    about : dict
        What is known of the run: ``preset``, ``model`` (its sha256), ``method``, ``fwhm`` (pixels), ``correlation``;
        what is absent is left out.

    Returns
    -------
    astropy.io.fits.Header
    """
    header = fits.Header()
    made = made_by()
    header["CREATOR"] = CREATOR
    if about.get("preset"):
        # Paths, and the sum below, leave no room for a comment.
        header["PRESET"] = ascii_text(about["preset"])
    if "model" in about:
        header["SHA256"] = about["model"]
    if "method" in about:
        header["METHOD"] = ascii_text(about["method"])
    header["IMAGE"] = ascii_text(field.name.rpartition("/")[2])
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
        header[f"ZEROPT{number}"] = round(point, 6), f"AB zero point of the input, {band}"[:_COMMENT]
    header["FLUXUNIT"] = "nJy"
    header["HISTORY"] = "command: " + made["command"]
    return header


def sky_header(field):
    """Return the header of an image on the pixels of a field, and the extensions that its WCS refers to.

    Parameters
    ----------
    field : Field

    Returns
    -------
    header : astropy.io.fits.Header
        The WCS, PIXSCALE and CREATOR.
    tables : list of astropy.io.fits.ImageHDU
        Of a distortion; the file needs them once.
    """
    header, tables = wcs_cards(field.wcs)
    header["PIXSCALE"] = field.pixel_scale, "arcsec per pixel"
    header["CREATOR"] = CREATOR
    return header, tables


def made_by():
    """Return what made a table, for its ``meta``: the version, and the command line to be typed again, in ASCII."""
    return {"galzoo": __version__, "command": ascii_text(shlex.join(sys.argv))}


def catalogue_hdu(table, header):
    """Return a catalogue as a FITS extension: units, a comment on every column, and a header of its provenance.

    Parameters
    ----------
    table : QTable
        With a description of every column.
    header : astropy.io.fits.Header
        As of `provenance`.
    """
    plain = table.copy()
    plain.meta = {}
    comments = [plain[name].info.description or "" for name in plain.colnames]
    for name in plain.colnames:
        plain[name].info.description = None
    hdu = fits.table_to_hdu(ascii_columns(plain))
    hdu.name = "CATALOGUE"
    for number, comment in enumerate(comments, 1):
        hdu.header[f"TCOMM{number}"] = ascii_text(comment)
    hdu.header.extend(header)
    return hdu
