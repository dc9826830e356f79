"""A bundle: all that a training needs on a machine with JAX and little else, in one folder or tar file."""

import json
import shutil
import tarfile
import tempfile
from pathlib import Path

from galzoo.errors import InputError
from galzoo.files import check_folder_name
from galzoo.parts import PREFIX
from galzoo.presets import MODEL_FILE, find_preset

LARGEST = 64 * 2**20
# Keras and what it needs beside NumPy and h5py, which the machine must have, as it must have JAX.
WHEELS = "keras", "namex", "optree", "absl_py", "rich", "markdown_it_py", "mdurl", "pygments", "packaging"
_RUN = """#!/bin/sh
# Trains on the machine's JAX (with numpy and h5py) and writes the folder run; the same again goes on after a kill.
set -e
cd "$(dirname "$0")"
export KERAS_BACKEND=jax
for wheel in wheels/*.whl; do
    [ -e "$wheel" ] || continue
    python3 -m pip install --quiet --no-deps --no-index --target packages "$wheel" || echo "not installed: $wheel"
done
export PYTHONPATH="$PWD:$PWD/packages"
resume=""
[ -e run/state.h5 ] && resume=--resume
exec python3 -m galzoo.train recipe.json --data data.h5 --output run $resume
"""


def write_bundle(recipe, data_path, output, wheels=None):
    """Write a bundle.

    Parameters
    ----------
    recipe : galzoo.recipe.Recipe
    data_path : str or Path
        File of stamps or scenes that the recipe trains on; the recipe's ``data.valid_path`` goes with it.
    output : str or Path
        A ``.tar`` file, or a folder that does not exist yet.
    wheels : str or Path, optional
        Folder with wheels; those of Keras and of what it needs, the last of each, are taken along.

    Returns
    -------
    int
        Size in bytes.

    Raises
    ------
    InputError
        If it would be larger than 64 MiB, or `output`, the data or a part of the model cannot be had.
    """
    output = Path(output)
    if output.exists():
        raise InputError(f"{output}: is there already; give another name")
    if output.suffix != ".tar":
        check_folder_name(output)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / output.stem
        folder.mkdir()
        content = recipe.resolved()
        content["parts"] = _with_parts(content["parts"], folder / "parts")
        files = {"data.h5": data_path}
        content["data"]["path"] = "data.h5"
        if content["data"]["valid_path"] is not None:
            files["valid.h5"] = content["data"]["valid_path"]
            content["data"]["valid_path"] = "valid.h5"
        (folder / "recipe.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        (folder / "run.sh").write_text(_RUN, encoding="utf-8")
        (folder / "run.sh").chmod(0o755)
        _copy_source(folder / "galzoo")
        _copy_wheels(wheels, folder / "wheels")
        rest, data = _size(folder), sum(_size_of(path) for path in files.values())
        if rest + data > LARGEST:
            share = max(LARGEST - rest, 0) / data
            raise InputError(
                f"{data_path}: has {data / 2**20:.1f} MiB, and a bundle of it {(rest + data) / 2**20:.1f} of at most "
                f"{LARGEST / 2**20:.0f}; make the file with fewer objects, about {100 * share:.0f} % of them"
            )
        for name, path in files.items():
            shutil.copyfile(path, folder / name)
        if output.suffix == ".tar":
            output.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(output, "w") as archive:
                archive.add(folder, arcname=output.stem)
        else:
            shutil.copytree(folder, output)
        return rest + data


def _with_parts(parts, folder):
    """Copy the models that a recipe names as parts into the bundle, and return where they lie there."""
    found = {}
    for name, value in parts.items():
        if value.startswith(PREFIX):
            raise InputError(f"parts.{name}={value!r}: train it first, and give the folder of its run")
        preset = find_preset(value)
        (folder / name).mkdir(parents=True)
        shutil.copyfile(preset / MODEL_FILE, folder / name / MODEL_FILE)
        found[name] = f"parts/{name}"
    return found


def _copy_source(folder):
    """Copy galzoo's own modules, which are small: what training imports differs from family to family."""
    shutil.copytree(
        Path(__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__", "zoo_configs", "pretrained")
    )


def _copy_wheels(wheels, folder):
    if wheels is None:
        return
    found = [path for name in WHEELS for path in sorted(Path(wheels).glob(f"{name}-*.whl"))[-1:]]
    if not found:
        raise InputError(f"{wheels}: has no wheel of {', '.join(WHEELS[:3])}; get them with `pip download keras`")
    folder.mkdir()
    for path in found:
        shutil.copyfile(path, folder / path.name)


def _size_of(path):
    try:
        return Path(path).stat().st_size
    except OSError:
        raise InputError(f"{path}: no such file; mend data.path or data.valid_path") from None


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
