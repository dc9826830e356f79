"""Presets: what is packaged loads, what was altered does not."""

import json

import numpy as np
import pytest
import yaml

import galzoo
from galzoo import presets
from galzoo.errors import PresetError, UnknownNameError
from galzoo.presets import checksum, find_preset, load_card, write_preset
from galzoo.recipe import check_recipe, load_recipe
from galzoo.registry import get_family

CARD = ("name", "title", "family", "created", "sha256", "licence", "data", "training", "limits", "metrics", "recipe")


@pytest.fixture
def run(tmp_path):
    """A finished run, with an untrained model."""
    import keras

    from galzoo.models.vqvae.model import VQVAE

    keras.utils.set_random_seed(0)
    folder = tmp_path / "run"
    folder.mkdir()
    VQVAE.tiny().save(folder / "model.keras")
    resolved = load_recipe("vqvae", "smoke", ["data.path=/home/me/stamps.h5", "export.title=Small"]).resolved()
    (folder / "recipe.json").write_text(json.dumps(resolved))
    (folder / "training.json").write_text(json.dumps({"n_train": 3, "steps": 2, "hours": 0.1}))
    return folder


HEADER = {"survey": "test", "bands": ["r"], "pixel_scale": 0.2, "shape": (24, 24), "unit": "nJy", "meta": {}}


def batch():
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("float32")
    return {"image": image, "variance": np.ones_like(image)}


def test_a_run_becomes_a_preset_that_loads_the_same(run, tmp_path):
    card = write_preset(run, tmp_path / "small", {"chi2": 1.0}, HEADER, "2025-01-02")
    assert set(CARD) <= set(card)
    assert card["title"] == "Small"
    assert "/home/me" not in (tmp_path / "small" / "card.yaml").read_text()
    assert load_card(tmp_path / "small") == card
    one, two = (galzoo.load(folder)(batch()) for folder in (run, tmp_path / "small"))
    np.testing.assert_array_equal(np.asarray(one["image"]), np.asarray(two["image"]))


def test_an_altered_model_is_refused(run, tmp_path):
    folder = tmp_path / "small"
    write_preset(run, folder, {}, HEADER, "2025-01-02")
    data = bytearray((folder / "model.keras").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.keras").write_bytes(data)
    with pytest.raises(PresetError, match="sha256 differs"):
        galzoo.load(folder)


def test_a_run_is_a_preset_without_scores(run):
    card = load_card(run)
    assert card["name"] == "run"
    assert card["recipe"]["family"] == "vqvae"
    assert "metrics" not in card


def test_packaged_names_win_over_nothing_else(run, monkeypatch, tmp_path):
    packaged = tmp_path / "packaged"
    write_preset(run, packaged / "vqvae_small", {}, HEADER, "2025-01-02")
    monkeypatch.setattr(presets.resources, "pretrained_dir", lambda: packaged)
    assert galzoo.list_presets() == ["vqvae_small"]
    assert find_preset("vqvae_small") == packaged / "vqvae_small"
    assert find_preset(run) == run
    with pytest.raises(UnknownNameError, match="did you mean 'vqvae_small'"):
        find_preset("vqvae_smal")
    (packaged / "vqvae_small" / "model.keras").unlink()
    with pytest.raises(PresetError, match="no such file"):
        galzoo.load("vqvae_small")


def test_cards_that_cannot_be_read(run, tmp_path):
    (run / "card.yaml").write_text("- 1")
    with pytest.raises(PresetError, match="names no family"):
        load_card(run)
    (run / "card.yaml").unlink()
    (run / "recipe.json").write_text("{")
    with pytest.raises(PresetError, match="recipe.json: not valid JSON"):
        load_card(run)


@pytest.mark.parametrize("name", galzoo.list_presets())
class TestPackaged:
    def test_card_and_file_agree(self, name):
        card = load_card(name)
        folder = find_preset(name)
        assert [key for key in CARD if not card.get(key)] == []
        assert checksum(folder / "model.keras") == card["sha256"]
        assert check_recipe(card["recipe"]).family == card["family"]
        assert (folder / "README.md").is_file()
        text = yaml.safe_dump(card)
        assert "/home/" not in text
        assert "/tmp/" not in text

    def test_loads_and_runs(self, name):
        card = load_card(name)
        model = galzoo.load(name)
        assert list(model.bands) == card["data"]["bands"]
        image = np.random.default_rng(0).normal(size=(2, 32, 32, len(model.bands))).astype("float32")
        psf = np.zeros((2, 5, 5, len(model.bands)), "float32")
        psf[:, 2, 2] = 1
        batch = {"image": image, "variance": np.ones_like(image), "truth": np.abs(image), "psf": psf}
        # What a first pass has fitted: residual detectors look at what it leaves.
        batch["model"] = np.zeros_like(image)
        required = get_family(card["family"]).required
        outputs = model({key: value for key, value in batch.items() if key != "psf" or "psf" in required})
        assert outputs
        for value in outputs.values():
            assert np.all(np.isfinite(np.asarray(value)))


def test_packaged_presets_are_small():
    files = [find_preset(name) / "model.keras" for name in galzoo.list_presets()]
    assert sum(path.stat().st_size for path in files) < 60e6
