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
        patch_square: Side of the squares by which the patches of hidden states come: the squares row by row,
            and the patches row by row inside each. 1 for row by row.
        max_frames: Most frames of a clip that the encoder has positions for; 0 if any number, and 1 if it
            takes no clips.
        max_grid_side: Most rows, and most columns, of a packed image's patches that it has positions for; 0
            if any number.
        resize: The size that the image processor makes of an image; None: always ``image_size``.
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
    patch_square: int = 1
    max_frames: int = 0
    max_grid_side: int = 0
    resize: ResizeRule | None = None
    num_suffix_tokens: int = 0
    tiled: bool = False

    @classmethod
    def of(cls, encoder: EncoderConfig, *, image_size: int, any_size: bool = False) -> Self:
        """Make the facts that the config block of any encoder tells; others keep their defaults."""
        return cls(
            model_type=encoder.model_type,
            hidden_size=encoder.width,
            num_hidden_layers=encoder.num_hidden_layers,
            num_attention_heads=encoder.num_attention_heads,
            head_size=encoder.head_size,
            num_channels=encoder.num_channels,
            image_size=image_size,
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
        """Whether the output is one tensor per image, because the number of tokens can differ."""
        return self.packed or self.tiled

    @property
    def one_plane(self) -> bool:
        """Whether the patches of a frame stand in one plane, and not in one for every tile."""
        return not self.tiled

    @property
    def has_frames(self) -> bool:
        """Whether a grid may have several frames, those of a clip."""
        return self.packed

    @property
    def patch_grid_length(self) -> int:
        """Whole patches along one side of an image of ``image_size``; the rest is cut off."""
        return self.image_size // self.patch_size

    def grid(self, width: int, height: int, frames: int = 1) -> Grid:
        """Return frames (or tiles), rows and columns of an image's patches; sizes as in :meth:`num_tokens`.

        Raises:
            InputError: If the image is empty, or smaller than a patch, its resize rule refuses it, or the
                encoder has no positions for it.
        """
        if width < 1 or height < 1:
            raise InputError(f"an image of {width}x{height} pixels is empty; both sides must be at least 1")
        if frames < 1:
            raise InputError(f"a clip of {frames} frames is empty; it must have at least 1")
        return self.grid_of_pixels(*self.resized(width, height), frames)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height in pixels that the image processor makes of an image.

        Raises:
            InputError: If it refuses the image.
        """
        return (self.image_size, self.image_size) if self.resize is None else self.resize(width, height)

    def grid_of_pixels(self, width: int, height: int, frames: int = 1) -> Grid:
        """Return frames (or tiles), rows and columns of the patches of pixels that are resized already.

        Raises:
            InputError: If the encoder takes no pixels of that size.
        """
        side = self.image_size
        if frames > 1 and self.max_frames == 1:
            raise InputError(f"{self.model_type} takes no clips; count each frame as an image")
        if self.tiled:
            tiles = (height // side) * (width // side)
            return tiles, self.patch_grid_length, self.patch_grid_length
        if not self.any_size and (width, height) != (side, side):
            raise InputError(
                f"an image resized to {width}x{height} pixels does not fit this encoder, which takes "
                f"{side}x{side} only"
            )
        columns, rows = width // self.patch_size, height // self.patch_size
        if not columns or not rows:
            raise InputError(
                f"an image resized to {width}x{height} pixels is smaller than one patch of "
                f"{self.patch_size}x{self.patch_size}"
            )
        name = "the clip" if frames > 1 else "the image"
        return self.checked(name, (-(-frames // self.temporal_patch_size), rows, columns))

    def checked(self, name: str, grid: Grid) -> Grid:
        """Return ``grid``, of the image or clip called ``name``.

        Raises:
            InputError: If the encoder has no positions for so many frames, rows or columns.
        """
        frames, rows, columns = grid
        if self.max_frames and frames > self.max_frames:
            raise InputError(
                f"{name} has {frames} frames, but the encoder has positions for {self.max_frames} only; "
                "split the clip"
            )
        if self.max_grid_side and max(rows, columns) > self.max_grid_side:
            raise InputError(
                f"{name} has {rows}x{columns} patches, but the encoder has positions for "
                f"{self.max_grid_side} rows and columns only"
            )
        return grid

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

        That is the size of the image as it comes: the image processor resizes it by :attr:`resize`. Padding
        tiles do not count, and neither does what fills no patch.

        Args:
            width: Width in pixels, at least 1.
            height: Height in pixels, at least 1.
            frames: Frames of a clip, at least 1.

        Raises:
            InputError: If the image is empty, or smaller than a patch, its resize rule refuses it, or the
                encoder has no positions for it or takes no clips.
        """
        return self.num_own_tokens(self.grid(width, height, frames))

    @property
    def merges(self) -> bool:
        """Whether the encoder's own output is merged tokens, without prefix and suffix tokens."""
        return self.out_hidden_size > 0 and not self.tiled

    def num_own_tokens(self, grid: Grid) -> int:
        """Count the tokens of the encoder's own output for an image with this grid."""
        return self.num_merged_tokens(grid) if self.merges else self.num_block_tokens(grid)
