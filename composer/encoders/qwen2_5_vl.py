"""Qwen2.5-VL (``Qwen2_5_VisionTransformerPretrainedModel``): most blocks attend inside windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..schemas.encoders.qwen2_5_vl import Qwen2_5_VLVisionEncoderConfig, WindowedVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .facts import VisionEncoderInfo
from .layout import RopeLayout, frame_segments, window_order
from .qwen2_vl import merger_mlp
from .qwen_vl import QwenVL
from .reading import Reading
from .shapes import Shapes, gated_mlp

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..attention.segments import Segments
    from .packed import PackedBatch

W = TypeVar("W", bound=WindowedVisionEncoderConfig)


@dataclass(frozen=True, eq=False)
class WindowLayout(RopeLayout):
    """The layout of images whose merged tokens are sorted into windows.

    Attributes:
        windows: The segments for attention inside windows.
        window_index: The input's merged token at each place in the blocks' sequence, int64.
        window_inverse: The permutation back to input order.
        wide_blocks: The blocks that attend to whole frames.
    """

    windows: Segments
    window_index: Tensor
    window_inverse: Tensor
    wide_blocks: frozenset[int]

    def make_block_masks(self) -> None:
        super().make_block_masks()
        _ = self.windows.block_mask


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
        width, height = size if info.resize is None else info.resize(*size)
        whole, windows = 1, encoder.spatial_merge_size**4
        for side in (width, height):
            patches = side // encoder.patch_size
            full, rest = divmod(patches // encoder.spatial_merge_size, encoder.merged_window_size)
            whole *= patches**2
            windows *= full * encoder.merged_window_size**2 + rest**2
        wide = len({block for block in encoder.fullatt_block_indexes if block < num_blocks})
        return wide * whole + (num_blocks - wide) * windows

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> WindowLayout:
        from ..attention.segments import Segments

        grids = batch.grids
        config = model.config
        merge = config.spatial_merge_size
        window = config.window_size // merge // config.patch_size
        index, lengths = window_order(grids, merge, window)
        index = index.to(device)
        cosines, sines = (_reorder(table, index, merge**2) for table in self.rope(model, grids, device))
        return WindowLayout(
            grids,
            frames=frame_segments(grids, device),
            rope=(cosines, sines),
            windows=Segments(lengths, device),
            window_index=index,
            window_inverse=index.argsort(),
            wide_blocks=frozenset(config.fullatt_block_indexes),
        )

    def stem(self, model: FromTransformers, pixels: Tensor, layout: WindowLayout) -> Tensor:
        return _by_square(super().stem(model, pixels, layout), layout.window_index)

    def block_inputs(self, block: int, layout: WindowLayout) -> BlockInputs:
        wide = block in layout.wide_blocks
        return super().block_inputs(block, layout) | {"segments": layout.frames if wide else layout.windows}

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout) -> Tensor:
        return _by_square(hidden_states, layout.window_inverse)

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
        return _by_square(hidden_states, index.argsort())

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout) -> Tensor:
        merged: Tensor = model.merger(hidden_states)[layout.window_inverse]
        return merged


class Qwen25VL(WindowedVision[Qwen2_5_VLVisionEncoderConfig]):
    """The family of qwen2_5_vl_vision."""

    model_type = "qwen2_5_vl_vision"
    module = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
    model_class = "Qwen2_5_VisionTransformerPretrainedModel"
    config_class = "Qwen2_5_VLVisionConfig"
    other_names = ("qwen2_5_vl",)
    read_by: ClassVar = dict.fromkeys(("qwen2_5_vl", "hyperclovax_vision_v2"), Reading())


def _by_square(states: Tensor, index: Tensor) -> Tensor:
    """Reorder tokens, or the squares of tokens that are merged, of which ``index`` has one number each."""
    return _reorder(states, index, len(states) // len(index))


def _reorder(rows: Tensor, index: Tensor, square: int) -> Tensor:
    """Reorder rows, ``square`` of them at a time."""
    return rows.view(-1, square, rows.shape[-1])[index].flatten(0, 1)
