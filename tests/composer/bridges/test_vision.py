"""An encoder as a PreTrainedModel: its features, its config, saving and loading, inside a LLaVA."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from support import bridged, fused, tiny
from support.vlms import VLMS, save_vlm

from vision_composer import compose
from vision_composer.errors import InputError

EVERY = {**tiny.ENCODERS, **tiny.PACKED, **tiny.PADDED, **tiny.TILED}
ALWAYS = {"clip_vision_model", "llama4_vision_model", "qwen2_5_vl_vision", "siglip2_vision_model"}
ALWAYS_VLMS = {"internvl", "llava_next"}
SIGLIP = {**tiny.ENCODERS["siglip_vision_model"], "num_hidden_layers": 2}


def mostly_slow(names: Any, always: set[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in always else pytest.mark.slow) for name in names]


def inputs_of(encoder: Any, name: str) -> dict[str, Any]:
    if encoder.info.num_channels == 3:
        return encoder.preprocess(bridged.images((40, 50)))
    if name in tiny.ENCODERS:
        return {"pixel_values": tiny.pixels(EVERY[name])}
    pytest.skip("takes no images")


@pytest.mark.parametrize("name", mostly_slow(EVERY, ALWAYS))
def test_features_are_the_encoders_and_come_back_from_disk(name: str, tmp_path: Path) -> None:
    encoder = compose({"schema": 1, "encoder": EVERY[name]})
    tiny.scramble(encoder.model)
    inputs = inputs_of(encoder, name)
    model = encoder.as_transformers()
    loaded = bridged.saved_and_loaded(model, tmp_path)
    with torch.no_grad():
        features = bridged.rows(encoder(**inputs))
        for other in (model, loaded):
            output = other(**inputs, output_hidden_states=-1, return_dict=True)
            assert torch.equal(output.hidden_states[-1], features)
            assert torch.equal(output.last_hidden_state, features)
    assert model.config.hidden_size == features.shape[-1] == encoder.output_width
    assert loaded.config.tower_config() == model.config.tower_config()


@pytest.mark.parametrize("name", mostly_slow(sorted(VLMS), ALWAYS_VLMS))
def test_connectors_come_along(name: str, tmp_path: Path) -> None:
    encoder = compose(save_vlm(name, tmp_path / "vlm"), overrides=["output=embeds"])
    inputs = encoder.preprocess(bridged.images((70, 40), (30, 30)))
    loaded = bridged.saved_and_loaded(encoder.as_transformers(), tmp_path / "tower")
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).last_hidden_state, bridged.rows(encoder(**inputs)))


def siglip(**keys: Any) -> Any:
    torch.manual_seed(0)
    encoder = compose({"schema": 1, "encoder": SIGLIP, "select_layers": [-2, 1], **keys})
    tiny.scramble(encoder.model)
    return encoder


def llava(encoder: Any) -> Any:
    """transformers' LLaVA with the encoder as its tower."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tower = encoder.as_transformers()
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=LlamaConfig(**bridged.TEXT),
        image_token_index=63,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower = tower
    return model.eval()


STEPS = {"type": "steps", "hidden_size": 8, "steps": [{"type": "norm"}, {"type": "linear", "width": 8}]}
FUSED: dict[str, dict[str, Any]] = {
    "per tower": {},
    "stacked": {"input": "stacked", "weights": {"dtype": "bfloat16"}},
    "shared": {"input": {"type": "shared", "align_corners": True}, "image_processor": {"size": 40}},
    "embeds": {"fuse": "sum", "project": {"siglip": {"width": 32}}, "output": "embeds", "connector": STEPS},
}


def several_towers(**keys: Any) -> Any:
    # By name, the second would come first.
    return fused.composed({"siglip": fused.SIGLIP, "dino": fused.DINO}, align={"grid": [4, 4]}, **keys)


@pytest.mark.parametrize("name", FUSED)
def test_several_towers_come_back_in_their_order(name: str, tmp_path: Path) -> None:
    encoder = several_towers(**FUSED[name])
    inputs = encoder.preprocess(fused.IMAGES)
    model = encoder.as_transformers()
    loaded = bridged.saved_and_loaded(model, tmp_path)
    with torch.no_grad():
        features = bridged.rows(encoder(**inputs))
        for other in (model, loaded):
            assert torch.equal(other(**inputs, output_hidden_states=-1).hidden_states[-1], features)
    assert {id(p) for p in model.parameters()} == {id(p) for p in encoder.parameters()}
    assert model.config.hidden_size == encoder.output_width == features.shape[-1]
    assert set(model.config.image_inputs) == inputs.keys()
    assert loaded.config.tower_config() == model.config.tower_config()
    assert list(loaded.config.tower_config().towers) == ["siglip", "dino"]
    assert not encoder.as_transformers().training
    assert encoder.train().as_transformers().training


def test_where_weights_came_from_is_not_saved(tmp_path: Path) -> None:
    first = several_towers(**FUSED["embeds"])
    first.save(tmp_path)
    again = compose(tmp_path)
    config = again.as_transformers().config
    assert str(tmp_path) in str(again.config.to_dict())
    assert str(tmp_path) not in str(config.tower)
    assert config.tower_config() == first.as_transformers().config.tower_config()


PROMPT = torch.tensor([[0, *[63] * 16, 5, 6]] * 2)
PIXELS = tiny.pixels(SIGLIP)


def test_a_llava_reads_it(tmp_path: Path) -> None:
    from transformers import LlavaForConditionalGeneration

    encoder = siglip()
    model = llava(encoder)
    with torch.no_grad():
        assert torch.equal(model.model.get_image_features(PIXELS).last_hidden_state, encoder(PIXELS))
        logits = model(input_ids=PROMPT, pixel_values=PIXELS).logits
        made = model.generate(
            input_ids=PROMPT, pixel_values=PIXELS, attention_mask=torch.ones_like(PROMPT), max_new_tokens=3
        )
        assert made.shape[1] > PROMPT.shape[1]
        model.save_pretrained(tmp_path)
        loaded, report = LlavaForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(report.values())
        assert torch.equal(loaded(input_ids=PROMPT, pixel_values=PIXELS).logits, logits)


def test_a_llava_reads_several_towers_that_share_pixels(tmp_path: Path) -> None:
    from transformers import LlavaForConditionalGeneration

    encoder = several_towers(**FUSED["shared"])
    model, pixels = llava(encoder), encoder.preprocess(fused.IMAGES[:2])["pixel_values"]
    with torch.no_grad():
        assert torch.equal(model.model.get_image_features(pixels).last_hidden_state, encoder(pixels))
        logits = model(input_ids=PROMPT, pixel_values=pixels).logits
        model.save_pretrained(tmp_path)
        loaded = LlavaForConditionalGeneration.from_pretrained(tmp_path)
        assert torch.equal(loaded(input_ids=PROMPT, pixel_values=pixels).logits, logits)


LOAD = """
import sys, torch
from transformers import LlavaForConditionalGeneration
from vision_composer import register_transformers
register_transformers()
model, report = LlavaForConditionalGeneration.from_pretrained(sys.argv[1], output_loading_info=True)
assert not any(report.values()), report
inputs = torch.load(sys.argv[1] + "/inputs.pt")
with torch.no_grad():
    torch.save(model(**inputs).logits, sys.argv[1] + "/logits.pt")
"""


@pytest.mark.slow  # a process that imports everything
def test_another_process_loads_a_llava_with_it(tmp_path: Path) -> None:
    model, inputs = llava(siglip()), {"input_ids": PROMPT, "pixel_values": PIXELS}
    model.save_pretrained(tmp_path)
    torch.save(inputs, tmp_path / "inputs.pt")
    subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], check=True, capture_output=True)
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "logits.pt"), model(**inputs).logits)


def test_a_vlm_that_reads_another_layer_is_told_what_to_set() -> None:
    model = siglip().as_transformers()
    for asked in (-2, [-1, 3]):
        with pytest.raises(InputError, match=r"hidden state (-2|3) .* set vision_feature_layer to -1"):
            model(PIXELS, output_hidden_states=asked)
    model(PIXELS, output_hidden_states=[0, -1])


@pytest.mark.parametrize(("backend", "device"), [("auto", "cpu"), ("eager", "cuda")])
def test_attention_is_chosen_for_where_the_weights_may_be(
    backend: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModel

    from vision_composer import building
    from vision_composer.bridges import vision

    siglip(attn_backend=backend).as_transformers().save_pretrained(tmp_path)
    choose, asked = building.plan_attention, []

    def noted(plan: Any, where: torch.device) -> Any:
        asked.append(where.type)
        return choose(plan, torch.device("cpu"))

    monkeypatch.setattr(building, "plan_attention", noted)
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        with torch.device("meta"):
            vision.VisionComposerModel(vision.VisionComposerConfig.from_pretrained(tmp_path))
    assert asked == [device]
    assert AutoModel.from_pretrained(tmp_path)(PIXELS).last_hidden_state.shape[0] == len(PIXELS)


def test_another_dtype_than_the_saved_one(tmp_path: Path) -> None:
    from transformers import AutoModel

    siglip().as_transformers().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded(PIXELS).last_hidden_state.dtype == torch.bfloat16
    assert loaded.config.tower_config().weights.dtype == "bfloat16"


def test_parameters_are_shared_and_weights_stay() -> None:
    encoder = siglip()
    before = copy.deepcopy(encoder.model.state_dict())
    model = encoder.as_transformers()
    assert {id(p) for p in model.parameters()} == {id(p) for p in encoder.parameters()}
    assert all(torch.equal(before[name], value) for name, value in encoder.model.state_dict().items())
    assert copy.deepcopy(model).vision.tower.model is not model.model


def test_the_mode_stays() -> None:
    encoder = siglip()
    assert not encoder.as_transformers().training
    assert encoder.train().as_transformers().training


def test_what_a_trainer_adds_is_passed_over() -> None:
    model = siglip().as_transformers()
    assert torch.equal(model(PIXELS, num_items_in_batch=3)[0], model(PIXELS, return_dict=False)[0])
    with pytest.raises(InputError, match="output_attentions asks for more"):
        model(PIXELS, output_attentions=True)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    grads = []
    for checkpoints in (False, True):
        encoder = siglip()
        model = encoder.as_transformers().train()
        if checkpoints:
            with warnings.catch_warnings():  # its name changed
                warnings.simplefilter("ignore", FutureWarning)
                model.gradient_checkpointing_enable()
            assert any(getattr(block, "gradient_checkpointing", False) for block in encoder.blocks)
        model(PIXELS).last_hidden_state.sum().backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    assert all(map(torch.equal, *grads))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"parallel": {"mode": "data"}}, "parallel: none"),
        ({"encoder": tiny.PACKED["qwen3_vl_vision"], "deepstack": "separate"}, "set deepstack to concat"),
    ],
)
def test_what_transformers_has_no_form_for(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose({"schema": 1, "encoder": SIGLIP, **keys}).as_transformers()


def test_a_config_alone_builds_nothing() -> None:
    from vision_composer.bridges.vision import VisionComposerConfig, VisionComposerModel

    with pytest.raises(InputError, match="holds no encoder"):
        VisionComposerModel(VisionComposerConfig())
