"""The links of the Markdown files lead somewhere, as GitHub reads them, and the site has every page."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from check_site import problems
from pages.markdown import for_site, listed, with_unlisted
from support.guides import DOCS, ROOT, anchors, pages, prose

FILES = [*pages(), "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]


@pytest.mark.parametrize("name", FILES)
def test_every_link_leads_to_a_file_and_an_anchor_or_is_an_address(name: str) -> None:
    file = ROOT / name
    text = re.sub(r"<!-- site:.*?-->", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        parts = urlsplit(target)
        if parts.scheme:
            fine = parts.scheme in ("http", "https", "mailto") and bool(parts.netloc or parts.path)
        else:
            led = (file.parent / parts.path) if parts.path else file
            fine = led.exists() and (
                not parts.fragment or parts.fragment in anchors(led.read_text(encoding="utf-8"))
            )
        if not fine:
            wrong.append(target)
    assert wrong == []


def test_every_page_is_in_one_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    names = listed(index)
    assert len(names) == len(set(names))
    written = {name for name in names if not name.startswith("reference/")}
    there = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert written == there, "docs/index.md lists the pages of docs/ below its headings"


def test_a_page_that_the_index_forgot_is_on_the_site(tmp_path: Path) -> None:
    index = "# A\n\n```{toctree}\n:hidden:\nThe first <first>\nreference/keys\n```\n"
    (tmp_path / "index.md").touch()
    (tmp_path / "first.md").touch()
    assert with_unlisted(index, tmp_path) == index
    (tmp_path / "second.md").touch()
    assert listed(with_unlisted(index, tmp_path)) == ["first", "reference/keys", "second"]


def test_what_only_the_site_shows_and_links_out_of_docs(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    svg = '<svg class="vc">\n<title>T</title>\n<style>\np {}\n</style>\n<g/>\n</svg>\n'
    (tmp_path / "images/a.svg").write_text(svg)
    text = "<!-- site: [keys](reference/keys.md) -->\n"
    text += "[s](../SECURITY.md#ranks) [e](../examples/a.py)\n![A a](images/a.svg)\n"
    assert for_site(text, tmp_path).splitlines() == [
        "[keys](reference/keys.md)",
        "[s](reference/security.md#ranks) [e](../examples/a.py)",
        '<div class="picture">',
        '<svg role="img" aria-label="A a" class="vc">',
        "<g/>",
        "</svg>",
        "</div>",
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<a href="b.html#there">', None),
        ('<a href="b.html#gone">', "b.html#gone leads to no anchor"),
        ('<a href="#gone">', "#gone leads to no anchor"),
        ('<a href="gone.html">', "gone.html leads to no file"),
        ('<a href="htp://example.org">', "is no address"),
        ('<a href="https://example.org/a">', None),
        ('<script src="https://example.org/a.js"></script>', "loads https://example.org/a.js"),
        ('<img src="//example.org/a.png">', "loads //example.org/a.png"),
        ('<img src="gone.png">', "gone.png leads to no file"),
    ],
)
def test_a_built_site_is_checked(body: str, message: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(body)
    (tmp_path / "b.html").write_text('<p id="there">')
    found = problems(tmp_path)
    assert found == [] if message is None else message in found[0]


def test_a_style_that_loads_a_font_is_found_and_an_empty_site_too(tmp_path: Path) -> None:
    assert problems(tmp_path)
    (tmp_path / "a.html").write_text("")
    (tmp_path / "a.css").write_text("@font-face { src: url(https://example.org/a.woff) }")
    assert problems(tmp_path) == ["a.css: loads https://example.org/a.woff"]
