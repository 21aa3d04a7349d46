"""Write the table of families and presets into README.md, from the registries.

python scripts/update_readme.py          # write
python scripts/update_readme.py --check  # exit 1 if the README is not up to date
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from vision_composer import plan
from vision_composer.encoders import FAMILIES, VisionEncoderInfo
from vision_composer.presets import preset_names, preset_path
from vision_composer.schemas import encoder_config

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"


def families_table() -> str:
    """The table as Markdown: a family a row, how it takes images, what it has, and its presets."""
    presets = defaultdict(list)
    for name in preset_names():
        presets[plan(name).info.model_type].append(name)
    columns = ("`model_type`", "image sizes", "prefix tokens", "merger", "pooling head", "presets")
    rows = [_row(columns), _row(["---"] * len(columns))]
    for model_type, family in sorted(FAMILIES.items()):
        names = presets[model_type]
        infos = [plan(name).info for name in names] or [
            family.info(encoder_config({"model_type": model_type}))
        ]
        sizes = ", ".join(dict.fromkeys(map(_sizes, infos)))
        prefixes = ", ".join(map(str, sorted({info.num_prefix_tokens for info in infos})))
        merger, head = (
            "yes" if any(facts) else "no"
            for facts in ([info.out_hidden_size for info in infos], [info.has_head for info in infos])
        )
        since = f" (transformers {family.since} or newer)" if family.since else ""
        rows.append(_row([f"`{model_type}`{since}", sizes, prefixes, merger, head, _by_folder(names)]))
    return "\n".join(rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sizes(info: VisionEncoderInfo) -> str:
    if info.ragged:
        return "tiles" if info.tiled else "native"
    return "any" if info.any_size else "fixed"


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
