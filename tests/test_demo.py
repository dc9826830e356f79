"""The demo's picture is cut in the bands that its presets take."""

import importlib.util
from pathlib import Path

import galzoo
from galzoo.tasks.reconstruct.picture import deep_field

SCRIPT = Path(__file__).parents[1] / "scripts" / "demo.py"


def test_presets_of_the_demo_take_the_bands_that_its_picture_is_cut_in():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    for name in (demo.PRESET, demo.PRIOR):
        assert tuple(galzoo.load_card(name)["data"]["bands"]) == demo.BANDS


def test_stamps_of_the_deep_field_have_the_bands_of_the_model():
    stamps = deep_field(64, ("i", "r", "g"))
    assert stamps.bands == ("i", "r", "g")
    assert len(stamps) > 5
