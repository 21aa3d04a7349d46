"""Weights in several files, and what these may say of each other."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file
from support import tiny
from support.checkpoints import ENCODER, POSITIONS, features, load, rewrite

from vision_composer.errors import WeightsError
from vision_composer.weights.source import open_checkpoint


def test_single_file_sharded_index_and_loose_shards_are_the_same(folder: Path, tmp_path: Path) -> None:
    want = features(load(folder))
    assert torch.equal(features(load(folder / "model.safetensors")), want)
    model = tiny.reference(ENCODER)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert (tmp_path / "sharded/model.safetensors.index.json").is_file()
    assert torch.equal(features(load(tmp_path / "sharded")), want)
    (tmp_path / "sharded/model.safetensors.index.json").unlink()
    assert torch.equal(features(load(tmp_path / "sharded")), want)


def test_shards_without_a_needed_tensor_are_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    model = tiny.reference(ENCODER)
    model.save_pretrained(folder, max_shard_size="1KB")
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    unused = {file for name, file in weight_map.items() if "layers.3" in name or "post_layernorm" in name}
    unused -= {
        file for name, file in weight_map.items() if not ("layers.3" in name or "post_layernorm" in name)
    }
    assert unused
    for file in unused:
        (folder / file).unlink()
    load(folder)
    with pytest.raises(WeightsError, match="is missing, though the index names it"):
        load(folder, select_layers=[-1])


def test_an_index_that_lies_is_refused(tmp_path: Path) -> None:
    model = tiny.reference(ENCODER)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    files = sorted(set(content["weight_map"].values()))
    other = next(file for file in files if file != content["weight_map"][POSITIONS])
    content["weight_map"][POSITIONS] = other
    index.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=rf"{other}: has no tensor {POSITIONS}"):
        load(tmp_path)


def test_a_single_file_goes_before_an_index(folder: Path, tmp_path: Path) -> None:
    """As in transformers: an index may be left from weights that were there before."""
    want = features(load(folder))
    torch.manual_seed(1)
    other = type(tiny.reference(ENCODER))(tiny.reference(ENCODER).config)
    other.save_pretrained(tmp_path / "old", max_shard_size="20KB")
    for file in (tmp_path / "old").glob("*.safetensors*"):
        file.rename(folder / file.name)
    assert torch.equal(features(load(folder)), want)
    rewrite(folder, lambda tensors: {name: t for name, t in tensors.items() if name != POSITIONS})
    with pytest.raises(WeightsError, match=rf"{POSITIONS} is missing; .*index\.json was not read"):
        load(folder)
    rewrite(folder, lambda tensors: {"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"it has 'a'.*index\.json was not read"):
        load(folder)


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


def test_the_revision_that_is_asked_for_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    asked = []

    def download(repo: str, name: str, *, revision: str | None = None, local_files_only: bool = False) -> str:
        asked.append((repo, revision))
        if name.endswith(".index.json"):
            raise EntryNotFoundError(name)
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert set(open_checkpoint("someone/clip", "abc").files) == {"a"}
    assert set(asked) == {("someone/clip", "abc")}
