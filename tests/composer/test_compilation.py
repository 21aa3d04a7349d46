"""torch.compile changes nothing but speed."""

from __future__ import annotations

import pytest
import tiny
import torch

from vision_composer import compose, load_config, should_torch_compile_mm_vit
from vision_composer.errors import BackendError, ConfigError

ENCODER = tiny.ENCODERS["siglip_vision_model"]


@pytest.mark.parametrize("scope", ["blocks", "tower"])
def test_compiled_features_equal_eager_ones(scope: str) -> None:
    config = {"schema": 1, "encoder": ENCODER, "select_layers": [-2, 1]}
    torch.manual_seed(0)
    eager = compose(config)
    torch.manual_seed(0)
    # aot_eager traces and partitions like inductor, without needing a C++ compiler on the machine.
    compiled = compose(config, overrides=[f"compile={{backend: aot_eager, scope: {scope}}}"])
    pixel_values = tiny.pixels(ENCODER)
    with torch.no_grad():
        assert (compiled(pixel_values=pixel_values) - eager(pixel_values=pixel_values)).abs().max() <= 1e-5
    modules = [compiled] if scope == "tower" else list(compiled.blocks)
    assert all(module._compiled_call_impl is not None for module in modules)


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(BackendError, match="did you mean 'inductor'"):
        compose({"schema": 1, "encoder": ENCODER, "compile": {"backend": "inductr"}})
    with pytest.raises(ConfigError, match=r"compile\.mode"):
        compose({"schema": 1, "encoder": ENCODER, "compile": {"mode": "max"}})


@pytest.mark.parametrize(("value", "answer"), [("true", True), ("false", False), ("{mode: default}", True)])
def test_should_torch_compile_answers_from_the_config(value: str, answer: bool) -> None:
    config = load_config({"schema": 1, "encoder": ENCODER}, overrides=[f"compile={value}"])
    assert should_torch_compile_mm_vit(config) is answer
