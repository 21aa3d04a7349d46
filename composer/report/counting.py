"""How many tokens come of an image, step by step, as a person would reckon it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..connectors import ImageOfTiles
from ..encoders.facts import Grid, VisionEncoderInfo
from ..images.tiling import TilePlan
from ..planning import FusedPlan, Plan
from ..tower.readout import OwnOutput, PooledHead, Readout
from ..tower.rows import OutputRows


@dataclass(frozen=True)
class Size:
    """The size of an image or of a clip as it comes.

    Attributes:
        width: In pixels.
        height: In pixels.
        frames: Frames of a clip; 1 for an image.
    """

    width: int
    height: int
    frames: int = 1

    def __str__(self) -> str:
        frames = f"{self.frames} frames of " if self.frames > 1 else ""
        return f"{frames}{self.width} × {self.height} pixels"


@dataclass(frozen=True)
class Reckoning:
    """The steps from an image to tokens.

    Attributes:
        title: Which tower they are of, or what is done behind all towers; empty where there is one tower.
        steps: A sentence each.
    """

    title: str
    steps: tuple[str, ...]


def reckoned(plan: Plan, size: Size, image: ImageOfTiles) -> Reckoning:
    """Reckon the rows of an image of one tower.

    Args:
        plan: The encoder's.
        size: The image as it comes.
        image: The image with the grids that the tower was given.
    """
    steps = [f"The image has {size}." if size.frames == 1 else f"The clip has {size}."]
    steps += [*_tower_steps(plan, (size.width, size.height), size.frames, image), *_behind(plan, image)]
    return Reckoning("", tuple(steps))


def reckoned_fused(plan: FusedPlan, size: Size, grids: Sequence[Grid]) -> list[Reckoning]:
    """Reckon the rows of an image of several towers.

    Args:
        plan: The encoder's.
        size: The image as it comes.
        grids: The image's grid of patches in every tower.
    """
    given, found = (size.width, size.height), []
    first = f"The image has {size}."
    if plan.shared_rule is not None:
        given = plan.shared_rule(*given)
        first += f" One image processor makes {given[0]} × {given[1]} of it for all towers."
    for (name, tower), grid in zip(plan.towers.items(), grids, strict=True):
        steps = _tower_steps(tower, given, size.frames, ImageOfTiles(TilePlan(), grid))
        found.append(Reckoning(name, (first, *steps)))
    return [*found, Reckoning("All towers", tuple(_joined(plan, grids)))]


def _tower_steps(plan: Plan, given: tuple[int, int], frames: int, image: ImageOfTiles) -> list[str]:
    """From the pixels that a tower's image processor is given to the tokens of all tiles."""
    info, readout, tiles = plan.info, plan.readout, image.tiles
    if plan.tiling is None:
        sizes = [info.resized(*given)]
        steps = [f"The image processor makes {sizes[0][0]} × {sizes[0][1]} pixels of it."]
    else:
        sizes = plan.tiling.sizes(tiles)
        steps = [_cut(tiles)]
    kinds = Counter(zip(sizes, image.grid_of_each, strict=True))
    for (pixels, grid), count in kinds.items():
        which = f"{_many(count, 'tile')} of {pixels[0]} × {pixels[1]} pixels: " if len(kinds) > 1 else ""
        steps.append(which + _patches(info, pixels, grid, frames))
        if others := _others(info, grid):
            steps.append(others)
        steps.append(_kept(readout, info, grid))
    if tiles.num_tiles > 1:
        counts = [(count, readout.num_tokens(grid)) for (_, grid), count in kinds.items()]
        total = sum(count * tokens for count, tokens in counts)
        terms = " + ".join(f"{count} × {tokens:,}" for count, tokens in counts)
        steps.append(f"All tiles: {terms} = {total:,} tokens.")
    return steps


def _cut(tiles: TilePlan) -> str:
    if not tiles.rows:
        return "The image is not cut: it is one tile."
    cut = f"The image is cut into {tiles.rows} × {tiles.columns} = {tiles.rows * tiles.columns} tiles"
    if tiles.whole == "none":
        return f"{cut}."
    return f"{cut}, and is a tile of its own as a whole: {tiles.num_tiles} in all."


def _patches(info: VisionEncoderInfo, pixels: tuple[int, int], grid: Grid, frames: int) -> str:
    """Sizes in pixels to patches."""
    times, rows, columns = grid
    side = info.patch_size
    if not info.one_plane:
        across, down = pixels[0] // info.image_size, pixels[1] // info.image_size
        tile = info.image_size
        of_tiles = (
            f"{pixels[0]} × {pixels[1]} pixels are {across} × {down} = {times} tiles of {tile} × {tile}; "
        )
        return (
            f"{of_tiles}{_quotient(tile, side, rows)} patches along a side; {rows} × {columns} = "
            f"{rows * columns:,} patches in each."
        )
    if pixels[0] == pixels[1]:
        sides = f"{_quotient(pixels[0], side, columns)} patches along a side"
    else:
        of_columns, of_rows = _quotient(pixels[0], side, columns), _quotient(pixels[1], side, rows)
        sides = f"{of_columns} patches across, {of_rows} down"
    if times == 1 and frames == 1:
        return f"{sides}; {columns} × {rows} = {rows * columns:,} patches."
    each = info.temporal_patch_size
    rounded = ", rounded up," if frames % each else ""
    in_time = f"{frames} frames / {each}{rounded} = {times} in time"
    return f"{sides}; {in_time}; {times} × {columns} × {rows} = {prod(grid):,} patches."


def _quotient(pixels: int, side: int, patches: int) -> str:
    rest = pixels - patches * side
    return f"{pixels} / {side} = {patches}" + (f" (and {rest} pixels that fill no patch)" if rest else "")


def _others(info: VisionEncoderInfo, grid: Grid) -> str:
    """Tokens beside the patches; empty if there are none."""
    others = info.num_prefix_tokens + info.num_suffix_tokens
    if not others:
        return ""
    sequences = info.num_sequences(grid)
    patches = prod(grid) // sequences
    registers = others - info.has_class_token
    names = ["1 class token"] if info.has_class_token else []
    names += [_many(registers, "register" if info.has_class_token else "other token")] if registers else []
    where = " for each tile" if sequences > 1 else ""
    return (
        f"{patches:,} + {others} ({' and '.join(names)}) = {patches + others:,} tokens in the blocks{where}."
    )


def _kept(readout: Readout, info: VisionEncoderInfo, grid: Grid) -> str:
    """Tokens in the blocks to those that are read."""
    kept = readout.num_tokens(grid)
    if isinstance(readout, PooledHead):
        return "The pooling head makes 1 token of them."
    if isinstance(readout, OwnOutput) and info.merges:
        square, patches = info.merge_size**2, prod(grid)
        pooled = f", and the {grid[0]} in time are pooled" if info.pools_frames and grid[0] > 1 else ""
        divided = f" / {grid[0]}" if pooled else ""
        return (
            f"The tower merges {info.merge_size} × {info.merge_size} patches into one{pooled}: "
            f"{patches:,} / {square}{divided} = {kept:,} tokens."
        )
    sequences, all_tokens = info.num_sequences(grid), info.num_block_tokens(grid)
    length, each = all_tokens // sequences, kept // sequences
    if kept == all_tokens:
        read = f"All {length:,} are read."
    elif readout.selection.keeps_patches:
        read = f"The patches alone are read: {length:,} − {length - each} = {each:,} tokens."
    else:
        read = f"feature_select_strategy {readout.selection.strategy} keeps {each:,} of {length:,} tokens."
    return read if sequences == 1 else f"{read} {sequences} tiles × {each:,} = {kept:,} tokens."


def _behind(plan: Plan, image: ImageOfTiles) -> list[str]:
    """From the tokens of the tower to the rows that come out."""
    rows = OutputRows(plan.readout, plan.connector, plan.reduction)
    steps, count = [], rows.unreduced(image)
    if plan.connector is not None:
        tokens = sum(map(plan.readout.num_tokens, image.grid_of_each))
        steps.append(_connected(plan.connector.type, tokens, count))
    if plan.reduction is not None:
        kept = rows.count(image)
        steps.append(f"reduce: {plan.reduction.type} keeps {kept:,} of {count:,}.")
        count = kept
    return [*steps, f"Output: {_many(count, 'row')} of {plan.output_width:,} features{_widths(plan)}."]


def _widths(plan: Plan) -> str:
    """Why rows are as wide as they are, where several hidden states stand side by side."""
    number = len(plan.config.select_layers or ())
    if plan.connector is not None or number < 2:
        return ""
    return f", {number} hidden states × {plan.info.hidden_size:,}"


def _joined(plan: FusedPlan, grids: Sequence[Grid]) -> list[str]:
    """From the tokens of all towers to the rows that come out."""
    fusion, steps = plan.fusion, []
    if fusion.grid is not None:
        rows, columns = fusion.grid
        steps.append(f"The tokens of every tower are resampled to {rows} × {columns} = {rows * columns:,}.")
    counts = [fusion.num_tokens_of(tower, grid) for tower, grid in zip(fusion.towers, grids, strict=True)]
    total = fusion.num_tokens(grids)
    widths = [tower.width for tower in fusion.towers]
    if fusion.fuse == "sequence":
        steps.append(f"They stand one after the other: {_sum(counts)} = {total:,} tokens.")
    elif fusion.fuse == "sum":
        steps.append(f"They are added token by token: {total:,} tokens.")
    else:
        steps.append(
            f"They stand side by side: {total:,} tokens of {_sum(widths)} = {fusion.width:,} features."
        )
    if plan.connector is not None:
        out = plan.connector.num_rows(ImageOfTiles(TilePlan(), fusion.grid_of(grids)))
        steps.append(_connected(plan.connector.type, total, out))
        total = out
    return [*steps, f"Output: {_many(total, 'row')} of {plan.output_width:,} features."]


def _connected(name: str, tokens: int, rows: int) -> str:
    if tokens % rows == 0 and tokens > rows:
        return (
            f"The connector {name} makes 1 row of {tokens // rows}: {tokens:,} / {tokens // rows} = {rows:,}."
        )
    if rows > tokens:
        more = rows - tokens
        return f"The connector {name} makes {tokens:,} + {more:,} = {rows:,} rows of {tokens:,} tokens."
    return f"The connector {name} makes {rows:,} rows of {tokens:,} tokens."


def _sum(numbers: Sequence[int]) -> str:
    return " + ".join(f"{number:,}" for number in numbers)


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
