"""New data to judge on: what is not on this machine is left out, and the log says so."""

import logging

import numpy as np
import pytest

import galzoo
from galzoo.contracts.suites import Request
from galzoo.errors import InputError
from galzoo.evaluate import held_out, run
from galzoo.registry import families, get_family, suites_of
from galzoo.simulate.scene_spec import SceneSpec
from galzoo.simulate.simulator import make_spec
from galzoo.simulate.stamps import StampSpec
from galzoo.tasks.deblend import suite
from tests.conftest import make_stamps

SIMULATED = [n for n in galzoo.list_presets() if galzoo.load_card(n)["recipe"]["data"]["name"] == "simulated"]


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The options with which data would be simulated, valid ones."""
    monkeypatch.setenv("GALZOO_CACHE", str(tmp_path))
    found = []
    monkeypatch.setattr("galzoo.data.build_dataset.make_named", lambda name, path, options: found.append(options))
    monkeypatch.setattr("galzoo.simulate.scenes.make_scenes", lambda path, n, spec, progress: found.append(spec))
    return found


@pytest.mark.parametrize("name", SIMULATED)
def test_every_preset_of_simulated_data_can_be_judged_without_data(name, made, caplog):
    data = galzoo.load_card(name)["recipe"]["data"]
    with caplog.at_level(logging.WARNING):
        held_out.new_stamps(data, name)
    options = {key: value for key, value in made[0].items() if key != "n"}
    assert options["seed"] != data["options"].get("seed", 0)
    assert make_spec(StampSpec, None, options).real_fraction == 0
    asked = data["options"].get("real_fraction", 0)
    assert ("real galaxies that were 10 %" in caplog.text) == (asked == 0.1)

    class Model:
        bands = tuple(galzoo.load_card(name)["data"]["bands"])

    suite.new_scenes(data, name, Model)
    assert isinstance(made[1], SceneSpec)
    assert made[1].real_fraction == 0


def test_files_that_are_there_are_used(tmp_path, caplog):
    (tmp_path / "real.fits").touch()
    options = {"real_galaxies": str(tmp_path / "real.fits"), "real_fraction": 0.5, "catalogue": "/no/such.fits"}
    kept = held_out.usable_options(options, "preset")
    assert kept == {"real_galaxies": str(tmp_path / "real.fits"), "real_fraction": 0.5}
    assert "/no/such.fits is not here" in caplog.text


def test_held_out_stamps_are_those_of_their_split(tmp_path):
    stamps = make_stamps(n=12)
    stamps.catalogue["split"] = np.array(["train", "valid", "test", "test"] * 3)
    stamps.catalogue["row"] = np.arange(12)
    stamps.catalogue["id"] = np.array(list("abccdeffgghh"))
    stamps.save(tmp_path / "stamps.h5")
    options = {"valid": 0.1, "test": 0.1, "seed": 0}
    rows = {
        name: list(held_out.held_out(tmp_path / "stamps.h5", name, options).catalogue["row"])
        for name in ("train", "valid", "test")
    }
    assert rows == {"train": [0, 4, 8], "valid": [1, 5, 9], "test": [2, 3, 6, 7, 10, 11]}
    once = held_out.held_out(tmp_path / "stamps.h5", "test", options, once=True)
    assert list(once.catalogue["row"]) == [2, 6, 10]
    # Evenly spread, from the first to the last.
    assert list(held_out.held_out(tmp_path / "stamps.h5", "test", options, limit=3).catalogue["row"]) == [2, 6, 11]
    np.testing.assert_array_equal(once.image, stamps.image[[2, 6, 10]])


@pytest.mark.parametrize(
    ("found", "said"), [(5, "5 of 12 stamps are held out, split 'test'"), (1, "1 of 12 stamps is held")]
)
def test_how_many_are_held_out_is_said_and_too_few_are_refused(found, said, tmp_path, caplog):
    stamps = make_stamps(n=12)
    stamps.catalogue["split"] = np.where(np.arange(12) < found, "test", "train")
    stamps.save(tmp_path / "stamps.h5")
    if found < 5:
        with pytest.raises(
            InputError, match=rf"stamps.h5: {said}.*too few to judge on; give 5 or more.*column 'split'"
        ):
            held_out.held_out(tmp_path / "stamps.h5", "test", {})
    else:
        assert len(held_out.held_out(tmp_path / "stamps.h5", "test", {}, limit=2)) == 2
        assert said in caplog.text
        caplog.clear()
        held_out.held_out(tmp_path / "stamps.h5", "train", {})
        assert not caplog.text


def test_stamps_of_one_galaxy_have_one_number():
    stamps = make_stamps(n=4)
    assert held_out.parents_of(stamps) is None
    stamps.catalogue["id"] = np.array(["b", "a", "b", "c"])
    number = held_out.parents_of(stamps)
    assert number[0] == number[2]
    assert len(set(number)) == 3


def request(**changes):
    empty = {"models": {}, "card": {}, "files": (), "real": (), "limit": None, "report": None}
    return Request(**{**empty, **changes})


def test_a_suite_of_one_file_refuses_two():
    assert held_out.stamp_file(request(files=("one.h5",))) == "one.h5"
    with pytest.raises(InputError, match="leave out --data two.h5"):
        held_out.stamp_file(request(files=("one.h5", "two.h5")))


def test_observed_images_that_a_suite_does_not_use_are_refused():
    held_out.refuse_real(request(), "truth is needed")
    with pytest.raises(InputError, match="truth is needed; leave out --real sky.h5"):
        held_out.refuse_real(request(real=("sky.h5",)), "truth is needed")


def test_the_suite_that_is_asked_for_goes_before_the_recipe_s():
    family = next(one for one in map(get_family, families()) if len(suites_of(one)) > 1)
    first, second = suites_of(family)[:2]
    card = {"family": family.name, "recipe": {"evaluate": {"suite": first.name}}}
    assert run.choose_suite(card) == first
    assert run.choose_suite(card, second.name) == second
    assert run.choose_suite({**card, "recipe": {"evaluate": {"suite": None}}}) == first


@pytest.mark.parametrize(("asked", "used"), [(None, 7), (3, 3)])
def test_as_many_objects_are_used_as_asked_or_as_the_recipe_says(tmp_path, monkeypatch, asked, used):
    name = galzoo.list_presets()[0]
    card = galzoo.load_card(name)
    card["recipe"]["evaluate"]["limit"] = 7
    monkeypatch.setattr("galzoo.presets.load_card", lambda _: card)
    monkeypatch.setattr(run, "_models", lambda *_: {})
    seen = []

    class Result:
        metrics = {}

        def tables(self):
            return {}

    monkeypatch.setattr(run, "import_object", lambda _: lambda request: seen.append(request.limit) or Result())
    run.evaluate(name, output=tmp_path, limit=asked)
    assert seen == [used]
