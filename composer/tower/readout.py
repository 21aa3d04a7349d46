"""Readouts: how features are made from a tower's blocks.

The three readouts are selected hidden states, the pooling head's token, and the tower's own output. Before a
weight is read, a readout tells which states and modules it needs, and how many tokens of which width come
out; later it makes the features. Loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from ..encoders.aliases import FromTransformers, Reads, RunBlock
from ..encoders.base import AnyFamily
from ..encoders.batch import Batch
from ..encoders.facts import Grid, VisionEncoderInfo
from ..errors import InputError
from ..schemas import EncoderConfig
from .selection import (
    VisionFeatureSelectStrategy,
    get_num_selected_vision_tokens,
    get_vision_feature_selector,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Selection:
    """Which tokens a feature_select_strategy keeps.

    Attributes:
        strategy: The strategy's name, or a callable.
        num_prefix_tokens: Non-patch tokens in front of the patches.
        num_suffix_tokens: Non-patch tokens after the patches.
        width: Features of a token; a callable is tried on tokens of this width to count what it keeps.
    """

    strategy: VisionFeatureSelectStrategy
    num_prefix_tokens: int
    num_suffix_tokens: int
    width: int

    @cached_property
    def select(self) -> Callable[[Tensor], Tensor] | None:
        """The strategy's function; None if it keeps every token."""
        others = self.num_prefix_tokens + self.num_suffix_tokens
        if self.strategy == "full" or (self.strategy == "default" and not others):
            return None
        return get_vision_feature_selector(
            self.strategy,
            num_prefix_tokens=self.num_prefix_tokens,
            num_suffix_tokens=self.num_suffix_tokens,
        )

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return the selected tokens of (images, tokens, width).

        Raises:
            InputError: If the strategy's function changes more than the number of tokens, or adds tokens.
        """
        if self.select is None:
            return tokens
        kept = self.select(tokens)
        if kept.dim() != 3 or kept.shape[::2] != tokens.shape[::2] or kept.shape[1] > tokens.shape[1]:
            raise InputError(
                f"feature_select_strategy {self.strategy!r} turned {tuple(tokens.shape)} into "
                f"{tuple(kept.shape)}; a selector keeps (images, tokens, width) and only takes tokens away"
            )
        return kept

    @property
    def keeps_patches(self) -> bool:
        """Whether exactly the patches are kept."""
        others = self.num_prefix_tokens + self.num_suffix_tokens
        return self.strategy == "default" or (self.strategy == "full" and not others)

    def count(self, num_tokens: int) -> int:
        """Count the tokens that are kept of ``num_tokens``."""
        return get_num_selected_vision_tokens(
            num_tokens,
            self.strategy,
            num_prefix_tokens=self.num_prefix_tokens,
            num_suffix_tokens=self.num_suffix_tokens,
            hidden_size=self.width,
        )


@dataclass(frozen=True)
class Readout(ABC):
    """How features are made from the blocks of one encoder.

    Attributes:
        family: The encoder's family.
        encoder: The encoder's config block.
        info: Facts about the encoder.
        norm_layers: Hidden states that go through the post-norm.
    """

    family: AnyFamily
    encoder: EncoderConfig
    info: VisionEncoderInfo
    norm_layers: frozenset[int] = frozenset()

    @property
    @abstractmethod
    def keep(self) -> frozenset[int]:
        """The hidden states that are read, 0 to N; no block is built beyond the deepest."""

    @property
    def num_blocks(self) -> int:
        """The number of blocks that are built."""
        return max(self.keep, default=self.info.num_hidden_layers)

    @property
    def needs_head(self) -> bool:
        """Whether the pooling head, or the merger, is built and its weights are read."""
        return False

    @property
    @abstractmethod
    def width(self) -> int:
        """How many features an output token has."""

    @property
    @abstractmethod
    def selection(self) -> Selection:
        """The tokens that are kept of what is read."""

    @abstractmethod
    def num_tokens(self, grid: Grid) -> int:
        """Count the output tokens of an image with this grid."""

    @property
    def planar(self) -> bool:
        """Whether output tokens stand row by row in the plane of the image, frame after frame."""
        return self._keeps_patches and self.info.patch_square == 1

    def token_grid(self, grid: Grid) -> Grid:
        """Return frames, rows and columns of an image's output tokens.

        Tokens that stand in no plane are one row; those of all frames together if there are others than
        patches.
        """
        if not self._keeps_patches:
            return 1, 1, self.num_tokens(grid)
        frames, rows, columns = grid
        return grid if self.planar else (frames, 1, rows * columns)

    @property
    def _keeps_patches(self) -> bool:
        return self.selection.keeps_patches and self.info.one_plane

    def flops(self, num_tokens: int) -> int:
        """Count the floating-point operations after the blocks, for an image of that many tokens in them."""
        return self.family.head_flops(self.encoder, num_tokens) if self.needs_head else 0

    @abstractmethod
    def reads(self, model: FromTransformers, layout: object) -> Reads:
        """Return the function that is applied to each state of :attr:`keep` as soon as it is computed."""

    @abstractmethod
    def features(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        batch: Batch,
        layout: object,
        run_block: RunBlock,
    ) -> Tensor:
        """Make the features of a batch, in the form that ``batch.split`` takes.

        Args:
            model: transformers' module.
            states: The results of the functions of :meth:`reads`.
            batch: The images.
            layout: The family's layout of the batch.
            run_block: Runs one block, as for the family's ``run``.
        """

    def _normed(self, model: FromTransformers, layer: int, state: Tensor) -> Tensor:
        if layer not in self.norm_layers:
            return state
        normed: Tensor = model.get_submodule(self.family.post_norm)(state)
        return normed


@dataclass(frozen=True)
class HiddenStates(Readout):
    """The readout of selected hidden states, concatenated on the feature axis.

    Attributes:
        layers: The hidden states, 0 to N, in the order of the output.
        strategy: Which of their tokens are kept.

    Raises:
        InputError: If ``layers`` is empty or names a hidden state that the encoder does not have.
    """

    layers: tuple[int, ...] = ()
    strategy: VisionFeatureSelectStrategy = "full"

    def __post_init__(self) -> None:
        depth = self.info.num_hidden_layers
        if not self.layers or not all(0 <= k <= depth for k in self.layers):
            raise InputError(f"select_layers must name hidden states 0 to {depth}, not {list(self.layers)}")

    @property
    def keep(self) -> frozenset[int]:
        return frozenset(self.layers)

    @property
    def width(self) -> int:
        return self.info.hidden_size * len(self.layers)

    def num_tokens(self, grid: Grid) -> int:
        sequences = self.info.num_sequences(grid)
        return sequences * self.selection.count(self.info.num_block_tokens(grid) // sequences)

    def reads(self, model: FromTransformers, layout: object) -> Reads:
        return {k: partial(self._read, model, layout, k) for k in self.keep}

    def _read(self, model: FromTransformers, layout: object, layer: int, state: Tensor) -> Tensor:
        return self.selection(self.family.tokens(model, self._normed(model, layer, state), layout))

    def features(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        batch: Batch,
        layout: object,
        run_block: RunBlock,
    ) -> Tensor:
        import torch

        if len(self.layers) == 1:
            return states[self.layers[0]]
        return torch.cat([states[k] for k in self.layers], dim=-1)

    @cached_property
    def selection(self) -> Selection:
        info = self.info
        return Selection(self.strategy, info.num_prefix_tokens, info.num_suffix_tokens, info.hidden_size)


@dataclass(frozen=True)
class PooledHead(Readout):
    """The readout of the pooling head: one token per image, made of the post-normed last hidden state."""

    @property
    def keep(self) -> frozenset[int]:
        return frozenset({self.info.num_hidden_layers})

    @property
    def needs_head(self) -> bool:
        return True

    @property
    def width(self) -> int:
        return self.family.head_width(self.encoder)

    @property
    def selection(self) -> Selection:
        return Selection("full", 0, 0, self.width)

    def num_tokens(self, grid: Grid) -> int:
        return 1

    @property
    def planar(self) -> bool:
        return False

    def token_grid(self, grid: Grid) -> Grid:
        return 1, 1, 1

    def reads(self, model: FromTransformers, layout: object) -> Reads:
        return {k: partial(self._normed, model, k) for k in self.keep}

    def features(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        batch: Batch,
        layout: object,
        run_block: RunBlock,
    ) -> Tensor:
        (last,) = states.values()
        return self.family.pooled(model, last, layout)


@dataclass(frozen=True)
class OwnOutput(Readout):
    """The readout of the tower's own output: that of its merger, or else its last hidden state.

    Attributes:
        strategy: Which of its tokens are kept.
        deepstack: How a DeepStack encoder's levels are joined: on the feature axis or on one of their own.
    """

    strategy: VisionFeatureSelectStrategy = "full"
    deepstack: Literal["concat", "separate", "none"] = "concat"

    @property
    def keep(self) -> frozenset[int]:
        return frozenset(self.family.own_states(self.encoder))

    @property
    def needs_head(self) -> bool:
        return self.encoder.merger

    @property
    def width(self) -> int:
        levels = len(self.encoder.deepstack_layers) if self.deepstack == "concat" else 0
        return self._token_width * (1 + levels)

    def num_tokens(self, grid: Grid) -> int:
        sequences = self.info.num_sequences(grid)
        return sequences * self.selection.count(self.info.num_own_tokens(grid) // sequences)

    @property
    def planar(self) -> bool:
        return self.info.merges or super().planar  # merged tokens come row by row

    def token_grid(self, grid: Grid) -> Grid:
        if not self.info.merges:
            return super().token_grid(grid)
        frames, rows, columns = grid
        side = self.info.merge_size
        return 1 if self.info.pools_frames else frames, rows // side, columns // side

    def reads(self, model: FromTransformers, layout: object) -> Reads:
        return {k: partial(self._read, model, layout, k) for k in self.keep}

    def _read(self, model: FromTransformers, layout: object, layer: int, state: Tensor) -> Tensor:
        if layer == self.info.num_hidden_layers:
            return state
        return self.family.own_state(model, layer, state, layout)

    def features(
        self,
        model: FromTransformers,
        states: Mapping[int, Tensor],
        batch: Batch,
        layout: object,
        run_block: RunBlock,
    ) -> Tensor:
        import torch

        norm = partial(self._normed, model, self.info.num_hidden_layers)
        parts = self.family.own_output(model, states, norm, batch, layout, run_block)
        if len(parts) > 1 and self.deepstack == "separate" and self.encoder.deepstack_layers:
            return torch.stack(parts)
        return self.selection(torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0])

    @property
    def _token_width(self) -> int:
        return self.info.out_hidden_size or self.info.hidden_size

    @cached_property
    def selection(self) -> Selection:
        return Selection(self.strategy, *self.family.own_prefix_and_suffix(self.info), self._token_width)
