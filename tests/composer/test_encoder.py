"""``encode`` and ``save``: images read ahead of the forward, and errors in the place of images."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny
from support.compare import assert_close
from support.images import noise_image
from torch import Tensor

from vision_composer import ComposedVisionEncoder, compose
from vision_composer.errors import ImageError, InputError

CLIP = tiny.ENCODERS["clip_vision_model"]
ALL = {**tiny.ENCODERS, **tiny.PACKED, **tiny.PADDED}
IMAGES = [noise_image(40 + i, 50) for i in range(7)]


def tower(encoder: dict[str, Any] = CLIP, **keys: Any) -> ComposedVisionEncoder:
    return compose({"schema": 1, "encoder": encoder, **keys})


def test_the_next_batch_is_read_during_a_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tower()
    reached = [threading.Event() for _ in IMAGES]
    read, forward = encoder.preprocessor.read, encoder.forward

    def noted(images: Any, *, first: int) -> Any:
        reached[first].set()
        return read(images, first=first)

    def waiting(**inputs: Any) -> Any:
        after = forwards.pop(0)
        assert after == len(IMAGES) or reached[after].wait(30), f"image {after} is not read meanwhile"
        return forward(**inputs)

    forwards = [2, 4, 6, 7]  # the first image behind each batch
    monkeypatch.setattr(encoder.preprocessor, "read", noted)
    monkeypatch.setattr(encoder, "forward", waiting)
    assert len(encoder.encode(IMAGES, batch_size=2)) == 7
    assert not forwards


@pytest.mark.parametrize("model_type", ["clip_vision_model", "qwen2_5_vl_vision", "pixtral"])
def test_reading_ahead_changes_nothing(model_type: str) -> None:
    encoder = tower(ALL[model_type])
    got = encoder.encode(IMAGES, batch_size=3)
    with encoder.evaluating():
        batches = [encoder(**encoder.preprocess(IMAGES[start : start + 3])) for start in (0, 3, 6)]
    want = [row for batch in batches for row in batch]
    assert all(torch.equal(one, other) for one, other in zip(got, want, strict=True))


def test_errors_stand_in_the_place_of_images(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    encoder = tower()
    images: list[Any] = [IMAGES[0], tmp_path / "broken.png", IMAGES[1], None, None, IMAGES[2]]
    got = encoder.encode(images, batch_size=2, errors="return")
    want = encoder.encode(IMAGES[:3], batch_size=1)
    errors = {i: result for i, result in enumerate(got) if isinstance(result, ImageError)}
    assert {i: error.name for i, error in errors.items()} == {
        1: str(tmp_path / "broken.png"),
        3: "image 3",
        4: "image 4",
    }
    features = [result for result in got if not isinstance(result, ImageError)]
    assert all(torch.equal(one, other) for one, other in zip(features, want, strict=True))
    assert [type(result) for result in encoder.encode([None] * 3, errors="return")] == [ImageError] * 3
    assert encoder.encode([], errors="return") == []


def test_features_that_are_not_finite_are_errors_of_their_image(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tower()
    forward = encoder.forward

    def second_is_nan(**inputs: Any) -> Any:
        features = forward(**inputs)
        features[1] = torch.nan
        return features

    monkeypatch.setattr(encoder, "forward", second_is_nan)
    got = encoder.encode([None, *IMAGES[:3]], batch_size=4, errors="return")
    assert [isinstance(result, ImageError) for result in got] == [True, False, True, False]
    assert got[2].name == "image 2"  # type: ignore[union-attr]  # an error, as the line above says
    with pytest.raises(ImageError, match="image 1: "):
        encoder.encode(IMAGES[:3])


def test_a_token_that_is_not_finite_is_noticed_where_most_are_dropped() -> None:
    encoder = tower(reduce={"type": "vidcom2", "keep": 0.3})

    def nan_in_the_second(_: Any, __: Any, features: Tensor) -> Tensor:
        features[1, 3, 0] = torch.nan
        return features

    encoder.vision.parts[""].register_forward_hook(nan_in_the_second)
    got = encoder.encode(IMAGES[:3], errors="return")
    assert [isinstance(result, ImageError) for result in got] == [False, True, False]


def test_what_is_no_image_error_is_raised_all_the_same() -> None:
    grey = tower({**CLIP, "num_channels": 4})
    with pytest.raises(InputError, match="4 channels"):
        grey.encode(IMAGES, errors="return")
    with pytest.raises(InputError, match="errors is 'ignore'"):
        grey.encode(IMAGES, errors="ignore")  # type: ignore[call-overload]  # neither of the two


def test_errors_are_not_returned_by_several_processes() -> None:
    encoder = tower()
    encoder.parallel = SimpleNamespace()  # type: ignore[assignment]  # never asked
    with pytest.raises(InputError, match='cannot do errors="return"'):
        encoder.encode(IMAGES, errors="return")


@pytest.mark.parametrize("model_type", ["clip_vision_model", "qwen2_5_vl_vision", "siglip2_vision_model"])
def test_images_can_be_read_in_another_process(model_type: str) -> None:
    """A worker gets the reader by pickle, and gives back arrays of 8-bit pixels."""
    encoder = tower(ALL[model_type])
    reader = pickle.loads(pickle.dumps(encoder.preprocessor.reader))
    read = pickle.loads(pickle.dumps(reader(IMAGES[:2])))
    assert all(inputs["pixel_values"].dtype == np.uint8 for inputs in read)
    got, want = encoder.preprocessor.finish(read, encoder.device), encoder.preprocess(IMAGES[:2])
    assert got.keys() == want.keys()
    assert all(np.array_equal(got[name].numpy(), want[name].numpy()) for name in want)


def test_encode_takes_images_of_every_kind_one_or_many(tmp_path: Path) -> None:
    encoder = tower(select_layers=[-2], feature_select_strategy="default")
    array = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "image.png")
    file = tmp_path / "image.png"
    images = [array, Image.fromarray(array), file, str(file), file.read_bytes()]
    many = encoder.encode(images, batch_size=3)
    assert [tuple(features.shape) for features in many] == [(16, 32)] * 5
    assert_close(many, [many[0]] * 5)
    for image in images:
        (one,) = encoder.encode(image)
        assert_close(one, many[0])
    assert encoder.encode([]) == []
    assert all(not features.requires_grad for features in many)
    assert many[0].untyped_storage().nbytes() == many[0].nbytes


def test_a_generator_of_images_is_no_clip() -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PACKED["qwen2_vl_vision"]})
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    assert [len(tokens) for tokens in encoder.encode(image for _ in range(4))] == [64] * 4
    assert [len(tokens) for tokens in encoder.encode(iter([[image] * 4]))] == [128]


def test_encode_leaves_the_mode_as_it_was_and_ignores_dropout() -> None:
    encoder = tower({**CLIP, "attention_dropout": 0.5})
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    encoder.train()
    first, second = encoder.encode(image), encoder.encode(image)
    assert encoder.training
    assert torch.equal(first[0], second[0])


def test_encode_leaves_a_part_that_was_frozen_in_evaluation_mode() -> None:
    encoder = tower()
    encoder.train()
    encoder.blocks[0].eval()
    encoder.encode(np.zeros((32, 32, 3), dtype=np.uint8))
    assert encoder.training
    assert not encoder.blocks[0].training
    assert encoder.blocks[1].training


def test_encode_names_the_broken_image(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        tower().encode([np.zeros((8, 8, 3), dtype=np.uint8), tmp_path / "broken.png"])
    with pytest.raises(ImageError, match="image 3: "):
        tower().encode([np.zeros((8, 8, 3), dtype=np.uint8)] * 3 + [None], batch_size=2)
    with pytest.raises(InputError, match="batch_size is 0"):
        tower().encode([], batch_size=0)


def test_of_several_processes_the_first_one_saves(tmp_path: Path) -> None:
    encoder = tower()
    for rank in (1, 0):
        encoder.parallel = SimpleNamespace(rank=rank, size=2)  # type: ignore[assignment]  # a stand-in
        encoder.save(tmp_path / str(rank))
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
