"""Facts of an encoder that hold without its weights. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Self

from ..errors import InputError
from ..images.resize import ResizeRule
from ..schemas import EncoderConfig, RopeType

Grid = tuple[int, int, int]
"""Frames (or tiles), patch rows and patch columns of an image or clip."""


@dataclass(frozen=True)
class VisionEncoderInfo:
    """Facts about an encoder that hold without its weights. Sizes are in pixels, widths in features.

    Attributes:
        model_type: transformers' name of the family.
        hidden_size: Width of a token.
        num_hidden_layers: Blocks of the full encoder.
        num_attention_heads: Attention heads of a block.
        head_size: Width of one head.
        num_channels: Colour channels of the input.
        image_size: Side of the square image the encoder was trained on.
        patch_size: Side of a square patch.
        num_prefix_tokens: Non-patch tokens in front of the patches.
        has_class_token: Whether the first prefix token, or else the last suffix token, is a class token.
        has_post_norm: Whether a norm stands behind the last block.
        has_head: Whether the checkpoint carries a pooling head.
        rope_type: How packed inputs are read; ``none`` for a dense encoder.
        any_size: Whether images of other sizes than ``image_size`` are encoded at their own size.
        packed: Whether images of different sizes share one sequence instead of a batch.
        merge_size: Patches along one side of the square that the merger makes one token of; 1: no merger.
        temporal_patch_size: Frames in a patch.
        out_hidden_size: Width of a merged token; 0 without a merger.
        pools_frames: Whether the merger makes one frame of all of a clip's.
        attends_across_frames: Whether the frames of a clip attend to each other.
        grid_multiple: What rows and columns of a packed image's patches must be multiples of.
        resize: How the image processor sizes an image that is packed; None for a dense encoder.
        num_suffix_tokens: Non-patch tokens behind the patches.
        tiled: Whether an image is cut into tiles of ``image_size``, each with prefix tokens of its own,
            which the encoder's own output keeps.
    """

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_size: int
    num_channels: int
    image_size: int
    patch_size: int
    num_prefix_tokens: int
    has_class_token: bool
    has_post_norm: bool
    has_head: bool
    rope_type: RopeType
    any_size: bool
    packed: bool = False
    merge_size: int = 1
    temporal_patch_size: int = 1
    out_hidden_size: int = 0
    pools_frames: bool = False
    attends_across_frames: bool = False
    grid_multiple: int = 1
    resize: ResizeRule | None = None
    num_suffix_tokens: int = 0
    tiled: bool = False

    @classmethod
    def of(cls, encoder: EncoderConfig, *, any_size: bool = False) -> Self:
        """The facts that a config block has itself, of an encoder that is neither packed nor tiled."""
        return cls(
            model_type=encoder.model_type,
            hidden_size=encoder.width,
            num_hidden_layers=encoder.num_hidden_layers,
            num_attention_heads=encoder.num_attention_heads,
            head_size=encoder.head_size,
            num_channels=encoder.num_channels,
            image_size=encoder.image_size,
            patch_size=encoder.patch_size,
            num_prefix_tokens=encoder.num_prefix_tokens,
            has_class_token=encoder.has_class_token,
            has_post_norm=encoder.has_post_norm,
            has_head=encoder.has_head,
            rope_type=encoder.rope_type,
            any_size=any_size,
            num_suffix_tokens=encoder.num_suffix_tokens,
        )

    @property
    def ragged(self) -> bool:
        """Whether images come out apart, a tensor each, since they need not have as many tokens."""
        return self.packed or self.tiled

    @property
    def patch_grid_length(self) -> int:
        """Patches along one side of an image of ``image_size``; what does not fill a patch is cut off."""
        return self.image_size // self.patch_size

    def grid(self, width: int, height: int, frames: int = 1) -> Grid:
        """Frames (or tiles), rows and columns of an image's patches, by the rule of :meth:`num_tokens`."""
        if width < 1 or height < 1:
            raise InputError(f"an image of {width}x{height} pixels is empty")
        if frames < 1:
            raise InputError(f"a clip of {frames} frames is empty")
        if self.resize is not None:
            width, height = self.resize(width, height)
            if self.tiled:
                tiles = (height // self.image_size) * (width // self.image_size)
                return tiles, self.patch_grid_length, self.patch_grid_length
            depth = -(-frames // self.temporal_patch_size)
            return depth, height // self.patch_size, width // self.patch_size
        if not self.any_size:
            return 1, self.patch_grid_length, self.patch_grid_length
        columns, rows = width // self.patch_size, height // self.patch_size
        if not columns or not rows:
            raise InputError(
                f"an image of {width}x{height} pixels is smaller than one patch of "
                f"{self.patch_size}x{self.patch_size}"
            )
        return 1, rows, columns

    def grid_of_image(self, width: int, height: int) -> Grid:
        """Return the grid that preprocessing makes of an image.

        Without a resize rule that is the grid of ``image_size``, to which every image is resized.

        Raises:
            InputError: The resize rule refuses such an image.
        """
        if self.resize is None:
            return 1, self.patch_grid_length, self.patch_grid_length
        return self.grid(width, height)

    def num_patches(self, width: int, height: int, frames: int = 1) -> int:
        """Patches of an image, by the rule of :meth:`num_tokens`; frames count in temporal patches."""
        return prod(self.grid(width, height, frames))

    def num_tiles(self, width: int, height: int) -> int:
        """Tiles that an image is cut into; 1 for an encoder that cuts none."""
        return self.num_sequences(self.grid(width, height))

    def num_sequences(self, grid: Grid) -> int:
        """Return how often the prefix tokens stand in an image of that grid: once a tile, or once."""
        return grid[0] if self.tiled else 1

    def num_merged_tokens(self, grid: Grid) -> int:
        """Tokens that the merger makes of patches in (frames, rows, columns)."""
        frames, rows, columns = grid
        return (1 if self.pools_frames else frames) * rows * columns // self.merge_size**2

    def num_block_tokens(self, grid: Grid) -> int:
        """Return the tokens of an image of that grid in the blocks: patches, prefix and suffix tokens."""
        other = self.num_prefix_tokens + self.num_suffix_tokens
        return self.num_sequences(grid) * other + prod(grid)

    def sequence_length(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens of one image in the blocks: its patches, prefix and suffix tokens."""
        return self.num_block_tokens(self.grid(width, height, frames))

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Tokens that the encoder makes of one image: all of them, or as many as its merger leaves.

        A packed encoder takes the image's own size and resizes by :attr:`resize`. A dense encoder of any
        size floors ``width`` and ``height``, those of its ``pixel_values``, to whole patches. The others
        get every image resized to ``image_size``, so their count does not vary, or cut into tiles of that
        size, of which the padding tiles do not count.

        Args:
            width: Image width in pixels, at least 1.
            height: Image height in pixels, at least 1.
            frames: Frames of a clip, at least 1; only packed encoders with a temporal patch tell them apart.

        Raises:
            InputError: An empty image, or one smaller than a patch where the size matters.
        """
        grid = self.grid(width, height, frames)
        return self.num_merged_tokens(grid) if self.packed else self.num_own_tokens(grid)

    @property
    def merges(self) -> bool:
        """Whether the encoder's own output is of merged tokens, none of them a prefix or suffix token."""
        return self.out_hidden_size > 0 and not self.tiled

    def num_own_tokens(self, grid: Grid) -> int:
        """Return the tokens of the encoder's own output for an image of that grid."""
        return self.num_merged_tokens(grid) if self.merges else self.num_block_tokens(grid)
