"""Where a checkpoint's processor config lies: the hub's cache as huggingface_hub finds it, and folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache
from support import tiny
from support.processors import written

from vision_composer import plan
from vision_composer.images.hub_cache import folder_at_hand

CLIP = tiny.ENCODERS["clip_vision_model"]


def test_the_hubs_cache_is_read_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--someone--clip"
    commit = "0123456789012345678901234567890123456789"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert folder_at_hand("someone/clip") is None
    written(snapshot, {"size": 40, "crop_size": 32})
    theirs = try_to_load_from_cache("someone/clip", "preprocessor_config.json", cache_dir=tmp_path)
    assert folder_at_hand("someone/clip") == Path(str(theirs)).parent == snapshot
    assert folder_at_hand("someone/clip", commit) == snapshot
    written(tmp_path / "elsewhere", {})
    outside = ["../../elsewhere", str(tmp_path / "elsewhere")]
    nowhere = [("someone/clip", revision) for revision in ("v2", *outside)] + [("some/one/clip", None)]
    for source, revision in [*nowhere, (None, None)]:
        assert folder_at_hand(source, revision) is None
    made = plan({"schema": 1, "encoder": CLIP, "weights": {"source": "someone/clip"}}).processor
    assert (made.values["size"], made.origin["size"]) == ({"shortest_edge": 40}, "preprocessor_config.json")


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_where_the_cache_lies(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}.get(variable, "")
    folder = written(tmp_path / below / "models--a" / "snapshots" / "main", {})
    assert folder_at_hand("a") == folder


def test_a_folder_and_a_file_in_it_are_at_hand(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    assert folder_at_hand(str(tmp_path)) == folder_at_hand(str(file)) == tmp_path
    assert folder_at_hand(str(tmp_path / ("x" * 300))) is None  # too long for a name
