"""Write the files that are made from the code: the JSON Schema, and the tables of families and of VLMs.

`make generate` runs it, and a test compares each file with what it would write.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from vision_composer import plan
from vision_composer.connectors import CONNECTORS
from vision_composer.encoders import FAMILIES, VisionEncoderInfo
from vision_composer.images.tiling import TILINGS
from vision_composer.presets import preset_names, preset_path
from vision_composer.schemas import ENCODER_CONFIGS, EncoderConfig
from vision_composer.schemas.json_schema import json_schema_text

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

from support.vlms import VLMS as TESTED  # noqa: E402  # the tests' own helpers lie there
from support.vlms.reasons import EQUAL_IN, WHY_NOT  # noqa: E402

BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"


def readme() -> str:
    """The README with a fresh table between its markers."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{families_table()}\n{END}{after}"


def families_table() -> str:
    """The table as Markdown: a family a row, how it takes images, what it has, and its presets."""
    presets = defaultdict(list)
    for name in preset_names():
        for tower, planned in plan(name).towers.items():
            if not tower:  # presets of several towers are of no one family
                presets[ENCODER_CONFIGS[planned.info.model_type]].append(name)
    columns = ("`model_type`", "image sizes", "prefix tokens", "merger", "pooling head", "presets")
    rows = [_row(columns), _row(["---"] * len(columns))]
    blocks = sorted(set(ENCODER_CONFIGS.values()), key=lambda block: block.model_types())
    rows += [_family_row(block, presets[block]) for block in blocks]
    return "\n".join(rows)


def _family_row(block: type[EncoderConfig], presets: list[str]) -> str:
    names = block.model_types()
    family = FAMILIES[names[0]]
    infos = [plan(name).info for name in presets]
    infos = infos or [family.info(block.model_validate({"model_type": names[0]}))]
    sizes = ", ".join(dict.fromkeys(map(_sizes, infos)))
    prefixes = ", ".join(map(str, sorted({info.num_prefix_tokens for info in infos})))
    merger, head = (
        "yes" if any(facts) else "no"
        for facts in ([info.out_hidden_size for info in infos], [info.has_head for info in infos])
    )
    since = f" (transformers {family.since} or newer)" if family.since else ""
    called = ", ".join(f"`{name}`" for name in names)
    return _row([f"{called}{since}", sizes, prefixes, merger, head, _by_folder(presets)])


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


VLMS_HEAD = """# Vision-language models

With `output: embeds` an encoder returns the rows that a model's language model reads. The table has every model
type that transformers has for images and text. Where it says "equal", a test makes a small random model in
transformers, saves it, and composes its vision half from the folder, as `init --from` does. It compares
`encode(images)` with what the model puts among its input embeddings, for images of odd sizes, each alone and all at
once, and the number of rows with the one that was planned. For the others the table says why there is no such test.

Images go through the model's own image processor. transformers has those of Cohere 2 Vision, Inkling 2, Kimi,
LFM2-VL, Llama 4, MiniMax and Muse for torchvision only. Pillow stands in for them here. For these models the rows of
the same pixels are compared, and their tiles with cases worked out by hand or with the arithmetic in transformers.
Molmo2's own runs without torchvision, and its pixels are compared, too.

`vision-composer verify` makes the comparison on your own weights and images.

"""  # noqa: E501  # lines of a page


def vlms() -> str:
    """The page of VLMs: which tower, connector and tiling each has, and whether its embeddings are equal."""
    equal = {case.partition("/")[0] for case in TESTED}
    rows = [_row(("model_type", "tower", "connector", "tiling", "embeddings")), _row(["---"] * 5)]
    for name in sorted(equal | WHY_NOT.keys()):
        rows.append(
            _row([f"`{name}`", *(_vlm_parts(name) if name in equal else ("",) * 3), _embeddings(name)])
        )
    return VLMS_HEAD + "\n".join(rows) + "\n"


def _vlm_parts(name: str) -> tuple[str, str, str]:
    tower = next((family.model_type for family in FAMILIES.values() if name in family.read_by), "")
    behind = "the tower's merger" if ENCODER_CONFIGS[tower].merger else "none"
    connector = next((key for key, cls in CONNECTORS.items() if name in cls.read_by), behind)
    tiling = next((key for key, cls in TILINGS.items() if name in cls.read_by), "none")
    return f"`{tower}`", connector, tiling


def _embeddings(name: str) -> str:
    return WHY_NOT.get(name) or EQUAL_IN.get(name, "equal")


GENERATED: dict[str, Callable[[], str]] = {
    "README.md": readme,
    "docs/vlms.md": vlms,
    "schemas/json/vision-composer-1.json": json_schema_text,
}
"""Every generated file, by its path from the root -> what it should hold."""

if __name__ == "__main__":
    for name, content in GENERATED.items():
        (ROOT / name).write_text(content(), encoding="utf-8")
