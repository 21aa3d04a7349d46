"""What is saved has plain weights: adapters are merged when asked, and all else is refused before a write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.checkpoints import ENCODER, features
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.prune import random_unstructured

from vision_composer import compose
from vision_composer.errors import WeightsError

QUERY = "encoder.layers.0.self_attn.q_proj"


class Lora(nn.Module):
    """A linear layer with an adapter, laid out as peft does."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, base.out_features, bias=False)})
        self.merged = self.disable_adapters = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.merged or self.disable_adapters:
            return self.base_layer(x)
        return self.base_layer(x) + self.lora_B["default"](self.lora_A["default"](x))

    def merge(self, safe_merge: bool = False) -> None:
        assert safe_merge
        assert not self.merged
        with torch.no_grad():
            self.base_layer.weight += self.lora_B["default"].weight @ self.lora_A["default"].weight
        self.merged = True

    def get_base_layer(self) -> nn.Linear:
        return self.base_layer


class Trained(nn.Module):
    """A module of which a copy is trained, laid out as peft does."""

    def __init__(self, base: nn.Module, active: Any) -> None:
        super().__init__()
        self.original_module = base
        self.modules_to_save = nn.ModuleDict({"default": tiny.scramble(type(base)(32))})
        self.active_adapter = active
        self.disable_adapters = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.original_module if self.disable_adapters else self.modules_to_save["default"])(x)


@pytest.fixture
def tower() -> Any:
    return compose({"schema": 1, "encoder": ENCODER, "select_layers": [-1], "post_norm": "none"})


def replace(tower: Any, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(tower.model.get_submodule(parent), last, new)


def adapted(tower: Any, active: Any = "default") -> Any:
    for i in range(4):
        name = QUERY.replace("0", str(i))
        replace(tower, name, Lora(tower.model.get_submodule(name)))
    replace(tower, "pre_layrnorm", Trained(tower.model.pre_layrnorm, active))
    return tower


@pytest.mark.parametrize("active", ["default", ["default"]])
def test_adapters_are_merged_when_asked(active: Any, tower: Any, tmp_path: Path) -> None:
    adapted(tower, active)
    want, names = features(tower), tower.model.state_dict().keys()
    with pytest.raises(WeightsError, match=r"pre_layrnorm has an adapter that is not merged; save\("):
        tower.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    tower.save(tmp_path / "saved", merge_adapters=True)
    torch.testing.assert_close(features(compose(tmp_path / "saved")), want, rtol=1e-4, atol=1e-5)
    assert tower.model.state_dict().keys() == names
    assert torch.equal(features(tower), want)


@pytest.mark.parametrize("state", ["merged", "disabled"])
def test_what_is_merged_or_disabled_is_not_merged_again(state: str, tower: Any, tmp_path: Path) -> None:
    adapted(tower)
    for part in tower.model.modules():
        if isinstance(part, Lora | Trained) and state == "disabled":
            part.disable_adapters = True
        elif isinstance(part, Lora):
            part.merge(safe_merge=True)
    want = features(tower)
    tower.save(tmp_path / "saved", merge_adapters=True)
    assert torch.equal(features(compose(tmp_path / "saved")), want)


def test_a_tower_without_adapters_is_saved_as_it_is(tower: Any, tmp_path: Path) -> None:
    tower.save(tmp_path / "saved", merge_adapters=True)
    assert torch.equal(features(compose(tmp_path / "saved")), features(tower))


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


class Int4(torch.Tensor):
    """A tensor of a class of its own, as quantised weights and shards are."""


def subclassed(layer: nn.Linear) -> None:
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Int4), requires_grad=False)


def integer(layer: nn.Linear) -> None:
    layer.weight = nn.Parameter(layer.weight.detach().to(torch.int8), requires_grad=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()), "are parametrized"),
        (parametrizations.weight_norm, "are parametrized, as by weight norm; make them plain"),
        (nn.utils.weight_norm, "are parametrized"),
        (nn.utils.spectral_norm, "are parametrized"),
        (lambda layer: random_unstructured(layer, "weight", 0.5), "are parametrized"),
        (
            subclassed,
            r"weight is a Int4, not a plain tensor of floats; save the tower before it is",
        ),
        (integer, r"weight is a torch\.int8, not a plain tensor of floats"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_other_weights_are_refused_before_anything_is_written(
    change: Any, message: str, tower: Any, tmp_path: Path
) -> None:
    change(tower.model.get_submodule(QUERY))
    for merge in (False, True):
        with pytest.raises(WeightsError, match=rf"saved: .*{QUERY}.* {message}|saved: {QUERY}\.{message}"):
            tower.save(tmp_path / "saved", merge_adapters=merge)
    assert not (tmp_path / "saved").exists()


def test_adapters_of_the_connector_count_too(tmp_path: Path) -> None:
    connector = {"type": "llava", "hidden_size": 24}
    half = compose({"schema": 1, "encoder": ENCODER, "connector": connector, "output": "embeds"})
    name = next(name for name, part in half.connector.named_modules() if isinstance(part, nn.Linear))
    half.connector.set_submodule(name, Lora(half.connector.get_submodule(name)))
    with pytest.raises(WeightsError, match=rf"{name} has an adapter that is not merged"):
        half.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    half.save(tmp_path / "saved", merge_adapters=True)
    with torch.no_grad():
        want, got = (each(pixel_values=tiny.pixels(ENCODER)) for each in (half, compose(tmp_path / "saved")))
    torch.testing.assert_close(got[0], want[0], rtol=1e-4, atol=1e-5)


def test_it_is_what_peft_computes(tower: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not needed to run, only to be compared with")
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "fc1"], modules_to_save=["pre_layrnorm"], init_lora_weights=False
    )
    peft.get_peft_model(tower, config)
    want = features(tower)
    with pytest.raises(WeightsError, match="has an adapter that is not merged"):
        tower.save(tmp_path / "saved")
    tower.save(tmp_path / "saved", merge_adapters=True)
    torch.testing.assert_close(features(compose(tmp_path / "saved")), want, rtol=1e-4, atol=1e-4)
    assert torch.equal(features(tower), want)
