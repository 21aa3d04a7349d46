"""The lock file as text: the same for the same sources, written whole, and errors where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_composer.errors import LockError
from vision_composer.locks.lock_file import LockedFile, LockedSource, lock_text, read_lock, write_lock

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"b.x": LockedFile(sha256="b" * 64, size=2), "a.x": LockedFile(sha256="0" * 64, size=1)}
HUB = LockedSource(source="some/one", asked=None, revision=COMMIT, files=FILES)
LOCAL = LockedSource(source="./a: #b", asked=None, revision=None, files=FILES)


def test_it_is_read_back_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "vision-composer.lock"
    write_lock(path, [HUB, LOCAL])
    assert read_lock(path) == [LOCAL, HUB]
    assert path.read_text() == lock_text([LOCAL, HUB])
    assert path.read_text().index('"a.x"') < path.read_text().index('"b.x"')
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("version: 1", "version: 2"), "lock:2:1: version: should be less than or equal to 1"),
        (("b" * 64, "b" * 63), "vision-composer.lock:9:23: sources[0].files[1].sha256: String should match"),
        (('revision: "', 'revision: "x'), "vision-composer.lock:6:5: sources[0].revision: String should"),
        (("size: 1", "size: 1, mode: 2"), "sources[0].files[0].mode: Extra inputs are not permitted"),
        (("files:", "files: ["), "vision-composer.lock:8:"),
        (("asked:", "source:"), "vision-composer.lock:5:"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "vision-composer.lock"
    path.write_text(lock_text([HUB]).replace(*change))
    with pytest.raises(LockError) as caught:
        read_lock(path)
    assert said in str(caught.value)
    assert "write it anew with `vision-composer lock`" in str(caught.value)


def test_an_empty_file_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "vision-composer.lock").touch()
    with pytest.raises(LockError, match=":1:1: the lock file is empty"):
        read_lock(tmp_path / "vision-composer.lock")


def test_what_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vision-composer.lock"
    write_lock(path, [HUB])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_lock(path, [LOCAL])
    assert read_lock(path) == [HUB]
    assert list(tmp_path.iterdir()) == [path]
