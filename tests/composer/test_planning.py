"""The plan's arithmetic, without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_composer import plan
from vision_composer.errors import InputError

_ENCODER = {
    "model_type": "dinov2_with_registers",
    "hidden_size": 32,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
}


@given(
    st.lists(st.integers(-7, 6), min_size=1, max_size=5),
    st.sampled_from(["auto", "none", "last", "each"]),
)
def test_layers_resolve_against_the_full_depth(layers: list[int], policy: str) -> None:
    planned = plan({"schema": 1, "encoder": _ENCODER, "select_layers": layers, "post_norm": policy})
    resolved = [k if k >= 0 else 7 + k for k in layers]
    assert list(planned.select_layers) == resolved
    assert planned.num_blocks == max(resolved)
    assert planned.output_width == 32 * len(layers)
    wanted = {"auto": set(), "none": set(), "last": {6} & set(resolved), "each": set(resolved)}[policy]
    assert planned.norm_layers == wanted


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(["class", "default", "full"]))
def test_tokens_of_any_size(width: int, height: int, strategy: str) -> None:
    planned = plan({"schema": 1, "encoder": _ENCODER, "feature_select_strategy": strategy})
    patches = (width // 16) * (height // 16)
    if not patches:
        with pytest.raises(InputError, match="smaller than one patch"):
            planned.num_tokens(width, height)
        return
    assert (
        planned.num_tokens(width, height) == {"class": 1, "default": patches, "full": patches + 5}[strategy]
    )


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-3, 5)])
def test_empty_images(size: tuple[int, int]) -> None:
    for model_type in ("dinov2", "clip_vision_model"):
        with pytest.raises(InputError, match="is empty"):
            plan({"schema": 1, "encoder": {"model_type": model_type}}).num_tokens(*size)


def test_llava_in_numbers() -> None:
    """Figures that the paper and the published config give: 576 tokens of 1024 features, 23 of 24 blocks."""
    planned = plan("llava-1.5-7b")
    assert planned.num_tokens(672, 1008) == 576
    assert (planned.output_width, planned.num_blocks, planned.info.num_hidden_layers) == (1024, 23, 24)


def test_planning_loads_no_torch() -> None:
    code = (
        "import sys, vision_composer as vc; vc.plan('llava-1.5-7b').to_dict([(672, 1008)]);"
        "sys.exit(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
