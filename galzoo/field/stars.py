"""The stars of a field by their size: the branch of one size in the diagram of size and brightness."""

import numpy as np

from galzoo.field.coadd import coadd
from galzoo.field.photometry import half_light_radius

# The brightest sources, of at least this signal-to-noise, that sizes are measured of, and within how many pixels.
_SOURCES, _LEAST_SNR, _REACH = 400, 30.0, 8
# Half-light radii in pixels that a star can have: a disc of noise has 0.7 of the aperture.
_SMALLEST, _LARGEST = 0.5, 5.0
# Half-widths of the branch, as the logarithm of a radius.
_WIDTH = 0.04
# A bad pixel this near spoils a star, a source within so many of its half-light radii too.
_CLEAN, _APART = 6, 5.0
# As far below the branch, as the logarithm of a radius, sources speak against it; weight of the faintest source, where
# the others weigh by the logarithm of their signal-to-noise.
_BELOW, _FAINTEST = 0.4, 0.1
LEAST_STARS = 3
"""Fewer sources of one size are no branch."""


def find_stars(field, sources):
    """Return the stars of a field, brightest first.

    The branch of stars is where many bright sources have one size and few are a little smaller; galaxies have all
    sizes above it. Saturated stars are left out by the mask, those that are near another source too.

    Parameters
    ----------
    field : Field
    sources : dict of arrays
        As of `galzoo.field.tiles.collect`: ``x, y, snr``.

    Returns
    -------
    rows : int array, (n,)
        None where there is no branch.
    radii : array, (n,)
        Half-light radii in pixels.

    References
    ----------
    The stellar locus: Kaiser, Squires & Broadhurst 1995, ApJ 449, 460.
    """
    rows, radii = sizes(field, sources)
    return on_branch(rows, radii, sources["snr"][rows])


def sizes(field, sources):
    """Return the bright sources that have no other and no bad pixel near, brightest first, and half-light radii."""
    from scipy.spatial import cKDTree

    order = np.argsort(-sources["snr"], kind="stable")
    order = order[sources["snr"][order] >= _LEAST_SNR]
    if not len(order):
        return order, np.zeros(0)
    places = np.stack([sources["x"], sources["y"]], axis=-1)
    apart = np.full(len(places), np.inf)
    if len(places) > 1:
        apart = cKDTree(places).query(places, k=2)[0][:, 1]
    weights, rows, radii = 1 / field.noise_levels(), [], []
    for row in order:
        planes, x, y = around(field, *places[row], 2 * _REACH)
        if len(rows) == _SOURCES:
            break
        near = np.s_[2 * _REACH - _CLEAN : 2 * _REACH + _CLEAN + 1]
        if planes["mask"][near, near].any():
            continue
        image = coadd(planes, weights)[0].astype(np.float32)
        radius = float(half_light_radius(image, None, np.array([x]), np.array([y]), float(_REACH))[0])
        if _SMALLEST < radius < _LARGEST and apart[row] > _APART * radius:
            rows.append(row)
            radii.append(radius)
    return np.array(rows, int), np.array(radii)


def around(field, x, y, reach):
    """Return the planes of a square of 2 `reach` + 1 pixels about a position, and the position in it."""
    x0, y0 = int(round(x)) - reach, int(round(y)) - reach
    return field.read(y0, y0 + 2 * reach + 1, x0, x0 + 2 * reach + 1), x - x0, y - y0


def on_branch(rows, radii, snr):
    """Return those of some sources, and their radii, that lie on the branch of stars; see `find_stars`."""
    if len(rows) < LEAST_STARS:
        return rows[:0], radii[:0]
    size, weight = np.log(radii), np.log(snr / _LEAST_SNR) + _FAINTEST
    step = size[None, :] - size[:, None]
    inside = np.abs(step) <= _WIDTH
    smaller = (step < -_WIDTH) & (step >= -_BELOW)
    score = (inside * weight).sum(axis=1) - (smaller * weight).sum(axis=1)
    best = np.argmax(np.where(inside.sum(axis=1) >= LEAST_STARS, score, -np.inf))
    middle = np.median(size[inside[best]])
    on = np.abs(size - middle) <= _WIDTH
    if score[best] <= 0 or on.sum() < LEAST_STARS:
        return rows[:0], radii[:0]
    return rows[on], radii[on]
