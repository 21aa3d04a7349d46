"""Llama 3.2 Vision's tower (``MllamaVisionModel``). An image is cut into tiles and padded to the most tiles.
Its own output is that of a second stack of blocks, with hidden states of the first stack beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import to_device
from ..errors import ConfigError, InputError, Problem
from ..images.resize import ResizeRule, TileCanvas
from ..images.settings import ProcessorSettings
from ..schemas.encoders.mllama import MllamaVisionEncoderConfig
from ..schemas.processor_class import square
from .aliases import BlockInputs, FromTransformers, Norm, RunBlock
from .base import EncoderFamily
from .batch import take_rows
from .facts import VisionEncoderInfo
from .inputs import check_mask, check_pixels, refuse_unknown, whole_numbers
from .llama4 import llama_block
from .reading import Reading
from .reference import Sample, sample_of_size
from .shapes import Part, Shapes, conv_patches, layer_norm, matrix_values, num_positions
from .tiled import TileBatch, TileLayout, real_images

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..images.preprocess import ImagePreprocessor
    from .reference import Preprocess

_INPUTS = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask", "num_tiles")


class Mllama(EncoderFamily[MllamaVisionEncoderConfig, TileBatch, TileLayout]):
    """The family of mllama_vision_model."""

    model_type = "mllama_vision_model"
    module = "transformers.models.mllama.modeling_mllama"
    model_class = "MllamaVisionModel"
    config_class = "MllamaVisionConfig"
    read_by: ClassVar = {"mllama": Reading()}
    blocks = "transformer.layers"
    post_norm = "layernorm_post"
    attention_backends: ClassVar = ("sdpa", "eager")  # the others take no mask of numbers
    image_processor = "MllamaImageProcessor"
    tiny: ClassVar = {
        "attention_heads": 4,
        "image_size": 16,
        "num_global_layers": 2,
        "intermediate_layers_indices": [2, 0],
    }

    # --- facts ----------------------------------------------------------------------------------------

    def info(self, encoder: MllamaVisionEncoderConfig, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        if resize is None:
            resize = self.resize_rule(encoder, self.processor_settings(encoder))
        return replace(
            VisionEncoderInfo.of(encoder, image_size=encoder.image_size),
            out_hidden_size=encoder.hidden_size * (1 + len(encoder.inner_layers)),
            max_frames=1,
            resize=resize,
            tiled=True,
        )

    def stem_shapes(self, encoder: MllamaVisionEncoderConfig) -> Shapes:
        width, positions = encoder.hidden_size, 1 + num_positions(encoder)
        return {
            "class_embedding": (width,),
            **conv_patches("patch_embedding", encoder, bias=False),
            **_tile_embedding("pre_tile_positional_embedding", encoder),
            "gated_positional_embedding.gate": (1,),
            "gated_positional_embedding.embedding": (positions, width),
            "gated_positional_embedding.tile_embedding.weight": (
                1 + len(encoder.aspect_ratios),
                encoder.max_num_tiles * positions * width,
            ),
            **layer_norm("layernorm_pre", width),
        }

    def block_shapes(self, encoder: MllamaVisionEncoderConfig) -> Shapes:
        return llama_block(encoder.hidden_size, encoder.intermediate_size, bias=False)

    def head_modules(self) -> tuple[str, ...]:
        return ("global_transformer", "post_tile_positional_embedding")

    def parts(
        self, encoder: MllamaVisionEncoderConfig, num_blocks: int, *, post_norm: bool, head: bool
    ) -> list[Part]:
        parts = super().parts(encoder, num_blocks, post_norm=post_norm, head=False) or []
        if not head:
            return parts
        _check_inner_layers(encoder)
        gates: Shapes = {"gate_attn": (1,), "gate_ffn": (1,)}
        layers, block = range(encoder.num_global_layers), self.block_shapes(encoder) | gates
        return [
            *parts,
            Part(block, "global_transformer.layers.{}".format, layers),
            Part(_tile_embedding("post_tile_positional_embedding", encoder)),
        ]

    def attention_pairs(
        self,
        encoder: MllamaVisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        return num_blocks * _length(encoder) ** 2

    def extra_flops(
        self,
        encoder: MllamaVisionEncoderConfig,
        num_blocks: int,
        info: VisionEncoderInfo,
        size: tuple[int, int],
    ) -> int:
        """Count the operations of padding: every image is padded to the largest number of tiles."""
        tiles = encoder.max_num_tiles - info.num_tiles(*size)
        patch = encoder.num_channels * encoder.patch_size**2
        stem: int = 2 * tiles * num_positions(encoder) * encoder.hidden_size * patch
        padding = _length(encoder) - info.sequence_length(*size)
        return stem + num_blocks * 2 * padding * matrix_values(self.block_shapes(encoder))

    def head_flops(self, encoder: MllamaVisionEncoderConfig, num_tokens: int) -> int:
        length = _length(encoder)
        block = 2 * length * matrix_values(self.block_shapes(encoder)) + 4 * length**2 * encoder.hidden_size
        return encoder.num_global_layers * block

    def image_processor_defaults(self, encoder: MllamaVisionEncoderConfig) -> dict[str, object]:
        # CLIP's mean and deviation, as in the published checkpoints; transformers' class has other defaults.
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        return {"image_mean": mean, "image_std": std}

    def image_processor_settings(self, encoder: MllamaVisionEncoderConfig) -> dict[str, object]:
        return {
            "size": square(encoder.image_size),
            "max_image_tiles": encoder.max_num_tiles,
            "do_resize": True,
            "do_pad": True,
        }

    def preprocessor(
        self, encoder: MllamaVisionEncoderConfig, settings: ProcessorSettings
    ) -> ImagePreprocessor:
        from ..images.preprocess import ragged_preprocessor

        return ragged_preprocessor(settings, self.resize_rule(encoder, settings), encoder.num_channels)

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> TileBatch:
        """Read ``pixel_values``, ``aspect_ratio_ids`` and ``aspect_ratio_mask``.

        ``pixel_values`` are (batch, images, tiles, channels, height, width), floating point.
        ``aspect_ratio_ids`` (batch, images) are whole numbers, and ``aspect_ratio_mask`` (batch, images,
        tiles) is not 0 where a tile is real. ``num_tiles`` is accepted but not read.

        An image that only pads the batch (id 0, or no tile in its mask) is left out. As in transformers, the
        pixels of padding tiles affect the features, so they must be as the image processor makes them.
        """
        refuse_unknown(self.model_type, inputs, _INPUTS)
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        tile = (model.max_num_tiles, info.num_channels, info.image_size, info.image_size)
        if pixels.dim() != 6 or tuple(pixels.shape[2:]) != tile:
            raise InputError(
                "pixel_values must be (batch, images, tiles, channels, height, width), the last four "
                f"{tile}, but are {tuple(pixels.shape)}"
            )
        batch, images, tiles = pixels.shape[:3]
        ids = whole_numbers(
            "aspect_ratio_ids",
            inputs.get("aspect_ratio_ids"),
            (batch, images),
            model.config.max_aspect_ratio_id,
        )
        valid = check_mask("aspect_ratio_mask", inputs.get("aspect_ratio_mask"), (batch, images, tiles))
        real = real_images(ids, valid)
        ids, valid = ids.flatten()[real, None], valid.flatten(0, 1)[real]
        kept = take_rows(pixels.flatten(0, 1), real.nonzero().flatten().tolist())
        return TileBatch(kept, ids, valid, info.patch_grid_length)

    def blank(self, info: VisionEncoderInfo, device: torch.device) -> TileBatch:
        import torch

        if not isinstance(info.resize, TileCanvas):
            raise TypeError(f"{self.model_type} is resized by a TileCanvas, not by {info.resize!r}")
        tiles, side = info.resize.most, info.image_size
        return TileBatch(
            torch.zeros(1, tiles, info.num_channels, side, side, device=device),
            torch.ones(1, 1, dtype=torch.int64, device="cpu"),
            torch.arange(tiles, device="cpu")[None] < 1,
            info.patch_grid_length,
        )

    def layout(
        self, model: FromTransformers, batch: TileBatch, device: torch.device, dtype: torch.dtype
    ) -> TileLayout:
        """Make the attention mask.

        As in transformers, it only keeps padding from attending to padding. An image's tokens attend to
        padding too, because the model was trained that way.
        """
        import torch

        images, count = batch.valid.shape
        length = -(-model.num_patches // _MULTIPLE) * _MULTIPLE
        padding = to_device((~batch.valid).to(dtype), device)[:, :, None].repeat(1, 1, length)
        padding[:, :, model.num_patches :] = 1
        padding = padding.view(images, 1, count * length)
        mask = padding[..., None] * padding[:, :, None] * torch.finfo(dtype).min
        return TileLayout(mask, to_device(batch.aspect_ratio_ids, device))

    def embed(
        self, model: FromTransformers, batch: TileBatch, layout: TileLayout
    ) -> tuple[Tensor, BlockInputs]:
        from torch.nn.functional import pad

        images, count = batch.valid.shape
        ids, width = layout.aspect_ratio_ids, model.hidden_size
        patches = model.patch_embedding(batch.pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        states = model.pre_tile_positional_embedding(patches.reshape(images, count, -1, width), ids)
        states = model.apply_class_embedding(states.flatten(0, 1)).view(images, count, -1, width)
        states = model.layernorm_pre(model.gated_positional_embedding(states, ids))
        states = pad(states, (0, 0, 0, -states.shape[2] % _MULTIPLE)).flatten(1, 2)
        return states, {"attention_mask": layout.mask}

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: TileLayout) -> Tensor:
        """Return a hidden state without the padding of each tile, (images x tiles, tokens, width)."""
        tiles = hidden_states.reshape(len(hidden_states) * model.max_num_tiles, -1, hidden_states.shape[-1])
        return tiles[:, : model.num_patches]

    # --- the tower's own output -----------------------------------------------------------------------

    def own_states(self, encoder: MllamaVisionEncoderConfig) -> tuple[int, ...]:
        return (*encoder.inner_layers, encoder.num_hidden_layers)

    def own_output(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        norm: Norm,
        batch: TileBatch,
        layout: TileLayout,
        run_block: RunBlock,
    ) -> list[Tensor]:
        """Return the second stack's output, and the hidden states of the first that are joined to it."""
        import torch

        depth = max(states)
        images, count = batch.valid.shape
        last = norm(states[depth]).view(images, count, -1, model.hidden_size)
        last = model.post_tile_positional_embedding(last, layout.aspect_ratio_ids).flatten(1, 2)
        for block in model.global_transformer.layers:
            last = run_block(block, last, attention_mask=layout.mask)
        inner = [k + 1 if k >= 0 else depth + k + 1 for k in model.config.intermediate_layers_indices]
        # On the feature axis of the joined states, the values of one feature are neighbours.
        joined = torch.stack([self.tokens(model, states[k], layout) for k in inner], dim=-1).flatten(2)
        return [self.tokens(model, last, layout), joined]

    # --- against transformers' own class --------------------------------------------------------------

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in inputs.items() if name != "num_tiles"}

    def reference_output(self, output: FromTransformers, batch: TileBatch) -> Tensor:
        import torch

        tiles = output.last_hidden_state.flatten(0, 2)  # (images x tiles, tokens, width)
        return torch.cat(batch.split(tiles, lambda grid: 0))

    def samples(self, info: VisionEncoderInfo, preprocess: Preprocess) -> list[Sample]:
        side = info.image_size
        sizes = ((side, side), (side + 1, side), (side, 3 * side), (4 * side, side))
        return [sample_of_size(preprocess, *size) for size in sizes]


_MULTIPLE = 8
"""transformers pads a tile's tokens to a multiple of this."""


def _length(encoder: MllamaVisionEncoderConfig) -> int:
    """Count the tokens of an image in the blocks, with padding."""
    return encoder.max_num_tiles * (-(-(1 + num_positions(encoder)) // _MULTIPLE) * _MULTIPLE)


def _tile_embedding(name: str, encoder: MllamaVisionEncoderConfig) -> Shapes:
    rows = (1 + len(encoder.aspect_ratios), encoder.max_num_tiles * encoder.hidden_size)
    return {f"{name}.gate": (1,), f"{name}.embedding.weight": rows}


def _check_inner_layers(encoder: MllamaVisionEncoderConfig) -> None:
    """Refuse to join hidden states that the encoder does not have.

    The config block does not check this: the default is meant for 32 blocks, and selected hidden states do
    not need it.

    Raises:
        ConfigError: If a joined hidden state does not exist.
    """
    depth = encoder.num_hidden_layers
    if not all(-depth <= block < depth for block in encoder.inner_blocks):
        message = f"{list(encoder.inner_blocks)} must name blocks from {-depth} to {depth - 1} only"
        raise ConfigError(Problem("VC208", message, "encoder.intermediate_layers_indices"))
