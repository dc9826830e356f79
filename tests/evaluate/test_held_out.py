"""New data to judge on: what is not on this machine is left out, and the log says so."""

import logging

import pytest

import galzoo
from galzoo.evaluate import held_out
from galzoo.simulate.scene_spec import SceneSpec
from galzoo.simulate.simulator import make_spec
from galzoo.simulate.stamps import StampSpec
from galzoo.tasks.deblend import suite

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
