"""What a tower is compared with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from support.compare import assert_close
from support.stand_in import StandIn
from support.tiny import config

from vision_composer import compose
from vision_composer.bench import compare, peers
from vision_composer.bench.comparison import noise
from vision_composer.bench.peers import TransformersTower, run_onnxruntime
from vision_composer.errors import InputError, MissingDependencyError


def test_weights_are_the_same_memory() -> None:
    tower = compose(config("clip_vision_model", select_layers=[-2]))
    module = TransformersTower(tower)
    theirs = module.model.state_dict()
    ours = tower.model.state_dict()
    assert {name: value.data_ptr() for name, value in ours.items()} == {
        name: theirs[name].data_ptr() for name in ours
    }
    assert len(theirs) > len(ours)


@pytest.mark.parametrize("name", ["clip_vision_model", "siglip_vision_model", "dinov2"])
def test_onnxruntime_computes_the_same(name: str) -> None:
    for package in ("onnxruntime", "onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not installed; the extra bench brings it")
    tower = compose(config(name, select_layers=[-2]))
    pixel_values = tiny.pixels(tiny.ENCODERS[name])
    with torch.inference_mode():
        got = run_onnxruntime(tower, {"pixel_values": pixel_values})()()
        assert_close(got, tower(pixel_values=pixel_values))


def test_an_unknown_peer_names_the_known_ones() -> None:
    message = (
        r"cannot compare with 'transformer' \(did you mean 'transformers'\?\); known: transformers, onnx"
    )
    with pytest.raises(InputError, match=message):
        compare(config("clip_vision_model"), against=["transformer"])


def test_a_peer_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(peers, "import_module", missing)
    with pytest.raises(
        MissingDependencyError, match=r"needs onnxruntime.*pip install 'vision-composer\[bench"
    ):
        compare(config("clip_vision_model"), against=["onnxruntime"])
    with pytest.raises(MissingDependencyError, match=r"needs timm, which is not installed: pip install timm"):
        compare(config("clip_vision_model"), against=["timm"])


def test_a_peer_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(peers, "import_module", broken)
    with pytest.raises(MissingDependencyError, match="timm, which cannot be imported: operator torchvision"):
        compare(config("clip_vision_model"), against=["timm"])


@torch.inference_mode()
def test_transformers_gets_all_inputs_on_its_device() -> None:
    tower = compose(config("qwen2_5_vl_vision"))
    inputs = noise(tower, [(64, 48), (40, 80)])
    module, device = TransformersTower(tower), StandIn()
    device.put([*module.parameters(), *module.buffers(), *tower.parameters(), inputs["pixel_values"]])
    with device:
        assert all(map(device.holds, module(**inputs)))
