"""Qwen2.5-VL (``Qwen2_5_VisionTransformerPretrainedModel``): most blocks attend inside windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..attention.sending import Parcel
from ..schemas.encoders.qwen2_5_vl import Qwen2_5_VLVisionEncoderConfig, WindowedVisionEncoderConfig
from .aliases import FromTransformers
from .facts import VisionEncoderInfo
from .layout import WindowLayout, by_square, pairs_in_windows
from .places import WindowedPatches
from .qwen2_vl import merger_mlp
from .qwen_vl import QwenVL
from .reading import Reading
from .shapes import Shapes, gated_mlp

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch

W = TypeVar("W", bound=WindowedVisionEncoderConfig)


class WindowedVision(QwenVL[W, WindowLayout], Generic[W]):
    """Towers whose blocks take patches window by window; the output is in input order."""

    tiny: ClassVar = {"out_hidden_size": 24, "window_size": 32, "fullatt_block_indexes": [1]}

    def block_shapes(self, encoder: W) -> Shapes:
        width = encoder.width
        return {
            "norm1.weight": (width,),
            "norm2.weight": (width,),
            **self.attention_shapes(encoder),
            **gated_mlp("mlp", width, encoder.mlp_width),
        }

    def head_shapes(self, encoder: W) -> Shapes:
        return {"ln_q.weight": (encoder.width,), **merger_mlp(encoder)}

    def attention_pairs(
        self,
        encoder: W,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        wide = len({block for block in encoder.fullatt_block_indexes if block < num_blocks})
        grid = info.grid(*size)
        windows = pairs_in_windows(grid, encoder.spatial_merge_size, encoder.merged_window_size)
        return super().attention_pairs(encoder, wide, info, size) + (num_blocks - wide) * windows

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> WindowLayout:
        grids, config, parcel = batch.grids, model.config, Parcel(device)
        rope, merge = self.rope(model, grids, parcel), config.spatial_merge_size
        window = config.window_size // merge // config.patch_size
        patches = WindowedPatches(grids, parcel, merge_size=merge, window=window)
        return WindowLayout.of(grids, patches, rope.at, config.fullatt_block_indexes, parcel)

    def stem(self, model: FromTransformers, pixels: Tensor, layout: WindowLayout) -> Tensor:
        return layout.into_windows(super().stem(model, pixels, layout))

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout) -> Tensor:
        return layout.in_input_order(hidden_states)

    def reference_tokens(
        self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout
    ) -> Tensor:
        import torch
        from transformers.vision_utils import get_vision_window_index

        # transformers takes windows in raster order and does not sort them by size.
        index, _ = get_vision_window_index(
            torch.tensor(layout.grids),
            model.config.spatial_merge_size,
            model.config.window_size,
            model.config.patch_size,
        )
        return by_square(hidden_states, index.argsort())

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout) -> Tensor:
        return layout.in_input_order(super().merged(model, hidden_states, layout))


class Qwen25VL(WindowedVision[Qwen2_5_VLVisionEncoderConfig]):
    """The family of qwen2_5_vl_vision."""

    model_type = "qwen2_5_vl_vision"
    module = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
    model_class = "Qwen2_5_VisionTransformerPretrainedModel"
    config_class = "Qwen2_5_VLVisionConfig"
    other_names = ("qwen2_5_vl",)
    read_by: ClassVar = dict.fromkeys(("qwen2_5_vl", "hyperclovax_vision_v2"), Reading())
