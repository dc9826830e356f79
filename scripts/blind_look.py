"""Make sheets for a blind look at a prior of pictures, and score what the eyes said.

    python scripts/blind_look.py make pixelcnn_sdss_rgb --data sdss.h5 --output blind/
    python scripts/blind_look.py score blind/ --answers answers.json --output docs/benchmarks/blind_look.json

Each sheet shows two of three kinds, shuffled and numbered from 1, at three times their size: held-out galaxies without
masked pixels, such galaxies through the codec alone, and samples for the same conditions. No galaxy is on two sheets,
so that one does not give away the other. ``key.json`` says which is which; keep it from the eyes.
Answers are ``{"sheet": [numbers that are thought to be the second kind]}``.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import galzoo
from galzoo.errors import InputError
from galzoo.evaluate.held_out import held_out
from galzoo.files import write_json
from galzoo.metrics.calibration import resample
from galzoo.tasks.sample.likelihood import prepared
from galzoo.tasks.sample.realism_views import decoded, draw
from galzoo.viz.panels import save

SHEETS = {
    "codec_or_sample": ("codec", "sample"),
    "real_or_sample": ("real", "sample"),
    "real_or_codec": ("real", "codec"),
}
COLUMNS, ENLARGED = 10, 3


def pictures_of(kind, model, stamps, seed):
    """Return uint8 pictures (n, y, x, band): real ones, as the codec has them, or samples for their conditions."""
    if kind == "real":
        images = np.asarray(stamps.image)
    elif kind == "codec":
        images = decoded(model, stamps, prepared(model, stamps))
    else:
        images = draw(model, stamps, seed).image
    return np.clip(np.round(images), 0, 255).astype(np.uint8)


def sheet_figure(pictures):
    """Draw uint8 pictures in rows, numbered from 1."""
    from matplotlib.figure import Figure

    rows = -(-len(pictures) // COLUMNS)
    side = pictures[0].shape[0] * ENLARGED / 100
    figure = Figure(figsize=(COLUMNS * side, rows * (side + 0.18)), facecolor="white")
    axes = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.1})
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.98)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (axis, picture) in enumerate(zip(axes.flat, pictures, strict=False), 1):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(str(number), fontsize=7, pad=1)
    return figure


def make(name, data, output, n, seed):
    """Write the sheets and their key."""
    model = galzoo.load(name)
    stamps = held_out(data, "test", {}, once=True)
    whole = np.flatnonzero(~np.asarray(stamps.mask).any(axis=(1, 2, 3)))
    if len(whole) < n * len(SHEETS):
        raise InputError(
            f"{data}: {len(whole)} held-out galaxies have no masked pixel; give --number {len(whole) // len(SHEETS)}"
        )
    shuffle, key = np.random.default_rng(seed), {}
    whole = shuffle.permutation(whole)
    for number, (sheet, pair) in enumerate(SHEETS.items()):
        shown = stamps[np.sort(whole[number * n : (number + 1) * n])]
        # One seed for all sheets would show alike samples on two of them.
        both = [picture for kind in pair for picture in pictures_of(kind, model, shown, seed + number)]
        which = shuffle.permutation(2 * n)
        save(sheet_figure([both[place] for place in which]), output / f"{sheet}.png", dpi=100)
        key[sheet] = {"second": pair[1], "numbers": [i + 1 for i, place in enumerate(which) if place >= n], "of": 2 * n}
    write_json(output / "key.json", {"prior": Path(name).name, "seed": seed, "sheets": key})


def score(folder, answers, output):
    """Write the share that the eyes had right, sheet by sheet."""
    key, said = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (folder / "key.json", answers))
    result = {"prior": key["prior"], "sheets": {}}
    for sheet, truth in key["sheets"].items():
        if sheet not in said:
            continue
        number = np.arange(1, truth["of"] + 1)
        right = np.isin(number, truth["numbers"]) == np.isin(number, said[sheet])
        share, error = resample(np.mean, right)
        result["sheets"][sheet] = {"right": share, "right_error": error, "pictures": truth["of"]}
    write_json(output, result)


def main():
    """Make or score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    first = what.add_parser("make")
    first.add_argument("prior", help="preset or run")
    first.add_argument("--data", type=Path, required=True, help="stamp file of pictures; its test split is shown")
    first.add_argument("--number", type=int, default=30, help="galaxies of a kind")
    first.add_argument("--seed", type=int, default=0)
    second = what.add_parser("score")
    second.add_argument("folder", type=Path)
    second.add_argument("--answers", type=Path, required=True)
    for one in (first, second):
        one.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.what == "make":
        options.output.mkdir(parents=True, exist_ok=True)
        make(options.prior, options.data, options.output, options.number, options.seed)
    else:
        score(options.folder, options.answers, options.output)


if __name__ == "__main__":
    main()
