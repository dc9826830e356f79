"""`--wake`: the PSF and the sky of a field fitted to the field by what the detector says of it, and said."""

import dataclasses
import logging

import numpy as np

from galzoo.errors import InputError
from galzoo.field.psf import fwhm_of, mean_fwhm

logger = logging.getLogger(__name__)

# Pixels of the side of the square in the middle of the field by which it is fitted, of its rounds, and within a round
# the times that stars and PSF are fitted in turn.
_SIDE, _ROUNDS, _TURNS = 160, 2, 2
# Fewest sure stars.
_FEWEST = 20
# Entries of these probabilities and more are in the expected light, and fitted.
_DOUBTFUL, _SURE = 0.02, 0.5
# As in `galzoo.tasks.detect.refine`.
_WIDER = 2.0
# Pixels within so many FWHM of a galaxy have no part in the fit.
_GALAXY = 3.0


class WithSky:
    """A field with its sky taken off: a plane (band, 3) on the square `core`, and beyond it that of its edges."""

    def __init__(self, field, sky, core):
        self._field, self._sky, self._core = field, sky, core

    def __getattr__(self, name):
        return getattr(self._field, name)

    def read(self, y0, y1, x0, x1):
        """Return pixels as `Field.read`, without the sky."""
        from galzoo.inference.star_wake import edge_to_edge, sky_plane

        planes = self._field.read(y0, y1, x0, x1)
        top, bottom, left, right = self._core
        x = edge_to_edge(right - left, np.arange(x0, x1) - left)
        y = edge_to_edge(bottom - top, np.arange(y0, y1) - top)
        sky = sky_plane(self._sky, x, y).astype(np.float32)
        planes["image"] = np.where(planes["mask"], np.float32(0), planes["image"] - sky)
        return planes


def awake(search, name):
    """Return a search with the PSF and the sky that the field speaks for; ``about["wake"]`` says what was changed.

    Parameters
    ----------
    search : galzoo.tasks.detect.run.Search
        Its detector says fluxes with errors and is not followed by a joint fit.
    name : str
        Of the detector, for messages.

    Raises
    ------
    InputError
        If the detector says no fluxes, or finds too few stars.

    Notes
    -----
    In turn the detector finds the stars of a square in the middle of the field, the sure ones are fitted together with
    the light of the doubtful ones as it says it, and the PSF and the sky change as the residual says
    (`galzoo.inference.star_wake`): the wake phase of Liu et al. 2021, with the posterior's expectation for its samples.
    """
    from galzoo.inference.star_wake import edge_to_edge, fit_change, sky_plane

    core = _square(search.field.shape)
    said, psf_of, sky = [], search.psf_of, np.zeros((len(search.field.bands), 3))
    for _ in range(_ROUNDS):
        field = WithSky(search.field, sky, core)
        stars, galaxies = _stars(field, search.detect, psf_of, core, name)
        planes = field.read(*core)
        image = planes["image"].astype(float)
        variance = np.where(planes["mask"], np.inf, planes["variance"]).astype(float)
        _leave_out(variance, galaxies, _GALAXY * search.fwhm)
        middle = np.array([(core[2] + core[3] - 1) / 2]), np.array([(core[0] + core[1] - 1) / 2])
        changes = []
        for _ in range(_TURNS):
            psf = np.asarray(psf_of(*middle), float)[0]
            places = (edge_to_edge(number) for number in image.shape[1::-1])
            left = image - sky_plane(sum((one.sky for one in changes), np.zeros_like(sky)), *places)
            fitted = _fit(left, variance, psf, stars, field.gain)
            listed = stars.probability >= _SURE
            doubtful = stars[~listed]
            others = doubtful.places, doubtful.probability[:, None] * doubtful.flux
            changes.append(fit_change(left, fitted, psf, others))
            psf_of = _changed(psf_of, changes[-1])
        sky = sky + sum(one.sky for one in changes)
        said.append({"chi2_before": changes[0].before, "chi2_after": changes[-1].after, "stars": int(listed.sum())})
    field = WithSky(search.field, sky, core)
    about = _about(search, psf_of, sky, middle, said) | _luminosity(stars, core)
    for line in _lines(about):
        logger.warning("--wake: %s", line)
    about, fwhm = search.about | {"wake": about}, mean_fwhm(psf_of, field)
    return dataclasses.replace(search, field=field, psf_of=psf_of, fwhm=fwhm, about=about | {"fwhm_pixels": fwhm})


def _square(shape):
    """Return the core (y0, y1, x0, x1) of the square in the middle of a field."""
    edges = []
    for side in shape:
        first = max((side - _SIDE) // 2, 0)
        edges += [first, min(first + _SIDE, side)]
    return tuple(edges)


def _stars(field, detect, psf_of, core, name):
    """Return what the detector says of a square: stars as the `Prior` of a fit, and the places of galaxies (n, 2).

    Places are counted from the corner of the square.
    """
    from galzoo.inference.star_fit import Prior
    from galzoo.tasks.detect.finders import DetectorFinder

    side = max(core[1] - core[0], core[3] - core[2])
    finder = DetectorFinder(field, detect, psf_of, _DOUBTFUL, block=side, margin=16)
    answer = detect(finder.batch([core]), _DOUBTFUL)
    keys = ("positions", "position_error", "flux", "flux_error")
    if any(getattr(answer, key) is None for key in keys):
        raise InputError(f"--wake fits the stars, and {name} says no fluxes with errors; leave --wake out")
    values = [np.asarray(getattr(answer, key)[0], float) for key in keys]
    values[0] = values[0] - finder.margin
    stars, galaxy = Prior(*values, np.asarray(answer.probability[0], float)), answer.galaxies()[0]
    galaxies = stars.places[galaxy & (stars.probability >= _SURE)]
    stars = stars[(stars.probability >= _DOUBTFUL) & ~galaxy]
    if (stars.probability >= _SURE).sum() < _FEWEST:
        raise InputError(
            f"--wake: {int((stars.probability >= _SURE).sum())} stars in the middle of the field; it needs {_FEWEST}, "
            "leave --wake out"
        )
    return stars, galaxies


def _leave_out(variance, places, radius):
    """Make the variance (y, x, band) infinite within `radius` pixels of places (n, 2)."""
    y, x = np.indices(variance.shape[:2])
    for px, py in places:
        variance[(x - px) ** 2 + (y - py) ** 2 <= radius**2] = np.inf


def _fit(image, variance, psf, stars, gain):
    from galzoo.inference.star_fit import fit_stars
    from galzoo.tasks.detect.refine import without_photons

    listed = stars.probability >= _SURE
    wide = dataclasses.replace(stars, place_errors=_WIDER * stars.place_errors, flux_errors=_WIDER * stars.flux_errors)
    return fit_stars(image, without_photons(variance, gain), psf, wide[listed], stars[~listed], gain)


def _changed(psf_of, change):
    def changed(x, y):
        return np.stack([change.of(np.asarray(one, float)) for one in psf_of(x, y)]).astype(np.float32)

    return changed


def _about(search, psf_of, sky, middle, said):
    """Return what was changed, as JSON can hold it."""
    before, after = (np.moveaxis(one(*middle)[0], -1, 0) for one in (search.psf_of, psf_of))
    about = {"rounds": said, "bands": {}}
    for number, band in enumerate(search.field.bands):
        x, y = (_centroid(after[number]) - _centroid(before[number])).tolist()
        about["bands"][band] = {
            "fwhm_before": float(fwhm_of(before[number])), "fwhm_after": float(fwhm_of(after[number])), "moved_x": x,
            "moved_y": y, "sky": float(sky[number, 0]), "sky_along_x": float(sky[number, 1]),
            "sky_along_y": float(sky[number, 2]),
        }  # fmt: skip
    return about


def _centroid(psf):
    y, x = np.indices(psf.shape)
    return np.array([(psf * x).sum(), (psf * y).sum()]) / psf.sum()


def _luminosity(stars, core):
    """Return density and slope of the power law ``n(> f) ~ f^-alpha`` of the stars, each by its probability."""
    flux, weight = stars.flux[:, 0], stars.probability
    sure = weight >= _SURE
    # Fainter ones are not all found.
    least = float(np.quantile(flux[sure], 0.2))
    bright = flux >= least
    total = float(weight[bright].sum())
    alpha = total / max(float(weight[bright] @ np.log(flux[bright] / least)), 1e-9)
    pixels = (core[1] - core[0]) * (core[3] - core[2])
    return {
        "luminosity": {
            "alpha": alpha, "alpha_error": alpha / np.sqrt(total), "least_flux": least, "stars": total,
            "density": float(weight.sum()) / pixels,
        }
    }  # fmt: skip


def _lines(about):
    for band, one in about["bands"].items():
        yield (
            f"{band}: FWHM {one['fwhm_before']:.2f} -> {one['fwhm_after']:.2f} pixels, moved by {one['moved_x']:+.3f}, "
            f"{one['moved_y']:+.3f}, sky {one['sky']:+.3g} nJy a pixel, {one['sky_along_x']:+.3g} and "
            f"{one['sky_along_y']:+.3g} more at the edges along x and y"
        )
    first, last, law = about["rounds"][0], about["rounds"][-1], about["luminosity"]
    yield f"chi-square a pixel {first['chi2_before']:.2f} -> {last['chi2_after']:.2f}"
    yield (
        f"n(> f) ~ f^-{law['alpha']:.2f} +- {law['alpha_error']:.2f} above {law['least_flux']:.3g} nJy, "
        f"{law['density']:.3g} stars a pixel"
    )
