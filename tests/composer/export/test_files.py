"""Files that are no exported encoders, or broken ones, end in one sentence."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import pytest
import torch

from vision_composer.errors import ExportError
from vision_composer.export.files import FORMAT, METADATA, add_to_archive
from vision_composer.export.runtime import load


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of torch that is none of ours."""
    path = tmp_path_factory.mktemp("foreign") / "foreign.pt2"
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ExportError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_foreign_files(foreign: Path, tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "missing.pt2")
    assert "no such file" in refused(tmp_path)
    assert "no exported encoder" in refused(foreign)
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt2")
    assert "no exported encoder" in refused(tmp_path / "weights.pt2")
    for content in (b"", b"\x08", b"GIF89a", bytes(100)):
        (tmp_path / "other.pt2").write_bytes(content)
        assert "no exported encoder" in refused(tmp_path / "other.pt2")


def test_a_file_of_another_version(foreign: Path, tmp_path: Path) -> None:
    path = tmp_path / "tower.pt2"
    path.write_bytes(foreign.read_bytes())
    add_to_archive(str(path), METADATA, {"format": FORMAT + 1})
    assert f"reads version {FORMAT}" in refused(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3"])
def test_damaged_metadata(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tower.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"archive/extra/{METADATA}", text)
    assert "metadata is damaged" in refused(path)


def test_every_damage_is_found(foreign: Path, tmp_path: Path) -> None:
    path = tmp_path / "tower.pt2"
    path.write_bytes(foreign.read_bytes())
    add_to_archive(str(path), METADATA, {"format": FORMAT})
    whole = path.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        assert "damaged" in refused(path) or "cut off" in refused(path)
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.writestr(f"archive/extra/{METADATA}", json.dumps({"format": FORMAT}))
    assert "cannot load it" in refused(path.with_suffix(".zip"))
    generator = random.Random(0)
    with zipfile.ZipFile(foreign) as archive:
        places = [info.header_offset + 200 for info in archive.infolist() if info.file_size > 400]
    for place in generator.sample(places, min(3, len(places))):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        assert "damaged" in refused(path)
