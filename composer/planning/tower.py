"""What a config of one tower amounts to: layers, widths, tokens, parameters, operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from ..connectors import AnyConnector, ImageOfTiles, TowerOutput, connector_of
from ..encoders import VisionEncoderInfo, family_of
from ..encoders.shapes import Part, Shapes, expanded, matrix_values
from ..errors import ConfigError, InputError, Problem
from ..images.hub_cache import folder_at_hand
from ..images.settings import ProcessorSettings
from ..images.tiling import AnyTiling, TilePlan, tiling_of
from ..reduce import Reduction, reduction_of
from ..schemas import EncoderConfig, TowerConfig
from ..schemas.weights import SourceConfig
from ..tower.readout import HiddenStates, OwnOutput, PooledHead, Readout
from ..tower.rows import OutputRows
from .base import BYTES_PER_PARAMETER, VisionPlan
from .quantised import bytes_saved


@dataclass(frozen=True)
class Plan(VisionPlan):
    """Every fact of a composed tower that follows from its config.

    Attributes:
        config: The config it was made from.
        encoder: The encoder's config block, without the DeepStack levels that are not used.
        info: The encoder's facts.
        readout: What is read off the blocks.
        processor: The image processor that images go through, its values, and where each came from.
        parts: The parts of the tower with the tensors that they read from a checkpoint; None for the generic
            adapter, which learns them when it builds.
        tiling: How images are cut into tiles; None if each is taken whole.
        connector: What stands between the tower and the language model; None if it is not built.
        reduction: What makes the tokens of an image fewer; None if nothing does.
    """

    config: TowerConfig
    encoder: EncoderConfig
    info: VisionEncoderInfo
    readout: Readout
    processor: ProcessorSettings
    parts: Sequence[Part] | None = field(repr=False)
    tiling: AnyTiling | None = field(default=None, repr=False)
    connector: AnyConnector | None = field(default=None, repr=False)
    reduction: Reduction | None = field(default=None, repr=False)

    @property
    def towers(self) -> dict[str, Plan]:
        return {"": self}

    @property
    def image_size(self) -> int:
        return self.info.image_size

    @property
    def ragged(self) -> bool:
        return self.info.ragged or self.reduces

    @property
    def generic(self) -> bool:
        """Whether the generic adapter runs the encoder."""
        return self.parts is None

    @cached_property
    def shapes(self) -> Shapes | None:
        """Every tensor that is read, under its name in a checkpoint of the tower alone; None as ``parts``."""
        return None if self.parts is None else expanded(self.parts)

    @property
    def num_checkpoint_tensors(self) -> int | None:
        if self.parts is None:
            return None
        return sum(part.num_tensors for part in self.parts) + len(self.connector_shapes)

    @property
    def connector_shapes(self) -> Shapes:
        """Every tensor of the connector, under its name in the VLM; none if it is not built."""
        return {} if self.connector is None else self.connector.shapes()

    @property
    def connector_weights(self) -> SourceConfig | None:
        """Where the connector's weights come from: from where the tower's do unless it says; None without."""
        return None if self.connector is None else self.connector.config.weights or self.config.weights

    @property
    def select_layers(self) -> tuple[int, ...]:
        """Hidden states returned, as indices 0 to N, in output order."""
        return self.config.resolved_layers

    @property
    def norm_layers(self) -> frozenset[int]:
        """Those of them that go through the post-norm."""
        return self.readout.norm_layers

    @property
    def reduces(self) -> bool:
        return self.reduction is not None

    @property
    def num_blocks(self) -> int:
        """Blocks that are built: the deepest hidden state that is read."""
        return self.readout.num_blocks

    @property
    def output_width(self) -> int:
        return self.readout.width if self.connector is None else self.connector.width

    @property
    def layout(self) -> str:
        if self.config.output != "features":
            return "(levels, rows, width) per image" if self.separate_levels else "(rows, width) per image"
        if self.separate_levels:
            return "(levels, tokens, width) per image"
        return "(tokens, width) per image" if self.ragged else "(images, tokens, width)"

    @cached_property
    def num_parameters(self) -> int | None:
        if self.parts is None:
            return None
        buffers = family_of(self.encoder).buffers
        tower = sum(part.num_values(without=buffers) for part in self.parts)
        return tower + sum(map(prod, self.connector_shapes.values()))

    @property
    def num_bytes(self) -> int | None:
        if self.num_parameters is None:
            return None
        each = BYTES_PER_PARAMETER[self.dtype]
        wide = 0 if self.dtype != "float16" or self.connector is None else self.connector.values_in_float32
        whole = self.num_parameters * each + wide * (BYTES_PER_PARAMETER["float32"] - each)
        return whole - self._bytes_saved(each)

    def _bytes_saved(self, each: int) -> int:
        """How many bytes fewer the weights take because they are quantised."""
        quantize, family = self.config.quantize, family_of(self.encoder)
        blocks = sum(
            len(part.indices) * bytes_saved(part.shapes, quantize, each)
            for part in self.parts or ()
            if part.name == family.block_name
        )
        if self.connector is None:
            return blocks
        kept = self.connector.in_float32 if self.dtype == "float16" else ()
        shapes = self.connector.layer_shapes()
        wide = {name: shape for name, shape in shapes.items() if name.startswith(kept)}
        rest = {name: shape for name, shape in shapes.items() if name not in wide}
        in_float32 = bytes_saved(wide, quantize, BYTES_PER_PARAMETER["float32"])
        return blocks + bytes_saved(rest, quantize, each) + in_float32

    @property
    def deepstack_layers(self) -> tuple[int, ...]:
        """Hidden states that are merged beside the last one, in ascending order."""
        return tuple(sorted(block + 1 for block in self.encoder.deepstack_layers))

    @property
    def begins_with_class_token(self) -> bool:
        selection = self.readout.selection
        kept = selection.num_prefix_tokens and selection.strategy in ("full", "class")
        return bool(kept) and self.config.output == "features" and not self.reduces

    @property
    def separate_levels(self) -> bool:
        return bool(self.deepstack_layers) and self.config.deepstack == "separate"

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        return self._rows.count(self.image_of_tiles(width, height, frames))

    def image_of_tiles(self, width: int, height: int, frames: int = 1) -> ImageOfTiles:
        """Return how an image of that size in pixels is cut, and the grid of each of its tiles.

        Raises:
            InputError: As :meth:`num_tokens`.
        """
        if self.tiling is None:
            return ImageOfTiles(TilePlan(), self.info.grid(width, height, frames))
        tiles = self.tiling.plan(width, height)
        grids = tuple(self.info.grid_of_pixels(*size) for size in self.tiling.sizes(tiles))
        return ImageOfTiles.of_grids(tiles, grids)

    def tokens_of(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens that the tower gives for ``pixel_values`` of one image, or of a clip of ``frames``.

        Neither connector nor reduction is counted in.

        Args:
            width: Width of the pixels, which are resized already; of a tiled encoder, of all tiles together.
            height: Their height.
            frames: Frames of a clip.

        Raises:
            InputError: If the encoder does not take pixels of that size.
        """
        if min(width, height, frames) < 1:
            raise InputError(f"pixels of {width}x{height} and {frames} frames: all three must be at least 1")
        return self.readout.num_tokens(self.info.grid_of_pixels(width, height, frames))

    def flops(self, width: int, height: int) -> int | None:
        # With tiles those of all, and of the connector.
        if self.parts is None:
            return None
        if self.tiling is None:
            return self._tower_flops(width, height) + self._connector_flops(width, height)
        tiles = Counter(self.tiling.sizes(self.tiling.plan(width, height)))
        tower = sum(count * self._tower_flops(*size) for size, count in tiles.items())
        return tower + self._connector_flops(width, height)

    def _connector_flops(self, width: int, height: int) -> int:
        return 0 if self.connector is None else self.connector.flops(self.image_of_tiles(width, height))

    def _tower_flops(self, width: int, height: int) -> int:
        """Those of :meth:`flops` that the tower takes for one image or tile."""
        family, encoder = family_of(self.encoder), self.encoder
        tokens = self.info.sequence_length(width, height)
        stem = 2 * self.info.num_patches(width, height) * self.info.hidden_size * self._patch_values
        matrices = matrix_values(family.block_shapes(encoder))
        blocks = self.num_blocks * 2 * tokens * matrices + self.attention_flops((width, height))
        blocks += family.extra_flops(encoder, self.num_blocks, self.info, (width, height))
        return stem + blocks + self.readout.flops(tokens)

    def attention_flops(self, size: tuple[int, int]) -> int:
        """Those of :meth:`flops` that attention's two products take, which grow with tokens times tokens.

        Windows are counted as windows.
        """
        pairs = family_of(self.encoder).attention_pairs(self.encoder, self.num_blocks, self.info, size)
        return 4 * pairs * self.info.num_attention_heads * self.info.head_size

    @property
    def _rows(self) -> OutputRows:
        return OutputRows(self.readout, self.connector, self.reduction)

    @property
    def _patch_values(self) -> int:
        return self.info.num_channels * self.info.temporal_patch_size * self.info.patch_size**2

    def to_dict(self, sizes: Iterable[tuple[int, int]] = ()) -> dict[str, Any]:
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
            "output": config.output,
            "connector": None if config.connector is None else config.connector.type,
            "connector_weights": self.connector_weights and self.connector_weights.source,
            "tiling": "none" if config.tiling == "none" else config.tiling.type,
            "reduce": None if config.reduce is None else config.reduce.model_dump(mode="json"),
            "deepstack_layers": list(self.deepstack_layers),
            "output_layout": self.layout,
            "output_width": self.output_width,
            "dtype": self.dtype,
            "num_parameters": self.num_parameters,
            "num_bytes": self.num_bytes,
            "num_checkpoint_tensors": self.num_checkpoint_tensors,
            "weights": config.weights.source,
            "image_processor": self.processor.to_dict(),
            "attn_backend": config.attn_backend,
            "quantize": config.quantize,
            "parallel": "none" if config.parallel == "none" else config.parallel.model_dump(),
            "training": config.training.model_dump(mode="json"),
            "images": self.images(sizes),
        }


def processor_settings(config: TowerConfig, folder: Path | None = None) -> ProcessorSettings:
    """Return which image processor a config's images go through, its values, and where each came from.

    Args:
        config: The config.
        folder: The checkpoint's folder. Default: what is on disk, or in the hub's cache; no network is used.

    Raises:
        ConfigError: If the config sets what the processor does not know, or what does not work.
        WeightsError: If the checkpoint's processor config is broken, or not for this encoder.
    """
    if folder is None:
        folder = folder_at_hand(config.weights.source, config.weights.hub_revision)
    with config.locating():
        settings: ProcessorSettings = family_of(config.encoder).processor_settings(
            config.encoder, config.image_processor, folder
        )
    return settings


def plan_config(config: TowerConfig, processor: ProcessorSettings | None = None) -> Plan:
    """Plan a validated config.

    Args:
        config: The config.
        processor: Its image processor. Default: that of :func:`processor_settings`.

    Raises:
        ConfigError: If the config cannot work.
        WeightsError: As :func:`processor_settings`.
    """
    processor = processor_settings(config) if processor is None else processor
    encoder = config.encoder
    # A language model reads the levels elsewhere than in its embeddings.
    in_embeds = config.output == "embeds" and config.deepstack != "separate"
    if config.deepstack == "none" or in_embeds or not config.merges:
        encoder = encoder.without_deepstack()
    family = family_of(encoder)
    info = family.info(encoder, family.resize_rule(encoder, processor))
    readout = _readout(config, encoder, info)
    parts = family.parts(
        encoder, readout.num_blocks, post_norm=bool(readout.norm_layers), head=readout.needs_head
    )
    tiling = connector = None
    if config.output != "features" and config.tiling != "none":
        tiling = tiling_of(config.tiling, info.image_size, info.resize)
    if config.output == "embeds" and config.connector is not None:
        num_layers = len(config.select_layers or (None,))
        tower = TowerOutput(
            encoder,
            info,
            readout.width,
            num_layers,
            readout.num_tokens,
            readout.token_grid,
            readout.planar,
        )
        with config.locating():
            connector = connector_of(config.connector, tower)
    reduction = None if config.reduce is None else reduction_of(config.reduce)
    if fault := OutputRows(readout, connector, reduction).fault(tiled=tiling is not None):
        with config.locating():
            raise ConfigError(Problem("VC211", fault, "reduce.type"))
    plan = Plan(config, encoder, info, readout, processor, parts, tiling, connector, reduction)
    if tiling is not None or connector is not None:
        with config.locating():
            _check_tiles(plan)
    return plan


def _check_tiles(plan: Plan) -> None:
    """Check that tiling and connector can take an image of the encoder's own size.

    Raises:
        ConfigError: If they cannot.
    """
    try:
        plan.num_tokens(plan.image_size, plan.image_size)
    except InputError as error:
        if plan.info.any_size:
            return  # they may take others
        key = "tiling.type" if plan.connector is None else "connector.type"
        raise ConfigError(Problem("VC211", str(error), key)) from None


def _readout(config: TowerConfig, encoder: EncoderConfig, info: VisionEncoderInfo) -> Readout:
    family, norms = family_of(encoder), _norm_layers(config)
    if config.head:
        return PooledHead(family, encoder, info, norms)
    strategy = config.feature_select_strategy
    if config.select_layers is None:
        return OwnOutput(family, encoder, info, norms, strategy=strategy, deepstack=config.deepstack)
    return HiddenStates(family, encoder, info, norms, layers=config.resolved_layers, strategy=strategy)


def _norm_layers(config: TowerConfig) -> frozenset[int]:
    """The hidden states that go through the post-norm."""
    if not config.encoder.has_post_norm:
        return frozenset()
    last, layers = config.encoder.num_hidden_layers, frozenset(config.resolved_layers)
    if config.head:
        return frozenset({last})
    if config.post_norm == "auto":
        normed = config.select_layers is None and family_of(config.encoder).norms_last_hidden_state
        return frozenset({last}) if normed else frozenset()
    return {"none": frozenset[int](), "last": layers & {last}, "each": layers}[config.post_norm]
