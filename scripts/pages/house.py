"""The drawing of the house: the layers that import-linter holds the package to, each on the one below."""

from __future__ import annotations

import ast
import re
import tomllib

from .markdown import ROOT, table

_WIDTH, _FLOOR, _GAP = 640, 30, 6
_HUES = {"cli": "warm", "schemas": "accent", "presets": "accent"}


def layers() -> list[list[str]]:
    """The names of the modules of each layer, the top one first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        contract for contract in settings["tool"]["importlinter"]["contracts"] if contract["type"] == "layers"
    )
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


def modules() -> str:
    """What each module is, by the first sentence of its docstring, as a table."""
    rows = [(f"`{module}`", _purpose(module)) for floor in layers() for module in sorted(floor)]
    return table(("module", "what it is"), rows)


def _purpose(module: str) -> str:
    folder = ROOT if module in ("schemas", "presets") else ROOT / "composer"
    file = folder / module / "__init__.py"
    file = file if file.exists() else folder / f"{module}.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def drawing() -> str:
    """The house as SVG in Markdown: a roof, and a floor for every layer."""
    floors = layers()
    roof = 54
    height = roof + len(floors) * (_FLOOR + _GAP) + 8
    parts = [
        f'<polygon class="roof" points="12,{roof - 4} {_WIDTH // 2},6 {_WIDTH - 12},{roof - 4}"/>',
        f'<text class="label" x="{_WIDTH // 2}" y="{roof - 14}" text-anchor="middle">vision_composer</text>',
    ]
    for i, modules in enumerate(floors):
        top = roof + i * (_FLOOR + _GAP)
        width = (_WIDTH - 60 - (len(modules) - 1) * _GAP) / len(modules)
        for j, module in enumerate(modules):
            left = 30 + j * (width + _GAP)
            hue = _HUES.get(module, "fill")
            middle, size = left + width / 2, f'width="{width:.0f}" height="{_FLOOR}"'
            parts += [
                f'<rect class="{hue}" x="{left:.0f}" y="{top}" {size} rx="4"/>',
                f'<text class="code" x="{middle:.0f}" y="{top + 19}" text-anchor="middle">{module}</text>',
            ]
    label = "; ".join(", ".join(modules) for modules in floors)
    return (
        f'<div class="picture">\n<svg class="vc" role="img" aria-label="Layers from the top: {label}" '
        f'viewBox="0 0 {_WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">\n'
        + "\n".join(parts)
        + "\n</svg>\n</div>\n"
    )
