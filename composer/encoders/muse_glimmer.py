"""Muse Glimmer and Muse Spark (``MuseGlimmerVisionModel``): most blocks attend inside windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..images.resize import ResizeRule
from ..schemas.encoders.muse_glimmer import MuseGlimmerVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .facts import Grid, VisionEncoderInfo
from .layout import cosines_and_sines, frame_segments, patch_positions, rope_frequencies, window_order
from .patch_rows import PatchRowsFamily
from .qwen2_5_vl import WindowLayout
from .reading import Reading
from .shapes import Shapes, layer_norm, linear, linears

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


class MuseGlimmer(PatchRowsFamily[MuseGlimmerVisionEncoderConfig, WindowLayout]):
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
    post_norm = "ln_post"
    depth_field = "num_hidden_layers"
    image_processor = "MuseGlimmerImageProcessor"
    tiny: ClassVar = {"pos_emb_height": 5, "pos_emb_width": 5, "patch_temporal": 1}

    # --- facts ----------------------------------------------------------------------------------------

    def info(
        self, encoder: MuseGlimmerVisionEncoderConfig, resize: ResizeRule | None = None
    ) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            temporal_patch_size=encoder.patch_temporal,
            merge_size=encoder.merge_size,
            grid_multiple=encoder.merge_size,
            out_hidden_size=encoder.merged_width,
        )

    def image_processor_settings(self, encoder: MuseGlimmerVisionEncoderConfig) -> dict[str, object]:
        return {
            "do_resize": True,
            "patch_size": encoder.patch_size,
            "merge_size": encoder.merge_size,
            "temporal_patch_size": encoder.patch_temporal,
        }

    def stem_shapes(self, encoder: MuseGlimmerVisionEncoderConfig) -> Shapes:
        width, patch = encoder.hidden_size, encoder.patch_temporal * 3 * encoder.patch_size**2
        table = (encoder.pos_emb_height * encoder.pos_emb_width, width)
        return {
            **linear("patch_embedder.patch_embedding", patch, width, bias=False),
            "patch_embedder.position_embedding_table.weight": table,
            **layer_norm("ln_pre", width),
        }

    def block_shapes(self, encoder: MuseGlimmerVisionEncoderConfig) -> Shapes:
        width, inner = encoder.hidden_size, encoder.intermediate_size
        return {
            **layer_norm("norm1", width),
            **layer_norm("norm2", width),
            **linears("attn", ("q_proj", "k_proj", "v_proj", "proj"), width, width),
            **linear("mlp.fc1", width, inner),
            **linear("mlp.fc2", inner, width),
        }

    def attention_pairs(
        self,
        encoder: MuseGlimmerVisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        whole = windows = 1
        for patches in info.grid(*size)[1:]:
            full, rest = divmod(patches, encoder.pos_emb_height)
            whole *= patches**2
            windows *= full * encoder.pos_emb_height**2 + rest**2
        wide = encoder.attention[:num_blocks].count("full_attention")
        return wide * whole + (num_blocks - wide) * windows

    def transformers_config(
        self, encoder: MuseGlimmerVisionEncoderConfig, num_blocks: int, *, head: bool
    ) -> FromTransformers:
        # Written out, because what the last block attends to follows from the full depth.
        config = super().transformers_config(
            encoder.model_copy(update={"layer_types": None}), num_blocks, head=head
        )
        config.layer_types = list(encoder.attention[:num_blocks])
        return config

    # --- running --------------------------------------------------------------------------------------

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> WindowLayout:
        from ..attention.segments import Segments

        grids, config = batch.grids, model.config
        index, lengths = window_order(grids, 1, config.pos_emb_height)
        index = index.to(device)
        cosines, sines = (table[index].to(dtype) for table in self.rope(model, grids, device))
        kinds = config.layer_types
        return WindowLayout(
            grids,
            frames=frame_segments(grids, device),
            rope=(cosines, sines),
            windows=Segments(lengths, device),
            window_index=index,
            window_inverse=index.argsort(),
            wide_blocks=frozenset(k for k, kind in enumerate(kinds) if kind == "full_attention"),
        )

    def rope(
        self, model: FromTransformers, grids: tuple[Grid, ...], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Compute cosines and sines of patches in input order, (tokens, head_size) float32 each."""
        config = model.config
        base = (config.rope_parameters or {}).get("rope_theta", 10000.0)
        frequencies = rope_frequencies(config.hidden_size // config.num_attention_heads // 2, base)
        columns_rows = patch_positions(grids).float().flip(-1) + 1
        cosines, sines = cosines_and_sines((columns_rows[..., None] * frequencies).flatten(1))
        return cosines.to(device), sines.to(device)

    def stem(self, model: FromTransformers, pixels: Tensor, layout: WindowLayout) -> Tensor:
        import torch

        grids = torch.tensor(layout.grids, device=pixels.device)
        embedded: Tensor = model.ln_pre(model.patch_embedder(pixels, grids))
        return embedded[layout.window_index]

    def block_inputs(self, block: int, layout: WindowLayout) -> BlockInputs:
        wide = block in layout.wide_blocks
        return super().block_inputs(block, layout) | {"segments": layout.frames if wide else layout.windows}

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: WindowLayout) -> Tensor:
        return hidden_states[layout.window_inverse]

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
