"""Summaries of the suite "deblend": medians, scatter and shares, overall and in bins, with errors over scenes."""

import numpy as np

from galzoo.files import plain
from galzoo.metrics.binned import bootstrap, in_bins, scatter68
from galzoo.metrics.deblending import colour_error, magnitude_error, relative_error

# Sources above the first are "blended", below the second "isolated".
BLENDED, ISOLATED = 0.3, 0.05
# The last bin is open.
BLENDEDNESS_EDGES = (0.0, 0.05, 0.1, 0.3, 0.5, np.inf)
MAGNITUDE_EDGES = (10.0, 21.0, 22.0, 23.0, 24.0, 25.0, np.inf)
SEPARATION_EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.inf)
# PSFs are binned in thirds where their widths differ by more than this share.
PSF_SPREAD = 0.05
SPREAD = {"median": np.median, "scatter": scatter68}
MEDIAN, SHARE = {"median": np.median}, {"share": np.mean}


def summarise(values, truth, seconds, bands, band, seed=0, draws=200):
    """Summarise what one method answers on one set.

    Parameters
    ----------
    values, truth : dict of arrays
        Of `galzoo.tasks.deblend.scores.Measured`.
    seconds : array
        Per scene, one a batch.
    bands : sequence of str
    band : int
        Reference band.
    seed, draws : int
        Of the bootstrap over scenes and, where `truth` has ``parent`` (n, source), galaxies.

    Returns
    -------
    dict
        A summary has ``n``, and ``median`` and ``scatter`` (68 %) or ``share``, each with its error.

        - ``flux``: relative error in the reference band: ``all``, ``blended`` (blendedness > 0.3), ``isolated``
          (< 0.05), in bins of ``blendedness, magnitude, separation`` (arcsec) and ``psf`` (arcsec), and ``bands``.
        - ``magnitude``, ``ellipticity`` (e1 and e2 together), ``size`` (relative): ``all, blended, isolated``, and
          ``blendedness`` in bins; ``shape_failed``, the share without a shape.
        - ``colour``: "g - r" and so on -> summary. ``psnr``, ``ssim``: medians, ``all, blended, isolated``.
        - ``chi2``, ``conservation``: over scenes, not sources.
        - ``pulls``: "flux_error" (posterior) and "flux_width" (likelihood alone) -> ``median, scatter`` of the pulls of
          all bands and ``0.68, 0.95``, the share that these intervals hold.
        - ``found``: share of sources with a flux, ``all`` and by ``blendedness``; ``purity``: share of detections that
          are true, ``all`` and by the largest ``blendedness`` of the scene, for methods that find sources.
        - ``seconds`` per scene, median over batches.
    """
    count, most = truth["present"].shape
    scene = np.repeat(np.arange(count), most)
    groups = np.stack([scene, truth["parent"].ravel()]) if "parent" in truth else scene[None]
    blended = truth["blendedness"].ravel()
    bins = {"seed": seed, "draws": draws}

    def parts(quantity, statistics, groups=groups, by=blended):
        return {
            "all": summary(quantity, statistics, groups, **bins),
            "blended": summary(quantity[by > BLENDED], statistics, groups[:, by > BLENDED], **bins),
            "isolated": summary(quantity[by < ISOLATED], statistics, groups[:, by < ISOLATED], **bins),
        }

    def binned(quantity, by, edges, statistics=SPREAD, groups=groups):
        rows = in_bins(quantity, by, edges, statistics, draws, seed, groups)
        return [_plain(row) for row in rows]

    error = relative_error(values["flux"], truth["flux"])
    reference = error[..., band].ravel()
    flux = parts(reference, SPREAD)
    flux["bands"] = {
        name: summary(error[..., index].ravel(), SPREAD, groups, **bins) for index, name in enumerate(bands)
    }
    flux["blendedness"] = binned(reference, blended, BLENDEDNESS_EDGES)
    if np.isfinite(truth["magnitude"]).any():
        flux["magnitude"] = binned(reference, truth["magnitude"].ravel(), MAGNITUDE_EDGES)
    flux["separation"] = binned(reference, truth["separation"].ravel(), SEPARATION_EDGES)
    edges = psf_edges(truth["fwhm"])
    if edges is not None:
        flux["psf"] = binned(reference, np.repeat(truth["fwhm"], most), edges)
    magnitude = magnitude_error(values["flux"], truth["flux"])[..., band].ravel()
    colours = colour_error(values["flux"], truth["flux"])
    ellipticity = np.concatenate([values["e1"].ravel(), values["e2"].ravel()])
    twice, twice_blended = np.tile(groups, (1, 2)), np.tile(blended, 2)
    found = values["found"].ravel()
    results = {
        "flux": flux,
        "magnitude": parts(magnitude, SPREAD),
        "colour": {
            f"{first} - {second}": summary(colours[..., index].ravel(), SPREAD, groups, **bins)
            for index, (first, second) in enumerate(zip(bands[:-1], bands[1:], strict=True))
        },
        "ellipticity": parts(ellipticity, SPREAD, twice, twice_blended)
        | {"blendedness": binned(ellipticity, twice_blended, BLENDEDNESS_EDGES, SPREAD, twice)},
        "size": parts(values["size"].ravel(), SPREAD),
        "shape_failed": summary(values["shape_failed"].ravel(), SHARE, groups, **bins),
        "psnr": parts(values["psnr"].ravel(), MEDIAN),
        "ssim": parts(values["ssim"].ravel(), MEDIAN),
        "chi2": summary(values["chi2"], MEDIAN, None, **bins),
        "conservation": summary(values["conservation"], SPREAD, None, **bins),
        "found": {
            "all": summary(found, SHARE, groups, **bins),
            "blendedness": binned(found, blended, BLENDEDNESS_EDGES, SHARE),
        },
    }
    errors = {
        key: _pulls(values, key, np.repeat(groups, len(bands), axis=1), bins) for key in ("flux_error", "flux_width")
    }
    errors = {key: part for key, part in errors.items() if part}
    if errors:
        results["pulls"] = errors
    if "detections" in values:
        results["purity"] = _purity(values, truth, binned, bins)
    # What is compiled on the way counts in single batches only, so not in the median.
    time, time_error = bootstrap(seconds, np.median, draws, seed)
    return results | {"seconds": _number(time), "seconds_error": _number(time_error)}


def summary(values, statistics, groups=None, seed=0, draws=200):
    """Return ``n`` and each statistic with its error over groups; None where there is none."""
    result = {"n": int(np.isfinite(values).sum())}
    for name, statistic in statistics.items():
        result[name], result[f"{name}_error"] = bootstrap(values, statistic, draws, seed, groups)
    return _plain(result)


def psf_edges(fwhm):
    """Return edges between thirds of the PSFs' widths, or None where they hardly differ."""
    fwhm = fwhm[np.isfinite(fwhm)]
    if not len(fwhm) or fwhm.max() < (1 + PSF_SPREAD) * fwhm.min():
        return None
    edges = np.unique(np.quantile(fwhm, [0, 1 / 3, 2 / 3]))
    return (*edges, np.inf)


def _pulls(values, key, groups, bins):
    """Return the summary of pulls and coverage of one kind of error; None where a method gives none."""
    if f"{key}_pull" not in values:
        return None
    result = summary(values[f"{key}_pull"].ravel(), SPREAD, groups, **bins)
    for level in ("0.68", "0.95"):
        part = summary(values[f"{key}_{level}"].ravel(), SHARE, groups, **bins)
        result |= {level: part["share"], f"{level}_error": part["share_error"]}
    return result


def _purity(values, truth, binned, bins):
    """Return the share of detections that are true; a detection belongs to its scene."""
    true, all_found = (values[key].astype(int) for key in ("matched", "detections"))
    scene = np.repeat(np.arange(len(true)), all_found)
    place = np.arange(len(scene)) - np.repeat(np.cumsum(all_found) - all_found, all_found)
    right = (place < true[scene]).astype(np.float64)
    worst = np.max(np.nan_to_num(truth["blendedness"]), axis=1, initial=0.0)
    return {
        "all": summary(right, SHARE, scene, **bins),
        "blendedness": binned(right, worst[scene], BLENDEDNESS_EDGES, SHARE, scene),
    }


def _plain(row):
    return {key: value if key == "n" else _number(value) for key, value in row.items()}


def _number(value):
    """Return a float that JSON can hold, or None."""
    return plain(None if value is None else float(value))
