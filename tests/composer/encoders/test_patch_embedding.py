"""Adapters and hooks on the patch embedding and the position table of packed families, and their memory."""

from __future__ import annotations

import copy
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from support import tiny
from support.compare import assert_close
from torch import Tensor, nn

from vision_composer import compose
from vision_composer.encoders.patch_embedding import embed_patches, position_table

ENCODERS = tiny.PACKED | tiny.PADDED
TABLES = {
    name: path
    for name in ENCODERS
    for family, path in (
        ("cosmos3_edge", "embeddings.position_embedding"),
        ("glm4v", "embeddings.position_embedding"),
        ("hunyuan_vl", "embeddings.position_embedding"),
        ("paddleocr_vl", "embeddings.position_embedding"),
        ("qwen3", "pos_embed"),
        ("siglip2", "embeddings.position_embedding"),
        ("idefics", "embeddings.position_embedding"),
        ("smolvlm", "embeddings.position_embedding"),
    )
    if name.startswith(family)
}
"""Families with an nn.Embedding of positions -> its path."""


class Scaled(nn.Module):
    """Stands around a module as an adapter does, and scales every feature of its output by another number."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    @property
    def weight(self) -> Any:
        return self.base.weight

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.base(values)
        axis = 1 if isinstance(self.base, nn.Conv2d | nn.Conv3d) else -1
        scales = scale(output.shape[axis])
        return output * scales.view(-1, *[1] * (output.dim() - 2)) if axis == 1 else output * scales


def scale(width: int) -> Tensor:
    return torch.linspace(1, 3, width)


def stem_of(name: str) -> tuple[Any, dict[str, Tensor]]:
    """An encoder of one hidden state, the stem's, and two images for it."""
    encoder = compose({"schema": 1, "encoder": ENCODERS[name], "select_layers": [0]})
    tiny.scramble(encoder.tower.model)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((40, 72, 3), (64, 48, 3))]
    return encoder, dict(encoder.preprocess(images))


def features(encoder: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.cat(encoder(**inputs))


def projection(model: nn.Module) -> str:
    """The path of the module that embeds patches."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.Linear)
    return next(path for path, module in model.named_modules() if isinstance(module, kinds))


def scaled(model: Any, path: str) -> Any:
    """A copy in which the weights of one module do what Scaled does."""
    model = copy.deepcopy(model)
    module = model.get_submodule(path)
    with torch.no_grad():
        if isinstance(module, nn.Embedding):
            module.weight *= scale(module.weight.shape[1])
            return model
        for parameter in module.parameters():
            parameter *= scale(len(parameter)).view(-1, *[1] * (parameter.dim() - 1))
    return model


def places(name: str, model: nn.Module) -> list[str]:
    return [projection(model), *([TABLES[name]] if name in TABLES else [])]


@pytest.mark.parametrize("name", ENCODERS)
def test_an_adapter_is_run(name: str) -> None:
    encoder, inputs = stem_of(name)
    plain = encoder.tower.model
    for path in places(name, plain):
        encoder.tower.model = scaled(plain, path)
        want = features(encoder, inputs)
        encoder.tower.model = copy.deepcopy(plain)
        assert not torch.allclose(want, features(encoder, inputs), rtol=0.01)
        encoder.tower.model.set_submodule(path, Scaled(encoder.tower.model.get_submodule(path)))
        assert_close(features(encoder, inputs), want)


@pytest.mark.parametrize("name", ENCODERS)
def test_hooks_are_called(name: str) -> None:
    encoder, inputs = stem_of(name)
    for path in places(name, encoder.tower.model):
        seen: list[int] = []
        module = encoder.tower.model.get_submodule(path)
        module.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(len(output)))
        features(encoder, inputs)
        assert len(seen) == 1


@pytest.mark.parametrize("name", ENCODERS)
def test_features_do_not_depend_on_the_order_of_weights_in_memory(name: str) -> None:
    encoder, inputs = stem_of(name)
    want = features(encoder, inputs)
    for parameter in encoder.parameters():
        if parameter.dim() in (4, 5):
            last = torch.channels_last if parameter.dim() == 4 else torch.channels_last_3d
            parameter.data = parameter.data.to(memory_format=last)
    assert torch.equal(features(encoder, inputs), want)


# --- one module ---------------------------------------------------------------------------------------


def forward_of_its_own(module: nn.Module) -> None:
    module.forward = lambda values: type(module).forward(module, values)  # type: ignore[method-assign]  # as libraries do


WATCHES = {
    "forward hook": lambda module: module.register_forward_hook(lambda *values: None),
    "forward pre-hook": lambda module: module.register_forward_pre_hook(lambda *values: None),
    "backward hook": lambda module: module.register_full_backward_hook(lambda *values: None),
    "backward pre-hook": lambda module: module.register_full_backward_pre_hook(lambda *values: None),
    "forward": forward_of_its_own,
}


@pytest.mark.parametrize("watch", [None, *WATCHES])
def test_a_convolution_is_called_only_if_someone_notices(
    watch: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    convolution = nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 4, 4))
    patches = torch.randn(5, 3 * 2 * 4 * 4)
    want = torch.nn.functional.linear(patches, convolution.weight.flatten(1), convolution.bias)
    if watch is not None:
        WATCHES[watch](convolution)
    run = Mock(side_effect=convolution._conv_forward)
    monkeypatch.setattr(convolution, "_conv_forward", run)
    assert_close(embed_patches(convolution, patches), want)
    assert run.called == (watch is not None)


def test_a_subclass_is_called() -> None:
    class Zero(nn.Conv2d):
        def forward(self, values: Tensor) -> Tensor:
            return 0 * super().forward(values)

    assert not embed_patches(Zero(3, 8, 4, stride=4), torch.randn(5, 48)).any()
    embedding = nn.Embedding(6, 4)
    assert position_table(embedding) is embedding.weight
    assert torch.equal(position_table(Scaled(embedding)), embedding.weight * scale(4))
