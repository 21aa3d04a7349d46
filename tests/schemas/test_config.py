"""Cross-field rules of the root config."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vision_composer.schemas import TowerConfig

CLIP = {"model_type": "clip_vision_model"}
SIGLIP = {"model_type": "siglip_vision_model"}
INTERNVL = {"model_type": "internvl_vision"}


def problems(encoder: dict[str, Any], **keys: Any) -> list[tuple[str, tuple[Any, ...]]]:
    try:
        TowerConfig.model_validate({"schema": 1, "encoder": encoder, **keys})
    except ValidationError as error:
        return [(line["type"], line["loc"]) for line in error.errors()]
    return []


@given(st.integers(-40, 40))
def test_layers_exist_or_are_refused(layer: int) -> None:
    found = problems(CLIP, select_layers=[layer])
    assert found == ([] if -13 <= layer <= 12 else [("VC201", ("select_layers", 0))])


@pytest.mark.parametrize(
    ("encoder", "keys", "code", "loc"),
    [
        (SIGLIP, {"feature_select_strategy": "class"}, "VC202", ("feature_select_strategy",)),
        (CLIP, {"rope_type": "rope_2d"}, "VC203", ("rope_type",)),
        (CLIP, {"head": True}, "VC204", ("head",)),
        (SIGLIP | {"vision_use_head": False}, {"head": True}, "VC204", ("head",)),
        (SIGLIP, {"head": True, "select_layers": [-2]}, "VC204", ("select_layers",)),
        (SIGLIP, {"head": True, "feature_select_strategy": "default"}, "VC204", ("feature_select_strategy",)),
        (SIGLIP, {"head": True, "post_norm": "none"}, "VC204", ("post_norm",)),
        (INTERNVL, {"post_norm": "last"}, "VC205", ("post_norm",)),
        (CLIP, {"feature_select_strategy": "defualt"}, "VC206", ("feature_select_strategy",)),
        (CLIP, {"attn_backend": "spda"}, "VC207", ("attn_backend",)),
        (CLIP | {"num_attention_heads": 7}, {}, "VC208", ("encoder", "num_attention_heads")),
        (CLIP | {"patch_size": 225}, {}, "VC208", ("encoder", "patch_size")),
        ({"model_type": "clip_vision_modle"}, {}, "VC105", ("encoder", "model_type")),
        ({}, {}, "VC102", ("encoder", "model_type")),
        (CLIP, {"select_layers": []}, "VC104", ("select_layers",)),
        (CLIP, {"select_layers": -2}, "VC103", ("select_layers",)),
        (CLIP, {"layers": [-2]}, "VC101", ("layers",)),
    ],
)
def test_what_cannot_work(
    encoder: dict[str, Any], keys: dict[str, Any], code: str, loc: tuple[Any, ...]
) -> None:
    assert problems(encoder, **keys) == [(code, loc)]


def test_all_problems_come_at_once() -> None:
    found = problems(
        SIGLIP,
        select_layers=[99, 0, -99],
        feature_select_strategy="class",
        attn_backend="x",
        rope_type="rope_3d",
    )
    assert [code for code, _ in found] == ["VC201", "VC201", "VC202", "VC207", "VC203"]


@pytest.mark.parametrize(
    "keys",
    [
        {"select_layers": [True]},
        {"select_layers": [1.0]},
        {"select_layers": ["1"]},
        {"head": 1},
        {"post_norm": "all"},
        {"compile": "yes"},
        {"parallel": True},
        {"parallel": None},
        {"name": "a/b"},
        {"schema": 2},
        {"schema": True},
        {"schema": 1.0},
    ],
)
def test_types_are_strict(keys: dict[str, Any]) -> None:
    assert problems(CLIP, **keys) != []


def test_configs_are_frozen_and_round_trip() -> None:
    config = TowerConfig.model_validate(
        {"schema": 1, "encoder": SIGLIP, "select_layers": [-2, 3], "compile": {"dynamic": True}}
    )
    with pytest.raises(ValidationError, match="frozen"):
        config.select_layers = None  # type: ignore[misc]
    assert TowerConfig.model_validate(config.to_dict()) == config


@pytest.mark.parametrize("post_norm", ["auto", "last"])
def test_the_head_takes_the_normed_last_hidden_state(post_norm: str) -> None:
    assert problems(SIGLIP, head=True, post_norm=post_norm) == []


DINOV3 = {"model_type": "dinov3_vit", "hidden_size": 24, "num_attention_heads": 4}
MLLAMA = {"model_type": "mllama_vision_model", "max_num_tiles": 5}
TILES = {"model_type": "mllama_vision_model", "patch_size": 14}
QWEN = {"model_type": "qwen3_5_vision"}
GEMMA4 = {"model_type": "gemma4_vision", "num_attention_heads": 4}
LLAMA4 = {"model_type": "llama4_vision_model"}

INKLING = {"model_type": "inkling2_vision", "hidden_size": 128, "num_attention_heads": 2}
RATIOS = [
    INKLING,
    {"model_type": "janus_vision_model", "hidden_size": 128, "num_attention_heads": 2},
    {"model_type": "radio", "hidden_size": 128, "num_attention_heads": 2},
]
OCR = {"model_type": "got_ocr2_vision", "num_hidden_layers": 4}
WINDOWS = {"model_type": "qwen2_5_vl_vision", "depth": 4}


@pytest.mark.parametrize(
    ("encoder", "keys", "found"),
    [
        (DINOV3, {}, [("VC208", ("encoder", "num_attention_heads"))]),  # heads of 6 features
        (DINOV3 | {"hidden_size": 32}, {}, []),
        (GEMMA4 | {"num_key_value_heads": 3}, {}, [("VC208", ("encoder", "num_key_value_heads"))]),
        (GEMMA4 | {"num_key_value_heads": 2}, {}, []),
        (LLAMA4 | {"pixel_shuffle_ratio": 0.4}, {}, [("VC208", ("encoder", "pixel_shuffle_ratio"))]),
        (LLAMA4 | {"pixel_shuffle_ratio": 1 / 3}, {}, []),
        (
            MLLAMA | {"supported_aspect_ratios": [[2, 3]]},
            {},
            [("VC208", ("encoder", "supported_aspect_ratios"))],
        ),
        (MLLAMA | {"supported_aspect_ratios": [[1, 5], [2, 2]]}, {}, []),
        (TILES | {"image_size": 13}, {}, [("VC208", ("encoder", "patch_size"))]),
        (TILES | {"image_size": 14}, {}, []),
        (QWEN | {"num_position_embeddings": 8}, {}, [("VC208", ("encoder", "num_position_embeddings"))]),
        (QWEN | {"num_position_embeddings": 9}, {}, []),
        *((family | {"mlp_ratio": 1 / 129}, {}, [("VC208", ("encoder", "mlp_ratio"))]) for family in RATIOS),
        *((family | {"mlp_ratio": 1 / 127}, {}, []) for family in RATIOS),
        (INKLING | {"mlp_ratio": 1e-9, "intermediate_size": 1}, {}, []),
        (OCR | {"global_attn_indexes": [0, 3, 4]}, {}, [("VC208", ("encoder", "global_attn_indexes", 2))]),
        (OCR | {"global_attn_indexes": [0, 3]}, {}, []),
        (OCR | {"global_attn_indexes": [2, 5, 8, 11]}, {}, []),  # what transformers writes of every model
        (OCR, {}, []),
        (
            WINDOWS | {"fullatt_block_indexes": [7, 4]},
            {},
            [("VC208", ("encoder", "fullatt_block_indexes", i)) for i in (0, 1)],
        ),
        (WINDOWS | {"fullatt_block_indexes": [3]}, {}, []),
        (WINDOWS, {}, []),
    ],
)
def test_rules_at_their_edges(encoder: dict[str, Any], keys: dict[str, Any], found: list[Any]) -> None:
    assert problems(encoder, **keys) == found
