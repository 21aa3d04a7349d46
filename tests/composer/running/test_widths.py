"""Linear layers of awkward widths: padded products, and nothing else that anybody could see."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import OP_ULPS, assert_close, assert_gradients_close
from support.packed import batch_of
from support.products import Products
from torch import nn

from vision_composer import ComposedVisionEncoder, compose
from vision_composer.running import widths
from vision_composer.running.quantization import quantize_linears
from vision_composer.running.widths import PaddedLinear, pad_widths, without_padding

QWEN = tiny.ALL["qwen2_5_vl_vision"] | {"intermediate_size": 1027}


def encoder_of(**keys: Any) -> ComposedVisionEncoder:
    return compose({"schema": 1, "encoder": QWEN, **keys})


def padded(module: nn.Module) -> list[str]:
    return [name.rpartition(".")[2] for name, part in module.named_modules() if type(part) is PaddedLinear]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(1025, 8), (7, 3420), (1033, 1031)])
def test_a_layer_gives_what_a_plain_one_gives(
    inputs: int, outputs: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = nn.Linear(inputs, outputs, bias=bias)
    layer = PaddedLinear.of(plain)
    monkeypatch.setattr(widths, "_ROWS", 0)
    x = torch.randn(2, 3, inputs)
    assert_close(layer(x), plain(x), ulps=OP_ULPS)
    assert layer(x).shape == (2, 3, outputs)
    gradients = []
    for each in (layer, plain):
        leaf = x.clone().requires_grad_()
        each(leaf).square().sum().backward()
        gradients.append([leaf.grad, *(parameter.grad for parameter in plain.parameters())])
        plain.zero_grad()
    assert_gradients_close(*gradients)
    shapes = product_shapes(layer, x)
    assert not any(size % 8 for shape in shapes for size in shape if size >= 1024)


def test_few_rows_are_not_padded_unless_compiled() -> None:
    layer = PaddedLinear.of(nn.Linear(3420, 8))
    for rows, padded in ((2047, False), (2048, True)):
        sizes = {size for shape in product_shapes(layer, torch.randn(rows, 3420)) for size in shape}
        assert (3424 in sizes, 3420 in sizes) == (padded, not padded)
    traced: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Any:
        traced.append(graph)
        return graph.forward

    torch.compile(layer, backend=backend)(torch.randn(2, 3420))
    assert ".pad(" in traced[0].code


def product_shapes(layer: Any, x: torch.Tensor) -> list[tuple[int, int, int]]:
    with Products() as products, torch.no_grad():
        layer(x)
    assert products.shapes
    return products.shapes


def test_layers_of_awkward_widths_are_padded() -> None:
    assert padded(encoder_of()) == ["gate_proj", "up_proj", "down_proj"] * encoder_of().plan.num_blocks
    for width in (1024, 1032, 37):  # a multiple of 8, and one that is too small to matter
        assert not padded(compose({"schema": 1, "encoder": QWEN | {"intermediate_size": width}}))


@torch.no_grad()
def test_features_and_parameters_are_those_of_plain_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widths, "_ROWS", 0)
    encoder = tiny.scramble(encoder_of())
    plain = copy.deepcopy(encoder)
    without_padding(plain)
    assert not padded(plain)
    assert padded(encoder)
    batch = batch_of("qwen2_5_vl_vision", [(1, 4, 6), (1, 2, 2)])
    want = list(plain(**batch))
    assert_close(list(encoder(**batch)), want)
    parameters = dict(plain.named_parameters())
    assert all(torch.equal(p, parameters.pop(name)) for name, p in encoder.named_parameters())
    assert not parameters
    encoder.save(tmp_path)
    for other in (compose(tmp_path), copy.deepcopy(encoder)):
        assert_close(list(other(**batch)), want)
    model = pickle.loads(pickle.dumps(encoder.model))
    assert padded(model) == padded(encoder)
    hidden = encoder.as_transformers()(**batch).hidden_states[-1]
    assert_close(hidden.flatten(0, -2), torch.cat(want))


def test_weights_that_are_written_or_replaced_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widths, "_ROWS", 0)
    plain = nn.Linear(8, 1025)
    root = nn.Sequential(plain)
    pad_widths(root)
    x = torch.randn(3, 8)
    for change in (
        lambda: plain.weight.data.normal_(),
        lambda: root[0].load_state_dict({k: v * 2 for k, v in root[0].state_dict().items()}, assign=True),
        lambda: root.double(),
    ):
        change()
        same = nn.functional.linear(x.to(root[0].weight.dtype), root[0].weight, root[0].bias)
        assert_close(root(x.to(root[0].weight.dtype)), same, ulps=OP_ULPS)


def test_layers_are_plain_before_they_are_quantised(monkeypatch: pytest.MonkeyPatch) -> None:
    root = nn.Sequential(nn.Linear(8, 1025))
    pad_widths(root)
    seen = []
    monkeypatch.setattr(
        "vision_composer.running.quantization._quantize", lambda layer, kind: seen.append(type(layer))
    )
    quantize_linears(root, [root], "int8", {})
    assert seen == [nn.Linear]


def test_adapters_have_the_shapes_of_the_checkpoint() -> None:
    peft = pytest.importorskip("peft", reason="peft is an extra")
    model = encoder_of().as_transformers()
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["gate_proj", "down_proj"]))
    shapes = {tuple(p.shape) for name, p in adapted.named_parameters() if "lora_" in name}
    assert shapes == {(2, 32), (1027, 2), (2, 1027), (32, 2)}
