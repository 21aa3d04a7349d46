"""Muse Glimmer and Muse Spark (``MuseGlimmerVisionModel``): most blocks attend inside windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import Parcel
from ..schemas.encoders.muse_glimmer import MuseGlimmerVisionEncoderConfig
from .aliases import FromTransformers
from .facts import VisionEncoderInfo
from .layout import WindowLayout, pairs_in_windows
from .patch_rows import RopeRowsFamily
from .places import WindowedPatches
from .reading import Reading
from .rope import Rope, on_halves, rope_base, rope_frequencies
from .shapes import Shapes, layer_norm, linear_patches, linears, mlp

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


class MuseGlimmer(RopeRowsFamily[MuseGlimmerVisionEncoderConfig, WindowLayout]):
    """The family of muse_glimmer_vision. Patches come in raster order; blocks take them window by window.

    A merged token is a square of merge_size² patches, each feature of all of them beside each other.
    """

    model_type = "muse_glimmer_vision"
    module = "transformers.models.muse_glimmer.modeling_muse_glimmer"
    model_class = "MuseGlimmerVisionModel"
    config_class = "MuseGlimmerVisionConfig"
    other_names = ("muse_spark_vision",)
    read_by: ClassVar = {"muse_glimmer": Reading(), "muse_spark": Reading()}
    blocks = "layers"
    patch_projection = "patch_embedder.patch_embedding"
    post_norm = "ln_post"
    image_processor = "MuseGlimmerImageProcessor"
    tiny: ClassVar = {"pos_emb_height": 5, "pos_emb_width": 5, "patch_temporal": 1}

    # --- facts ----------------------------------------------------------------------------------------

    def stem_shapes(self, encoder: MuseGlimmerVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        table = (encoder.pos_emb_height * encoder.pos_emb_width, width)
        return {
            **linear_patches(self.patch_projection, encoder, bias=False, frames=encoder.patch_temporal),
            "patch_embedder.position_embedding_table.weight": table,
            **layer_norm("ln_pre", width),
        }

    def block_shapes(self, encoder: MuseGlimmerVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            **layer_norm("norm1", width),
            **layer_norm("norm2", width),
            **linears("attn", ("q_proj", "k_proj", "v_proj", "proj"), width, width),
            **mlp("mlp", width, encoder.intermediate_size),
        }

    def attention_pairs(
        self,
        encoder: MuseGlimmerVisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        wide = encoder.attention[:num_blocks].count("full_attention")
        windows = pairs_in_windows(info.grid(*size), 1, encoder.pos_emb_height)
        return super().attention_pairs(encoder, wide, info, size) + (num_blocks - wide) * windows

    def transformers_config(
        self, encoder: MuseGlimmerVisionEncoderConfig, num_blocks: int, *, head: bool
    ) -> FromTransformers:
        # Written out, because what the last block attends to follows from the full depth.
        cut = encoder.model_copy(update={"layer_types": encoder.attention[:num_blocks]})
        return super().transformers_config(cut, num_blocks, head=head)

    # --- running --------------------------------------------------------------------------------------

    def padding(self, info: VisionEncoderInfo) -> None:
        return None  # transformers' code reads the grids

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> WindowLayout:
        grids, config, parcel = batch.grids, model.config, Parcel(device)
        head = config.hidden_size // config.num_attention_heads
        frequencies = rope_frequencies(head // 2, rope_base(config))
        rope = Rope(on_halves(frequencies, frequencies), grids, parcel)
        patches = WindowedPatches(grids, parcel, merge_size=1, window=config.pos_emb_height)
        wide = [block for block, kind in enumerate(config.layer_types) if kind == "full_attention"]

        def of_places(places: Tensor) -> tuple[Tensor, Tensor]:
            return rope.at(places.flip(1) + 1, dtype)  # columns first, counted from 1

        return WindowLayout.of(grids, patches, of_places, wide, parcel)

    def stem(self, model: FromTransformers, pixels: Tensor, layout: WindowLayout) -> Tensor:
        import torch

        grids = torch.tensor(layout.grids, device=pixels.device)
        embedded: Tensor = model.ln_pre(model.patch_embedder(pixels, grids))
        return layout.into_windows(embedded)

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout) -> Tensor:
        return layout.in_input_order(hidden_states)

    def reference_tokens(
        self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout
    ) -> Tensor:
        import torch
        from transformers.vision_utils import get_vision_window_index

        # transformers takes windows in raster order and does not sort them by size.
        index, _ = get_vision_window_index(torch.tensor(layout.grids), 1, model.window_size, model.patch_size)
        return hidden_states[index.argsort()]

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout) -> Tensor:
        import torch

        grids = torch.tensor(layout.grids, device=hidden_states.device)
        merged: Tensor = model.pixel_shuffle(self.tokens(model, hidden_states, layout), grids)
        return merged
