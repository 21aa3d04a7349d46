"""The guides as Markdown: their pages, fenced blocks, and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its lines, and the paragraph in front of it."""

    page: str
    line: int
    language: str
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """The README and every guide, by their paths from the root; not those that are made for the site."""
    return ["README.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")))]


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, without what only the site reads."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"<!-- site:.*?-->", lambda match: re.sub(r"[^\n]", "", match[0]), text, flags=re.DOTALL)
    fenced = re.finditer(r"^( *)```([^\n`]*)\n(.*?)^\1```$", text, flags=re.DOTALL | re.MULTILINE)
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match[2],
            match[3],
            text[: match.start()].rstrip().rpartition("\n\n")[2],
        )
        for match in fenced
    ]


def prose(text: str) -> str:
    """Markdown without its code, in which brackets are no links."""
    text = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a file."""
    found: set[str] = set()
    text = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ +(.+?) *$", text, flags=re.MULTILINE):
        heading = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = next(n for n in range(99) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found
