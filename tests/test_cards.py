"""Pages of presets."""

import shutil

import yaml

import galzoo
from galzoo.cards import write_readme
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
