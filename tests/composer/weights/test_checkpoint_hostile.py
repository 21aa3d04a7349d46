"""Checkpoints that mean harm: each is refused with a reason, in little time and memory, and runs nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.measured import measured

from vision_composer import compose

ENCODER = tiny.ENCODERS["clip_vision_model"]
SECONDS = 2.0
PEAK = 1 << 30
MARK = "mark"
INDEXED = 249_000
PATCHES = "embeddings.patch_embedding.weight"


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def header(folder: Path, content: bytes, data: bytes = b"") -> None:
    (folder / "model.safetensors").write_bytes(len(content).to_bytes(8, "little") + content + data)


def index(folder: Path, file: Any, name: str = "model.safetensors") -> None:
    names = dict.fromkeys(load_file(folder / "model.safetensors"), file)
    (folder / "model.safetensors").rename(folder / "tensors")
    (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": names}))


def own(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def pickled(folder: Path, content: Any) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


def block_of_many_digits(folder: Path) -> None:
    """More than Python reads as a number."""
    tensors = load_file(folder / "model.safetensors")
    pickled(folder, {**tensors, f"encoder.layers.{'9' * 5_000}.x": torch.zeros(1)})


def index_of_a_pickle(folder: Path) -> None:
    torch.save({"a": Bomb(folder / MARK)}, folder / "x.bin")
    index(folder, "x.bin")


def pickle_called_safetensors(folder: Path) -> None:
    torch.save({"a": Bomb(folder / MARK)}, folder / "model.safetensors")


def index_of_a_file_outside(folder: Path) -> None:
    (folder.parent / "outside.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    index(folder, "../outside.safetensors")


def index_of_an_absolute_path(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    outside.write_bytes((folder / "model.safetensors").read_bytes())
    index(folder, str(outside))


def index_of(folder: Path, names: Iterable[str], patches: str = PATCHES, file: str = "x.safetensors") -> None:
    """An index of ``names``, each in the file that ``file`` says, and of a patch embedding."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    files = {patches: "x.safetensors"} | {name: file.format(i) for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": files}, separators=(",", ":"), ensure_ascii=False)
    )


def unlike(count: int, length: int, prefix: str = "", part: str = "layers.1.") -> Iterator[str]:
    """Names of one length, nested as if they stood in blocks."""
    return (f"{prefix}{i}.{part * (length // len(part))}"[:length] for i in range(count))


def pipe(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)


def pipe_as_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    pipe(folder, "model.safetensors.index.json")


def device(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")


def sparse_file(folder: Path) -> None:
    """A header of 8 TiB of zeros costs nothing on disk."""
    content = b'{"a":{"dtype":"F32","shape":[2199023255552],"data_offsets":[0,8796093022208]}}'
    header(folder, content)
    os.truncate(folder / "model.safetensors", 8 + len(content) + (1 << 43))


def sparse_patches(folder: Path) -> None:
    """The name that is looked for, with 512 GiB of zeros, within the largest file that is read."""
    size = 1 << 39
    content = json.dumps(
        {PATCHES: {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    ).encode()
    header(folder, content)
    os.truncate(folder / "model.safetensors", 8 + len(content) + size)


def with_empty_tensors(folder: Path, count: int) -> None:
    """The good file with tensors of no values added, named as those of blocks, but not of the tower's."""
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    end = len(content) - 8 - length
    entries = json.loads(content[8 : 8 + length])
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}
    entries |= {f"head.layers.3.x{i}": empty for i in range(count)}
    header(folder, json.dumps(entries).encode(), content[8 + length :])


def files_of_many_tensors(folder: Path) -> None:
    """Files without an index, each as large as one file may be."""
    (folder / "model.safetensors").unlink()
    entry = '"%d.x%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    for file in range(10):
        header(folder, f"{{{','.join(entry % (file, i) for i in range(24_000))}}}".encode())
        (folder / "model.safetensors").rename(folder / f"x{file}.safetensors")


def two_of_a_name(folder: Path) -> None:
    entry = '"a":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    header(folder, f"{{{entry % (0, 4)},{entry % (4, 8)}}}".encode(), bytes(8))


def zip_bomb(folder: Path) -> None:
    torch.save({"a": torch.zeros(1 << 24)}, folder / "plain")
    (folder / "model.safetensors").unlink()
    packed = zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(folder / "plain") as plain, packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    (folder / "plain").unlink()


PICKLE = {"format": "pickle"}
CASES: dict[str, tuple[Callable[[Path], None], dict[str, Any], str]] = {
    "index of a pickle": (index_of_a_pickle, {}, "'x.bin' is not a safetensors file"),
    "pickle called safetensors": (pickle_called_safetensors, {}, "not a safetensors file"),
    "pickle with code": (
        lambda f: pickled(f, {"a": Bomb(f / MARK)}),
        PICKLE,
        "not a pickle of tensors alone",
    ),
    "pickle not asked for": (lambda f: pickled(f, {"a": Bomb(f / MARK)}), {}, "set weights.format: pickle"),
    "pickle of integer keys": (lambda f: pickled(f, {5: torch.ones(2)}), PICKLE, "the key '5' is no name"),
    "pickle of a sparse tensor": (
        lambda f: pickled(f, {"a": torch.ones(2).to_sparse()}),
        PICKLE,
        "sparse_coo",
    ),
    "pickle of a meta tensor": (lambda f: pickled(f, {"a": torch.ones(2, device="meta")}), PICKLE, "is meta"),
    "pickle of a huge view": (lambda f: pickled(f, {"a": torch.ones(1).expand(1 << 40)}), PICKLE, "repeats"),
    "compressed pickle": (zip_bomb, PICKLE, "a compressed archive"),
    "file outside": (index_of_a_file_outside, {}, "is not the name of a file in the same folder"),
    "absolute path": (index_of_an_absolute_path, {}, "is not the name of a file in the same folder"),
    "name of 5,000 characters": (lambda f: index(f, "x" * 5_000), {}, "(5,000 characters) is not the name"),
    "index of too many names": (lambda f: index_of(f, unlike(400_000, 9)), {}, "more than 250,000 values"),
    "index of too many bytes": (lambda f: index_of(f, unlike(60_000, 990)), {}, "the limit is 50,331,648"),
    "index of names under a prefix": (
        lambda f: index_of(f, unlike(INDEXED, 120, "a."), f"a.{PATCHES}"),
        {},
        "holds 249,001 tensors under 'a.', and a tower has 4,000 at most",
    ),
    "index of towers": (
        lambda f: index_of(f, (f"{i}.{PATCHES}" for i in range(INDEXED))),
        {},
        "holds 249,001 towers that fit, under '', '0.', '1.', ...; say which with weights.prefix",
    ),
    "index of prefixes with blocks": (
        lambda f: index_of(f, (f"{i % 5_000}.encoder.layers.{i // 5_000}.b" for i in range(INDEXED)), "a"),
        {},
        "holds no such encoder",
    ),
    "index of wide letters": (
        lambda f: index_of(f, unlike(INDEXED, 130, "\N{GRINNING FACE}"), "a"),
        {},
        "holds no such encoder",
    ),
    "index of long names": (lambda f: index_of(f, unlike(49_000, 990), "a"), {}, "holds no such encoder"),
    "index of long names of a tower": (
        lambda f: index_of(f, unlike(3_900, 990)),
        {},
        "has 200 characters at most, not '0.layers.1.",
    ),
    "index of as many files": (
        lambda f: index_of(f, unlike(INDEXED, 9), file="{}.safetensors"),
        {},
        "names 249,001 files; the limit is 10,000",
    ),
    "pipe as weights": (lambda f: pipe(f, "model.safetensors"), {}, "a named pipe, not a regular file"),
    "pipe as index": (pipe_as_index, {}, "a named pipe, not a regular file"),
    "pipe as config": (lambda f: pipe(f, "config.json"), {}, "a named pipe, not a regular file"),
    "pipe as pickle": (
        lambda f: (pickled(f, {}), pipe(f, "pytorch_model.bin")),
        PICKLE,
        "a named pipe, not a regular file",
    ),
    "device as weights": (device, {}, "a device, not a regular file"),
    "sparse file": (sparse_file, {}, "the limit is"),
    "sparse patches": (sparse_patches, {}, "is missing"),
    "header of all memory": (
        lambda f: (f / "model.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}"),
        {},
        "its header would have",
    ),
    "header of brackets": (lambda f: header(f, b'{"a":' + b"[" * (30 << 20)), {}, "more than 250,000 values"),
    "many tensors": (lambda f: with_empty_tensors(f, 100_000), {}, "more than 250,000 values"),
    "more tensors than a tower has": (
        lambda f: with_empty_tensors(f, 20_000),
        {},
        "a tower has 4,000 at most",
    ),
    "files of many tensors": (files_of_many_tensors, {}, "more than 10,000 tensors and there is no index"),
    "as many tensors as are read": (lambda f: with_empty_tensors(f, 3_900), {}, ""),
    "block of 5,000 digits": (block_of_many_digits, PICKLE, "has 200 characters at most"),
    "two tensors of a name": (two_of_a_name, {}, "the key 'a' is there twice"),
    "labels": (lambda f: own(f, num_labels=30_000_000), {}, ""),
    "blocks": (lambda f: own(f, num_hidden_layers=2_000_000_000), {}, "means num_hidden_layers: 2000000000"),
    "model type is a list": (
        lambda f: own(f, vision_config={"model_type": ["clip_vision_model"]}, model_type="llava"),
        {},
        "",
    ),
    "deep config": (
        lambda f: (f / "config.json").write_text('{"a": ' + "[" * 900 + "]" * 900 + "}"),
        {},
        "nested deeper than 32 levels",
    ),
    "large config": (
        lambda f: (f / "config.json").write_bytes(b" " * (9 << 20)),
        {},
        "9,437,184 bytes or more; the limit is 8,388,608 bytes",
    ),
    "config of many values": (
        lambda f: (f / "config.json").write_bytes(b'{"a": [' + b"[]," * 1_000_000 + b"0]}"),
        {},
        "more than 200,000 values",
    ),
    "key twice": (
        lambda f: (f / "config.json").write_text('{"hidden_size": 32, "hidden_size": 64}'),
        {},
        "the key 'hidden_size' is there twice",
    ),
}
"""What is done to a good folder, the config's weights beside its source, and what is said; "" if it loads."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.reference(ENCODER), tmp_path_factory.mktemp("good"))


def load(folder: str, weights: dict[str, Any], encoder: dict[str, Any] = ENCODER) -> None:
    compose({"schema": 1, "encoder": encoder, "weights": {"source": folder, **weights}})


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_checkpoint(name: str, good: Path, tmp_path: Path) -> None:
    change, weights, message = CASES[name]
    folder = tmp_path / "folder"
    shutil.copytree(good, folder)
    change(folder)
    outcome = measured(load, str(folder), weights)
    assert outcome.error == ("WeightsError" if message else ""), outcome
    assert message in outcome.message
    assert len(outcome.message) < 500 + len(str(folder))
    assert outcome.seconds < SECONDS
    assert outcome.peak_bytes < PEAK
    assert not (folder / MARK).exists(), "a pickle was executed"


def test_names_that_the_patterns_of_a_vlm_are_slow_on(tmp_path: Path) -> None:
    """transformers names Kimi's tensors by patterns for experts, too, which may stand anywhere in a name."""
    root = "vision_tower."
    names = [f"{root}encoder.blocks.{i}.wqkv.bias" for i in range(4)]
    names += unlike(3_900, 200, root, "mlp.experts.")
    names += unlike(240_000, 120, "language_model.", "mlp.experts.")
    index_of(tmp_path, names, f"{root}encoder.patch_embed.proj.weight")
    outcome = measured(load, str(tmp_path), {}, tiny.PACKED["kimi_k25_vision"])
    assert outcome.error == "WeightsError", outcome
    assert "tensor vision_tower.encoder.blocks.0.mlp.fc0.bias is missing" in outcome.message
    assert outcome.seconds < SECONDS
    assert outcome.peak_bytes < PEAK


def test_the_bomb_goes_off_where_it_is_unpickled(tmp_path: Path) -> None:
    torch.save({"a": Bomb(tmp_path / MARK)}, tmp_path / "x.bin")
    torch.load(tmp_path / "x.bin", weights_only=False)
    assert (tmp_path / MARK).exists()


def die() -> None:
    os._exit(0)


def test_what_is_measured_is_measured() -> None:
    outcome = measured(bytearray, 1 << 31)
    assert outcome.error == ""
    assert outcome.peak_bytes > PEAK
    assert measured(die).error == "died"
    assert measured(sys.exit, 3).error == "SystemExit"
