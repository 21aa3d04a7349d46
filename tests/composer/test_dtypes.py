"""Towers in half precision: transformers' features in the same dtype, and no other dtype in between."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import packed, tiny
from support.compare import assert_close
from support.kinds import one_of_each_kind
from torch import Tensor

from vision_composer import compose
from vision_composer.encoders import FAMILIES

DTYPES = [torch.bfloat16, torch.float16]
LAYERS = [None, [1, -1]]
GRIDS = [(1, 2, 3), (1, 5, 7), (2, 1, 4), (1, 2, 3)]

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """name -> transformers' tiny model and a folder with its float32 weights."""
    root = tmp_path_factory.mktemp("checkpoints")
    made: dict[str, Any] = {}

    def of(name: str) -> Any:
        if name not in made:
            encoder = {**tiny.ENCODERS, **tiny.PACKED}[name]
            folder = tiny.save(tiny.reference(encoder), root / name.replace("/", "-"))
            made[name] = (encoder, folder)
        return made[name]

    return of


def reference(encoder: dict[str, Any], folder: Any, dtype: torch.dtype) -> Any:
    """transformers' own model in that dtype, loaded as its users do."""
    family = FAMILIES[encoder["model_type"]]
    model_class = family.transformers_class(None)
    attention = next(iter(family.attention_backends), "sdpa")
    model = model_class.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    return tiny.seeing_all(model).eval()


@each_dtype
@pytest.mark.parametrize("name", one_of_each_kind(tiny.ENCODERS))
def test_dense_features_equal_transformers(name: str, dtype: torch.dtype, folders: Any) -> None:
    encoder, folder = folders(name)
    weights = {"source": str(folder), "dtype": name_of(dtype)}
    pixel_values = tiny.pixels(encoder)
    model = reference(encoder, folder, dtype)
    for layers in LAYERS:
        tower = compose({"schema": 1, "encoder": encoder, "weights": weights, "select_layers": layers})
        with torch.no_grad():
            got = tower(pixel_values=pixel_values)
            if layers is None:
                want = model(pixel_values=pixel_values.to(dtype)).last_hidden_state
                if want.dim() == 4:  # (images, channels, rows, columns)
                    want = want.flatten(2).transpose(1, 2)
            else:
                states = tiny.hidden_states(model, pixel_values.to(dtype))
                want = torch.cat([states[layer] for layer in layers], dim=-1)
        assert name_of(got.dtype) == tower.plan.dtype
        assert_close(got, want)


@pytest.mark.parametrize("backend", ["sdpa", pytest.param("eager", marks=pytest.mark.slow)])
@each_dtype
@pytest.mark.parametrize("name", one_of_each_kind(tiny.PACKED))
def test_packed_features_equal_transformers(
    name: str, dtype: torch.dtype, backend: str, folders: Any
) -> None:
    encoder, folder = folders(name)
    weights = {"source": str(folder), "dtype": name_of(dtype)}
    tower = compose({"schema": 1, "encoder": encoder, "weights": weights, "attn_backend": backend})
    batch = packed.batch_of(name, GRIDS)
    with torch.no_grad():
        got = tower(**batch)
    assert {name_of(part.dtype) for part in got} == {tower.plan.dtype}
    output = packed.raw(name, batch, reference(encoder, folder, dtype))
    assert_close(torch.cat(got), packed.own_output(name, output))


@each_dtype
@pytest.mark.parametrize("name", one_of_each_kind([*tiny.ENCODERS, *tiny.PACKED]))
def test_blocks_attention_and_norms_keep_the_dtype(name: str, dtype: torch.dtype) -> None:
    """No module hands on another dtype than the parameters', from the first block to the output."""
    encoder = {**tiny.ENCODERS, **tiny.PACKED}[name]
    tower = compose({"schema": 1, "encoder": encoder, "weights": {"dtype": name_of(dtype)}})
    strays: list[str] = []

    def watch(path: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and output.dtype != dtype:
                strays.append(f"{path}: {output.dtype}")

        return hook

    for block in tower.blocks:
        for path, module in block.named_modules():
            module.register_forward_hook(watch(path or "block"))
    dense = name in tiny.ENCODERS
    inputs = {"pixel_values": tiny.pixels(encoder)} if dense else packed.batch_of(name, GRIDS)
    with torch.no_grad():
        outputs = tower(**inputs)
    assert strays == []
    assert {part.dtype for part in outputs} == {dtype}
    assert {parameter.dtype for parameter in tower.parameters()} == {dtype}
