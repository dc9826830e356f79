"""The suite "deblend": how well methods tell the sources of a scene apart, all on the same scenes."""

import dataclasses
import time

import numpy as np

from galzoo.data.zeropoint import njy_to_magnitude
from galzoo.errors import InputError
from galzoo.metrics.deblending import (
    blendedness,
    covered,
    flux_conservation,
    likeness,
    nearest_separation,
    present_sources,
    pulls,
    relative_error,
    source_moments,
)
from galzoo.metrics.reconstruction import chi2_per_pixel
from galzoo.progress import track
from galzoo.tasks.deblend.alignment import MATCH_PIXELS, aligned, matched_slots
from galzoo.tasks.deblend.score_summary import summarise

# Scenes of each set that the report shows.
EXAMPLES = 4


@dataclasses.dataclass
class Measured:
    """What is measured on one set of scenes.

    Parameters
    ----------
    truth : dict of arrays
        ``flux`` (n, source, band), ``present, blendedness, separation`` (arcsec), ``magnitude, e1, e2, sigma``
        (n, source), in the reference band, and ``fwhm`` (n,), arcsec, of its PSF.
    methods : dict of str to dict of arrays
        For each method ``flux, flux_error`` (n, source, band), ``e1, e2, size, psnr, ssim`` (n, source) and so on.
    seconds : dict of str to array
        For each method the seconds per scene of each batch.
    examples : list of dict
        Scenes to draw: ``image, variance, mask, isolated, count, positions`` and ``methods``, name -> sources' images.
    """

    truth: dict
    methods: dict
    seconds: dict
    examples: list


def evaluate_deblending(
    deblenders, scenes, batch_size=16, reference_band=None, report=None, model=None, seed=0, draws=100,
    max_distance=MATCH_PIXELS, progress=False, title="Deblending",
):  # fmt: skip
    """Score deblenders on scenes whose truth is known.

    Parameters
    ----------
    deblenders : dict of str to callable
        Name -> ``deblend(batch) -> Deblended``. One with a method ``find`` finds sources by itself: what it finds is
        matched to the true sources, and its completeness and purity are counted.
    scenes : dict of str to Scenes
        Name of the set -> scenes with isolated images; every method sees all of them.
    batch_size : int
        Scenes at a time.
    reference_band : str, optional
        Where blendedness, magnitude, shape and likeness are measured; by default "i", or else the middle band.
    report : str or Path, optional
        Write an HTML report with pictures to this file.
    model : str, optional
        Name of the deblender that the summary of a preset quotes; by default the first.
    seed, draws : int
        Of the bootstrap, which draws scenes, as sources of one scene err together, and, where it is known of which
        galaxies they were drawn, those: the larger error is given.
    max_distance : float
        Pixels between a detection and the true source that it is matched to.
    progress : bool
        Show a bar on a terminal.
    title : str
        Of the report.

    Returns
    -------
    dict
        Can be written as JSON; numbers that could not be measured are None, and ``x_error`` is the standard error of
        ``x``. ``reference_band, match_pixels, model``, and ``sets``: name -> ``scenes, sources, psf_fwhm`` (arcsec,
        median), ``bands`` and ``methods``: name -> what `galzoo.tasks.deblend.score_summary.summarise` gives.

    Raises
    ------
    InputError
        If there is no deblender or no scene, or scenes lack the truth or the band.
    """
    if not deblenders or not scenes:
        raise InputError(f"{len(deblenders)} deblenders and {len(scenes)} sets of scenes; give at least one of each")
    model = next(iter(deblenders)) if model is None else model
    if model not in deblenders:
        raise InputError(f"model {model!r} is none of the deblenders: {', '.join(deblenders)}")
    first = next(iter(scenes.values()))
    bands = list(first.bands)
    reference_band = reference_band or ("i" if "i" in bands else bands[len(bands) // 2])
    for name, one in scenes.items():
        _check(name, one, bands, reference_band)
    band = bands.index(reference_band)
    results = {
        "suite": "deblend",
        "reference_band": reference_band,
        "match_pixels": float(max_distance),
        "model": model,
        "sets": {},
    }
    measured = {}
    for name, one in scenes.items():
        part = measure_scenes(deblenders, one, band, batch_size, max_distance, progress, name)
        part.truth |= parents(one)
        measured[name] = part
        results["sets"][name] = {
            "scenes": len(one),
            "sources": int(part.truth["present"].sum()),
            "psf_fwhm": _median(part.truth["fwhm"]),
            "bands": bands,
            "methods": {
                key: summarise(values, part.truth, part.seconds[key], bands, band, seed, draws)
                for key, values in part.methods.items()
            },
        }
    if report is not None:
        from galzoo.tasks.deblend.score_figures import deblending_report

        deblending_report(results, scenes, measured, title).write(report)
    return results


def _check(name, scenes, bands, reference_band):
    if not len(scenes):
        raise InputError(f"set {name!r} has no scene; give at least one")
    if scenes.isolated is None:
        raise InputError(f"set {name!r} has no isolated images, so there is no truth to score against")
    if list(scenes.bands) != bands:
        raise InputError(f"set {name!r} has bands {', '.join(scenes.bands)}, the first has {', '.join(bands)}")
    if reference_band not in bands:
        raise InputError(f"reference band {reference_band!r} is not there; choose from {', '.join(bands)}")


def _median(values):
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def measure_scenes(deblenders, scenes, band, batch_size=16, max_distance=MATCH_PIXELS, progress=False, name="scenes"):
    """Run deblenders on scenes and measure what they answer.

    Parameters
    ----------
    deblenders, scenes, batch_size, max_distance, progress
        As for `evaluate_deblending`; here one set of scenes.
    band : int
        Reference band.
    name : str
        Of the set.

    Returns
    -------
    Measured
    """
    n = len(scenes)
    truth, methods, seconds = [], {key: [] for key in deblenders}, {key: [] for key in deblenders}
    examples = {row: {"methods": {}} for row in example_rows(scenes, band, EXAMPLES)}
    starts = range(0, n, batch_size)
    for start in track(starts, f"deblending {name}", progress):
        batch = scenes.batch(slice(start, start + batch_size))
        true = _truth(batch, scenes, band)
        truth.append(true)
        shown = [row for row in examples if start <= row < start + batch_size]
        for row in shown:
            keys = ("image", "variance", "mask", "isolated", "positions")
            examples[row] |= {key: batch[key][row - start] for key in keys}
            examples[row]["count"] = int(batch["n_sources"][row - start])
        for key, deblend in deblenders.items():
            run = getattr(deblend, "find", deblend)
            if start == 0:
                # The first call may compile.
                run(batch)
            begin = time.perf_counter()
            answer = run(batch)
            spent = (time.perf_counter() - begin) / len(answer)
            if len(answer) == min(batch_size, n):
                seconds[key].append(spent)
            values = {}
            if run is not deblend:
                values = _detection(answer, batch, max_distance)
                answer = aligned(answer, batch, max_distance)
            _check_answer(key, answer, true["flux"])
            methods[key].append(values | _measures(answer, batch, true, band))
            for row in shown:
                examples[row]["methods"][key] = np.array(answer.image[row - start])
    joined = {key: _join(parts) for key, parts in methods.items()}
    return Measured(_join(truth), joined, {key: np.array(part) for key, part in seconds.items()}, [*examples.values()])


def parents(scenes):
    """Return ``parent`` (n, source), numbers of the galaxies that sources were drawn from; empty if none is known.

    A source that was drawn from none has a number of its own.
    """
    if "parent" not in scenes.sources.colnames:
        return {}
    names = np.asarray(scenes.sources["parent"]).astype(str)
    names = np.where(names == "", np.char.add("\0", np.arange(len(names)).astype(str)), names)
    # Entries beyond the last source have no values.
    number = np.full((len(scenes), scenes.most), -1)
    number[scenes.sources["scene"], scenes.sources["source"]] = np.unique(names, return_inverse=True)[1]
    return {"parent": number}


def example_rows(scenes, band, count):
    """Return the rows of scenes to show: of several sources, from little to much blended."""
    blended = [
        np.nanmax(blendedness(scenes.isolated[row : row + 1, ..., band : band + 1]), initial=0.0)
        for row in range(len(scenes))
    ]
    _, counts = scenes.positions()
    order = np.lexsort((blended, counts > 1))
    several = order[(counts > 1)[order]]
    chosen = several if len(several) else order
    return [int(row) for row in chosen[np.unique(np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(int))]]


def _truth(batch, scenes, band):
    """Return what is true of the sources of a batch; NaN where there is none."""
    isolated = batch["isolated"]
    present = present_sources(batch["positions"], batch["n_sources"])
    flux = isolated.sum(axis=(2, 3), dtype=np.float64)
    present = present & (flux[..., band] > 0)
    flux = np.where(present[..., None], flux, np.nan)
    separation = nearest_separation(batch["positions"], batch["n_sources"]) * scenes.pixel_scale
    magnitude = np.full(present.shape, np.nan)
    if scenes.unit == "nJy":
        magnitude[present] = njy_to_magnitude(flux[present][:, band])
    column = f"psf_fwhm_{scenes.bands[band]}"
    fwhm = np.full(len(present), np.nan)
    if column in scenes.catalogue.colnames:
        values = scenes.catalogue[column][batch["index"]]
        fwhm = np.asarray(getattr(values, "value", values), dtype=np.float64)
    result = {
        "flux": flux,
        "present": present,
        "blendedness": np.clip(blendedness(isolated[..., band : band + 1])[..., 0], 0.0, None),
        "separation": separation,
        "magnitude": magnitude,
        "fwhm": fwhm,
    }
    result |= source_moments(isolated[..., band], batch["positions"], present)
    return {key: np.where(present, value, np.nan) if key in _MASKED else value for key, value in result.items()}


_MASKED = ("blendedness", "separation")


def _check_answer(name, answer, flux):
    if np.shape(answer.flux) != flux.shape:
        raise InputError(f"deblender {name!r} gives fluxes of shape {np.shape(answer.flux)}; asked were {flux.shape}")


def _measures(answer, batch, true, band):
    """Return what is measured on the answer of one method."""
    present = true["present"]
    flux = np.where(present[..., None], np.asarray(answer.flux, dtype=np.float64), np.nan)
    found = present & np.isfinite(flux[..., band])
    values = {"flux": flux, "found": np.where(present, found, np.nan)}
    images = np.asarray(answer.image)[..., band]
    moments = source_moments(images, batch["positions"], found)
    for key in ("e1", "e2"):
        values[key] = moments[key] - true[key]
    values["size"] = relative_error(moments["sigma"], true["sigma"])
    values["shape_failed"] = np.where(found & np.isfinite(true["sigma"]), ~np.isfinite(moments["sigma"]), np.nan)
    values |= likeness(images, batch["isolated"][..., band], found)
    total = np.asarray(answer.image).sum(axis=1)
    values["chi2"] = chi2_per_pixel(batch["image"], total, batch["variance"], batch.get("mask"))
    values["conservation"] = flux_conservation(flux, true["flux"], present)[:, band]
    for key in ("flux_error", "flux_width"):
        error = getattr(answer, key)
        if error is None:
            continue
        values[f"{key}_pull"] = pulls(flux, true["flux"], error)
        samples = answer.samples if key == "flux_error" else None
        for level in (0.68, 0.95):
            values[f"{key}_{level:g}"] = covered(flux, true["flux"], error, samples, level)
    return values


def _detection(answer, batch, max_distance):
    """Return how many sources of each scene were found, and how many of the detections are true."""
    slots = matched_slots(answer, batch, max_distance)
    return {
        "detections": answer.present.sum(axis=1).astype(np.float64),
        "matched": (slots >= 0).sum(axis=1).astype(np.float64),
    }


def _join(parts):
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
