"""Every shipped preset loads, says what it is and where it is from, and transformers reads it the same.

Presets are found by looking. Each check goes through all of them and names every one that does not pass.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from support import tiny
from support.offenders import offenders
from transformers import AutoConfig

from vision_composer import plan
from vision_composer.presets import load_config, preset_names, preset_path
from vision_composer.schemas.weights import is_commit

PRESETS = Path(str(resources.files("vision_composer.presets")))
FILES = {
    "/".join(path.relative_to(PRESETS).with_suffix("").parts): path
    for path in sorted(PRESETS.rglob("*.yaml"))
}
"""Address (folder/stem) -> file."""
SINGLE = [address for address, file in FILES.items() if "\ntowers:" not in file.read_text(encoding="utf-8")]
"""Those of one tower."""
FUSED = sorted(FILES.keys() - set(SINGLE))

SIZES = {
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
}
SQUARES = {"image_size", "patch_size", "merge_kernel_size"}
OWN_KEYS = {"schema", "name", "summary", "source", "license"}
SELECTION = {"select_layers", "feature_select_strategy", "post_norm"}

# Some presets of the models that transformers' config classes describe by default -> the fields in which the
# published model differs from that default all the same.
DEFAULTS = {
    "aimv2/large-patch14-224": {"use_head"},
    "blip2/opt-2.7b": set(),
    "c-radio/v4-h": set(),
    "clip/vit-base-patch32": set(),
    "dinov2/base": {"image_size"},
    "dinov2-with-registers/base": {"image_size", "patch_size"},
    "dinov3/vits16": {"num_register_tokens"},
    "gemma-4/e2b": {"use_clipped_linears"},
    "glm/4.1v-9b": set(),
    "got/ocr2": set(),
    "idefics2/8b": {
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "image_size",
        "patch_size",
    },
    "idefics3/8b-llama3": {"intermediate_size", "num_hidden_layers", "image_size", "patch_size"},
    "internvit/300m-448": {"attention_bias"},
    "kimi/k2.6": set(),
    "llama-3.2/11b-vision": {"image_size"},
    "llama-4/scout": {"hidden_size", "image_size", "vision_output_dim"},
    "metaclip-2/worldwide-b32": {"hidden_act"},
    "minimax/m3": set(),
    "mlcd/vit-bigG-patch14-336": set(),
    "siglip/base-patch16-224": set(),
    "siglip2/base-patch16-naflex": set(),
    "smolvlm2/500m": {"hidden_size", "num_attention_heads", "image_size", "patch_size"},
    "lighton-ocr/1b": {"hidden_act", "image_size", "patch_size"},
    "pixtral/12b": {"hidden_act"},
    "qwen2-vl/7b": set(),
    "qwen2.5-vl/7b": {"hidden_size", "tokens_per_second"},
    "qwen3-vl/4b": {
        "depth",
        "hidden_size",
        "intermediate_size",
        "out_hidden_size",
        "deepstack_visual_indexes",
    },
    "qwen3.5/9b": {"out_hidden_size"},
}

# The same for VLMs: the preset, the VLM's config class, and the fields of the tower that differ.
VLM_DEFAULTS = {
    "internvl3/1b": ("InternVLConfig", {"attention_bias"}),
    "llava/1.5-7b": ("LlavaConfig", set()),
    "llava-next/vicuna-7b": ("LlavaNextConfig", set()),
    "llava-onevision/qwen2-7b": ("LlavaOnevisionConfig", set()),
    "vip-llava/7b": ("VipLlavaConfig", set()),
}


def written(address: str) -> dict[str, Any]:
    """What the file itself says, without what it extends."""
    content: dict[str, Any] = yaml.safe_load(FILES[address].read_text(encoding="utf-8"))
    return content


def fields(address: str) -> dict[str, Any]:
    """The encoder block without its model_type, defaults included; a null is left to transformers."""
    encoder = load_config(address).encoder
    block: dict[str, Any] = encoder.model_dump(mode="json", exclude={"model_type"}, exclude_none=True)
    return block


def reported(config: Any, names: Any) -> dict[str, Any]:
    """A transformers config's values as JSON has them; InternVL's and Kimi's squares are pairs there."""
    values = {name: getattr(config, name) for name in set(names) - tiny.UNDECLARED}
    # Where transformers does not declare them, it reads them as true when they are not there.
    values |= {name: getattr(config, name, True) for name in tiny.UNDECLARED & set(names)}
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    for name in SQUARES & values.keys():
        if isinstance(values[name], list):
            height, width = values[name]
            assert height == width
            values[name] = height
    return values


def differing(ours: dict[str, Any], config: Any) -> set[str]:
    theirs = reported(config, ours)
    return {name for name, value in ours.items() if value != theirs[name]}


def test_both_spellings_mean_the_file_with_that_name() -> None:
    assert sorted(preset_names()) == sorted(address.replace("/", "-") for address in FILES)
    assert len(set(preset_names())) == len(FILES)

    def check(address: str) -> None:
        name = address.replace("/", "-")
        assert preset_path(name) == preset_path(address) == FILES[address]
        assert load_config(name) == load_config(address)
        assert load_config(name).name == name

    assert offenders(check, FILES) == []


def test_files_speak_for_themselves() -> None:
    def check(address: str) -> None:
        content, text = written(address), FILES[address].read_text(encoding="utf-8")
        assert content.keys() >= OWN_KEYS
        assert content["name"] == address.replace("/", "-")
        for key in ("summary", "source", "license"):
            assert content[key].strip() == content[key] != ""
            assert "\n" not in content[key]
        assert text.startswith("# yaml-language-server: $schema=../../schemas/json/vision-composer-1.json\n")

    assert offenders(check, FILES) == []


def test_they_load_as_written() -> None:
    def check(address: str) -> None:
        config, content = load_config(address), written(address)
        for key in ("name", "summary", "source", "license"):
            assert getattr(config, key) == content[key]
        encoder = config.encoder.model_dump(mode="json")
        assert {key: encoder[key] for key in content.get("encoder", {})} == content.get("encoder", {})
        assert config.weights.dtype == content.get("weights", {}).get("dtype", "float32")

    assert offenders(check, SINGLE) == []


def test_sizes_are_written_out() -> None:
    def check(address: str) -> None:
        encoder = load_config(address).encoder
        assert encoder.model_fields_set >= SIZES & set(type(encoder).model_fields)

    assert offenders(check, SINGLE) == []


def test_weights_are_named_or_their_absence_explained() -> None:
    def check(address: str) -> None:
        source, content = load_config(address).weights.source, written(address)
        assert "extends" not in content or "source" in content.get("weights", {}), "inherits its weights"
        assert source is not None or "weights" in content["summary"]

    assert offenders(check, SINGLE) == []


def test_weights_on_a_hub_are_pinned_or_said_not_to_be() -> None:
    """Each file says it itself; what one extends does not count. None may promise a commit by a branch."""

    def check(address: str) -> None:
        content = written(address)
        if content.get("weights", {}).get("source"):
            named = [content["weights"]]
        else:
            blocks = [tower for tower in content.get("towers", {}).values() if "extends" in tower]
            named = [block["weights"] for block in blocks if load_config(block["extends"]).weights.source]
        for weights in named:
            revision = weights.get("revision")
            local = str(weights.get("source")).endswith(".safetensors")
            assert local or revision == "unpinned" or is_commit(str(revision))

    assert offenders(check, FILES) == []


def test_vlms_say_what_they_read() -> None:
    def check(address: str) -> None:
        content = written(address)
        assert "extends" not in content or content.keys() >= SELECTION

    assert offenders(check, SINGLE) == []


def test_transformers_takes_the_encoder_blocks_and_reports_them_back() -> None:
    def check(address: str) -> None:
        ours = fields(address)
        model_type = load_config(address).encoder.model_type
        default = AutoConfig.for_model(model_type)
        assert {name for name in ours if not hasattr(default, name)} <= tiny.UNDECLARED
        given = dict(ours)
        if "merge_kernel_size" in ours:  # transformers takes no number here
            given["merge_kernel_size"] = [ours["merge_kernel_size"]] * 2
        if model_type == "molmo2_vision":
            given["image_size"] = [ours["image_size"]] * 2
        assert differing(ours, AutoConfig.for_model(model_type, **given)) == set()

    assert offenders(check, SINGLE) == []


def test_they_plan() -> None:
    def check(address: str) -> None:
        planned = plan(address)
        side = planned.image_size
        facts = json.loads(json.dumps(planned.to_dict([(side, side)])))
        assert facts["num_parameters"] > 0
        assert facts["images"][0]["num_tokens"] > 0
        assert facts["images"][0]["flops"] > 0

    assert offenders(check, FILES) == []


@pytest.mark.parametrize("address", DEFAULTS)
def test_published_model_is_the_config_class_default(address: str) -> None:
    default = AutoConfig.for_model(load_config(address).encoder.model_type)
    assert differing(fields(address), default) == DEFAULTS[address]


@pytest.mark.parametrize("address", VLM_DEFAULTS)
def test_published_vlm_is_the_config_class_default(address: str) -> None:
    class_name, differences = VLM_DEFAULTS[address]
    vlm = getattr(transformers, class_name)()
    config = load_config(address)
    assert vlm.vision_config.model_type == config.encoder.model_type
    assert differing(fields(address), vlm.vision_config) == differences
    # Older releases of transformers name VipLlava's list in the plural.
    layers = getattr(vlm, "vision_feature_layers", None) or vlm.vision_feature_layer
    assert config.resolved_layers == tuple(
        layer % (config.encoder.num_hidden_layers + 1)
        for layer in (layers if isinstance(layers, (list, tuple)) else [layers])
    )
    assert config.feature_select_strategy == getattr(vlm, "vision_feature_select_strategy", "default")


@pytest.mark.parametrize("address", FUSED)
def test_towers_are_presets_or_written_out_and_weights_are_named(address: str) -> None:
    config, content = load_config(address), written(address)
    for name, tower in config.towers_by_name.items():
        own = content["towers"][name]
        if isinstance(own, dict) and "extends" not in own:
            assert tower.encoder.model_fields_set >= SIZES & set(type(tower.encoder).model_fields)
        assert tower.weights.source is not None or "no weights" in (tower.summary or "")


@pytest.mark.parametrize(
    ("address", "tokens", "width"),
    [
        ("openvla/7b", 256, 2176),
        ("prismatic/dinosiglip-224", 256, 2176),
        ("prismatic/dinosiglip-384", 729, 2176),
        ("towers/shared", 1024, 1024 + 1152),
        ("towers/four", 576, 1024),
    ],
)
def test_several_towers_have_the_published_tokens_and_width(address: str, tokens: int, width: int) -> None:
    planned = plan(address)
    assert (planned.num_tokens(640, 480), planned.output_width) == (tokens, width)
    for tower in planned.towers.values() if tokens < 1024 and width == 2176 else ():
        assert tower.select_layers == (tower.info.num_hidden_layers - 1,)
        assert not tower.norm_layers


def test_the_connector_of_openvla() -> None:
    planned = plan("openvla-7b", overrides=["output=embeds"])
    shapes = planned.connector.shapes()
    assert [shapes[f"steps.{i}.weight"] for i in (0, 2, 4)] == [(8704, 2176), (4096, 8704), (4096, 4096)]
    assert planned.num_tokens(640, 480) == 256
    names = planned.connector.names_on_disk()
    assert names == {f"projector.fc{n}.": f"steps.{i}." for n, i in ((1, 0), (2, 2), (3, 4))}
    assert planned.config.input == "stacked"
    assert list(planned.towers) == ["dino", "siglip"]
