"""Stamps of one survey brought to the bands, pixels and size that a model was trained on.

What another telescope saw becomes what the model expects: bands by name, absent ones without weight; one pixel scale,
image, noise and PSF through the same operator.
"""

import dataclasses

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from galzoo.data.extraction import extract
from galzoo.data.psf import prepare_psf, psf_from_stars, stack_psf
from galzoo.data.resample import resample, resample_mask, resample_variance
from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.errors import InputError

LSST_BANDS = ("u", "g", "r", "i", "z", "y")
# Columns of lengths: pixels, unless they have another unit.
_LENGTHS = ("r50", "r90", "a", "b", "neigh_dist")
_LEAST_STARS = 5
_STAR_SNR = 50.0


def conform(stamps, bands, pixel_scale, size, mapping=None):
    """Bring stamps to other bands, pixels and size.

    Parameters
    ----------
    stamps : Stamps
    bands : sequence of str
        Bands of the result.
    pixel_scale : float
        Arcsec per pixel of the result.
    size : int
        Side of the result in pixels.
    mapping : dict, optional
        Band of the result to band of `stamps`; bands of one name by default.

    Returns
    -------
    Stamps
        A band that is absent has image 0, infinite variance and is masked, as are pixels beyond the old stamp; its PSF
        is that of the first band there is, so that no PSF is empty.

    Raises
    ------
    InputError
        If no band is known, or the stamps have no variance.
    """
    mapping = {band: band for band in stamps.bands} if mapping is None else mapping
    known = [
        (new, stamps.bands.index(mapping[band])) for new, band in enumerate(bands) if mapping.get(band) in stamps.bands
    ]
    if not known:
        raise InputError(
            f"none of the bands {', '.join(stamps.bands)} stands for one of {', '.join(bands)}; give a mapping"
        )
    if stamps.variance is None:
        raise InputError("stamps without variance cannot be resampled; estimate it first")
    ratio = pixel_scale / stamps.pixel_scale
    new_bands, old_bands = (list(index) for index in zip(*known, strict=True))
    shape = (len(stamps), size, size, len(bands))
    image, variance, mask = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32), np.ones(shape, bool)
    old_mask = np.zeros(stamps.image.shape, bool) if stamps.mask is None else stamps.mask
    finite = np.where(np.isfinite(stamps.variance), stamps.variance, 0)

    def each(function, plane):
        return np.moveaxis(function(np.moveaxis(plane[..., old_bands], -1, 1), ratio, size), 1, -1)

    image[..., new_bands] = each(resample, np.where(np.isfinite(stamps.image), stamps.image, 0))
    mask[..., new_bands] = each(resample_mask, old_mask | ~np.isfinite(stamps.variance))
    new_variance = each(resample_variance, finite)
    variance[..., new_bands] = np.where(new_variance > 0, new_variance, np.inf)
    psf = None
    if stamps.psf is not None:
        psf = np.stack([_conform_psf(one, old_bands, new_bands, len(bands), ratio, size) for one in stamps.psf])
    table = stamps.catalogue.copy()
    for name, old in (("x", stamps.shape[1]), ("y", stamps.shape[0])):
        if name in table.colnames:
            table[name] = (u.Quantity(table[name], u.pix) - (old - 1) / 2 * u.pix) / ratio + (size - 1) / 2 * u.pix
    for name in _LENGTHS:
        # Without a unit they are pixels too; what is in arcsec or kpc is as long in other pixels.
        if name in table.colnames and getattr(table[name], "unit", None) in (None, u.pix, u.dimensionless_unscaled):
            table[name] = np.asarray(table[name]) / ratio * u.pix
    for name in (f"sky_{band}" for band in stamps.bands):
        # A level in a pixel; what an electron is in the unit stays.
        if name in table.colnames:
            table[name] = table[name] * ratio**2
    return dataclasses.replace(
        stamps, image=image, variance=variance, mask=mask, psf=psf, bands=tuple(bands), pixel_scale=pixel_scale,
        catalogue=table, truth=None, meta={**stamps.meta, "resampled_from": stamps.pixel_scale},
    )  # fmt: skip


def _conform_psf(psf, old_bands, new_bands, many, ratio, size):
    new = stack_psf([prepare_psf(psf[..., band], size, ratio) for band in old_bands])
    full = np.repeat(new[..., :1], many, axis=-1)
    full[..., new_bands] = new
    return full


def read_survey(path, group, psf=None, isolated=True):
    """Read one survey of a file of linear stamps.

    Parameters
    ----------
    path : str or Path
        HDF5 with a group a survey: ``images`` (n, y, x, band), ``cat/*``, attrs ``bands, pixel_scale, zeropoint, rms``.
    group : str
        The survey.
    psf : array (1, p, p, band), optional
        By default the stack of the bright, isolated, unflagged stars of the group, or where there are fewer than five a
        Moffat profile of the star's half-light radius.
    isolated : bool
        Only objects that are marked as isolated; extended ones in any case.

    Returns
    -------
    Stamps
        In nJy, variance constant a band, neighbours masked.

    Raises
    ------
    InputError
        If the file or group is absent.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file of linear stamps: {error}") from None
    with file:
        if group not in file:
            raise InputError(f"{path}: no survey {group!r}; it has {', '.join(file)}")
        data = file[group]
        table = {name: values[...] for name, values in data["cat"].items()}
        bands = tuple(str(data.attrs["bands"]).split(","))
        scale = magnitude_to_njy(_numbers(data.attrs["zeropoint"], len(bands)))
        rms = _numbers(data.attrs["rms"], len(bands))
        image = (data["images"][...] * scale).astype(np.float32)
        pixel_scale, telescope = float(data.attrs["pixel_scale"]), str(data.attrs["telescope"])
        star_r50 = float(data.attrs["star_r50"])
    extended = table["is_extended"] > 0
    if psf is None:
        stars = ~extended & (table["is_isolated"] > 0) & (table["is_bright"] == 0) & (table["flag"] == 0)
        stars &= table["flux"] / table["flux_err"] > _STAR_SNR
        psf = _stack(image[stars]) if stars.sum() >= _LEAST_STARS else moffat(star_r50)
        psf = np.broadcast_to(psf, (1, *psf.shape[:2], len(bands)))
    rows = np.flatnonzero(extended & (table["is_isolated"] > 0) if isolated else extended)
    noise = (rms * scale).astype(np.float32)
    image = image[rows]
    catalogue = QTable()
    for name, values in table.items():
        unit = u.pix if name in _LENGTHS else u.rad if name == "theta" else None
        new = f"{name}_mosaic" if name in ("x", "y") else name
        catalogue[new] = values[rows] if unit is None else values[rows] * unit
    catalogue["id"] = [f"{group}-{number}" for number in table["id"][rows]]
    middle = (np.array(image.shape[1:3]) // 2)[::-1]
    for axis, name in enumerate(("x", "y")):
        # The stamps are centred on the nearest pixel; what is left says where in it the object is.
        catalogue[name] = (table[name][rows] - np.round(table[name][rows]) + middle[axis]) * u.pix
    detection = int(np.argmax(np.nanmax(image, axis=(1, 2)).mean(axis=0) / noise))
    mask = np.stack([neighbours(one[..., detection], noise[detection]) for one in image])
    return Stamps(
        image, bands, pixel_scale, variance=np.broadcast_to(noise**2, image.shape),
        mask=np.broadcast_to(mask[..., None], image.shape), psf=psf, catalogue=catalogue, survey=telescope,
        meta={"origin": f"linear stamps, {group}"},
    )  # fmt: skip


def _numbers(value, n):
    """Read a number or a printed array of them from an attribute."""
    if isinstance(value, bytes | str):
        value = [float(word) for word in str(value).strip("[]").split()]
    return np.broadcast_to(np.asarray(value, float).ravel(), (n,)).copy()


def _stack(stars):
    return stack_psf([psf_from_stars(stars[..., band]) for band in range(stars.shape[-1])])


def moffat(r50, beta=3.0, size=33):
    """Return a Moffat PSF of half-light radius `r50` pixels, (size, size, 1).

    Notes
    -----
    beta = 3 is near what ground-based stars show (Trujillo et al. 2001, MNRAS 328, 977).
    """
    # The light within r is 1 - (1 + (r / alpha)^2)^(1 - beta).
    alpha = r50 / np.sqrt(0.5 ** (1 / (1 - beta)) - 1)
    fine = (np.arange(size * 5) - (size * 5 - 1) / 2) / 5
    image = (1 + (fine**2 + fine[:, None] ** 2) / alpha**2) ** -beta
    image = image.reshape(size, 5, size, 5).sum(axis=(1, 3))
    return (image / image.sum()).astype(np.float32)[..., None]


def neighbours(image, rms, threshold=2.0):
    """Return the mask of everything but the object in the middle, from SEP's segmentation, (y, x)."""
    _, labels = extract(np.asarray(image, np.float32), threshold, float(rms))
    own = labels[image.shape[0] // 2, image.shape[1] // 2]
    return (labels != 0) & (labels != own)
