"""GGUF files come back as they were written, or an error says what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from vision_composer.errors import ExportError, MissingDependencyError
from vision_composer.export.gguf_file import check, read, write

KEYS: dict[str, Any] = {
    "a.string": "two\nlines",
    "a.bool": True,
    "a.count": 2**32 - 1,
    "a.float": 0.25,
    "a.layers": [3, 5],
    "a.mean": [0.5, 0.25, -1.0],
}
TENSORS = {
    "v.single": torch.tensor([1.5, -2.0, 3e38]),
    "v.half.weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).half(),
    "v.brain.weight": torch.randn(2, 6, generator=torch.Generator().manual_seed(1)).bfloat16(),
    "v.kernel.weight": torch.arange(120.0).reshape(5, 2, 3, 4),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.gguf"
    write(path, KEYS, TENSORS)
    return path


def test_what_is_written_is_read(file: Path) -> None:
    keys, tensors = read(file)
    assert keys == KEYS | {"general.architecture": "clip"}
    assert {type(keys[key]) for key in ("a.bool", "a.count", "a.float")} == {bool, int, float}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    check(file, KEYS, TENSORS)


def test_types_are_those_that_llama_cpp_reads(file: Path) -> None:
    fields = gguf.GGUFReader(file).fields
    kinds = {key: [each.name for each in fields[key].types] for key in KEYS}
    assert kinds == {
        "a.string": ["STRING"],
        "a.bool": ["BOOL"],
        "a.count": ["UINT32"],
        "a.float": ["FLOAT32"],
        "a.layers": ["ARRAY", "INT32"],
        "a.mean": ["ARRAY", "FLOAT32"],
    }


def test_another_file_than_was_meant_is_named(file: Path) -> None:
    other = TENSORS["v.half.weight"].clone()
    other[2, 3] += 0.001
    for keys, tensors, message in (
        (KEYS | {"a.count": 7}, TENSORS, "a.count was written as 4294967295, and is 7"),
        (KEYS | {"b.more": 1}, TENSORS, "has not the keys of the encoder: b.more"),
        (KEYS, TENSORS | {"v.more": other}, "has not the tensors of the encoder: v.more"),
        (KEYS, {"v.single": TENSORS["v.single"]}, "v.brain.weight, v.half.weight, v.kernel.weight"),
        (KEYS, TENSORS | {"v.half.weight": other}, r"the tensor v\.half\.weight that was written is not"),
        (KEYS, TENSORS | {"v.half.weight": TENSORS["v.half.weight"].float()}, r"v\.half\.weight that was"),
        (KEYS, TENSORS | {"v.kernel.weight": TENSORS["v.kernel.weight"].mT}, r"v\.kernel\.weight that was"),
    ):
        with pytest.raises(ExportError, match=message):
            check(file, keys, tensors)


def test_a_file_that_is_cut_off_is_named(file: Path) -> None:
    whole = file.read_bytes()
    for length in (0, 3, 20, 100, len(whole) // 2, len(whole) - 480):
        file.write_bytes(whole[:length])
        with pytest.raises(
            ExportError, match=r"some\.gguf: this is no GGUF file, or it is cut off or damaged"
        ):
            read(file)


def test_a_damaged_file_is_named(file: Path) -> None:
    whole = file.read_bytes()
    for place, byte in ((0, b"X"), (4, b"\x09"), (24, b"\xff"), (whole.index(b"v.half"), b"\xff")):
        file.write_bytes(whole[:place] + byte + whole[place + 1 :])
        with pytest.raises(
            ExportError, match=r"some\.gguf: this is no GGUF file, or it is cut off or damaged"
        ):
            read(file)
    weight = whole.index(TENSORS["v.half.weight"].numpy().tobytes())
    file.write_bytes(whole[:weight] + bytes([whole[weight] ^ 1]) + whole[weight + 1 :])
    with pytest.raises(ExportError, match=r"the tensor v\.half\.weight"):
        check(file, KEYS, TENSORS)


def test_other_types_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"none\.gguf: no such file"):
        read(tmp_path / "none.gguf")
    writer = gguf.GGUFWriter(tmp_path / "int.gguf", "clip")
    writer.add_tensor("v.int", np.zeros(4, np.int8))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ExportError, match=r"int\.gguf: v\.int is of the type I8, which is not read here"):
        read(tmp_path / "int.gguf")


def test_the_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[gguf\]'"):
        read(file)
