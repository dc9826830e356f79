"""Measure the vote of windows of `galzoo segment`: agreement with the exact vote by stride, speed, sources.

    python scripts/bench_morpheus.py morpheus_astro-0.5.1-py3-none-any.whl --data ROOT \\
        --output docs/benchmarks/bench_morpheus.json --pictures docs/images [--parts speed agreement stamps scenes]

`ROOT` holds the public images (docs/data.md): the XDF cut-out and the CANDELS stamps. Times are CPU milliseconds a
window, of the published loop (its own code out of the wheel, in a process of its own), of a window at every pixel in
batches, and of the default stride; rounds are interleaved and the median of their ratios is given. "stamps" compares
the galaxy in the middle of each CANDELS stamp with the segmentation map that comes with it; "scenes" is of simulated
HST scenes, other than those of the preset's card: completeness beside SEP, and calibration. Parts that are not asked
for stay as they are in the output.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import types
import zipfile
from pathlib import Path

import numpy as np

from galzoo.files import write_json

STRIDES = (1, 2, 3, 5, 6, 7, 8, 9, 10, 15)
PARTS = "speed", "agreement", "stamps", "scenes"
BANDS = ("F160W", "F125W", "F606W", "F850LP")
_SCENES, _SEED = 100, 5000
# The published loop is timed on so many pixels a side; a part of a field that has sources and sky.
_LOOP_SIDE, _ROUNDS = 52, 3


def published_loop(wheel, path):
    """Classify the image in `path` with the code of the wheel and print its CPU seconds (run in its own process)."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

    class Absent(types.ModuleType):
        """Stands for modules that only draw or show progress."""

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Absent(name)

        def __call__(self, *_, **__):
            return self

    for name in ("colorama", "imageio", "dill", "tqdm"):
        sys.modules[name] = Absent(name)
    import skimage.morphology
    import skimage.segmentation
    import tensorflow as tf

    # A name that has moved since 2020.
    skimage.morphology.watershed = skimage.segmentation.watershed
    tf.compat.v1.disable_eager_execution()
    sys.path.insert(0, str(wheel))
    from morpheus.classifier import Classifier

    image = np.load(path)
    planes = dict(zip("hjvz", np.moveaxis(image, -1, 0).copy(), strict=True))
    Classifier.classify(**{band: plane[:41, :41] for band, plane in planes.items()}, batch_size=4)
    start = time.process_time()
    found = Classifier.classify(**planes, batch_size=1000)
    seconds = time.process_time() - start
    np.savez(path.with_suffix(".votes.npz"), **found)
    sys.stdout.write(f"{seconds}\n")


def images(root, number):
    """Return the real images (y, x, band) in the counts of their files, by name."""
    import h5py

    with h5py.File(root / "hst" / "xdf_500px_9band.h5") as file:
        names = [name.decode().upper() for name in file["bands"]]
        xdf = np.stack([file["sci"][names.index(band)] for band in BANDS], axis=-1)
    with h5py.File(root / "candels_gds" / "gds_vzjh_stamps.h5") as file:
        # Stored as F606W, F850LP, F125W, F160W.
        stamps = file["images"][...][..., [3, 2, 0, 1]]
    chosen = np.linspace(0, len(stamps) - 1, number).astype(int)
    found = {"XDF": xdf[150:310, 150:310].astype(np.float32)}
    return found | {f"GDS {row}": stamp.astype(np.float32) for row, stamp in enumerate(stamps) if row in chosen}


def candels_stamps(model, root):
    """Return a row a CANDELS stamp of its galaxy in the middle, by the exact vote, and what the pictures need."""
    import h5py

    from galzoo.tasks.segment.segments import find_segments, split_segments
    from galzoo.tasks.segment.votes import vote_image

    with h5py.File(root / "candels_gds" / "gds_vzjh_stamps.h5") as file:
        names = [name.decode() for name in file["id"]]
        maps = file["segmap"][...]
    stamps, rows, seen = [image for name, image in images(root, len(names)).items() if name != "XDF"], [], []
    for name, image, given in zip(names, stamps, maps, strict=True):
        counts = vote_image(model, image, stride=1)
        windows = counts.sum(axis=-1)
        votes = np.moveaxis(counts / np.maximum(windows, 1)[..., None], -1, 0).astype(np.float32)
        labels = split_segments(find_segments(votes[-1], windows > 0), image[..., 0])
        middle, voted = tuple(size // 2 for size in given.shape), windows > 0
        theirs, ours = (given == given[middle]) & voted, (labels == labels[middle]) & (labels[middle] > 0)
        light = np.maximum(image[..., 0], 0) * theirs
        shares = np.array([(plane * light).sum() for plane in votes[:-1]])
        shares /= max(shares.sum(), 1e-30)
        rows.append({
            "stamp": name, "class": model.classes[int(shares.argmax())].replace("_", " "), "share": float(shares.max()),
            "pixels of its map": int(theirs.sum()), "of these not background": float(np.mean(votes[-1][theirs] < 0.5)),
            "intersection over union": float((theirs & ours).sum() / max((theirs | ours).sum(), 1)),
        })  # fmt: skip
        seen.append((name, image, votes, given))
    return rows, seen


def draw_stamps(seen, model, path):
    """Draw each stamp beside its classes, with the outline of the map that comes with it."""
    import matplotlib.pyplot as plt

    from galzoo.tasks.segment.colours import class_picture, legend
    from galzoo.viz.colour import to_rgb

    figure, axes = plt.subplots(6, 6, figsize=(9, 9.6), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (name, image, votes, given) in enumerate(seen):
        pair = axes.flat[2 * number], axes.flat[2 * number + 1]
        middle = given[tuple(size // 2 for size in given.shape)]
        for axis, picture in zip(pair, (to_rgb(image, BANDS), class_picture(votes, model.classes)), strict=True):
            axis.imshow(picture, origin="lower", interpolation="nearest")
            axis.contour(given == middle, [0.5], colors="white", linewidths=0.6)
        pair[0].set_title(name.removeprefix("GDS_"), fontsize=8, loc="left")
    legend(axes.flat[-1], model.classes)
    figure.savefig(path, dpi=110)


def simulated_scenes(number):
    """Return completeness beside SEP by magnitude, both over all, and calibration, of new simulated HST scenes."""
    import galzoo
    from galzoo.presets import load_card
    from galzoo.simulate.morphology import MorphologySimulator, MorphologySpec
    from galzoo.tasks.segment.scores import calibration_scores, pixel_scores, segment_images, source_scores

    model, options = galzoo.load("morpheus_hst"), load_card("morpheus_hst")["recipe"]["data"]["options"]
    options = {name: value for name, value in options.items() if name != "n"}
    changes = {"stamp_size": 160, "seed": _SEED, "isolated": False}
    scenes = MorphologySimulator(MorphologySpec(**options | changes)).simulate(range(number))
    found, truth = segment_images(model, scenes), scenes.pixel_class.astype(np.float32)
    sources, calibration = source_scores(found, scenes, model), calibration_scores(found, truth)
    pixels = pixel_scores(found, truth, model.classes)
    bins = [{"F160W, mag": "{:g}-{:g}".format(*row["magnitude"]), **{k: v for k, v in row.items() if k != "magnitude"}}
            for row in sources["bins"]]  # fmt: skip
    both = [{"method": name, **sources[key]} for name, key in (("segments", "model"), ("SEP", "sep"))]
    about = {"scenes": number, "ece of shares of votes": calibration["ece"]}
    about |= {key: value for key, value in pixels.items() if key != "classes"}
    return {
        "simulated scenes": about, "completeness by magnitude": bins, "sources of simulated scenes": both,
        "calibration of shares of votes": calibration["bins"],
    }  # fmt: skip


def bare_model():
    """Return the preset's network without zero points: it sees counts as they are, like the original."""
    import galzoo

    preset = galzoo.load("morpheus_hst")
    model = type(preset).from_config(preset.get_config() | {"zero_points": None})
    model.set_weights(preset.get_weights())
    return model


def agreement(model, image, strides=STRIDES):
    """Return of each stride the windows, and the shares of pixels and of sources' pixels with the exact class."""
    from galzoo.tasks.segment.votes import vote_image, window_starts

    rows, exact = [], vote_image(model, image, stride=1)
    voted, best = exact.sum(axis=-1) > 0, exact.argmax(axis=-1)
    source = voted & (best != len(model.classes) - 1)
    for stride in strides[1:]:
        counts = vote_image(model, image, stride=stride)
        same = counts.argmax(axis=-1) == best
        starts = [len(window_starts(size, model.window, stride)) for size in image.shape[:2]]
        rows.append({
            "stride": stride, "windows": int(np.prod(starts)),
            "pixels": int(voted.sum()), "same": int(same[voted].sum()),
            "source_pixels": int(source.sum()), "source_same": int(same[source].sum()),
        })  # fmt: skip
    return rows


def seconds_of(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def speed(model, image, wheel, folder):
    """Return CPU milliseconds a window of the published loop and of ours, and ratios per field, medians of rounds."""
    from galzoo.tasks.segment.votes import STRIDE, vote_image, window_starts

    small = image[:_LOOP_SIDE, :_LOOP_SIDE]
    np.save(folder / "small.npy", small)
    command = [sys.executable, __file__, str(wheel), "--published", str(folder / "small.npy")]
    windows = (_LOOP_SIDE - model.window + 1) ** 2
    everywhere = np.prod([size - model.window + 1 for size in image.shape[:2]])
    ours = np.prod([len(window_starts(size, model.window, STRIDE)) for size in image.shape[:2]])
    vote_image(model, small, stride=4)
    rounds = []
    for _ in range(_ROUNDS):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        loop = float(done.stdout.split()[-1]) / windows
        batched = seconds_of(lambda: vote_image(model, small, stride=1)) / windows
        strided = seconds_of(lambda: vote_image(model, image, stride=STRIDE)) / ours
        rounds.append((loop, batched, strided))
    loop, batched, strided = np.array(rounds).T
    with np.load(folder / "small.votes.npz") as file:
        theirs = np.stack([file[name] for name in model.classes], axis=-1)
    counts = vote_image(model, small, stride=1)
    mine = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return {
        "published_ms": 1e3 * float(np.median(loop)),
        "batched_ms": 1e3 * float(np.median(batched)),
        "strided_ms": 1e3 * float(np.median(strided)),
        "stride": STRIDE,
        "over_published": float(np.median(loop * everywhere / (strided * ours))),
        "over_batched": float(np.median(batched * everywhere / (strided * ours))),
        "largest_difference_of_votes": float(np.abs(theirs - mine).max()),
    }


def row_of(row):
    """Return a row of the page of benchmarks."""
    return {
        "pixels between windows": row["stride"],
        "votes a pixel": (30 / row["stride"]) ** 2,
        "pixels of the same class, %": 100 * row["same"] / row["pixels"],
        "of those of sources, %": 100 * row["source_same"] / max(row["source_pixels"], 1),
    }


def draw(curves, path):
    """Draw agreement against the number of windows that vote on a pixel."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharex=True)
    for axis, part, whole, title in (
        (axes[0], "same", "pixels", "all pixels"), (axes[1], "source_same", "source_pixels", "pixels of sources"),
    ):  # fmt: skip
        for name, rows in curves.items():
            votes = [(30 / row["stride"]) ** 2 for row in rows]
            axis.semilogx(votes, [100 * row[part] / max(row[whole], 1) for row in rows], "o-", ms=4, label=name)
            for row, place in zip(rows, votes, strict=True):
                if name == "XDF" and part == "same":
                    value = 100 * row[part] / row[whole]
                    axis.annotate(row["stride"], (place, value), fontsize=7, xytext=(0, 5), textcoords="offset points")
        axis.set(
            xlabel="windows that vote on a pixel (exact: 900)", ylabel="same class as the exact vote, %", title=title
        )
        axis.grid(alpha=0.3)
    axes[0].axhline(99.5, color="grey", lw=1)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="morpheus_astro-0.5.1-py3-none-any.whl, or its unpacked folder")
    parser.add_argument("--data", type=Path, help="folder of the public images")
    parser.add_argument("--output", type=Path, default=Path("bench_morpheus.json"))
    parser.add_argument("--pictures", type=Path, default=Path())
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--stamps", type=int, default=17, help="of the CANDELS stamps, evenly spread, for agreement")
    parser.add_argument("--scenes", type=int, default=_SCENES)
    parser.add_argument("--published", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.published:
        published_loop(options.wheel, options.published)
        return
    model, found = bare_model(), {}
    if "speed" in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            if options.wheel.is_file():
                with zipfile.ZipFile(options.wheel) as archive:
                    archive.extractall(folder / "wheel")
                options.wheel = folder / "wheel"
            found["speed"] = speed(model, images(options.data, 0)["XDF"], options.wheel, folder)
    if "agreement" in options.parts:
        each = {}
        for name, image in images(options.data, options.stamps).items():
            each[name] = agreement(model, image)
            sys.stdout.write(f"{name} is done\n")
            sys.stdout.flush()
        stamps = [rows for name, rows in each.items() if name != "XDF"]
        keys = ("pixels", "same", "source_pixels", "source_same", "windows")
        together = [
            {"stride": rows[0]["stride"]} | {key: sum(row[key] for row in rows) for key in keys}
            for rows in zip(*stamps, strict=True)
        ]
        curves = {"XDF": each["XDF"], f"{options.stamps} CANDELS stamps": together}
        found |= {
            f"agreement with the exact vote, {name}": [row_of(row) for row in rows] for name, rows in curves.items()
        }
        draw(curves, options.pictures / "segment_agreement.png")
    if "stamps" in options.parts:
        found["CANDELS stamps"], seen = candels_stamps(model, options.data)
        draw_stamps(seen, model, options.pictures / "segment_candels.png")
    if "scenes" in options.parts:
        found |= simulated_scenes(options.scenes)
    sys.stdout.write(f"{json.dumps(found, indent=1)}\n")
    before = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    write_json(options.output, before | found)


if __name__ == "__main__":
    main()
