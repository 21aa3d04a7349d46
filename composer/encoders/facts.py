"""Facts about an encoder that need no weights: sizes, widths and token counts. Loads no torch."""

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
    """Facts about an encoder that need no weights. Sizes are in pixels, widths in features.

    Attributes:
        model_type: transformers' name of the family.
        hidden_size: Width of a token.
        num_hidden_layers: Blocks of the full encoder.
        num_attention_heads: Attention heads of a block.
        head_size: Width of one head.
        num_channels: Colour channels of the input.
        image_size: Side of the square image that the encoder was trained on; for a packed encoder, the
            longest side that its resize rule gives.
        patch_size: Side of a square patch.
        num_prefix_tokens: Non-patch tokens in front of the patches.
        has_class_token: Whether there is a class token: the first prefix token, or the last suffix token.
        has_post_norm: Whether a norm follows the last block.
        has_head: Whether the checkpoint has a pooling head.
        rope_type: How packed inputs are read; ``none`` for a dense encoder.
        any_size: Whether the encoder takes ``pixel_values`` of other sizes than ``image_size``.
        packed: Whether images of different sizes share one sequence instead of a batch.
        merge_size: Patches along one side of the square that is merged into one token; 1 without a merger.
        temporal_patch_size: Frames in a patch.
        out_hidden_size: Width of a merged token; 0 without a merger.
        pools_frames: Whether the merger joins all frames of a clip into one.
        attends_across_frames: Whether the frames of a clip attend to each other.
        grid_multiple: Rows and columns of a packed image's patches must be multiples of this.
        resize: How the image processor resizes an image; None for a dense encoder.
        num_suffix_tokens: Non-patch tokens after the patches.
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
    def of(
        cls, encoder: EncoderConfig, *, any_size: bool = False, packed_by: ResizeRule | None = None
    ) -> Self:
        """Make the facts of an encoder from its config block.

        Args:
            encoder: The config block.
            any_size: Whether a dense encoder takes ``pixel_values`` of other sizes than ``image_size``.
            packed_by: How a packed encoder's images are resized; None for any other encoder.
        """
        return cls(
            model_type=encoder.model_type,
            hidden_size=encoder.width,
            num_hidden_layers=encoder.num_hidden_layers,
            num_attention_heads=encoder.num_attention_heads,
            head_size=encoder.head_size,
            num_channels=encoder.num_channels,
            image_size=encoder.image_size if packed_by is None else packed_by.largest_side,
            patch_size=encoder.patch_size,
            num_prefix_tokens=encoder.num_prefix_tokens,
            has_class_token=encoder.has_class_token,
            has_post_norm=encoder.has_post_norm,
            has_head=encoder.has_head,
            rope_type=encoder.rope_type,
            any_size=any_size or packed_by is not None,
            packed=packed_by is not None,
            resize=packed_by,
            num_suffix_tokens=encoder.num_suffix_tokens,
        )

    @property
    def ragged(self) -> bool:
        """Whether the output is one tensor per image, because the number of tokens can differ."""
        return self.packed or self.tiled

    @property
    def patch_grid_length(self) -> int:
        """Whole patches along one side of an image of ``image_size``; the rest is cut off."""
        return self.image_size // self.patch_size

    def grid(self, width: int, height: int, frames: int = 1) -> Grid:
        """Return frames (or tiles), rows and columns of an image's patches; sizes as in :meth:`num_tokens`.

        Raises:
            InputError: If the image is empty, or smaller than a patch, or its resize rule refuses it.
        """
        if width < 1 or height < 1:
            raise InputError(f"an image of {width}x{height} pixels is empty; both sides must be at least 1")
        if frames < 1:
            raise InputError(f"a clip of {frames} frames is empty; it must have at least 1")
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

        Without a resize rule that is the grid of ``image_size``, to which preprocessing resizes images.

        Raises:
            InputError: If the resize rule refuses the image.
        """
        if self.resize is None:
            return 1, self.patch_grid_length, self.patch_grid_length
        return self.grid(width, height)

    def num_patches(self, width: int, height: int, frames: int = 1) -> int:
        """Count the patches of an image; sizes as in :meth:`num_tokens`, frames in temporal patches."""
        return prod(self.grid(width, height, frames))

    def num_tiles(self, width: int, height: int) -> int:
        """Count the tiles that an image is cut into; 1 if the encoder cuts none."""
        return self.num_sequences(self.grid(width, height))

    def num_sequences(self, grid: Grid) -> int:
        """Count how often the prefix tokens occur in an image with this grid: once, or once per tile."""
        return grid[0] if self.tiled else 1

    def num_merged_tokens(self, grid: Grid) -> int:
        """Count the merged tokens of an image with this grid."""
        frames, rows, columns = grid
        return (1 if self.pools_frames else frames) * rows * columns // self.merge_size**2

    def num_block_tokens(self, grid: Grid) -> int:
        """Count the tokens in the blocks of an image with this grid: patches, prefix and suffix tokens."""
        other = self.num_prefix_tokens + self.num_suffix_tokens
        return self.num_sequences(grid) * other + prod(grid)

    def sequence_length(self, width: int, height: int, frames: int = 1) -> int:
        """Count the tokens in the blocks of one image: its patches, prefix and suffix tokens."""
        return self.num_block_tokens(self.grid(width, height, frames))

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        """Count the tokens of the encoder's own output for one image, after merging if it merges.

        A packed or tiled encoder resizes an image of this size by :attr:`resize`; padding tiles do not count.
        A dense encoder of any size takes this size as that of its ``pixel_values``, and cuts off what does
        not fill a patch; :meth:`grid_of_image` tells the patches after preprocessing. Other encoders resize
        every image to ``image_size``, so their count is always the same.

        Args:
            width: Width in pixels, at least 1.
            height: Height in pixels, at least 1.
            frames: Frames of a clip, at least 1; they count only for packed encoders with a temporal patch.

        Raises:
            InputError: If the image is empty, or smaller than a patch, or its resize rule refuses it.
        """
        grid = self.grid(width, height, frames)
        return self.num_merged_tokens(grid) if self.packed else self.num_own_tokens(grid)

    @property
    def merges(self) -> bool:
        """Whether the encoder's own output is merged tokens, without prefix and suffix tokens."""
        return self.out_hidden_size > 0 and not self.tiled

    def num_own_tokens(self, grid: Grid) -> int:
        """Count the tokens of the encoder's own output for an image with this grid."""
        return self.num_merged_tokens(grid) if self.merges else self.num_block_tokens(grid)
