"""Pages of presets."""

import shutil

import yaml

import galzoo
from galzoo.cards import magnitudes_of, summary, update_readme, write_readme
from galzoo.presets import find_preset


def test_a_page_shows_the_picture_of_its_preset_in_a_checkout(tmp_path):
    name = "vqvae_lsst"
    folder = tmp_path / "pretrained" / name
    images = tmp_path / "docs" / "images"
    folder.mkdir(parents=True)
    images.mkdir(parents=True)
    card = galzoo.load_card(name)
    write_readme(folder, card)
    assert "![" not in (folder / "README.md").read_text(encoding="utf-8")
    (images / f"{name}.png").write_bytes(b"")
    (images / "captions.yaml").write_text(yaml.safe_dump({name: "What is seen.", "other": "Not this."}))
    write_readme(folder, card)
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert f"(../../docs/images/{name}.png)\n\nWhat is seen.\n\n## Data" in page
    assert "Not this" not in page


def test_pages_of_packaged_presets_are_what_their_cards_say(tmp_path):
    for name in galzoo.list_presets():
        source = find_preset(name)
        page = (source / "README.md").read_text(encoding="utf-8")
        folder = tmp_path / "pretrained" / name
        folder.mkdir(parents=True)
        shutil.copytree(source.parents[1] / "docs" / "images", tmp_path / "docs" / "images", dirs_exist_ok=True)
        write_readme(folder, galzoo.load_card(name))
        assert (folder / "README.md").read_text(encoding="utf-8") == page, name


CARD = {
    "name": "some", "title": "A model", "family": "vqvae", "created": "2026-01-02", "galzoo": "0.1",
    "limits": "None.\n",
    "data": {
        "origin": "made  up\n", "survey": "LSST", "bands": ["g", "r"], "pixel_scale_arcsec": 0.168,
        "stamp_size": [48, 48], "unit": "nJy",
    },
    "training": {"n_train": 700, "steps": 9000, "hours": 1.26, "hardware": "a core", "backend": "jax"},
    "sizes": {"legal": [32, 64], "refused": [8]}, "headline": {"chi2": [1.234, 0.05]}, "licence": "MIT",
    "citation": "Nobody 2026",
}  # fmt: skip


def test_a_card_on_one_screen_says_what_it_holds():
    lines = summary(CARD, ["mag (AB in g)"])
    assert lines[0] == "some: A model"
    assert [line.strip() for line in lines[1:]] == [
        "family: vqvae", "made: 2026-01-02", "galzoo: 0.1", "data: made up", "survey: LSST", "bands: g, r",
        "pixels: 0.168 arcsec, trained on stamps of 48", "unit: nJy",
        "sizes: Runs on stamps of 32, 64 pixels, not of 8.", "conditions: mag (AB in g)",
        "training: 700 images, 9000 steps, 1.3 h", "hardware: a core", "limits: None.", "chi2: 1.234 ± 0.050",
        "licence: MIT", "cite: Nobody 2026",
    ]  # fmt: skip
    pictures = summary({**CARD, "data": {**CARD["data"], "unit": ""}, "training": {**CARD["training"]}})
    assert "  unit: none (8-bit pictures)" in pictures
    converted = {key: value for key, value in CARD["training"].items() if key != "hours"}
    assert "  training: 700 images, 9000 steps, converted" in summary({**CARD, "training": converted})


def test_magnitudes_are_of_the_band_that_the_data_or_the_model_say():
    card = {"data": {"meta": {"simulation": {"reference": "r"}}}}
    model = {"columns": ["mag", "mag_g", "redshift"], "bands": ["g", "r"]}
    assert magnitudes_of(model, card) == {"mag": "r", "mag_g": "g"}
    assert magnitudes_of({**model, "flux_column": "mag", "flux_band": "g"}, card)["mag"] == "g"
    assert magnitudes_of(model, {}) == {"mag_g": "g"}
    assert magnitudes_of({**model, "bands": ["i"], "columns": ["mag"]}, {}) == {"mag": "i"}


def test_the_table_of_presets_is_put_between_its_marks(tmp_path, monkeypatch):
    monkeypatch.setattr("galzoo.cards.preset_table", lambda: "| new |")
    start, end = "<!-- presets: made by scripts/make_tables.py -->", "<!-- end of presets -->"
    path = tmp_path / "README.md"
    path.write_text(f"before\n{start}\n| old |\n{end}\nafter\n")
    update_readme(path)
    assert path.read_text() == f"before\n{start}\n| new |\n{end}\nafter\n"
