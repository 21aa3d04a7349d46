"""Position ids that a language model of the Qwen-VL line gives to text and to vision tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoders.facts import Grid

    _Span = tuple[Grid, Any]
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
    """The mrope position ids of whole prompts, as transformers' ``get_rope_index`` of the model gives them.

    Text counts on by one on all three axes. An image or clip gets temporal, row and column ids from the
    position it begins at, and the text behind it goes on after the larger of its merged rows and columns.

    The prompt is given as ``mm_token_type_ids``, which the processor returns beside ``input_ids``, because
    token ids alone do not tell: GLM-4V marks images and frames with the same one. Where they do, it is
    ``(input_ids == image_token_id) + 2 * (input_ids == video_token_id)``.

    Args:
        mm_token_type_ids: (batch, length) integers: 0 text, 1 a merged token of an image, 2 one of a video.
        spatial_merge_size: Patches merged into one token, per side.
        image_grid_thw: (images, 3) frames, rows and columns of patches, in the order of the prompts.
        video_grid_thw: (videos, 3), likewise.
        attention_mask: (batch, length), 0 at padding, which may be on either side; None without padding.
        frames_apart: Each frame of a clip is a span of its own, behind the text of its timestamp: Qwen3-VL,
            Qwen3.5 and GLM-4V. Otherwise a clip's frames stand together: Qwen2-VL and Qwen2.5-VL.
        tokens_per_second: Temporal ids per second, ``vision_config.tokens_per_second`` of Qwen2.5-VL. None:
            one per frame, as in Qwen2-VL.
        second_per_grid_ts: Seconds from one frame of the grid to the next, for each video; used with
            ``tokens_per_second``. None: 1 second. Before 5.24, transformers cuts these to whole seconds.

    Returns:
        position_ids (3, batch, length) int64: temporal, row and column ids, 0 at padding; and rope_deltas
        (batch, 1) int64: what must be added to the number of tokens so far to get the next position.

    Raises:
        InputError: Arguments of another shape or type, spans and grids that do not fit together, or a rule
            for time that the model cannot have.
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
            raise InputError(f"{unused} {what} are left over: the prompts have no tokens for them")
    return position_ids.to(mm_token_type_ids.device), rope_deltas.to(mm_token_type_ids.device)


def get_llm_pos_ids_for_vision(
    start_idx: int,
    vision_idx: int,
    spatial_merge_size: int,
    t_index: Sequence[int],
    grid_hs: Tensor,
    grid_ws: Tensor,
) -> Tensor:
    """The mrope position ids of one image's or video's merged tokens, as the Qwen-VL line counts them.

    Args:
        start_idx: Added to every id: the first position behind the text in front.
        vision_idx: Which image or video of the batch.
        spatial_merge_size: Patches merged into one token, per side.
        t_index: The temporal id of each frame.
        grid_hs: Patch rows of each image or video, (n,).
        grid_ws: Patch columns of each image or video, (n,).

    Returns:
        (3, frames x rows x columns) int64: temporal, row and column ids, frame by frame in raster order.

    Raises:
        InputError: ``vision_idx`` outside the grids, or a merge size below 1.
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
    """The tokens' kinds, and which of them are no padding, both (batch, length), on the CPU."""
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
            f"attention_mask is {tuple(attention_mask.shape)}, and mm_token_type_ids {tuple(types.shape)}"
        )
    return types, attention_mask.bool().cpu()


def _grids(name: str, grid_thw: Tensor | None, spatial_merge_size: int) -> list[Grid]:
    """The grids as numbers."""
    from ..encoders.inputs import rows_of_integers

    if spatial_merge_size < 1:
        raise InputError(f"spatial_merge_size is {spatial_merge_size}; it must be at least 1")
    if grid_thw is None:
        return []
    grids = rows_of_integers(name, grid_thw, 3, "frames, rows and columns")
    for i, (frames, rows, columns) in enumerate(grids):
        if min(frames, rows, columns) < 1:
            raise InputError(f"{name}[{i}] is {frames, rows, columns}: nothing is in it")
        if rows % spatial_merge_size or columns % spatial_merge_size:
            raise InputError(
                f"{name}[{i}] is {frames, rows, columns}: rows and columns must be multiples of "
                f"{spatial_merge_size}, which are merged"
            )
    return [(t, h, w) for t, h, w in grids]


def _frame_steps(
    num_videos: int, frames_apart: bool, tokens_per_second: float | None, second_per_grid_ts: Any
) -> list[Any]:
    """How far apart the frames of each video are, in temporal ids."""
    if tokens_per_second is None:
        if second_per_grid_ts is not None:
            raise InputError("second_per_grid_ts needs tokens_per_second, which turns seconds into ids")
        return [1] * num_videos
    if frames_apart:
        raise InputError(
            "tokens_per_second spaces the frames inside a span; with frames_apart each span has one frame"
        )
    seconds = [1] * num_videos if second_per_grid_ts is None else list(second_per_grid_ts)
    if len(seconds) != num_videos:
        raise InputError(f"second_per_grid_ts has {len(seconds)} values for {num_videos} videos")
    # The product keeps the values' own dtype, for the ids are rounded down and depend on the last bit.
    return [tokens_per_second * value for value in seconds]


def _positions(types: Tensor, spans: Mapping[int, Iterator[_Span]], merge: int, prompt: str) -> Tensor:
    """The ids of one prompt without padding, (3, length); takes its spans from the iterators."""
    import torch

    kinds, lengths = torch.unique_consecutive(types, return_counts=True)
    parts, start, done = [torch.empty(3, 0, dtype=torch.int64)], 0, 0
    for kind, length in zip(kinds.tolist(), lengths.tolist(), strict=True):
        if kind == _TEXT:
            parts.append((torch.arange(length) + start).expand(3, -1))
            start += length
        elif kind not in spans:
            raise InputError(f"{prompt} has a token of type {kind}; 0 is text, 1 an image, 2 a video")
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
    """The next spans, as many as stand side by side in ``length`` tokens."""
    while length:
        span = next(spans, None)
        if span is None:
            raise InputError(f"{where}: {length} of them have no grid; too few grids are given")
        frames, rows, columns = span[0]
        tokens = frames * rows * columns // merge**2
        if tokens > length:
            raise InputError(f"{where}: {length} of them are left for the grid {span[0]}, which has {tokens}")
        yield span
        length -= tokens
