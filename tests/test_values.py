"""Values as they are typed: what YAML 1.1 would take for something else."""

import math

import numpy as np
import pytest

from galzoo.data.build_dataset import parse_options
from galzoo.errors import InputError, RecipeError
from galzoo.recipe import load_recipe
from galzoo.values import check_numbers, load_yaml, parse_value

AS_TYPED = ["/data/run #2/mine.h5", "/data/a: b/mine.h5", "~/data.h5", "007", "12:30:00", "2020-01-01", "*.fits", "&x",
            "!x", "- a", "? a", "| a", "@x", "%x", "`x", "C:\\x", "[old] x.h5", '"a" #b', "x=y", "a b # c", "key:",
            "1.5.2", "N", "y", "i"]  # fmt: skip


@pytest.mark.parametrize("text", AS_TYPED)
def test_text_stays_as_it_was_typed(text):
    assert parse_value(text) == text
    assert parse_options([f"source={text}"]) == {"source": text}
    assert load_recipe("vqvae", "smoke", [f"data.path={text}"]).data.path == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("-2", -2), ("1_000", 1000), (".5", 0.5), ("2.", 2.0), ("true", True), ("False", False),
     ("null", None), ("~", None), ("", None), ("inf", math.inf), ("[g, r, N]", ["g", "r", "N"]),
     ("{rate: 1e-4, n: [1, 2]}", {"rate": 1e-4, "n": [1, 2]}), ('"no"', "no"), ("'12'", "12"), ('"x #y"', "x #y"),
     ('["/a #b/c", d]', ["/a #b/c", "d"])],
)  # fmt: skip
def test_numbers_truths_lists_and_quotes(text, value):
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["no", "Yes", "off", "[no, se]", "[a #b]", "{path: /data/run #2}", "{a: 1, a: 2}", "[a, {]", "[1, 2", "{a: 1"],
)
def test_what_may_be_meant_in_two_ways_is_refused(text):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_value(text)
    with pytest.raises(InputError, match="option"):
        parse_options([f"source={text}"])
    with pytest.raises(RecipeError, match="--set"):
        load_recipe("vqvae", "smoke", [f"data.options.source={text}"])


def test_a_key_that_is_there_twice_is_refused_in_recipes(tmp_path):
    with pytest.raises(ValueError, match="'seed' is there twice"):
        load_yaml("runtime:\n  seed: 1\n  seed: 2\n")
    path = tmp_path / "mine.yaml"
    path.write_text("family: vqvae\nfamily: vqvae\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml.*twice"):
        load_recipe("vqvae", path)
    assert load_yaml("a: &x {b: 1}\nc:\n  <<: *x\n  d: 1e-2\n") == {"a": {"b": 1}, "c": {"b": 1, "d": 0.01}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": "two"}, "n is 'two'; give a whole number"),
        ({"n": 2.5}, "give a whole number"),
        ({"n": True}, "give a whole number"),
        ({"depth": "1"}, "depth is '1'; give a number"),
        ({"depth": False}, "give a number"),
        ({"noise": 1}, "give true or false"),
        ({"seed": -1}, "seed is -1; give 0 or more"),
    ],
)
def test_numbers_where_numbers_are_meant(options, message):
    with pytest.raises(InputError, match=message):
        check_numbers(options, {"n": 4, "depth": 1.0, "noise": True, "seed": 0}, "mine")


def test_what_has_no_number_for_default_may_be_anything():
    check_numbers({"n": np.int64(3), "depth": 2, "bands": "r", "size": None}, {"n": 4, "depth": 1.0, "size": 3}, "mine")
