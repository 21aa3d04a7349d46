"""Llama 3.2 Vision's tower (``MllamaVisionModel``). A picture is a row of tiles, padded to the most there can
be; its own output is that of a second stack of blocks, joined by hidden states of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ConfigError, InputError, Problem
from ..images.resize import TileCanvas
from ..schemas import EncoderConfig
from ..schemas.encoders.mllama import MllamaVisionEncoderConfig
from .base import EncoderFamily, Shapes, VisionEncoderInfo, conv_patches, layer_norm, linear, num_positions
from .packed import check_pixels, refuse_unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_INPUTS = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask", "num_tiles")


@dataclass(frozen=True, eq=False)
class Tiles:
    """The images of a batch, those aside that only pad it.

    Attributes:
        pixels: (images, tiles, channels, height, width).
        aspect_ratio_ids: (images, 1), int64: how the tiles of each lie.
        valid: (images, tiles) bool; the others are padding.
    """

    pixels: Tensor
    aspect_ratio_ids: Tensor
    valid: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Tiles:
        """The same on ``device``, pixels in ``dtype``."""
        return Tiles(self.pixels.to(device, dtype), self.aspect_ratio_ids.to(device), self.valid.to(device))


class Mllama(EncoderFamily):
    """mllama_vision_model."""

    model_type = "mllama_vision_model"
    module = "transformers.models.mllama.modeling_mllama"
    model_class = "MllamaVisionModel"
    config_class = "MllamaVisionConfig"
    blocks = "transformer.layers"
    post_norm = "layernorm_post"
    attention_backends: ClassVar = ("sdpa", "eager")  # the others take no mask of numbers
    image_processor = "MllamaImageProcessorPil"
    tiny: ClassVar = {
        "attention_heads": 4,
        "image_size": 16,
        "num_global_layers": 2,
        "intermediate_layers_indices": [2, 0],
    }

    # --- facts ----------------------------------------------------------------------------------------

    def info(self, encoder: Any) -> VisionEncoderInfo:
        return replace(
            super().info(encoder),
            out_hidden_size=encoder.hidden_size * (1 + len(encoder.inner_layers)),
            resize=self.resize_rule(encoder),
            tiled=True,
        )

    def resize_rule(self, encoder: Any, processor: Any = None) -> TileCanvas:
        """How pictures are resized and cut; a checkpoint has no say in it."""
        return TileCanvas(encoder.image_size, encoder.max_num_tiles)

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
        width, mlp_width = encoder.hidden_size, encoder.intermediate_size
        shapes: Shapes = {}
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes |= linear(f"self_attn.{projection}", width, width, bias=False)
        return {
            **shapes,
            **linear("mlp.fc1", width, mlp_width),
            **linear("mlp.fc2", mlp_width, width),
            **layer_norm("input_layernorm", width),
            **layer_norm("post_attention_layernorm", width),
        }

    def head_modules(self) -> tuple[str, ...]:
        return ("global_transformer", "post_tile_positional_embedding")

    def shapes(self, encoder: Any, num_blocks: int, *, post_norm: bool, head: bool) -> Shapes | None:
        shapes = super().shapes(encoder, num_blocks, post_norm=post_norm, head=False) or {}
        if not head:
            return shapes
        _check_inner_layers(encoder)
        gates: Shapes = {"gate_attn": (1,), "gate_ffn": (1,)}
        block = self.block_shapes(encoder) | gates
        for i in range(encoder.num_global_layers):
            shapes |= {f"global_transformer.layers.{i}.{name}": shape for name, shape in block.items()}
        return shapes | _tile_embedding("post_tile_positional_embedding", encoder)

    def attention_pairs(
        self, encoder: Any, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]
    ) -> int:
        return num_blocks * _length(encoder) ** 2

    def extra_flops(
        self, encoder: Any, num_blocks: int, info: VisionEncoderInfo, size: tuple[int, int]
    ) -> int:
        """What padding costs: every image is as many tiles as there can be."""
        tiles = encoder.max_num_tiles - info.num_tiles(*size)
        patch = encoder.num_channels * encoder.patch_size**2
        stem: int = 2 * tiles * num_positions(encoder) * encoder.hidden_size * patch
        return stem + num_blocks * 2 * (_length(encoder) - info.sequence_length(*size)) * self._matrices(
            encoder
        )

    def head_flops(self, encoder: MllamaVisionEncoderConfig, num_tokens: int) -> int:
        length = _length(encoder)
        block = 2 * length * self._matrices(encoder) + 4 * length**2 * encoder.hidden_size
        return encoder.num_global_layers * block

    def _matrices(self, encoder: MllamaVisionEncoderConfig) -> int:
        return sum(prod(shape) for shape in self.block_shapes(encoder).values() if len(shape) == 2)

    def image_processor_defaults(self, encoder: EncoderConfig) -> dict[str, Any]:
        # CLIP's, as the published checkpoints have them; transformers' class has others.
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        return {"image_mean": mean, "image_std": std}

    def image_processor_settings(self, encoder: Any) -> dict[str, Any]:
        return {
            "size": {"height": encoder.image_size, "width": encoder.image_size},
            "max_image_tiles": encoder.max_num_tiles,
            "do_resize": True,
            "do_pad": True,
        }

    # --- running --------------------------------------------------------------------------------------

    def read(self, model: Any, info: VisionEncoderInfo, inputs: Mapping[str, Any]) -> Tiles:
        """The images of a batch.

        Args:
            model: transformers' module.
            info: The encoder's facts.
            inputs: What the module was called with.

        Raises:
            InputError: Inputs that are missing, unknown, of another shape or dtype, or do not fit together.
        """
        refuse_unknown(self.model_type, inputs, _INPUTS)
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        tile = (model.max_num_tiles, info.num_channels, info.image_size, info.image_size)
        if pixels.dim() != 6 or tuple(pixels.shape[2:]) != tile:
            raise InputError(
                "pixel_values must be (batch, images, tiles, channels, height, width), the last four "
                f"{tile}, not {tuple(pixels.shape)}"
            )
        batch, images, tiles = pixels.shape[:3]
        ids = _whole_numbers(inputs, "aspect_ratio_ids", (batch, images), model.config.max_aspect_ratio_id)
        valid = _whole_numbers(inputs, "aspect_ratio_mask", (batch, images, tiles), 1).bool()
        real = _real(ids, valid)
        ids, valid = ids.flatten()[real, None], valid.flatten(0, 1)[real]
        return Tiles(pixels.flatten(0, 1)[real.to(pixels.device)], ids, valid)

    def take(
        self, info: VisionEncoderInfo, inputs: Mapping[str, Any], images: Sequence[int]
    ) -> dict[str, Any]:
        """Some images of a batch, not counting those that only pad it, one to a row."""
        ids, mask = inputs["aspect_ratio_ids"], inputs["aspect_ratio_mask"]
        chosen = _real(ids, mask.bool()).nonzero().flatten()[list(images)]
        return {
            name: inputs[name].flatten(0, 1)[chosen.to(inputs[name].device)][:, None] for name in _INPUTS[:3]
        }

    def embed(self, model: Any, tiles: Tiles) -> Tensor:
        """Hidden state 0, (images, tiles x padded tokens of a tile, hidden_size)."""
        from torch.nn.functional import pad

        images, count = tiles.valid.shape
        ids, width = tiles.aspect_ratio_ids, model.hidden_size
        patches = model.patch_embedding(tiles.pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        states = model.pre_tile_positional_embedding(patches.reshape(images, count, -1, width), ids)
        states = model.apply_class_embedding(states.flatten(0, 1)).view(images, count, -1, width)
        states = model.layernorm_pre(model.gated_positional_embedding(states, ids))
        return pad(states, (0, 0, 0, -states.shape[2] % _MULTIPLE)).flatten(1, 2)

    def attention_mask(self, model: Any, tiles: Tiles, hidden_states: Tensor) -> Tensor:
        """What is added to attention, (images, 1, tokens, tokens).

        As in transformers, it keeps padding from padding only: a picture's tokens attend to padding too, and
        the model was trained so.
        """
        import torch

        images, count = tiles.valid.shape
        length = hidden_states.shape[1] // count
        padding = (~tiles.valid).to(hidden_states.dtype)[:, :, None].repeat(1, 1, length)
        padding[:, :, model.num_patches :] = 1
        padding = padding.view(images, 1, -1)
        return padding[..., None] * padding[:, :, None] * torch.finfo(hidden_states.dtype).min

    def tokens(self, model: Any, hidden_states: Tensor) -> Tensor:
        """A hidden state without what pads a tile, (images, tiles, tokens, width)."""
        images, _, width = hidden_states.shape
        tiles = hidden_states.view(images, model.max_num_tiles, -1, width)
        return tiles[:, :, : model.num_patches]

    def own_output(
        self, model: Any, tiles: Tiles, last: Tensor, inner: Sequence[Tensor], mask: Tensor
    ) -> Tensor:
        """The tower's own output, (images, tiles, tokens, width).

        Args:
            model: transformers' module.
            tiles: The images.
            last: The post-normed last hidden state of the first stack.
            inner: Its hidden states that join the output.
            mask: That of the first stack.
        """
        import torch

        images, count = tiles.valid.shape
        states = last.view(images, count, -1, model.hidden_size)
        states = model.post_tile_positional_embedding(states, tiles.aspect_ratio_ids).flatten(1, 2)
        for block in model.global_transformer.layers:
            states = block(states, attention_mask=mask)
        # Of the joined ones, all values of a feature stand together.
        joined = torch.stack([self.tokens(model, state) for state in inner], dim=-1).flatten(3)
        return torch.cat([self.tokens(model, states), joined], dim=-1)


_MULTIPLE = 8
"""What transformers pads a tile's tokens to a multiple of."""


def _real(ids: Tensor, valid: Tensor) -> Tensor:
    """Which images do not only pad the batch, (batch x images,)."""
    return ((ids > 0) & valid.any(-1)).flatten()


def _length(encoder: MllamaVisionEncoderConfig) -> int:
    """Tokens of an image in the blocks, padding included."""
    return encoder.max_num_tiles * (-(-(1 + num_positions(encoder)) // _MULTIPLE) * _MULTIPLE)


def _tile_embedding(name: str, encoder: MllamaVisionEncoderConfig) -> Shapes:
    rows = (1 + len(encoder.aspect_ratios), encoder.max_num_tiles * encoder.hidden_size)
    return {f"{name}.gate": (1,), f"{name}.embedding.weight": rows}


def _check_inner_layers(encoder: MllamaVisionEncoderConfig) -> None:
    """Refuse to join hidden states that are not there.

    Not a rule of the config block: the default is meant for 32 blocks, and selected hidden states do without.

    Raises:
        ConfigError: There are such.
    """
    if not all(1 <= layer <= encoder.num_hidden_layers for layer in encoder.inner_layers):
        blocks = [layer - 1 for layer in encoder.inner_layers]
        message = f"{blocks} must name blocks 0 to {encoder.num_hidden_layers - 1}"
        raise ConfigError(Problem("VC208", message, "encoder.intermediate_layers_indices"))


def _whole_numbers(inputs: Mapping[str, Any], name: str, shape: tuple[int, ...], most: int) -> Tensor:
    """Input ``name`` as int64 of ``shape``, each 0 to ``most``.

    Raises:
        InputError: It is something else.
    """
    import torch

    value = inputs.get(name)
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} must be a tensor, not {type(value).__name__}")
    if tuple(value.shape) != shape:
        raise InputError(f"{name} must be {shape}, not {tuple(value.shape)}")
    numbers = value.long()
    if not bool(((numbers == value) & (numbers >= 0) & (numbers <= most)).all()):
        raise InputError(f"{name} must be whole numbers from 0 to {most}")
    return numbers
