"""What a rank made of its images, without another rank; ``test_ranks`` has them."""

from __future__ import annotations

import pytest
import torch

from vision_composer.errors import DistributedError, InputError
from vision_composer.parallel.group import Report
from vision_composer.parallel.outputs import OwnRows, check_counts, own_rows

HERE = torch.device("cpu")


@pytest.mark.parametrize("rows", [None, torch.empty(0), torch.empty(0, 8, dtype=torch.float64)], ids=str)
def test_a_rank_without_images_has_no_rows_like_those_of_the_others(rows: torch.Tensor | None) -> None:
    reports = [Report(), Report(count=2, dtype="bfloat16", shape=(3, 8))]
    got = own_rows(OwnRows(rows, []), reports, HERE)
    assert (got.shape, got.dtype) == ((0, 3, 8), torch.bfloat16)


def test_features_that_do_not_fit_together() -> None:
    for other in (Report(dtype="float16", shape=(8,)), Report(dtype="float32", shape=(9,))):
        with pytest.raises(DistributedError, match=r"do not fit together: rank 0: float32 .*; rank 1: "):
            own_rows(OwnRows(None, []), [Report(dtype="float32", shape=(8,)), other], HERE)
    with pytest.raises(DistributedError, match="there are none"):
        own_rows(OwnRows(None, []), [Report()], HERE)


@pytest.mark.parametrize("count", [3, 5])
def test_other_rows_than_planned(count: int) -> None:
    check_counts([4, 4], [7, 9], [4, 4])
    with pytest.raises(InputError, match=f"image 9 gave {count} rows, where 4 were planned"):
        check_counts([4, count], [7, 9], [4, 4])
