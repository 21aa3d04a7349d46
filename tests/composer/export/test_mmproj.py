"""What llama.cpp computes of a written file is what the encoder gives to its language model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.mmproj import Mmproj
from support.tiny import scramble

from vision_composer import compose, export_encoder
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import ExportError, MissingDependencyError
from vision_composer.export.mmproj import DTYPES

TANH = "gelu_pytorch_tanh"
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "patch_size": 8,
}
CLIP = {**TOWER, "model_type": "clip_vision_model", "image_size": 32}
SIGLIP = {**TOWER, "model_type": "siglip_vision_model", "image_size": 32, "vision_use_head": False}
IDEFICS3 = {**TOWER, "model_type": "idefics3_vision", "image_size": 48}
SIGLIP2 = {**TOWER, "model_type": "siglip2_vision_model", "num_patches": 36, "vision_use_head": False}
LLAVA = {"type": "llava", "hidden_size": 24, "act": TANH}
LFM2 = {"type": "lfm2_vl", "hidden_size": 24, "intermediate_size": 20, "act": TANH}
SECOND_TO_LAST = {"select_layers": [-2], "feature_select_strategy": "default"}
NOT_RESIZED = {"size": {"longest_edge": 48}}
"""Idefics3's processor makes an image larger before it makes it as small as a tile."""
KINDS: dict[str, dict[str, Any]] = {
    "llava": {"encoder": CLIP, "connector": LLAVA, **SECOND_TO_LAST},
    "llava/layers": {
        "encoder": CLIP | {"hidden_act": "gelu_pytorch_tanh"},
        "connector": LLAVA,
        "select_layers": [0, 2, 4],
        "feature_select_strategy": "default",
        "post_norm": "last",
    },
    "llava/silu": {"encoder": CLIP | {"hidden_act": "silu"}, "connector": LLAVA, **SECOND_TO_LAST},
    "siglip": {"encoder": SIGLIP, "connector": LLAVA},
    "siglip/layer": {"encoder": SIGLIP, "connector": LLAVA, "select_layers": [-1], "post_norm": "none"},
    "gemma3": {
        "encoder": SIGLIP | {"layer_norm_eps": 1e-3, "image_size": 48},
        "connector": {"type": "gemma3", "hidden_size": 24, "mm_tokens_per_image": 4},
    },
    "idefics3": {
        "encoder": IDEFICS3,
        "connector": {"type": "idefics3", "hidden_size": 24, "scale_factor": 3},
        "image_processor": NOT_RESIZED,
    },
    "smolvlm": {
        "encoder": IDEFICS3 | {"model_type": "smolvlm_vision"},
        "connector": {"type": "idefics3", "hidden_size": 24},
        "image_processor": NOT_RESIZED,
    },
    "lfm2": {"encoder": SIGLIP2, "connector": LFM2},
    "lfm2/no norm": {
        "encoder": SIGLIP2,
        "connector": LFM2 | {"use_layer_norm": False, "downsample_factor": 3},
    },
}


def encoder(kind: str, **keys: Any) -> ComposedVisionEncoder:
    """An encoder whose matrices are the same in float16."""
    composed = compose({"schema": 1, "output": "embeds", **KINDS[kind], **keys})
    assert isinstance(composed, ComposedVisionEncoder)
    scramble(composed)
    with torch.no_grad():
        for parameter in composed.parameters():
            parameter.copy_(parameter.half())
    return composed


def image_for(composed: ComposedVisionEncoder) -> Any:
    side = composed.info.image_size
    return np.random.default_rng(2).integers(0, 256, (side, side, 3), dtype=np.uint8)


def difference(composed: ComposedVisionEncoder, file: Mmproj) -> float:
    """The largest, relative to the largest feature."""
    image = image_for(composed)
    (wanted,) = composed.encode([image])
    found = file.embeds(image)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted.double().numpy()).max() / wanted.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_gives_the_embeds_of_the_encoder(kind: str, tmp_path: Path) -> None:
    composed = encoder(kind)
    exported = export_encoder(composed, tmp_path / "mmproj.gguf", "gguf")
    assert exported.parity == {}
    assert [each.name for each in tmp_path.iterdir()] == ["mmproj.gguf"]
    assert difference(composed, Mmproj(exported.path)) < 2e-6


@pytest.mark.parametrize(
    ("kind", "dtype", "number"),
    [
        *((kind, "f16", 1) for kind in ("llava", "gemma3", "idefics3", "lfm2")),
        *(
            (kind, dtype, number)
            for kind in ("llava", "gemma3")
            for dtype, number in (("f32", 0), ("bf16", 32))
        ),
    ],
)
def test_every_tensor_has_the_dtype_of_llama_cpp(kind: str, dtype: str, number: int, tmp_path: Path) -> None:
    composed = encoder(kind)
    file = Mmproj(export_encoder(composed, tmp_path / "mmproj.gguf", "gguf", dtype=dtype).path)
    assert file.keys["general.file_type"] == number
    assert difference(composed, file) < (2e-2 if dtype == "bf16" else 2e-6)
    matrices = {name for name, shape in file.shapes.items() if len(shape) > 1}
    patches, positions, gemma = "v.patch_embd.weight", "v.position_embd.weight", "mm.input_projection.weight"
    wanted = dict.fromkeys(file.types, "F32") | dict.fromkeys(matrices, dtype.upper())
    wanted[positions] = "F32"
    wanted[patches] = "F16" if dtype == "f16" and kind in ("llava", "lfm2") else "F32"
    if kind == "gemma3":
        wanted[gemma] = "F16"
        assert file.shapes[gemma] == (32, 24)  # as in transformers, which llama.cpp transposes
    assert file.types == wanted
    assert file.shapes[patches] == (32, 3, 8, 8)


def test_keys_and_names_of_llava(tmp_path: Path) -> None:
    file = Mmproj(export_encoder(encoder("llava", name="tiny"), tmp_path / "mmproj.gguf", "gguf").path)
    given = {key: value for key, value in file.keys.items() if not key.startswith("GGUF.")}
    mean, std = given.pop("clip.vision.image_mean"), given.pop("clip.vision.image_std")
    assert mean == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert std == pytest.approx([0.26862954, 0.26130258, 0.27577711])
    assert given.pop("clip.vision.attention.layer_norm_epsilon") == pytest.approx(1e-5)
    assert given == {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.name": "tiny",
        "general.file_type": 1,
        "general.quantization_version": 2,
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.vision.projection_dim": 24,
        "clip.vision.image_size": 32,
        "clip.vision.patch_size": 8,
        "clip.vision.embedding_length": 32,
        "clip.vision.feed_forward_length": 48,
        "clip.vision.block_count": 3,
        "clip.vision.attention.head_count": 4,
        "clip.vision.feature_layer": [3],
    }
    of_block = ["attn_q", "attn_k", "attn_v", "attn_out", "ln1", "ln2", "ffn_up", "ffn_down"]
    both = [f"v.blk.{i}.{part}" for i in range(3) for part in of_block] + ["v.pre_ln", "mm.0", "mm.2"]
    assert file.types.keys() == {
        *(f"{name}.{each}" for name in both for each in ("weight", "bias")),
        *("v.class_embd", "v.patch_embd.weight", "v.position_embd.weight"),
    }


def test_llava_without_feature_layer_loses_its_last_block(tmp_path: Path) -> None:
    """Why the key is written: by block_count alone, llama.cpp runs one block less than the file has."""
    composed = encoder("llava")
    file = Mmproj(export_encoder(composed, tmp_path / "mmproj.gguf", "gguf").path)
    del file.keys["clip.vision.feature_layer"]
    assert difference(composed, file) > 1e-2


def test_gelu_of_llama_cpp_is_an_approximation(tmp_path: Path) -> None:
    composed = encoder("llava", connector=LLAVA | {"act": "gelu"})
    file = Mmproj(export_encoder(composed, tmp_path / "mmproj.gguf", "gguf").path)
    assert 1e-5 < difference(composed, file) < 1e-3


@pytest.mark.parametrize(
    ("tiling", "edge"), [("none", 48), ({"type": "idefics3", "longest_edge": 96}, 96)], ids=["whole", "tiles"]
)
def test_idefics3_names_the_edge_that_llama_cpp_cuts(tiling: Any, edge: int, tmp_path: Path) -> None:
    exported = export_encoder(encoder("smolvlm", tiling=tiling), tmp_path / "mmproj.gguf", "gguf")
    assert Mmproj(exported.path).keys["clip.vision.preproc_image_size"] == edge


def test_the_image_size_of_lfm2_is_that_of_its_positions(tmp_path: Path) -> None:
    """Whatever the largest image is that its processor makes."""
    tiles = {"type": "lfm2_vl", "tile_size": 96}
    composed = encoder("lfm2", image_processor={"type": "Lfm2VlImageProcessor"}, tiling=tiles)
    assert composed.info.image_size > 48
    keys = Mmproj(export_encoder(composed, tmp_path / "mmproj.gguf", "gguf").path).keys
    assert keys["clip.vision.image_size"] == 48
    assert keys["clip.vision.projector.scale_factor"] == 2


def test_what_a_dtype_cannot_hold_leaves_no_file(tmp_path: Path) -> None:
    composed, file = encoder("llava"), tmp_path / "mmproj.gguf"
    weight = composed.blocks[1].get_parameter("mlp.fc1.weight")
    for value, message in ((1e5, "too large for torch.float16; write bf16 or f32"), (np.nan, "NaN")):
        with torch.no_grad():
            weight[3, 4] = value
        with pytest.raises(ExportError, match=rf"v\.blk\.1\.ffn_up\.weight has values that are {message}"):
            export_encoder(composed, file, "gguf")
    with torch.no_grad():
        weight[3, 4] = 1e5
    export_encoder(composed, file, "gguf", dtype="bf16")
    assert [each.name for each in tmp_path.iterdir()] == ["mmproj.gguf"]


def test_weights_that_are_not_plain_are_refused(tmp_path: Path) -> None:
    composed = encoder("llava")
    torch.nn.utils.parametrizations.weight_norm(composed.blocks[0].get_submodule("mlp.fc1"))
    with pytest.raises(ExportError, match=r"mlp\.fc1 are parametrized"):
        export_encoder(composed, tmp_path / "mmproj.gguf", "gguf")
    composed = encoder("llava")
    composed.blocks[0].register_buffer("extra", torch.zeros(3))
    with pytest.raises(ExportError, match=r"layers\.0\.extra is a tensor that a GGUF file has no name for"):
        export_encoder(composed, tmp_path / "mmproj.gguf", "gguf")
    assert list(tmp_path.iterdir()) == []


def test_pixels_that_llama_cpp_would_make_otherwise_are_refused(tmp_path: Path) -> None:
    composed = encoder("llava")
    levels = composed.preprocessor.levels
    assert levels is not None
    levels.table[1] *= 2
    with pytest.raises(ExportError, match="a standard deviation: its image processor does something else"):
        export_encoder(composed, tmp_path / "mmproj.gguf", "gguf")


def test_dtype_is_of_gguf_files(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"dtype is 'q8_0'; of a GGUF file it must be {', '.join(DTYPES)}"):
        export_encoder(encoder("llava"), tmp_path / "mmproj.gguf", "gguf", dtype="q8_0")
    with pytest.raises(ExportError, match=r"has the encoder's own dtype: set weights\.dtype"):
        export_encoder(encoder("llava"), tmp_path / "tower.pt2", dtype="f16")


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = encoder("llava")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(
        MissingDependencyError, match=r"gguf is needed .* pip install 'vision-composer\[gguf\]'"
    ):
        export_encoder(composed, tmp_path / "mmproj.gguf", "gguf")
    assert list(tmp_path.iterdir()) == []
