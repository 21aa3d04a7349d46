"""What a checkpoint is that cannot be read is said in one sentence, with what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.checkpoints import Tensors, features, load, rewrite
from support.foreign import Kind

from vision_composer import compose
from vision_composer.encoders import FAMILIES
from vision_composer.errors import WeightsError
from vision_composer.schemas import encoder_config
from vision_composer.weights.kinds import _KINDS, quantised_by

QUERY = "encoder.layers.1.self_attn.q_proj"
PATCHES = "embeddings.patch_embedding"
PLAIN = "use the checkpoint that was quantised, in float32, float16 or bfloat16"


def instead(*names: str, dtype: torch.dtype = torch.int8) -> Callable[[Tensors], Tensors]:
    """Puts tensors in the place of the weight of a query projection."""

    def change(tensors: Tensors) -> Tensors:
        others = {name: tensor for name, tensor in tensors.items() if name != f"{QUERY}.weight"}
        return others | {f"{QUERY}.{name}": torch.ones(4, dtype=dtype) for name in names}

    return change


KINDS = {
    "bitsandbytes, 4 bit": (instead("weight", "weight.absmax"), "quantised by bitsandbytes"),
    "bitsandbytes, map": (instead("weight", "weight.quant_map"), "quantised by bitsandbytes"),
    "bitsandbytes, nested": (instead("weight", "weight.nested_absmax"), "quantised by bitsandbytes"),
    "bitsandbytes, state": (
        instead("weight", "weight.quant_state.bitsandbytes__nf4"), "quantised by bitsandbytes"
    ),
    "bitsandbytes, 8 bit": (instead("weight", "SCB"), "quantised by bitsandbytes"),
    "gptq": (instead("qweight", "qzeros", "scales", "g_idx"), "quantised by GPTQ"),
    "awq": (instead("qweight", "qzeros", "scales"), "quantised by AWQ or GPTQ"),
    "fp8": (instead("weight", "weight_scale_inv"), "quantised by fp8 or int8 scales"),
    "compressed": (instead("weight_packed", "weight_scale"), "quantised by compressed-tensors"),
    "torchao": (instead("_weight_qdata", "_weight_scale"), "quantised by torchao"),
    "quanto": (instead("weight._data", "weight._scale"), "quantised by quanto"),
    "hqq": (instead("W_q"), "quantised by HQQ"),
    "weight norm": (instead("weight_g", "weight_v"), "weights under weight norm"),
    "weight norm, new": (instead("parametrizations.weight.original0"), "weights under weight norm"),
    "parametrization": (instead("parametrizations.weight.original"), "weights under a parametrization"),
    "lora": (instead("base_layer.weight", "lora_A.default.weight"), "an adapter's weights, not merged"),
    "lora beside": (lambda t: t | {f"{QUERY}.lora_B.weight": torch.ones(1)}, "an adapter's weights, not me"),
    "saved beside": (instead("modules_to_save.default.weight"), "an adapter's weights, not merged"),
    "ia3": (lambda t: t | {f"{QUERY}.ia3_l": torch.ones(1)}, "an adapter's weights, not merged"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_is_is_said_in_one_sentence(kind: str, folder: Path) -> None:
    change, what = KINDS[kind]
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=re.escape(what)) as raised:
        load(folder)
    message = str(raised.value)
    assert QUERY in message
    assert ": use " in message or ": merge " in message or ": save " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: {"x.y": torch.ones(1)}, "holds no such encoder"),
        (
            lambda t: Kind().tensors() | {"blocks.0.attn.qkv.lora_A.default.weight": torch.ones(2, 2)},
            "an adapter's weights",
        ),
        (lambda t: {f"x.{QUERY}.qweight": torch.ones(1), "x.y": torch.ones(1)}, "AWQ or GPTQ"),
        (lambda t: {f"base_model.model.{QUERY}.lora_A.weight": torch.ones(1)}, "an adapter's weights"),
    ],
)
def test_without_the_towers_names_the_whole_checkpoint_is_meant(
    change: Callable[[Tensors], Tensors], what: str, folder: Path
) -> None:
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=what):
        load(folder)


def test_a_language_model_that_is_quantised_or_adapted_does_not_matter(folder: Path) -> None:
    want = features(load(folder))
    language = "language_model.layers.0.self_attn.q_proj"
    names = ("qweight", "g_idx", "lora_A.default.weight", "weight_g", "weight.absmax")
    rewrite(
        folder,
        lambda tensors: (
            {f"vision_tower.{name}": tensor for name, tensor in tensors.items()}
            | {f"{language}.{name}": torch.ones(1) for name in names}
            | {f"other_tower.{name}": tensor.clone() for name, tensor in tensors.items()}
            | {f"other_tower.{QUERY}.qweight": torch.ones(1)}
        ),
    )
    (folder / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    assert torch.equal(features(load(folder, weights={"prefix": "vision_tower"})), want)
    with pytest.raises(WeightsError, match="quantised by GPTQ"):
        load(folder, weights={"prefix": "other_tower"})


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quant_method": "awq"}, "AWQ"),
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, "fp8"),
        ({"quant_method": ["awq"]}, ""),
        ({"quant_method": "x" * 1_000}, ""),
        ("awq", ""),
        (None, ""),
    ],
)
def test_the_method_is_the_one_of_config_json(config: Any, method: str, folder: Path) -> None:
    own = json.loads((folder / "config.json").read_text()) | {"quantization_config": config}
    (folder / "config.json").write_text(json.dumps(own))
    rewrite(folder, instead("qweight"))
    with pytest.raises(WeightsError, match=rf"quantised by {method or 'AWQ or GPTQ'} \(tensor"):
        load(folder)
    by = f" by {method}" if method else ""
    rewrite(folder, lambda t: t | {f"{QUERY}.weight": torch.ones(1, dtype=torch.float8_e4m3fn)})
    rewrite(folder, lambda t: {name: tensor for name, tensor in t.items() if "qweight" not in name})
    with pytest.raises(
        WeightsError, match=rf"is torch\.float8_e4m3fn; quantised{by}, it is not read: {PLAIN}"
    ):
        load(folder)


def test_llama_cpps_files_are_named(folder: Path) -> None:
    (folder / "mmproj.gguf").write_bytes(b"GGUF")
    load(folder)
    (folder / "model.safetensors").unlink()
    for source in (folder, folder / "mmproj.gguf"):
        with pytest.raises(
            WeightsError, match=r"mmproj\.gguf is a GGUF file of llama\.cpp, which is not read: u"
        ):
            load(source)


def test_a_pickle_of_torchaos_classes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    module = ModuleType("torchao")
    made = type("Int8Tensor", (), {"__module__": "torchao", "__reduce__": lambda self: (made, ())})
    module.Int8Tensor = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchao", module)
    torch.save({"x.weight": made()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        WeightsError, match=rf"holds weights quantised by torchao, which are not read: {PLAIN}"
    ):
        load(tmp_path, weights={"format": "pickle"})


@pytest.mark.parametrize("model_type", sorted({family.model_type for family in FAMILIES.values()}))
def test_no_family_has_such_names(model_type: str) -> None:
    family = FAMILIES[model_type]
    encoder = encoder_config(tiny.encoder_of(model_type))
    shapes = family.shapes(encoder, 2, post_norm=True, head=encoder.has_head)
    assert shapes
    for name in shapes:
        assert not any(mark in f"x.{name}" for kind in _KINDS for mark in kind.marks), name


def test_a_checkpoint_without_a_config_json_says_nothing_of_a_method() -> None:
    class Bare:
        def config(self) -> None:
            return None

    bare: Any = Bare()
    assert quantised_by(bare) == ""


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda t: t | {f"{QUERY}.extra": torch.ones(1)}, f"{QUERY}.extra"),
        (lambda t: t | {"encoder.layers.0.q_norm.weight": torch.ones(1)}, "encoder.layers.0.q_norm.weight"),
        (lambda t: t | {"embeddings.register_tokens": torch.ones(1)}, "embeddings.register_tokens"),
        (lambda t: t | {f"{PATCHES}.bias": torch.ones(1)}, f"{PATCHES}.bias"),
    ],
)
def test_a_tensor_of_a_part_that_the_encoder_has_without_it(
    change: Callable[[Tensors], Tensors], name: str, folder: Path
) -> None:
    (folder / "config.json").unlink()
    rewrite(
        folder, lambda t: t | {"encoder.layers.3.unbuilt": torch.ones(1), "other.layers.0.x": torch.ones(1)}
    )
    load(folder)
    for harmless in (f"{QUERY}.position_ids", f"{QUERY}.rotary_emb.inv_freq", "embeddings.mask_token"):
        rewrite(folder, lambda t, name=harmless: t | {name: torch.ones(1)})
    load(folder)
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=rf"holds tensor '{re.escape(name)}' for which .* has no place"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("internvl_vision/normed", {"use_qk_norm": False}),
        ("internvl_vision/normed", {"attention_bias": False}),
        ("dinov3_vit/gated", {"key_bias": False}),
        ("dinov2", {"qkv_bias": False}),
        ("got_ocr2_vision", {"use_rel_pos": False}),
    ],
)
def test_fields_that_leave_out_tensors_of_the_blocks(
    name: str, without: dict[str, Any], tmp_path: Path
) -> None:
    encoder = tiny.ENCODERS[name]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    (folder / "config.json").unlink()
    config = {"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}}
    compose(config)
    with pytest.raises(WeightsError, match=r"for which this .* has no place"):
        compose(config | {"encoder": encoder | without})
