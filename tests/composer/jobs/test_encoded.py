"""What is stored of an image: a name that is text, and numbers that come back."""

from __future__ import annotations

import os

import numpy as np
import torch

from vision_composer.jobs.encoded import as_float32, storable


def test_names_of_any_bytes_are_text() -> None:
    assert storable("a b/日本 🐈\n.png") == "a b/日本 🐈\n.png"
    assert storable(os.fsdecode(b"caf\xe9.png")) == "caf\\udce9.png"


def test_every_bfloat16_number_comes_back() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    wanted = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float().numpy()
    found = as_float32(bits)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)
    assert np.signbit(found[0x8000])  # -0.0 equals 0.0
