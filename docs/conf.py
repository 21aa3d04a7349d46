"""How Sphinx builds the site: `make docs`.

The pages of the reference are written below ``reference/`` at the beginning of every build, from the code
that is installed, and git ignores them. So nobody can forget to write them anew, and two branches that each
add an option do not conflict in them. Only what is to be read on GitHub, too, is a file in git:
``make generate`` writes it, and a test fails where it is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "scripts"))

from pages import write_reference  # noqa: E402
from pages.markdown import for_site, with_unlisted  # noqa: E402

from vision_composer import __version__  # noqa: E402

project = "vision-composer"
author = "the authors of vision-composer"
copyright = author  # Sphinx calls it so
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_use_rtype = False

smartquotes = False  # two dashes begin an option

html_theme = "furo"
html_title = "vision-composer"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1d5fa8",
        "color-brand-content": "#1d5fa8",
        "vc-ink": "#1f2933",
        "vc-mute": "#616e7c",
        "vc-line": "#9aa5b1",
        "vc-shade": "#d3d9df",
        "vc-fill": "#eef2f6",
        "vc-accent": "#1d5fa8",
        "vc-accent-fill": "#dbe9f8",
        "vc-warm": "#a85a12",
        "vc-warm-fill": "#fbe8d3",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7db8f5",
        "color-brand-content": "#7db8f5",
        "vc-ink": "#d8dee6",
        "vc-mute": "#97a3b1",
        "vc-line": "#66717e",
        "vc-shade": "#3d4650",
        "vc-fill": "#23292f",
        "vc-accent": "#7db8f5",
        "vc-accent-fill": "#1b3147",
        "vc-warm": "#f0ae6a",
        "vc-warm-fill": "#432d18",
    },
}


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    text = with_unlisted(source[0], DOCS) if name == "index" else source[0]
    source[0] = for_site(text, DOCS, "../" * name.count("/"))


def _mark_keys(app: Sphinx, page: nodes.document) -> None:
    """Name the tables that end in what something means: on a phone their cells stand below each other."""
    for table in page.findall(nodes.table):
        head = next(table.findall(nodes.thead)).astext().split()
        if head[-1:] == ["meaning"]:
            table["classes"].append("meanings")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    write_reference(DOCS / "reference")
    app.connect("source-read", _read)
    app.connect("doctree-read", _mark_keys)
