"""Measure what the codes of a codec of noisy pictures hold: galaxies, or the noise of the sky.

    python scripts/bench_codec.py PRESET_OR_RUN ... --data sdss.h5 --output docs/benchmarks/bench_codec.json
    python scripts/bench_codec.py PRESET_OR_RUN ... --data simulated.h5 --output docs/benchmarks/bench_codec.json

Of pictures, per held-out stamp, by what the codes alone say, in the middle band where one is used; medians over stamps:

- chi-square a pixel, that of the quietest corner, and their difference, which is the misfit beyond the noise;
- share of the corner's noise power that the reconstruction has, and their correlation;
- power of the reconstruction over the image's at periods of 3 to 10 pixels, the noise power of the corner taken off
  both, of all stamps and of those of T-type 3 to 7;
- entropy of the codes of all stamps, nats a cell, and the share of cells whose code is the same under two draws of
  noise as strong as the image's own, added to it.

Of simulated galaxies, whose truth is known: the share of cells whose code is the same under two draws of noise, at a
signal-to-noise ratio of 200, of all cells and of those that hold a galaxy; and the entropy of the codes.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

import galzoo
from galzoo.evaluate.held_out import held_out
from galzoo.files import write_json
from galzoo.layers.augment import noiseless_batch
from galzoo.layers.noise import correlated
from galzoo.metrics.calibration import resample

# Pixels on a side of a corner, and the periods of power.
_CORNER, _PERIODS = 12, (3, 10)
# Of the noise of the pictures: sigma of its smoothing in pixels, correlation of the bands.
_NOISE = {"smoothing": 0.7, "shared": 0.8}
_BATCH = 20
# Of two noises that the codes of a simulated galaxy are compared under.
_SNR = 200.0


def power(image):
    """Return the mean power a frequency of a picture, (y, x), at the periods of interest, less that of its mean."""
    taper = np.outer(np.hanning(len(image)), np.hanning(len(image)))
    spectrum = np.abs(np.fft.fft2((image - image.mean()) * taper)) ** 2 / np.sum(taper**2)
    line = np.fft.fftfreq(len(image))
    frequency = np.hypot(*np.meshgrid(line, line))
    return spectrum[(frequency >= 1 / _PERIODS[1]) & (frequency < 1 / _PERIODS[0])].mean()


def corners(plane):
    """Return the four corners of a plane, (y, x)."""
    ends = slice(_CORNER), slice(-_CORNER, None)
    return [plane[rows, columns] for rows in ends for columns in ends]


def measure(model, stamps, seed=0):
    """Return the figures of each stamp as a dict of arrays, (n,), and the codes, (n, y, x)."""
    draw = keras.random.SeedGenerator(seed)
    parts = []
    for start in range(0, len(stamps), _BATCH):
        rows = slice(start, start + _BATCH)
        batch = {"image": stamps.image[rows], "variance": stamps.variance[rows], "mask": stamps.mask[rows]}
        batch = {key: np.asarray(value) for key, value in batch.items()}
        shape, sigma = batch["image"].shape, np.sqrt(batch["variance"])
        noisy = [
            batch
            | {
                "image": batch["image"]
                + sigma * keras.ops.convert_to_numpy(correlated(shape[0], shape[1:], draw, **_NOISE))
            }
            for _ in range(2)
        ]
        made = model(batch)
        first, second = (keras.ops.convert_to_numpy(model(one)["codes"]) for one in noisy)
        parts.append(
            (keras.ops.convert_to_numpy(made["image"]), keras.ops.convert_to_numpy(made["codes"]), first == second)
        )
    image, codes, same = (np.concatenate(column) for column in zip(*parts, strict=True))
    found = [_one(stamps, row, image[row].astype(float)) for row in range(len(stamps))]
    figures = {key: np.array([one[key] for one in found]) for key in found[0]}
    return figures | {"same_code": same.mean(axis=(1, 2))}, codes


def _one(stamps, row, made):
    observed, variance = stamps.image[row].astype(float), stamps.variance[row].astype(float)
    good = ~stamps.mask[row].astype(bool) & np.isfinite(variance)
    square = np.where(good, (observed - made) ** 2 / variance, 0.0)
    band = observed.shape[-1] // 2
    seen, model, misfit = min(
        zip(corners(observed[..., band]), corners(made[..., band]), corners(square), strict=True),
        key=lambda three: three[0].std(),
    )
    chi2 = square.sum() / good.sum()
    return {
        "chi2": chi2,
        "chi2_corner": misfit.mean(),
        "misfit": chi2 - misfit.mean(),
        "noise_power": model.var() / seen.var(),
        "noise_correlation": np.corrcoef(seen.ravel(), model.ravel())[0, 1],
        "power": (power(made[..., band]) - power(model)) / (power(observed[..., band]) - power(seen)),
    }


def agreement(model, stamps, snr=_SNR, seed=0):
    """Return shares of each stamp's cells whose codes agree under two noises, and the codes under the first.

    Parameters
    ----------
    model : keras.Model
        Codec.
    stamps : Stamps
        With noiseless images in the model frame as ``truth``.
    snr : float
        Optimal signal-to-noise ratio of a stamp over all bands.
    seed : int
        Of the noise.

    Returns
    -------
    dict, numpy.ndarray (n, y, x)
        Arrays (n,). A cell holds a galaxy where its code is not the commonest one of its stamp under both noises:
        cells of sky are nearly all of one code.
    """
    draw = np.random.default_rng(seed)
    all_codes = [], []
    for start in range(0, len(stamps), _BATCH):
        clean = noiseless_batch(stamps.truth[start : start + _BATCH], snr, model.model_sigma)
        clean = {key: keras.ops.convert_to_numpy(value) for key, value in clean.items() if key != "truth"}
        sigma = np.sqrt(clean["variance"])
        for codes in all_codes:
            noise = (sigma * draw.standard_normal(sigma.shape)).astype("float32")
            answer = model(clean | {"image": clean["image"] + noise, "mask": None})
            codes.append(keras.ops.convert_to_numpy(answer["codes"]))
    first, second = (np.concatenate(codes) for codes in all_codes)
    common = np.array([np.bincount(codes.ravel()).argmax() for codes in first])[:, None, None]
    galaxy = (first != common) | (second != common)
    same = first == second
    shares = np.sum(same & galaxy, axis=(1, 2)) / np.maximum(galaxy.sum(axis=(1, 2)), 1)
    figures = {
        "same_code": same.mean(axis=(1, 2)),
        "same_code_galaxy": np.where(galaxy.any(axis=(1, 2)), shares, np.nan),
        "cells_of_galaxy": galaxy.sum(axis=(1, 2)),
    }
    return figures, first


def entropy(codes):
    """Return the entropy of the shares of codes, nats."""
    share = np.bincount(np.ravel(codes)) / np.size(codes)
    return -np.sum(share[share > 0] * np.log(share[share > 0]))


def main():
    """Measure, and write a row a codec."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("codecs", nargs="+", help="presets or runs")
    parser.add_argument("--data", type=Path, required=True, help="stamp file; its test split counts")
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    stamps = held_out(options.data, "test", {}, options.limit)
    simulated = stamps.truth is not None
    rows = []
    for name in options.codecs:
        model = galzoo.load(name)
        row = {"codec": Path(name).name, "stamps": len(stamps)}
        if simulated:
            figures, codes = agreement(model, stamps)
        else:
            t_type = np.asarray(stamps.catalogue["t_type"], float)
            figures, codes = measure(model, stamps)
            figures["power_spirals"] = figures["power"][(t_type >= 3) & (t_type <= 7)]
            row["spirals"] = len(figures["power_spirals"])
        for key, values in figures.items():
            row[key], row[f"{key}_error"] = resample(np.nanmedian, values)
        row["entropy"], row["entropy_error"] = resample(entropy, codes)
        rows.append(row)
    content = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    if not simulated:
        content["codes alone"] = rows
    else:
        again = {row["codec"] for row in rows}
        content["two noises"] = [row for row in content.get("two noises", []) if row["codec"] not in again] + rows
    write_json(options.output, content)


if __name__ == "__main__":
    main()
