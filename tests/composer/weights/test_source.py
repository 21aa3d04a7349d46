"""Where a checkpoint is: hub ids, against a local cache laid out as the hub's client lays it out, and paths.

Nothing goes over a network.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from support import tiny
from support.checkpoints import load

from vision_composer import compose
from vision_composer.errors import WeightsError
from vision_composer.weights import open_checkpoint

ENCODER = tiny.ENCODERS["siglip_vision_model"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache; the client is offline."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


def publish(hub: Path, repo: str, **save: Any) -> Path:
    """Put a tiny SigLIP into the cache as ``repo`` at its main branch."""
    root = hub / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    tiny.reference(ENCODER).save_pretrained(snapshot, **save)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(COMMIT)
    return snapshot


@pytest.mark.parametrize("save", [{}, {"max_shard_size": "20KB"}], ids=["single", "sharded"])
@pytest.mark.parametrize("revision", [None, "unpinned", "main", COMMIT])
def test_a_hub_id_is_read_from_the_cache(hub: Path, save: dict[str, Any], revision: str | None) -> None:
    publish(hub, "someone/siglip", **save)
    weights = {"source": "someone/siglip"} | ({"revision": revision} if revision else {})
    tower = compose({"schema": 1, "encoder": ENCODER, "weights": weights, "select_layers": [2]})
    pixel_values = tiny.pixels(ENCODER)
    with torch.no_grad():
        assert torch.equal(
            tower(pixel_values=pixel_values), tiny.hidden_states(tiny.reference(ENCODER), pixel_values)[2]
        )


def test_the_processor_of_the_repository_is_used(hub: Path) -> None:
    from transformers import SiglipImageProcessorPil

    snapshot = publish(hub, "someone/siglip")
    SiglipImageProcessorPil(size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3]).save_pretrained(
        snapshot
    )
    tower = compose({"schema": 1, "encoder": ENCODER, "weights": {"source": "someone/siglip"}})
    assert list(tower.preprocessor.processor.image_mean) == [0.1, 0.2, 0.3]


def test_a_single_file_of_the_repository_goes_before_an_index(hub: Path) -> None:
    snapshot = publish(hub, "someone/siglip")
    (snapshot / "model.safetensors.index.json").write_text('{"weight_map": {"a": "old.safetensors"}}')
    checkpoint = open_checkpoint("someone/siglip")
    assert set(checkpoint.files.values()) == {"model.safetensors"}
    assert "model.safetensors.index.json was not read" in checkpoint.unread_index


def test_open_clips_file_is_read_where_there_is_no_other(hub: Path) -> None:
    snapshot = publish(hub, "someone/siglip")
    (snapshot / "model.safetensors").rename(snapshot / "open_clip_model.safetensors")
    checkpoint = open_checkpoint("someone/siglip")
    assert set(checkpoint.files.values()) == {"open_clip_model.safetensors"}
    assert checkpoint.unread_index == ""


def test_what_is_not_there_is_said(hub: Path) -> None:
    with pytest.raises(WeightsError, match=r"no/where: model\.safetensors is not in the local cache"):
        open_checkpoint("no/where")
    with pytest.raises(WeightsError, match="neither a file, a folder, nor a hub id"):
        open_checkpoint("not a hub id!")
    with pytest.raises(WeightsError, match="~nosuch/x: no such file or folder"):
        open_checkpoint("~nosuch/x")
    snapshot = publish(hub, "someone/siglip", max_shard_size="20KB")
    shard = next(snapshot.glob("model-00001*.safetensors"))
    shard.unlink()
    with pytest.raises(WeightsError, match=rf"{shard.name} is not in the local cache"):
        compose({"schema": 1, "encoder": ENCODER, "weights": {"source": "someone/siglip"}})


def test_a_hub_that_cannot_be_reached_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def download(repo: str, name: str, *, revision: str | None, local_files_only: bool) -> str:
        if not local_files_only:
            waited.append(name)
        raise LocalEntryNotFoundError("cannot find the file, and there is no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(
        WeightsError, match=r"org/model: model\.safetensors is not in the local cache and the hub"
    ):
        open_checkpoint("org/model")
    assert waited == ["model.safetensors"]


def test_a_folder_of_that_name_goes_before_the_hub(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = publish(hub, "someone/siglip")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(snapshot, tmp_path / "local/siglip", symlinks=False)
    assert set(open_checkpoint("local/siglip").files) == set(open_checkpoint("someone/siglip").files)


def test_folders_without_weights_and_missing_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no \.safetensors file in this folder"):
        load(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"but pytorch_model\.bin: .* set weights\.format: pickle"):
        load(tmp_path)
    with pytest.raises(WeightsError, match=r"not a safetensors file; .* set weights\.format: pickle"):
        load(tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="no such file or folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "file_format"), [("x.safetensors", "safetensors"), ("x.bin", "pickle")])
def test_a_pipe_is_no_source(tmp_path: Path, name: str, file_format: str) -> None:
    os.mkfifo(tmp_path / name)
    for source in (tmp_path, tmp_path / name):
        with pytest.raises(WeightsError, match="a named pipe, not a regular file"):
            load(source, weights={"format": file_format})


def test_a_source_of_too_long_a_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither a path nor a hub id"):
        load("a" * 5_000)
