"""check_encoder of dense encoders: for each property, a family that breaks it is caught."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
import torch
import transformers

from vision_composer import register_encoder
from vision_composer.encoders import EncoderFamily
from vision_composer.encoders.clip import CLIP
from vision_composer.errors import ConformanceError, VisionComposerError
from vision_composer.schemas import ENCODER_PLUGINS, EncoderConfig
from vision_composer.schemas.encoders.clip import CLIPVisionEncoderConfig
from vision_composer.testing import check_encoder


class BrokenConfig(CLIPVisionEncoderConfig):
    model_type: Literal["broken"]  # type: ignore[assignment]


class NoClassTokenConfig(BrokenConfig):
    @property
    def num_prefix_tokens(self) -> int:
        return 0


class Broken(CLIP):
    model_type = "broken"


class NoPreNorm(Broken):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return model.embeddings(pixel_values), {"attention_mask": None}


class NormsItsLastState(Broken):
    norms_last_hidden_state = True


class Raises(Broken):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return model.no_such_stage(pixel_values), {}


class Uncut(Broken):
    def transformers_config(self, encoder: EncoderConfig, num_blocks: int, *, head: bool) -> Any:
        return super().transformers_config(encoder, encoder.num_hidden_layers, head=head)


class Detached(Broken):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return model.pre_layrnorm(model.embeddings(pixel_values).detach()), {"attention_mask": None}


class LeaksNaN(Broken):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        hidden_states, block_kwargs = super().stem(model, pixel_values)
        return hidden_states + 0 * hidden_states.mean(dim=0, keepdim=True), block_kwargs


class ForgetsTheNorm(Broken):
    def norm_shapes(self, encoder: EncoderConfig) -> dict[str, tuple[int, ...]]:
        return {"weight": (encoder.hidden_size,)}


class MixesTheBatch(transformers.CLIPVisionModel):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embeddings.register_forward_hook(lambda module, inputs, tokens: tokens + 0.01 * tokens.flip(0))


class Leaks(Broken):
    def transformers_class(self, config: Any) -> Any:
        return MixesTheBatch


class ForgetsABias(Broken):
    def block_shapes(self, encoder: CLIPVisionEncoderConfig) -> dict[str, tuple[int, ...]]:
        return {
            name: shape for name, shape in super().block_shapes(encoder).items() if name != "mlp.fc2.bias"
        }


class SwapsASize(Broken):
    def block_shapes(self, encoder: CLIPVisionEncoderConfig) -> dict[str, tuple[int, ...]]:
        shapes = super().block_shapes(encoder)
        return shapes | {"mlp.fc1.weight": shapes["mlp.fc2.weight"]}


class RoundsWhatItSaves(transformers.CLIPVisionModel):
    def save_pretrained(self, *args: Any, state_dict: Any = None, **kwargs: Any) -> None:
        if self.config.num_hidden_layers < 3:  # leaves the checkpoint that the check starts from alone
            state_dict = {
                name: tensor.half().float() for name, tensor in (state_dict or self.state_dict()).items()
            }
        super().save_pretrained(*args, state_dict=state_dict, **kwargs)


class SavesLess(Broken):
    def transformers_class(self, config: Any) -> Any:
        return RoundsWhatItSaves


@pytest.fixture
def _unregister() -> Iterator[None]:
    yield
    ENCODER_PLUGINS.unregister("broken")


@pytest.mark.usefixtures("_unregister")
@pytest.mark.parametrize(
    ("config_class", "family", "message"),
    [
        (BrokenConfig, NoPreNorm, r"hidden states: hidden state 0, of 3, of image 0 of 2: differs by up"),
        (
            BrokenConfig,
            NormsItsLastState,
            "hidden states: the output of a tower with select_layers: null, of",
        ),
        (BrokenConfig, Raises, "hidden states: AttributeError was raised: .*no_such_stage"),
        (NoClassTokenConfig, Broken, r"hidden states: the output of .* has shape \(17, 32\), not \(16, 32\)"),
        (BrokenConfig, Uncut, "truncation: 3 blocks are built for hidden state 0"),
        (BrokenConfig, Detached, "gradients: model.embeddings.class_embedding gets no gradient in"),
        (BrokenConfig, Leaks, "hidden states: hidden state 0, of 3, of image 0 of 2: differs by up to"),
        (BrokenConfig, LeaksNaN, "independence: .* beside an image of NaN: 544 values are not finite"),
        (BrokenConfig, ForgetsABias, "planned tensors: .*fc2.bias is planned as nothing and saved as"),
        (BrokenConfig, ForgetsTheNorm, "planned tensors: .*post_layernorm.bias is planned as nothing and"),
        (BrokenConfig, SwapsASize, r"planned tensors: .*fc1.weight is planned as \(32, 48\) and saved as"),
        (BrokenConfig, SavesLess, "saving: .* is not the same in the state_dict of a tower with"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_broken_is_named(
    config_class: type[EncoderConfig], family: type[EncoderFamily], message: str
) -> None:
    register_encoder(config_class, family)
    with pytest.raises(ConformanceError, match=f"^broken: {message}") as caught:
        check_encoder("broken")
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, VisionComposerError)


@pytest.mark.usefixtures("_unregister")
def test_the_family_the_broken_ones_are_made_from_passes() -> None:
    register_encoder(BrokenConfig, Broken)
    check_encoder("broken")
