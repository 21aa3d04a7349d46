"""Checkpoints of every layout load bit for bit; broken ones are refused by file and tensor."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import tiny

from vision_composer import compose
from vision_composer.errors import WeightsError
from vision_composer.weights import pickled

ENCODER = tiny.ENCODERS["clip_vision_model"]
POSITIONS = "embeddings.position_embedding.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save(tiny.reference(ENCODER), tmp_path / "tower")


def load(source: Path | str, encoder: dict[str, Any] = ENCODER, **keys: Any) -> Any:
    weights = {"source": str(source), **keys.pop("weights", {})}
    return compose({"schema": 1, "encoder": encoder, "weights": weights, "select_layers": [-2], **keys})


def features(tower: Any) -> torch.Tensor:
    with torch.no_grad():
        return tower(pixel_values=tiny.pixels(ENCODER))


def rewrite(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors")


@pytest.mark.parametrize(
    "prefix",
    ["", "vision_model.", "vision_tower.", "model.vision_tower.vision_tower.vision_model.", "visual."],
)
def test_prefixes_are_found(folder: Path, prefix: str) -> None:
    want = features(load(folder))
    rewrite(folder, lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()})
    assert torch.equal(features(load(folder)), want)


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


def test_two_towers_need_a_prefix(folder: Path) -> None:
    want = features(load(folder))
    rewrite(
        folder,
        lambda tensors: (
            {f"image_tower.{name}": tensor for name, tensor in tensors.items()}
            | {f"video_tower.{name}": tensor + 1 for name, tensor in tensors.items()}
        ),
    )
    with pytest.raises(WeightsError, match=r"image_tower\.', 'video_tower\.'.*weights\.prefix"):
        load(folder)
    assert torch.equal(features(load(folder, weights={"prefix": "image_tower"})), want)
    with pytest.raises(WeightsError, match="no tensor audio_tower"):
        load(folder, weights={"prefix": "audio_tower"})


@pytest.mark.parametrize("weights", [{}, {"prefix": "z"}])
def test_of_many_towers_three_are_named(folder: Path, weights: dict[str, str]) -> None:
    name = "embeddings.patch_embedding.weight"
    rewrite(folder, lambda tensors: {f"t{i:04}.{name}": torch.zeros(1) for i in range(2_000)})
    with pytest.raises(WeightsError, match=r"'t0000\.', 't0001\.', 't0002\.' and 1,997 more") as raised:
        load(folder, weights=weights)
    assert len(str(raised.value)) < 500 + len(str(folder))


def test_a_pickle_is_let_go_of_when_it_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    torch.save({name: t for name, t in tensors.items() if name != POSITIONS}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="is missing"):
        load(folder, weights={"format": "pickle"})
    assert not pickled._unpickle.cache_info().currsize


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


@pytest.mark.parametrize("keep", [0, 7, 100, 5000])
def test_truncated_files_are_refused(folder: Path, keep: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"model\.safetensors: not a complete safetensors file"):
        load(folder)


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
            '{"weight_map": {"' + '": "x.safetensors", "'.join(map(str, range(300_000))) + '": "x"}}',
            "300,000",
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


@pytest.mark.parametrize(("name", "file_format"), [("x.safetensors", "safetensors"), ("x.bin", "pickle")])
def test_a_pipe_is_no_source(tmp_path: Path, name: str, file_format: str) -> None:
    os.mkfifo(tmp_path / name)
    for source in (tmp_path, tmp_path / name):
        with pytest.raises(WeightsError, match="a named pipe, not a regular file"):
            load(source, weights={"format": file_format})


def test_a_source_of_too_long_a_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither a path nor a hub id"):
        load("a" * 5_000)


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
    with pytest.raises(WeightsError, match=r"it has a, .*index\.json was not read"):
        load(folder)


@pytest.mark.parametrize(("key", "value"), [("hidden_act", "gelu"), ("layer_norm_eps", 1e-6)])
def test_a_config_json_that_contradicts_is_refused(folder: Path, key: str, value: Any) -> None:
    with pytest.raises(WeightsError, match=rf"config\.json means {key}"):
        load(folder, encoder={**ENCODER, key: value})
    (folder / "config.json").unlink()
    load(folder, encoder={**ENCODER, key: value})


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


@pytest.mark.parametrize("text", ["[" * 100_000, '{"vision_config": "x"}', '{"vision_config": [1]}'])
def test_a_config_json_of_odd_shape(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    if text.startswith("["):
        with pytest.raises(WeightsError, match="not readable as JSON"):
            load(folder)
    else:
        load(folder)


def test_a_vision_config_without_a_model_type_is_compared(folder: Path) -> None:
    (folder / "config.json").write_text('{"vision_config": {"hidden_act": "relu", "image_size": [32, 32]}}')
    with pytest.raises(WeightsError, match=r"config\.json means"):
        load(folder)


def test_a_square_may_be_written_as_a_pair(tmp_path: Path) -> None:
    encoder = tiny.ENCODERS["dinov2"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    own = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(own | {"image_size": [32, 32]}))
    compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})


def test_a_pair_of_two_sides_is_no_square(tmp_path: Path) -> None:
    encoder = tiny.ENCODERS["dinov2"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    own = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(own | {"image_size": [32, 64]}))
    with pytest.raises(WeightsError, match=r"config\.json means image_size: \[32, 64\]"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})


def test_a_depth_that_is_not_the_checkpoints_is_refused(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json means num_hidden_layers: 4"):
        load(folder, encoder={**ENCODER, "num_hidden_layers": 5})
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match="holds 4 blocks, and the selected hidden states need 5"):
        load(folder, encoder={**ENCODER, "num_hidden_layers": 6})


def test_a_saved_tower_says_how_deep_it_is(folder: Path, tmp_path: Path) -> None:
    load(folder).save(tmp_path / "saved")
    assert compose(tmp_path / "saved", overrides=["select_layers=[1]"]).plan.num_blocks == 1
    with pytest.raises(WeightsError, match="holds 3 blocks, and the selected hidden states need 4"):
        compose(tmp_path / "saved", overrides=["select_layers=[-1]"])


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: torch.cat([t, t[:1]]), lambda t: t.T, torch.flatten]
)
def test_a_tensor_that_is_split_on_loading_is_checked_too(tmp_path: Path, change: Any) -> None:
    encoder = tiny.ENCODERS["dinov2/swiglu"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    name = "encoder.layer.0.mlp.weights_in.weight"
    rewrite(folder, lambda tensors: tensors | {name: change(tensors[name]).contiguous()})
    with pytest.raises(WeightsError, match=rf"tensor {name} has shape"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})


def test_missing_tensors_have_the_checkpoints_names(tmp_path: Path) -> None:
    encoder = tiny.ENCODERS["dinov2"]
    folder = tiny.save(tiny.reference(encoder), tmp_path)
    name = "encoder.layer.0.attention.attention.key.weight"
    rewrite(folder, lambda tensors: {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(WeightsError, match=rf"tensor {name} is missing"):
        compose({"schema": 1, "encoder": encoder, "weights": {"source": str(folder)}})


def test_values_beyond_float16_are_refused(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors | {POSITIONS: tensors[POSITIONS] * 1e8})
    load(folder)
    with pytest.raises(
        WeightsError, match=rf"tensor {POSITIONS} reaches .* more than weights\.dtype torch\.float16"
    ):
        load(folder, weights={"dtype": "float16"})


def test_dtype_is_the_configs_whatever_is_stored(folder: Path) -> None:
    rewrite(folder, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    assert features(load(folder)).dtype is torch.float32
    tower = load(folder, weights={"dtype": "bfloat16"})
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.bfloat16}
    assert features(tower).dtype is torch.bfloat16


def test_without_a_source_the_tower_is_random_and_says_so() -> None:
    tower = compose({"schema": 1, "encoder": ENCODER})
    assert tower.plan.to_dict()["weights"] is None
    assert not torch.equal(features(tower), features(compose({"schema": 1, "encoder": ENCODER})))
