from __future__ import annotations

import re
from pathlib import Path

import pytest

import vgfm_sc

ROOT = Path(__file__).parents[1]


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
