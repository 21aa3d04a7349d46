"""The base classes of the vision towers of the Qwen-VL line, and of those built like them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..images.resize import ResizeRule
from ..schemas.encoders.lfm3_vl import Lfm3VlVisionEncoderConfig
from ..schemas.encoders.minimax_m3_vl import MiniMaxM3VLVisionEncoderConfig
from ..schemas.encoders.qwen_vl import QwenVisionEncoderConfig
from .aliases import FromTransformers
from .facts import Grid, VisionEncoderInfo
from .layout import RopeLayoutT, axial_rope
from .patch_rows import PatchRowsFamily
from .shapes import Shapes, linear

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch

M = TypeVar("M", bound=QwenVisionEncoderConfig | MiniMaxM3VLVisionEncoderConfig | Lfm3VlVisionEncoderConfig)
Q = TypeVar("Q", bound=QwenVisionEncoderConfig)


class QwenImages(PatchRowsFamily[M, RopeLayoutT], Generic[M, RopeLayoutT]):
    """Towers that take images and clips as Qwen2-VL's image processor makes them.

    Patches come frame after frame, grouped by squares of spatial_merge_size² patches, with the squares in
    raster order and the patches in raster order inside each.
    """

    patch_bias: ClassVar[bool] = False
    """Whether the patch embedding has a bias."""

    def info(self, encoder: M, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            grid_multiple=encoder.spatial_merge_size,
            patch_square=encoder.spatial_merge_size,
            temporal_patch_size=encoder.temporal_patch_size,
        )

    def image_processor_settings(self, encoder: M) -> dict[str, object]:
        return {
            "do_resize": True,
            "patch_size": encoder.patch_size,
            "merge_size": encoder.spatial_merge_size,
            "temporal_patch_size": encoder.temporal_patch_size,
        }

    def stem_shapes(self, encoder: M) -> Shapes:
        patch = (encoder.temporal_patch_size, encoder.patch_size, encoder.patch_size)
        shapes: Shapes = {f"{self.patch_projection}.weight": (encoder.width, encoder.num_channels, *patch)}
        return shapes | ({f"{self.patch_projection}.bias": (encoder.width,)} if self.patch_bias else {})


class QwenVL(QwenImages[Q, RopeLayoutT], Generic[Q, RopeLayoutT]):
    """The towers of Qwen-VL, and those built like them. A merged token is one square of patches."""

    head = "merger"
    image_processor = "Qwen2VLImageProcessor"
    min_pixels: ClassVar[int] = 56 * 56
    max_pixels: ClassVar[int] = 28 * 28 * 16384
    """Bounds of an image's area in pixels for a checkpoint that does not name them; released ones all do."""

    # --- facts ----------------------------------------------------------------------------------------

    def info(self, encoder: Q, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            merge_size=encoder.spatial_merge_size,
            out_hidden_size=encoder.merged_width,
        )

    def image_processor_defaults(self, encoder: Q) -> dict[str, object]:
        return {"size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}}

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

    def rope(
        self, model: FromTransformers, grids: tuple[Grid, ...], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Compute cosines and sines of patches in input order, (tokens, head_size) float32 each."""
        config = model.config
        width = model.get_parameter(f"{self.patch_projection}.weight").shape[0]
        base = (config.rope_parameters or {}).get("rope_theta", 10000.0)
        head = width // config.num_attention_heads
        cosines, sines = axial_rope(grids, head, base, config.spatial_merge_size)
        return cosines.to(device), sines.to(device)

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: RopeLayoutT) -> Tensor:
        merged: Tensor = model.merger(hidden_states)
        return merged
