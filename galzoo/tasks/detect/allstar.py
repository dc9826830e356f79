"""A catalogue of stars in the form of DAOPHOT's ALLSTAR."""

import numpy as np

from galzoo.data.psf import peak_fwhm
from galzoo.field.star_light import StarLight
from galzoo.files import write_text

# Pixels of the field at a time, and within how many FWHM of a star they tell of it.
_SQUARE, _NEAR = 384, 1.5


def allstar(table, band, shape, quality, gain=0.0):
    """Return a catalogue in the form of DAOPHOT's ALLSTAR.

    Id, x and y counted from 1, magnitude, error, then sky 0, iterations 0, CHI and SHARP. Magnitudes are AB; stars
    without a positive flux are left out.

    Parameters
    ----------
    table : QTable
    band : str
    shape : (int, int)
        Of the field.
    quality : array, (star, 2)
        CHI and SHARP, see `fit_quality`.
    gain : float

    References
    ----------
    Stetson 1987, PASP 99, 191.
    """
    lines = [
        " NL   NX   NY  LOWBAD HIGHBAD  THRESH     AP1  PH/ADU  RNOISE    FRAD",
        f"  1{shape[1]:5d}{shape[0]:5d}{0:8.1f}{0:8.1f}{0:8.2f}{0:8.2f}{gain:8.2f}{0:8.2f}{0:8.2f}",
        "",
    ]
    magnitude, error = table[f"mag_{band}"].value, table[f"mag_err_{band}"].value
    quality = np.clip(np.nan_to_num(quality), [0, -99], 99)
    for row in np.flatnonzero(np.isfinite(magnitude)):
        at, (chi, sharp) = (table["x"][row].value + 1, table["y"][row].value + 1), quality[row]
        lines.append(
            f"{table['id'][row]:7d}{at[0]:9.3f}{at[1]:9.3f}{magnitude[row]:9.4f}{min(error[row], 9.9999):9.4f}"
            f"{0:9.3f}{0:9.0f}{chi:9.3f}{sharp:9.3f}"
        )
    return "\n".join(lines) + "\n"


def write_allstar(field, table, psf_of, output):
    """Write ``stars_<band>.als`` for each band and return the paths."""
    flux = np.stack([np.nan_to_num(table[f"flux_{band}"].value) for band in field.bands], axis=-1)
    quality = fit_quality(field, np.stack([table["x"].value, table["y"].value], axis=-1), flux, psf_of)
    written = []
    for number, band in enumerate(field.bands):
        written.append(output / f"stars_{band}.als")
        write_text(written[-1], allstar(table, band, field.shape, quality[:, number]))
    return written


def fit_quality(field, places, flux, psf_of):
    """Return CHI and SHARP of stars in each band, (star, band, 2); NaN where no pixel tells.

    CHI is the root of the mean square of the residual over its variance within 1.5 FWHM. SHARP is by how much the star
    is wider than the PSF, the difference of the squares of their standard deviations in pixels, as the residual says:
    0 of a star, positive of a galaxy or a blend, negative of a cosmic ray.

    Parameters
    ----------
    field : Field
    places : array, (star, 2)
    flux : array, (star, band)
    psf_of : callable
        ``psf_of(x, y)`` returns PSFs (n, p, p, band).
    """
    quality = np.full((*flux.shape, 2), np.nan)
    height, width = field.shape
    square = np.clip(np.round(places), 0, [width - 1, height - 1]).astype(int) // _SQUARE
    for column, row in np.unique(square, axis=0):
        x0, y0 = column * _SQUARE, row * _SQUARE
        x1, y1 = min(x0 + _SQUARE, width), min(y0 + _SQUARE, height)
        psf = np.asarray(psf_of(np.array([(x0 + x1 - 1) / 2]), np.array([(y0 + y1 - 1) / 2])), float)[0]
        reach = int(np.ceil(_NEAR * peak_fwhm(psf)))
        own = np.flatnonzero((square == (column, row)).all(axis=1))
        edge = psf.shape[0] / 2 + 6 + reach
        near = (np.abs(places - [(x0 + x1) / 2, (y0 + y1) / 2]) < np.array([x1 - x0, y1 - y0]) / 2 + edge).all(axis=1)
        corner = x0 - reach, y0 - reach
        planes = field.read(y0 - reach, y1 + reach, x0 - reach, x1 + reach)
        light = StarLight(psf)
        residual = planes["image"] - light.add(np.zeros(planes["image"].shape), places[near], flux[near], corner)
        good = ~planes["mask"] & np.isfinite(planes["variance"]) & (planes["variance"] > 0)
        weight = np.where(good, 1 / np.where(good, planes["variance"], 1), 0.0)
        quality[own] = _of_stars(light, residual, weight, places[own] - corner, flux[own], reach)
    return quality


def _of_stars(light, residual, weight, places, flux, reach):
    """Return CHI and SHARP of stars on an image, (star, band, 2)."""
    middle = np.round(places).astype(int)
    line = np.arange(-reach, reach + 1)
    x = np.clip(middle[:, :1] + line, 0, residual.shape[1] - 1)[:, None]
    y = np.clip(middle[:, 1:] + line, 0, residual.shape[0] - 1)[..., None]
    left, weight = residual[y, x], weight[y, x]
    # The PSF wider by a square pixel: half of its Laplacian, by differences of stamps.
    stamp = light.stamps(places)
    wider = np.zeros_like(stamp)
    for axis in (1, 2):
        wider += 0.5 * (np.roll(stamp, 1, axis) + np.roll(stamp, -1, axis) - 2 * stamp)
    at = (middle - light.corners(places))[:, :, None] + line
    inner = np.clip(at, 0, light.side - 1)
    wider = wider[np.arange(len(places))[:, None, None], inner[:, 1][..., None], inner[:, 0][:, None]]
    number = (weight > 0).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        chi = np.sqrt((left**2 * weight).sum(axis=(1, 2)) / number)
        sharp = (left * wider * weight).sum(axis=(1, 2)) / (flux * (wider**2 * weight).sum(axis=(1, 2)))
    return np.stack([chi, sharp], axis=-1)
