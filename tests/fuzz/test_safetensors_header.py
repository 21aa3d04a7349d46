"""Safetensors files broken at random: each is read as safetensors reads it, or refused with a WeightsError.

``VISION_COMPOSER_FUZZ`` is the number of examples that are tried; ``make fuzz`` sets a large one. What once
went wrong stands in ``corpus/safetensors``.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save
from support.checkpoints import HOST

from vision_composer.errors import WeightsError
from vision_composer.weights.safetensors_file import read_safetensor, safetensors_headers

CORPUS = sorted((Path(__file__).parent / "corpus/safetensors").iterdir())
FUZZ = settings(
    max_examples=int(os.environ.get("VISION_COMPOSER_FUZZ", "250")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SECONDS = 2.0

SOUND = save(
    {
        "embeddings.patch_embedding.weight": torch.ones(4, 3, 2, 2),
        "encoder.layers.0.bias": torch.arange(4).half(),
        "scale": torch.tensor(1.0),
        "none": torch.zeros(0, 3, dtype=torch.bfloat16),
    },
    metadata={"format": "pt"},
)
ODD = [
    *(None, True, -1, 0, 1, 2, 7, 2**31, 2**63, 2**64, 1.5, 1e400),
    *("", "F32", "F4", "x", "\x00", "\x1b]0;x\x07"),
    *([], {}, [0], [0, 8], [8, 0], [[0]], [2**62, 4], [1] * 20, {"dtype": "F32"}),
]
odd = st.sampled_from(ODD).map(copy.deepcopy)


@st.composite
def bytes_mutants(draw: st.DrawFn) -> bytes:
    """A sound file with bytes changed, cut out or doubled, mostly in its head."""
    data = bytearray(SOUND)
    for _ in range(draw(st.integers(1, 5))):
        where = draw(st.integers(0, 12) | st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        change = draw(st.sampled_from(["overwrite", "cut", "double", "truncate", "append"]))
        if change == "overwrite":
            data[where : where + length] = draw(st.binary(min_size=length, max_size=length))
        elif change == "cut":
            del data[where : where + length]
        elif change == "double":
            data[where:where] = data[where : where + length]
        elif change == "truncate":
            del data[where:]
        else:
            data += draw(st.binary(max_size=9))
    return bytes(data)


@st.composite
def header_mutants(draw: st.DrawFn) -> bytes:
    """A sound file whose header says something else, in JSON that is sound."""
    length = int.from_bytes(SOUND[:8], "little")
    header: dict[str, Any] = json.loads(SOUND[8 : 8 + length])
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(header)))
        entry = header[name]
        change = draw(st.sampled_from(["field", "entry", "copy", "drop", "unknown", "number"]))
        if change == "field" and isinstance(entry, dict) and entry:
            entry[draw(st.sampled_from(sorted(entry)))] = draw(odd)
        elif change == "number" and isinstance(entry, dict):
            numbers = draw(st.sampled_from(["shape", "data_offsets"]))
            entry[numbers] = draw(st.lists(st.integers(-4, 64), max_size=4))
        elif change == "entry":
            header[name] = draw(odd)
        elif change == "copy":
            header[f"{name}.copy"] = dict(entry) if isinstance(entry, dict) else entry
        elif change == "drop" and len(header) > 1:
            del header[name]
        elif isinstance(entry, dict):
            entry["unknown"] = draw(odd)
    content = json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content + SOUND[8 + length :]


def refusal(path: Path) -> WeightsError | None:
    try:
        safetensors_headers(path)
    except WeightsError as error:
        return error
    return None


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        start = time.process_time()
        refused = refusal(path)
        assert time.process_time() - start < SECONDS
        if refused is not None:
            assert str(path) in str(refused)
            assert len(str(refused)) < 500 + len(str(path))
            return
        headers = safetensors_headers(path)
        if not all(hasattr(torch, header.dtype) for header in headers.values()):
            return  # a dtype that torch lacks: named when the tensor is needed
        with safe_open(path, framework="pt") as file:  # the library reads what we read
            assert set(file.keys()) == set(headers)
            for name, header in headers.items():
                ours, theirs = read_safetensor(header, name, HOST), file.get_tensor(name)
                assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
                assert torch.equal(ours.reshape(-1).view(torch.uint8), theirs.reshape(-1).view(torch.uint8))


def test_the_sound_file_is_sound() -> None:
    check(SOUND)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_went_wrong_once(path: Path) -> None:
    check(path.read_bytes())


@FUZZ
@given(bytes_mutants())
def test_broken_bytes(data: bytes) -> None:
    check(data)


@FUZZ
@given(header_mutants())
def test_broken_headers(data: bytes) -> None:
    check(data)
