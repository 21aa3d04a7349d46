"""A checkpoint as the source of compose and plan: its config is derived, and overrides lie on top."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import tiny

from vision_composer import compose, plan
from vision_composer.errors import ConfigError, InputError, WeightsError
from vision_composer.sources import config_of

CLIP = tiny.ENCODERS["clip_vision_model"]


@pytest.fixture
def vlm(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    """A tiny LLaVA, and its folder."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    text = LlamaConfig(
        vocab_size=99,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=24,
    )
    vision = CLIPVisionConfig(**{key: value for key, value in CLIP.items() if key != "model_type"})
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=98)
    model = tiny.scramble(LlavaForConditionalGeneration(config))
    model.save_pretrained(tmp_path / "vlm")
    return tmp_path / "vlm", model


@pytest.mark.parametrize(
    "of", [str, Path, lambda folder: folder / "config.json"], ids=["text", "path", "file"]
)
def test_a_vlms_folder_gives_its_tower(vlm, of) -> None:
    folder, model = vlm
    encoder = compose(of(folder))
    assert encoder.config.select_layers == (-2,)
    assert encoder.config.weights.source == str(folder)
    pixels = tiny.pixels(CLIP)
    with torch.no_grad():
        states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        assert torch.equal(encoder(pixels), states[-2][:, 1:])


def test_overrides_lie_on_top(vlm) -> None:
    folder, model = vlm
    encoder = compose(folder, overrides=["output=embeds"])
    pixels = tiny.pixels(CLIP)
    with torch.no_grad():
        expected = model.get_image_features(pixels).pooler_output
        assert torch.equal(torch.stack(encoder(pixels)), torch.stack(expected))
    assert plan(folder, overrides=["select_layers=[1]"]).num_blocks == 1
    assert plan(encoder.config).num_blocks == encoder.plan.num_blocks


def test_a_saved_tower_is_read_as_it_was_saved(vlm) -> None:
    folder, _ = vlm
    compose(folder, overrides=["select_layers=[1]"]).save(folder.parent / "tower")
    assert (folder.parent / "tower/config.json").exists()
    assert compose(folder.parent / "tower").config.select_layers == (1,)
    written = folder.parent / "tower/tower.yaml"
    written.write_text(written.read_text().replace("select_layers: [1]", "select_layers: [0]"))
    assert compose(folder.parent / "tower").config.select_layers == (0,)


def test_a_config_json_without_weights_is_not_one_of_random_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CLIP))
    with pytest.raises(WeightsError, match=r"no \.safetensors file in this folder"):
        compose(tmp_path)
    assert compose(tmp_path, overrides=["weights.source=null"]).config.weights.source is None


def test_the_generic_adapter_is_offered_by_the_line_that_asks_for_it(tmp_path: Path) -> None:
    from transformers import DeiTConfig, DeiTModel

    fields = {key: value for key, value in CLIP.items() if key != "model_type"}
    model = tiny.scramble(DeiTModel(DeiTConfig(**fields)))
    model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"generic adapter .* overrides=\[\"encoder.prefix_tokens=1\"\]"):
        compose(tmp_path)
    encoder = compose(tmp_path, overrides=["encoder.prefix_tokens=2", "select_layers=[-2]"])
    pixels = tiny.pixels(CLIP)
    with torch.no_grad():
        states = model(pixels, output_hidden_states=True).hidden_states
        assert torch.equal(encoder(pixels), states[-2])


def test_the_generic_adapter_runs_the_tower_of_a_vlm(vlm) -> None:
    folder, model = vlm
    encoder = compose(folder, overrides=["encoder.prefix_tokens=1", "select_layers=[2]"])
    assert encoder.plan.generic
    pixels = tiny.pixels(CLIP)
    with torch.no_grad():
        states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        assert torch.equal(encoder(pixels), states[2])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the hub, which has org/clip."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    snapshot = tmp_path / ("0" * 40)
    snapshot.mkdir()
    (snapshot / "config.json").write_text(json.dumps(CLIP))

    def download(repo: str, name: str, revision: str | None = None, local_files_only: bool = False) -> str:
        if repo != "org/clip" or not (snapshot / name).exists():
            raise LocalEntryNotFoundError("it cannot be reached")
        return str(snapshot / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_hub_id_is_pinned(hub: Path) -> None:
    weights = config_of("org/clip").weights
    assert (weights.source, weights.revision) == ("org/clip", "0" * 40)


def test_a_mistyped_path_is_told_apart_from_a_hub_id(hub: Path) -> None:
    (hub / "runs").mkdir()
    (hub / "runs/my-vlm").mkdir()
    with pytest.raises(InputError, match=r"folder runs is here, and holds no my-vml \(did you mean 'my-vlm'"):
        compose("runs/my-vml")
    weights = {"schema": 1, "encoder": CLIP, "weights": {"source": "runs/my-vml"}}
    with pytest.raises(WeightsError, match=r"the folder runs is here, and holds no my-vml"):
        compose(weights)
    with pytest.raises(InputError, match=r"^org/none: no such file or folder, and no config\.json from the"):
        compose("org/none")


def test_a_mistyped_preset_is_told_apart_from_a_hub_id(hub: Path) -> None:
    with pytest.raises(InputError, match=r"no preset of that name \(did you mean 'llava-1.5-7b'\?\)"):
        compose("llava/1.5-7")
    with pytest.raises(ConfigError, match="there is no preset 'clip-vit-base-patch3'"):
        compose("clip-vit-base-patch3")
    assert config_of("tiny/digits") == config_of("tiny-digits")
