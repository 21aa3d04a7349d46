"""Vision position ids against transformers' own get_rope_index."""

from __future__ import annotations

import pytest
import torch

from vision_composer import get_llm_pos_ids_for_vision
from vision_composer.errors import InputError


@pytest.mark.parametrize("grid", [(1, 4, 6), (1, 2, 2), (3, 8, 2)], ids=str)
def test_equals_what_qwen2_vl_gives_one_image(grid: tuple[int, int, int]) -> None:
    from transformers import Qwen2VLConfig, Qwen2VLModel

    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 32,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
    }
    vision = {"embed_dim": 16, "hidden_size": 16, "num_heads": 2, "depth": 1}
    ids = {"image_token_id": 9, "video_token_id": 10, "vision_start_token_id": 8, "vision_end_token_id": 7}
    model = Qwen2VLModel(Qwen2VLConfig(text_config=text, vision_config=vision, **ids))
    frames, rows, columns = grid
    merged = frames * rows * columns // 4
    is_video = frames > 1
    token = ids["video_token_id"] if is_video else ids["image_token_id"]
    prompt = torch.tensor([[1, 2, 8, *[token] * merged, 7, 3]])
    grids = torch.tensor([grid])
    position_ids, _ = model.get_rope_index(
        prompt,
        mm_token_type_ids=torch.where(prompt == token, 2 if is_video else 1, 0),
        image_grid_thw=None if is_video else grids,
        video_grid_thw=grids if is_video else None,
    )
    got = get_llm_pos_ids_for_vision(3, 0, 2, list(range(frames)), grids[:, 1], grids[:, 2])
    assert torch.equal(got, position_ids[:, 0, 3 : 3 + merged])
    assert got.dtype == torch.int64


def test_the_second_image_of_a_batch() -> None:
    rows, columns = torch.tensor([2, 4]), torch.tensor([2, 6])
    got = get_llm_pos_ids_for_vision(10, 1, 2, [5], rows, columns)
    assert got.tolist() == [[15] * 6, [10, 10, 10, 11, 11, 11], [10, 11, 12, 10, 11, 12]]


def test_bad_arguments() -> None:
    grid = torch.tensor([2])
    with pytest.raises(InputError, match="outside the 1 grids"):
        get_llm_pos_ids_for_vision(0, 1, 2, [0], grid, grid)
    with pytest.raises(InputError, match="at least 1"):
        get_llm_pos_ids_for_vision(0, 0, 0, [0], grid, grid)
