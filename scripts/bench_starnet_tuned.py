"""What a StarNet loses to one that was trained on for a while on fields of one PSF, sky and density.

    python scripts/bench_starnet_tuned.py PRESET RUN --setting 6 2800 0.05 -o docs/benchmarks/starnet_tuned.json

RUN goes on from PRESET on fields like those of the setting: FWHM in pixels, sky in electrons, stars a pixel. Both
search the same simulated fields of 64 pixels. Settings that the output file has stay in it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from bench_starnet import fields

import galzoo
from galzoo.files import write_json
from galzoo.metrics.star_catalogues import catalogue_scores, f1_score
from galzoo.tasks.detect.stars_scores import SURE


def scores_of(model, batch):
    """Return the `catalogue_scores` of each field of a batch."""
    rows = []
    for row, number in enumerate(np.asarray(batch["n_sources"])):
        one = {key: value[row : row + 1] for key, value in batch.items()}
        found = model.detect(one)
        sure = found.probability[0] >= SURE
        entries = found.positions[0, sure], found.flux[0, sure, 0]
        truth = one["positions"][0, :number], one["flux"][0, :number, 0]
        rows.append(catalogue_scores(*entries, *truth, one["image"].shape[1:3]))
    return np.array(rows)


def compare(before, after, draws=1000):
    """Return both F1, and the gain with its error by the bootstrap over fields."""
    random = np.random.default_rng(0)
    values = [
        [f1_score(scores[rows])["f1"] for scores in (before, after)]
        for rows in random.integers(len(before), size=(draws, len(before)))
    ]
    (first, second), error = (f1_score(scores)["f1"] for scores in (before, after)), np.std(values, axis=0)
    return {
        "fields": len(before), "f1": first, "f1_error": error[0], "tuned_f1": second, "tuned_f1_error": error[1],
        "gain": second - first, "gain_error": np.std(np.diff(values)),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("run", type=Path)
    parser.add_argument("--setting", type=float, nargs=3, required=True, metavar=("FWHM", "SKY", "DENSITY"))
    parser.add_argument("--n", type=int, default=24, help="fields")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    preset, tuned = galzoo.load(options.preset), galzoo.load(options.run)
    fwhm, sky, density = options.setting
    only = {"fwhm": (fwhm, fwhm), "sky": (sky, sky), "density": (density, density), "size": 64}
    batch = fields(options.n, len(preset.bands), 4321, **only)
    account = json.loads((options.run / "training.json").read_text(encoding="utf-8"))
    row = {"fwhm": fwhm, "sky": sky, "density": density, "steps": account["steps"]}
    row |= {key: float(value) for key, value in compare(*(scores_of(one, batch) for one in (preset, tuned))).items()}
    print(row, flush=True)
    rows = json.loads(options.output.read_text())["settings"] if options.output.is_file() else []
    rows = [one for one in rows if [one[key] for key in ("fwhm", "sky", "density")] != options.setting]
    write_json(options.output, {"preset": options.preset, "settings": [*rows, row]})


if __name__ == "__main__":
    main()
