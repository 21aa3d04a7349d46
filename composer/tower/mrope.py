"""Compute the position ids that language models of the Qwen-VL line give to text and vision tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.facts import Grid

    _Span = tuple[Grid, float | Tensor]
    """Frames, rows and columns of patches, and how many temporal ids apart the frames are."""

_TEXT, _IMAGE, _VIDEO = 0, 1, 2
"""What transformers' processors write into mm_token_type_ids."""


def mrope_position_ids(
    mm_token_type_ids: Tensor,
    *,
    spatial_merge_size: int,
    image_grid_thw: Tensor | None = None,
    video_grid_thw: Tensor | None = None,
    attention_mask: Tensor | None = None,
    frames_apart: bool = False,
    tokens_per_second: float | None = None,
    second_per_grid_ts: Tensor | Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the mrope position ids of whole prompts, equal to those of transformers' ``get_rope_index``.

    Text tokens count up by one on all three axes. An image or clip gets temporal, row and column ids that
    start at its position, and the text after it continues after the larger of its merged rows and columns.

    Args:
        mm_token_type_ids: (batch, length) integers: 0 for text, 1 for a merged token of an image, 2 for one
            of a video. The processor returns them beside ``input_ids``. Token ids alone are not enough:
            GLM-4V marks images and frames with the same one. Where images and videos have placeholder tokens
            of their own, it is ``(input_ids == image_token_id) + 2 * (input_ids == video_token_id)``.
        spatial_merge_size: Patches along one side of the square that is merged into one token.
        image_grid_thw: (images, 3) frames, rows and columns of patches, in the order of the prompts.
        video_grid_thw: (videos, 3), likewise.
        attention_mask: (batch, length), 0 at padding, which may be on either side; None without padding.
        frames_apart: True for Qwen3-VL, Qwen3.5 and GLM-4V, where every frame of a clip follows the text of
            its timestamp; False for Qwen2-VL and Qwen2.5-VL, where a clip's frames stand together.
        tokens_per_second: Temporal ids per second: ``vision_config.tokens_per_second`` of Qwen2.5-VL. None:
            one id per frame, as in Qwen2-VL.
        second_per_grid_ts: Seconds between two frames of the grid, for each video; used with
            ``tokens_per_second``. None: 1 second. Before 5.24, transformers cuts these to whole seconds.

    Returns:
        position_ids (3, batch, length) int64: temporal, row and column ids, 0 at padding; and rope_deltas
        (batch, 1) int64: what to add to the number of tokens so far to get the next position.

    Raises:
        InputError: If an argument has another shape or type, if tokens and grids do not fit together, or if
            the arguments for time contradict each other.
    """
    import torch

    types, kept = _prompts(mm_token_type_ids, attention_mask)
    images = _grids("image_grid_thw", image_grid_thw, spatial_merge_size)
    videos = _grids("video_grid_thw", video_grid_thw, spatial_merge_size)
    steps = _frame_steps(len(videos), frames_apart, tokens_per_second, second_per_grid_ts)
    if frames_apart:
        videos = [(1, rows, columns) for frames, rows, columns in videos for _ in range(frames)]
        steps = [1] * len(videos)
    spans: dict[int, Iterator[_Span]] = {
        _IMAGE: ((grid, 1) for grid in images),
        _VIDEO: zip(videos, steps, strict=True),
    }

    position_ids = torch.zeros(3, *types.shape, dtype=torch.int64)
    rope_deltas = torch.zeros(len(types), 1, dtype=torch.int64)
    for i, (row, keep) in enumerate(zip(types, kept, strict=True)):
        positions = _positions(row[keep], spans, spatial_merge_size, f"prompt {i}")
        position_ids[:, i, keep] = positions
        if positions.numel():
            rope_deltas[i] = positions.max() + 1 - positions.shape[1]
    for kind, name in ((_IMAGE, "image_grid_thw"), (_VIDEO, "video_grid_thw")):
        if unused := len(list(spans[kind])):
            what = f"frames of {name}" if frames_apart and kind == _VIDEO else f"rows of {name}"
            raise InputError(f"{unused} {what} are left over, because the prompts have no tokens for them")
    return position_ids.to(mm_token_type_ids.device), rope_deltas.to(mm_token_type_ids.device)


def get_llm_pos_ids_for_vision(
    start_idx: int,
    vision_idx: int,
    spatial_merge_size: int,
    t_index: Sequence[int],
    grid_hs: Tensor,
    grid_ws: Tensor,
) -> Tensor:
    """Compute the mrope position ids of the merged tokens of one image or video.

    Args:
        start_idx: The first position after the text in front, which is added to every id.
        vision_idx: Which image or video of the batch, from 0.
        spatial_merge_size: Patches along one side of the square that is merged into one token.
        t_index: The temporal id of each frame.
        grid_hs: Patch rows of each image or video, (n,).
        grid_ws: Patch columns of each image or video, (n,).

    Returns:
        (3, frames x rows x columns) int64: temporal, row and column ids, frame by frame in raster order.

    Raises:
        InputError: If ``vision_idx`` is outside the grids, or the merge size is below 1.
    """
    import torch

    if spatial_merge_size < 1:
        raise InputError(f"spatial_merge_size is {spatial_merge_size}; it must be at least 1")
    if not 0 <= vision_idx < min(len(grid_hs), len(grid_ws)):
        raise InputError(f"vision_idx {vision_idx} is outside the {min(len(grid_hs), len(grid_ws))} grids")
    device = grid_hs.device
    rows = int(grid_hs[vision_idx]) // spatial_merge_size
    columns = int(grid_ws[vision_idx]) // spatial_merge_size
    axes = (
        torch.as_tensor(t_index, device=device).long(),
        torch.arange(rows, device=device),
        torch.arange(columns, device=device),
    )
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1) + start_idx


def _prompts(mm_token_type_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the tokens' kinds and which of them are not padding, both (batch, length), on the CPU."""
    import torch

    if mm_token_type_ids.dim() != 2 or mm_token_type_ids.is_floating_point():
        raise InputError(
            f"mm_token_type_ids must be (batch, length) integers, not {tuple(mm_token_type_ids.shape)} "
            f"{mm_token_type_ids.dtype}"
        )
    types = mm_token_type_ids.long().cpu()
    if attention_mask is None:
        return types, torch.ones_like(types, dtype=torch.bool)
    if attention_mask.shape != types.shape:
        raise InputError(
            f"attention_mask must be {tuple(types.shape)} like mm_token_type_ids, "
            f"not {tuple(attention_mask.shape)}"
        )
    return types, attention_mask.bool().cpu()


def _grids(name: str, grid_thw: Tensor | None, spatial_merge_size: int) -> list[Grid]:
    """Return the grids as numbers."""
    from ..encoders.inputs import rows_of_integers

    if spatial_merge_size < 1:
        raise InputError(f"spatial_merge_size is {spatial_merge_size}; it must be at least 1")
    if grid_thw is None:
        return []
    grids = rows_of_integers(name, grid_thw, 3, "frames, rows and columns")
    for i, (frames, rows, columns) in enumerate(grids):
        if min(frames, rows, columns) < 1:
            raise InputError(f"{name}[{i}] is {frames, rows, columns}; all three must be at least 1")
        if rows % spatial_merge_size or columns % spatial_merge_size:
            raise InputError(
                f"{name}[{i}] is {frames, rows, columns}; rows and columns must be multiples of "
                f"spatial_merge_size, {spatial_merge_size}"
            )
    return [(t, h, w) for t, h, w in grids]


def _frame_steps(
    num_videos: int,
    frames_apart: bool,
    tokens_per_second: float | None,
    second_per_grid_ts: Tensor | Sequence[float] | None,
) -> Sequence[float | Tensor]:
    """Return the distance between two frames of each video, in temporal ids."""
    import torch

    if tokens_per_second is None:
        if second_per_grid_ts is not None:
            raise InputError("second_per_grid_ts needs tokens_per_second, which turns seconds into ids")
        return [1] * num_videos
    if frames_apart:
        raise InputError(
            "tokens_per_second and frames_apart exclude each other: it spaces frames that stand together; "
            "give one of them"
        )
    if not 0 < tokens_per_second < inf:
        raise InputError(f"tokens_per_second is {tokens_per_second}; it must be a number above 0")
    if second_per_grid_ts is None:
        return [tokens_per_second] * num_videos
    _check_seconds(second_per_grid_ts, num_videos)
    if isinstance(second_per_grid_ts, torch.Tensor):
        second_per_grid_ts = second_per_grid_ts.cpu()
    # The product keeps the dtype of the values: ids are rounded down, so they depend on the last bit.
    return [tokens_per_second * value for value in second_per_grid_ts]


def _check_seconds(second_per_grid_ts: Tensor | Sequence[float], num_videos: int) -> None:
    import torch

    try:
        seconds = torch.as_tensor(second_per_grid_ts, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"second_per_grid_ts must be a number for each video, not {second_per_grid_ts!r}"
        ) from error
    if seconds.dim() != 1:
        raise InputError(f"second_per_grid_ts must be (videos,), not {tuple(seconds.shape)}")
    if len(seconds) != num_videos:
        raise InputError(f"second_per_grid_ts has {len(seconds)} values for {num_videos} videos")
    for i, value in enumerate(seconds.tolist()):
        if not 0 <= value < inf:
            raise InputError(f"second_per_grid_ts[{i}] is {value}; it must be a number of seconds, 0 or more")


def _positions(types: Tensor, spans: Mapping[int, Iterator[_Span]], merge: int, prompt: str) -> Tensor:
    """Return the ids of one prompt without padding, (3, length); take its spans from the iterators."""
    import torch

    kinds, lengths = torch.unique_consecutive(types, return_counts=True)
    parts, start, done = [torch.empty(3, 0, dtype=torch.int64)], 0, 0
    for kind, length in zip(kinds.tolist(), lengths.tolist(), strict=True):
        if kind == _TEXT:
            parts.append((torch.arange(length) + start).expand(3, -1))
            start += length
        elif kind not in spans:
            raise InputError(
                f"{prompt} has a token of type {kind}; use 0 for text, 1 for an image, 2 for a video"
            )
        else:
            where = f"{prompt}, tokens {done} to {done + length - 1} without padding"
            for grid, step in _fill(spans[kind], length, merge, where):
                times = (torch.arange(grid[0]) * step).long().tolist()
                rows, columns = torch.tensor(grid[1:2]), torch.tensor(grid[2:])
                parts.append(get_llm_pos_ids_for_vision(start, 0, merge, times, rows, columns))
                start += max(grid[1:]) // merge
        done += length
    return torch.cat(parts, dim=1)


def _fill(spans: Iterator[_Span], length: int, merge: int, where: str) -> Iterator[_Span]:
    """Yield the next spans until they fill ``length`` tokens."""
    while length:
        span = next(spans, None)
        if span is None:
            raise InputError(f"{where}: {length} of them have no grid; give one grid per image and video")
        frames, rows, columns = span[0]
        tokens = frames * rows * columns // merge**2
        if tokens > length:
            raise InputError(
                f"{where}: only {length} of them are left for the grid {span[0]}, which has {tokens}"
            )
        yield span
        length -= tokens
