"""The base classes of the vision towers of the Qwen-VL line, and of those built like them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..images.resize import PixelBudget, ResizeRule
from ..schemas.encoders.minimax_m3_vl import MiniMaxM3VLVisionEncoderConfig
from ..schemas.encoders.qwen_vl import QwenVisionEncoderConfig
from .base import FromTransformers
from .facts import Grid, VisionEncoderInfo
from .patch_rows import PatchRowsFamily
from .shapes import Shapes, linear

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .layout import Layout
    from .packed import PackedBatch

M = TypeVar("M", bound=QwenVisionEncoderConfig | MiniMaxM3VLVisionEncoderConfig)
Q = TypeVar("Q", bound=QwenVisionEncoderConfig)


class QwenImages(PatchRowsFamily[M], Generic[M]):
    """Towers that take images and clips as Qwen2-VL's image processor makes them.

    Patches come frame after frame, grouped by squares of spatial_merge_size² patches, with the squares in
    raster order and the patches in raster order inside each.
    """

    image_processor = "Qwen2VLImageProcessorPil"
    min_pixels: ClassVar[int] = 56 * 56
    max_pixels: ClassVar[int] = 28 * 28 * 16384
    """Bounds of an image's area in pixels for a checkpoint that does not name them; released ones all do."""
    patch_bias: ClassVar[bool] = False
    """Whether the patch embedding has a bias."""

    def info(self, encoder: M, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            grid_multiple=encoder.spatial_merge_size,
            temporal_patch_size=encoder.temporal_patch_size,
        )

    def resize_rule(self, encoder: M, processor: FromTransformers = None) -> ResizeRule:
        factor = encoder.patch_size * encoder.spatial_merge_size
        return PixelBudget(factor, *self.pixel_bounds(processor))

    def pixel_bounds(self, processor: FromTransformers) -> tuple[int, int]:
        """Return the smallest and largest area that ``processor`` resizes to; None: the family's own."""
        if processor is None:
            return self.min_pixels, self.max_pixels
        return processor.size.shortest_edge, processor.size.longest_edge

    def image_processor_defaults(self, encoder: M) -> dict[str, object]:
        return {"size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}}

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


class QwenVL(QwenImages[Q], Generic[Q]):
    """The towers of Qwen-VL, and those built like them. A merged token is one square of patches."""

    head = "merger"

    # --- facts ----------------------------------------------------------------------------------------

    def info(self, encoder: Q, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            merge_size=encoder.spatial_merge_size,
            out_hidden_size=encoder.merged_width,
        )

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

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> Layout:
        from .layout import Layout, frame_segments

        grids = batch.grids
        return Layout(grids, rope=self.rope(model, grids, device), frames=frame_segments(grids, device))

    def rope(
        self, model: FromTransformers, grids: tuple[Grid, ...], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Compute cosines and sines of patches in input order, (tokens, head_size) float32 each."""
        from .layout import cosines_and_sines, patch_positions, rope_frequencies

        config = model.config
        width = model.get_parameter(f"{self.patch_projection}.weight").shape[0]
        base = (config.rope_parameters or {}).get("rope_theta", 10000.0)
        frequencies = rope_frequencies(width // config.num_attention_heads // 2, base)
        positions = patch_positions(grids, config.spatial_merge_size).float()
        cosines, sines = cosines_and_sines((positions[..., None] * frequencies).flatten(1))
        return cosines.to(device), sines.to(device)

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: Layout) -> Tensor:
        merged: Tensor = model.merger(hidden_states)
        return merged
