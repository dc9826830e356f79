"""What other packages bring is found, listed, trained, scored, carded and run without an edit here."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galzoo import cli, registry
from galzoo.cards import write_readme
from galzoo.data.hdf5 import read_columns
from galzoo.data.open_source import read_header
from galzoo.presets import write_preset
from tests.scenes import make_scenes
from tests.test_docs import FILE, ROOT, blocks

CACHED = (registry.families, registry.tasks, registry.suites, registry.datasets)


def install(folder, name, entry_points):
    """Make the packages in `folder` known as pip would."""
    about = folder / f"{name}-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in entry_points.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(groups))


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Return the folder on the path that packages are put into."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("GALZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for found in CACHED:
        found.cache_clear()
    yield folder
    for found in CACHED:
        found.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] in ("galaxy_grader", "spot_finder")]:
        del sys.modules[name]


@pytest.fixture
def galzoo(monkeypatch, capsys):
    """Run `galzoo ARGUMENTS` in this process and return what it says."""

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["galzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return captured.out

    return run


def write_grader(folder):
    """Write the package of CONTRIBUTING.md."""
    for body in blocks(ROOT / "CONTRIBUTING.md", "python", "yaml", "markdown"):
        first = FILE.match(body)
        path = folder / first[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body[first.end() :])
    (project,) = blocks(ROOT / "CONTRIBUTING.md", "toml")
    install(folder, "galaxy_grader", tomllib.loads(project)["project"]["entry-points"])


def to_preset(run, metrics, path, folder):
    """Make a preset of a run and return its card and its README."""
    card = write_preset(run, folder, metrics, read_header(path), "2026-01-01")
    write_readme(folder, card)
    return card, (folder / "README.md").read_text(encoding="utf-8")


def test_a_classifier_of_stamps(installed, galzoo, tmp_path):
    write_grader(installed)
    listed = json.loads(galzoo("list", "--json"))
    assert listed["families"]["grader"]["recipes"] == ["default", "smoke"]
    assert "grade" in listed["tasks"]
    assert "Sort stamps into classes" in galzoo("--help")
    said = galzoo("train", "grader", "--recipe", "smoke", "-o", "run", "--set", "data.options.n=80")
    data = re.search(r"--data (\S+?)`", said)[1]
    assert f"galzoo grade run {data}" in said
    assert "accuracy" in galzoo("evaluate", "run", "--data", data, "-o", "scores")
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    card, readme = to_preset(tmp_path / "run", metrics, data, tmp_path / "preset")
    assert card["metrics"]["suite"] == "grades"
    assert "accuracy" in readme
    galzoo("grade", "preset", data, "-o", "grades.ecsv")
    table = Table.read(tmp_path / "grades.ecsv")
    assert list(table["id"]) == list(read_columns(data)["id"])
    np.testing.assert_allclose(table["p_0"] + table["p_1"], 1, rtol=1e-5)


def write_field(path, seed=5, shape=(150, 170)):
    """Write a field of round sources on a rotated WCS, and return their pixel positions."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[20:140:25, 20:155:27].reshape(2, -1) + random.uniform(-3, 3, (2, 25))
    rows, columns = np.indices(shape)
    image = random.normal(size=shape)
    for at_x, at_y in zip(x, y, strict=True):
        image += 150 * np.exp(-0.5 * ((columns - at_x) ** 2 + (rows - at_y) ** 2) / 4)
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.ctype = (30, 90), (150, 2), ("RA---TAN", "DEC--TAN")
    turn = np.radians(25)
    wcs.wcs.cd = 0.2 / 3600 * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    header = wcs.to_header()
    header["MAGZERO"] = 31.4
    fits.writeto(path, image.astype(np.float32), header)
    return x, y, wcs


def test_a_detector_in_scenes(installed, galzoo, tmp_path):
    shutil.copytree(Path(__file__).parent / "plugins" / "spot_finder", installed / "spot_finder")
    entries = {"galzoo.families": {"a": "spot_finder:FAMILY"}, "galzoo.tasks": {"b": "spot_finder:TASK"}}
    install(installed, "spot_finder", entries)
    assert "spot_finder" in json.loads(galzoo("list", "--json"))["families"]
    make_scenes(n=120, size=40, bands=("r",)).save(tmp_path / "scenes.h5")
    said = galzoo("train", "spot_finder", "--recipe", "smoke", "-o", "run")
    assert "galzoo spot run FIELD.fits" in said
    galzoo("evaluate", "run", "--data", "scenes.h5", "-o", "scores")
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["completeness"] > 0.4
    preset = installed / "spot_finder" / "presets" / "spots_test"
    _, readme = to_preset(tmp_path / "run", metrics, tmp_path / "scenes.h5", preset)
    assert "completeness" in readme
    # What a package brings as a preset loads by name.
    assert "spots_test" in json.loads(galzoo("list", "--json"))["presets"]
    x, y, wcs = write_field(tmp_path / "field.fits")
    galzoo("spot", "spots_test", "field.fits", "--bands", "r", "-o", "spots.ecsv")
    table = Table.read(tmp_path / "spots.ecsv")
    ra, dec = wcs.all_pix2world(x, y, 0)
    offset = np.hypot((table["ra"][None] - ra[:, None]) * np.cos(np.radians(2)), table["dec"][None] - dec[:, None])
    assert np.mean(offset.min(axis=1) * 3600 < 2 * 0.2) > 0.8
    assert np.mean(offset.min(axis=0) * 3600 < 2 * 0.2) > 0.8


def test_a_detector_takes_no_stamps(installed, tmp_path):
    from galzoo.data.training_sources import training_sources

    from galzoo.errors import InputError
    from tests.conftest import make_stamps

    shutil.copytree(Path(__file__).parent / "plugins" / "spot_finder", installed / "spot_finder")
    install(installed, "spot_finder", {"galzoo.families": {"a": "spot_finder:FAMILY"}})
    make_stamps(n=20).save(tmp_path / "stamps.h5")
    data = {"split": {}, "label": None, "condition": [], "limit": None}
    with pytest.raises(InputError, match="stamps.h5: holds stamps; spot_finder trains on scenes"):
        training_sources(tmp_path / "stamps.h5", data, registry.get_family("spot_finder"))


@pytest.mark.slow
def test_the_conformance_suites_take_plug_ins(installed, tmp_path):
    write_grader(installed)
    files = [f"tests/{name}.py" for name in ("test_families", "test_tasks")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", "grade"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:]
