"""Average precision of a detector on crowded scenes of stars and galaxies, in some of its bands, beside SEP.

    python scripts/bench_ap.py BANK.h5 -o docs/benchmarks/bench_ap.json [--preset PRESET] [--bands g,r,z] [--n 6]

Scenes of 512 pixels, 30 sources an arcmin2, a fifth of them stars, are pasted of the test split of a bank of LSST
stamps at ten-year depth, with the PSFs of the bank. Their magnitudes are even from i = 20.1 to 25.1: in signal-to-noise
ratio those of sources from 18 to 23 in an exposure of 120 s. Bands that are left out are absent for the detector.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

from galzoo.data.scenes import Scenes
from galzoo.evaluate.report import markdown_table
from galzoo.files import write_json
from galzoo.presets import load
from galzoo.simulate.scene_files import paste_scenes
from galzoo.tasks.detect.choose_detector import in_bands
from galzoo.tasks.detect.scores import evaluate_detection
from galzoo.tasks.detect.suite import DetectResult, classical_methods

SIZE, PER_ARCMIN2, STARS = 512, 30, 0.2
# nJy in i: magnitudes 25.1 and 20.1.
FLUX = (331.0, 33100.0)


@dataclasses.dataclass
class InBands:
    """A detector that is given some of its bands."""

    model: object
    bands: tuple

    def detect(self, batch, threshold=0.0):
        return in_bands(self.model.detect, self.bands, self.model.bands)(batch, threshold)


def in_some_bands(scenes, bands):
    """Return scenes of some of their bands."""
    place = [list(scenes.bands).index(band) for band in bands]
    planes = {key: getattr(scenes, key)[..., place] for key in ("image", "variance", "psf")}
    planes["cutouts"] = [one[..., place] for one in scenes.cutouts]
    return dataclasses.replace(scenes, bands=tuple(bands), **planes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--preset", default="mask_rcnn_lsst")
    parser.add_argument("--bands", default="g,r,z")
    parser.add_argument("--n", type=int, default=6)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    model, bands = load(arguments.preset), tuple(arguments.bands.split(","))
    number = PER_ARCMIN2 * (SIZE * model.pixel_scale / 60) ** 2
    sources = (round(0.9 * number), round(1.1 * number))
    with tempfile.TemporaryDirectory() as folder:
        path = paste_scenes(
            Path(folder) / "scenes.h5", arguments.n, arguments.bank, split="test", seed=5, size=SIZE, sources=sources,
            stars=STARS, window=64, even_flux=FLUX, reference=list(model.bands).index("i"),
        )  # fmt: skip
        scenes = in_some_bands(Scenes.load(path), bands)
    methods = {name: one for name, one in classical_methods(scenes).items() if name != "SEP, second look"}
    detectors = {"galzoo": InBands(model, bands), **methods}
    metrics = evaluate_detection(detectors, scenes, "SEP", 1, band="r" if "r" in bands else bands[0], progress=True)
    metrics |= {"preset": str(arguments.preset), "bands": list(bands), "suite": "detect", "model": "galzoo"}
    for title, rows in DetectResult(metrics).tables().items():
        print(f"## {title}\n\n{markdown_table(rows)}")
    if arguments.output:
        write_json(arguments.output, metrics)


if __name__ == "__main__":
    main()
