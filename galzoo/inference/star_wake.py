"""PSF and sky of a star field, from the field itself: what of the light that its stars leave a wrong PSF explains."""

import dataclasses

import numpy as np
from scipy import sparse
from scipy.ndimage import convolve1d, gaussian_filter
from scipy.sparse.linalg import lsmr

from galzoo.data.psf import peak_fwhm
from galzoo.field.star_light import StarLight
from galzoo.inference.star_fit import jacobian

CHANGES = ("x", "y", "width", "ellipse along x", "ellipse along y", "wing")
"""What may change of a PSF: moved, wider, drawn out along x and along the diagonal, and light moved to its wing."""
# The wing is as wide as so many FWHM; the most that a fit changes, in pixels, their squares, or shares.
_WING, _MOST = 1.0, 0.5
# Pixels within so many FWHM of a star have a part in its step; damping and steps of the solver.
_REACH, _DAMPING, _SOLVER = 2.5, 1e-3, 300
_FIRST, _SECOND = np.array([0.5, 0.0, -0.5]), np.array([1.0, -2.0, 1.0])
# Pixels at the edge are not looked at: light of stars beyond it, which nobody knows, falls there.
_BORDER = 5


@dataclasses.dataclass
class Change:
    """What a field says of its PSF and sky.

    Parameters
    ----------
    psf : array, (band, 6)
        Of the changes `CHANGES`.
    sky : array, (band, 3)
        Light of each pixel that is left, in the unit of the image: in the middle, and how much more there is at the
        edges along x and y; see `sky_plane`.
    before, after : float
        Mean square of the residual over its variance.
    """

    psf: np.ndarray
    sky: np.ndarray
    before: float
    after: float

    def of(self, psf):
        """Return PSFs (p, p, band) as they are, of unit sum: those that were thought to be are given."""
        changed = psf + np.einsum("yxbk,bk->yxb", _changes(psf), self.psf)
        changed = np.maximum(changed, 0)
        return changed / changed.sum(axis=(0, 1))


def sky_plane(sky, x, y):
    """Return the light (y, x, band) that a sky (band, 3) of `Change` leaves at places along x and y.

    Places are -1 to 1 from edge to edge of the fitted image; what is further out has the sky of the edge.
    """
    x, y = (np.clip(np.asarray(one, float), -1, 1) for one in (x, y))
    constant, along_x, along_y = np.asarray(sky, float).T
    return constant + along_x * x[:, None] + along_y * y[:, None, None]


def edge_to_edge(number, pixels=None):
    """Return where pixels are in a row of so many that is -1 to 1 from edge to edge; those of the row by default."""
    pixels = np.arange(number) if pixels is None else pixels
    return 2 * pixels / (number - 1) - 1 if number > 1 else np.zeros(len(pixels))


def fit_change(image, fitted, psf, others):
    """Return the `Change` of PSF and sky that the residual of fitted stars speaks for.

    Parameters
    ----------
    image : array, (y, x, band)
    fitted : galzoo.inference.star_fit.Fitted
    psf : array, (p, p, band)
        Of the fit.
    others : (places (star, 2), flux (star, band))
        The expected light of stars that were not fitted.

    Notes
    -----
    A linear least-squares fit of changes and sky, a plane as in Liu et al. 2021, together with steps of all fluxes and
    places, which would else hold them to what they were. Places are those in the first band, so its PSF is not moved.
    """
    bands, kinds = image.shape[-1], len(CHANGES)
    seen = np.zeros((*image.shape[:2], bands * kinds))
    light = StarLight(_changes(psf).reshape(*psf.shape[:2], -1))
    for places, flux in ((fitted.places, fitted.flux), others):
        light.add(seen, places, np.repeat(flux, kinds, axis=1))
    seen = np.moveaxis(seen.reshape(*image.shape, kinds), 2, 0).reshape(bands, -1, kinds)
    seen[0, :, :2] = 0
    weight = np.zeros(image.shape)
    border = min(_BORDER, (min(image.shape[:2]) - 1) // 2)
    inner = np.s_[border : image.shape[0] - border, border : image.shape[1] - border]
    weight[inner] = fitted.weight[inner]
    planes = (np.moveaxis(one, -1, 0).reshape(bands, -1) for one in (weight, image - fitted.model))
    root, residual = next(planes) ** 0.5, next(planes)
    x, y = np.meshgrid(edge_to_edge(image.shape[1]), edge_to_edge(image.shape[0]))
    plane = np.stack([np.ones(x.size), x.ravel(), y.ravel()], axis=-1)
    common = sparse.block_diag([sparse.csr_array(np.concatenate([one, plane], axis=1)) for one in seen], "csr")
    reach = min(int(np.ceil(_REACH * peak_fwhm(psf))), psf.shape[0] // 2)
    told = fitted.told & (fitted.flux > 0).any(axis=1)
    own = jacobian(image.shape, StarLight(psf), fitted.places[told], fitted.flux[told], reach)
    design = sparse.hstack([common, own], "csr") * root.reshape(-1, 1)
    scale = np.sqrt(np.asarray(design.multiply(design).sum(axis=0)).ravel())
    scale = np.maximum(scale, 1e-12 * max(float(scale.max(initial=0.0)), 1e-30))
    target = (root * residual).ravel()
    steps = lsmr(design @ sparse.diags_array(1 / scale), target, damp=_DAMPING, maxiter=_SOLVER)[0]
    pixels = max(int((weight > 0).sum()), 1)
    after = float(np.sum((target - design @ (steps / scale)) ** 2)) / pixels
    found = (steps / scale)[: bands * (kinds + 3)].reshape(bands, -1)
    limit = np.clip(found[:, :kinds], -_MOST, _MOST)
    return Change(limit, found[:, kinds:], float(target @ target) / pixels, after)


def _changes(psf):
    """Return how PSFs (p, p, band) change by each of `CHANGES`, (p, p, band, change); none changes the sum inside."""
    dx, dy = (convolve1d(psf, _FIRST, axis=axis, mode="constant") for axis in (1, 0))
    xx, yy = (convolve1d(psf, _SECOND, axis=axis, mode="constant") for axis in (1, 0))
    xy = convolve1d(dx, _FIRST, axis=0, mode="constant")
    sigma = _WING * peak_fwhm(psf)
    wing = gaussian_filter(psf, (sigma, sigma, 0), mode="constant")
    wing = wing * (psf.sum(axis=(0, 1)) / wing.sum(axis=(0, 1))) - psf
    return np.stack([-dx, -dy, 0.5 * (xx + yy), 0.5 * (xx - yy), xy, wing], axis=-1)
