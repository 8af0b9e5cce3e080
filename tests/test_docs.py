from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import vgfm_sc

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def anchors(text: str) -> set[str]:
    """Of the headings of a page in Markdown."""
    headings = re.findall(r"^#+ +(.+)$", text, flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("part", vgfm_sc.__all__)
def test_reference_lists_what_is_public_once(part):
    listed = re.findall(rf"^   {part}\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), flags=re.M)
    assert sorted(listed) == pytest.importorskip(f"vgfm_sc.{part}").__all__


def test_gallery_shows_every_plot():
    shown = set(re.findall(r"vgfm_sc\.pl\.(\w+)\(", (ROOT / "docs" / "gallery.md").read_text()))
    assert shown == set(vgfm_sc.pl.__all__)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / "README.md").read_text()))
def test_link_of_the_readme_leads_somewhere(link):
    name, _, anchor = link.partition("#")
    assert (ROOT / name).is_file()
    assert not anchor or anchor in anchors((ROOT / name).read_text())


def test_version_is_the_same_everywhere():
    cited = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.M)
    assert cited == [PROJECT["version"]]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(PROJECT['version'])} - \d{{4}}-\d\d-\d\d", headings[1])  # a release looks for it


@pytest.mark.parametrize("part", vgfm_sc.__all__)
def test_changelog_names_every_public_function(part):
    changes = (ROOT / "CHANGELOG.md").read_text()
    names = [f"`{part}.{name}`" for name in pytest.importorskip(f"vgfm_sc.{part}").__all__]
    assert [name for name in names if name not in changes] == []


KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "What to do"}


def test_changelog_has_the_kinds_of_keep_a_changelog():
    assert set(re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)) <= KINDS


# the entry of the registry: what scripts/src/ecosystem_scripts/schema.json of scverse/ecosystem-packages asks of it; of
# `version`, which that still requires, newer entries have none

REQUIRED = set("name description project_home documentation_home install license tags category contact".split())
OPTIONAL = {"tutorials_home", "publications", "logo", "test_command", "primary_category", "language"}


def test_entry_of_the_registry_is_as_its_schema_asks():
    entry = pytest.importorskip("yaml").safe_load((ROOT / "docs" / "meta.yaml").read_text())
    assert REQUIRED <= set(entry) <= REQUIRED | OPTIONAL
    assert set(entry["install"]) <= {"pypi", "conda", "cran", "bioconductor"}
    assert entry["category"] == "ecosystem"
    for name in ("tags", "contact"):
        assert entry[name] and all(isinstance(one, str) for one in entry[name])
        assert len(set(entry[name])) == len(entry[name])
    assert all(re.fullmatch(r"10.\d{4,9}/[-._;()/:A-Za-z0-9]+", doi) for doi in entry["publications"])
    texts = set(entry) - {"install", "tags", "contact", "publications"}
    assert all(isinstance(entry[name], str) for name in texts)


def test_entry_of_the_registry_agrees_with_the_package():
    entry = pytest.importorskip("yaml").safe_load((ROOT / "docs" / "meta.yaml").read_text())
    assert entry["name"] == entry["install"]["pypi"] == PROJECT["name"]
    assert entry["license"] == PROJECT["license"]
    assert entry["project_home"] == PROJECT["urls"]["Source"]
    assert entry["documentation_home"] == PROJECT["urls"]["Documentation"]
    assert entry["tutorials_home"].startswith(entry["documentation_home"])
