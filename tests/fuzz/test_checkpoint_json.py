"""JSON files of a checkpoint broken at random: each is read, or refused by an error of ours, in little time.

``VISION_COMPOSER_FUZZ`` is the number of examples that each target tries; ``make fuzz`` sets a large one.
What once went wrong stands in ``corpus/checkpoint_json``, whose files are tried as every kind of file.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import tiny

from vision_composer.config_json import tower_of_config_json
from vision_composer.encoders import FAMILIES
from vision_composer.errors import VisionComposerError
from vision_composer.presets import load_config
from vision_composer.schemas import encoder_config
from vision_composer.weights import open_checkpoint
from vision_composer.weights.own_config import check_own_config

CORPUS = sorted((Path(__file__).parent / "corpus/checkpoint_json").iterdir())
FUZZ = settings(
    max_examples=int(os.environ.get("VISION_COMPOSER_FUZZ", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SECONDS = 2.0

ENCODERS = [
    encoder_config(block)
    for block in (
        tiny.ENCODERS["clip_vision_model"],
        tiny.ENCODERS["dinov2"],
        tiny.ENCODERS["siglip_vision_model"],
        tiny.PACKED["qwen2_5_vl_vision"],
        tiny.PACKED["pixtral"],
    )
]
ODD: list[Any] = [
    *(None, True, False, -1, 0, 1, 7, 2**31, 2**31 + 1, 2**63, 2**70, 1.5, 1e-320, 1e308, 1e999),
    *("", "x", "gelu", "\x00", "\x1b]0;x\x07", "x" * 5_000, "\ud800"),
    *([], {}, [[1]], [[[1]]], [None], {"a": {}}, {"a": {"b": {"c": 1}}}, [0] * 20_000, ["clip_vision_model"]),
]
EXTRA = [
    *("num_labels", "id2label", "label2id", "dtype", "torch_dtype", "rope_theta", "rope_scaling", "depth"),
    *("vision_config", "text_config", "model_type", "architectures", "auto_map", "_name_or_path"),
    *("num_hidden_layers", "stage_names", "out_features", "out_indices", "layer_types", "__class__"),
    *("vision_feature_layer", "vision_feature_select_strategy", "to_dict", "attn_implementation"),
]
odd = st.sampled_from(ODD).map(copy.deepcopy)


def own(index: int) -> dict[str, Any]:
    """What transformers writes beside the weights of an encoder."""
    encoder = ENCODERS[index]
    family = FAMILIES[encoder.model_type]
    written: dict[str, Any] = family.transformers_config(
        encoder, encoder.num_hidden_layers, head=encoder.has_head
    ).to_dict()
    return written


@st.composite
def configs(draw: st.DrawFn) -> tuple[int, bytes]:
    """An encoder, and a config.json that may have been its own."""
    index = draw(st.integers(0, len(ENCODERS) - 1))
    fields = own(index)
    root = fields
    if draw(st.booleans()):
        model = draw(st.sampled_from(["llava", "internvl", "qwen2_5_vl", "x"]))
        root = {"model_type": model, "vision_config": fields}
    for _ in range(draw(st.integers(1, 3))):
        block = draw(st.sampled_from([root, fields]))
        key = draw(st.sampled_from(sorted(block)) | st.sampled_from(EXTRA)) if block else "x"
        if draw(st.integers(0, 5)):
            block[key] = draw(odd)
        else:
            block.pop(key, None)
    content = json.dumps(root).encode()
    if draw(st.integers(0, 3)) == 0:
        where = draw(st.integers(0, len(content)))
        content = content[:where] + draw(st.binary(max_size=3)) + content[where + draw(st.integers(0, 3)) :]
    return index, content


FOREIGN: list[tuple[str, dict[str, Any]]] = [
    (
        "config.json",
        {
            "architecture": "vit_base_patch16_siglip_224",
            "num_features": 768,
            "model_args": {"img_size": 256, "depth": 3, "mlp_ratio": 4.0},
            "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.9, "mean": [0.5] * 3, "tag": "x"},
        },
    ),
    (
        "open_clip_config.json",
        {
            "model_cfg": {"vision_cfg": {"width": 768, "head_width": 64, "norm_kwargs": {"eps": 1e-6}}},
            "preprocess_cfg": {"mean": [0.5] * 3, "size": 224, "resize_mode": "squash"},
        },
    ),
]
"""What timm and open_clip write."""


@st.composite
def foreign(draw: st.DrawFn) -> tuple[str, bytes]:
    """A config of another library, with odd values somewhere."""
    name, root = copy.deepcopy(draw(st.sampled_from(FOREIGN)))
    for _ in range(draw(st.integers(1, 3))):
        block = root
        while (key := draw(st.sampled_from(sorted(block)) if block else st.just("x"))) and draw(
            st.booleans()
        ):
            if not isinstance(block.get(key), dict):
                break
            block = block[key]
        block[key] = draw(odd)
    return name, json.dumps(root).encode()


@st.composite
def indices(draw: st.DrawFn) -> bytes:
    """An index that says odd things."""
    names = st.sampled_from(["a", "b.weight", "embeddings.patch_embedding.weight", "\x00", "x" * 5_000])
    files = (
        st.sampled_from(
            [
                "x.safetensors",
                "x.bin",
                "../x.safetensors",
                "/etc/passwd",
                "pipe.safetensors",
                "folder.safetensors",
            ]
        )
        | odd
    )
    weight_map = draw(st.dictionaries(names, files, max_size=4) | odd)
    content = json.dumps({"metadata": draw(odd), "weight_map": weight_map}).encode()
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 4)) == 0 else content


def refusal(work: Callable[[], object]) -> str | None:
    """What is said when ``work`` is refused; None if it is not."""
    start = time.process_time()
    try:
        work()
    except VisionComposerError as error:
        return str(error)
    finally:
        assert time.process_time() - start < SECONDS
    return None


def check_config(index: int, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_bytes(content)
        (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
        encoder = ENCODERS[index]
        for work in (
            lambda: check_own_config(open_checkpoint(name), FAMILIES[encoder.model_type], encoder),
            lambda: load_config(tower_of_config_json(name)),
        ):
            refused = refusal(work)
            assert refused is None or 0 < len(refused) < 5_000


def check_index(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.mkfifo(folder / "pipe.safetensors")
        (folder / "folder.safetensors").mkdir()
        (folder / "model.safetensors.index.json").write_bytes(content)
        refused = refusal(lambda: tensors(name))
        assert refused is None or 0 < len(refused) < 5_000


def tensors(folder: str) -> None:
    checkpoint = open_checkpoint(folder)
    assert set(checkpoint.files.values()) <= {"x.safetensors", "pipe.safetensors", "folder.safetensors"}
    assert not checkpoint.headers(checkpoint.files)  # no file of these has a tensor


CHECKS: dict[str, Callable[[bytes], None]] = {
    "index": check_index,
    **{
        encoder.model_type: lambda content, index=index: check_config(index, content)
        for index, encoder in enumerate(ENCODERS)
    },
}


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_went_wrong_once(path: Path, kind: str) -> None:
    CHECKS[kind](path.read_bytes())


@FUZZ
@given(configs())
def test_broken_configs(config: tuple[int, bytes]) -> None:
    check_config(*config)


@FUZZ
@given(foreign())
def test_broken_configs_of_other_libraries(config: tuple[str, bytes]) -> None:
    name, content = config
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(content)
        refused = refusal(lambda: load_config(tower_of_config_json(folder)))
        assert refused is None or 0 < len(refused) < 5_000


@FUZZ
@given(indices())
def test_broken_indices(content: bytes) -> None:
    check_index(content)
