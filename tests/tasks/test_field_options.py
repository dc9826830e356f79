"""Every option of the commands that take a field reaches what it is for, under the name that it has there."""

import sys
from pathlib import Path

import pytest
from typer.main import get_command

from galzoo import cli, options
from galzoo.errors import InputError

# As typed, and what is passed on.
SHARED = {
    "bands": ("g, r", ["g", "r"]),
    "as": ("u,-", ["u", "-"]),
    "rms": ("noise.fits", ["noise.fits"]),
    "weight": ("weight.fits", ["weight.fits"]),
    "variance": ("variance.fits", ["variance.fits"]),
    "flags": ("flags.fits", ["flags.fits"]),
    "zero-point": ("g=27,r=27.5", {"g": 27.0, "r": 27.5}),
    "pixel-scale": ("0.25", 0.25),
    "saturation": ("6e4,5e4", [6e4, 5e4]),
    "no-background": (None, False),
    "preset": ("some", "some"),
}
NAMED = {"as": "names", "no-background": "subtract_sky", "catalog": "catalogue"}
PSF = {"psf": ("psf.fits", [Path("psf.fits")]), "seeing": ("0.7", 0.7)}
COLUMNS = {"columns": ("ra=RA_ICRS, dec=DE_ICRS", {"ra": "RA_ICRS", "dec": "DE_ICRS"})}
SET = {"no-report": (None, {"report": False}), "tile": ("512", {"tile": 512})}
COMMANDS = {
    "deblend": (
        "galzoo.tasks.deblend.run.deblend_field",
        {
            **SHARED, **PSF, **COLUMNS, "method": ("encoder", "encoder"), "detector": ("other", "other"),
            "catalog": ("list.csv", Path("list.csv")), "restart": (None, True), "prior": ("pixels", "pixels"),
            "conform": (None, True),
        },
        {
            **SET, "threshold": ("7", {"threshold": 7.0}), "no-add-sources": (None, {"add_sources": False}),
            "stamp-size": ("32", {"stamp_size": 32}),
        },
    ),
    "detect": (
        "galzoo.tasks.detect.run.detect_field",
        {
            **SHARED, **PSF, **COLUMNS, "truth": ("list.csv", Path("list.csv")), "restart": (None, True),
            "gain": ("4.5", 4.5),
        },
        {
            **SET, "threshold": ("0.75", {"threshold": 0.75}), "match": ("2", {"match": 2.0}),
            "inject": ("9", {"inject": 9}), "inject-magnitudes": ("20,26", {"inject_magnitudes": (20.0, 26.0)}),
            "inject-kind": ("star", {"inject_kind": "star"}), "samples": ("7", {"samples": 7}),
            "daophot": (None, {"daophot": True}), "coco": (None, {"coco": True}),
            "refine": (None, {"refine": True}), "faintest": ("22.25", {"faintest": 22.25}),
        },
    ),
    "segment": (
        "galzoo.tasks.segment.run.segment_field",
        SHARED,
        {
            **SET, "threshold": ("0.75", {"threshold": 0.75}), "stride": ("3", {"stride": 3}),
            "distance": ("9", {"distance": 9}), "band": ("r", {"band": "r"}),
        },
    ),
    "screen": (
        "galzoo.tasks.screen.field.screen_field",
        {**SHARED, **PSF, **COLUMNS},
        {
            "no-report": (None, {"report": False}), "prevalence": ("0.3", {"prevalence": 0.3}),
            "passes": ("7", {"passes": 7}), "seed": ("5", {"seed": 5}), "size": ("31", {"size": 31}),
            "where": ("mag<24", {"where": "mag<24"}),
        },
    ),
}  # fmt: skip


@pytest.fixture
def call(monkeypatch):
    """Run a command and return the positional and named arguments of the function that it calls."""

    def run(name, *typed):
        seen = []
        monkeypatch.setattr(COMMANDS[name][0], lambda *places, **named: seen.append((places, named)) or [])
        files = ["field.fits", "list.csv"] if name == "screen" else ["field.fits"]
        monkeypatch.setattr(sys, "argv", ["galzoo", name, *files, *typed])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return seen[0] if seen else ended.value.code

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_arrives(name, call):
    _, passed, settings = COMMANDS[name]
    typed = [part for option, (text, _) in (passed | settings).items() for part in (f"--{option}", text) if part]
    places, named = call(name, *typed, "-o", "there")
    assert places[0] in ("field.fits", ["field.fits"])
    assert places[-1] == Path("there")
    for option, (_, value) in passed.items():
        assert named[NAMED.get(option, option.replace("-", "_"))] == value, option
    for option, (_, wanted) in settings.items():
        for setting, value in wanted.items():
            assert getattr(named["settings"], setting) == value, option


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_passed_on_that_was_not_asked_for(name, call):
    _, named = call(name)
    assert named["settings"] == type(named["settings"])()
    for option in COMMANDS[name][1]:
        at_rest = {"no-background": True, "method": "map", "restart": False, "conform": False, "gain": None}.get(option)
        assert named.get(NAMED.get(option, option.replace("-", "_"))) == at_rest, option


def test_an_option_of_one_name_is_the_same_in_every_command():
    group = get_command(cli.app)
    with group.make_context("galzoo", [], resilient_parsing=True) as context:
        found = {name: group.get_command(context, name).params for name in COMMANDS}
    for option in (*SHARED, *PSF):
        if option != "preset":
            said = {
                one.help
                for params in found.values()
                for one in params
                if f"--{option}" in (*one.opts, *one.secondary_opts)
            }
            assert len(said) == 1, option


def test_options_that_cannot_be_read_are_refused():
    nothing = {"bands": None, "names": None, "weight": None, "rms": None, "variance": None, "flags": None,
               "zero_point": None, "pixel_scale": None, "background": True, "saturation": None}  # fmt: skip
    for changes, message in (
        ({"names": "g,r"}, "--as renames --bands"),
        ({"bands": "g,,r"}, "--bands is 'g,,r'"),
        ({"bands": ""}, "--bands is ''"),
        ({"bands": "g,r", "names": "g,"}, "--as is 'g,'"),
        ({"zero_point": "bright"}, "--zero-point is bright"),
        ({"saturation": "g=1,2"}, "--saturation is g=1,2"),
        ({"gain": "much"}, "--gain is much"),
    ):
        with pytest.raises(InputError, match=message):
            options.field_options(**nothing | changes)
    with pytest.raises(InputError, match="--columns names ra twice; give each role one column"):
        options.column_names("ra=RA,dec=DEC,ra=RA_2")
    for text in ("ra", "ra=", "=RA", "ra=RA,dec"):
        with pytest.raises(InputError, match="--columns is"):
            options.column_names(text)
