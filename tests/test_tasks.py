"""The conformance suite of tasks: every task of the registry, shipped or brought by another package, must pass it."""

import importlib.metadata
import json
import subprocess
import sys

import pytest
import typer

import galzoo
from galzoo import registry
from galzoo.contracts.suites import Result
from galzoo.errors import InputError, UnknownNameError
from galzoo.evaluate.run import choose_suite, result_of
from galzoo.registry import Family, Suite, Task, families, get_family, get_task, import_object, suites, tasks

ROLES = [(family.name, task, role) for family in families().values() for task, role in family.roles()]


def test_descriptors_need_no_back_end():
    code = (
        "import sys, json; from galzoo.registry import tasks, suites; tasks(); suites();"
        "print(json.dumps([m for m in ('keras', 'tensorflow', 'jax', 'numpy', 'astropy') if m in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []


@pytest.mark.parametrize("name", tasks())
def test_descriptor(name):
    task = get_task(name)
    assert callable(import_object(task.run))
    for role in task.roles:
        assert task.protocol(role).__doc__
    if task.command:
        application = typer.Typer()
        application.command(name)(import_object(task.command))
        assert typer.main.get_command(application).params
        assert task.help
    if task.next:
        assert name in task.next.format(preset="PRESET", data="DATA")
    with pytest.raises(UnknownNameError, match="unknown role"):
        task.protocol("nobody")


@pytest.mark.parametrize("name", suites())
def test_suite(name):
    suite = suites()[name]
    assert callable(import_object(suite.run))
    assert issubclass(import_object(suite.result), Result)
    for task, role in suite.roles():
        assert role in get_task(task).roles
    assert any(suite.judges(family) for family in families().values())


@pytest.mark.parametrize(("family", "task", "role"), ROLES)
def test_models_fulfil_the_protocols_of_their_roles(family, task, role):
    model = get_family(family).model_class().tiny(bands=("r",))
    assert isinstance(model, get_task(task).protocol(role))


@pytest.mark.parametrize("name", galzoo.list_presets())
def test_cards_show_their_scores(name):
    result = result_of(galzoo.load_card(name)["metrics"])
    assert all(rows for rows in result.tables().values())
    assert result.headline()


def test_suites_are_for_the_roles_that_they_name():
    def card(family, suite):
        return {"family": family, "recipe": {"evaluate": {"suite": suite}}}

    assert choose_suite(card("vqvae", None)).name == "reconstruction"
    assert choose_suite(card("branched_gan", "pairs")).name == "pairs"
    with pytest.raises(InputError, match="not vae_deblender; use deblend"):
        choose_suite(card("vae_deblender", "pairs"))


class Entry:
    """An entry point of another package."""

    value, group = "other.package:THING", "galzoo.families"

    def __init__(self, thing):
        self.thing = thing

    def load(self):
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


@pytest.fixture
def plug_in(monkeypatch):
    """Return a function that finds all families or tasks with some entry points."""

    def find(kind, *things):
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Entry(thing) for thing in things])
        return registry._discover({"Family": "models", "Task": "tasks"}[kind.__name__], kind)

    return find


class TestPlugIns:
    def family(self, name):
        return Family(
            name=name, title="", model="other.model:Model", tasks=("count", "deblend:detector"), keys=("image",)
        )

    def test_are_found_and_serve_their_roles(self, plug_in):
        found = plug_in(Family, self.family("counter"))
        assert "vqvae" in found
        assert found["counter"].roles() == [("count", "model"), ("deblend", "detector")]
        assert found["counter"].serves("deblend", "detector")
        assert not found["counter"].serves("deblend")
        suite = Suite("counts", "", "a:b", "a:c", tasks=("count",))
        assert suite.judges(found["counter"])
        assert not suite.judges(found["vqvae"])

    def test_one_that_fails_is_a_warning_and_the_rest_stands(self, plug_in):
        with pytest.warns(registry.PluginWarning, match="other.package:THING.*no module of this name"):
            found = plug_in(Family, ImportError("no module\nof this name"), self.family("counter"))
        assert {"vqvae", "counter"} <= set(found)

    def test_a_name_in_use_is_refused(self, plug_in):
        with pytest.warns(registry.PluginWarning, match="'vqvae' is in use"):
            found = plug_in(Family, self.family("vqvae"))
        assert found["vqvae"].model.startswith("galzoo.")

    def test_another_thing_is_refused(self, plug_in):
        with pytest.warns(registry.PluginWarning, match="is a Family, not a Task"):
            assert "counter" not in plug_in(Task, self.family("counter"))
