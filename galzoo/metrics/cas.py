"""Growth curve, Petrosian radius, concentration, asymmetry and smoothness of one object on one stamp."""

import numpy as np

# Of the growth curve's radii, in pixels.
STEP = 0.1
# Sub-pixels per pixel and axis: far from the centre, and in the box around it where the edge's curvature shows.
COARSE, FINE = 3, 15
FINE_HALF_WIDTH = 4
# Surface brightness at the Petrosian radius over the mean within it (Petrosian 1976, ApJ 209, L1; SDSS's choice).
ETA = 0.2
ANNULUS = 1.0
# In Petrosian radii: the aperture, and the smoothing (Lotz, Primack & Madau 2004, AJ 128, 163).
APERTURE = 1.5
SMOOTHING = 0.25


def growth_curve(image, good, centre, shape=None):
    """Sum one image within circles or ellipses of rising radius.

    Parameters
    ----------
    image : array, (y, x)
        0 where not good.
    good : bool array, (y, x)
    centre : sequence of float
        x, y in pixels, 0-based.
    shape : array, (2, 2), optional
        Symmetric matrix M of the ellipses: a^2 = d M d for an offset d = (x, y), a the semi-major axis. Circles by
        default.

    Returns
    -------
    radius, flux, area : array, (k,)
        Semi-major axis in pixels from 0 on in steps of `STEP`, the sum of the good pixels within and their area.
    """
    shape = np.eye(2) if shape is None else shape
    column, row = (int(np.clip(round(c), 0, size - 1)) for c, size in zip(centre, image.shape[::-1], strict=True))
    rows = slice(max(row - FINE_HALF_WIDTH, 0), row + FINE_HALF_WIDTH + 1)
    columns = slice(max(column - FINE_HALF_WIDTH, 0), column + FINE_HALF_WIDTH + 1)
    outside = good.copy()
    outside[rows, columns] = False
    everything = slice(0, image.shape[0]), slice(0, image.shape[1])
    flux, area = np.zeros(0), np.zeros(0)
    for counted, box, factor in ((outside, everything, COARSE), (good, (rows, columns), FINE)):
        bins = _elliptical_radius(image.shape, box, factor, centre, shape)
        share = _repeat(counted[box] / factor**2, factor)
        light = share * _repeat(image[box], factor)
        length = max(len(flux), int(bins.max()) + 1)
        flux = np.bincount(bins, light, length) + np.pad(flux, (0, length - len(flux)))
        area = np.bincount(bins, share, length) + np.pad(area, (0, length - len(area)))
    radius = STEP * np.arange(len(flux) + 1)
    return radius, np.append(0.0, np.cumsum(flux)), np.append(0.0, np.cumsum(area))


def _elliptical_radius(size, box, factor, centre, shape):
    """Return the bin of radius of each sub-pixel in a box, flat."""
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    dy, dx = (
        (np.arange(length)[part, None] + offsets).ravel() - c
        for length, part, c in zip(size, box, centre[::-1], strict=True)
    )
    squared = shape[0, 0] * dx**2 + (shape[1, 1] * dy**2)[:, None]
    if shape[0, 1]:
        squared = np.maximum(squared + 2 * shape[0, 1] * dy[:, None] * dx, 0.0)
    return (np.sqrt(squared, out=squared).ravel() / STEP).astype(np.intp)


def _repeat(image, factor):
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1).ravel()


def petrosian_radius(curve, axis_ratio=1.0):
    """Find where the surface brightness has fallen to `ETA` of the mean within.

    Parameters
    ----------
    curve : tuple
        Of `growth_curve`.
    axis_ratio : float
        Of its ellipses.

    Returns
    -------
    float
        Semi-major axis in pixels; NaN where less than half of the annulus that is needed lies on good pixels.
    """
    radius, flux, area = curve
    width = int(round(ANNULUS / STEP))
    middle = radius[width // 2 : -(width - width // 2)]
    ring_area = area[width:] - area[:-width]
    usable = (ring_area > np.pi * axis_ratio * middle * ANNULUS) & (middle >= ANNULUS)
    within = slice(width // 2, width // 2 + len(middle))
    mean = np.divide(flux[within], area[within], out=np.zeros(len(middle)), where=usable)
    ring = np.divide(flux[width:] - flux[:-width], ring_area, out=np.zeros(len(middle)), where=usable)
    # Statmorph's reading of noise: the absolute values, and a first look in steps of about a pixel.
    excess = np.abs(ring) - ETA * np.abs(mean)
    looks = np.flatnonzero(usable)[:: int(round(1 / STEP))]
    below = looks[excess[looks] < 0]
    if not len(below) or below[0] == looks[0]:
        return np.nan
    start = looks[np.searchsorted(looks, below[0]) - 1]
    end = start + int(np.argmax(excess[start : below[0] + 1] < 0))
    before, after = excess[end - 1], excess[end]
    return float(middle[end - 1] + STEP * before / (before - after))


def fraction_radius(curve, fraction, limit):
    """Find the radius that holds a fraction of the light within another.

    Parameters
    ----------
    curve : tuple
        Of `growth_curve`.
    fraction : float
    limit : float
        Radius of the total, in pixels.

    Returns
    -------
    float
        Pixels; NaN where the total is not positive.
    """
    radius, flux, _ = curve
    total = np.interp(limit, radius, flux)
    if not total > 0:
        return np.nan
    above = int(np.argmax(flux >= fraction * total))
    before, after = flux[above - 1], flux[above]
    return float(radius[above - 1] + STEP * (fraction * total - before) / (after - before))


def sky_box(free):
    """Return the first square of free pixels, 32 a side or the next smaller power of 2; None without any."""
    total = np.pad(free.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    for size in (32, 16, 8, 4, 2):
        if size < min(free.shape):
            inside = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
            full = inside == size * size
            if full.any():
                y, x = np.unravel_index(np.argmax(full), full.shape)
                return slice(y, y + size), slice(x, x + size)
    return None


def sky_asymmetry(image, box, sky_sigma):
    """Return the mean of |I - I180| in a pixel of sky."""
    if sky_sigma is not None:
        return 2 / np.sqrt(np.pi) * sky_sigma
    if box is None:
        return 0.0
    return np.abs(image[box] - image[box][::-1, ::-1]).mean()


def sky_smoothness(image, box, sky_sigma, radius):
    """Return the mean of the positive residual I - I_smooth in a pixel of sky."""
    from scipy import ndimage

    side = int(SMOOTHING * radius)
    if side < 2:
        return 0.0
    if sky_sigma is not None:
        return sky_sigma * np.sqrt((1 - 1 / side**2) / (2 * np.pi))
    if box is None:
        return 0.0
    return np.maximum(image[box] - ndimage.uniform_filter(image[box], side), 0.0).mean()


def _disc(shape, centre, radius):
    """Return the share of each pixel within a circle."""
    y, x = np.arange(shape[0])[:, None] - centre[1], np.arange(shape[1]) - centre[0]
    inside = radius + 0.5 - np.sqrt(y**2 + x**2)
    return np.minimum(np.maximum(inside, 0.0, out=inside), 1.0, out=inside)


def _half_turn(padded, shape, centre):
    """Turn an image by 180 degrees about a point of it, by linear interpolation.

    The turned image is the flipped one, shifted by the same fraction of a pixel everywhere; `padded` is the flipped one
    with as many zeros on each side as it has pixels.
    """
    shift = np.array(shape) - 1 - 2 * centre[::-1]
    whole = np.floor(shift).astype(int)
    ty, tx = shift - whole
    y, x = whole + shape
    part = padded[y : y + shape[0] + 1, x : x + shape[1] + 1]
    part = (1 - ty) * part[:-1] + ty * part[1:]
    return (1 - tx) * part[:, :-1] + tx * part[:, 1:]


def _asymmetry_at(image, good, radius, sky):
    """Return the asymmetry as a function of the centre; infinite off the image and without light."""
    shape = image.shape
    margin = [(size, size) for size in shape]
    image_flipped = np.pad(image[::-1, ::-1], margin)
    good_flipped = None if good.all() else np.pad(good[::-1, ::-1].astype(np.float64), margin)
    size = np.abs(image)
    y, x = np.arange(shape[0]), np.arange(shape[1])

    def asymmetry_at(centre):
        x0, y0 = centre
        if not (0 <= x0 <= shape[1] - 1 and 0 <= y0 <= shape[0] - 1):
            return np.inf
        weight = _disc(shape, centre, radius)
        # A pixel counts where its partner does; on the image, partners are within half a pixel of its rim.
        weight[np.abs(2 * y0 - y - (shape[0] - 1) / 2) > shape[0] / 2] = 0.0
        weight[:, np.abs(2 * x0 - x - (shape[1] - 1) / 2) > shape[1] / 2] = 0.0
        if good_flipped is not None:
            weight *= good & (_half_turn(good_flipped, shape, centre) > 0.5)
        total = np.vdot(weight, size)
        if not total > 0:
            return np.inf
        difference = np.abs(image - _half_turn(image_flipped, shape, centre))
        return (np.vdot(weight, difference) - weight.sum() * sky) / total

    return asymmetry_at


def asymmetry(image, centre, radius, good=None, sky=0.0):
    """Compare one image with itself turned by 180 degrees about a point.

    Parameters
    ----------
    image : array, (y, x)
        Background-subtracted; 0 where not good.
    centre : sequence of float
        x, y in pixels, 0-based.
    radius : float
        Of the circular aperture, in pixels; 1.5 Petrosian radii by convention.
    good : bool array, (y, x), optional
    sky : float
        Mean of the absolute difference in a pixel of sky; 2 / sqrt(pi) times sigma for white noise.

    Returns
    -------
    float
        Sum of |I - I180| less the sky's over the sum of |I|; NaN without light or off the stamp.

    References
    ----------
    Conselice, Bershady & Jangren 2000, ApJ 529, 886; Lotz, Primack & Madau 2004, AJ 128, 163, equation 10.
    """
    image = np.asarray(image, dtype=np.float64)
    good = np.ones(image.shape, bool) if good is None else good
    value = _asymmetry_at(image, good, radius, sky)(np.asarray(centre, dtype=np.float64))
    return float(value) if np.isfinite(value) else np.nan


def asymmetry_centre(image, good, centroid, peak, radius, sky):
    """Return the centre of least asymmetry and the asymmetry; the centroid where the search runs away."""
    from scipy import optimize

    for start in (centroid, peak):
        # A minimum further away is refused, so that the image need not reach further than the aperture about it.
        reach = (APERTURE + SMOOTHING) * radius + 2
        low = np.maximum(np.floor(start - reach), 0).astype(int)
        high = np.ceil(start + reach).astype(int) + 1
        box = slice(low[1], high[1]), slice(low[0], high[0])
        function = _asymmetry_at(image[box], good[box], APERTURE * radius, sky)
        simplex = start - low + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        options = {"initial_simplex": simplex, "xatol": 5e-3, "fatol": 1e-4}
        best = optimize.minimize(function, start - low, method="Nelder-Mead", options=options)
        centre = best.x + low
        if np.hypot(*(centre - start)) <= SMOOTHING * radius and np.isfinite(best.fun):
            return centre, float(best.fun)
    return centroid, asymmetry(image, centroid, APERTURE * radius, good, sky)


def smoothness(image, centre, radius, good=None, sky=0.0):
    """Measure the share of light in structure finer than a quarter of the Petrosian radius.

    Parameters
    ----------
    image : array, (y, x)
        Background-subtracted; 0 where not good.
    centre : sequence of float
        x, y in pixels, 0-based.
    radius : float
        Petrosian radius in pixels.
    good : bool array, (y, x), optional
    sky : float
        Mean of the positive residual in a pixel of sky.

    Returns
    -------
    float
        Between 0.25 and 1.5 Petrosian radii; NaN without light or where the smoothing is narrower than two pixels.

    Notes
    -----
    As in statmorph, the smoothing is a square of a whole number of pixels. Where that is even, the square sits half a
    pixel off and even a smooth galaxy has some smoothness, so compare objects of one size and sampling.

    References
    ----------
    Lotz, Primack & Madau 2004, AJ 128, 163, equation 11.
    """
    from scipy import ndimage

    side = int(SMOOTHING * radius)
    if side < 2:
        return np.nan
    weight = _disc(image.shape, centre, APERTURE * radius) - _disc(image.shape, centre, SMOOTHING * radius)
    if good is not None:
        weight = np.where(good, weight, 0.0)
    total = np.vdot(weight, image)
    if not total > 0:
        return np.nan
    residual = np.maximum(image - ndimage.uniform_filter(image, side), 0.0)
    return float((np.vdot(weight, residual) - weight.sum() * sky) / total)
