"""Comparisons of tiny encoders. Nothing here depends on how long anything takes."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from support import tiny
from support.tiny import config

from vision_composer import compose, plan
from vision_composer.bench import compare, peers
from vision_composer.bench.comparison import noise
from vision_composer.errors import BackendError, InputError

DENSE = [
    "clip_vision_model",
    pytest.param("siglip_vision_model", marks=pytest.mark.slow),
    pytest.param("dinov2", marks=pytest.mark.slow),
    "internvl_vision",
]
PACKED = [
    "pixtral",
    pytest.param("qwen2_vl_vision", marks=pytest.mark.slow),
    "qwen2_5_vl_vision",
    pytest.param("qwen3_vl_vision", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("layers", [None, pytest.param([1, -2], marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("name", DENSE)
def test_dense_encoders_beside_transformers(name: str, layers: list[int] | None) -> None:
    result = compare(config(name, select_layers=layers), against=["transformers"], batch=3, rounds=2)
    ours, theirs = result.rows
    assert (ours.name, theirs.name) == ("vision-composer", "transformers")
    assert result.num_blocks == plan(config(name, select_layers=layers)).num_blocks
    assert len(result.images) == 3
    assert theirs.difference < 1e-5
    assert [len(row.seconds) for row in result.rows] == [2, 2]
    assert all(row.peak_bytes and row.peak_bytes > 0 for row in result.rows)
    assert all(row.graphs == row.recompiles == 0 for row in result.rows)


@pytest.mark.parametrize("name", PACKED)
def test_packed_encoders_beside_transformers(name: str) -> None:
    result = compare(
        config(name), against=["transformers"], images=[(64, 96), (96, 64), (64, 64)], batch=2, rounds=1
    )
    assert len(result.images) == 6
    assert result.num_patches == 2 * sum(
        plan(config(name)).info.num_patches(*size) for size in result.images[:3]
    )
    assert result.rows[1].difference < 1e-5


def test_images_that_transformers_pads() -> None:
    encoder = {"schema": 1, "encoder": tiny.PADDED["siglip2_vision_model"]}
    result = compare(encoder, against=["transformers"], images=[(64, 96), (40, 64)], rounds=1)
    assert result.rows[1].difference < 1e-5


def test_a_head_and_a_norm() -> None:
    for keys in ({"head": True}, {"select_layers": [-1, 2], "post_norm": "each"}):
        result = compare(config("siglip_vision_model", **keys), against=["transformers"], rounds=1)
        assert result.rows[1].difference < 1e-5


@pytest.mark.slow
def test_the_compiled_tower_is_a_row_of_its_own() -> None:
    source = config("clip_vision_model", compile={"backend": "aot_eager"})
    names = [row.name for row in compare(source, against=["transformers"], rounds=1).rows]
    assert names == ["vision-composer", "vision-composer, compiled", "transformers"]
    ours, compiled = compare(source, rounds=2).rows
    assert ours.graphs == 0
    assert compiled.graphs >= 1
    assert compiled.recompiles == 0


@pytest.mark.skipif(
    find_spec("torchao") is None, reason="torchao is not installed; make test-torchao runs these"
)
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_quantised_tower_is_beside_the_one_as_it_is(compiled: bool) -> None:
    keys = config("clip_vision_model", quantize="int8-dynamic", compile=compiled)
    result = compare(keys, against=["transformers"], rounds=1)
    names = ["vision-composer", "vision-composer, int8-dynamic"]
    names += [f"{name}, compiled" for name in names] if compiled else []
    assert [row.name for row in result.rows] == [*names, "transformers"]
    pairs = {quantised.name: plain.name for quantised, plain in result.quantised}
    assert pairs == {name: name.replace(", int8-dynamic", "") for name in names if "int8-dynamic" in name}
    for row, _ in result.quantised:
        assert 1e-4 < row.difference < 0.1  # of the same random weights


def test_other_features_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(tower: Any, inputs: Any) -> Any:
        return lambda: lambda: tower(**inputs) * 1.1

    def fewer(tower: Any, inputs: Any) -> Any:
        return lambda: lambda: tower(**inputs)[:, 1:]

    monkeypatch.setitem(peers.PEERS, "other", other)
    monkeypatch.setitem(peers.PEERS, "fewer", fewer)
    with pytest.raises(BackendError, match=r"other and the tower compute different features: by 0\.1"):
        compare(config("clip_vision_model"), against=["other"], rounds=1)
    with pytest.raises(BackendError, match="fewer returns features of shapes"):
        compare(config("clip_vision_model"), against=["fewer"], rounds=1)


def test_the_version_of_a_module_of_another_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs, the module onnxruntime comes with the distribution onnxruntime-gpu."""

    def same(tower: Any, inputs: Any) -> Any:
        return lambda: lambda: tower(**inputs)

    for module in ("onnxruntime", "onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr(sys.modules["onnxruntime"], "__version__", "9.8.7", raising=False)
    monkeypatch.setitem(peers.PEERS, "onnxruntime", same)
    result = compare(config("clip_vision_model"), against=["onnxruntime"], rounds=1)
    assert result.versions == {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "onnxruntime": "9.8.7",
    }


@pytest.mark.parametrize("images", [[(0, 4)], [(4,)]], ids=str)
def test_sizes_that_are_none(images: Any) -> None:
    with pytest.raises(InputError, match="not the sizes of images: each is a pair of a width"):
        compare(config("clip_vision_model"), images=images)


def test_noise_is_the_same_every_time() -> None:
    tower = compose(config("pixtral"))
    sizes = [(40, 24), (16, 32)]
    one, other = noise(tower, sizes), noise(tower, sizes)
    assert all(torch.equal(one[name], other[name]) for name in one)
