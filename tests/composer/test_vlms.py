"""Whole VLMs: from images to what the language model reads, beside transformers' own model."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.vlms import VLMS, save_vlm

from vision_composer.testing.vlm import check_vlm


@pytest.mark.parametrize("name", sorted(VLMS))
def test_a_vlm_reads_what_its_composed_half_makes(name: str, tmp_path: Path) -> None:
    check_vlm(save_vlm(name, tmp_path))
