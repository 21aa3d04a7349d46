"""Markdown that is read on GitHub, as the site shows it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_MOVED = {
    "README.md#encoders-and-presets": "reference/presets.md",
    "README.md": "index.md",
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "SECURITY.md": "reference/security.md",
}
"""Files at the root -> their pages on the site."""


def for_site(text: str, docs: Path, up: str = "") -> str:
    """A page's text for the site.

    ``<!-- site: TEXT -->`` becomes TEXT, which GitHub hides: it leads to pages that only the site has.
    Drawings are put into the page, so that they take its colours, light or dark.

    Args:
        text: Markdown.
        docs: The folder whose ``images/`` the drawings are in.
        up: What leads from the page's folder to ``docs``.
    """
    text = re.sub(r"<!-- site:(.*?)-->", lambda match: match[1].strip(), text, flags=re.DOTALL)
    text = re.sub(
        r"^!\[(.*?)\]\((images/[\w-]+\.svg)\)$",
        lambda match: picture((docs / match[2]).read_text(encoding="utf-8"), match[1]),
        text,
        flags=re.MULTILINE,
    )
    return re.sub(r"\]\(\.\./([\w.]+(?:#[\w-]+)?)\)", lambda match: f"]({_page(match[1], up)})", text)


def listed(index: str) -> list[str]:
    """The names in the tables of contents of ``index.md``, without their endings."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", index, flags=re.DOTALL | re.MULTILINE)
    entries = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    return [re.sub(r".*<(.*)>$", r"\1", entry) for entry in entries]


def with_unlisted(index: str, docs: Path) -> str:
    """The index with a table of the pages that it forgot, which a test names: the site has them still."""
    forgotten = {path.stem for path in docs.glob("*.md")} - {"index", *listed(index)}
    tree = "\n".join(["```{toctree}", ":hidden:", ":caption: More", *sorted(forgotten), "```"])
    return f"{index}\n{tree}\n" if forgotten else index


def picture(svg: str, alt: str) -> str:
    """A drawing as HTML in Markdown. Its colours are those of ``site.css``; its own are for GitHub."""
    svg = re.sub(r"<title>.*?</title>\n|<style>.*?</style>\n", "", svg.strip(), flags=re.DOTALL)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1)
    return f'<div class="picture">\n{svg}\n</div>'


def root_file(name: str) -> str:
    """A Markdown file of the root, as a page of ``docs/reference/``."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](../", text)
    return re.sub(r"\]\((\w+\.md(?:#[\w-]+)?)\)", lambda match: f"]({_page(match[1], '../')})", text)


def _page(target: str, up: str) -> str:
    file, mark, anchor = target.partition("#")
    page = _MOVED.get(target) or (_MOVED[file] + mark + anchor if file in _MOVED else None)
    return f"../{target}" if page is None else up + page


def row(*cells: str) -> str:
    """One row of a table; a cell may hold any text."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table, with a blank line behind it."""
    return "\n".join([row(*head), row(*["---"] * len(head)), *(row(*cells) for cells in rows), "", ""])


def prose(text: str) -> str:
    """A help text or docstring as Markdown: what it quotes as code stays code, and nothing else is markup."""
    parts = re.split(r"(``.+?``|`.+?`)", text)
    return "".join(part if i % 2 else re.sub(r"([*<\[])", r"\\\1", part) for i, part in enumerate(parts))
