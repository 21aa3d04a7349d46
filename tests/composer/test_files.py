"""Files are opened only if they are regular and not too large."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from vision_composer import files
from vision_composer.files import exists, open_regular, parse_json, read_json, read_regular


def reason(path: str | Path, limit: int = 10) -> str:
    with pytest.raises(OSError) as raised:  # noqa: PT011  # strerror is compared
        read_regular(path, limit=limit)
    assert raised.value.filename == os.fspath(path)
    return raised.value.strerror


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", limit=10) == b"0123456789"
    assert read_regular(str(tmp_path / "link"), limit=10) == b"0123456789"
    with open_regular(tmp_path / "file", limit=10) as file:
        assert not os.get_inheritable(file.fileno())


def test_whether_a_file_exists(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert exists(tmp_path)
    assert exists(str(tmp_path / "file"))
    assert not any(map(exists, (tmp_path / "none", tmp_path / "file" / "inside", "a\0b")))
    with pytest.raises(OSError, match="name too long"):
        exists("a" * 5_000)


def test_other_kinds_of_files_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "a named pipe, not a regular file"
    assert reason(tmp_path) == "a folder, not a regular file"
    assert reason("/dev/zero") == "a device, not a regular file"
    monkeypatch.chdir(tmp_path)  # a socket's path may have 100 characters
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert reason("socket") == "a socket, not a regular file"


def test_a_pipe_that_takes_the_files_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    found = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(files.os, "stat", lambda name: found)
    assert reason(path) == "a named pipe, not a regular file"


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    assert reason(tmp_path / "none") == "no such file"
    (tmp_path / "dangling").symlink_to("nowhere")
    assert reason(tmp_path / "dangling") == "no such file"
    (tmp_path / "circle").symlink_to("circle")
    assert reason(tmp_path / "circle") == os.strerror(errno.ELOOP)
    assert reason(f"{tmp_path}/a\0b") == "the name holds a null character, which no file name does"


def test_large_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert reason(tmp_path / "file", limit=9) == "10 bytes or more; the limit is 9 bytes"
    # Its size is said to be 0.
    assert reason("/proc/self/maps", limit=9) == "10 bytes or more; the limit is 9 bytes"


def test_a_refused_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    found = os.stat(path)
    path.write_bytes(b"0123456789")
    monkeypatch.setattr(files.os, "stat", lambda name: found)
    before = len(os.listdir("/proc/self/fd"))
    assert "limit" in reason(path, limit=9)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_json_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes('\ufeff{"a": [1, {"é": null}], "b": {}}'.encode())
    assert read_json(tmp_path / "file") == {"a": [1, {"é": None}], "b": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "expected a JSON object, not list"),
        (b"{", "line 1 column 2"),
        (b"", "line 1 column 1"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": 1, "b": {"c": 1, "d": 2, "c": 1}}', "the key 'c' is there twice"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "4300 digits"),
        (b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}", "nested deeper than 32 levels"),
        (b'{"a": ' + b"[" * 100_000, "nested deeper than 32 levels"),
        (b'{"a": [' + b"0," * 200_000 + b"0]}", "more than 200,000 values"),
        (b'{"a": [' + b"[]," * 100_000 + b"0]}", "more than 200,000 values"),
        (b'{"a": ["' + b"x" * 100_001 + b'"]}', "a text of more than 100,000 characters"),
        (b'{"' + b"x" * 1_001 + b'": 0}', "a key of more than 1,000 characters"),
    ],
    ids=[
        "list",
        "cut",
        "empty",
        "bytes",
        "twice",
        "digits",
        "deep",
        "deeper",
        "many",
        "many lists",
        "text",
        "key",
    ],
)
def test_what_is_no_json_object_of_sensible_size_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(content)


def test_json_at_its_limits_is_read() -> None:
    assert parse_json(b'{"a": ' + b"[" * 31 + b"]" * 31 + b"}")
    assert len(parse_json(b'{"a": [' + b"0," * 199_998 + b"0]}")["a"]) == 199_999
