"""Citations: valid BibTeX that names every paper of a family, and the package as CITATION.cff does."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

import galzoo
from galzoo.cite import citation, parse, references
from galzoo.errors import InputError
from galzoo.registry import families

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", [*families(), *galzoo.list_presets()])
def test_every_paper_is_cited_once(name):
    entries = parse(citation(name))
    family = families()[name if name in families() else galzoo.load_card(name)["family"]]
    wanted = re.findall(r"arXiv:(\d{4}\.\d{4,5})|, arXiv:(\d{4}\.\d{4,5})", family.reference)
    wanted = [one or other for one, other in wanted]
    cited = [entry["eprint"] for entry in entries.values() if "eprint" in entry]
    assert sorted(cited) == sorted(wanted)
    assert all(re.fullmatch(r"(19|20)\d\d", entry["year"]) for entry in entries.values())


def test_the_package_is_cited_as_it_says():
    own, cff = parse(citation("vqvae"))["galzoo"], yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert own["title"].strip("{}") == cff["title"]
    assert own["author"].strip("{}") == cff["authors"][0]["name"]
    assert own["version"] == cff["version"] == galzoo.__version__


def test_a_family_without_a_file_is_cited_by_its_reference():
    reference = "Bertin & Arnouts 1996 (arXiv:9999.00001); later: Lang et al. 2016 (arXiv:1604.00001, arXiv:1604.00002)"
    family = dataclasses.replace(families()["vqvae"], model="tests.nowhere:Model", reference=reference)
    entries = parse(references(family))
    assert [entry["eprint"] for entry in entries.values()] == ["9999.00001", "1604.00001", "1604.00002"]
    assert entries["arxiv9999.00001"]["author"] == "Bertin and Arnouts"
    assert entries["arxiv1604.00002"]["author"].endswith("Lang and others")
    assert entries["arxiv1604.00001"]["year"] == "2016"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("@misc{a, author = {B}, year = {2000}}", "no title"),
        ("@misc{a, author = {B}, title = {C, year = {2000}}", "no field|no BibTeX"),
        ("@misc{a, author = {B}, title = C, year = {2000}}", "no field"),
        ("words", "no BibTeX entry"),
        ("@misc{a, author={B}, title={C}, year={1}}\n@misc{a, author={B}, title={C}, year={1}}", "twice"),
    ],
)
def test_broken_bibtex_is_refused(text, match):
    with pytest.raises(InputError, match=match):
        parse(text)
