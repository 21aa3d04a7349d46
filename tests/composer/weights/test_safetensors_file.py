"""Safetensors files are read as safetensors reads them, and what it refuses is refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import HOST

from vision_composer.errors import WeightsError
from vision_composer.weights.safetensors_file import read_safetensor, safetensors_headers

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.complex64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.bool,
]  # fmt: skip


def file_of(path: Path, header: Any, data: bytes = b"") -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


def entry(start: int = 0, end: int = 8, **more: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(end - start) // 4], "data_offsets": [start, end], **more}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        str(shape): torch.randint(0, 2, shape).to(dtype)
        for shape in [(), (0,), (1,), (3,), (2, 3), (1, 2, 3, 4), (3, 0)]
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    headers = safetensors_headers(tmp_path / "x.safetensors")
    want = load_file(tmp_path / "x.safetensors")
    assert headers.keys() == want.keys()
    for name, header in headers.items():
        got = read_safetensor(header, name, HOST)
        assert (got.dtype, got.shape, header.shape) == (dtype, want[name].shape, want[name].shape)
        assert torch.equal(got.to(torch.complex128), want[name].to(torch.complex128))


def test_a_tensor_is_made_on_the_cpu_whatever_the_default_device(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    header = safetensors_headers(tmp_path / "x.safetensors")["a"]
    with torch.device("meta"):
        assert read_safetensor(header, "a", HOST).device.type == "cpu"


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (b'{"a": {}, "a": {}}', b"", "the key 'a' is there twice"),
        (b'{"a": {"dtype": "F32", "dtype": "F32"}}', b"", "the key 'dtype' is there twice"),
        (b"[]", b"", "expected a JSON object"),
        (b"{", b"", "its header: "),
        (b'"\xff"', b"", "not UTF-8"),
        ({"a": 5}, b"", "tensor a: "),
        ({"a": {"dtype": "F32", "shape": [1]}}, b"", "tensor a: data_offsets: Field required"),
        ({"a": entry(dtype=["F32"])}, b"", "tensor a: dtype: "),
        ({"a": entry(shape=[-2])}, b"", r"tensor a: shape\.0: "),
        ({"a": entry(shape=[2.0])}, b"", r"tensor a: shape\.0: "),
        ({"a": entry(shape=[True, 2])}, b"", r"tensor a: shape\.0: "),
        ({"a": entry(shape=[2**64])}, b"", r"tensor a: shape\.0: "),
        ({"a": entry(shape=[1] * 17)}, b"", "tensor a: shape: "),
        ({"a": entry(data_offsets=[0])}, b"", "tensor a: data_offsets: "),
        ({"a": entry(more=1)}, b"", "tensor a: more: "),
        ({"__metadata__": {"format": None}}, b"", "its __metadata__: Input should be a valid string"),
        ({"__metadata__": []}, b"", "its __metadata__: Input should be a valid dictionary"),
        ({"a": entry(shape=[3])}, b"x" * 8, r"tensor a of F32 and shape \(3,\) cannot have 8 bytes"),
        ({"a": entry(shape=[2**62, 2**62])}, b"x" * 8, "cannot have 8 bytes"),
        ({"a": entry(8, 0, shape=[0])}, b"", "cannot have -8 bytes"),
        ({"a": entry(4, 12)}, b"x" * 12, "tensor a does not begin where the one before it ends"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, b"x" * 12, "tensor b does not begin"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, b"x" * 8, "tensor b does not begin"),
        ({"a": entry()}, b"x" * 7, "not a complete safetensors file: it has .* bytes of"),
        ({"a": entry()}, b"x" * 9, "1 bytes follow the last tensor"),
        ({}, b"x" * 9, "9 bytes follow the last tensor"),
        (b"{" + b" " * 10 + b"," * 600_000, b"", "more than 250,000 values"),
    ],
)
def test_broken_headers_are_refused(tmp_path: Path, header: Any, data: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as raised:
        safetensors_headers(file_of(tmp_path / "x.safetensors", header, data))
    assert "x.safetensors: " in str(raised.value)


@pytest.mark.parametrize("keep", [0, 7, 40, 5000])
def test_files_that_end_too_early_are_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(2000)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"x\.safetensors: not a complete safetensors file"):
        safetensors_headers(path)


def test_a_header_larger_than_the_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match="its header would have 4,611,686,018,427,387,904 bytes"):
        safetensors_headers(path)


def test_an_unknown_dtype_is_named_by_the_file(tmp_path: Path) -> None:
    path = file_of(tmp_path / "x.safetensors", {"a": entry(dtype="F4", shape=[16])}, b"x" * 8)
    assert safetensors_headers(path)["a"].dtype == "F4"


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    """A mapped file would end the process here."""
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(1 << 20)}, path)
    header = safetensors_headers(path)["a"]
    os.truncate(path, 1 << 10)
    with pytest.raises(WeightsError, match="the file ends within tensor a"):
        read_safetensor(header, "a", HOST)
    path.unlink()
    with pytest.raises(WeightsError, match=r"tensor a cannot be read: no such file$"):
        read_safetensor(header, "a", HOST)
