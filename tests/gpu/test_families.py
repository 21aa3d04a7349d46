"""Every family on a GPU: ``pytest -m gpu`` on a machine that has one."""

from __future__ import annotations

import pytest
import torch

from vision_composer.encoders import FAMILIES
from vision_composer.testing import check_encoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device on this machine"),
]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_passes_on_the_gpu(model_type: str) -> None:
    check_encoder(model_type, device="cuda")
