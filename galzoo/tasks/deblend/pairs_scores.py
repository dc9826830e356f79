"""The suite "pairs": how well two blended galaxies are told apart, picture by picture, beside simple alternatives.

Blends are made of held-out galaxies by the model's own rule, the same for every method.
"""

import itertools

import numpy as np

from galzoo.data.extraction import extract
from galzoo.data.source import clean_planes
from galzoo.errors import InputError
from galzoo.evaluate.held_out import parents_of
from galzoo.files import plain
from galzoo.metrics.binned import bootstrap, in_bins
from galzoo.metrics.diversity import draw_diversity

MEASURES = ("psnr", "ssim")
# Edges of the bins in separation, as shares of the stamp's side.
SEPARATIONS = (0.0, 0.1, 0.15, 0.2, 0.25, np.inf)
# Answers to each blend, where a model has more than one.
DRAWS = 8
# White of 8-bit pictures.
_WHITE = 255.0


def evaluate_pairs(model, held_out, batch_size=64, seed=0, report=None, title="Pairs"):
    """Score a model that separates the galaxies of a blend.

    Parameters
    ----------
    model : keras.Model
        A `galzoo.contracts.separator.Separator`, such as a branched GAN.
    held_out : Stamps
        Single galaxies, not seen in training; each is the centre of one blend.
    batch_size : int
        Stamps that are blended with each other and that the model sees at a time.
    seed : int
        Of the blends and the bootstrap.
    report : str or Path, optional
        Write an HTML report with pictures to this file.
    title : str
        Of the report.

    Returns
    -------
    dict
        Can be written as JSON; every ``x`` has an ``x_error``, its standard error by bootstrap over the
        galaxies in the centres of the blends (stamps with one ``id`` are of one):

        - ``pairs``: number of blends of two or more galaxies; ``unit``; ``side`` in pixels.
        - ``scores``: method -> galaxy ("first", the centred one, "other", all others) -> measure (PSNR in dB, SSIM) ->
          ``all`` and ``bins`` of the distance between the two nearest centres, in pixels. Methods: the model, the blend
          itself, half of the blend, SEP's segments.
        - ``gain``: measure -> mean over blends of the model's score less that of the best other method for that galaxy.
        - ``flux``: method -> median and 68 % scatter of the relative error of the flux, all bands and galaxies; absent
          for pictures.
        - ``sep_split``: share of blends whose galaxies SEP puts into different segments.
        - ``diversity``: `draw_diversity` over the blends, None for a model with one answer.

    Raises
    ------
    InputError
        If there are fewer than two stamps, or none of the blends has two galaxies.
    """
    if len(held_out) < 2:
        raise InputError(f"{len(held_out)} stamps make no pair; give at least 2")
    blends = _blends(model, held_out, batch_size, seed)
    methods = _separate(model, blends, batch_size)
    picture = not held_out.unit
    scores = {name: _score(made, blends, picture) for name, made in methods.items()}
    side = min(held_out.shape)
    distance = separations(blends["positions"], blends["n_sources"])
    edges = np.array(SEPARATIONS) * side
    drawn = {"seed": seed, "groups": blends["parent"]}
    results = {
        "suite": "pairs",
        "pairs": len(distance),
        "unit": held_out.unit,
        "side": side,
        "scores": {name: _summaries(found, distance, edges, drawn) for name, found in scores.items()},
        "gain": _gains(scores, drawn),
        "sep_split": _value(blends["split"], drawn),
        "diversity": _diversity(model, blends, batch_size, drawn),
    }
    if not picture:
        results["flux"] = {name: _flux_error(made, blends, drawn) for name, made in methods.items()}
    results = plain(results)
    if report is not None:
        from galzoo.tasks.deblend.pairs_figures import pairs_report

        pairs_report(results, blends, methods, scores, held_out.bands, title).write(report)
    return results


def _blends(model, stamps, batch_size, seed):
    """Return the blends of all stamps that hold two galaxies or more, as a dict of arrays."""
    from galzoo.data.batches import stamps_batch

    parents = parents_of(stamps)
    parents = np.arange(len(stamps)) if parents is None else parents
    parts = []
    for number, start in enumerate(range(0, len(stamps), batch_size)):
        rows = slice(start, min(start + batch_size, len(stamps)))
        if rows.stop - rows.start < 2:
            rows = slice(rows.start - 1, rows.stop)
        batch = stamps_batch(stamps, rows)
        if stamps.truth is not None:
            batch["truth"] = stamps.truth[rows]
        made = model.blends(batch, seed=seed + number)
        keys = ("image", "variance", "isolated", "positions", "n_sources")
        made = {key: np.asarray(made[key]) for key in keys} | {"parent": parents[rows]}
        enough = made["n_sources"] > 1
        parts.append({key: value[enough] for key, value in made.items()})
    blends = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if not len(blends["image"]):
        raise InputError("none of the blends has two galaxies; give more stamps, or a model with fewest above 1")
    return blends | clean_planes({key: blends[key] for key in ("image", "variance")})


def _separate(model, blends, batch_size):
    """Return what each method makes of the blends, (n, source, y, x, band), in the order of the true galaxies."""
    image, shape = blends["image"], blends["isolated"].shape
    made = []
    for start in range(0, len(image), batch_size):
        rows = slice(start, start + batch_size)
        batch = {key: blends[key][rows] for key in ("image", "variance", "mask")}
        made.append(model.deblend(batch, threshold=0.0).image)
    whole = np.broadcast_to(image[:, None], shape)
    split, blends["split"] = sep_split(image, blends["variance"], blends["positions"], blends["n_sources"])
    return {
        "model": _ordered(np.concatenate(made), blends, model),
        "blend": whole,
        "half": whole / 2,
        "sep": split,
    }


def _ordered(made, blends, model):
    """Put branches in the order of least squared error to the truth, unless the model has an order of its own."""
    if model.permutation == "fixed":
        return made
    truth, result = blends["isolated"], np.empty_like(made)
    orders = list(itertools.permutations(range(made.shape[1])))
    for row, (found, true) in enumerate(zip(made, truth, strict=True)):
        cost = np.sum((found[:, None] - true[None]) ** 2, axis=(2, 3, 4))
        totals = [sum(cost[branch, source] for source, branch in enumerate(order)) for order in orders]
        result[row] = found[list(orders[int(np.argmin(totals))])]
    return result


def sep_split(image, variance, positions, n_sources):
    """Separate blends by SEP: each pixel goes to the segment that it is in.

    Parameters
    ----------
    image, variance : array, (n, y, x, band)
    positions : array, (n, source, 2)
        True pixel positions; SEP is told which of its segments is which galaxy.
    n_sources : int array, (n,)

    Returns
    -------
    array, (n, source, y, x, band)
        Pixels of a galaxy's segment and of the sky; those of other segments have the median of the sky. Galaxies that
        share a segment both get all of it.
    bool array, (n,)
        Whether all galaxies have a segment of their own.
    """
    result = np.zeros((len(image), positions.shape[1], *image.shape[1:]), np.float32)
    split = np.zeros(len(image), bool)
    for row, count in enumerate(n_sources):
        labels = _segments(image[row], variance[row])
        sky = labels == 0
        level = np.median(image[row][sky], axis=0) if sky.any() else np.zeros(image.shape[-1])
        chosen = _nearest_labels(labels, positions[row, :count])
        split[row] = len(set(chosen)) == count and 0 not in chosen
        for source, label in enumerate(chosen):
            kept = sky | (labels == label)
            result[row, source] = np.where(kept[..., None], image[row], level)
    return result, split


def _segments(image, variance):
    """Return SEP's deblended segmentation of the mean of the bands, each in units of its noise."""
    good = np.isfinite(variance)
    noise = np.sqrt(np.where(good, variance, 1.0))
    stack = np.ascontiguousarray(np.where(good, image / noise, 0.0).mean(axis=-1), dtype=np.float32)
    middle = np.median(stack)
    scatter = max(1.4826 * np.median(np.abs(stack - middle)), 1e-6)
    stack -= middle
    return extract(stack, 1.5, scatter)[1]


def _nearest_labels(labels, positions):
    """Return the label of the segment nearest to each position; 0 where there is no segment at all."""
    y, x = np.nonzero(labels)
    if not len(y):
        return [0] * len(positions)
    found = [np.argmin((x - at_x) ** 2 + (y - at_y) ** 2) for at_x, at_y in positions]
    return [int(labels[y[index], x[index]]) for index in found]


def separations(positions, n_sources):
    """Return the smallest distance in pixels between two galaxies of each blend, (n,)."""
    distance = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    known = np.arange(positions.shape[1]) < n_sources[:, None]
    pair = known[:, :, None] & known[:, None] & ~np.eye(positions.shape[1], dtype=bool)
    return np.where(pair, distance, np.inf).min(axis=(1, 2))


def _score(made, blends, picture):
    """Return measure -> (n, source), NaN where there is no galaxy."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    truth = blends["isolated"]
    scores = {measure: np.full(truth.shape[:2], np.nan) for measure in MEASURES}
    for row, count in enumerate(blends["n_sources"]):
        # A flux has no white; the brightest pixel of the noiseless blend stands for it.
        limit = _WHITE if picture else float(truth[row].sum(axis=0).max())
        for source in range(count):
            pair = truth[row, source].astype(np.float64), made[row, source].astype(np.float64)
            window = min(7, (min(pair[0].shape[:2]) - 1) // 2 * 2 + 1)
            scores["psnr"][row, source] = peak_signal_noise_ratio(*pair, data_range=limit)
            scores["ssim"][row, source] = structural_similarity(
                *pair, data_range=limit, channel_axis=-1, win_size=window
            )
    return scores


def _summaries(scores, distance, edges, drawn):
    result = {}
    for name, columns in (("first", slice(0, 1)), ("other", slice(1, None))):
        result[name] = {}
        for measure, values in scores.items():
            values = _row_means(values[:, columns])
            rows = in_bins(values, distance, edges, {"mean": np.mean}, **drawn)
            result[name][measure] = {"all": _value(values, drawn), "bins": rows}
    return result


def _gains(scores, drawn):
    """Return how far the model is above the best other method for each galaxy, by blend."""
    others = [name for name in scores if name != "model"]
    gains = {}
    for measure in MEASURES:
        best = np.max([scores[name][measure] for name in others], axis=0)
        gains[measure] = _value(_row_means(scores["model"][measure] - best), drawn)
    return gains


def _flux_error(made, blends, drawn):
    from galzoo.metrics.binned import scatter68

    true, found = blends["isolated"].sum(axis=(2, 3, 4)), made.sum(axis=(2, 3, 4))
    known = np.arange(true.shape[1]) < blends["n_sources"][:, None]
    error = np.where(known & (true > 0), found / np.where(true > 0, true, 1.0) - 1, np.nan)
    # Galaxies of one blend err together.
    galaxies = np.repeat(drawn["groups"], error.shape[1])
    result = {}
    for name, statistic in (("median", np.median), ("scatter", scatter68)):
        result[name], result[f"{name}_error"] = bootstrap(error.ravel(), statistic, seed=drawn["seed"], groups=galaxies)
    return result


def _diversity(model, blends, batch_size, drawn):
    if not model.noise_channels:
        return None
    found = []
    for start in range(0, len(blends["image"]), batch_size):
        rows = slice(start, start + batch_size)
        batch = {key: blends[key][rows] for key in ("image", "variance", "mask")}
        draws = np.stack(
            [_ordered(draw, _part(blends, rows), model) for draw in model.draws(batch, DRAWS, drawn["seed"])]
        )
        found.append(draw_diversity(draws, blends["isolated"][rows]))
    return _value(np.concatenate(found), drawn)


def _part(blends, rows):
    return {key: value[rows] for key, value in blends.items()}


def _row_means(values):
    """Return the mean over sources of each blend, NaN where it has none."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


def _value(values, drawn):
    value, error = bootstrap(np.asarray(values, dtype=np.float64), np.mean, **drawn)
    return {"value": value, "value_error": error}
