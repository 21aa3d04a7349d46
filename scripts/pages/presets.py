"""The page of presets: the families, and what each preset amounts to by its plan."""

from __future__ import annotations

import re

from generate import families_table

from vision_composer import plan
from vision_composer.presets import load_config, preset_names

from .markdown import table

_HEAD = """# Presets

A preset is called by its folder and name, with a dash or a slash between them: `llava-1.5-7b` or `llava/1.5-7b`. Use it
wherever a config is asked for, let a config of yours extend it, or copy it with `vision-composer presets copy`.

## Families

A row is a family of encoders: one way to run them, whatever their sizes. Image sizes are *fixed* if the encoder takes
one size only, *any* if it takes any size but all images of a batch must have the same, *native* if images of different
sizes are packed into one sequence, and *tiles* if it takes an image as tiles.

"""  # noqa: E501  # lines of a page
_EVERY = """
## Every preset

All figures are those of `vision-composer plan`, for the output that the preset asks for. *Image* is the encoder's own
size in pixels, and *tokens* are those of an image of that size: an encoder that takes any size has other numbers for
others, and `plan NAME --image-size 640x480` prints them. *Parameters* are those that are built.

"""  # noqa: E501  # lines of a page


def page() -> str:
    """The text of ``reference/presets.md``."""
    head = ("preset", "encoder", "image", "tokens", "width", "parameters", "weights", "licence")
    families = re.sub(r"\| [^|]* \|$", "|", families_table(), flags=re.MULTILINE)  # presets stand below
    return _HEAD + families + "\n" + _EVERY + table(head, [_row(name) for name in preset_names()])


def _row(name: str) -> tuple[str, ...]:
    config, planned = load_config(name), plan(name)
    encoders = " + ".join(f"`{tower.info.model_type}`" for tower in planned.towers.values())
    parameters = "" if planned.num_parameters is None else _count(planned.num_parameters)
    source = config.weights.source
    hub = f"`{source}`" if source and not source.startswith("/") else "with the package" if source else "none"
    side = planned.image_size
    return (
        f"`{name}`",
        encoders,
        f"{side}",
        f"{planned.num_tokens(side, side):,}",
        f"{planned.output_width:,}",
        parameters,
        hub,
        config.license or "",
    )


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f} B" if parameters >= 1e9 else f"{parameters / 1e6:.1f} M"
