"""The arithmetic in words says what comes out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support import fused, tiny
from support.kinds import one_of_each_kind
from support.tiled_vlm import TILED

from vision_composer import plan as planned
from vision_composer.report.counting import Size, reckoned, reckoned_fused

SIZE = Size(150, 70)


def steps_of(config: dict[str, Any], size: Size = SIZE) -> tuple[str, ...]:
    plan: Any = planned({"schema": 1, **config})
    image = plan.image_of_tiles(size.width, size.height, size.frames)
    steps = reckoned(plan, size, image).steps
    rows = plan.num_tokens(size.width, size.height, size.frames)
    named = re.match(r"Output: ([\d,]+) rows? of ([\d,]+) features", steps[-1])
    assert named
    assert named[1].replace(",", "") == str(rows)
    assert named[2].replace(",", "") == str(plan.output_width)
    return steps


def true_equations(steps: tuple[str, ...]) -> int:
    """Assert that all equations in steps hold, and return how many there are."""
    equations = re.findall(r"(\d[\d,]*(?: [×+−] \d[\d,]*)+) (?:\([^)]*\) )?= ([\d,]+)", " ".join(steps))
    for left, right in equations:
        value = eval(left.replace(",", "").replace("×", "*").replace("−", "-"))
        assert value == int(right.rstrip(",").replace(",", "")), left
    return len(equations)


@pytest.mark.parametrize("name", one_of_each_kind(tiny.ALL))
def test_every_kind_of_encoder_is_counted_right(name: str) -> None:
    assert true_equations(steps_of({"encoder": tiny.ALL[name]})) >= 1
    assert steps_of({"encoder": tiny.ALL[name], "select_layers": [-1]})


def test_an_image_of_one_size() -> None:
    steps = steps_of(
        {
            "encoder": tiny.ALL["dinov2_with_registers"],
            "select_layers": [-2, 1],
            "feature_select_strategy": "default",
        }
    )
    assert steps == (
        "The image has 150 × 70 pixels.",
        "The image processor makes 32 × 32 pixels of it.",
        "32 / 8 = 4 patches along a side; 4 × 4 = 16 patches.",
        "16 + 4 (1 class token and 3 registers) = 20 tokens in the blocks.",
        "The patches alone are read: 20 − 4 = 16 tokens.",
        "Output: 16 rows of 64 features, 2 hidden states × 32.",
    )


def test_pixels_that_fill_no_patch_are_named() -> None:
    steps = steps_of({"encoder": tiny.ALL["clip_vision_model/indivisible"]})
    assert any("pixels that fill no patch" in step for step in steps)


def test_a_clip_is_merged() -> None:
    steps = steps_of({"encoder": tiny.ALL["qwen2_vl_vision"]}, Size(160, 104, 3))
    assert steps[2:] == (
        "160 / 4 = 40 patches across, 104 / 4 = 26 down; 3 frames / 2, rounded up, = 2 in time; "
        "2 × 40 × 26 = 2,080 patches.",
        "The tower merges 2 × 2 patches into one: 2,080 / 4 = 520 tokens.",
        "Output: 520 rows of 24 features.",
    )


def test_tiles_and_a_connector() -> None:
    steps = steps_of(TILED, Size(100, 100))
    assert "The image is cut into 3 × 3 = 9 tiles, and is a tile of its own as a whole: 10 in all." in steps
    assert "All tiles: 10 × 4 = 40 tokens." in steps
    assert steps[-2] == "The connector llava_next makes 40 + 6 = 46 rows of 40 tokens."


def test_several_towers() -> None:
    plan: Any = planned(fused.config(align={"grid": [4, 4]}))
    *towers, joined = reckoned_fused(plan, SIZE, plan.grids(SIZE.width, SIZE.height))
    assert [tower.title for tower in towers] == ["dino", "siglip"]
    assert joined.steps == (
        "The tokens of every tower are resampled to 4 × 4 = 16.",
        "They stand side by side: 16 tokens of 32 + 32 = 64 features.",
        "Output: 16 rows of 64 features.",
    )
