"""What the vision towers of the Qwen-VL line have in common: inputs, patches, rope, blocks and merger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InputError
from ..schemas.encoders.qwen_vl import QwenVisionEncoderConfig
from .base import Shapes, VisionEncoderInfo, linear
from .packed import PackedFamily, check_pixels, refuse_unknown, rows_of_integers
from .resize import PixelBudget, ResizeRule

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .layout import Grid, Layout

_INPUTS = {"pixel_values": "image_grid_thw", "pixel_values_videos": "video_grid_thw"}
"""The patches' name in a batch -> that of their grids."""


class QwenVL(PackedFamily):
    """The towers of Qwen-VL.

    Patches of an image stand as its image processor emits them: frame after frame, in squares of
    spatial_merge_size², the squares in raster order and the patches of each in raster order. Merged tokens
    are those squares, in raster order.
    """

    blocks = "blocks"
    head = "merger"
    image_processor = "Qwen2VLImageProcessorPil"
    min_pixels: ClassVar[int] = 56 * 56
    max_pixels: ClassVar[int] = 28 * 28 * 16384
    """Bounds of an image's area where a checkpoint says nothing: those that every released one says."""
    patch_bias: ClassVar[bool] = False
    """Whether the patch embedding has a bias."""

    # --- facts ----------------------------------------------------------------------------------------

    def info_with(self, encoder: QwenVisionEncoderConfig, resize: ResizeRule) -> VisionEncoderInfo:
        return replace(
            super().info_with(encoder, resize),
            merge_size=encoder.spatial_merge_size,
            grid_multiple=encoder.spatial_merge_size,
            temporal_patch_size=encoder.temporal_patch_size,
            out_hidden_size=encoder.merged_width,
        )

    def resize_rule(self, encoder: QwenVisionEncoderConfig, processor: Any = None) -> PixelBudget:
        least, most = self.min_pixels, self.max_pixels
        if processor is not None:
            least, most = processor.size.shortest_edge, processor.size.longest_edge
        return PixelBudget(encoder.patch_size * encoder.spatial_merge_size, least, most)

    def image_processor_defaults(self, encoder: Any) -> dict[str, Any]:
        return {"size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}}

    def image_processor_settings(self, encoder: QwenVisionEncoderConfig) -> dict[str, Any]:
        return {
            "do_resize": True,
            "patch_size": encoder.patch_size,
            "merge_size": encoder.spatial_merge_size,
            "temporal_patch_size": encoder.temporal_patch_size,
        }

    def stem_shapes(self, encoder: QwenVisionEncoderConfig) -> Shapes:
        patch = (encoder.temporal_patch_size, encoder.patch_size, encoder.patch_size)
        shapes: Shapes = {"patch_embed.proj.weight": (encoder.width, encoder.in_channels, *patch)}
        return shapes | ({"patch_embed.proj.bias": (encoder.width,)} if self.patch_bias else {})

    def attention_shapes(self, encoder: QwenVisionEncoderConfig) -> Shapes:
        """Tensors of a block's attention."""
        width = encoder.width
        return {**linear("attn.qkv", width, 3 * width), **linear("attn.proj", width, width)}

    def head_flops(self, encoder: QwenVisionEncoderConfig, num_tokens: int) -> int:
        merged = num_tokens // encoder.spatial_merge_size**2
        joined = encoder.width * encoder.spatial_merge_size**2
        mergers = 1 + len(encoder.deepstack_layers)
        return mergers * 2 * merged * joined * (joined + encoder.merged_width)

    # --- building -------------------------------------------------------------------------------------

    def transformers_config(self, encoder: Any, num_blocks: int, *, head: bool) -> Any:
        fields = encoder.model_dump(exclude={"model_type"}, exclude_none=True) | {"depth": num_blocks}
        return getattr(import_module(self.module), self.config_class)(**fields)

    # --- running --------------------------------------------------------------------------------------

    def read(self, info: VisionEncoderInfo, inputs: Mapping[str, Any]) -> tuple[Tensor, tuple[Grid, ...]]:
        """``pixel_values`` (patches, channels x frames x height x width of a patch), all images one after
        the other, and ``image_grid_thw`` (images, 3), frames, rows and columns of patches; or
        ``pixel_values_videos`` and ``video_grid_thw``.
        """
        videos = inputs.get("pixel_values_videos") is not None or inputs.get("video_grid_thw") is not None
        name = "pixel_values_videos" if videos else "pixel_values"
        given = {key: value for key, value in inputs.items() if value is not None}
        refuse_unknown(info.model_type, given, (name, _INPUTS[name]))
        pixels = check_pixels(name, given.get(name))
        values = info.num_channels * info.temporal_patch_size * info.patch_size**2
        shape = tuple(pixels.shape)
        if len(shape) != 2 or shape[1] != values:
            raise InputError(f"{name} must be (patches, {values}), not {shape}")
        grids = rows_of_integers(_INPUTS[name], given.get(_INPUTS[name]), 3, "frames, rows and columns")
        for i, (frames, rows, columns) in enumerate(grids):
            if min(frames, rows, columns) < 1:
                raise InputError(f"{_INPUTS[name]}[{i}] is {frames, rows, columns}: nothing is in it")
            if rows % info.grid_multiple or columns % info.grid_multiple:
                raise InputError(
                    f"{_INPUTS[name]}[{i}] is {frames, rows, columns}: rows and columns must be multiples of "
                    f"{info.grid_multiple}, which are merged"
                )
        total = sum(t * h * w for t, h, w in grids)
        if total != shape[0]:
            raise InputError(f"{_INPUTS[name]} stands for {total} patches, and {name} has {shape[0]}")
        return pixels, tuple((t, h, w) for t, h, w in grids)

    def reference_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_states": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}

    def layout(self, model: Any, grids: tuple[Grid, ...], device: torch.device, dtype: torch.dtype) -> Layout:
        from .layout import Layout, frame_segments

        return Layout(grids, rope=self.rope(model, grids, device), frames=frame_segments(grids, device))

    def rope(self, model: Any, grids: tuple[Grid, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines of patches in the order of the input, (tokens, head_size) float32."""
        from .layout import cosines_and_sines, patch_positions, rope_frequencies

        config = model.config
        width = model.patch_embed.proj.weight.shape[0]
        base = (config.rope_parameters or {}).get("rope_theta", 10000.0)
        frequencies = rope_frequencies(width // config.num_heads // 2, base)
        positions = patch_positions(grids, config.spatial_merge_size).float()
        cosines, sines = cosines_and_sines((positions[..., None] * frequencies).flatten(1))
        return cosines.to(device), sines.to(device)

    def embed(self, model: Any, pixels: Tensor, layout: Layout) -> Tensor:
        from torch.nn.functional import linear as project

        # A patch is a row of pixels: the convolution over the whole of it is a projection.
        proj = model.patch_embed.proj
        return project(pixels, proj.weight.view(len(proj.weight), -1), proj.bias)

    def block_inputs(self, block: int, layout: Layout) -> dict[str, Any]:
        return {
            "cu_seqlens": layout.whole,
            "position_embeddings": layout.rope,
            "segments": layout.frames,
        }

    def merged(self, model: Any, hidden_states: Tensor, layout: Layout) -> Tensor:
        return model.merger(hidden_states)  # type: ignore[no-any-return]
