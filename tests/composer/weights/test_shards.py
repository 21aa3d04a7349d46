"""What files of a checkpoint may say of each other."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file
from support import tiny

from vision_composer import compose
from vision_composer.errors import WeightsError
from vision_composer.weights.pickled import pickled_headers, read_pickled
from vision_composer.weights.source import open_checkpoint


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    """Neither upwards nor by an absolute path, even to a file of good tensors."""
    folder = tmp_path / "tower"
    folder.mkdir()
    for file in (tmp_path / "other.safetensors", folder / "shard.safetensors"):
        save_file({"a": torch.zeros(1)}, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "shard.safetensors"}}))
    assert open_checkpoint(str(folder)).headers(["a"])["a"].shape == (1,)
    for name in ("../other.safetensors", str(tmp_path / "other.safetensors"), "x/shard.safetensors"):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(WeightsError, match="same folder"):
            open_checkpoint(str(folder)).headers(["a"])


def test_an_index_names_so_many_files_at_most(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    for count, refused in (
        (10_000, nullcontext()),
        (10_001, pytest.raises(WeightsError, match="10,001 files")),
    ):
        index.write_text(json.dumps({"weight_map": {f"{i}": f"{i}.safetensors" for i in range(count)}}))
        with refused:
            assert len(open_checkpoint(str(tmp_path)).files) == count


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "1.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "2.safetensors")
    with pytest.raises(WeightsError, match=r"tensor b is in both 1\.safetensors and 2\.safetensors"):
        open_checkpoint(str(tmp_path))


def test_a_pickle_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    for values in ([1.0], [2.0, 3.0]):
        torch.save({"a": torch.tensor(values)}, path)
        os.utime(path, ns=(len(values), len(values)))
        assert pickled_headers(path)["a"].shape == (len(values),)
        assert read_pickled(pickled_headers(path)["a"], "a").tolist() == values


def test_the_revision_that_is_asked_for_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    asked = []

    def download(repo: str, name: str, *, revision: str | None = None) -> str:
        asked.append((repo, revision))
        if name.endswith(".index.json"):
            raise EntryNotFoundError(name)
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert set(open_checkpoint("someone/clip", "abc").files) == {"a"}
    assert set(asked) == {("someone/clip", "abc")}


def test_more_blocks_than_the_config_says_are_refused(tmp_path: Path) -> None:
    """Negative select_layers would count from another depth than the model's."""
    encoder = tiny.ENCODERS["clip_vision_model"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    (folder / "config.json").unlink()
    shallow = encoder | {"num_hidden_layers": encoder["num_hidden_layers"] - 1}
    config = {"schema": 1, "encoder": shallow, "weights": {"source": str(folder)}, "select_layers": [-2]}
    with pytest.raises(WeightsError, match=r"holds 4 blocks, but encoder\.num_hidden_layers is 3"):
        compose(config)
