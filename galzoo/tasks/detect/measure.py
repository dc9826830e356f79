"""Fluxes, shapes and flags of detections, from their own pixels: the same for every detector.

References
----------
Kron 1980, ApJS 43, 305. Bertin & Arnouts 1996, A&AS 117, 393.
"""

import numpy as np

from galzoo.field.coadd import coadd
from galzoo.field.gaps import bridge_gaps
from galzoo.field.photometry import automatic_radius, ellipse_fluxes, ellipses, half_light_radius, moment_axes

FLAGS = {
    "edge": 1,
    "masked": 2,
    "saturated": 4,
    "touching": 8,
    "no_flux": 16,
    "residual": 32,
    "fallback": 64,
}
"""Bits of a detection's flag: its pixels reach the edge of the image; some of its core are masked; it holds saturated
pixels; its pixels touch those of another; no band has a good pixel to measure it on; it was found in the residual of a
fit; the classical detection found it where the detector was not sure."""
# The window of a tile reaches so many semi-axes of its largest source beyond it, within these limits in pixels.
_REACH, _LEAST_MARGIN, _MOST_MARGIN = 16, 48, 512
# Semi-axes from which light is looked at for the half-light radius.
_LIGHT = 6.0
# A source is like a star where its half-light radius is below so many of the PSF's; the steps are this wide, and wider
# where the source is faint.
_STAR_RADIUS, _STAR_STEP = 1.2, 0.05
# Sources whose PSFs are asked for at once: those of all would take more memory than the tile.
_AT_ONCE = 1024
# Pixels about the position that are its core.
_CORE = 1.5


def measure_tile(field, instances, rows, core, psf_of):
    """Measure the sources whose positions are in a tile.

    Parameters
    ----------
    field : Field
    instances : int32 array, (y, x)
        Number of the source + 1.
    rows : dict of arrays
        With ``x, y, box`` of all sources.
    core : tuple of int
        (y0, y1, x0, x1).
    psf_of : callable

    Returns
    -------
    dict of arrays
        ``row``; ``aperture_flux, aperture_flux_error`` (n, band): Kron ellipses without the pixels of other sources;
        ``a, b`` (pixels), ``theta`` (from x to y): second moments of the source's pixels; ``radius``: of half the
        light, pixels; ``snr`` of the flux of all bands; ``starlike``: from 0 to 1, how much the radius is that of a
        point; ``flags``.
    """
    line, column = (np.clip(np.round(rows[key]), 0, side - 1) for key, side in zip("yx", field.shape, strict=True))
    own = np.flatnonzero((line >= core[0]) & (line < core[1]) & (column >= core[2]) & (column < core[3]))
    bands = len(field.bands)
    if not len(own):
        wide = {"aperture_flux", "aperture_flux_error"}
        keys = ("aperture_flux", "aperture_flux_error", "a", "b", "theta", "radius", "snr", "starlike")
        empty = {key: np.zeros((0, bands) if key in wide else 0) for key in keys}
        return empty | {"row": own, "flags": np.zeros(0, int)}
    box = rows["box"][own]
    largest = np.nanmax(np.append(box[:, 2:] - box[:, :2], 1))
    margin = int(np.clip(_REACH * largest / 4, _LEAST_MARGIN, _MOST_MARGIN))
    y0, y1 = max(core[0] - margin, 0), min(core[1] + margin, field.shape[0])
    x0, x1 = max(core[2] - margin, 0), min(core[3] + margin, field.shape[1])
    planes = field.read(y0, y1, x0, x1)
    labels, touching = _local(np.asarray(instances[y0:y1, x0:x1]), own)
    x, y = rows["x"][own] - x0, rows["y"][own] - y0
    weights = 1 / field.noise_levels()
    width = _psf_radius(psf_of, rows["x"][own], rows["y"][own], weights)
    # A bad column through a source takes none of its light. A Gaussian is twice as wide as it has half its light in.
    whole = bridge_gaps(planes, 2 * np.median(width))
    image, error, empty = coadd(whole, weights)
    image, error = np.ascontiguousarray(image, np.float32), np.ascontiguousarray(error, np.float32)
    a, b, theta = _moments(image, labels, x, y, width)
    ellipse = ellipses(x, y, a, b, theta)
    empty = np.ascontiguousarray(empty)
    kron = automatic_radius(image, empty, ellipse, labels)
    flux, flux_error, _ = ellipse_fluxes(whole["image"], whole["variance"], whole["mask"], ellipse, kron, labels)
    total, total_error, _ = ellipse_fluxes(
        image[..., None], (error**2)[..., None], empty[..., None], ellipse, kron, labels
    )
    total, total_error = total[:, 0], total_error[:, 0]
    radius = half_light_radius(image, empty, x, y, np.maximum(_LIGHT * a, 2), total, labels)
    snr = np.divide(total, total_error, out=np.zeros(len(own)), where=total_error > 0)
    step = _STAR_STEP + 1 / np.maximum(snr, 1)
    # Noise alone makes a source smaller than the PSF: that is no proof of a star.
    starlike = 1 / (1 + np.exp(np.clip((np.maximum(radius / width, 1) - _STAR_RADIUS) / step, -30, 30)))
    return {
        "row": own, "aperture_flux": flux, "aperture_flux_error": flux_error, "a": a, "b": b, "theta": theta,
        "radius": radius, "snr": snr, "starlike": starlike,
        "flags": _flags(planes, labels, x, y, box - [x0, y0, x0, y0], flux, touching, (y0, x0), field.shape),
    }  # fmt: skip


def _local(labels, own):
    """Return labels with own sources numbered from 1 and all others one number above; and which touch another."""
    place = np.full(max(int(labels.max(initial=0)), int(own.max()) + 1) + 1, len(own) + 1, np.int32)
    place[0], place[own + 1] = 0, np.arange(1, len(own) + 1)
    touching = np.zeros(len(own) + 2, bool)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        meet = (one != other) & (one > 0) & (other > 0)
        touching[place[one[meet]]] = touching[place[other[meet]]] = True
    return place[labels], touching[1 : len(own) + 1]


def _psf_radius(psf_of, x, y, weights):
    """Return the radius of half the light of PSFs, the mean over bands as weighted in the sum, pixels, (n,)."""
    weights = np.asarray(weights) / np.sum(weights)
    # PSFs of a field are mostly one; each is measured once.
    known, radii = {}, []
    for start in range(0, len(x), _AT_ONCE):
        for one in np.asarray(psf_of(x[start : start + _AT_ONCE], y[start : start + _AT_ONCE])):
            key = one.tobytes()
            if key not in known:
                share = (one.astype(float) @ weights).astype(np.float32)
                middle = (np.array(share.shape) - 1) / 2
                radius = half_light_radius(share / share.sum(), None, middle[1:], middle[:1], middle.min(), np.ones(1))
                known[key] = radius[0]
            radii.append(known[key])
    return np.array(radii)


def _moments(image, labels, x, y, width):
    """Return semi-axes and angle from the second moments of each source's pixels; at least those of the PSF."""
    n, floor = len(x), width / 1.1774
    line, column = np.nonzero((labels > 0) & (labels <= n))
    owner = labels[line, column] - 1
    light = np.maximum(image[line, column].astype(float), 0)
    total = np.maximum(np.bincount(owner, light, minlength=n), 1e-30)
    step_x, step_y = column - x[owner], line - y[owner]
    xx, yy, xy = (
        np.bincount(owner, light * values, minlength=n) / total for values in (step_x**2, step_y**2, step_x * step_y)
    )
    a, b, theta = moment_axes(xx, yy, xy)
    # A source that has hardly a pixel of its own is as wide as the PSF.
    a = np.maximum(a, floor)
    return a, np.maximum(b, np.minimum(floor, a)), theta


def _flags(planes, labels, x, y, box, flux, touching, corner, shape):
    flags = np.where(touching, FLAGS["touching"], 0)
    height, width = labels.shape
    line = np.clip(np.round(y).astype(int), 0, height - 1)
    column = np.clip(np.round(x).astype(int), 0, width - 1)
    low = (box[:, 0] + corner[1] <= 0) | (box[:, 1] + corner[0] <= 0)
    high = (box[:, 2] + corner[1] >= shape[1] - 1) | (box[:, 3] + corner[0] >= shape[0] - 1)
    flags |= np.where(low | high, FLAGS["edge"], 0)
    reach = int(np.ceil(_CORE))
    bad, full = planes["mask"].all(axis=-1), planes["saturated"].any(axis=-1)
    some = planes["mask"].any(axis=-1) & ~planes["mask"].all(axis=(0, 1)).any()
    for row, (at_y, at_x) in enumerate(zip(line, column, strict=True)):
        near = np.s_[max(at_y - reach, 0) : at_y + reach + 1, max(at_x - reach, 0) : at_x + reach + 1]
        if bad[near].any() or some[near].any():
            flags[row] |= FLAGS["masked"]
    saturated = np.unique(labels[full])
    saturated = saturated[(saturated > 0) & (saturated <= len(x))] - 1
    flags[saturated] |= FLAGS["saturated"]
    flags[full[line, column]] |= FLAGS["saturated"]
    return flags | np.where(np.isfinite(flux).any(axis=1), 0, FLAGS["no_flux"])
