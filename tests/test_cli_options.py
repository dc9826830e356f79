"""Options of other commands than those of a field (`tests/tasks/test_field_options.py`) reach what they are for."""

import sys
from pathlib import Path

import pytest

from galzoo import cli
from galzoo.errors import InputError


@pytest.fixture
def call(monkeypatch):
    """Run a command up to the function that it calls, named by its path, and return that one's arguments."""

    class ReachedError(Exception):
        pass

    def run(target, *typed):
        def reached(*places, **named):
            raise ReachedError(places, named)

        monkeypatch.setattr(target, reached)
        monkeypatch.setattr(sys, "argv", ["galzoo", *typed])
        with pytest.raises(ReachedError) as seen:
            cli.app(standalone_mode=False)
        return seen.value.args

    return run


def typed_of(options):
    return [part for option, (text, _) in options.items() for part in (f"--{option}", *text.split(" ")) if part]


def test_cutouts(call):
    options = {
        "catalog": ("list.csv", Path("list.csv")), "size": ("48", 48), "bands": ("g,r", ["g", "r"]),
        "weight": ("w.fits", ["w.fits"]), "rms": ("n.fits", ["n.fits"]), "segmentation": ("s.fits", "s.fits"),
        "flags": ("f.fits", "f.fits"), "psf": ("p.fits", [Path("p.fits")]), "zero-point": ("27,28", [27.0, 28.0]),
        "pixel-scale": ("0.3", 0.3), "columns": ("x=X_IMAGE,y=Y_IMAGE", {"x": "X_IMAGE", "y": "Y_IMAGE"}),
        "where": ("mag<24", "mag<24"),
    }  # fmt: skip
    target = "galzoo.field.cutouts.cutouts_from_files"
    places, named = call(target, "data", "cutouts", "a.fits", "b.fits", "-o", "c.h5", *typed_of(options))
    assert places == (["a.fits", "b.fits"], Path("c.h5"))
    names = {"catalog": "catalogue"}
    assert {option: named[names.get(option, option.replace("-", "_"))] for option in options} == {
        option: value for option, (_, value) in options.items()
    }
    assert call(target, "data", "cutouts", "a.fits", "--detect")[1]["catalogue"] is None
    for arguments in (["--detect", "--catalog", "list.csv"], []):
        with pytest.raises(InputError, match="either --catalog FILE or --detect"):
            call(target, "data", "cutouts", "a.fits", *arguments)


def test_scenes(call):
    options = {
        "survey": ("HSC", ("survey", "HSC")), "bands": ("g,i", ("bands", ("g", "i"))),
        "reference": ("g", ("reference", "g")), "size": ("100", ("stamp_size", 100)),
        "psf-size": ("31", ("psf_size", 31)), "sources": ("2 3", ("n_sources", (2, 3))),
        "radius": ("1.5", ("max_radius", 1.5)), "separation": ("0.4", ("min_separation", 0.4)),
        "centred": ("", ("centred", True)), "magnitudes": ("19 24", ("magnitude_range", (19.0, 24.0))),
        "stars": ("0.25", ("stars_fraction", 0.25)), "structure": ("0.75", ("structure", 0.75)),
        "depth": ("0.5", ("depth", 0.5)), "psf-fwhm": ("0.6", ("psf_fwhm", 0.6)),
        "catalog": ("cat.fits", ("catalogue", "cat.fits")), "real": ("real.fits", ("real_galaxies", "real.fits")),
        "real-fraction": ("0.5", ("real_fraction", 0.5)), "real-limit": ("23", ("real_magnitude_limit", 23.0)),
        "split": ("test", ("split", "test")), "no-isolated": ("", ("isolated", False)), "seed": ("7", ("seed", 7)),
    }  # fmt: skip
    target = "galzoo.simulate.scenes.make_scenes"
    typed = ["simulate", "scenes", "-o", "there.h5", "-n", "9", "--processes", "3", *typed_of(options)]
    places, _ = call(target, *typed)
    assert (places[0], places[1], places[3]) == (Path("there.h5"), 9, 3)
    for option, (_, (field, value)) in options.items():
        assert getattr(places[2], field) == value, option
    assert call(target, "simulate", "scenes", "--density", "40", "--no-isolated")[0][2].density == 40
    # Real galaxies are used only where there are such.
    assert call(target, "simulate", "scenes")[0][2].real_fraction == 0


def test_classify(call):
    target = "galzoo.tasks.classify.command._fit"
    typed = [
        *("classify", "some", "stamps.h5", "-o", "there", "--column", "kind", "--labels", "list.csv"),
        *("--match", "name", "--unknown", "?", "--unknown", "-1", "--least", "9", "--method", "knn"),
        *("--prior", "equal", "--test", "0.3", "--views", "2", "--epochs", "4", "--seed", "5"),
        *("--batch-size", "17", "--no-report", "--conform"),
    ]
    places, _ = call(target, *typed)
    told = {"unknown": ["?", "-1"], "least": 9}
    chosen = {"method": "knn", "prior": "equal", "test": 0.3, "views": 2, "seed": 5, "epochs": 4}
    assert places[:5] == ("some", Path("stamps.h5"), Path("there"), "kind", Path("list.csv"))
    assert places[5:] == ("name", told, chosen, 17, False, True)


def test_classify_with_a_fitted_classifier(call, monkeypatch):
    monkeypatch.setattr("galzoo.tasks.classify.saved.is_classifier", lambda folder: True)
    target = "galzoo.tasks.classify.command._apply"
    places, _ = call(target, "classify", "fitted", "stamps.h5", "--views", "3", "--no-report")
    assert places == ("fitted", Path("stamps.h5"), Path("classified"), 3, 64, False, False)
    with pytest.raises(InputError, match="takes no labels"):
        call(target, "classify", "fitted", "stamps.h5", "--column", "kind")
