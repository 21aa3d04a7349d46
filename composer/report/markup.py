"""HTML and SVG out of elements, which escape whatever text they are given."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from .pixels import Picture

_VOID = frozenset({"img", "input", "meta"})
_SMALL = 160
"""Pictures with no longer side than this are kept to the bit."""


class Markup(str):
    """Text that is HTML already."""


def element(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """Make an element.

    Args:
        name: Its name.
        *children: What it holds; text is escaped unless it is markup, and None is left out.
        **attributes: Its attributes; ``_`` stands for ``-``, and at the end for nothing. True is an attribute
            without a value; False and None are left out.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is True:
            parts.append(_named(key))
        elif value is not None and value is not False:
            parts.append(f'{_named(key)}="{escape(_written(value))}"')
    start = f"<{' '.join(parts)}>"
    return Markup(start if name in _VOID else f"{start}{joined(*children)}</{name}>")


def joined(*children: str | None) -> Markup:
    """Put children after each other, as those of an element."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(child) for child in children if child is not None
        )
    )


def _named(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def png(picture: Picture) -> str:
    """Return a picture as the address of a PNG that is in the address itself."""
    return _address("png", picture, optimize=True)


def photo(picture: Picture, longest: int) -> str:
    """Return a picture as such an address, shrunk so that no side is longer, and as a JPEG if it is large."""
    image = Image.fromarray(picture)
    image.thumbnail((longest, longest))
    if max(image.size) <= _SMALL:
        return png(np.asarray(image))
    return _address("jpeg", np.asarray(image), quality=85, optimize=True)


def _address(kind: str, picture: Picture, **options: int) -> str:
    written = io.BytesIO()
    Image.fromarray(picture).save(written, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode()}"


def table(head: list[str], rows: list[list[str]], caption: str, *, numbers: bool = True) -> Markup:
    """Make a table whose rows begin with a heading of their own."""
    top = element("tr", *(element("th", text, scope="col") for text in head))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", text) for text in rest))
        for first, *rest in rows
    ]
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", top) if head else None,
            element("tbody", *body),
            class_="numbers" if numbers else "facts",
        ),
        class_="scrolled",
        tabindex="0",
        role="group",
        aria_label=caption,
    )


def folded(summary: str, *children: str) -> Markup:
    """Make what is unfolded by a click."""
    return element("details", element("summary", summary), *children)
