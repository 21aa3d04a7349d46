"""Which encoders llama.cpp runs, and why not the others."""

from __future__ import annotations

from typing import Any

import pytest
from gguf import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES
from support.vlms.parts import CLIP

from vision_composer import plan
from vision_composer.errors import ExportError
from vision_composer.export.projectors import PROJECTORS, layers_of, projector_of
from vision_composer.presets import load_config, preset_names

LLAVA = {"type": "llava", "hidden_size": 24}
GEMMA3 = {"type": "gemma3", "hidden_size": 24, "mm_tokens_per_image": 4}
SIGLIP = CLIP | {"model_type": "siglip_vision_model"}
QWEN = {"model_type": "qwen2_vl_vision", "embed_dim": 32, "hidden_size": 24, "depth": 2, "num_heads": 4}
TAKEN: dict[str, Any] = {
    "schema": 1,
    "encoder": CLIP,
    "connector": LLAVA,
    "select_layers": [-2],
    "feature_select_strategy": "default",
    "output": "embeds",
}


def refused(**keys: Any) -> str:
    planned = plan(TAKEN | {"name": "tiny"} | keys)
    with pytest.raises(ExportError) as error:
        projector_of(planned.config, planned.readout)
    assert str(error.value).startswith("tiny ")
    return str(error.value)


def test_the_smallest_is_taken() -> None:
    planned = plan(TAKEN)
    assert projector_of(planned.config, planned.readout).type == "mlp"
    assert layers_of(planned.readout) == (3,)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"output": "features"}, "export it with output=embeds"),
        (
            {"encoder": QWEN, "connector": None, "select_layers": None, "feature_select_strategy": "full"},
            "a qwen2_vl_vision tower and no connector; GGUF files are written of the connectors",
        ),
        (
            {"connector": {"type": "vipllava", "hidden_size": 24}},
            "a clip_vision_model tower and the connector vipllava; GGUF files are written of the connectors "
            "llava, gemma3, idefics3, lfm2_vl",
        ),
        (
            {"connector": GEMMA3, "feature_select_strategy": "default"},
            "a clip_vision_model tower; llama.cpp runs the connector gemma3 behind siglip_vision_model",
        ),
        ({"encoder": CLIP | {"num_channels": 1}}, "three channels, not 1"),
        ({"encoder": CLIP | {"hidden_act": "relu"}}, "no blocks with hidden_act relu; it has gelu,"),
        ({"encoder": CLIP | {"intermediate_size": 32}}, "would take each MLP's layers for each other"),
        ({"connector": LLAVA | {"act": "relu"}}, "has gelu between its layers, not relu"),
        ({"connector": LLAVA | {"bias": False}}, "connector has biases"),
        ({"feature_select_strategy": "full"}, "set feature_select_strategy=default"),
        ({"select_layers": [3, 1]}, "from the shallowest to the deepest"),
        ({"select_layers": [-1, 4]}, "each once"),
        ({"select_layers": [1, 3], "post_norm": "each"}, "norms the deepest hidden state alone"),
        (
            {"encoder": SIGLIP, "connector": GEMMA3, "tiling": {"type": "gemma3"}},
            "does not cut its images into such tiles; export it with tiling=none",
        ),
        (
            {"encoder": SIGLIP | {"image_size": 40}, "connector": GEMMA3},
            "5 patches along a side make no whole squares of 2",
        ),
    ],
)  # fmt: skip
def test_the_reason_is_said(keys: dict[str, Any], message: str) -> None:
    assert message in refused(**keys)


def test_no_other_projector_joins_layers() -> None:
    encoder = CLIP | {"model_type": "idefics3_vision"}
    connector = {"type": "idefics3", "hidden_size": 24}
    assert "one hidden state to its connector" in refused(
        encoder=encoder, connector=connector, select_layers=[1, 2]
    )


def test_presets_are_taken_by_their_connectors() -> None:
    taken = {}
    for name in preset_names():
        config = load_config(name)
        if config.connector is None or config.connector.type not in PROJECTORS:
            continue
        planned = plan(name, overrides=["output=embeds"])
        taken[name] = projector_of(planned.config, planned.readout).type
    assert taken == {
        **dict.fromkeys(("gemma-3-4b", "gemma-3-12b", "gemma-3-27b"), "gemma3"),
        **dict.fromkeys(("idefics3-8b-llama3", "smolvlm2-2.2b", "smolvlm2-500m"), "idefics3"),
        **dict.fromkeys(("smolvlm-2.2b", "smolvlm-256m", "smolvlm-500m"), "idefics3"),
        **dict.fromkeys(("lfm2-vl-450m", "lfm2.5-vl-1.6b", "lfm2.5-vl-450m"), "lfm2"),
        **dict.fromkeys(("llava-1.5-7b", "llava-1.5-13b"), "mlp"),
    }


def test_names_are_those_of_gguf() -> None:
    known = {TENSOR_NAMES[each].replace("{bid}", "1") for each in MODEL_TENSORS[MODEL_ARCH.MMPROJ]}
    for projector in PROJECTORS.values():
        for name in projector.names.values():
            assert name.removesuffix(".").replace(".0", ".1").replace(".2", ".1") in known
