"""Gemma 4 (``Gemma4VisionModel``): a rope over columns and rows, tokens pooled over squares of patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import Parcel
from ..errors import InputError
from ..images.resize import ResizeRule
from ..schemas.encoders.gemma4 import Gemma4VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .facts import Grid, VisionEncoderInfo
from .inputs import check_integers, check_pixels, refuse_unknown, without_padding
from .layout import RopeLayout, frame_segments
from .packed import PackedBatch, PackedFamily
from .places import Patches
from .reading import Reading
from .rope import Rope, rope_base, rope_frequencies, side_by_side
from .shapes import Part, Shapes, linear, linear_patches

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Gemma4Layout(RopeLayout):
    """The layout of images whose tokens are pooled.

    Attributes:
        places: Column and row of each patch, (1, tokens, 2) int32.
        squares: The patches of every pooled token, (pooled tokens, patches of a square) int32.
    """

    places: Tensor
    squares: Tensor


class Gemma4(PackedFamily[Gemma4VisionEncoderConfig, Gemma4Layout]):
    """The family of gemma4_vision. Patches of an image are in raster order, and so are pooled tokens."""

    model_type = "gemma4_vision"
    model_class = "Gemma4VisionModel"
    config_class = "Gemma4VisionConfig"
    read_by: ClassVar = {"gemma4": Reading(), "diffusion_gemma": Reading()}
    buffers = frozenset({"input_min", "input_max", "output_min", "output_max", "std_bias", "std_scale"})
    image_processor = "Gemma4ImageProcessor"
    tiny: ClassVar = {"num_key_value_heads": 4, "head_dim": 8, "patch_size": 2, "pooling_kernel_size": 2}

    # --- facts ----------------------------------------------------------------------------------------

    def info(self, encoder: Gemma4VisionEncoderConfig, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            merge_size=encoder.pooling_kernel_size,
            grid_multiple=encoder.pooling_kernel_size,
            max_grid_side=encoder.position_embedding_size,
            out_hidden_size=encoder.hidden_size,
        )

    def stem_shapes(self, encoder: Gemma4VisionEncoderConfig) -> Shapes:
        table = (2, encoder.position_embedding_size, encoder.hidden_size)
        return {
            **linear_patches("patch_embedder.input_proj", encoder, bias=False),
            "patch_embedder.position_embedding_table": table,
        }

    def block_shapes(self, encoder: Gemma4VisionEncoderConfig) -> Shapes:
        width, mlp_width, head = encoder.hidden_size, encoder.intermediate_size, encoder.head_dim
        queries, keys = encoder.num_attention_heads * head, encoder.num_key_value_heads * head
        projections = {
            "self_attn.q_proj": (width, queries),
            "self_attn.k_proj": (width, keys),
            "self_attn.v_proj": (width, keys),
            "self_attn.o_proj": (queries, width),
            "mlp.gate_proj": (width, mlp_width),
            "mlp.up_proj": (width, mlp_width),
            "mlp.down_proj": (mlp_width, width),
        }
        shapes: Shapes = {"self_attn.q_norm.weight": (head,), "self_attn.k_norm.weight": (head,)}
        for place in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            shapes[f"{place}_layernorm.weight"] = (width,)
        for name, (inputs, outputs) in projections.items():
            shapes |= linear(f"{name}.linear", inputs, outputs, bias=False)
            if encoder.use_clipped_linears:
                bounds = ("input_min", "input_max", "output_min", "output_max")
                shapes |= {f"{name}.{bound}": () for bound in bounds}
        return shapes

    def parts(
        self, encoder: Gemma4VisionEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part]:
        parts = super().parts(encoder, num_blocks, post_norm=post_norm, head=False) or []
        if head and encoder.standardize:
            parts.append(Part(dict.fromkeys(self.head_modules(), (encoder.hidden_size,))))
        return parts

    def head_modules(self) -> tuple[str, ...]:
        return ("std_bias", "std_scale")

    def image_processor_settings(self, encoder: Gemma4VisionEncoderConfig) -> dict[str, object]:
        return {
            "do_resize": True,
            "patch_size": encoder.patch_size,
            "pooling_kernel_size": encoder.pooling_kernel_size,
        }

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PackedBatch:
        """Read ``pixel_values`` and ``image_position_ids``.

        ``pixel_values`` are (images, patches, height x width x 3 of a patch), from 0 to 1, padded at the end.
        ``image_position_ids`` are (images, patches, 2), columns and rows, -1 for padding; transformers' tower
        calls them ``pixel_position_ids``, and that name works too. ``num_soft_tokens_per_image`` (images,)
        follows from them and may be left out.
        """
        name = "pixel_position_ids" if "pixel_position_ids" in inputs else "image_position_ids"
        refuse_unknown(info.model_type, inputs, ("pixel_values", name, "num_soft_tokens_per_image"))
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        values = info.num_channels * info.patch_size**2
        shape = tuple(pixels.shape)
        if len(shape) != 3 or shape[2] != values:
            raise InputError(f"pixel_values must be (images, patches, {values}), not {shape}")
        ids = check_integers(name, inputs.get(name))
        if tuple(ids.shape) != (*shape[:2], 2):
            raise InputError(f"{name} must be {(*shape[:2], 2)} to fit pixel_values, not {tuple(ids.shape)}")
        if shape[0] and not shape[1]:
            raise InputError(f"pixel_values are {shape}; every image must have at least one patch")
        grids = _grids(name, ids, info) if shape[0] else ()
        if "num_soft_tokens_per_image" in inputs:
            counts = check_integers("num_soft_tokens_per_image", inputs["num_soft_tokens_per_image"]).tolist()
            expected = [info.num_merged_tokens(grid) for grid in grids]
            if counts != expected:
                raise InputError(
                    f"num_soft_tokens_per_image is {counts}, but {name} stands for {expected} tokens"
                )
        patches = without_padding(pixels, [rows * columns for _, rows, columns in grids])
        # As in transformers, shifted before the cast to the parameters' dtype: bfloat16 is finer near zero.
        return PackedBatch(2 * (patches - 0.5), grids)

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            "pixel_values": inputs["pixel_values"],
            "pixel_position_ids": inputs["image_position_ids"],
        }

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> Gemma4Layout:
        grids, config, parcel = batch.grids, model.config, Parcel(device)
        frames, patches = frame_segments(grids, parcel), Patches(grids, parcel)
        frequencies = rope_frequencies(config.head_dim // 2, rope_base(config)).repeat(2)
        rope = Rope(side_by_side(frequencies, frequencies), grids, parcel)
        squares = Patches(grids, parcel, config.pooling_kernel_size)
        places = patches.positions.flip(1)  # columns first
        cosines, sines = rope.at(places, dtype)
        return Gemma4Layout(
            grids,
            frames=frames,
            rope=(cosines[None], sines[None]),
            places=places[None],
            squares=squares.raster.view(-1, config.pooling_kernel_size**2),
        )

    def stem(self, model: FromTransformers, pixels: Tensor, layout: Gemma4Layout) -> Tensor:
        from torch.nn.functional import embedding

        embedder = model.patch_embedder
        by_column, by_row = embedder.position_embedding_table
        columns, rows = layout.places.unbind(-1)
        embedded: Tensor = embedder.input_proj(pixels) + (
            embedding(columns, by_column) + embedding(rows, by_row)
        )
        return embedded

    def block_inputs(self, block: int, layout: Gemma4Layout) -> BlockInputs:
        return {
            "attention_mask": layout.frames,
            "position_embeddings": layout.rope,
            "position_ids": layout.places,
        }

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: Gemma4Layout) -> Tensor:
        squares = self.tokens(model, hidden_states, layout)[layout.squares]
        pooled = squares.float().mean(dim=1).to(hidden_states.dtype)
        scaled: Tensor = pooled.float() * hidden_states.shape[-1] ** 0.5  # float16 may overflow
        if model.config.standardize:
            scaled = (scaled - model.std_bias.float()) * model.std_scale.float()
        return scaled.to(hidden_states.dtype)


def _grids(name: str, ids: Tensor, info: VisionEncoderInfo) -> tuple[Grid, ...]:
    """Return the grids whose patches are at ``ids``, in raster order, with padding after them."""
    import torch

    sizes = ids.amax(dim=1) + 1
    columns, rows = (size[:, None] for size in sizes.unbind(1))
    index = torch.arange(ids.shape[1], device=ids.device)
    width = columns.clamp(min=1)
    expected = torch.stack([index % width, torch.div(index, width, rounding_mode="floor")], dim=-1)
    expected[index >= columns * rows] = -1
    fits = (ids == expected).flatten(1).all(dim=1)
    grids = torch.stack([rows[:, 0], columns[:, 0], fits], dim=1).tolist()
    for i, (row_count, column_count, is_raster) in enumerate(grids):
        if is_raster and not row_count:
            raise InputError(f"{name}[{i}] is all -1; every image must have at least one patch")
        if not is_raster:
            raise InputError(
                f"{name}[{i}] must be the columns and rows of a rectangle of patches in raster order, from "
                "(0, 0), then -1"
            )
        if row_count % info.grid_multiple or column_count % info.grid_multiple:
            raise InputError(
                f"{name}[{i}] stands for {row_count}x{column_count} patches; rows and columns must be "
                f"multiples of {info.grid_multiple}, the side of the squares that are pooled"
            )
        info.checked(f"{name}[{i}]", (1, row_count, column_count))
    return tuple((1, row_count, column_count) for row_count, column_count, _ in grids)
