"""`--refine`: the listed stars of an image fitted together, and what is told to a detector besides the image."""

import dataclasses

import numpy as np

from galzoo.errors import InputError

# Core and margin in pixels of the squares whose stars are fitted at once.
_CORE, _MARGIN = 64, 16
# Entries of this probability and more have a part in the expected light.
_DOUBTFUL = 0.02
# The detector has seen these pixels already: its errors, as the prior of the fit, are widened by this.
_WIDER = 2.0
# A star whose light is less than so many times its error was none.
_LEAST_SNR = 2.0
# Percentile of the variance of a square that is the sky's, where photons of the model are added to it.
_SKY = 5


def refined(detect, name="the detector"):
    """Return a detector's method whose stars are fitted together; see `galzoo.inference.star_fit.fit_stars`.

    Places, fluxes and their errors are those of the fit. Stars that are left without light are taken away; none are
    added. What the detector says is a galaxy is fitted as a star for the sake of the stars about it, but stays as the
    detector says it.

    Parameters
    ----------
    detect : callable
        ``detect(batch, threshold) -> Detections``, with fluxes and errors.
    name : str
        For messages.

    Raises
    ------
    InputError
        If it says no fluxes.
    """

    def run(batch, threshold=0.0):
        # Stars beyond the core shine into it.
        cores = batch.get("core", [None] * len(batch["image"]))
        answer = detect({key: batch[key] for key in batch if key != "core"}, min(threshold, _DOUBTFUL))
        parts = ("positions", "position_error", "flux", "flux_error")
        if any(getattr(answer, key) is None for key in parts):
            raise InputError(f"--refine fits fluxes and places, and {name} says none with errors; leave --refine out")
        values = {key: np.array(getattr(answer, key), float) for key in parts}
        probability, galaxy = np.array(answer.probability, float), answer.galaxies()
        for row in range(len(probability)):
            image = {key: np.asarray(batch[key][row]) for key in ("image", "variance", "psf")}
            image["variance"] = np.where(batch["mask"][row], np.inf, image["variance"])
            image["gain"] = np.zeros(image["image"].shape[-1]) if batch.get("gain") is None else batch["gain"][row]
            own = {key: value[row] for key, value in values.items()}
            probability[row] = refine_image(image, own, probability[row], threshold, cores[row], galaxy[row])
        values = {key: value.astype(np.float32) for key, value in values.items()}
        return dataclasses.replace(answer, probability=probability.astype(np.float32), **values)

    return run


def refine_image(image, stars, probability, threshold, core=None, galaxy=None):
    """Fit the stars of an image in squares of a fixed grid, in place, and return their probabilities.

    Parameters
    ----------
    image : dict of arrays
        ``image, variance`` (y, x, band), ``psf`` (p, p, band), ``gain`` (band,).
    stars : dict of arrays
        ``positions, position_error`` (star, 2), ``flux, flux_error`` (star, band).
    probability : array, (star,)
    threshold : float
        Stars of this probability and more are fitted.
    core : tuple of int, optional
        y0, y1, x0, x1: stars beyond these pixels are not fitted, and not listed. All pixels by default.
    galaxy : array of bool, (star,), optional
        What is no star; it stays as it is said.

    Returns
    -------
    array, (star,)
        0 of stars that are not listed: those below the threshold, and those without light.
    """
    from galzoo.inference.star_fit import Prior, fit_stars

    height, width = image["image"].shape[:2]
    bottom, top, left, right = (0, height, 0, width) if core is None else (int(edge) for edge in core)
    start = {key: value.copy() for key, value in stars.items()}
    x, y = start["positions"].T
    # Stars beyond the image belong to the square at its edge.
    line, column = np.clip(np.round(y), 0, height - 1), np.clip(np.round(x), 0, width - 1)
    listed = (probability >= threshold) & (probability > 0)
    asked = listed & (line >= bottom) & (line < top) & (column >= left) & (column < right)
    found = np.where(asked, probability, 0.0)
    reach = _MARGIN + image["psf"].shape[0] // 2
    for y0 in range(0, height, _CORE):
        for x0 in range(0, width, _CORE):
            own = asked & (column // _CORE == x0 // _CORE) & (line // _CORE == y0 // _CORE)
            if not own.any():
                continue
            low_y, high_y = max(y0, bottom), min(y0 + _CORE, top)
            low_x, high_x = max(x0, left), min(x0 + _CORE, right)
            first_y, first_x = max(low_y - _MARGIN, 0), max(low_x - _MARGIN, 0)
            window = np.s_[first_y : high_y + _MARGIN, first_x : high_x + _MARGIN]
            near = (probability > 0) & (x > low_x - reach) & (x < high_x + reach)
            near &= (y > low_y - reach) & (y < high_y + reach)
            inner = (x > low_x - _MARGIN) & (x < high_x + _MARGIN) & (y > low_y - _MARGIN) & (y < high_y + _MARGIN)
            fitted, others = np.flatnonzero(near & listed & inner), np.flatnonzero(near & ~(listed & inner))
            prior = Prior(
                start["positions"] - [first_x, first_y], _WIDER * start["position_error"], start["flux"],
                _WIDER * start["flux_error"], probability,
            )  # fmt: skip
            unfitted = dataclasses.replace(prior, flux_errors=start["flux_error"])[others]
            sky = without_photons(image["variance"][window], image["gain"])
            answer = fit_stars(
                image["image"][window].astype(float), sky, image["psf"].astype(float), prior[fitted], unfitted,
                image["gain"],
            )  # fmt: skip
            # Stars of which no good pixel tells stay as the detector says.
            kept = own[fitted] & answer.told
            if galaxy is not None:
                kept &= ~galaxy[fitted]
            rows = fitted[kept]
            stars["positions"][rows] = answer.places[kept] + [first_x, first_y]
            stars["position_error"][rows], stars["flux"][rows] = answer.place_errors[kept], answer.flux[kept]
            stars["flux_error"][rows] = answer.flux_errors[kept]
            found[rows[signal_to_noise(answer.flux[kept], answer.flux_errors[kept]) < _LEAST_SNR]] = 0.0
    return found


def signal_to_noise(flux, error):
    """Return that of all bands together, (n,), of fluxes and errors (n, band); no light over no error is none."""
    # Of fluxes beyond what floats can square an error may be 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(flux / error)
    return np.hypot.reduce(np.where(np.isnan(ratio), 0.0, ratio), axis=-1)


def without_photons(variance, gain):
    """Return the variance without that of photons in bands whose gain is known, infinite where it is."""
    sky = np.array(variance, float)
    for band in np.flatnonzero(np.asarray(gain) > 0):
        good = np.isfinite(sky[..., band])
        if good.any():
            sky[good, band] = np.percentile(sky[good, band], _SKY)
    return sky


def with_limit(method, flux):
    """Let a method of a detector be told the flux of the faintest star that counts, in the unit of the image."""

    def run(batch, *arguments):
        return method(batch | {"faintest": np.full(len(batch["image"]), flux, np.float32)}, *arguments)

    return run
