"""How a StarNet answers for other PSFs, skies and densities than those of its test fields, and how long it takes.

    python scripts/bench_starnet.py PRESET grid -o docs/benchmarks/starnet_grid.json [--minutes 8]
    python scripts/bench_starnet.py PRESET counts --n 160 -o docs/benchmarks/starnet_counts.json
    python scripts/bench_starnet.py PRESET coverage --n 1000 -o docs/benchmarks/starnet_coverage.json
    python scripts/bench_starnet.py PRESET refine [-o docs/benchmarks/starnet_refine.json]
    python scripts/bench_starnet.py PRESET speed --size 1489 2048 [--stop 30] [-o docs/benchmarks/starnet_speed.json]
    python scripts/bench_starnet.py PRESET inject --size 512 --n 8 [-o docs/benchmarks/starnet_inject.json]

`grid` scores simulated fields of 64 pixels at each PSF, sky and density: a power law of fluxes as in M2, from 7.5 times
the error of a star alone. Beside it stands photutils' PSF photometry, tuned on the first field of each cell and scored
on the others. Cells that the output file has are not run again, and none is begun after `--minutes`. `counts` scores
fields of 64 pixels of the kind that training made, with another seed, and 20 test fields. `coverage` draws counts of
more such fields, 50 at a time, which `--keep` keeps, so that it goes on where `--minutes` ended it; and says how many
of them lie in their 90 % intervals, of all and by the density that the draws say. `refine` scores the test fields of
the preset's recipe with and without `--refine`; it goes on in the same way. `speed` runs `galzoo detect` on a made
field: seconds by the clock and of CPU, and the most memory of the process; on a busy machine only those of CPU say
something. With `--stop` it does so again in other tiles, and once more after it was killed at so many seconds, and says
whether the catalogues are the same. `inject` compares what `--inject` says, `--n` times with other stars, with what
became of the field's own stars.
"""

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from astropy.io import fits
from astropy.table import QTable

import galzoo
from galzoo.contracts.detections import Detections
from galzoo.data.build_dataset import prepare
from galzoo.data.in_graph import make_layer
from galzoo.data.scenes import Scenes
from galzoo.data.zeropoint import magnitude_to_njy, njy_to_magnitude
from galzoo.field.open_field import open_field
from galzoo.field.star_light import StarLight
from galzoo.files import write_json
from galzoo.layers.starfield import StarField
from galzoo.metrics.binned import scatter68
from galzoo.metrics.calibration import resample
from galzoo.metrics.star_catalogues import catalogue_scores, f1_score, nearest_stars
from galzoo.recipe import Data
from galzoo.tasks.detect.completeness import by_injection, flux_in
from galzoo.tasks.detect.refine import refined
from galzoo.tasks.detect.run import Search, Settings
from galzoo.tasks.detect.stars_scores import GIVEN, SURE, count_scores, draw_counts, evaluate_stars
from galzoo.tasks.detect.stars_suite import scene_batch

_FIELD = {
    "slope": (0.5, 0.5), "span": (1000, 1000), "limit": (7.5, 7.5), "colour": (0, 0), "colour_scatter": (1, 1),
    "unresolved": 0, "sky_error": 0,
}  # fmt: skip
_SIDE = 64
_SCORES = ("true", "found", "recalled", "right")
# Of the fields of `counts` and `coverage`, whose pieces have so many fields; densities, stars a pixel, that it parts.
_SEED, _PIECE = 777, 50
_LIMITS = (0.01, 0.03, 0.1)
# Of the field of `speed` and `inject`, electrons: the faintest star and the sky; its zero point.
_FAINTEST, _SKY, _ZERO_POINT = 1000.0, 700.0, 29.8
_PSFS, _SKIES, _DENSITIES = (2.0, 3.0, 4.5, 6.0), (700, 2800), (0.015, 0.05, 0.15)


def fields(n, bands, seed, **options):
    """Return a batch of `n` fields of stars."""
    layer = StarField(**{**_FIELD, **options}, seed=seed)
    made = layer({"image": np.zeros((n, 1, 1, bands), "float32")})
    return {key: keras.ops.convert_to_numpy(value) for key, value in made.items()}


def shown(scores):
    """Return the numbers of `evaluate_stars` that a table shows."""
    own = scores["methods"]["galzoo"]
    result = {"stars": scores["stars"]} | {key: own[key] for key in ("f1", "f1_error", "recall", "precision")}
    classical = scores["methods"]["photutils"]
    result |= {"photutils_f1": classical["f1"], "photutils_f1_error": classical["f1_error"]}
    return result | {name: one["spread"] for name, one in scores["pulls"].items()}


def grid(preset, model, n, output, minutes):
    rows = json.loads(output.read_text())["grid"] if output.is_file() else []
    done = {(row["fwhm"], row["sky"], row["density"]) for row in rows}
    end = time.monotonic() + 60 * minutes
    for number, (fwhm, sky, density) in enumerate(itertools.product(_PSFS, _SKIES, _DENSITIES)):
        if (fwhm, sky, density) in done or time.monotonic() > end:
            continue
        options = {"fwhm": (fwhm, fwhm), "sky": (sky, sky), "density": (density, density), "size": _SIDE}
        batch = fields(n, len(model.bands), 900 + number, **options)
        scores = evaluate_stars(model, [batch], photometry=n)
        rows.append({"fwhm": fwhm, "sky": sky, "density": density} | shown(scores))
        print({key: round(value, 3) for key, value in rows[-1].items()}, flush=True)
        write_json(output, {"preset": Path(preset).name, "fields": n, "pixels": _SIDE, "grid": rows})


class Refined:
    """A model whose `detect` is followed by the joint fit."""

    def __init__(self, model):
        self.bands, self.detect = model.bands, refined(model.detect)


def test_fields(data):
    """Return the test fields of a preset's recipe, made anew: the file is of the machine that made the preset."""
    return Scenes.load(prepare(Data(**data | {"path": None}))).split("test", **data["split"])


def refine(preset, model, n, keep, output, minutes):
    scenes = test_fields(galzoo.load_card(preset)["recipe"]["data"])
    end = time.monotonic() + 60 * minutes
    batches, said, methods = [], [], {"network": model.detect, "refined": refined(model.detect)}
    for row in range(min(n, len(scenes))):
        batch, path = scene_batch(scenes, np.array([row])), keep / f"refine_{row:03d}.json"
        if not path.is_file():
            if time.monotonic() > end:
                break
            write_json(path, {name: answer(detect, batch) for name, detect in methods.items()})
        said.append(json.loads(path.read_text()))
        batches.append(batch)
    saved = {"preset": Path(preset).name}
    for name in methods:
        answers = [one[name] for one in said]
        scores = evaluate_stars(Said(model.bands, answers), batches, photometry=0)
        chi2 = [one["chi2"] for one in answers]
        saved[name] = scores["methods"]["galzoo"] | {
            "fields": len(batches), "pulls": scores["pulls"], "chi2": float(np.median(chi2)),
            "chi2_error": float(1.25 * np.std(chi2) / np.sqrt(len(chi2))),
            "seconds": float(np.median([one["cpu_seconds"] for one in answers])),
        }  # fmt: skip
        print(name, saved[name], flush=True)
    saved["gain"], saved["gain_error"] = gained(said, batches)
    print("gain of F1", saved["gain"], saved["gain_error"], flush=True)
    write_json(output, saved)


def gained(said, batches):
    """Return by how much the F1 of all fields grows, and its error by the bootstrap over fields."""
    tables = []
    for name in ("network", "refined"):
        rows = []
        for answers, batch in zip(said, batches, strict=True):
            one, number = answers[name], int(batch["n_sources"][0])
            sure = np.array(one["probability"]) >= SURE
            found = np.reshape(one["positions"], (-1, 2))[sure], np.reshape(one["flux"], (len(sure), -1))[sure, 0]
            truth = batch["positions"][0, :number], batch["flux"][0, :number, 0]
            scores = catalogue_scores(*found, *truth, batch["image"].shape[1:3])
            rows.append([scores[key] for key in _SCORES])
        tables.append(np.array(rows))

    def f1(table):
        return f1_score([dict(zip(_SCORES, row, strict=True)) for row in table])["f1"]

    return tuple(map(float, resample(lambda before, after: f1(after) - f1(before), *tables)))


def counts(preset, model, n):
    """Score fields of the kind that training made, and test fields of the recipe: counts, matches and pulls."""
    data = galzoo.load_card(preset)["recipe"]["data"]
    layer = make_layer({**data["make"], "size": _SIDE}, _SEED)
    made = []
    for start in range(0, n, 8):
        batch = layer({"image": np.zeros((min(8, n - start), 1, 1, len(model.bands)), "float32")})
        made.append({key: keras.ops.convert_to_numpy(value) for key, value in batch.items()})
    scenes = test_fields(data)
    rows = np.arange(min(20, len(scenes)))
    held_out = [scene_batch(scenes, rows[start : start + 4]) for start in range(0, len(rows), 4)]
    return {name: evaluate_stars(model, fields, photometry=0) for name, fields in (("made", made), ("m2", held_out))}


def coverage(preset, model, n, keep, minutes):
    """Say how many of `n` fields of the kind that training made have their number of stars in its 90 % interval."""
    make = galzoo.load_card(preset)["recipe"]["data"]["make"]
    end = time.monotonic() + 60 * minutes
    files = [keep / f"counts_{number:03d}.npz" for number in range(-(-n // _PIECE))]
    for number, path in enumerate(files):
        if path.is_file() or time.monotonic() > end:
            continue
        layer = make_layer({**make, "size": _SIDE}, _SEED + 1 + number)
        batches = []
        for _ in range(_PIECE // 10):
            made = layer({"image": np.zeros((10, 1, 1, len(model.bands)), "float32")})
            batches.append({key: keras.ops.convert_to_numpy(value) for key, value in made.items()})
        parts = draw_counts(model, batches, seed=1000 * number)
        named = {f"{name}_{key}": one for name, two in parts.items() for key, one in zip("td", two, strict=True)}
        np.savez(path, **named)
        print(path, flush=True)
    read = [np.load(path) for path in files if path.is_file()]
    result = {"fields": _PIECE * len(read)}
    for name in ("field", "region"):
        truth = np.concatenate([one[f"{name}_t"] for one in read])
        drawn = np.concatenate([one[f"{name}_d"] for one in read], axis=1)
        result[name] = count_scores(truth, drawn)
        if name == "field":
            density = drawn.mean(axis=0) / _SIDE**2
            edges = [0, *_LIMITS, np.inf]
            result["by_density"] = [
                {"low": low, "high": high if np.isfinite(high) else None} | count_scores(truth[some], drawn[:, some])
                for low, high in itertools.pairwise(edges)
                for some in [(density >= low) & (density < high)]
                if some.any()
            ]
    print(result, flush=True)
    return result


def answer(detect, batch):
    """Return what a detector finds in a field of one, as JSON can hold it, and chi-square a pixel of its model."""
    begin = time.process_time()
    found = detect({key: value for key, value in batch.items() if key in GIVEN}, 0.5)
    seconds = time.process_time() - begin
    kept = found.probability[0] > 0
    said = {key: getattr(found, key)[0][kept].tolist() for key in Said.keys}
    image, psf = batch["image"][0].astype(float), batch["psf"][0].astype(float)
    model = StarLight(psf).add(np.zeros(image.shape), found.positions[0][kept], found.flux[0][kept])
    inner = np.s_[5:-5, 5:-5]
    good = ~batch["mask"][0][inner] & np.isfinite(batch["variance"][0][inner])
    left = (image - model)[inner] ** 2 / batch["variance"][0][inner]
    return said | {"cpu_seconds": seconds, "chi2": float(np.mean(left[good]))}


class Said:
    """A detector that says of one field after the other what it has said before."""

    keys = ("positions", "position_error", "flux", "flux_error", "probability")

    def __init__(self, bands, answers):
        self.bands, self._answers = bands, iter(answers)

    def detect(self, batch, threshold=0.0):
        one = next(self._answers)
        number = len(one["probability"])
        size = {"flux": len(self.bands), "flux_error": len(self.bands), "positions": 2, "position_error": 2}
        values = {
            key: np.array(one[key], np.float32).reshape(1, number, *([size[key]] if key in size else []))
            for key in self.keys
        }
        return Detections(boxes=np.zeros((1, number, 4)), **values)


def made_field(folder, height, width, density, bands, seed=5):
    """Write a field of a power law of stars with its variance and PSF, and return the command that searches it."""
    random = np.random.default_rng(seed)
    number = random.poisson(density * height * width)
    places = random.uniform(-0.5, [width - 0.5, height - 0.5], (number, 2))
    flux = _FAINTEST * (1 - random.random(number) * (1 - 1000**-0.5)) ** -2
    flux = flux[:, None] * 10 ** (-0.4 * random.normal(size=(number, len(bands))) * (np.arange(len(bands)) > 0))
    psf = moffat_psf(25, 3.0)
    image = StarLight(np.repeat(psf[..., None], len(bands), axis=-1)).add(
        np.zeros((height, width, len(bands))), places, flux
    )
    noisy = random.poisson(np.maximum(image, 0) + _SKY) - _SKY
    for name, planes in (("field", noisy), ("variance", np.maximum(noisy + _SKY, 0.25 * _SKY))):
        hdus = [fits.PrimaryHDU()]
        for number_of, band in enumerate(bands):
            hdus.append(fits.ImageHDU(planes[..., number_of].astype("float32"), name=band))
            hdus[-1].header["PIXSCALE"], hdus[-1].header["MAGZERO"] = 0.396, _ZERO_POINT
        fits.HDUList(hdus).writeto(folder / f"{name}.fits", overwrite=True)
    fits.writeto(folder / "psf.fits", psf.astype("float32"), overwrite=True)
    variance = [part for band in bands for part in ("--variance", f"{folder / 'variance.fits'}[{band}]")]
    gain = ",".join(f"{band}=1" for band in bands)
    faintest = _ZERO_POINT - 2.5 * np.log10(_FAINTEST)
    return places, flux, [
        sys.executable, "-m", "galzoo", "detect", str(folder / "field.fits"), "--bands", ",".join(bands), "--psf",
        str(folder / "psf.fits"), "--gain", gain, "--faintest", f"{faintest:.3f}", "--no-background", "--no-report",
        *variance,
    ]  # fmt: skip


def moffat_psf(side, fwhm, beta=3.0):
    """Return the image of a Moffat profile, of unit sum."""
    y, x = np.indices((side, side)) - side // 2
    scale = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    image = (1 + (x**2 + y**2) / scale**2) ** -beta
    return image / image.sum()


def timed(command, stop=None):
    """Run a command; return seconds by the clock and of CPU and its most memory in GB; end it after `stop` seconds."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if stop is not None:
        time.sleep(stop)
        process.kill()
    _, status, used = os.wait4(process.pid, 0)
    if stop is None and status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return {
        "seconds": time.perf_counter() - begin, "cpu_seconds": used.ru_utime + used.ru_stime,
        "most_memory_gb": used.ru_maxrss / 1e6,
    }  # fmt: skip


def speed(preset, bands, size, density, stop):
    """Search one field: time and memory; again in other tiles, and again after it was ended, where `stop` is given."""
    height, width = (size * 2)[:2]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _, flux, command = made_field(folder, height, width, density, bands)
        command += ["--preset", str(preset), "--samples", "0"]
        row = {"height": height, "width": width, "stars": len(flux)} | timed([*command, "-o", str(folder / "whole")])
        whole = QTable.read(folder / "whole" / "catalogue.ecsv")
        row["found"] = len(whole)
        if stop is not None:
            for name, tile in (("tiles", "384"), ("resumed", "1024")):
                more = [*command, "-o", str(folder / name), "--tile", tile]
                if name == "resumed":
                    timed(more, stop)
                    row["pieces_kept"] = len(list((folder / name).rglob("*.npz")))
                row |= {f"{name}_{key}": value for key, value in timed(more).items()}
                other = QTable.read(folder / name / "catalogue.ecsv")
                same = len(other) == len(whole) and all(
                    np.allclose(np.asarray(other[key]), np.asarray(whole[key]), rtol=1e-4, atol=1e-3, equal_nan=True)
                    for key in ("x", "y", "probability", f"flux_{bands[0]}")
                )
                row[f"{name}_same"] = bool(same)
    print(row, flush=True)
    return [row]


def inject(preset, bands, size, density, rounds, minutes):
    """Compare artificial stars on a field with its own stars: completeness, bias and scatter by magnitude."""
    height, width = (size * 2)[:2]
    band = bands.index("i") if "i" in bands else len(bands) // 2
    faint = _ZERO_POINT - 2.5 * np.log10(_FAINTEST)
    limits = tuple(np.floor(2 * (faint - 4)) / 2 + np.array([0.0, 4.0]))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        places, flux, _ = made_field(folder, height, width, density, bands)
        magnitude = _ZERO_POINT - 2.5 * np.log10(flux[:, band])
        variance = [f"{folder / 'variance.fits'}[{one}]" for one in bands]
        gain = dict.fromkeys(bands, 1.0)
        settings = Settings(
            inject=height * width // 400, inject_kind="star", inject_magnitudes=limits, faintest=faint, report=False
        )
        psf = np.repeat(moffat_psf(25, 3.0)[None, ..., None], len(bands), axis=-1).astype(np.float32)
        with open_field(
            folder / "field.fits", bands=list(bands), variance=variance, gain=gain, subtract_sky=False
        ) as field:
            search = Search.of(field, preset, None, psf, settings)
            rows, _ = search.run(settings.tile)
            added = []
            end = time.monotonic() + 60 * minutes
            for seed in range(rounds):
                if added and time.monotonic() > end:
                    break
                added.append(by_injection(search, rows, dataclasses.replace(settings, seed=seed))["sources"])
                print(seed, float(np.mean(added[-1]["found"])), flush=True)
            at = np.stack([rows["x"], rows["y"]], axis=-1)
            measured = flux_in(rows, search.field.bands.index(bands[band]))
    of = nearest_stars(at, measured, places, magnitude_to_njy(magnitude), 1.0, 0.75)
    off = np.where(of >= 0, njy_to_magnitude(np.where(of >= 0, measured[of], 1.0)) - magnitude, np.nan)
    parts = ("magnitude", "difference")
    found = tuple(np.concatenate([np.asarray(one[key], float) for one in added]) for key in parts)
    result = []
    for low in np.arange(*limits, 0.5):
        row = {"low": low, "high": low + 0.5} | measured_in(*found, low, low + 0.5)
        row |= {f"true_{key}": value for key, value in measured_in(magnitude, off, low, low + 0.5).items()}
        result.append({key: float(value) for key, value in row.items()})
        print({key: round(value, 3) for key, value in result[-1].items()}, flush=True)
    # Over all, own stars weigh as if each bin had as many of them as it has artificial ones.
    weights = np.array([row["n"] for row in result]) / sum(row["n"] for row in result)
    total = {"low": float(limits[0]), "high": float(limits[1])}
    for key in ("completeness", "true_completeness"):
        total[key] = float(weights @ [row[key] for row in result])
        total[f"{key}_error"] = float(np.sqrt(weights**2 @ [row[f"{key}_error"] ** 2 for row in result]))
    print(total, flush=True)
    return {"rounds": len(added), "all": total, "bins": result}


def measured_in(magnitude, off, low, high):
    """Return completeness, bias and scatter, with errors, of stars of some magnitudes; `off` is NaN where missed."""
    own = off[(magnitude >= low) & (magnitude < high)]
    good = own[np.isfinite(own)]
    share = len(good) / max(len(own), 1)
    scatter = scatter68(good)
    return {
        "n": len(own), "completeness": share, "completeness_error": np.sqrt(share * (1 - share) / max(len(own), 1)),
        "bias": np.median(good), "bias_error": 1.25 * scatter / np.sqrt(len(good)), "scatter": scatter,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("what", choices=("grid", "refine", "speed", "inject", "counts", "coverage"))
    parser.add_argument("--n", type=int, default=6, help="fields each")
    parser.add_argument("--size", type=int, nargs="+", default=[100])
    parser.add_argument("--density", type=float, default=0.05, help="stars a pixel")
    parser.add_argument("--stop", type=float)
    parser.add_argument("--keep", type=Path, default=Path("runs/starnet"), help="what refine and coverage go on from")
    parser.add_argument("--minutes", type=float, default=8.0, help="no field, cell or round is begun after these")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    model = galzoo.load(options.preset)
    options.keep.mkdir(parents=True, exist_ok=True)
    if options.what == "grid":
        grid(options.preset, model, options.n, options.output, options.minutes)
        return
    if options.what == "refine":
        refine(options.preset, model, options.n, options.keep, options.output, options.minutes)
        return
    if options.what == "counts":
        write_json(options.output, {"preset": Path(options.preset).name} | counts(options.preset, model, options.n))
        return
    if options.what == "coverage":
        scores = coverage(options.preset, model, options.n, options.keep, options.minutes)
        write_json(options.output, {"preset": Path(options.preset).name} | scores)
        return
    if options.what == "inject":
        scores = inject(options.preset, model.bands, options.size, options.density, options.n, options.minutes)
        write_json(options.output, {"preset": Path(options.preset).name, "inject": scores})
        return
    rows = speed(options.preset, model.bands, options.size, options.density, options.stop)
    before = json.loads(options.output.read_text())["speed"] if options.output.is_file() else []
    kept = [one for one in before if one["height"] != rows[0]["height"]]
    write_json(options.output, {"preset": Path(options.preset).name, "speed": [*kept, *rows]})


if __name__ == "__main__":
    main()
