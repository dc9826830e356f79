"""Is a fit any good? Fall-back to the undeblended measurement, and what is said of each source."""

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.field.coadd import coadd
from galzoo.field.gaps import bridge_gaps
from galzoo.field.photometry import automatic_radius, ellipse_fluxes, ellipses, moment_axes
from galzoo.field.windows import owners
from galzoo.metrics.reconstruction import inverse_variance

POOR_CHI2 = 2.0
"""Mean chi squared on the footprint above which a fit is flagged as poor."""
# Part of the rim of a window on which the light of a source is above the noise, from which it is cut there.
_RIM_PART = 0.1
# Part of the light of a source that its window holds at least.
_HELD = 0.75
# Light of the leader's model that its window may hold beside it, unexplained, before it is called cut.
_LEFT = 0.5
# Light of another at the place of an added source, in terms of its own, from which that is in the other's light.
_UNDER = 0.1
# Standard deviations by which chi squared is above what noise gives, from which a fit is called rough.
_SIGNIFICANT = 4.0


def chi2_of(planes, model, pixels):
    """Return the sum of (data - model)^2 / variance over good pixels of all bands, and their number.

    Parameters
    ----------
    planes : dict of arrays, (y, x, band)
    model : array, (y, x, band)
    pixels : bool array, (y, x) or (y, x, band)
    """
    good = ~planes["mask"] & (pixels if pixels.ndim == 3 else pixels[..., None])
    terms = (planes["image"] - model)[good].astype(float) ** 2 / planes["variance"][good]
    return float(terms.sum()), int(good.sum())


def doubted(planes):
    """Return planes whose variance is that of the noise and of wrong models; see `galzoo.field.windows.cut`."""
    return {**planes, "variance": planes["variance"] + planes["model_variance"]}


def judge(unit, planes, fit, fwhm, others=None, first=None):
    """Return the flags of each source; images of sources that must fall back are set to 0.

    A source falls back to the undeblended measurement where its flux is not finite or in sum not positive, its core is
    masked or saturated, its model makes chi squared higher than no model for it, or it is larger than its window.

    Parameters
    ----------
    unit : Unit
    planes : dict
        As of `galzoo.field.windows.cut`.
    fit : Fit
        Its images are changed in place.
    fwhm : float
        Pixels.
    others : array, (y, x, band), optional
        Model of sources of other units in this window.
    first : int, optional
        The source of the unit that leads a group of several windows (`leader`). It is truncated, too, where half as
        much light as its model has is left in its window: a galaxy of which windows and sources show parts alone.

    Returns
    -------
    int array, (n,)
    """
    # A fit is judged on the footprint of its group, whatever the deblender says of its window.
    flags = fit.flags & ~FLAGS["poor_fit"]
    near = ~planes["other"]
    base = np.zeros_like(planes["image"]) if others is None else others
    broken = ~np.isfinite(fit.flux).all(axis=-1) | ~np.isfinite(fit.image).all(axis=(1, 2, 3))
    broken |= ~np.isfinite(fit.positions).all(axis=-1)
    broken |= ~(np.nansum(fit.flux, axis=-1) > 0)
    flags[(fit.flux <= 0).any(axis=-1)] |= FLAGS["negative_flux"]
    for row, (x, y) in enumerate(np.where(np.isfinite(fit.positions), fit.positions, 0)):
        core = core_pixels(planes["mask"].shape[:2], x - unit.x0, y - unit.y0, 0.5 * fwhm)
        bad, saturated = planes["mask"][core], planes["saturated"][core]
        if bad.any() or not bad.size:
            flags[row] |= FLAGS["masked"]
        if saturated.any():
            flags[row] |= FLAGS["saturated"]
        broken[row] |= not bad.size or bad.mean() > 0.5 or saturated.any()
    cut = beyond(planes, fit) | unit.truncated
    if first is not None:
        good = ~planes["mask"] & planes["own"][..., None]
        left = np.where(good, planes["image"] - base - np.nan_to_num(fit.image).sum(axis=0), 0)
        cut[first] |= left.sum() > _LEFT * max(np.nan_to_num(fit.image[first]).sum(), 0)
    flags[cut] |= FLAGS["truncated"]
    broken |= cut
    if not (~planes["mask"] & near[..., None]).any():
        flags |= FLAGS["not_fitted"]
        broken[:] = True
    fit.image[broken] = 0
    total = base + fit.image.sum(axis=0)
    # What a slightly wrong PSF of a bright star leaves says nothing of its neighbours.
    lenient = doubted(planes)
    best, n = chi2_of(lenient, total, near)
    nothing, _ = chi2_of(lenient, base, near)
    if n and best > nothing:
        broken[:] = True
    for row in np.flatnonzero(~broken):
        without, _ = chi2_of(lenient, total - fit.image[row], near)
        broken[row] = without < best
    fit.image[broken] = 0
    flags[broken] |= FLAGS["fallback"]
    chi2, n = chi2_of(planes, base + fit.image.sum(axis=0), planes["own"])
    if n and chi2 / n > POOR_CHI2:
        flags |= FLAGS["poor_fit"]
    return flags


def hosts(unit, fit):
    """Return the sources of a unit in whose light a fainter one was added, bool (n,).

    That may be one that detection missed, or an arm or a knot of the brighter one.
    """
    found, light = np.zeros(len(fit.flags), bool), np.nan_to_num(fit.image).sum(axis=-1)
    flux = light.sum(axis=(1, 2))
    for row in np.flatnonzero((fit.flags & FLAGS["added"] > 0) & (flux > 0) & np.isfinite(fit.positions).all(axis=1)):
        x, y = np.round(fit.positions[row] - [unit.x0, unit.y0]).astype(int)
        if not (0 <= x < light.shape[2] and 0 <= y < light.shape[1]):
            continue
        here = np.where(flux > flux[row], light[:, y, x], 0)
        if here.max() > _UNDER * light[row, y, x]:
            found[here.argmax()] = True
    return found


def leader(unit, sources):
    """Return which source of a unit has the highest signal-to-noise of its group; None where another unit has it."""
    # By value, as sources that were fitted again have rows of their own.
    snr = np.nan_to_num(sources["snr"], nan=-np.inf)
    found = np.flatnonzero(snr[unit.sources] == snr[sources["group"] == unit.group].max())
    return int(found[0]) if len(found) else None


def whole_shape(unit, planes, sources, weights):
    """Return a table of sources in which that of a unit has the semi-axes and the angle of all of its group's light.

    Parameters
    ----------
    unit : Unit
        Of one source.
    planes : dict
        As of `galzoo.field.windows.cut`.
    sources : dict of arrays
    weights : sequence of float
        Of the bands, see `galzoo.field.coadd.coadd`.
    """
    image, _, empty = coadd(planes, weights)
    row = unit.sources[0]
    light = np.where(planes["own"] & ~empty, np.maximum(image, 0), 0).astype(float)
    y, x = np.indices(light.shape)
    x, y = x - (sources["x"][row] - unit.x0), y - (sources["y"][row] - unit.y0)
    xx, yy, xy = ((light * part).sum() / max(light.sum(), 1e-30) for part in (x * x, y * y, x * y))
    shape = dict(zip(("a", "b", "theta"), moment_axes(xx, yy, xy), strict=True))
    found = {key: np.array(sources[key], float) for key in ("x", "y", "snr", *shape)}
    for key, value in shape.items():
        found[key][row] = max(value, sources[key][row]) if key != "theta" else value
    return found


def beyond(planes, fit):
    """Return which sources are larger than their window, bool (n,): a model that it cuts is not the galaxy's."""
    image, flux = (np.nan_to_num(values, posinf=0, neginf=0) for values in (fit.image, fit.flux))
    return _cut(planes, image) | (image.sum(axis=(1, 2, 3)) < _HELD * flux.sum(axis=-1))


def _cut(planes, images):
    """Return which sources, images (n, y, x, band), shine at the rim of their window within the field, bool (n,)."""
    y0, y1, x0, x1 = planes["inside"]
    side = images.shape[1]
    rim = np.zeros(images.shape[1:3], bool)
    for axis, (first, last) in ((0, (y0, y1)), (1, (x0, x1))):
        # Where the window leaves the field the light is cut by that.
        ends = ([0] if first == 0 else []) + ([side - 1] if last == side else [])
        np.moveaxis(rim, axis, 0)[ends] = True
    rim[:y0] = rim[y1:] = rim[:, :x0] = rim[:, x1:] = False
    if not rim.any():
        return np.zeros(len(images), bool)
    light = np.nan_to_num(images[:, rim]).astype(float) ** 2 / planes["variance"][rim]
    return np.mean(light.sum(axis=-1) > 1, axis=1) > _RIM_PART


def core_pixels(shape, x, y, radius):
    """Return which pixels (y, x) are within a radius of a place, or of the pixel that it is on."""
    yy, xx = np.ogrid[: shape[0], : shape[1]]
    return (xx - x) ** 2 + (yy - y) ** 2 <= max(radius, 0.75) ** 2


def at_edge(unit, planes, sources, places, fwhm):
    """Return the sources whose light reaches the edge of the field, bool (n,).

    Parameters
    ----------
    unit : Unit
    planes : dict
        As of `galzoo.field.windows.cut`.
    sources : dict of arrays
        With the boxes of footprints; sources that were added have none.
    places : array, (n, 2)
        Pixel positions in the field.
    fwhm : float
        Pixels; so far the light of a source reaches at least.
    """
    rows, (y0, y1, x0, x1) = unit.sources, planes["inside"]
    added = np.isnan(sources["snr"][rows])
    edge = np.zeros(len(rows), bool)
    for axis, (low, high), corner, (first, last) in (
        (0, ("x0", "x1"), unit.x0, (x0, x1)), (1, ("y0", "y1"), unit.y0, (y0, y1)),
    ):  # fmt: skip
        place = places[:, axis]
        # A window that ends within the field says nothing of the edge.
        start, end = (first + corner if first > 0 else -np.inf), (last + corner if last < unit.side else np.inf)
        edge |= (np.where(added, np.inf, sources[low][rows]) <= start) | (place - fwhm < start)
        edge |= (np.where(added, -np.inf, sources[high][rows]) >= end) | (place + fwhm > end - 1)
    return edge


def unseen(unit, planes, places, fwhm):
    """Return the bands that have no good pixel within a FWHM of each source, bool (n, band).

    Parameters
    ----------
    unit : Unit
    planes : dict
        As of `galzoo.field.windows.cut`.
    places : array, (n, 2)
        Pixel positions in the field.
    fwhm : float
        Pixels.
    """
    good = ~planes["mask"] & np.isfinite(planes["variance"])
    cores = [core_pixels(good.shape[:2], x - unit.x0, y - unit.y0, fwhm) for x, y in places]
    return np.array([~good[core].any(axis=0) for core in cores]).reshape(len(places), good.shape[-1])


def rough(planes, fit, correlation, others=None):
    """Return whether a fit leaves more in the footprint of its group than noise does."""
    base = 0 if others is None else others
    chi2, n = chi2_of(planes, base + np.nan_to_num(fit.image).sum(axis=0), planes["own"])
    return n > 0 and chi2 / n > correlation**2 * (1 + _SIGNIFICANT * np.sqrt(2 / n))


def measure(unit, planes, fit, sources, detection, mates, others=None):
    """Return what the catalogue says beside the fit itself.

    Returns
    -------
    dict of arrays
        ``blendedness`` (n, band): 1 - sum S^2 / sum S S_all over the models S, NaN without a model; ``flux_like_err``
        (n, band): standard deviation of the flux by the likelihood with all shapes held; ``aperture_flux,
        aperture_flux_err`` (n, band): Kron ellipse of the undeblended image; ``chi2``: mean over the footprint of the
        group.

    References
    ----------
    Blendedness: Bosch et al. 2018, PASJ 70, S5, section 4.9.11. Kron ellipse: Bertin & Arnouts 1996, A&AS 117, 393.
    """
    base = 0 if others is None else others
    total = base + fit.image.sum(axis=0)
    square = (fit.image.astype(float) ** 2).sum(axis=(1, 2))
    shared = (fit.image.astype(float) * total).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        blendedness = np.where(shared > 0, 1 - square / shared, np.nan)
    chi2, n = chi2_of(planes, total, planes["own"])
    # What a deblender says counts what models are wrong by as noise.
    like = _likelihood_width(planes, fit)
    like = np.where(np.isfinite(like), like, fit.flux_width)
    kron, error = aperture(unit, planes, sources, detection, mates)
    return {
        "blendedness": blendedness, "flux_like_err": like, "aperture_flux": kron, "aperture_flux_err": error,
        "chi2": np.full(len(fit.flux), chi2 / n if n else np.nan),
    }  # fmt: skip


def correlated_errors(errors, correlation):
    """Return errors of fluxes as they are where the noise of near pixels is alike.

    Parameters
    ----------
    errors : dict of arrays, (n, band)
        ``flux_error, flux_like_err, aperture_flux_err``, made with independent pixels.
    correlation : float
        Of `galzoo.field.detection.noise_correlation`. It is measured over the area of the PSF, so errors of sources
        that are much larger than the reach of the correlation grow by a few per cent more than this.

    Returns
    -------
    dict of arrays
        The same keys. Of ``flux_error`` only the part that noise makes grows.
    """
    noise = np.where(np.isfinite(errors["flux_like_err"]), errors["flux_like_err"], 0)
    return {
        "flux_error": np.sqrt(errors["flux_error"] ** 2 + noise**2 * (correlation**2 - 1)),
        "flux_like_err": errors["flux_like_err"] * correlation,
        "aperture_flux_err": errors["aperture_flux_err"] * correlation,
    }


def normal_equations(planes, fit):
    """Return the normal matrix (band, n, n) and right side (band, n) of the sources' images of unit flux."""
    weight = inverse_variance(planes["variance"], planes["mask"] | planes["other"][..., None])
    weight = weight.reshape(-1, weight.shape[-1])
    flux = np.where(fit.flux == 0, 1, fit.flux)[:, None]
    images = np.moveaxis(fit.image.reshape(len(flux), *weight.shape) / flux, 2, 0)
    seen = images * weight.T[:, None]
    data = np.where(weight > 0, planes["image"].reshape(weight.shape), 0).T
    return seen @ images.swapaxes(1, 2), np.einsum("bnp,bp->bn", seen, data)


def _likelihood_width(planes, fit):
    """Return standard deviations of fluxes at fixed shapes, all sources of the window solved for together."""
    width = np.full(fit.flux.shape, np.nan)
    for band, matrix in enumerate(normal_equations(planes, fit)[0]):
        here = np.flatnonzero((fit.flux[:, band] > 0) & (fit.image[..., band].sum(axis=(1, 2)) > 0))
        fisher = matrix[np.ix_(here, here)]
        if len(here) and np.isfinite(fisher).all() and np.linalg.matrix_rank(fisher, hermitian=True) == len(here):
            width[here, band] = np.sqrt(np.diag(np.linalg.inv(fisher)))
    return width


def aperture(unit, planes, sources, detection, mates):
    """Return Kron fluxes of the undeblended window and their errors, (n, band); `mates` are the rows of its group.

    Pixels of other groups are left out: what they hide of an ellipse counts by the mean of the rest. Narrow gaps of
    masked pixels are bridged (`galzoo.field.gaps`).
    """
    rows = unit.sources
    x, y = sources["x"][rows] - unit.x0, sources["y"][rows] - unit.y0
    ellipse = ellipses(x, y, sources["a"][rows], sources["b"][rows], sources["theta"][rows])
    planes = bridge_gaps(planes, detection.fwhm)
    image, noise, empty = coadd(planes, detection.weights)
    bad = planes["mask"] | planes["other"][..., None]
    noise = np.median(noise[~empty]) if not empty.all() else 0.0
    empty |= planes["other"]
    owner = owners(unit, mates, sources, detection.fwhm)
    labels = np.full(owner.shape, len(rows) + 1, np.int32)
    for number, row in enumerate(rows, 1):
        labels[owner == row] = number
    # How large an aperture is follows from the source's own light; a bright neighbour would open it wide.
    radius = automatic_radius(image.astype(np.float32), empty, ellipse, labels, noise)
    return ellipse_fluxes(planes["image"], planes["variance"], bad, ellipse, radius)[:2]
