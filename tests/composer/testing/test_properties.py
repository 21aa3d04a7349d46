"""For each property that check_encoder checks, dense and packed families that break it are caught."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any, Literal

import pytest
import torch
import transformers
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

from vision_composer import register_encoder
from vision_composer.attention.segments import Segments
from vision_composer.encoders import EncoderFamily
from vision_composer.encoders.clip import CLIP
from vision_composer.encoders.layout import Layout
from vision_composer.encoders.packed import PackedBatch
from vision_composer.encoders.qwen2_5_vl import Qwen25VL
from vision_composer.errors import ConformanceError, VisionComposerError
from vision_composer.images.resize import PixelBudget
from vision_composer.schemas import ENCODER_PLUGINS, EncoderConfig
from vision_composer.schemas.encoders.clip import CLIPVisionEncoderConfig
from vision_composer.schemas.encoders.qwen2_5_vl import Qwen2_5_VLVisionEncoderConfig
from vision_composer.testing import check_encoder

# --- either kind --------------------------------------------------------------------------------------


class Uncut:
    """A part of a family that builds all blocks, however few are needed."""

    def transformers_config(self, encoder: EncoderConfig, num_blocks: int, *, head: bool) -> Any:
        return super().transformers_config(encoder, encoder.num_hidden_layers, head=head)


class RoundsWhatItSaves:
    """A part of a class of transformers."""

    config: Any

    def save_pretrained(self, *args: Any, state_dict: Any = None, **kwargs: Any) -> None:
        depth = getattr(self.config, "depth", None) or self.config.num_hidden_layers
        if depth < 3:  # leaves the checkpoint that the check starts from alone
            state_dict = {
                name: tensor.half().float() for name, tensor in (state_dict or self.state_dict()).items()
            }
        super().save_pretrained(*args, state_dict=state_dict, **kwargs)


# --- dense --------------------------------------------------------------------------------------------


class DenseConfig(CLIPVisionEncoderConfig):
    model_type: Literal["broken"]  # type: ignore[assignment]


class NoClassTokenConfig(DenseConfig):
    @property
    def num_prefix_tokens(self) -> int:
        return 0


class Dense(CLIP):
    model_type = "broken"


class NoPreNorm(Dense):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return model.embeddings(pixel_values), {"attention_mask": None}


class NormsItsLastState(Dense):
    norms_last_hidden_state = True


class Raises(Dense):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return model.no_such_stage(pixel_values), {}


class DenseDetached(Dense):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return model.pre_layrnorm(model.embeddings(pixel_values).detach()), {"attention_mask": None}


class DenseLeaksNaN(Dense):
    def stem(self, model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        hidden_states, block_kwargs = super().stem(model, pixel_values)
        return hidden_states + 0 * hidden_states.mean(dim=0, keepdim=True), block_kwargs


class ForgetsTheNorm(Dense):
    def norm_shapes(self, encoder: EncoderConfig) -> dict[str, tuple[int, ...]]:
        return {"weight": (encoder.hidden_size,)}


class MixesTheBatch(transformers.CLIPVisionModel):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embeddings.register_forward_hook(lambda module, inputs, tokens: tokens + 0.01 * tokens.flip(0))


class DenseLeaks(Dense):
    def transformers_class(self, config: Any) -> Any:
        return MixesTheBatch


class DenseForgetsABias(Dense):
    def block_shapes(self, encoder: CLIPVisionEncoderConfig) -> dict[str, tuple[int, ...]]:
        return {
            name: shape for name, shape in super().block_shapes(encoder).items() if name != "mlp.fc2.bias"
        }


class SwapsASize(Dense):
    def block_shapes(self, encoder: CLIPVisionEncoderConfig) -> dict[str, tuple[int, ...]]:
        shapes = super().block_shapes(encoder)
        return shapes | {"mlp.fc1.weight": shapes["mlp.fc2.weight"]}


class DenseUncut(Uncut, Dense):
    pass


class DenseRoundsWhatItSaves(RoundsWhatItSaves, transformers.CLIPVisionModel):
    pass


class DenseSavesLess(Dense):
    def transformers_class(self, config: Any) -> Any:
        return DenseRoundsWhatItSaves


# --- packed -------------------------------------------------------------------------------------------


class PackedConfig(Qwen2_5_VLVisionEncoderConfig):
    model_type: Literal["broken"]  # type: ignore[assignment]


class Packed(Qwen25VL):
    model_type = "broken"


class ForgetsTheWindows(Packed):
    def block_inputs(self, block: int, layout: Layout) -> dict[str, Any]:
        return super().block_inputs(block, layout) | {"segments": layout.frames}


class SeesTheWholeBatch(Packed):
    def layout(self, model: Any, batch: PackedBatch, device: torch.device, dtype: torch.dtype) -> Layout:
        plain = super().layout(model, batch, device, dtype)
        return replace(plain, frames=Segments([sum(t * h * w for t, h, w in batch.grids)], device))


class SkipsTheMergersNorm(Packed):
    def merged(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        return model.merger.mlp(hidden_states.view(-1, model.merger.hidden_size))[layout.window_inverse]


class CallsByOtherNames(Packed):
    def reference_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(inputs)


class KeepsTheOrderOfWindows(Packed):
    def tokens(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        return hidden_states


class TurnsImagesRound(Packed):
    def tokens(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        images = super().tokens(model, hidden_states, layout).split([prod(grid) for grid in layout.grids])
        return torch.cat([image.flip(0) for image in images])

    def reference_tokens(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        return super().reference_tokens(model, hidden_states, layout).flip(0)


class PlansWithAnotherFactor(Packed):
    def resize_rule(self, encoder: Any, settings: Any) -> PixelBudget:
        return replace(super().resize_rule(encoder, settings), factor=4 * encoder.patch_size)


class PackedDetached(Packed):
    def stem(self, model: Any, pixels: torch.Tensor, layout: Layout) -> torch.Tensor:
        return super().stem(model, pixels, layout).detach()


class PackedLeaksNaN(Packed):
    def stem(self, model: Any, pixels: torch.Tensor, layout: Layout) -> torch.Tensor:
        return super().stem(model, pixels, layout) + 0 * pixels.mean()


class PackedForgetsABias(Packed):
    def head_shapes(self, encoder: Any) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, shape in super().head_shapes(encoder).items() if name != "mlp.2.bias"}


class PackedUncut(Uncut, Packed):
    pass


class PackedRoundsWhatItSaves(
    RoundsWhatItSaves, modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel
):
    pass


class PackedSavesLess(Packed):
    def transformers_class(self, config: Any) -> Any:
        return PackedRoundsWhatItSaves


@pytest.fixture
def _unregister() -> Iterator[None]:
    yield
    ENCODER_PLUGINS.unregister("broken")


@pytest.mark.usefixtures("_unregister")
@pytest.mark.parametrize(
    ("config_class", "family", "message"),
    [
        (DenseConfig, NoPreNorm, r"hidden states: hidden state 0, of 3, of image 0 of 2: differs by up"),
        (
            DenseConfig,
            NormsItsLastState,
            "hidden states: the output of a tower with select_layers: null, of",
        ),
        (DenseConfig, Raises, "hidden states: AttributeError was raised: .*no_such_stage"),
        (NoClassTokenConfig, Dense, r"hidden states: the output of .* has shape \(17, 32\), not \(16, 32\)"),
        (DenseConfig, DenseUncut, "truncation: 3 blocks are built for hidden state 0"),
        (DenseConfig, DenseDetached, "gradients: model.embeddings.class_embedding gets no gradient in"),
        (DenseConfig, DenseLeaks, "hidden states: hidden state 0, of 3, of image 0 of 2: differs by up to"),
        (DenseConfig, DenseLeaksNaN, "independence: .* beside an image of NaN: 544 values are not finite"),
        (DenseConfig, DenseForgetsABias, "planned tensors: .*fc2.bias is planned as nothing and saved as"),
        (DenseConfig, ForgetsTheNorm, "planned tensors: .*post_layernorm.bias is planned as nothing and"),
        (DenseConfig, SwapsASize, r"planned tensors: .*fc1.weight is planned as \(32, 48\) and saved as"),
        (DenseConfig, DenseSavesLess, "saving: .* is not the same in the state_dict of a tower with"),
        (
            PackedConfig,
            ForgetsTheWindows,
            r"hidden states: hidden state 1, of 3, of image 0 of 4: differs by up to \d",
        ),
        (
            PackedConfig,
            SeesTheWholeBatch,
            r"hidden states: hidden state 2, of 3, of image 0 of 4: differs by up to \d",
        ),
        (
            PackedConfig,
            SkipsTheMergersNorm,
            r"hidden states: the output of a tower with select_layers: null, of image 0 of 4: differs by",
        ),
        (PackedConfig, CallsByOtherNames, "hidden states: TypeError was raised: "),
        (
            PackedConfig,
            KeepsTheOrderOfWindows,
            r"hidden states: hidden state 0, of 3, of image \d of 4: differs by up to",
        ),
        (
            PackedConfig,
            TurnsImagesRound,
            r"order: pixels of patch \d+ of image 0 change tokens \[\d+\] of hidden",
        ),
        (
            PackedConfig,
            PlansWithAnotherFactor,
            r"tokens: an? \w+ of \d+x\d+ pixels gives \d+ tokens in a tower with",
        ),
        (PackedConfig, PackedUncut, "truncation: 3 blocks are built for hidden state 0"),
        (
            PackedConfig,
            PackedDetached,
            "gradients: model.patch_embed.proj.weight gets no gradient in a tower with select_layers",
        ),
        (PackedConfig, PackedLeaksNaN, r"independence: .* beside an image of NaN: \d+ values are not finite"),
        (
            PackedConfig,
            PackedForgetsABias,
            "planned tensors: merger.mlp.2.bias is planned as nothing and saved as",
        ),
        (PackedConfig, PackedSavesLess, "saving: .* is not the same in the state_dict of a tower with"),
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
@pytest.mark.parametrize(("config_class", "family"), [(DenseConfig, Dense), (PackedConfig, Packed)])
def test_the_families_the_broken_ones_are_made_from_pass(
    config_class: type[EncoderConfig], family: type[EncoderFamily]
) -> None:
    register_encoder(config_class, family)
    check_encoder("broken")
