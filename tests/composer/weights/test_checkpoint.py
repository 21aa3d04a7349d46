"""Checkpoints from end to end: what is wrong is refused by file and tensor, and values are as stored."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.checkpoints import ENCODER, POSITIONS, features, load, rewrite

from vision_composer import compose
from vision_composer.errors import WeightsError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {k: v for k, v in t.items() if k != POSITIONS},
            rf"tower \(model\.safetensors\): tensor {POSITIONS} is missing",
        ),
        (
            lambda t: {k: v for k, v in t.items() if "layers.1.mlp" not in k},
            r"tensor encoder\.layers\.1\.mlp\.fc1\.bias is missing, and 3 more",
        ),
        (
            lambda t: t | {POSITIONS: torch.zeros(99, 32)},
            rf"model\.safetensors: tensor {POSITIONS} has shape \(99, 32\), and this encoder's is \(17, 32\)",
        ),
        (
            lambda t: t | {POSITIONS: torch.full((17, 32), torch.nan)},
            rf"model\.safetensors: tensor {POSITIONS} holds NaN or infinity",
        ),
        (
            lambda t: t | {POSITIONS: t[POSITIONS].to(torch.int8)},
            rf"model\.safetensors: tensor {POSITIONS} is torch.int8; quantised",
        ),
        (
            lambda t: t | {POSITIONS: t[POSITIONS].to(torch.float8_e4m3fn)},
            rf"model\.safetensors: tensor {POSITIONS} is torch.float8_e4m3fn; quantised",
        ),
        (lambda t: {"lm_head.weight": torch.zeros(2, 2)}, r"holds no such encoder: .*lm_head\.weight"),
        (
            lambda t: (
                t | {k.replace("layers.3", "layers.4"): v.clone() for k, v in t.items() if "layers.3" in k}
            ),
            r"holds 5 blocks, but encoder\.num_hidden_layers is 4",
        ),
    ],
    ids=["missing", "several missing", "shape", "nan", "int8", "fp8", "no tower", "deeper"],
)
def test_wrong_tensors_are_named(folder: Path, change: Any, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=message):
        load(folder)


def test_nan_in_a_tensor_that_is_not_used_does_not_matter(folder: Path) -> None:
    want = features(load(folder))
    unused = ("post_layernorm.weight", "encoder.layers.3.layer_norm1.weight")
    rewrite(folder, lambda tensors: tensors | {name: torch.full((32,), torch.nan) for name in unused})
    assert torch.equal(features(load(folder)), want)


def test_a_saved_tower_says_how_deep_it_is(folder: Path, tmp_path: Path) -> None:
    load(folder).save(tmp_path / "saved")
    assert compose(tmp_path / "saved", overrides=["select_layers=[1]"]).plan.num_blocks == 1
    with pytest.raises(WeightsError, match="holds 3 blocks, and the selected hidden states need 4"):
        compose(tmp_path / "saved", overrides=["select_layers=[-1]"])


def test_without_a_source_the_tower_is_random_and_says_so() -> None:
    tower = compose({"schema": 1, "encoder": ENCODER})
    assert tower.plan.to_dict()["weights"] is None
    assert not torch.equal(features(tower), features(compose({"schema": 1, "encoder": ENCODER})))


# --- files ----------------------------------------------------------------------------------------------


class Bomb:
    """Would leave a file behind, if it were ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"embeddings": Bomb(tmp_path / "owned")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin: not a pickle of tensors alone"):
        load(tmp_path, weights={"format": "pickle"})
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02]q\x00.", b"x" * 100])
def test_broken_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"pytorch_model\.bin: (not a pickle|expected a pickled state dict)"
    ):
        load(tmp_path, weights={"format": "pickle"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "no weight_map"),
        ('{"weight_map": {"a": 5}}', "no weight_map"),
        ('{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "the key 'a' is there twice"),
        (
            '{"weight_map": {"' + '": "x.safetensors", "'.join(map(str, range(250_000))) + '": "x"}}',
            "250,000",
        ),
    ],
    ids=["cut", "list", "empty", "number", "twice", "many"],
)
def test_broken_indices_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    "file",
    [
        "../model",
        "/model",
        "a/model",
        "a/",
        "a\\model",
        "c:model",
        "..",
        ".",
        "",
        "a\0",
        "a\x1b",
        "\ud800",
        "a" * 5_000,
    ],
)
@pytest.mark.parametrize(("file_format", "suffix"), [("safetensors", ".safetensors"), ("pickle", ".bin")])
def test_an_index_names_plain_files_of_its_folder(
    tmp_path: Path, file: str, file_format: str, suffix: str
) -> None:
    single = {"safetensors": "model.safetensors", "pickle": "pytorch_model.bin"}[file_format]
    (tmp_path / f"{single}.index.json").write_text(json.dumps({"weight_map": {"a": f"{file}{suffix}"}}))
    if file in (".", "", ".."):  # with a suffix, these are names
        message = r"is missing, though the index names it|holds no such encoder"
    else:
        message = "is not the name of a file in the same folder"
    with pytest.raises(WeightsError, match=message) as raised:
        load(tmp_path, weights={"format": file_format})
    assert len(str(raised.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("file", ["..", ".", ""])
def test_an_index_names_files_not_folders(tmp_path: Path, file: str) -> None:
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(WeightsError, match="is not the name of a file in the same folder"):
        load(tmp_path, weights={"format": "pickle"})


def test_an_index_cannot_ask_for_another_format(folder: Path) -> None:
    """The config says what is read, and neither an index nor a suffix says otherwise."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "x.bin")
    torch.save(tensors, folder / "y.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "x.bin")}))
    with pytest.raises(WeightsError, match=r"'x\.bin' is not a safetensors file; .*weights\.format: pickle"):
        load(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "y.safetensors")}))
    with pytest.raises(WeightsError, match=r"y\.safetensors: not a safetensors file"):
        load(folder)
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(tensors, "model.safetensors")})
    )
    with pytest.raises(WeightsError, match=r"'model\.safetensors' is not a pickle file"):
        load(folder, weights={"format": "pickle"})


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("model.safetensors", {}),
        ("model.safetensors.index.json", {}),
        ("config.json", {}),
        ("pytorch_model.bin", {"format": "pickle"}),
        ("pytorch_model.bin.index.json", {"format": "pickle"}),
    ],
)
def test_pipes_and_folders_are_not_read(folder: Path, name: str, weights: dict[str, Any]) -> None:
    if name.endswith(".index.json"):  # it is looked for where there is no single file
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(WeightsError, match=rf"{re.escape(name)}: .*a named pipe, not a regular file"):
        load(folder, weights=weights)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(WeightsError, match=rf"{re.escape(name)}: .*a folder, not a regular file"):
        load(folder, weights=weights)


@pytest.mark.parametrize(
    "content",
    [
        {"hidden_size": "abc"},
        {"layer_norm_eps": "1e-5"},
        {"num_attention_heads": 0},
        {"num_hidden_layers": 3_000_000_000},
        {"num_hidden_layers": 2_000_000_000},
        {"some_list": [0] * 10_001},
        {"some_text": "x" * 1_001},
    ],
    ids=["text", "number as text", "zero", "huge", "deep", "list", "long text"],
)
def test_a_config_json_of_odd_values_is_refused(folder: Path, content: dict[str, Any]) -> None:
    own = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(own | content))
    with pytest.raises(WeightsError, match=r"config\.json"):
        load(folder)


@pytest.mark.parametrize(
    "content",
    [
        {"dtype": "foo"},
        {"id2label": 5},
        {"num_labels": 30_000_000},
        {"label2id": {"a": "b"}},
        {"_attn_implementation": 5},
        {"__class__": 5},
        {"from_dict": 5},
    ],
    ids=str,
)
def test_what_a_config_json_says_of_other_things_is_not_looked_at(
    folder: Path, content: dict[str, Any]
) -> None:
    want = features(load(folder))
    own = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(own | content))
    assert torch.equal(features(load(folder)), want)
