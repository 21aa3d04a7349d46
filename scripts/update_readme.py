"""Write the table of families and presets into README.md, from the registries.

python scripts/update_readme.py          # write
python scripts/update_readme.py --check  # exit 1 if the README is not up to date
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from vision_composer import plan
from vision_composer.encoders import FAMILIES
from vision_composer.presets import preset_names, preset_path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"


def families_table() -> str:
    """The table as Markdown: a family a row, its image sizes, prefix tokens and presets."""
    presets = defaultdict(list)
    for name in preset_names():
        presets[plan(name).info.model_type].append(name)
    rows = ["| `model_type` | image sizes | prefix tokens | head | presets |", "|---|---|---|---|---|"]
    for model_type, names in sorted(presets.items()):
        infos = [plan(name).info for name in names]
        sizes = "any" if all(info.any_size for info in infos) else "fixed"
        if len({info.any_size for info in infos}) > 1:
            sizes = "fixed, native: any"
        prefixes = ", ".join(map(str, sorted({info.num_prefix_tokens for info in infos})))
        head = "yes" if FAMILIES[model_type].head else "no"
        rows.append(f"| `{model_type}` | {sizes} | {prefixes} | {head} | {_by_folder(names)} |")
    return "\n".join(rows)


def _by_folder(names: list[str]) -> str:
    stems = defaultdict(list)
    for name in names:
        path = preset_path(name)
        stems[path.parent.name].append(path.stem)
    return "; ".join(f"**{folder}**: {', '.join(listed)}" for folder, listed in stems.items())


def updated(readme: str) -> str:
    """The README with a fresh table between its markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{families_table()}\n{END}{after}"


def main() -> int:
    """Write or check; returns the exit code."""
    current = README.read_text(encoding="utf-8")
    fresh = updated(current)
    if "--check" in sys.argv[1:]:
        return int(current != fresh)
    README.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
