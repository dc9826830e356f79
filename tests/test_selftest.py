"""Self-tests: every shipped preset passes on both back ends, and each kind of damage has its verdict."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import galzoo
from galzoo import selftest
from galzoo.presets import find_preset
from galzoo.registry import families
from galzoo.selftest import CANNOT, CORRUPT, DIFFERS, PASSED, Verdict, verify

ROOT = Path(__file__).parents[1]
SMALLEST = "vqvae_candels_h"


@pytest.fixture
def preset(tmp_path):
    """A copy of a shipped preset that may be damaged."""
    return Path(shutil.copytree(find_preset(SMALLEST), tmp_path / "copy"))


def damaged_test(preset, change):
    """Rewrite a self-test with some arrays changed."""
    with np.load(preset / "selftest.npz") as file:
        content = {key: file[key] for key in file.files}
    change(content)
    np.savez_compressed(preset / "selftest.npz", **content)


@pytest.mark.parametrize("name", galzoo.list_presets())
def test_shipped_presets_pass(name, tmp_path):
    verdict = verify(name, tmp_path)
    assert verdict.outcome == PASSED, str(verdict)
    assert 0 <= verdict.difference <= verdict.tolerance
    assert list(tmp_path.iterdir()) == []
    with np.load(find_preset(name) / "selftest.npz") as file:
        assert (find_preset(name) / "selftest.npz").stat().st_size < 60e3
        for key in (key for key in file.files if key.startswith("output.")):
            # An answer that is the same everywhere, or is drowned in its tolerance, proves nothing.
            assert np.isfinite(file[key]).all(), key
            assert file[f"tolerance.{key[7:]}"] <= 0.1 * max(np.abs(file[key]).max(), 1e-3), key


def test_shipped_presets_pass_on_the_other_back_end(tmp_path):
    pytest.importorskip("jax")
    program = "import sys; from galzoo.selftest import verify; print(','.join(verify(n).outcome for n in sys.argv[1:]))"
    kinds = {}
    for name in galzoo.list_presets():
        kinds.setdefault(galzoo.load_card(name)["family"], name)
    ran = subprocess.run(
        [sys.executable, "-c", program, *kinds.values()],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert ran.stdout.strip().split(",") == [PASSED] * len(kinds)


def test_an_altered_weight_is_not_reproduced(preset, tmp_path):
    """A model that answers otherwise, with a card and a self-test that vouch for it."""
    from galzoo.presets import checksum

    model = galzoo.load(preset)
    kernel = model.encoder.weights[0]
    kernel.assign(np.asarray(kernel) * 1.01)
    model.save(preset / "model.keras")
    card = yaml.safe_load((preset / "card.yaml").read_text())
    card["sha256"] = checksum(preset / "model.keras")
    (preset / "card.yaml").write_text(yaml.safe_dump(card))
    damaged_test(preset, lambda content: content.update(sha256=np.array(card["sha256"])))
    verdict = verify(preset, tmp_path / "kept")
    assert verdict.outcome == DIFFERS
    assert verdict.answer == "encoded"
    assert verdict.difference > verdict.tolerance
    with np.load(preset / "selftest.npz") as kept, np.load(tmp_path / "kept" / "copy.npz") as made:
        assert made["encoded"].shape == tuple(kept["shape.encoded"])
        assert np.abs(made["encoded"]).max() > 0
    assert str(tmp_path / "kept") in str(verdict)


def test_the_largest_difference_is_that_of_the_answer_farthest_off(preset):
    def change(content):
        tolerance = content["tolerance.decoded"]
        content["output.decoded"][3] += 40 * tolerance
        content["output.encoded"][0] += 3 * content["tolerance.encoded"]

    damaged_test(preset, change)
    verdict = verify(preset)
    assert (verdict.outcome, verdict.answer) == (DIFFERS, "decoded")
    assert verdict.difference == pytest.approx(40 * verdict.tolerance, rel=0.05)


def test_answers_that_are_no_numbers_or_of_another_shape(preset):
    damaged_test(preset, lambda content: content["output.decoded"].__setitem__(0, np.nan))
    assert verify(preset).outcome == DIFFERS
    damaged_test(preset, lambda content: content.__setitem__("shape.encoded", np.array([1, 2])))
    assert "was (1, 2)" in verify(preset).reason


@pytest.mark.parametrize(
    ("file", "damage", "outcome"),
    [
        ("model.keras", lambda path: path.write_bytes(path.read_bytes()[:-1]), CORRUPT),
        ("card.yaml", lambda path: path.write_text("family: ["), CORRUPT),
        ("selftest.npz", lambda path: path.write_bytes(path.read_bytes()[:200]), CORRUPT),
        ("selftest.npz", lambda path: np.savez(path, sha256=np.array("0")), CORRUPT),
        ("selftest.npz", lambda path: path.unlink(), CANNOT),
    ],
)
def test_damaged_files(preset, file, damage, outcome):
    damage(preset / file)
    assert verify(preset).outcome == outcome


def test_what_is_said_of_a_difference():
    assert (
        str(Verdict("p", PASSED, "", "noise", 0.0, 1e-5, 2.0)) == "p: passed, the same numbers to the last digit; 2.0 s"
    )
    text = str(Verdict("p", PASSED, "", "codes", 2e-6, 1e-5, 2.0))
    assert text == "p: passed, farthest off is codes: by 2e-06, where 1e-05 is allowed; 2.0 s"


def test_a_model_that_fails_cannot_run(preset, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such device")

    monkeypatch.setattr(selftest, "load", fails)
    verdict = verify(preset)
    assert verdict.outcome == CANNOT
    assert "no such device" in verdict.reason


def test_the_command(preset, capsys, monkeypatch, tmp_path):
    from galzoo import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["galzoo", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capsys.readouterr().out

    code, out = run(preset, "-o", tmp_path / "out")
    assert code == 0
    assert "copy: passed, " in out
    (preset / "model.keras").write_bytes(b"")
    code, out = run(preset)
    assert code == 1
    assert "copy: corrupt" in out


def test_what_is_asked_follows_the_roles():
    """Every family is asked something continuous: the inputs hold what is discrete."""
    from galzoo.contracts.training import Adapts
    from galzoo.probes import ask, make_inputs
    from tests.test_families import batch_of, tiny

    for name in families():
        model = tiny(name)
        if isinstance(model, Adapts):
            model.adapt([batch_of(name)])
        if getattr(model, "stamp_size", False) is None:
            # Presets know the size of their stamps; tiny models are of any.
            model.stamp_size = (24, 24)
        inputs = make_inputs(model, name)
        answers = ask(model, name, inputs)
        assert answers, name
        assert all(np.isfinite(value).all() for value in answers.values()), name
        again = ask(model, name, inputs)
        for key, value in answers.items():
            np.testing.assert_array_equal(value, again[key], err_msg=f"{name} {key}")
