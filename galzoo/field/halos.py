"""Smooth light of sources larger than any window: profiles of ellipses, taken off before the rest is looked at.

References
----------
Jedrzejewski 1987, MNRAS 226, 747 (profiles of ellipses).
"""

import dataclasses

import numpy as np
from scipy import ndimage

from galzoo.field.coadd import coadd
from galzoo.field.detection import discs
from galzoo.field.photometry import moment_axes

# Rings are a pixel wide at first, then this part of their radius.
_WIDTH = 0.08
# Light of the sum of bands, in its noise, down to which a source is said to reach, and its profile is followed.
_SEEN, _FOLLOWED = 1.5, 0.15
# Ellipses are those of so many levels from a part of the peak down to so many times the noise, of so many pixels at
# least; one whose middle is this part of its semi-axis beside the core is that of a blend.
_CORE_LEVEL, _SHAPE_LEVEL, _LEVELS, _FEWEST, _ASIDE, _THINNEST = 0.5, 10.0, 8, 9, 0.15, 0.1
# FWHM about other sources that are left out; deviations from the median of a ring above which pixels have no part in
# the profile, and from which they have none in the flux.
_MASKED, _CLIP, _FAR = 1.5, 2.0, 4.0

# Part of the light of a halo that it may be off by over the area of a source.
_OFF = 0.05


@dataclasses.dataclass(frozen=True)
class Halo:
    """The light of one source, alike all along ellipses.

    Parameters
    ----------
    x, y : float
        Centre of the core in pixels of the field.
    drift : array, (level, 3)
        Major semi-axes, rising, and how far in x and y the middles of these ellipses are from the core.
    ratio, theta : float
        Minor over major axis; angle of the major axis from x to y, radians.
    radii : array, (ring,)
        Major semi-axes in pixels, rising.
    profile : array, (ring, band)
        Light of a pixel, 0 at the last.
    mean : array, (ring, band)
        The same with what stands out of the ellipses, as arms do, but not by far.
    error : array, (ring, band)
        Standard deviation of `mean`.
    seen : float
        Major semi-axis in pixels at which the sum of the bands comes down to the noise.
    """

    x: float
    y: float
    drift: np.ndarray
    ratio: float
    theta: float
    radii: np.ndarray
    profile: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    seen: float

    @property
    def reach(self):
        """Pixels from the centre beyond which there is no light."""
        return int(np.ceil(self.radii[-1] + np.hypot(*self.drift[:, 1:].T).max()))

    def core(self, part):
        """Return the major semi-axis in pixels within which the light of all bands is above a part of the greatest."""
        light = self.profile.sum(axis=1)
        return float(self.radii[np.flatnonzero(light > part * light.max()).max(initial=0)])

    def axis(self):
        """Return the major semi-axis in pixels by second moments of the light of all bands."""
        light = self.profile.sum(axis=1) * self.radii
        square = np.trapezoid(light * self.radii**2, self.radii) / max(np.trapezoid(light, self.radii), 1e-30)
        return float(np.sqrt(square / 2))

    def radius(self, y0, y1, x0, x1):
        """Return the major semi-axis of the ellipse that each of the pixels [y0, y1) x [x0, x1) is on, (y, x)."""
        return _radius((y0, y1, x0, x1), (self.x, self.y), self.drift, self.ratio, self.theta)

    def draw(self, y0, y1, x0, x1):
        """Return the light of the pixels [y0, y1) x [x0, x1), float32 (y, x, band)."""
        radius = self.radius(y0, y1, x0, x1)
        planes = [np.interp(radius, self.radii, band, right=0.0) for band in self.profile.T]
        return np.stack(planes, axis=-1).astype(np.float32)

    def flux(self):
        """Return the flux and its standard deviation, (band,) each, as if the field had no edge."""
        area = np.pi * self.ratio * np.diff(self.radii**2)
        middle = (self.mean[1:] + self.mean[:-1]) / 2
        return area @ middle, np.sqrt(area**2 @ self.error[1:] ** 2)


def _radius(window, place, drift, ratio, theta):
    """Return the major semi-axis of the ellipse that each pixel of a window (y0, y1, x0, x1) is on; see `Halo`."""
    y, x = np.ogrid[window[0] : window[1], window[2] : window[3]]
    x, y, cosine, sine = x - place[0], y - place[1], np.cos(theta), np.sin(theta)

    def radius(x, y):
        return np.hypot(x * cosine + y * sine, (y * cosine - x * sine) / ratio)

    first, (semi, along_x, along_y) = radius(x, y), drift.T
    return radius(x - np.interp(first, semi, along_x), y - np.interp(first, semi, along_y))


def measure_halo(planes, corner, place, others, fwhm, weights):
    """Return the `Halo` of a source; None where nothing of it is above the noise.

    Parameters
    ----------
    planes : dict of arrays, (y, x, band)
        ``image, variance, mask`` of a window that holds it.
    corner : (int, int)
        x and y of the first pixel of the window.
    place : (float, float)
        x and y of the source in the field.
    others : array, (n, 2)
        x and y of other sources.
    fwhm : float
        Pixels.
    weights : sequence of float
        Of the bands in their sum, see `galzoo.field.coadd.coadd`.

    Notes
    -----
    Of each ring the median without what is far above it, so that neighbours and arms have no part.
    """
    image, error, empty = coadd(planes, weights)
    if empty.all():
        return None
    noise = float(np.median(error[~empty]))
    middle = int(round(place[0])) - corner[0], int(round(place[1])) - corner[1]
    own = ~discs(image.shape, np.asarray(others, float).reshape(-1, 2) - corner, _MASKED * fwhm)
    found = _ellipses(np.where(empty, 0, image), noise, own, middle, fwhm)
    if found is None:
        return None
    x, y, *shape = found
    radius = _radius((0, image.shape[0], 0, image.shape[1]), (x, y), *shape)
    edges = _edges(radius.max())
    ring = np.digitize(radius, edges) - 1
    order = np.argsort(ring[own], kind="stable")
    bounds = np.searchsorted(ring[own][order], np.arange(len(edges)))
    stack = np.concatenate([planes["image"], image[..., None]], axis=-1)[own][order]
    bad = np.concatenate([planes["mask"], empty[..., None]], axis=-1)[own][order]
    rings = [_typical(stack[a:b], bad[a:b], fwhm) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    profile, mean, scatter = (np.array(values) for values in zip(*rings, strict=True))
    # Rings without a good pixel are what those about them are; beyond the last that has one nothing is known.
    known = np.isfinite(profile)
    rows = np.arange(len(profile))
    for band in np.flatnonzero(known.any(axis=0)):
        for one in (profile, mean):
            one[:, band] = np.interp(rows, rows[known[:, band]], one[known[:, band], band], right=0.0)
    profile, mean, scatter = (np.nan_to_num(one) for one in (profile, mean, scatter))
    radii = (edges[1:] + edges[:-1]) / 2
    total = profile[:, -1]
    below = np.flatnonzero(total < _FOLLOWED * noise)
    last = int(below[0]) if len(below) else len(radii) - 1
    if last < 1:
        return None
    seen = radii[np.flatnonzero(total[: last + 1] > _SEEN * noise).max(initial=0)]
    light = np.maximum(profile[: last + 1, :-1], 0)
    light[-1] = 0
    parts = light, mean[: last + 1, :-1], scatter[: last + 1, :-1]
    light, mean, scatter = (np.concatenate([one[:1], one]) for one in parts)
    radii = np.append(0.0, radii[: last + 1])
    return Halo(x + corner[0], y + corner[1], *shape, radii, light, mean, scatter, float(seen))


def _ellipses(image, noise, own, middle, fwhm):
    """Return centre, drift, axis ratio and angle of the source at a pixel (x, y) of a sum of bands; None where dark.

    What is above each of some levels is an ellipse by its moments; the faintest that is about the core gives the shape.
    `own` are pixels that are not in the place of another source.
    """
    x, y = middle
    reach = int(np.ceil(2 * fwhm))
    core = np.s_[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
    if not image[core].size or not image[core].max() > 0:
        return None
    top = np.unravel_index(np.argmax(image[core]), image[core].shape)
    top = top[0] + core[0].start, top[1] + core[1].start
    bright = _connected(image > _CORE_LEVEL * image[top], top)
    cy, cx = (float(np.average(one, weights=image[bright])) for one in np.nonzero(bright))
    first = _CORE_LEVEL * image[top]
    smooth, drift, shape = ndimage.uniform_filter(image, 3), [(0.0, 0.0, 0.0)], (1.0, 0.0)
    for level in np.geomspace(first, min(_SHAPE_LEVEL * noise, first), _LEVELS):
        line, column = np.nonzero(_connected(smooth > level, top) & own)
        if len(line) < _FEWEST:
            continue
        (xx, xy), (_, yy) = np.cov(column, line, bias=True)
        a, b, angle = moment_axes(xx, yy, xy)
        # An even ellipse has a quarter of its squared semi-axis for variance.
        semi, moved = 2 * float(a), (column.mean() - cx, line.mean() - cy)
        if np.hypot(*moved) > _ASIDE * semi or semi <= drift[-1][0]:
            continue
        drift.append((semi, *moved))
        shape = max(b / a, _THINNEST), angle
    return cx, cy, np.array(drift), *map(float, shape)


def _connected(region, pixel):
    """Return the part of a region that a pixel (y, x) is in."""
    labels, _ = ndimage.label(region)
    return (labels == labels[pixel]) & (labels > 0)


def _edges(most):
    """Return the edges of rings out to a radius."""
    edges = [0.0]
    while edges[-1] < most:
        edges.append(edges[-1] + max(1.0, _WIDTH * edges[-1]))
    return np.array(edges)


def _typical(values, bad, fwhm):
    """Return the median of pixels (n, band) without those far above it, their mean and its error, (band,) each.

    All are NaN where there is no good pixel. Pixels are taken to be alike over the area of the PSF, as structure is.
    """
    middle, mean, error = np.full((3, values.shape[1]), np.nan)
    for band in range(values.shape[1]):
        good = values[~bad[:, band], band].astype(float)
        if not len(good):
            continue
        median = np.median(good)
        deviation = 1.4826 * np.median(np.abs(good - median))
        middle[band] = np.median(good[good <= median + _CLIP * deviation])
        good = good[np.abs(good - median) <= _FAR * deviation] if deviation > 0 else good
        mean[band], error[band] = good.mean(), good.std() / np.sqrt(max(len(good) / fwhm**2, 1.0))
    return middle, mean, error


class WithoutHalos:
    """A field less the light of some halos, read as a `galzoo.field.field.Field` is.

    Parameters
    ----------
    field : Field
    halos : sequence of Halo
    doubt : float
        Part of that light that may be wrong, pixel by pixel: it adds to the standard deviation.
    """

    def __init__(self, field, halos, doubt):
        self._field, self.halos, self.doubt = field, tuple(halos), float(doubt)

    def flux_error(self, x, y, sigma):
        """Return by how much fluxes measured on the halos may be off where these are not ellipses, (n, band).

        Parameters
        ----------
        x, y : array, (n,)
            Pixels of the field.
        sigma : array, (n,)
            Of the sources as seen, pixels: a Gaussian one is measured over 4 pi sigma^2 pixels.
        """
        light = np.zeros((len(x), len(self.bands)))
        for row, place in enumerate(zip(np.round(y), np.round(x), strict=True)):
            if np.isfinite(place).all():
                line, column = (int(one) for one in place)
                light[row] = sum(halo.draw(line, line + 1, column, column + 1)[0, 0] for halo in self.halos)
        return _OFF * light * 4 * np.pi * np.asarray(sigma, float)[:, None] ** 2

    def __getattr__(self, name):
        return getattr(self._field, name)

    def read(self, y0, y1, x0, x1):
        """Return the pixels [y0, y1) x [x0, x1); see `galzoo.field.field.Field.read`."""
        planes = self._field.read(y0, y1, x0, x1)
        light = np.zeros_like(planes["image"])
        for halo in self.halos:
            (low, high), (left, right) = (
                (max(first, int(middle) - halo.reach), min(last, int(middle) + halo.reach + 2))
                for first, last, middle in ((y0, y1, halo.y), (x0, x1, halo.x))
            )
            if low < high and left < right:
                light[low - y0 : high - y0, left - x0 : right - x0] += halo.draw(low, high, left, right)
        planes["image"] = np.where(planes["mask"], 0, planes["image"] - light)
        planes["variance"] = planes["variance"] + (self.doubt * light) ** 2
        return planes
