"""What a config amounts to, known before a weight is read: layers, widths, tokens, parameters, operations.

Pure arithmetic: neither torch nor transformers is loaded (a registered feature selector, which is code on
tensors, is the one exception).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from .encoders import EncoderFamily, Shapes, VisionEncoderInfo, family_of
from .presets import load_config
from .schemas import EncoderConfig, GenericEncoderConfig, TowerConfig
from .tower.selection import get_num_selected_vision_tokens

BYTES_PER_PARAMETER = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Plan:
    """Every fact of a composed tower that follows from its config.

    Attributes:
        config: The config it was made from.
        encoder: The encoder's config block, without the DeepStack levels that are not used.
        info: The encoder's facts.
        generic: Whether the generic adapter runs it.
        select_layers: Hidden states returned, as indices 0 to N, in output order.
        norm_layers: Those of them that go through the post-norm.
        num_blocks: Blocks that are built: the deepest selected hidden state.
        output_width: Features per token of the output.
        shapes: Checkpoint tensors that are read, under the names of a checkpoint of the tower alone;
            None for the generic adapter, which learns them when it builds.
    """

    config: TowerConfig
    encoder: EncoderConfig
    info: VisionEncoderInfo
    generic: bool
    select_layers: tuple[int, ...]
    norm_layers: frozenset[int]
    num_blocks: int
    output_width: int
    shapes: Shapes | None

    @property
    def dtype(self) -> str:
        """dtype of parameters and output."""
        return self.config.weights.dtype

    @property
    def layout(self) -> str:
        """Axes of the output; an encoder of packed or tiled images returns a tuple, one tensor per image."""
        if self.info.packed:
            return (
                "(levels, tokens, width) per image" if self.separate_levels else "(tokens, width) per image"
            )
        return "(tokens, width) per image" if self.info.tiled else "(images, tokens, width)"

    @cached_property
    def num_parameters(self) -> int | None:
        """Parameters of the tower; None for the generic adapter."""
        if self.shapes is None:
            return None
        buffers = family_of(self.encoder).buffers
        return sum(prod(s) for name, s in self.shapes.items() if name.rpartition(".")[2] not in buffers)

    @property
    def num_bytes(self) -> int | None:
        """Bytes that the parameters take in memory; None for the generic adapter."""
        return None if self.num_parameters is None else self.num_parameters * BYTES_PER_PARAMETER[self.dtype]

    @property
    def deepstack_layers(self) -> tuple[int, ...]:
        """Hidden states that are merged beside the last one, in ascending order."""
        return tuple(sorted(block + 1 for block in getattr(self.encoder, "deepstack_layers", ())))

    @property
    def separate_levels(self) -> bool:
        """Whether DeepStack levels stand on an axis of their own."""
        return bool(self.deepstack_layers) and self.config.deepstack == "separate"

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens that the tower returns for one image of that size in pixels, or for a clip of ``frames``.

        Raises:
            InputError: As :meth:`VisionEncoderInfo.num_tokens`.
        """
        tokens = self.info.num_tokens(width, height, frames)
        if self.config.head:
            return 1
        info, merges = self.info, self.config.merges
        if info.packed:
            return tokens if merges else info.num_patches(width, height, frames)
        patches_only = merges and not info.tiled
        tiles = info.num_tiles(width, height)
        return tiles * get_num_selected_vision_tokens(
            (tokens if merges else info.sequence_length(width, height)) // tiles,
            self.config.feature_select_strategy,
            num_prefix_tokens=0 if patches_only else info.num_prefix_tokens,
            num_suffix_tokens=0 if patches_only else info.num_suffix_tokens,
            hidden_size=info.out_hidden_size if merges else info.hidden_size,
        )

    def flops(self, width: int, height: int) -> int | None:
        """Floating-point operations of one image's matrix products, a multiply-add counted as two.

        Counts projections, MLPs, attention's two products, the patch embedding and the head; leaves out
        norms, activations and softmax. None for the generic adapter.

        Raises:
            InputError: As :meth:`VisionEncoderInfo.num_tokens`.
        """
        if self.shapes is None:
            return None
        family, encoder = family_of(self.encoder), self.encoder
        tokens = self.info.sequence_length(width, height)
        stem = 2 * self.info.num_patches(width, height) * self.info.hidden_size * self._patch_values
        matrices = sum(prod(shape) for shape in family.block_shapes(encoder).values() if len(shape) == 2)
        blocks = self.num_blocks * 2 * tokens * matrices + self.attention_flops((width, height))
        blocks += family.extra_flops(encoder, self.num_blocks, self.info, (width, height))
        head = family.head_flops(encoder, tokens) if self.config.head or self.config.merges else 0
        return stem + blocks + head

    def attention_flops(self, size: tuple[int, int]) -> int:
        """Those of :meth:`flops` that attention's two products take, which grow with tokens times tokens.

        Windows are counted as windows.
        """
        pairs = family_of(self.encoder).attention_pairs(self.encoder, self.num_blocks, self.info, size)
        return 4 * pairs * self.info.num_attention_heads * self.info.head_size

    @property
    def _patch_values(self) -> int:
        return self.info.num_channels * self.info.temporal_patch_size * self.info.patch_size**2

    def to_dict(self, sizes: Iterable[tuple[int, int]] = ()) -> dict[str, Any]:
        """The plan as JSON-ready values, with tokens and FLOPs for each (width, height) of ``sizes``."""
        config, info = self.config, self.info
        return {
            "name": config.name,
            "summary": config.summary,
            "model_type": info.model_type,
            "adapter": "generic" if self.generic else "family",
            "num_hidden_layers": info.num_hidden_layers,
            "num_blocks": self.num_blocks,
            "select_layers": list(self.select_layers),
            "norm_layers": sorted(self.norm_layers),
            "feature_select_strategy": config.feature_select_strategy,
            "head": config.head,
            "hidden_size": info.hidden_size,
            "head_size": info.head_size,
            "num_prefix_tokens": info.num_prefix_tokens,
            "num_suffix_tokens": info.num_suffix_tokens,
            "image_size": info.image_size,
            "patch_size": info.patch_size,
            "any_size": info.any_size,
            "packed": info.packed,
            "tiled": info.tiled,
            "merge_size": info.merge_size,
            "temporal_patch_size": info.temporal_patch_size,
            "merged": self.config.merges,
            "deepstack_layers": list(self.deepstack_layers),
            "output_layout": self.layout,
            "output_width": self.output_width,
            "dtype": self.dtype,
            "num_parameters": self.num_parameters,
            "num_bytes": self.num_bytes,
            "num_checkpoint_tensors": None if self.shapes is None else len(self.shapes),
            "weights": config.weights.source,
            "attn_backend": config.attn_backend,
            "parallel": "none" if config.parallel == "none" else config.parallel.model_dump(),
            "training": config.training.model_dump(mode="json"),
            "images": [
                {
                    "width": width,
                    "height": height,
                    "num_tokens": self.num_tokens(width, height),
                    "flops": self.flops(width, height),
                }
                for width, height in sizes
            ],
        }


def plan(source: str | Path | Mapping[str, Any] | TowerConfig, *, overrides: Iterable[str] = ()) -> Plan:
    """Plan a config without building anything.

    Args:
        source: Whatever :func:`vision_composer.load_config` takes: a preset's name, a YAML file, a saved
            tower's folder, a mapping, or a validated config.
        overrides: ``key=value`` strings laid over it.

    Raises:
        ConfigError: The config cannot be read or cannot work.
    """
    config = load_config(source, overrides=overrides)
    encoder = config.encoder
    family = family_of(encoder)
    layers = config.resolved_layers
    norms = _norm_layers(config, family)
    num_blocks = max(layers)
    info = family.info(encoder)
    if encoder.deepstack and (config.deepstack == "none" or not config.merges):
        encoder = encoder.model_copy(update={"deepstack_visual_indexes": ()})
    width = info.out_hidden_size if config.merges else info.hidden_size
    levels = 1 + len(getattr(encoder, "deepstack_layers", ())) if config.deepstack == "concat" else 1
    return Plan(
        config=config,
        encoder=encoder,
        info=info,
        generic=isinstance(encoder, GenericEncoderConfig),
        select_layers=layers,
        norm_layers=norms,
        num_blocks=num_blocks,
        output_width=width * len(layers) * levels,
        shapes=family.shapes(encoder, num_blocks, post_norm=bool(norms), head=config.head or config.merges),
    )


def _norm_layers(config: TowerConfig, family: EncoderFamily) -> frozenset[int]:
    if not config.encoder.has_post_norm:
        return frozenset()
    last = config.encoder.num_hidden_layers
    layers = frozenset(config.resolved_layers)
    if config.head:
        return frozenset({last})
    if config.post_norm == "auto":
        return (
            frozenset({last})
            if config.select_layers is None and family.norms_last_hidden_state
            else frozenset()
        )
    return {"none": frozenset[int](), "last": layers & {last}, "each": layers}[config.post_norm]
