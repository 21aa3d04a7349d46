"""Quantised weights in files: what is written, what is read back, and what is refused."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from support import fused
from support.images import noise_image
from support.tiny import ENCODERS

from vision_composer import compose
from vision_composer.errors import WeightsError
from vision_composer.running import quantization
from vision_composer.weights.quantised import found_scales, stored_dtype

needs_torchao = pytest.mark.skipif(
    find_spec("torchao") is None, reason="torchao is not installed; make test-torchao runs these"
)
IMAGES = [noise_image(*size) for size in ((32, 32), (40, 50))]
EMBEDS = {
    "schema": 1,
    "encoder": ENCODERS["clip_vision_model"],
    "select_layers": [-2],
    "feature_select_strategy": "default",
    "connector": {"type": "llava", "hidden_size": 48},
    "output": "embeds",
}


def features(encoder: Any) -> torch.Tensor:
    return torch.cat(encoder.encode(IMAGES))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    compose("tiny-digits", overrides=["quantize=int8"]).save(tmp_path / "saved")
    return tmp_path / "saved"


@needs_torchao
@pytest.mark.parametrize("kind", ["int8", "int8-dynamic"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_saved_gives_the_same_features(kind: str, dtype: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    keys = [f"quantize={kind}", f"weights.dtype={dtype}"]
    encoder: Any = compose(EMBEDS, overrides=keys)
    expected = features(encoder)
    encoder.save(tmp_path)
    again: Any = compose(tmp_path)
    assert torch.equal(features(again), expected)
    assert again.config.quantize == kind
    for name, weight in encoder.state_dict().items():
        other = again.state_dict()[name]
        assert type(other) is type(weight)
        for ours, theirs in zip(parts(weight), parts(other), strict=True):
            assert torch.equal(ours, theirs), name
    again.save(tmp_path / "again")
    assert torch.equal(features(compose(tmp_path / "again")), expected)


def parts(weight: Any) -> list[torch.Tensor]:
    return [weight.qdata, weight.scale] if hasattr(weight, "qdata") else [weight]


@needs_torchao
def test_the_files_hold_integers_under_the_names_of_the_weights(saved: Path) -> None:
    weights, scales = load_file(saved / "model.safetensors"), load_file(saved / "model.scales.safetensors")
    assert {name for name, tensor in weights.items() if tensor.dtype == torch.int8} == scales.keys()
    assert {scale.dtype for scale in scales.values()} == {torch.float32}
    plain = compose("tiny-digits").model.state_dict()
    assert weights.keys() <= plain.keys()
    for name, scale in scales.items():
        error = (weights[name] * scale - plain[name]).abs() / scale
        assert float(error.max()) < 1.01  # of a step: the largest are cut to 127, and rounding is half a step
    assert yaml.safe_load((saved / "tower.yaml").read_text())["quantize"] == "int8"


@needs_torchao
def test_several_towers_are_read_back_together_and_alone(tmp_path: Path) -> None:
    steps = {"type": "steps", "hidden_size": 8, "steps": [{"type": "linear", "width": 8}]}
    keys = fused.config(
        {"dino": fused.DINO, "clip": fused.CLIP}, fuse="channel", output="embeds", connector=steps
    )
    torch.manual_seed(0)
    encoder: Any = compose({**keys, "quantize": "int8"})
    assert hasattr(next(encoder.connector.parameters()), "qdata")
    encoder.save(tmp_path)
    again: Any = compose(tmp_path)
    assert torch.equal(features(again), features(encoder))
    alone: Any = compose(tmp_path / "clip")
    for name, weight in encoder.towers["clip"].state_dict().items():
        for ours, theirs in zip(parts(weight), parts(alone.model.state_dict()[name]), strict=True):
            assert torch.equal(ours, theirs), name


@needs_torchao
def test_floats_saved_over_them_leave_no_scales(saved: Path) -> None:
    plain = compose("tiny-digits")
    plain.save(saved)
    assert not (saved / "model.scales.safetensors").exists()
    assert torch.equal(features(compose(saved)), features(plain))


@needs_torchao
def test_what_does_not_belong_together_is_refused(saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"saved quantised; set quantize to what their tower\.yaml says"):
        compose(saved, overrides=["quantize=none"])
    file = saved / "model.scales.safetensors"
    scales = load_file(file)
    name, *_ = scales

    def refused(message: str, changed: dict[str, torch.Tensor]) -> None:
        save_file(changed, file)
        with pytest.raises(WeightsError, match=message):
            compose(saved)

    refused("do not belong together", {key: scale for key, scale in scales.items() if key != name})
    refused("do not belong together", scales | {name: scales[name][1:]})
    refused(r"one of other\.weight, which is no weight", scales | {"other.weight": scales[name].clone()})
    refused("scales are float32", scales | {name: scales[name].half()})
    refused("NaN or infinity", scales | {name: scales[name] * torch.nan})
    save_file(scales, file)
    weights = load_file(saved / "model.safetensors")
    save_file(weights | {name: weights[name] * 0.7}, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="do not belong together"):
        compose(saved)
    file.unlink()
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"is torch\.int8; quantised, it is not read"):
        compose(saved)


@needs_torchao
def test_integers_that_would_overflow_on_this_processor_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "overflows", lambda device: False)
    compose("tiny-digits", overrides=["quantize=int8-dynamic"]).save(tmp_path)
    monkeypatch.setattr(quantization, "overflows", lambda device: True)
    with pytest.raises(WeightsError, match="no VNNI or may not use it: quantise the float"):
        compose(tmp_path)
    compose(tmp_path, overrides=["quantize=int8"])
    compose("tiny-digits", overrides=["quantize=int8-dynamic"]).save(tmp_path / "narrow")
    compose(tmp_path / "narrow")


@needs_torchao
def test_weights_quantised_by_other_means_are_not_saved(tmp_path: Path) -> None:
    from vision_composer.running.quantization import quantize_linears

    encoder: Any = compose("tiny-digits")
    quantize_linears(encoder.model, encoder.blocks, "int8", {})
    with pytest.raises(WeightsError, match="save the tower before it is quantised"):
        encoder.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_scales_are_looked_for_beside_the_weights(tmp_path: Path) -> None:
    for name in ("model.safetensors", "connector.safetensors", "model.scales.safetensors"):
        (tmp_path / name).touch()
    scales = tmp_path / "model.scales.safetensors"
    assert found_scales(str(tmp_path)) == found_scales(str(tmp_path / "model.safetensors")) == scales
    for source in (None, "someone/else", str(tmp_path / "connector.safetensors"), str(tmp_path / "other")):
        assert found_scales(source) is None
        assert stored_dtype("none", source) is None
    assert stored_dtype("float8", str(tmp_path)) == "float8_e4m3fn"
    with pytest.raises(WeightsError, match="were saved quantised"):
        stored_dtype("none", str(tmp_path))
