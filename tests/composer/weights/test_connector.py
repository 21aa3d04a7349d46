"""Where the weights of connectors are read from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny import scramble
from support.vlms import VLMS, save_vlm
from support.vlms.parts import CLIP
from transformers import AutoModelForImageTextToText

from vision_composer import compose, plan
from vision_composer.config_json import tower_of_config_json
from vision_composer.connectors import CONNECTORS
from vision_composer.schemas.weights import SourceConfig
from vision_composer.testing.vlm import random_images
from vision_composer.weights import load_connector

READ_BY = {name: cls.type for cls in CONNECTORS.values() for name in cls.read_by}
CPU = torch.device("cpu")
ONE_EACH = {READ_BY[name]: name for name in sorted(VLMS, reverse=True) if name in READ_BY}
"""type of a connector -> a tiny VLM that has it."""


@pytest.mark.parametrize("connector", ONE_EACH)
def test_they_are_read_from_the_vlm_from_elsewhere_or_are_random(connector: str, tmp_path: Path) -> None:
    folder = save_vlm(ONE_EACH[connector], tmp_path / "vlm")
    planned = plan(tower_of_config_json(str(folder)), overrides=["output=embeds"])
    assert planned.connector is not None
    assert planned.connector_weights is not None
    assert planned.connector_weights.source == str(folder)
    own = load_connector(planned.connector, planned.connector_weights, dtype=torch.float32, device=CPU)
    assert {name: tuple(tensor.shape) for name, tensor in own.state_dict().items()} == (
        planned.connector_shapes
    )
    other = scramble(planned.connector.build(), seed=1)
    save_file(dict(other.state_dict()), tmp_path / "connector.safetensors")
    source = SourceConfig(source=str(tmp_path / "connector.safetensors"))
    again = load_connector(planned.connector, source, dtype=torch.float32, device=CPU)
    for name, tensor in load_file(tmp_path / "connector.safetensors").items():
        assert torch.equal(again.state_dict()[name], tensor)
        assert not torch.equal(own.state_dict()[name], tensor)
    torch.manual_seed(0)
    random = load_connector(planned.connector, SourceConfig(), dtype=torch.float32, device=CPU)
    assert random.state_dict().keys() == own.state_dict().keys()


def test_what_transformers_keeps_in_float32_stays_in_it(tmp_path: Path) -> None:
    config = tower_of_config_json(str(save_vlm("blip-2", tmp_path)))
    encoder = compose(config, overrides=["output=embeds", "weights.dtype=float16"])
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float16).eval()
    theirs = dict(model.named_parameters())
    assert encoder.connector is not None
    for name, parameter in encoder.connector.named_parameters():
        assert parameter.dtype == theirs[name].dtype, name
        assert torch.equal(parameter, theirs[name]), name
    assert {parameter.dtype for parameter in encoder.connector.parameters()} == {torch.float16, torch.float32}
    assert encoder.plan.num_bytes == sum(parameter.nbytes for parameter in encoder.parameters())
    inputs = encoder.preprocess(random_images())
    with torch.no_grad():
        rows = torch.stack(encoder(**inputs))
        expected = model.get_image_features(inputs["pixel_values"].half()).pooler_output
    assert rows.dtype == torch.float16
    torch.testing.assert_close(rows, expected, rtol=0, atol=2e-3 * float(expected.abs().max()))


def test_steps_are_read_under_the_names_that_they_say(tmp_path: Path) -> None:
    steps = [{"type": "linear", "width": 24, "tensors": "projector.fc1"}, {"type": "norm"}]
    steps += [{"type": "linear", "width": 16, "tensors": "projector.fc10"}]
    names = {"projector.fc1": (24, 32), "steps.1": (24,), "projector.fc10": (16, 24)}
    tensors = {f"model.{name}.weight": torch.randn(shape) for name, shape in names.items()}
    tensors |= {f"model.{name}.bias": torch.randn(shape[0]) for name, shape in names.items()}
    save_file(tensors, tmp_path / "vlm.safetensors")
    connector = {"type": "steps", "hidden_size": 16, "steps": steps}
    connector["weights"] = {"source": str(tmp_path / "vlm.safetensors")}
    encoder = compose({"schema": 1, "encoder": CLIP, "connector": connector, "output": "embeds"})
    encoder.save(tmp_path / "saved")
    for made in (encoder, compose(tmp_path / "saved")):
        assert made.connector is not None
        loaded = made.connector.state_dict()
        for i, name in enumerate(names):
            for kind in ("weight", "bias"):
                assert torch.equal(loaded[f"steps.{i}.{kind}"], tensors[f"model.{name}.{kind}"])


def test_steps_without_weights_are_read_from_anywhere(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    connector = {"type": "steps", "hidden_size": 128, "steps": [{"type": "space_to_depth"}]}
    connector["weights"] = {"source": str(tmp_path / "x.safetensors")}
    encoder = compose(
        {"schema": 1, "encoder": CLIP, "connector": connector, "output": "embeds"},
        overrides=["select_layers=[-2]", "feature_select_strategy=default"],
    )
    encoder.save(tmp_path / "saved")
    assert compose(tmp_path / "saved").output_width == 128
