"""Unrecognised blends in a catalogue of SEP: which share of them a screen finds that rejects a tenth of all sources.

    python scripts/bench_screen.py scenes.h5 -o docs/benchmarks/bench_screen.json [--preset PRESET] [--keep rows.npz]

Scenes are fields of ``galzoo simulate scenes`` with the signal-to-noise ratio of each source. The catalogue is SEP's:
five connected pixels above 1.5 sigma of the sum of the bands, behind its usual filter, and S/N 5 in all. A row is an
unrecognised blend if two or more true sources above S/N 5 have their centre in its pixels. The screen sees the field
and the positions of the catalogue, as ``galzoo screen`` does. Beside it: cuts in size and elongation, and a
classifier of what a catalogue says of a source (gradient boosting, trained on the other fields in ten folds), which
knows the truth of nine tenths of these fields. Errors are those of a bootstrap of fields.
"""

import argparse
import functools
from pathlib import Path

import numpy as np
import sep

from galzoo.data.extraction import extract
from galzoo.data.scenes import Scenes
from galzoo.field.coadd import coadd
from galzoo.files import write_json
from galzoo.metrics.calibration import expected_calibration_error, resample
from galzoo.presets import load_for
from galzoo.progress import track
from galzoo.tasks.detect.classical import scene_field
from galzoo.tasks.screen.field import Settings, corrected, screen_rows, trained_share

REJECTED = (0.05, 0.1, 0.2, 0.3, 0.5)
SIGMA, LEAST_AREA, LEAST_SNR = 1.5, 5, 5.0
# SExtractor's default.convolve.
FILTER = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])


def catalogue(field):
    """Return SEP's positions (n, 2), what a catalogue says of each source (n, column), and the labels of pixels."""
    planes = field.read(0, field.shape[0], 0, field.shape[1])
    image, error, mask = (np.asarray(one) for one in coadd(planes, tuple((1 / field.noise_levels()).tolist())))
    image, error = image.astype(np.float32), error.astype(np.float32)
    objects, labels = extract(image, SIGMA, error, mask, least_area=LEAST_AREA, kernel=FILTER)
    power = np.bincount(labels.ravel(), np.square(error).ravel(), len(objects) + 1)[1:]
    kept = objects["flux"] > LEAST_SNR * np.sqrt(power)
    labels = np.where(kept, np.cumsum(kept), 0)[labels - 1] * (labels > 0)
    objects = objects[kept]
    x, y, a, b, flux = (objects[key] for key in ("x", "y", "a", "b", "flux"))
    radius, _ = sep.flux_radius(image, x, y, 6 * a, [0.2, 0.5, 0.8], normflux=flux, subpix=5)
    places = np.stack([x, y], axis=-1)
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    columns = [
        np.log(flux), np.log(objects["npix"]), a, b, a / b, *radius.T, objects["peak"] / flux,
        objects["cflux"] / flux, objects["tnpix"] / objects["npix"],
        np.hypot(objects["xpeak"] - x, objects["ypeak"] - y), np.hypot(objects["xcpeak"] - x, objects["ycpeak"] - y),
        apart.min(axis=1), objects["flag"],
    ]  # fmt: skip
    return places, np.stack(columns, axis=-1).astype(float), labels


def true_numbers(labels, positions, snr, rows):
    """Return how many sources above `LEAST_SNR` have their centre in the pixels of each of so many rows."""
    pixel = np.round(positions[snr >= LEAST_SNR]).astype(int)
    inside = ((pixel >= 0) & (pixel < labels.shape[::-1])).all(axis=1)
    x, y = pixel[inside].T
    return np.bincount(labels[y, x], minlength=rows + 1)[1:]


def look(scenes, preset, passes):
    """Return arrays of all rows of all fields: ``field, number, columns, p_blend``."""
    model, parts = load_for("screen", preset), []
    places, counts = scenes.positions()
    snr = np.sqrt(np.sum([np.asarray(scenes.sources[f"snr_{band}"], float) ** 2 for band in scenes.bands], axis=0))
    first, order = 0, [list(scenes.bands).index(band) for band in model.bands]
    for row in track(range(len(scenes)), "fields"):
        batch = scenes.batch(slice(row, row + 1))
        field, _ = scene_field(batch, 0, tuple(scenes.bands), scenes.pixel_scale)
        found, columns, labels = catalogue(field)
        own = slice(first, first + counts[row])
        number = true_numbers(labels, places[row, : counts[row]], snr[own], len(found))
        first += counts[row]
        size = 48
        said = screen_rows(
            model, field, *found.T, np.arange(len(found)), size, order, batch["psf"], Settings(passes=passes)
        )
        part = {"field": np.full(len(found), row), "number": number, "columns": columns}
        parts.append(part | {"p_blend": said["p_blend_trained"], "doubt": said["mutual_information"]})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def boosted(columns, blended, field, folds=10):
    """Return the probability of a blend by a classifier that was trained on other fields."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    result, fold = np.zeros(len(blended)), field % folds
    for number in np.unique(fold):
        learner = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, max_leaf_nodes=15, random_state=0)
        learner.fit(columns[fold != number], blended[fold != number])
        result[fold == number] = learner.predict_proba(columns[fold == number])[:, 1]
    return result


def found_at(score, blended, rejected):
    """Return the share of the blends among the `rejected` share of rows with the highest scores."""
    number = int(round(rejected * len(score)))
    chosen = np.argsort(-score, kind="stable")[:number]
    return float(blended[chosen].sum() / max(blended.sum(), 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--preset", default="mc_resnet_lsst_i_30s")
    parser.add_argument("--passes", type=int, default=50)
    parser.add_argument("--keep", type=Path, help="where the rows are kept, and read from if they are there")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.keep and arguments.keep.is_file():
        with np.load(arguments.keep) as kept:
            rows = dict(kept)
    else:
        rows = look(Scenes.load(arguments.scenes), arguments.preset, arguments.passes)
        if arguments.keep:
            np.savez(arguments.keep, **rows)
    good = np.isfinite(rows["p_blend"])
    rows = {key: values[good] for key, values in rows.items()}
    field, columns, blended = rows["field"], rows["columns"], rows["number"] > 1
    scores = {
        "galzoo screen": rows["p_blend"],
        "catalogue, gradient boosting": boosted(columns, blended, field),
        "both, gradient boosting": boosted(np.column_stack([columns, rows["p_blend"]]), blended, field),
        "half-light radius": columns[:, 6],
        "elongation": columns[:, 4],
        "number of pixels": columns[:, 1],
    }
    results = {"fields": len(np.unique(field)), "rows": len(field), "blends": int(blended.sum()), "methods": {}}
    for name, score in scores.items():
        one = {}
        for share in REJECTED:
            one[f"found_at_{share:g}"], one[f"found_at_{share:g}_error"] = resample(
                functools.partial(found_at, rejected=share), score, blended, groups=field
            )
        results["methods"][name] = one
        print(f"{name:32s}", *(f"{one[f'found_at_{s:g}']:.3f} ± {one[f'found_at_{s:g}_error']:.3f}" for s in REJECTED))
    from galzoo.presets import load_card

    share = float(blended.mean())
    said = corrected(rows["p_blend"], share, trained_share(load_card(arguments.preset)))
    results["blended_share"], results["mean_probability"] = share, float(said.mean())
    results["ece"], results["ece_error"] = resample(expected_calibration_error, said, blended, groups=field)
    print({key: value for key, value in results.items() if key != "methods"})
    if arguments.output:
        write_json(arguments.output, results | {"preset": str(arguments.preset), "passes": arguments.passes})


if __name__ == "__main__":
    main()
