"""check_encoder of packed encoders: for each property, a family that breaks it is caught."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any, Literal

import pytest
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

from vision_composer import register_encoder
from vision_composer.attention.segments import Segments
from vision_composer.encoders import EncoderFamily
from vision_composer.encoders.layout import Layout
from vision_composer.encoders.packed import PackedBatch
from vision_composer.encoders.qwen2_5_vl import Qwen25VL
from vision_composer.errors import ConformanceError
from vision_composer.images.resize import PixelBudget
from vision_composer.schemas import ENCODER_PLUGINS
from vision_composer.schemas.encoders.qwen2_5_vl import Qwen2_5_VLVisionEncoderConfig
from vision_composer.testing import check_encoder


class BrokenConfig(Qwen2_5_VLVisionEncoderConfig):
    model_type: Literal["broken"]  # type: ignore[assignment]


class Broken(Qwen25VL):
    model_type = "broken"


class ForgetsTheWindows(Broken):
    def block_inputs(self, block: int, layout: Layout) -> dict[str, Any]:
        return super().block_inputs(block, layout) | {"segments": layout.frames}


class SeesTheWholeBatch(Broken):
    def layout(self, model: Any, batch: PackedBatch, device: torch.device, dtype: torch.dtype) -> Layout:
        plain = super().layout(model, batch, device, dtype)
        return replace(plain, frames=Segments([sum(t * h * w for t, h, w in batch.grids)], device))


class SkipsTheMergersNorm(Broken):
    def merged(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        return model.merger.mlp(hidden_states.view(-1, model.merger.hidden_size))[layout.window_inverse]


class CallsByOtherNames(Broken):
    def reference_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(inputs)


class KeepsTheOrderOfWindows(Broken):
    def tokens(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        return hidden_states


class TurnsImagesRound(Broken):
    def tokens(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        images = super().tokens(model, hidden_states, layout).split([prod(grid) for grid in layout.grids])
        return torch.cat([image.flip(0) for image in images])

    def reference_tokens(self, model: Any, hidden_states: torch.Tensor, layout: Layout) -> torch.Tensor:
        return super().reference_tokens(model, hidden_states, layout).flip(0)


class PlansWithAnotherFactor(Broken):
    def resize_rule(self, encoder: Any, settings: Any) -> PixelBudget:
        return replace(super().resize_rule(encoder, settings), factor=2 * encoder.patch_size + 8)


class Uncut(Broken):
    def transformers_config(self, encoder: Any, num_blocks: int, *, head: bool) -> Any:
        return super().transformers_config(encoder, encoder.depth, head=head)


class Detached(Broken):
    def stem(self, model: Any, pixels: torch.Tensor, layout: Layout) -> torch.Tensor:
        return super().stem(model, pixels, layout).detach()


class LeaksNaN(Broken):
    def stem(self, model: Any, pixels: torch.Tensor, layout: Layout) -> torch.Tensor:
        return super().stem(model, pixels, layout) + 0 * pixels.mean()


class ForgetsABias(Broken):
    def head_shapes(self, encoder: Any) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, shape in super().head_shapes(encoder).items() if name != "mlp.2.bias"}


class RoundsWhatItSaves(modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel):
    def save_pretrained(self, *args: Any, state_dict: Any = None, **kwargs: Any) -> None:
        if self.config.depth < 3:  # leaves the checkpoint that the check starts from alone
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
    ("family", "message"),
    [
        (ForgetsTheWindows, r"hidden states: hidden state 1, of 3, of image 0 of 4: differs by up to \d"),
        (SeesTheWholeBatch, r"hidden states: hidden state 2, of 3, of image 0 of 4: differs by up to \d"),
        (
            SkipsTheMergersNorm,
            r"hidden states: the output of a tower with select_layers: null, of image 0 of 4: differs by",
        ),
        (CallsByOtherNames, "hidden states: TypeError was raised: "),
        (KeepsTheOrderOfWindows, r"hidden states: hidden state 0, of 3, of image \d of 4: differs by up to"),
        (TurnsImagesRound, r"order: pixels of patch \d+ of image 0 change tokens \[\d+\] of hidden"),
        (PlansWithAnotherFactor, r"tokens: an? \w+ of \d+x\d+ pixels gives \d+ tokens in a tower with"),
        (Uncut, "truncation: 3 blocks are built for hidden state 0"),
        (Detached, "gradients: model.patch_embed.proj.weight gets no gradient in a tower with select_layers"),
        (LeaksNaN, r"independence: .* beside an image of NaN: \d+ values are not finite"),
        (ForgetsABias, "planned tensors: merger.mlp.2.bias is planned as nothing and saved as"),
        (SavesLess, "saving: .* is not the same in the state_dict of a tower with"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_broken_is_named(family: type[EncoderFamily], message: str) -> None:
    register_encoder(BrokenConfig, family)
    with pytest.raises(ConformanceError, match=f"^broken: {message}"):
        check_encoder("broken")


@pytest.mark.usefixtures("_unregister")
def test_the_family_the_broken_ones_are_made_from_passes() -> None:
    register_encoder(BrokenConfig, Broken)
    check_encoder("broken")
