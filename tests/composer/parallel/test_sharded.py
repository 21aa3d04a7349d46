"""The seed's data-parallel functions in one process; ``test_ranks`` runs them on several."""

from __future__ import annotations

import pytest
import torch
from support import rank_modules
from support.compare import assert_close

from vision_composer import run_dp_sharded_mrope_vision_model, run_dp_sharded_vision_model
from vision_composer.errors import InputError


def test_one_process() -> None:
    rank_modules.dense()
    batch = torch.randn(2, 3, 4, 4)
    module = rank_modules.Dense()
    assert torch.equal(run_dp_sharded_vision_model(batch, module), module(batch))
    grids = rank_modules.GRIDS[3]
    patches = torch.randn(sum(t * h * w for t, h, w in grids), 3)
    for rule in ("ceil", "time"):
        want = rank_modules.Packed(rule, "list")(patches, grids)
        got = run_dp_sharded_mrope_vision_model(
            rank_modules.Packed(rule), patches, grids, rope_type="rope_2d"
        )
        assert [len(image) for image in got] == [len(image) for image in want]
        assert_close(got, want)


def test_what_does_not_fit() -> None:
    module, patches = rank_modules.Packed(), torch.zeros(5, 3)
    with pytest.raises(InputError, match="stands for 4 patches, and pixel_values has 5"):
        run_dp_sharded_mrope_vision_model(module, patches, [[1, 2, 2]], rope_type="rope_3d")
    with pytest.raises(InputError, match="must be rope_2d or rope_3d"):
        run_dp_sharded_mrope_vision_model(module, patches, [[1, 1, 5]], rope_type="rope")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"images \[0, 1\], where rows_of says \[1, 1\]"):
        run_dp_sharded_mrope_vision_model(
            module, patches, [[1, 1, 2], [1, 1, 3]], rope_type="rope_3d", rows_of=lambda grid: 1
        )
    with pytest.raises(InputError, match="of 2 images; expected"):
        run_dp_sharded_vision_model(torch.zeros(2, 3, 4, 4), torch.nn.Flatten(0))
    with pytest.raises(InputError, match="distributed is not initialised"):
        run_dp_sharded_vision_model(patches, module, process_group=object())  # type: ignore[arg-type]
