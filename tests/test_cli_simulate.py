"""`galzoo simulate scenes`, as a user meets it."""

import sys

import numpy as np
import pytest
from matplotlib.image import imread

import galzoo
from galzoo import cli
from tests.data.test_scenes import make_scenes

SMALL = ("--bands", "i", "--size", "32", "--psf-size", "15", "--radius", "1", "--processes", "1")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `galzoo simulate scenes ARGUMENTS` here and return its exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["galzoo", "simulate", "scenes", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return call


def test_scenes_and_picture_are_written(run, tmp_path):
    path, picture = tmp_path / "s.h5", tmp_path / "s.png"
    options = ("--n", 3, "--sources", 2, 3, "--magnitudes", 18, 24, "--seed", 5, "--psf-fwhm", 0.9, "--split", "test")
    code, out, err = run("-o", path, "--picture", picture, *SMALL, *options)
    assert (code, err) == (0, "")
    scenes = galzoo.Scenes.load(path)
    assert out.splitlines() == [f"3 scenes with {len(scenes.sources)} sources in {path}", f"picture: {picture}"]
    assert scenes.shape == (32, 32)
    assert set(scenes.catalogue["n_sources"]) <= {2, 3}
    assert set(scenes.catalogue["split"]) == {"test"}
    assert scenes.sources["mag_i"].value.min() >= 18
    assert scenes.meta["simulation"]["psf_fwhm"] == 0.9
    drawn = imread(picture)
    # White circles on dark sky: the picture is neither empty nor of one colour.
    assert drawn.shape[0] > 100
    assert np.std(drawn[..., :3]) > 0.05


@pytest.mark.parametrize("typed", [("18,25.5",), ("18:25.5",), (18, 25.5)])
def test_pairs_are_one_word_or_two(run, typed, monkeypatch):
    made = []
    monkeypatch.setattr("galzoo.simulate.scenes.make_scenes", lambda output, n, spec, *_, **__: made.append(spec))
    monkeypatch.setattr("galzoo.data.scenes_hdf5.read_header", lambda path: {"n_sources": 0})
    code, _, err = run("--magnitudes", *typed, "--sources", 2, 3, "--seed", 5, *SMALL)
    assert (code, err) == (0, "")
    assert (made[0].magnitude_range, made[0].n_sources, made[0].seed) == ((18.0, 25.5), (2, 3), 5)


def test_field_without_isolated(run, tmp_path):
    code, out, _ = run("-o", tmp_path / "f.h5", "--n", 1, *SMALL, "--density", 2000, "--no-isolated", "--stars", 0.5)
    assert code == 0
    field = galzoo.Scenes.load(tmp_path / "f.h5")
    assert field.isolated is None
    assert len(field.sources) > 8
    assert "picture" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--survey", "LST"), "unknown survey 'LST': did you mean 'LSST'"),
        (("--bands", "r,w"), "unknown band of LSST 'w'"),
        (("--sources", 3, 2), "n_sources is (3, 2)"),
        (("--magnitudes", 18), "--magnitudes is '18'; give two numbers, LOW,HIGH, e.g. 18,25.5"),
        (("--magnitudes", "18,faint"), "--magnitudes is '18,faint'; give two numbers"),
        (("--sources", "2,3.5"), "--sources is '2,3.5'; give two whole numbers, LOW,HIGH, e.g. 2,4"),
        (("--magnitudes", "18,24", 25), "unexpected extra argument"),
        (("--density", 9000), "isolated holds at most 16"),
        (("--catalog", "none.fits"), "none.fits: no such catalogue"),
        (("--real", "none.fits"), "none.fits: no such catalogue"),
        (("--n", 0), "Invalid value for '--n'"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, arguments, message):
    code, _, err = run("-o", tmp_path / "s.h5", *SMALL, *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


def test_scenes_are_drawn_with_their_stars():
    from galzoo.viz.scenes import STAR, scene_panel

    scenes = make_scenes(counts=(2, 0, 1))
    scenes.sources["kind"] = ["parametric", "star", "real"]
    figure = scene_panel(scenes, title="three")
    circles = [len(axis.patches) for axis in figure.axes]
    assert circles[:3] == [2, 0, 1]
    assert [axis.get_visible() for axis in figure.axes] == [True, True, True, False]
    from matplotlib.colors import to_hex

    assert [to_hex(circle.get_edgecolor()) == STAR for circle in figure.axes[0].patches] == [False, True]
    np.testing.assert_allclose(figure.axes[2].patches[0].center, scenes.positions()[0][2, 0], rtol=1e-5)
    with pytest.raises(galzoo.GalzooError, match="no scenes to draw"):
        scene_panel(scenes[[]])
