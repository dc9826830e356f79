"""Simulated `Scenes` and files of them.

Scene k depends on the specification and k alone, so that a file is the same for any number of processes, whether it was
interrupted or not, and a longer file begins with the shorter one.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np

from galzoo.data.scenes import Scenes
from galzoo.data.scenes_hdf5 import ScenesWriter, read_header
from galzoo.errors import InputError
from galzoo.files import check_hdf5, expanded, write_json
from galzoo.progress import counter
from galzoo.simulate.scene_simulator import SceneSimulator
from galzoo.simulate.scene_spec import SceneSpec
from galzoo.simulate.simulator import make_spec
from galzoo.simulate.workers import run_parts

_PART_VALUES = 1 << 22
"""A part of a file has about so many values, 16 MiB: what an interruption can cost, and what memory holds."""


def simulate_scenes(spec, rows):
    """Return simulated scenes.

    Parameters
    ----------
    spec : SceneSpec
        What to simulate.
    rows : iterable of int
        Numbers of the scenes; each number is always the same scene.

    Returns
    -------
    Scenes
        Image, variance, PSF, sources and (unless left out) each source alone, in nJy.

    Examples
    --------
    >>> scenes = simulate_scenes(SceneSpec(survey="LSST", bands=["r", "i"], n_sources=(2, 3)), range(4))
    >>> scenes.image.shape
    (4, 120, 120, 2)
    """
    return SceneSimulator(spec).simulate(rows)


def make_scenes(output, n=1000, spec=None, processes=None, progress=True, **changes):
    """Simulate `n` scenes into an HDF5 file.

    What is finished is kept in the folder ``<output>.parts`` until all is: the same call after an interruption goes on
    from there, and the file is the same to the last byte.

    Parameters
    ----------
    output : str or Path
        The file to make; it appears only when complete.
    n : int
        Number of scenes.
    spec : SceneSpec, optional
        What to simulate.
    processes : int, optional
        Worker processes; one for each core by default. The file does not depend on it.
    progress : bool
        Show a bar.
    **changes
        Fields of `SceneSpec` that differ from `spec`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a setting is wrong, or if the folder of parts is that of another simulation.
    """
    if n < 1:
        raise InputError(f"n is {n}; give at least one scene")
    check_hdf5(output)
    spec = make_spec(SceneSpec, spec, changes)
    output = Path(expanded(output))
    folder = output.with_name(f"{output.name}.parts")
    size = spec.stamp_size**2 * len(spec.bands) * (3 + spec.isolated * spec.mean_number)
    step = int(np.clip(_PART_VALUES // size, 1, 32))
    parts = [(range(start, min(start + step, n)), folder / f"{start:08d}.h5") for start in range(0, n, step)]
    with _kept(folder, spec), counter(n, f"{spec.survey} {spec.stamp_size} px", progress) as advance:
        todo = [part for part in parts if not _complete(*part)]
        advance(n - sum(len(rows) for rows, _ in todo))
        for count in run_parts(_simulating, (spec,), todo, processes):
            advance(count)
        with ScenesWriter(output) as writer:
            for _, path in parts:
                writer.write(Scenes.load(path))
    shutil.rmtree(folder)
    return output


@contextlib.contextmanager
def _kept(folder, spec):
    """Make the folder of parts, or check that it is of the same simulation; without any part it does not stay."""
    wanted, note = json.loads(json.dumps(spec.to_dict())), folder / "spec.json"
    if note.is_file():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        if found != wanted:
            odd = next((key for key in wanted if found.get(key) != wanted[key]), "")
            raise InputError(
                f"{folder}: holds parts of an interrupted simulation with another {odd}; delete it, or ask for the same"
            )
    else:
        write_json(note, wanted)
    try:
        yield
    finally:
        if not any(folder.glob("*.h5")):
            shutil.rmtree(folder, ignore_errors=True)


def _complete(rows, path):
    try:
        return read_header(path)["n"] == len(rows)
    except InputError:
        return False


def _simulating(spec):
    simulator = SceneSimulator(spec)

    def work(part):
        rows, path = part
        simulator.simulate(rows).save(path)
        return len(rows)

    return work
