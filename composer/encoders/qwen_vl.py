"""What the vision towers of the Qwen-VL line, and those built after it, have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InputError
from ..images.resize import PixelBudget, ResizeRule
from .base import Shapes, VisionEncoderInfo, linear
from .packed import PackedFamily, check_pixels, refuse_unknown, rows_of_integers

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .layout import Grid, Layout

_INPUTS = {"pixel_values": "image_grid_thw", "pixel_values_videos": "video_grid_thw"}
"""The patches' name in a batch -> that of their grids."""


class QwenVL(PackedFamily):
    """The towers of Qwen-VL, and those that read images and clips in the same way.

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
    patch_projection: ClassVar[str] = "patch_embed.proj"
    """Path of the convolution over a patch."""
    depth_field: ClassVar[str] = "depth"
    """The config field that says how many blocks there are."""

    # --- facts ----------------------------------------------------------------------------------------

    def info_with(self, encoder: Any, resize: ResizeRule) -> VisionEncoderInfo:
        return replace(
            super().info_with(encoder, resize),
            merge_size=encoder.spatial_merge_size,
            grid_multiple=encoder.spatial_merge_size,
            temporal_patch_size=encoder.temporal_patch_size,
            out_hidden_size=encoder.merged_width,
        )

    def resize_rule(self, encoder: Any, processor: Any = None) -> ResizeRule:
        return PixelBudget(encoder.patch_size * encoder.spatial_merge_size, *self.pixel_bounds(processor))

    def pixel_bounds(self, processor: Any) -> tuple[int, int]:
        """Least and greatest area that ``processor``, or the family's by default, resizes to."""
        if processor is None:
            return self.min_pixels, self.max_pixels
        return processor.size.shortest_edge, processor.size.longest_edge

    def image_processor_defaults(self, encoder: Any) -> dict[str, Any]:
        return {"size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}}

    def image_processor_settings(self, encoder: Any) -> dict[str, Any]:
        return {
            "do_resize": True,
            "patch_size": encoder.patch_size,
            "merge_size": encoder.spatial_merge_size,
            "temporal_patch_size": encoder.temporal_patch_size,
        }

    def stem_shapes(self, encoder: Any) -> Shapes:
        patch = (encoder.temporal_patch_size, encoder.patch_size, encoder.patch_size)
        shapes: Shapes = {f"{self.patch_projection}.weight": (encoder.width, encoder.num_channels, *patch)}
        return shapes | ({f"{self.patch_projection}.bias": (encoder.width,)} if self.patch_bias else {})

    def attention_shapes(self, encoder: Any) -> Shapes:
        """Tensors of a block's attention."""
        width = encoder.width
        return {**linear("attn.qkv", width, 3 * width), **linear("attn.proj", width, width)}

    def head_flops(self, encoder: Any, num_tokens: int) -> int:
        merged = num_tokens // encoder.spatial_merge_size**2
        joined = encoder.width * encoder.spatial_merge_size**2
        mergers: int = 1 + len(encoder.deepstack_layers)
        flops: int = mergers * 2 * merged * joined * (joined + encoder.merged_width)
        return flops

    # --- building -------------------------------------------------------------------------------------

    def transformers_config(self, encoder: Any, num_blocks: int, *, head: bool) -> Any:
        fields = self.transformers_fields(encoder) | {self.depth_field: num_blocks}
        return getattr(import_module(self.module), self.config_class)(**fields)

    def transformers_fields(self, encoder: Any) -> dict[str, Any]:
        """The encoder block as arguments of transformers' config."""
        fields: dict[str, Any] = encoder.model_dump(exclude={"model_type"}, exclude_none=True)
        return fields

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
        shape, patch = tuple(pixels.shape), self.patch_shape(info)
        if shape[1:] != patch or not shape:
            raise InputError(f"{name} must be (patches, {', '.join(map(str, patch))}), not {shape}")
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

    def patch_shape(self, info: VisionEncoderInfo) -> tuple[int, ...]:
        """Axes of one patch in the input."""
        return (info.num_channels * info.temporal_patch_size * info.patch_size**2,)

    def reference_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_states": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}

    def layout(self, model: Any, grids: tuple[Grid, ...], device: torch.device, dtype: torch.dtype) -> Layout:
        from .layout import Layout, frame_segments

        return Layout(grids, rope=self.rope(model, grids, device), frames=frame_segments(grids, device))

    def rope(self, model: Any, grids: tuple[Grid, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines of patches in the order of the input, (tokens, head_size) float32."""
        from .layout import cosines_and_sines, patch_positions, rope_frequencies

        config = model.config
        width = model.get_parameter(f"{self.patch_projection}.weight").shape[0]
        base = (config.rope_parameters or {}).get("rope_theta", 10000.0)
        frequencies = rope_frequencies(width // config.num_attention_heads // 2, base)
        positions = patch_positions(grids, config.spatial_merge_size).float()
        cosines, sines = cosines_and_sines((positions[..., None] * frequencies).flatten(1))
        return cosines.to(device), sines.to(device)

    def embed(self, model: Any, pixels: Tensor, layout: Layout) -> Tensor:
        from torch.nn.functional import linear as project

        # A patch is a row of pixels: the convolution over the whole of it is a projection.
        proj = model.get_submodule(self.patch_projection)
        return project(pixels.flatten(1), proj.weight.flatten(1), proj.bias)

    def block_inputs(self, block: int, layout: Layout) -> dict[str, Any]:
        return {
            "cu_seqlens": layout.whole,
            "position_embeddings": layout.rope,
            "segments": layout.frames,
        }

    def merged(self, model: Any, hidden_states: Tensor, layout: Layout) -> Tensor:
        merged: Tensor = model.merger(hidden_states)
        return merged
