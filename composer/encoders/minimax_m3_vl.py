"""MiniMax-M3-VL (``MiniMaxM3VLVisionModel``): clips attend as a whole, rope over frames, rows and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..images.resize import ResizeRule
from ..schemas.encoders.minimax_m3_vl import MiniMaxM3VLVisionEncoderConfig
from .base import Shapes, VisionEncoderInfo, layer_norm, linear
from .qwen_vl import QwenVL

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .layout import Grid, Layout


class MiniMaxM3VL(QwenVL):
    """minimax_m3_vl_vision. Patches stand as Qwen-VL's; merging them is the language model's part.

    Before transformers 5.18 its class had a rope over rows and columns only, and so other features.
    """

    model_type = "minimax_m3_vl_vision"
    since = "5.18"
    module = "transformers.models.minimax_m3_vl.modeling_minimax_m3_vl"
    model_class = "MiniMaxM3VLVisionModel"
    config_class = "MiniMaxM3VLVisionConfig"
    vlm = "minimax_m3_vl"
    blocks = "layers"
    head = ""
    patch_projection = "embeddings.proj"
    depth_field = "num_hidden_layers"
    min_pixels = 4 * 28 * 28
    max_pixels = 451584

    def info_with(self, encoder: MiniMaxM3VLVisionEncoderConfig, resize: ResizeRule) -> VisionEncoderInfo:
        return replace(
            super(QwenVL, self).info_with(encoder, resize),
            grid_multiple=encoder.spatial_merge_size,
            temporal_patch_size=encoder.temporal_patch_size,
            attends_across_frames=True,
        )

    def stem_shapes(self, encoder: MiniMaxM3VLVisionEncoderConfig) -> Shapes:
        return super().stem_shapes(encoder) | layer_norm("pre_layrnorm", encoder.width)

    def block_shapes(self, encoder: MiniMaxM3VLVisionEncoderConfig) -> Shapes:
        width = encoder.width
        shapes = {**layer_norm("layer_norm1", width), **layer_norm("layer_norm2", width)}
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"self_attn.{projection}", width, width)
        shapes |= linear("mlp.fc1", width, encoder.intermediate_size)
        return shapes | linear("mlp.fc2", encoder.intermediate_size, width)

    def reference_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"pixel_values": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}

    # --- running --------------------------------------------------------------------------------------

    def layout(self, model: Any, grids: tuple[Grid, ...], device: torch.device, dtype: torch.dtype) -> Layout:
        from .layout import Layout, clip_segments

        cosines, sines = self.rope(model, grids, device)
        return Layout(grids, frames=clip_segments(grids, device), rope=(cosines.to(dtype), sines.to(dtype)))

    def rope(self, model: Any, grids: tuple[Grid, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines over a part of each head: thirds for frames, rows and columns."""
        import torch

        from .layout import cosines_and_sines, patch_positions, rope_frequencies

        config = model.config
        base = (config.rope_parameters or {}).get("rope_theta", 10000.0)
        third = config.hidden_size // config.num_attention_heads // 3 // 2 * 2
        frames = torch.cat([torch.arange(t).repeat_interleave(h * w) for t, h, w in grids])
        places = torch.cat([frames[:, None], patch_positions(grids, config.spatial_merge_size)], dim=1)
        angles = (places.float()[..., None] * rope_frequencies(third, base)).flatten(1)
        cosines, sines = cosines_and_sines(angles)
        return cosines.to(device), sines.to(device)

    def embed(self, model: Any, pixels: Tensor, layout: Layout) -> Tensor:
        embedded: Tensor = model.pre_layrnorm(super().embed(model, pixels, layout)).unsqueeze(0)
        return embedded

    def block_inputs(self, block: int, layout: Layout) -> dict[str, Any]:
        # Before 5.23 the blocks of transformers ask for a mask that they do not use.
        return super().block_inputs(block, layout) | {"attention_mask": None}

    def tokens(self, hidden_states: Tensor, layout: Layout) -> Tensor:
        return hidden_states.squeeze(0)
