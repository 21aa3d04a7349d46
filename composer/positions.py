"""Position ids that a language model gives to vision tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


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
