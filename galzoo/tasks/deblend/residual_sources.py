"""Sources that detection has missed: what a fit leaves suggests them, and a fit with them has to prove them.

Two near galaxies look like one in the sum of the bands, and one profile fits that sum well. They seldom have the same
colours, though, so the residual is searched in all bands at once. Structure that no profile has, arms or knots, leaves
as much light as a neighbour does, but mostly in the galaxy's own colours; so what is believed to be another source has
to have colours of its own, or to stand well out of all other light.
"""

import numpy as np
from scipy import ndimage, stats

from galzoo.field.coadd import coadd
from galzoo.field.detection import significance
from galzoo.field.windows import MOST_SOURCES
from galzoo.tasks.deblend.flags import chi2_of, doubted, normal_equations

ROUNDS = 3
"""At most so many sources are added in one place, one after the other."""
LEAST_GAIN = 50.0
"""By how much chi squared has to fall for another source, all of them fitted anew."""
COLOUR_GAIN = 15.0
"""The part of it that is due to the new source's own colours, where its light touches another's..."""
COLOUR_ERROR = 0.012
"""...plus this part of the chi squared of the new source's light: galaxies are not of one colour all over..."""
STRUCTURE_ERROR = 0.001
"""...and this part of that of all other light in its place: knots and bulges of 3 % of it are no sources."""
CONTRAST = 4.0
"""Or, whatever its colours: it and its neighbours each outshine all other light in their place so many times."""
MODEL_ERROR = 0.1
"""In a single band, part of the model that may be wrong over the width of the PSF; residuals within are no sources."""
SINGLE_SNR = 5.0
"""In a single band, least signal-to-noise of a residual peak beyond that."""
# Probability that noise alone has a peak worth a trial, and most peaks of a window that are tried in a round.
_CHANCE, _MOST_PEAKS = 3e-4, 3
# In FWHM: one peak is tried of those nearer to each other than this; and sources within this are fitted with it.
_APART, _NEAR = 2.0, 3.0
# A source in two halves begins with them so far from the middle, in FWHM; a peak within is the source's own.
_HALF, _OWN = 0.35, 0.4
SAME = 0.25
"""In FWHM: an added source, or a faint one, and another that a fit has put nearer to it are one."""
# Images whose normalised product is below this do not touch.
_TOUCH = 0.01
# Parts of its host that a source of the host's colours may be.
_RATIOS = np.logspace(-3, 3, 49)


def trials(unit, planes, fit, detection, others=None, hidden=False):
    """Return where the sources of a window might be if there were one more, as suggested by the residual.

    Parameters
    ----------
    unit : Unit
    planes : dict
        As of `galzoo.field.windows.cut`.
    fit : Fit
    detection : Detection
    others : array, (y, x, band), optional
        Model of sources of other units in this window.
    hidden : bool array, (y, x), optional
        Pixels whose peaks are for another unit of the group to try: the light of a source that two units add is lost,
        as each leaves it to the other.

    Returns
    -------
    list of (int array (n,), float array (n + 1, 2))
        Numbers of the sources whose light is near, and positions in the field of these and, last, of the new one.
    """
    places, width, found = fit.positions - [unit.x0, unit.y0], detection.fwhm, []
    if len(places) >= MOST_SOURCES or not np.isfinite(places).all():
        return []
    searched = {**planes, "own": planes["own"] & ~np.asarray(hidden)}
    for peak in _peaks(searched, fit.image.sum(axis=0) + (0 if others is None else others), detection):
        step = peak - places
        distance = np.hypot(*step.T)
        near = (distance < _NEAR * width) | _lit(planes, fit.image, peak)
        nearest = np.argmin(distance)
        near[nearest] = True
        rows = np.flatnonzero(near)
        row = np.searchsorted(rows, nearest)
        if distance[nearest] >= _OWN * width:
            found.append((rows, np.vstack([places[rows], peak])))
        elif distance[nearest] > 0:
            found.append((rows, _halved(places[rows], row, step[nearest] / distance[nearest], width)))
        # Or the light is that of a pair, along the longest axis of what is now one.
        angle = np.arctan2(fit.shape[nearest, 1], fit.shape[nearest, 0]) / 2
        if distance[nearest] < width and np.isfinite(angle):
            found.append((rows, _halved(places[rows], row, np.array([np.cos(angle), np.sin(angle)]), width)))
    return [(rows, trial + [unit.x0, unit.y0]) for rows, trial in found]


def _lit(planes, images, peak):
    """Return which sources (n,) are above the noise at a peak."""
    x, y = peak.astype(int)
    good = ~planes["mask"][y, x]
    return (images[:, y, x][:, good] ** 2 > planes["variance"][y, x][good]).any(axis=1)


def _halved(places, row, direction, width):
    """Return positions with a source replaced by two."""
    half = _HALF * width * direction
    places = np.vstack([places, places[row] + half])
    places[row] -= half
    return places


def apart(trial, other, fwhm):
    """Return whether two trials of a window have no source in common, and their new ones are far from each other."""
    shared = np.intersect1d(trial[0], other[0]).size
    return not shared and np.hypot(*(trial[1][-1] - other[1][-1])) >= _NEAR * fwhm


def distances(places):
    """Return how far places (n, 2) are from each other, (n, n)."""
    return np.hypot(*(places[:, None] - places).transpose(2, 0, 1))


def repeated(places, added, dark, fwhm):
    """Return which sources (n,) were added and are in the place of another; of several in one place the first stays.

    Parameters
    ----------
    places : array, (n, 2)
        Where the fit has put them; those that are not finite are in nobody's place.
    added : bool array, (n,)
    dark : bool array, (n,)
        Whose flux is not above 0 in all bands: one beside another twice as far away is a part of that.
    fwhm : float
        Pixels.
    """
    apart = distances(places)
    near = apart < SAME * fwhm * np.where(dark[:, None] | dark[None], 2, 1)
    found = np.zeros(len(places), bool)
    np.fill_diagonal(near, False)
    for row in np.flatnonzero(added)[::-1]:
        found[row] = (near[row] & ~found).any()
    return found


def _peaks(planes, model, detection):
    """Return the peaks (n, 2) of a residual, x and y in the window, none of them near a higher one."""
    bands, planes = (~planes["mask"]).any(axis=(0, 1)), doubted(planes)
    if bands.sum() > 1:
        image = np.zeros(planes["own"].shape)
        for band in np.flatnonzero(bands):
            mask = planes["mask"][..., band] | planes["other"]
            residual = np.where(mask, 0, planes["image"][..., band] - model[..., band])
            error = np.sqrt(np.where(mask, 1, planes["variance"][..., band]))
            image += significance(residual, error, mask, detection.fwhm) ** 2
        image /= detection.correlation**2
        least = stats.chi2.isf(_CHANCE, bands.sum())
    else:
        image, least = _unexcused(planes, model, detection), SINGLE_SNR
    reach = max(1, int(round(detection.fwhm / 3)))
    top = (image == ndimage.maximum_filter(image, 2 * reach + 1)) & (image > least) & planes["own"]
    y, x = np.nonzero(top)
    peaks = np.stack([x, y], axis=-1)[np.argsort(-image[y, x], kind="stable")].astype(float)
    kept = []
    for peak in peaks:
        if all(np.hypot(*(peak - other)) >= _APART * detection.fwhm for other in kept):
            kept.append(peak)
    return kept[:_MOST_PEAKS]


def _unexcused(planes, model, detection):
    """Return the signal-to-noise of what a model leaves, less what a slightly wrong model excuses."""
    residual = {**planes, "image": np.where(planes["mask"], 0, planes["image"] - model)}
    image, error, mask = coadd(residual, detection.weights)
    light, _, _ = coadd({**planes, "image": model}, detection.weights)
    mask = mask | planes["other"]
    peak, excuse = (
        significance(np.where(mask, 0, one), error, mask, detection.fwhm) / detection.correlation
        for one in (image, MODEL_ERROR * light)
    )
    return peak / np.sqrt(1 + excuse**2)


def gain(planes, before, new, correlation):
    """Return by how much chi squared falls with one more source, 0 where that does not prove it.

    Parameters
    ----------
    planes : dict
        Without the light of sources that take no part.
    before : array, (y, x, band)
        Model without the source.
    new : Fit
        With it, as the last.
    correlation : float
        See `Detection`.

    Returns
    -------
    float
    """
    if not (np.isfinite(new.flux).all() and np.isfinite(new.image).all()):
        return 0.0
    planes, near, after = doubted(planes), ~planes["other"], new.image.sum(axis=0)
    fall = chi2_of(planes, np.nan_to_num(before), near)[0] - chi2_of(planes, after, near)[0]
    # Where the best model still fails, as with a wrong PSF, a fall in chi squared proves less by as much as it fails.
    bright = new.image[-1] > 0.1 * new.image[-1].max(axis=(0, 1))
    chi2, n = chi2_of(planes, after, bright & near[..., None])
    trust = correlation**2 * max(1.0, chi2 / max(n, 1))
    if not fall > LEAST_GAIN * trust:
        return 0.0
    matrix, right = normal_equations(planes, new)
    matrix, right = _regular(matrix / trust, right / trust)
    own, other = own_and_other(matrix, right)
    colours, light = colour_gain(matrix, right)
    needed = COLOUR_GAIN + COLOUR_ERROR * light + STRUCTURE_ERROR * other[-1]
    bold = (own > CONTRAST * other)[np.append(_touching(matrix), True)].all()
    return fall / correlation**2 if colours > needed or bold and light > needed else 0.0


def _regular(matrix, right):
    """Return normal equations of the bands that have data, with no more than rounding added to the diagonal."""
    matrix, right = (x[np.einsum("bii->b", matrix) > 0] for x in (matrix, right))
    # Two images may be in one place.
    return matrix + 1e-9 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] * np.eye(matrix.shape[-1]), right


def _touching(matrix):
    """Return which sources (n - 1,) have images that touch that of the last."""
    summed = matrix.sum(axis=0)
    return summed[-1, :-1] > _TOUCH * np.sqrt(summed[-1, -1] * np.diag(summed)[:-1])


def own_and_other(matrix, right):
    """Return the chi squared of each source's light and of all other light, as its image takes them in, (n,) each.

    Parameters
    ----------
    matrix : array, (band, n, n)
        Products of images of unit flux, weighted by inverse variance.
    right : array, (band, n)
        Products with the data.
    """
    flux = np.maximum(_solved(matrix, right), 0)
    norm = np.einsum("bii->bi", matrix)
    own = flux * norm
    other = np.einsum("bij,bj->bi", matrix, flux) - own
    return tuple(np.sum(light**2 / norm, axis=0) for light in (own, other))


def colour_gain(matrix, right):
    """Return how much of chi squared the last source's own colours explain, and how much its light does.

    The first compares fluxes that are free in each band with those where the last source is a part of another, in the
    other's colours: of the source that suits it best, among those whose images touch its. All its light counts where
    none does, or where there is one band.

    Parameters
    ----------
    matrix, right
        As of `own_and_other`.

    Returns
    -------
    colours, light : float
    """
    n = matrix.shape[-1]
    flux, without = _solved(matrix, right), _explained(matrix[:, :-1, :-1], right[:, :-1])
    # A hole is no source: in bands where its flux would be negative there is none.
    free = np.where(flux[:, -1] > 0, np.sum(right * flux, axis=-1), without).sum()
    light = float(free - without.sum())
    touch = _touching(matrix)
    if len(matrix) < 2 or not touch.any():
        return light, light
    tied = without.sum()
    for host in np.flatnonzero(touch):
        # Fluxes of all but the last, of which that of the host stands for both.
        mix = np.tile(np.eye(n)[:, :-1], (len(_RATIOS), 1, 1))
        mix[:, -1, host] = _RATIOS
        forms = np.einsum("kia,bij,kjc->kbac", mix, matrix, mix, optimize=True)
        tied = max(tied, _explained(forms, np.einsum("kia,bi->kba", mix, right)).sum(axis=-1).max())
    return float(free - tied), light


def _explained(matrix, right):
    """Return the part of chi squared that free fluxes explain, (..., band)."""
    return np.sum(right * _solved(matrix, right), axis=-1)


def _solved(matrix, right):
    """Return the free fluxes, (..., band, n)."""
    return np.linalg.solve(matrix, right[..., None])[..., 0]
