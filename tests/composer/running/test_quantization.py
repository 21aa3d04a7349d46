"""Which layers are quantised, what it costs in features and bytes, and what it does not work with."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.images import noise_image
from support.vlms import VLMS, save_vlm
from torch import nn

from vision_composer import compose, export_encoder, load_config
from vision_composer.config_json import tower_of_config_json
from vision_composer.connectors import CONNECTORS
from vision_composer.errors import BackendError, ExportError, InputError, MissingDependencyError
from vision_composer.jobs.weights_hash import weights_hash
from vision_composer.running import quantization
from vision_composer.running.quantization import check_quantize, quantize_linears
from vision_composer.weights import plain_tensors

needs_torchao = pytest.mark.skipif(
    find_spec("torchao") is None, reason="torchao is not installed; make test-torchao runs these"
)
IMAGES = [noise_image(*size) for size in ((32, 32), (40, 50), (75, 33))]
KINDS = ("int8", "int8-dynamic")


def digits(*overrides: str, **options: Any) -> Any:
    return compose("tiny-digits", overrides=overrides, **options)


def quantised(module: nn.Module) -> set[str]:
    """The names of the quantised weights in it."""
    return {name for name, weight in module.named_parameters() if hasattr(weight, "qdata")}


def num_bytes(encoder: Any) -> int:
    buffers = {name for name, _ in encoder.named_buffers()}
    return sum(tensor.nbytes for name, tensor in plain_tensors(encoder) if name not in buffers)


@needs_torchao
@pytest.mark.parametrize("kind", KINDS)
def test_the_linear_layers_of_blocks_alone_are_quantised(kind: str) -> None:
    plain, encoder = (
        digits("head=true", "select_layers=null"),
        digits("head=true", "select_layers=null", f"quantize={kind}"),
    )
    linears = {
        f"encoder.layers.{block}.{name}.weight"
        for block in range(4)
        for name in ("mlp.fc1", "mlp.fc2", *(f"self_attn.{each}_proj" for each in ("q", "k", "v", "out")))
    }
    assert quantised(encoder.model) == linears  # and not the pooling head's
    assert num_bytes(encoder) == encoder.plan.num_bytes
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    features, expected = torch.stack(encoder.encode(IMAGES)), torch.stack(plain.encode(IMAGES))
    assert not torch.equal(features, expected)
    assert float(torch.cosine_similarity(features, expected, dim=-1).min()) > 0.999
    assert weights_hash(encoder) != weights_hash(plain)


@needs_torchao
def test_activations_are_rounded_by_the_dynamic_kind_alone() -> None:
    """A layer whose weights are integers already loses nothing but by rounding its input."""
    torch.manual_seed(0)
    weights, rows = torch.randint(-127, 128, (8, 16)).float(), torch.randn(4, 16)
    weights[:, 0] = 127.5  # the largest, so that scales are 1
    differences = {}
    for kind in KINDS:
        layer = nn.Linear(16, 8, bias=False)
        layer.weight.data = weights.clone()
        quantize_linears(layer, [layer], kind, {})
        expected = rows @ weights.round().clamp(-128, 127).T
        differences[kind] = float((layer(rows) - expected).abs().max() / expected.abs().max())
    assert differences["int8"] < 1e-6
    assert 1e-4 < differences["int8-dynamic"] < 2e-2


@needs_torchao
@pytest.mark.slow  # a process of its own
def test_products_do_not_overflow_where_onednn_may_not_use_vnni() -> None:
    code = """
import torch
from vision_composer.running.quantization import quantize_linears
layer, rows = torch.nn.Linear(64, 8, bias=False), torch.full((4, 64), 0.5)
torch.nn.init.constant_(layer.weight, 0.5)
quantize_linears(layer, [layer], "int8-dynamic", {})
print(float((layer(rows) - 16).abs().max() / 16))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 0.02


@needs_torchao
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_features_keep_the_dtype(dtype: str) -> None:
    encoder = digits("quantize=int8", f"weights.dtype={dtype}")
    assert encoder.dtype is encoder.encode(IMAGES)[0].dtype is getattr(torch, dtype)
    assert num_bytes(encoder) == encoder.plan.num_bytes


@needs_torchao
@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.ALL)
def test_the_bytes_of_every_family_are_those_planned(name: str) -> None:
    torch.manual_seed(0)
    encoder: Any = compose({"schema": 1, "encoder": tiny.ALL[name], "quantize": "int8"})
    assert quantised(encoder.blocks) == {
        f"{name}.weight" for name, part in encoder.blocks.named_modules() if type(part) is nn.Linear
    }
    assert len(quantised(encoder)) == len(quantised(encoder.blocks))
    assert encoder.plan.num_bytes in (None, num_bytes(encoder))


READ_BY = {name: cls.type for cls in CONNECTORS.values() for name in cls.read_by}
ONE_EACH = {READ_BY[name]: name for name in sorted(VLMS, reverse=True) if name in READ_BY}


@needs_torchao
@pytest.mark.slow
@pytest.mark.parametrize("connector", ONE_EACH)
def test_connectors_are_quantised_run_and_are_read_back(connector: str, tmp_path: Path) -> None:
    config = tower_of_config_json(str(save_vlm(ONE_EACH[connector], tmp_path / "vlm")))
    plain: Any = compose(config, overrides=["output=embeds"])
    encoder: Any = compose(config, overrides=["output=embeds", "quantize=int8"])
    assert num_bytes(encoder) == encoder.plan.num_bytes
    rows, expected = torch.cat(encoder.encode(IMAGES[:1])), torch.cat(plain.encode(IMAGES[:1]))
    assert rows.shape == expected.shape
    encoder.save(tmp_path / "saved")
    assert torch.equal(torch.cat(compose(tmp_path / "saved").encode(IMAGES[:1])), rows)


@needs_torchao
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_features_are_those_of_the_uncompiled_tower(kind: str) -> None:
    assert digits(f"quantize={kind}", "compile=true").warmup([2, 5]) < 5e-2


def test_without_torchao_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchao", "torchao.quantization"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[torchao\]'"):
        digits("quantize=int8")


@needs_torchao
def test_float8_is_refused_where_no_device_has_it() -> None:
    with pytest.raises(BackendError, match=r"capability 8\.9 or more .*, and this is cpu; use int8"):
        digits("quantize=float8", "weights.dtype=bfloat16")


@needs_torchao
def test_float8_is_refused_on_older_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("tiny-digits", overrides=["quantize=float8", "weights.dtype=bfloat16"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an A40")
    with pytest.raises(BackendError, match=r"this is an A40, of 8\.6"):
        check_quantize(config, torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    check_quantize(config, torch.device("cuda"))


@needs_torchao
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_float8_on_a_gpu(tmp_path: Path) -> None:
    plain = digits("weights.dtype=bfloat16", device="cuda")
    encoder = digits("quantize=float8", "weights.dtype=bfloat16", device="cuda")
    assert num_bytes(encoder) == encoder.plan.num_bytes
    features, expected = torch.stack(encoder.encode(IMAGES)), torch.stack(plain.encode(IMAGES))
    assert float(torch.cosine_similarity(features.float(), expected.float(), dim=-1).min()) > 0.98
    encoder.save(tmp_path)
    assert torch.equal(torch.stack(compose(tmp_path, device="cuda").encode(IMAGES)), features)


@needs_torchao
def test_what_a_quantised_encoder_is_not_turned_into(tmp_path: Path) -> None:
    encoder = digits("quantize=int8")
    with pytest.raises(InputError, match="quantised encoder is no model of transformers"):
        encoder.as_transformers()
    with pytest.raises(ExportError, match=r"is quantised.*quantize=none"):
        export_encoder(encoder, tmp_path / "tower.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_config_without_the_key_does_not_ask_for_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "import_module", None)
    digits().encode(IMAGES)
