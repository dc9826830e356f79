"""Self-tests of presets: an input, the answers of the model, and how far from them another machine may be.

Tolerances come from what the answers of two back ends differ by. As a command, ``python -m galzoo.selftest PRESET
INPUTS OUTPUT`` answers the inputs of one file into another, with the back end of this process.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from galzoo.errors import GalzooError, PresetError
from galzoo.files import atomic_path
from galzoo.presets import MODEL_FILE, check_file, find_preset, load, load_card, write_card

FILE = "selftest.npz"
PASSED, DIFFERS, CANNOT, CORRUPT = "passed", "not reproduced", "cannot run", "corrupt"
# Tolerances are so many times what two back ends differ by, and at least this part of an answer's largest value.
_MARGIN, _LEAST = 10, 1e-5
# Back ends that differ by more than this part do not compute the same.
_MOST = 1e-2
# Numbers kept of each answer, evenly spread.
_KEPT = 256
# Pixels on a side of the images that a card says whether they can be used: odd, even, small and large.
_SIZES = 16, 24, 25, 32, 33, 48, 64, 84, 101


@dataclasses.dataclass
class Verdict:
    """What a self-test found.

    Parameters
    ----------
    preset : str
    outcome : {"passed", "not reproduced", "cannot run", "corrupt"}
    reason : str
        Why it did not pass.
    answer : str
        Name of the answer that is farthest from the kept one, in units of its tolerance.
    difference, tolerance : float
        Of that answer: the largest absolute difference, and what is allowed.
    seconds : float
    """

    preset: str
    outcome: str
    reason: str = ""
    answer: str = ""
    difference: float = float("nan")
    tolerance: float = float("nan")
    seconds: float = 0.0

    def __str__(self):
        text = f"{self.preset}: {self.outcome}"
        if self.answer and not self.difference:
            text += ", the same numbers to the last digit"
        elif self.answer:
            text += f", farthest off is {self.answer}: by {self.difference:.2g}, where {self.tolerance:.2g} is allowed"
        return f"{text}{f', {self.reason}' if self.reason else ''}; {self.seconds:.1f} s"


def write_selftest(name):
    """Write the self-test of a preset into its folder, with the answers of this back end, and its sizes into its card.

    Parameters
    ----------
    name : str or Path
        Name or folder of a preset.

    Returns
    -------
    Path
        ``selftest.npz`` in the folder.

    Raises
    ------
    PresetError
        If a second back end is not installed, or answers otherwise.
    """
    from galzoo.probes import ask, make_inputs

    folder, card = find_preset(name), load_card(name)
    model = load(folder)
    inputs = make_inputs(model, card["family"])
    answers = ask(model, card["family"], inputs)
    others = _other_answers(folder, inputs)
    content = {f"input.{key}": value for key, value in inputs.items()}
    for key, value in answers.items():
        scale = float(np.nanmax(np.abs(value), initial=0.0))
        difference = float(np.nanmax(np.abs(value - others[key]), initial=0.0))
        if not difference <= _MOST * max(scale, 1e-6):
            raise PresetError(f"{folder}: two back ends differ by {difference:.2g} in {key}, which is {scale:.2g}")
        content[f"output.{key}"] = _spread(value)
        content[f"shape.{key}"] = np.array(value.shape)
        content[f"tolerance.{key}"] = np.float64(max(_MARGIN * difference, _LEAST * scale, 1e-12))
    with atomic_path(folder / FILE) as path:
        np.savez_compressed(path, sha256=np.array(card["sha256"]), **content)
    write_card(folder, {**card, "sizes": legal_sizes(model)})
    return folder / FILE


def legal_sizes(model):
    """Return which of some sizes of square images, in pixels, a model takes: ``{"legal": [...], "refused": [...]}``."""
    from galzoo.probes import batch_of, image_inputs

    sizes = {"legal": [], "refused": []}
    for size in _SIZES:
        try:
            model(batch_of(image_inputs(len(model.bands), size)))
        except Exception:
            # A size that does not fit ends in an error of whichever layer it meets first.
            sizes["refused"].append(size)
        else:
            sizes["legal"].append(size)
    return sizes


def verify(name, keep=None):
    """Run the self-test of a preset on this machine and back end.

    Parameters
    ----------
    name : str or Path
        Name or folder of a preset.
    keep : str or Path, optional
        Folder for what the model answered, where that is not what was expected.

    Returns
    -------
    Verdict

    Raises
    ------
    UnknownNameError
        If there is no such preset.
    """
    started = time.perf_counter()
    folder = find_preset(name)
    try:
        card, kept = _undamaged(folder)
    except FileNotFoundError:
        verdict = Verdict(folder.name, CANNOT, f"it has no {FILE}")
    except GalzooError as error:
        verdict = Verdict(folder.name, CORRUPT, str(error))
    else:
        verdict = _compare(folder, card, kept, keep)
    verdict.seconds = time.perf_counter() - started
    return verdict


def _undamaged(folder):
    """Return card and self-test of a preset; `PresetError` if a file is damaged or belongs to another model."""
    card = load_card(folder)
    check_file(folder, card)
    path = folder / FILE
    try:
        # NumPy leaves a file open that it cannot read.
        with path.open("rb") as opened, np.load(opened) as file:
            kept = {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PresetError(f"{path}: cannot be read ({error}); install galzoo again") from None
    if str(kept.get("sha256")) != card.get("sha256"):
        raise PresetError(f"{path}: belongs to another {MODEL_FILE}; install galzoo again")
    return card, kept


def _compare(folder, card, kept, keep):
    from galzoo.probes import ask

    try:
        answers = ask(load(folder), card["family"], _part(kept, "input"))
    except Exception as error:
        # Whatever a machine or a version of a library does not stand is the verdict here.
        return Verdict(folder.name, CANNOT, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    verdict = _worst(folder.name, kept, answers)
    if verdict.outcome != PASSED and keep is not None:
        with atomic_path(Path(keep) / f"{folder.name}.npz") as path:
            np.savez_compressed(path, **answers)
        verdict.reason = f"{verdict.reason + ', ' if verdict.reason else ''}see {Path(keep) / folder.name}.npz"
    return verdict


def _worst(name, kept, answers):
    worst, most = Verdict(name, PASSED), -1.0
    for key, expected in _part(kept, "output").items():
        found, shape = answers.get(key), tuple(int(side) for side in kept[f"shape.{key}"])
        if found is None or found.shape != shape:
            size = "absent" if found is None else f"of shape {found.shape}"
            return Verdict(name, DIFFERS, f"{key} is {size}, was {shape}")
        tolerance = float(kept[f"tolerance.{key}"])
        off = np.abs(_spread(found).astype(float) - expected)
        off = np.where(np.isnan(expected) & np.isnan(_spread(found)), 0.0, off)
        difference = float(np.max(np.nan_to_num(off, nan=np.inf), initial=0.0))
        if difference / tolerance > most:
            most = difference / tolerance
            worst = Verdict(name, PASSED if most <= 1 else DIFFERS, "", key, difference, tolerance)
    return worst


def _part(kept, kind):
    return {key.partition(".")[2]: value for key, value in kept.items() if key.partition(".")[0] == kind}


def _spread(values):
    flat = np.ravel(values)
    return flat[np.unique(np.linspace(0, max(len(flat) - 1, 0), min(len(flat), _KEPT)).astype(int))]


def _other_answers(folder, inputs):
    """Return the answers of a back end that is not this process's."""
    import keras

    mine = keras.backend.backend()
    other = next((name for name in ("jax", "tensorflow") if name != mine and find_spec(name)), None)
    if other is None:
        raise PresetError("tolerances are what two back ends differ by; install galzoo[jax]")
    with tempfile.TemporaryDirectory() as place:
        given, made = Path(place) / "inputs.npz", Path(place) / "answers.npz"
        np.savez(given, **inputs)
        command = [sys.executable, "-m", "galzoo.selftest", str(folder), str(given), str(made)]
        ran = subprocess.run(
            command, env={**os.environ, "KERAS_BACKEND": other}, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise PresetError(f"{folder}: does not run on {other}: {ran.stderr.strip().splitlines()[-1:]}")
        with np.load(made) as file:
            return {key: file[key] for key in file.files}


def _main(preset, given, made):
    from galzoo.probes import ask

    with np.load(given) as file:
        inputs = {key: file[key] for key in file.files}
    np.savez(made, **ask(load(preset), load_card(preset)["family"], inputs))


if __name__ == "__main__":
    _main(*sys.argv[1:])
