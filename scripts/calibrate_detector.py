"""Make the probabilities of a detector right for scenes with a list of what is there, such as fields of real density.

    python scripts/calibrate_detector.py RUN_OR_PRESET scenes.h5 --output model.keras [--weights averaged|last]

The first half of the scenes is fitted; what the second half says before and after is printed beside the classical
detection at the same rate of false detections. For a run that goes on the weights of its last complete epoch are taken.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

from galzoo.callbacks import restore_state
from galzoo.data.open_source import open_source
from galzoo.data.scenes import Scenes
from galzoo.files import write_json
from galzoo.tasks.detect.classical import ClassicalDetector
from galzoo.tasks.detect.scores import evaluate_detection
from galzoo.train import compile_stage, make_model


def load(run, averaged):
    """Return the model of a finished run or preset, or of the last complete epoch of a run that goes on."""
    if (run / "model.keras").is_file():
        return keras.saving.load_model(run / "model.keras")
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    model = make_model(recipe)
    compile_stage(model, recipe["stages"][0], recipe["runtime"])
    restore_state(run, model)
    if averaged:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    model.compile()
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--output", type=Path, help="file of the calibrated model")
    parser.add_argument("--weights", choices=("averaged", "last"), default="averaged")
    parser.add_argument("--json", type=Path, help="file of the scores")
    arguments = parser.parse_args()
    model = load(arguments.run, arguments.weights == "averaged")
    optional = ("mask", "source_images", "corners", "isolated")
    source = open_source(arguments.scenes, ("image", "variance", "positions", "n_sources", "flux", "boxes"), "all",
                         optional=optional)  # fmt: skip
    half, scenes = len(source) // 2, Scenes.load(arguments.scenes, np.arange(len(source) // 2, len(source)))
    detectors = {"SEP": ClassicalDetector(tuple(model.bands), scenes.pixel_scale), "as trained": model}
    scores = evaluate_detection(detectors, scenes, "SEP", 4)
    model.finish(source.batch(np.arange(start, min(start + 4, half))) for start in range(0, half, 4))
    again = evaluate_detection({"calibrated": model}, scenes, "calibrated", 4, rate=scores["false_rate"])
    scores["methods"] |= again["methods"]
    print("calibration", np.round(model.calibration, 3))
    for name, one in scores["methods"].items():
        print(f"{name}: completeness {one['completeness']:.3f} +- {one['completeness_error']:.3f}, purity "
              f"{one['purity']:.3f}, threshold {one['threshold']}, {one['seconds']:.2f} s a scene")  # fmt: skip
        by = (f"{row['low']:g}: {row['share']:.2f} +- {row['share_error']:.2f} ({row['n']})"
              for row in one["by_magnitude"])  # fmt: skip
        print("  by magnitude from", ", ".join(by))
        calibration = one["calibration"]
        print(f"  ece {calibration['ece']:.3f} +- {calibration['ece_error']:.3f}; said and true:", ", ".join(
            f"{row['confidence']:.2f} {row['frequency']:.2f}" for row in calibration["reliability"]))  # fmt: skip
    if arguments.json:
        write_json(arguments.json, scores)
    if arguments.output:
        model.save(arguments.output)


if __name__ == "__main__":
    main()
