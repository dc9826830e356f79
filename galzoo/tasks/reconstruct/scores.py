"""The suite "reconstruction": how well a model codes, fits and deconvolves galaxies, beside classical methods.

All methods see the same held-out stamps. Classical ones are tuned on other stamps, in each bin of signal-to-noise.
"""

import numpy as np

from galzoo.data.source import clean_planes
from galzoo.errors import InputError
from galzoo.evaluate.held_out import parents_of
from galzoo.files import plain
from galzoo.metrics.binned import bootstrap, in_bins, scatter68
from galzoo.metrics.checkerboard import checkerboard_power
from galzoo.metrics.codebook import codebook_usage
from galzoo.metrics.reconstruction import negative_share, nmse, signal_to_noise
from galzoo.metrics.shape import adaptive_moments, aperture_flux, half_light_radius
from galzoo.tasks.reconstruct.deconvolution import tuned_baseline

# Of the set of stamps on which methods are compared.
NAME = "held-out"
PERIODS = (2, 4)
# Fluxes and sizes are measured inside this many half-light radii of the truth, the same for every method.
APERTURE_RADII = 3.0


def evaluate_reconstruction(
    model, held_out, real=None, tuning=None, baselines=True, batch_size=64, seed=0, report=None
):
    """Score a model that reconstructs and deconvolves stamps.

    Parameters
    ----------
    model : keras.Model
        A model whose family has the task "reconstruct".
    held_out : Stamps
        Not seen in training. With truth in the model frame (simulated) everything is scored; without, only codes,
        goodness of fit and artefacts.
    real : dict of str to Stamps, optional
        More stamps by the name of the set, to score codes and goodness of fit on.
    tuning : Stamps, optional
        Simulated stamps on which the classical methods are tuned; by default a random third of `held_out`, which is
        then left out of the scores.
    baselines : bool
        Compare with Richardson-Lucy and Wiener. They need PSFs, and truth to be tuned on.
    batch_size : int
        Stamps that the model sees at a time.
    seed : int
        Of the split and the bootstrap.
    report : str or Path, optional
        Write an HTML report with figures to this file.

    Returns
    -------
    dict
        Can be written as JSON; numbers that could not be measured are None. Every ``x`` has an ``x_error``, its
        standard error by bootstrap over galaxies (stamps with one ``id`` are of one):

        - ``stamps``: how many, in each set; ``snr``: where the signal-to-noise is from.
        - ``codebook``: set -> perplexity, share of codes used, dead codes (absent for models without codes).
        - ``chi2``: set -> rows of the median chi squared per pixel in bins of signal-to-noise and over all.
        - ``deconvolution``: method -> ``settings``, ``all`` and ``bins``: median and mean of the squared error over the
          squared truth, and the median ratio to the model's error, stamp by stamp.
        - ``negative_share``: method -> share of pixels below zero.
        - ``checkerboard``: method and "truth" -> period in pixels -> power at the period over that of its neighbours.
        - ``bias``: quantity -> method -> rows of median and 68 % scatter in bins, and the share of failures.

        ``deconvolution`` and ``bias`` are absent without truth. The set `held_out` is named "held-out".

    Raises
    ------
    InputError
        If there are too few stamps to tune on, or the name of a set is taken.
    """
    from galzoo.tasks.reconstruct.run import reconstruct

    truth_known = held_out.truth is not None
    baselines = baselines and truth_known and held_out.psf is not None
    if baselines and tuning is None:
        tuning, held_out = _split(held_out, seed)
    if NAME in (real or {}):
        raise InputError(f"a set of real stamps is named {NAME!r}; give it another name")
    sets = {NAME: held_out, **(real or {})}
    made = {name: reconstruct(model, stamps, batch_size=batch_size) for name, stamps in sets.items()}
    planes = {name: seen_planes(stamps) for name, stamps in sets.items()}
    drawn = {name: {"seed": seed, "groups": parents_of(stamps)} for name, stamps in sets.items()}
    size = getattr(model, "codebook_size", None)
    results = {
        "suite": "reconstruction",
        "stamps": {name: len(stamps) for name, stamps in sets.items()},
        "snr": "catalogue" if "snr" in held_out.catalogue.colnames else "measured",
        "model_sigma": float(made[NAME].model_sigma),
    }
    if size:
        results["codebook"] = {name: codebook_usage(part.codes, size, seed=seed) for name, part in made.items()}
    results["chi2"] = {name: _summary_rows(part.chi2, planes[name]["snr"], drawn[name]) for name, part in made.items()}
    images = {"model": made[NAME].deconvolved, "none": planes[NAME]["image"]}
    if held_out.unit:
        # What the codes say before the likelihood refines it.
        alone = reconstruct(model, held_out, batch_size=batch_size, refine_steps=0)
        images["codes"] = alone.deconvolved
        results["chi2"][f"{NAME}, codes alone"] = _summary_rows(alone.chi2, planes[NAME]["snr"], drawn[NAME])
    settings = {}
    if baselines:
        results["stamps"]["tuning"] = len(tuning)
        given = {**seen_planes(tuning), "truth": tuning.truth}
        for method in ("richardson_lucy", "wiener"):
            tuned = tuned_baseline(method, given, planes[NAME], made[NAME].model_sigma)
            images[method], settings[method] = tuned.images, tuned.settings
    results["negative_share"] = {
        name: _value(negative_share(image), np.mean, drawn[NAME]) for name, image in images.items()
    }
    results["checkerboard"] = _checkerboard(
        {**images, **({"truth": held_out.truth} if truth_known else {})}, drawn[NAME]
    )
    if truth_known:
        snr = planes[NAME]["snr"]
        results["deconvolution"] = _deconvolution(images, settings, held_out.truth, snr, drawn[NAME])
        results["bias"] = _biases(images, held_out.truth, held_out.bands, snr, drawn[NAME])
    results = plain(results)
    if report is not None:
        from galzoo.tasks.reconstruct.report import reconstruction_report

        reconstruction_report(results, held_out, made[NAME], images, planes[NAME]).write(report)
    return results


def _split(stamps, seed):
    """Return a random third of some stamps to tune on, and the others."""
    if len(stamps) < 6:
        raise InputError(f"{len(stamps)} stamps are too few to tune and test on; give at least 6, or tuning stamps")
    order = np.random.default_rng(seed).permutation(len(stamps))
    cut = len(stamps) // 3
    return stamps[np.sort(order[:cut])], stamps[np.sort(order[cut:])]


def seen_planes(stamps):
    """Return what every method may use of some stamps, as a dict of arrays.

    Returns
    -------
    dict
        ``image, variance, mask`` with bad pixels 0 and masked and an absent variance estimated from the sky, ``psf`` if
        there is one, and ``snr`` (n,): the catalogue's column, or measured on the pixels.
    """
    keys = [key for key in ("image", "variance", "mask") if getattr(stamps, key) is not None]
    planes = clean_planes({key: getattr(stamps, key) for key in keys}, estimate=True)
    if stamps.psf is not None:
        planes["psf"] = stamps.psf if len(stamps.psf) == 1 else stamps.psf_of(slice(None))
    if "snr" in stamps.catalogue.colnames:
        planes["snr"] = np.asarray(stamps.catalogue["snr"], dtype=np.float64)
    else:
        planes["snr"] = signal_to_noise(planes["image"], planes["variance"], planes["mask"])
    return planes


def _deconvolution(images, settings, truth, snr, drawn):
    errors = {name: nmse(truth, image) for name, image in images.items()}
    results = {}
    for name, error in errors.items():
        ratio = np.divide(error, errors["model"], out=np.full_like(error, np.nan), where=errors["model"] > 0)
        statistics = {"median": np.median, "mean": np.mean}
        rows = in_bins(error, snr, statistics=statistics, **drawn)
        for row, paired in zip(rows, in_bins(ratio, snr, statistics={"ratio": np.median}, **drawn), strict=True):
            row["ratio"], row["ratio_error"] = paired["ratio"], paired["ratio_error"]
        total = {"n": int(np.isfinite(error).sum())}
        for key, (values, statistic) in {
            "median": (error, np.median),
            "mean": (error, np.mean),
            "ratio": (ratio, np.median),
        }.items():
            total[key], total[f"{key}_error"] = bootstrap(values, statistic, **drawn)
        results[name] = {"settings": settings.get(name, []), "all": total, "bins": rows}
    return results


def _checkerboard(images, drawn):
    return {
        name: {str(period): _value(checkerboard_power(image, period), np.median, drawn) for period in PERIODS}
        for name, image in images.items()
    }


def _biases(images, truth, bands, snr, drawn):
    """Compare fluxes, sizes and ellipticities with the truth's, measured in the same way and apertures."""
    reference = _measure(truth, None, None, bands)
    centre = np.stack([reference["x"], reference["y"]], axis=-1)
    aperture = APERTURE_RADII * reference["half_light_radius"]
    # A truth without a size has no aperture; the whole stamp is measured, and its rows are NaN below.
    aperture = np.where(np.isfinite(aperture), aperture, max(truth.shape[1:3]))
    reference = _measure(truth, centre, aperture, bands)
    results = {}
    for name, image in images.items():
        measured = _measure(image, centre, aperture, bands)
        for quantity, true in reference.items():
            if quantity in ("x", "y"):
                continue
            difference = measured[quantity] - true
            if quantity not in ("e1", "e2"):
                difference = np.divide(difference, true, out=np.full_like(true, np.nan), where=true > 0)
            rows = _bias_rows(difference, np.isfinite(true), snr, drawn)
            results.setdefault(quantity, {})[name] = rows
    return results


def _measure(image, centre, aperture, bands):
    """Return flux (of all bands and of each), half-light radius, e1, e2 and centre, each (n,), of the sum of bands."""
    stack = np.sum(image, axis=-1, keepdims=True, dtype=np.float64)
    moments = adaptive_moments(stack)
    result = {key: moments[key][:, 0] for key in ("e1", "e2", "x", "y")}
    if centre is None:
        centre = np.stack([result["x"], result["y"]], axis=-1)
    result["half_light_radius"] = half_light_radius(stack, centre, limit=aperture)[:, 0]
    flux = aperture_flux(image, aperture, centre)
    result["flux"] = flux.sum(axis=-1)
    if len(bands) > 1:
        result.update({f"flux_{band}": flux[:, index] for index, band in enumerate(bands)})
    return result


def _bias_rows(difference, possible, snr, drawn):
    failed = np.where(possible, ~np.isfinite(difference), np.nan)
    rows = _summary_rows(difference, snr, drawn)
    shares = _summary_rows(failed, snr, drawn, {"failed": np.mean})
    return [{**row, "failed": share["failed"]} for row, share in zip(rows, shares, strict=True)]


def _summary_rows(values, snr, drawn, statistics=None):
    """Return the rows of `in_bins` and one of all stamps, whose ``low`` and ``high`` are None."""
    statistics = statistics or {"median": np.median, "scatter": scatter68}
    rows = in_bins(values, snr, statistics=statistics, **drawn)
    total = {"low": None, "high": None, "n": int(np.isfinite(values).sum())}
    for name, statistic in statistics.items():
        total[name], total[f"{name}_error"] = bootstrap(values, statistic, **drawn)
    return [*rows, total]


def _value(values, statistic, drawn):
    value, error = bootstrap(values, statistic, **drawn)
    return {"value": value, "value_error": error}
