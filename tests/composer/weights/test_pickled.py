"""Pickles are read as state dicts of plain tensors, and nothing else in them gets through."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.checkpoints import POSITIONS, features, load

from vision_composer.errors import WeightsError
from vision_composer.weights.pickled import _unpickle, forget, pickled_headers, read_pickled


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_read_when_asked_for(folder: Path, tmp_path: Path, zipped: bool) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, pickled / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    want = features(load(folder))
    assert torch.equal(features(load(pickled, weights={"format": "pickle"})), want)
    assert torch.equal(features(load(pickled / "pytorch_model.bin", weights={"format": "pickle"})), want)
    with pytest.raises(WeightsError, match=r"no \.bin file"):
        load(folder, weights={"format": "pickle"})


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its interface is a prototype
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "not list"),
        (torch.ones(2), "not Tensor"),
        ({5: torch.ones(2)}, "the key '5' is no name, but of type int"),
        ({"a": {"b": torch.ones(2)}}, "a is no tensor, but of type dict"),
        ({"a": None}, "a is no tensor, but of type NoneType"),
        ({"a": torch.ones(2).to_sparse()}, "tensor a is sparse_coo, not one of plain numbers"),
        ({"a": torch.ones(2, device="meta")}, "tensor a is meta, not one of plain numbers"),
        ({"a": torch.ones(1).expand(10**12)}, r"tensor a of shape \(1000000000000,\) repeats"),
    ],
)
def test_what_is_no_state_dict_of_plain_tensors(tmp_path: Path, content: Any, message: str) -> None:
    path = saved(tmp_path / "x.bin", content)
    with pytest.raises(WeightsError, match=rf"x\.bin: .*{message}"):
        pickled_headers(path)


def test_nested_tensors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"x\.bin: "):
        pickled_headers(saved(tmp_path / "x.bin", {"a": nested()}))


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    """It could unpack to a thousand times its size."""
    path = saved(tmp_path / "x.bin", {"a": torch.zeros(1 << 16)})
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "y.bin", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match=r"y\.bin: .*a compressed archive"):
        pickled_headers(tmp_path / "y.bin")


def test_a_pickle_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"a": torch.ones(2)})
    assert pickled_headers(path)["a"].shape == (2,)
    saved(path, {"a": torch.ones(3)})
    os.utime(path, ns=(1, 1))
    header = pickled_headers(path)["a"]
    assert header.shape == (3,)
    saved(path, {"b": torch.ones(3)})
    with pytest.raises(WeightsError, match="tensor a is no longer there"):
        read_pickled(header, "a")
    forget()


def test_what_was_read_does_not_change_with_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"a": torch.ones(2)})
    read = read_pickled(pickled_headers(path)["a"], "a")
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert read.tolist() == [1, 1]
    forget()


def test_a_pickle_is_let_go_of_when_it_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    torch.save({name: t for name, t in tensors.items() if name != POSITIONS}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="is missing"):
        load(folder, weights={"format": "pickle"})
    assert not _unpickle.cache_info().currsize
