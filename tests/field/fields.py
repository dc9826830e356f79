"""Small fields of Gaussian sources as FITS, and a deblender that knows that sources are Gaussian."""

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from galzoo.contracts.deblended import Deblended

FWHM = 3.5
SIGMA = FWHM / 2.3548
SCALE = 0.2
BANDS = ("g", "r", "i")
NOISE = np.array([1.0, 1.2, 1.5])


def gaussian(shape, x, y, sigma):
    """Return a Gaussian of unit sum at (x, y), (y, x)."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def draw(shape, sources, seed=0, sky=0.0):
    """Return a noisy image (band, y, x) of sources (x, y, flux in r, size in pixels); fluxes are 0.6, 1, 1.3 of it."""
    image = np.random.default_rng(seed).normal(size=(3, *shape)) * NOISE[:, None, None] + sky
    for x, y, flux, size in sources:
        spread = np.hypot(SIGMA, size)
        x0, y0, reach = int(x), int(y), int(6 * spread) + 2
        top, left = max(y0 - reach, 0), max(x0 - reach, 0)
        part = image[:, top : y0 + reach, left : x0 + reach]
        blob = gaussian(part.shape[1:], x - left, y - top, spread)
        part += np.array([0.6, 1.0, 1.3])[:, None, None] * flux * blob
    return image


def wcs():
    found = WCS(naxis=2)
    found.wcs.ctype, found.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    found.wcs.cdelt, found.wcs.crpix = [-SCALE / 3600, SCALE / 3600], [50.0, 50.0]
    return found


def write(path, image, names=BANDS, dtype=np.float32, **cards):
    """Write a file with an extension a band."""
    hdus = [fits.PrimaryHDU()]
    for name, plane in zip(names, image, strict=True):
        header = wcs().to_header()
        header["MAGZERO"] = 31.4
        for key, value in cards.items():
            header[key] = value
        hdus.append(fits.ImageHDU(np.asarray(plane, dtype), header, name=name))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def write_psf(path, side=21, sigma=SIGMA):
    middle = (side - 1) / 2
    fits.writeto(path, gaussian((side, side), middle, middle, sigma).astype(np.float32), overwrite=True)
    return path


def blends(shape, n, seed=1, flux=(150, 800), apart=26):
    """Return sources on a jittered grid, every third with a neighbour 5 pixels off."""
    rng = np.random.default_rng(seed)
    found = []
    for x in np.arange(apart, shape[1] - apart / 2, apart):
        for y in np.arange(apart, shape[0] - apart / 2, apart):
            place = rng.uniform(-2, 2, 2) + (x, y)
            found.append((*place, rng.uniform(*flux), rng.uniform(0, 2)))
            if len(found) % 3 == 0:
                angle = rng.uniform(0, 2 * np.pi)
                found.append((*(place + 5 * np.array([np.cos(angle), np.sin(angle)])), rng.uniform(*flux), 0.0))
            if len(found) >= n:
                return found
    return found


def least_squares(batch, sizes=(0.0, 1.5, 3.0)):
    """Deblend by Gaussians of a few sizes at the given positions, all fluxes solved for together band by band."""
    n, side, _, bands = batch["image"].shape
    most = batch["positions"].shape[1]
    half = (batch["psf"].shape[1] - 1) / 2
    offset = (np.arange(batch["psf"].shape[1]) - half) ** 2
    image = np.zeros((n, most, side, side, bands))
    flux, error = np.zeros((n, most, bands)), np.zeros((n, most, bands))
    for row in range(n):
        count = batch["n_sources"][row]
        for band in range(bands):
            spread = np.sqrt((batch["psf"][row, ..., band].sum(axis=0) * offset).sum())
            template = np.array([
                [gaussian((side, side), *batch["positions"][row, source], np.hypot(spread, size)) for size in sizes]
                for source in range(count)
            ]).reshape(-1, side * side)  # fmt: skip
            good = ~batch["mask"][row, ..., band].ravel() & np.isfinite(batch["variance"][row, ..., band]).ravel()
            root = np.sqrt(1 / batch["variance"][row, ..., band].ravel()[good])
            matrix = template[:, good] * root
            normal = matrix @ matrix.T + 1e-12 * np.eye(len(matrix))
            answer = np.linalg.lstsq(normal, matrix @ (batch["image"][row, ..., band].ravel()[good] * root))[0]
            answer = answer.reshape(count, len(sizes))
            parts = template.reshape(count, len(sizes), side, side)
            image[row, :count, ..., band] = np.einsum("sk,skyx->syx", answer, parts)
            flux[row, :count, band] = answer.sum(axis=1)
            error[row, :count, band] = np.sqrt(np.diag(np.linalg.pinv(normal))).reshape(count, -1).max(axis=1)
    present = np.arange(most) < batch["n_sources"][:, None]
    shape = np.zeros((n, most, 3))
    return Deblended(image, flux, batch["positions"].copy(), present, flux_error=error, shape=shape, shape_error=shape)
