"""Options of other commands than those of a field (`tests/tasks/test_field_options.py`) reach what they are for."""

import sys
from pathlib import Path
from types import SimpleNamespace

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
        *("--batch-size", "17", "--no-report", "--conform", "--depth", "levels"),
    ]
    places, _ = call(target, *typed)
    told = {"unknown": ["?", "-1"], "least": 9}
    chosen = {"method": "knn", "prior": "equal", "test": 0.3, "views": 2, "seed": 5, "epochs": 4, "depth": "levels"}
    assert places[:5] == ("some", Path("stamps.h5"), Path("there"), "kind", Path("list.csv"))
    assert places[5:] == ("name", told, chosen, 17, False, True)


def test_classify_with_a_fitted_classifier(call, monkeypatch):
    monkeypatch.setattr("galzoo.tasks.classify.saved.is_classifier", lambda folder: True)
    target = "galzoo.tasks.classify.command._apply"
    places, _ = call(target, "classify", "fitted", "stamps.h5", "--views", "3", "--no-report")
    assert places == ("fitted", Path("stamps.h5"), Path("classified"), 3, None, 64, False, False)
    with pytest.raises(InputError, match="takes no labels"):
        call(target, "classify", "fitted", "stamps.h5", "--column", "kind")


@pytest.fixture
def stamps(monkeypatch):
    """Stand-ins for a preset and a stamp file, and what was asked of them."""
    from galzoo.data.stamps import Stamps

    asked = {}

    def load(path, rows=slice(None)):
        asked[str(path)] = rows
        return f"stamps of {path}"

    def in_domain(data, card, conform):
        asked["conform"] = conform
        return data

    monkeypatch.setattr(Stamps, "load", load)
    monkeypatch.setattr("galzoo.domain.in_domain", in_domain)
    monkeypatch.setattr("galzoo.presets.card_for", lambda *_: {})
    monkeypatch.setattr("galzoo.presets.load_for", lambda task, name, *_: f"model {name}")
    monkeypatch.setattr("galzoo.presets.load_card", lambda *_, **__: {})
    monkeypatch.setattr("galzoo.data.hdf5.read_header", lambda path: {"n": 40})
    return asked


def test_reconstruct(call, stamps):
    typed = ["reconstruct", "some", "a.h5", "--batch-size", "17", "--limit", "5", "--refine-steps", "3", "--conform"]
    places, named = call("galzoo.tasks.reconstruct.run.reconstruct", *typed)
    assert places == ("model some", "stamps of a.h5", 17)
    assert named["refine_steps"] == 3
    assert stamps == {"a.h5": slice(0, 5), "conform": True}
    with pytest.raises(InputError, match="--limit is 0"):
        call("galzoo.tasks.reconstruct.run.reconstruct", "reconstruct", "some", "a.h5", "--limit", "0")


def test_embed(call, stamps, monkeypatch):
    class Table:
        def __init__(self):
            self.read = []

    table = Table()
    monkeypatch.setattr("galzoo.domain.in_domain", lambda data, *_: SimpleNamespace(catalogue=table))
    monkeypatch.setattr("galzoo.viz.columns.read_column", lambda table, name: table.read.append(name))
    monkeypatch.setattr("galzoo.tasks.embed.neighbours.rows_of", lambda table, names: table.read.extend(names))
    typed = ["embed", "some", "a.h5", "--method", "pca", "--colour", "mag", "--limit", "9", "--seed", "4"]
    typed += ["--perplexity", "12", "--batch-size", "17", "--like", "g7"]
    places, _ = call("galzoo.tasks.embed.run.embed", *typed)
    assert places[0] == "model some"
    assert places[2:] == ("pca", 4, 12.0, 17)
    assert table.read == ["mag", "g7"]
    rows = stamps["a.h5"]
    assert len(set(rows)) == 9
    call("galzoo.tasks.embed.run.embed", *[part.replace("4", "5") if part == "4" else part for part in typed])
    assert list(stamps["a.h5"]) != list(rows)


def test_pages_of_an_embedding(call, stamps, monkeypatch):
    """What is written beside the map is written where it is asked for."""
    result = SimpleNamespace(features="features", notes=())
    monkeypatch.setattr("galzoo.domain.in_domain", lambda data, *_: SimpleNamespace(catalogue=None, name=data))
    monkeypatch.setattr("galzoo.tasks.embed.neighbours.rows_of", lambda *_: ())
    monkeypatch.setattr("galzoo.tasks.embed.run.embed", lambda *_, **__: result)
    target = "galzoo.tasks.embed.run.write_embedding"
    places, _ = call(target, "embed", "some", "a.h5", "-o", "there")
    assert places[1:] == (result, Path("there"), None, {"model": "some", "file": "a.h5", "depth": "vector"})
    monkeypatch.setattr(target, lambda *_: [])
    places, _ = call("galzoo.tasks.embed.neighbours.write_like", "embed", "some", "a.h5", "--like", "g7", "--like", "3")
    assert places[1:] == ("features", ["g7", "3"], Path("out"))
    monkeypatch.setattr("galzoo.tasks.embed.neighbours.write_like", lambda *_: [])
    monkeypatch.setattr("galzoo.tasks.embed.outliers.chi2_a_pixel", lambda model, data, size, _: ("chi2", size))
    target = "galzoo.tasks.embed.neighbours.write_strangest"
    places, _ = call(target, "embed", "some", "a.h5", "--outliers", "--seed", "3", "--batch-size", "9")
    assert places[1:] == ("features", ("chi2", 9), Path("out"), 3)
    monkeypatch.setattr("galzoo.inference.stamp_features.features", lambda model, data, *_, **__: (data.name, None))
    target = "galzoo.tasks.embed.neighbours.write_pairs"
    places, _ = call(target, "embed", "some", "a.h5", "--pairs", "b.h5")
    assert places[2:] == (("features", "stamps of b.h5"), Path("out"))


def test_sample(call, stamps, monkeypatch):
    """The prior is asked for what was typed, and the telescope looks at what it gave."""
    asked = {}
    prior = SimpleNamespace(sample=lambda number, **named: asked.update(named, number=number) or "drawn")
    monkeypatch.setattr("galzoo.presets.load_for", lambda *_: prior)
    monkeypatch.setattr("galzoo.simulate.observe.plan", lambda *_, **__: None)
    monkeypatch.setattr("galzoo.tasks.sample.run.class_names", lambda card: {})
    monkeypatch.setattr("galzoo.tasks.sample.run.parse_conditions", lambda texts, *_: {"of": texts})
    target = "galzoo.simulate.observe.observe"
    typed = ["sample", "some", "-n", "7", "-c", "mag=23", "-c", "size=1:2", "--seed", "5", "--temperature", "0.8"]
    typed += ["--top-k", "9", "--guidance", "1.5", "--survey", "HSC", "--bands", "i", "--noise", "--size", "40"]
    places, _ = call(target, *typed, "--depth", "0.5", "--psf", "p.fits", "--batch-size", "3")
    assert places == ("drawn", "HSC", "i", True, 40, 5, 0.5, [Path("p.fits")])
    told = {"number": 7, "condition": {"of": ["mag=23", "size=1:2"]}, "seed": 5, "batch_size": 3, "progress": True}
    assert asked == told | {"temperature": 0.8, "top_k": 9, "guidance": 1.5}
    asked.clear()
    assert call(target, "sample", "some")[0] == ("drawn", None, None, False, None, 0, 1.0, None)
    # A prior that has no temperature is not told of one.
    assert set(asked) == set(told)
    with pytest.raises(InputError, match="--depth .* add --noise"):
        call(target, "sample", "some", "--survey", "HSC", "--depth", "0.5")


def test_train_starts_from_another_model_and_takes_wheels_along(call, monkeypatch):
    monkeypatch.setattr("galzoo.presets.load", lambda name: f"model {name}")
    monkeypatch.setattr("galzoo.data.build_dataset.prepare", lambda data: Path("made.h5"))
    typed = ["train", "vqvae", "--recipe", "smoke", "-o", "there"]
    places, named = call("galzoo.train.train", *typed, "--init", "some", "--set", "stages.0.epochs=7")
    assert places[0]["stages"][0]["epochs"] == 7
    assert places[1:] == (Path("made.h5"), Path("there"))
    assert named == {"resume": False, "init": "model some"}
    assert call("galzoo.train.train", *typed)[1]["init"] is None
    target = "galzoo.bundle.write_bundle"
    places, _ = call(target, *typed, "--bundle", "job.tar", "--wheels", "wheels")
    assert places[1:] == (Path("made.h5"), Path("job.tar"), Path("wheels"))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--wheels", "wheels"], "--wheels .* add --bundle"),
        (["--bundle", "job.tar", "--init", "some"], "--init .* --bundle"),
        (["--resume", "--init", "some"], "--init .* --resume"),
    ],
)
def test_what_would_be_ignored_in_training_is_refused(call, typed, message):
    with pytest.raises(InputError, match=message):
        call("galzoo.train.train", "train", "vqvae", "--recipe", "smoke", *typed)


@pytest.mark.parametrize("typed", [("20,26",), ("20:26",), ("20", "26")])
def test_pairs_are_one_word_or_two_and_leave_files_alone(call, typed):
    target = "galzoo.tasks.detect.run.detect_field"
    places, named = call(target, "detect", "a.fits", "--inject-magnitudes", *typed, "b.fits")
    assert places[0] == ["a.fits", "b.fits"]
    assert named["settings"].inject_magnitudes == (20.0, 26.0)
