"""The base class of the vision towers of the Qwen-VL line, and of those built like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..schemas.encoders.qwen_vl import QwenVisionEncoderConfig
from .aliases import FromTransformers
from .layout import RopeLayoutT
from .patch_rows import RopeRowsFamily
from .shapes import Shapes, conv_patches, linear

if TYPE_CHECKING:
    from torch import Tensor

    from .packed import PackedBatch

Q = TypeVar("Q", bound=QwenVisionEncoderConfig)


class QwenVL(RopeRowsFamily[Q, RopeLayoutT], Generic[Q, RopeLayoutT]):
    """The towers of Qwen-VL, and those built like them. A merged token is one square of patches."""

    blocks = "blocks"
    head = "merger"
    patch_projection = "patch_embed.proj"
    patch_bias: ClassVar[bool] = False
    """Whether the patch embedding has a bias."""
    depth_field = "depth"
    by_squares = True
    image_processor = "Qwen2VLImageProcessor"
    min_pixels: ClassVar[int] = 56 * 56
    max_pixels: ClassVar[int] = 28 * 28 * 16384
    """Bounds of an image's area in pixels for a checkpoint that does not name them; released ones all do."""

    # --- facts ----------------------------------------------------------------------------------------

    def image_processor_defaults(self, encoder: Q) -> dict[str, object]:
        return {"size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}}

    def stem_shapes(self, encoder: Q) -> Shapes:
        frames = encoder.temporal_patch_size
        return conv_patches(self.patch_projection, encoder, bias=self.patch_bias, frames=frames)

    def attention_shapes(self, encoder: Q) -> Shapes:
        """Return the tensors of a block's attention."""
        width = encoder.width
        return {**linear("attn.qkv", width, 3 * width), **linear("attn.proj", width, width)}

    def head_flops(self, encoder: Q, num_tokens: int) -> int:
        merged = num_tokens // encoder.spatial_merge_size**2
        joined = encoder.width * encoder.spatial_merge_size**2
        mergers = 1 + len(encoder.deepstack_layers)
        return mergers * 2 * merged * joined * (joined + encoder.merged_width)

    # --- running --------------------------------------------------------------------------------------

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"hidden_states": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}

    def reference_output(self, output: FromTransformers, batch: PackedBatch) -> Tensor:
        """Return the merged tokens, with DeepStack levels after them on the feature axis."""
        import torch

        return torch.cat([output.pooler_output, *(getattr(output, "deepstack_features", None) or ())], dim=-1)

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: RopeLayoutT) -> Tensor:
        merged: Tensor = model.merger(hidden_states)
        return merged
