"""Batcher: many callers' images in shared forwards, each caller with features or an error of its own."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny
from support.compare import assert_close

from vision_composer import Batcher, compose
from vision_composer.errors import ImageError, InputError

PACKED = tiny.PACKED["qwen2_5_vl_vision"]
DENSE = tiny.ENCODERS["clip_vision_model"]


def photo(seed: int, size: tuple[int, int] = (70, 50)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


class Counted:
    """Counts the images of every forward of an encoder, and can hold forwards back."""

    def __init__(self, encoder: Any) -> None:
        self.sizes: list[int] = []
        self.open = threading.Event()
        self.open.set()
        encoder.register_forward_hook(self._count)
        encoder.register_forward_pre_hook(lambda *_: self.open.wait(30) and None)

    def _count(self, module: Any, args: Any, output: Any) -> None:
        self.sizes.append(len(output))


@pytest.mark.parametrize("encoder", [PACKED, DENSE], ids=["packed", "dense"])
def test_callers_get_the_features_of_encode(encoder: dict[str, Any]) -> None:
    composed = tiny.scramble(compose({"schema": 1, "encoder": encoder}))
    images = [photo(i, (40 + 7 * i, 90 - 3 * i)) for i in range(20)]
    want = composed.encode(images)
    with Batcher(composed) as batcher, ThreadPoolExecutor(8) as callers:
        got = list(callers.map(lambda image: batcher.submit(image).result(), images))
    assert_close(got, want)


def test_images_share_forwards_up_to_the_limit() -> None:
    encoder = compose({"schema": 1, "encoder": PACKED})
    counted = Counted(encoder)
    patches = encoder.info.grid(64, 64)
    each = patches[0] * patches[1] * patches[2]
    with Batcher(encoder, max_tokens=3 * each, max_wait=5.0, readers=1) as batcher:
        counted.open.clear()
        futures = [batcher.submit(photo(i, (64, 64))) for i in range(7)]
        counted.open.set()
    assert all(future.done() for future in futures)
    assert counted.sizes == [3, 3, 1]


def test_an_image_larger_than_the_limit_is_a_forward_of_its_own() -> None:
    encoder = compose({"schema": 1, "encoder": PACKED})
    counted = Counted(encoder)
    with Batcher(encoder, max_tokens=1, readers=1) as batcher:
        for i in range(3):
            batcher.submit(photo(i))
    assert counted.sizes == [1, 1, 1]


def test_an_image_does_not_wait_for_others_for_ever() -> None:
    with Batcher(compose({"schema": 1, "encoder": DENSE}), max_wait=0.01) as batcher:
        assert batcher.submit(photo(0)).result(timeout=30).dim() == 2


def test_images_that_wait_are_bounded() -> None:
    encoder = compose({"schema": 1, "encoder": PACKED})
    counted = Counted(encoder)
    counted.open.clear()
    read = []
    preprocess = encoder.preprocessor.reader.opened

    def noted(image: Any, label: str) -> Any:
        read.append(label)
        return preprocess(image, label)

    encoder.preprocessor.reader.opened = noted
    with Batcher(encoder, max_tokens=1, max_wait=0, readers=2) as batcher:
        futures = [batcher.submit(photo(i)) for i in range(40)]
        try:
            # One is encoded, one waits, and the readers hold one each.
            end = time.monotonic() + 20
            while len(read) < 4 and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.2)
            assert len(read) == 4
            assert not any(future.done() for future in futures)
        finally:
            counted.open.set()
    assert len(read) == 40


def test_every_caller_gets_the_error_of_its_own_image(tmp_path: Path) -> None:
    encoder = compose({"schema": 1, "encoder": PACKED})
    good = photo(1)
    want = encoder.encode([good])[0]
    with Batcher(encoder, max_wait=0.2) as batcher:
        broken = batcher.submit(png(good)[:100])
        missing = batcher.submit(tmp_path / "no.png")
        fine = batcher.submit(png(good))
        assert_close([fine.result()], [want])
    with pytest.raises(ImageError, match="image 0: "):
        broken.result()
    with pytest.raises(ImageError, match=r"no\.png: "):
        missing.result()


def test_features_that_are_not_finite_are_an_error_of_their_image() -> None:
    encoder = compose({"schema": 1, "encoder": PACKED})
    finish = encoder.preprocessor.finish

    def with_nan(images: Any, device: Any) -> Any:
        batch = finish(images, device)
        dark = batch["pixel_values"].mean(1) < -1
        batch["pixel_values"][dark] = torch.nan
        return batch

    encoder.preprocessor.finish = with_nan
    with Batcher(encoder, max_wait=5.0, max_tokens=2 * 16, readers=1) as batcher:
        black, white = (batcher.submit(Image.new("RGB", (64, 64), colour)) for colour in ("black", "white"))
    assert torch.isfinite(white.result()).all()
    with pytest.raises(ImageError, match="image 0: its features are NaN"):
        black.result()


def test_a_forward_that_fails_is_tried_image_by_image() -> None:
    encoder = compose({"schema": 1, "encoder": PACKED})

    def too_many(module: Any, args: Any, inputs: dict[str, Any]) -> None:
        grids = inputs["image_grid_thw"].tolist()
        if len(grids) > 1 or grids[0][1] == grids[0][2]:
            raise RuntimeError("out of memory")

    encoder.register_forward_pre_hook(too_many, with_kwargs=True)
    with Batcher(encoder, max_wait=5.0, max_tokens=100_000, readers=1) as batcher:
        square, wide = batcher.submit(photo(0, (64, 64))), batcher.submit(photo(1, (128, 32)))
    assert wide.result().dim() == 2
    with pytest.raises(RuntimeError, match="out of memory"):
        square.result()


def test_what_is_cancelled_in_time_is_not_read() -> None:
    encoder = compose({"schema": 1, "encoder": DENSE})
    counted = Counted(encoder)
    counted.open.clear()
    with Batcher(encoder, max_tokens=1, max_wait=0, readers=1) as batcher:
        futures = [batcher.submit(photo(i)) for i in range(10)]
        assert futures[-1].cancel()
        counted.open.set()
    assert sum(counted.sizes) == 9
    assert all(future.done() for future in futures)


def test_a_closed_one_takes_no_images() -> None:
    batcher = Batcher(compose({"schema": 1, "encoder": DENSE}))
    batcher.close()
    with pytest.raises(InputError, match="closed"):
        batcher.submit(photo(0))


@pytest.mark.parametrize(
    "options", [{"max_tokens": 0}, {"readers": 0}, {"max_wait": -1}, {"max_wait": float("nan")}], ids=str
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} is "):
        Batcher(compose({"schema": 1, "encoder": DENSE}), **options)


def test_the_encoder_keeps_its_mode() -> None:
    encoder = compose({"schema": 1, "encoder": DENSE}).train()
    with Batcher(encoder) as batcher:
        assert not batcher.submit(photo(0)).result().requires_grad
        assert not encoder.training
    assert encoder.training
