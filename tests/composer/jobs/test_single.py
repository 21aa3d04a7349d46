"""The job against the encoder's own ``encode``, with the embedded encoder and with hostile folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from support import tiny
from support.compare import assert_close

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import ImageError, InputError, VisionComposerError
from vision_composer.images.image_steps import ImageSteps
from vision_composer.jobs import encode_images, read_features

RNG = np.random.default_rng(0)
SMALL: dict[str, Any] = {
    "schema": 1,
    "encoder": {
        "model_type": "dinov2",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    },
    "select_layers": [-1, 1],
}


@pytest.fixture(scope="module")
def encoder() -> ComposedVisionEncoder:
    return compose(SMALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven images, of which two are broken."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    for i, photo in enumerate(load_sample_images().images):
        Image.fromarray(photo[::4, ::4]).save(root / f"photo{i}.jpg")
    for i in range(7):
        Image.fromarray(RNG.integers(0, 256, (20 + i, 60, 3), dtype=np.uint8)).save(root / "sub" / f"{i}.PNG")
    (root / "broken.png").write_bytes(b"broken")
    (root / "sub" / "empty.gif").touch()
    return root


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_features_are_the_encoders_own(
    encoder: ComposedVisionEncoder, folder: Path, tmp_path: Path, batch_size: int
) -> None:
    summary = encode_images(encoder, [folder], tmp_path / "out", batch_size=batch_size)
    sound = sorted(path for path in folder.rglob("*.*") if path.name not in ("broken.png", "empty.gif"))
    back = list(read_features(tmp_path / "out" / "features.parquet"))
    assert [name for name, _ in back] == [str(path) for path in sound]
    assert_close([values for _, values in back], encoder.encode(sound))
    assert (summary.num_images, summary.num_failed, summary.width) == (9, 2, 32)
    assert summary.num_tokens == sum(len(values) for _, values in back) == 9 * 5
    assert summary.output == tmp_path / "out" / "features.parquet"
    assert summary.failures == tmp_path / "out" / "features.failed.jsonl"
    lines = [json.loads(line) for line in summary.failures.read_text().splitlines()]
    assert [line["image"] for line in lines] == [
        str(folder / "broken.png"),
        str(folder / "sub" / "empty.gif"),
    ]


def test_metadata(encoder: ComposedVisionEncoder, folder: Path, tmp_path: Path) -> None:
    encode_images(encoder, [folder], tmp_path / "f.parquet")
    metadata = json.loads(pq.read_schema(tmp_path / "f.parquet").metadata[b"vision_composer"])
    assert metadata["output"] == {
        "format": "parquet",
        "store_dtype": "float32",
        "pool": "none",
        "grids": False,
    }
    again = compose(metadata["config"])
    assert again.config == encoder.config
    assert metadata["config"]["attn_backend"] == "auto"  # what was left out is there, too


@pytest.mark.parametrize(("dtype", "stored"), [(torch.float16, np.float16), (torch.bfloat16, np.float32)])
def test_half_precision(dtype: torch.dtype, stored: Any, folder: Path, tmp_path: Path) -> None:
    encoder = compose(SMALL, dtype=dtype)
    encode_images(encoder, [folder / "photo0.jpg"], tmp_path / "f.parquet")
    ((_, values),) = read_features(tmp_path / "f.parquet")
    assert values.dtype == stored
    assert_close(torch.as_tensor(values).to(dtype), encoder.encode([folder / "photo0.jpg"])[0])


def test_progress_and_failures_as_they_happen(
    encoder: ComposedVisionEncoder, folder: Path, tmp_path: Path
) -> None:
    calls: list[tuple[int, int, ImageError | None]] = []
    encode_images(encoder, [folder], tmp_path / "out", on_progress=lambda *call: calls.append(call))
    assert [(done, total) for done, total, _ in calls] == [(i, 11) for i in range(1, 12)]
    assert sorted(error.name for *_, error in calls if error) == [
        str(folder / "broken.png"),
        str(folder / "sub" / "empty.gif"),
    ]


def test_images_of_different_sizes_never_share_a_batch(folder: Path, tmp_path: Path) -> None:
    encoder = compose(SMALL)
    encoder.preprocessor.reader.read = ImageSteps(rule=None, resample=3, crop=None, order=None)
    for name, size in (("z1", (30, 28)), ("z2", (13, 28)), ("z3", (29, 42))):
        Image.new("RGB", size, "gray").save(folder / f"{name}.png")
    summary = encode_images(encoder, [folder / "sub", *sorted(folder.glob("z?.png"))], tmp_path / "f.parquet")
    tokens = {Path(name).stem: len(values) for name, values in read_features(tmp_path / "f.parquet")}
    assert tokens == {**{str(i): 1 + 4 for i in range(7)}, "z1": 1 + 2 * 2, "z3": 1 + 2 * 3}
    assert summary.num_failed == 2
    assert "smaller than one patch" in (tmp_path / "f.failed.jsonl").read_text()


def test_all_images_broken(encoder: ComposedVisionEncoder, folder: Path, tmp_path: Path) -> None:
    summary = encode_images(encoder, [folder / "broken.png"], tmp_path / "f.parquet")
    assert (summary.num_images, summary.num_failed, summary.num_tokens) == (0, 1, 0)
    assert list(read_features(tmp_path / "f.parquet")) == []


def test_refusals_come_before_anything_is_written(
    encoder: ComposedVisionEncoder, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "there.parquet").write_text("kept")
    for arguments, reason in (
        (([folder, tmp_path / "no"], tmp_path / "out"), "no such file"),
        (([], tmp_path / "out"), "no images"),
        (([folder], tmp_path / "there.parquet"), "exists"),
    ):
        with pytest.raises(InputError, match=reason):
            encode_images(encoder, *arguments)
    with pytest.raises(InputError, match="batch_size is 0"):
        encode_images(encoder, [folder], tmp_path / "out", batch_size=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "there.parquet"]
    encode_images(encoder, [folder], tmp_path / "there.parquet", overwrite=True)
    assert len(list(read_features(tmp_path / "there.parquet"))) == 9


def test_a_tower_on_several_processes_writes_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = compose(SMALL)
    monkeypatch.setattr(encoder, "parallel", object())
    with pytest.raises(InputError, match="spread over processes"):
        encode_images(encoder, [folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_encoder_is_left_as_it_was(folder: Path, tmp_path: Path) -> None:
    encoder = compose({**SMALL, "encoder": {**SMALL["encoder"], "hidden_dropout_prob": 0.9}})
    encoder.train()
    encode_images(encoder, [folder / "photo0.jpg"], tmp_path / "f.parquet")
    assert encoder.training
    ((_, values),) = read_features(tmp_path / "f.parquet")
    assert_close(values, encoder.encode([folder / "photo0.jpg"])[0])


def test_a_crash_leaves_no_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = compose(SMALL)
    for problem, raised in (
        (torch.OutOfMemoryError("out of memory"), VisionComposerError),
        (RuntimeError("?"), RuntimeError),
    ):

        def crash(*_: object, problem: Exception = problem, **__: object) -> torch.Tensor:
            raise problem

        monkeypatch.setattr(encoder, "forward", crash)
        with pytest.raises(raised, match="smaller batch size" if raised is VisionComposerError else None):
            encode_images(encoder, [folder], tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


def test_no_batch_is_larger_than_asked_for(tmp_path: Path) -> None:
    for n in range(5):
        Image.new("RGB", (32, 32), (n, 0, 0)).save(tmp_path / f"{n}.png")
    encoder = compose(tiny.config("clip_vision_model", select_layers=[0]))
    sizes: list[int] = []
    encoder.register_forward_pre_hook(
        lambda module, args, inputs: sizes.append(len(inputs["pixel_values"])), with_kwargs=True
    )
    encode_images(encoder, [tmp_path], tmp_path / "out.parquet", batch_size=2)
    assert sizes == [2, 2, 1]


def test_levels_on_an_axis_of_their_own_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    encoder = compose(tiny.config("qwen3_vl_vision", deepstack="separate"))
    with pytest.raises(InputError, match="use deepstack: concat or none instead of separate"):
        encode_images(encoder, [tmp_path], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
