"""Check a built site: `python scripts/check_site.py docs/_build`.

Every internal link leads to a file and, if it names one, to an anchor that is there. Nothing is loaded from
elsewhere: scripts, styles, fonts and images are files of the site. Links to other sites are only checked for
their form, so no network is needed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}


class _Page(HTMLParser):
    """A page's anchors, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if _LOADED.get(tag) in given:
            self.loaded.append(given[_LOADED[tag]])


def problems(site: Path) -> list[str]:
    """What is wrong, a line each."""
    pages = sorted(site.rglob("*.html"))
    found = [problem for page in pages for problem in _of_page(page, site)]
    for style in site.rglob("*.css"):
        for target in re.findall(r"url\(['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", style.read_text("utf-8")):
            if urlsplit("".join(target)).scheme in ("http", "https"):
                found.append(f"{style.relative_to(site)}: loads {''.join(target)}")
    return found if pages else [f"{site}: there is no page"]


def _of_page(page: Path, site: Path) -> Iterator[str]:
    read, name = _read(page), page.relative_to(site)
    for target in read.loaded:
        if urlsplit(target).scheme in ("http", "https") or target.startswith("//"):
            yield f"{name}: loads {target}"
    for target in [*read.links, *read.loaded]:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            if parts.scheme not in ("https", "http", "mailto", "data") or " " in target:
                yield f"{name}: {target} is no address"
            continue
        file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        file = file / "index.html" if file.is_dir() else file
        if not file.is_file():
            yield f"{name}: {target} leads to no file"
        elif parts.fragment and file.suffix == ".html" and unquote(parts.fragment) not in _read(file).anchors:
            yield f"{name}: {target} leads to no anchor"


@cache
def _read(page: Path) -> _Page:
    return _Page(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]).resolve())
    sys.exit("\n".join(wrong) or None)
