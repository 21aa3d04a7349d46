"""The processor of build_vlm: as many image tokens as the encoder makes rows, for every image."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import bridged

from vision_composer import build_vlm, compose
from vision_composer.errors import ImageError, InputError

MOSTLY_SLOW = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case in ("pixtral", "tiles") else pytest.mark.slow)
        for case in bridged.EVERY_CASE
    ],
)


def odd_sizes(seed: str, number: int) -> list[tuple[int, int]]:
    """Widths and heights of images of every shape, slivers among them."""
    sizes = random.Random(seed)
    longest = [sizes.choice((8, 60, 240)) for _ in range(2 * number)]
    sides = [sizes.randint(1, side) for side in longest]
    return list(zip(sides[::2], sides[1::2], strict=True))


@MOSTLY_SLOW
def test_counts_agree_for_every_size(case: str, tmp_path: Path) -> None:
    encoder, model, processor = bridged.built(case, tmp_path)
    names = model.model.vision_tower.config.image_inputs
    for i, size in enumerate(odd_sizes(case, 500)):
        image = Image.new("RGB", size)
        try:
            inputs = processor(images=image, text=bridged.PROMPT, return_tensors="pt")
        except (ImageError, InputError):
            with pytest.raises((ImageError, InputError)):
                encoder.preprocess([image])
            continue
        tokens = int((inputs["input_ids"] == processor.image_token_id).sum())
        own = {name: inputs[name] for name in names}
        assert encoder.vision.rows_of_batch(encoder.vision.read(own)) == [tokens], size
        assert processor.num_image_tokens(*size) == tokens
        if i % 25 == 0:
            (rows,) = model.model.vision_tower.encode(**own)
            assert len(rows) == tokens, size


def test_counts_are_those_of_an_upright_image() -> None:
    encoder = compose({"schema": 1, **bridged.CASES["pixtral"]})
    _, processor = build_vlm(encoder, bridged.language_model(), bridged.tokenizer())
    image = Image.new("RGB", (60, 20))
    image.getexif()[0x0112] = 6
    (rows,) = encoder.encode([image])
    inputs = processor(images=[image], text=bridged.PROMPT)
    assert inputs["input_ids"][0].count(processor.image_token_id) == len(rows)


def test_images_stand_where_the_texts_have_them() -> None:
    _, _, processor = bridged.built("packed")
    wide, tall = bridged.images((90, 30), (20, 70))
    inputs = processor(images=[[wide, tall], []], text=["<image>a<image>", "b"], padding=True)
    assert inputs["input_ids"][0].count(processor.image_token_id) == sum(
        processor.num_image_tokens(*size) for size in ((90, 30), (20, 70))
    )
    with pytest.raises(InputError, match=r"the texts have \[1, 1\] image tokens, but are given \[2, 0\]"):
        processor(images=[[wide, tall], []], text=["<image>a", "<image>b"])
    with pytest.raises(InputError, match="the text has 1 times <image>, and there are 0 images"):
        processor(text=bridged.PROMPT)
    with pytest.raises(InputError, match="reads images"):
        processor(text="a", videos=[wide])
    with pytest.raises(InputError, match="neither images nor text"):
        processor()
    with pytest.raises(InputError, match="do_resize: how images are processed"):
        processor(images=wide, images_kwargs={"do_resize": False})


def test_a_conversation() -> None:
    _, _, processor = bridged.built("dense")
    processor.chat_template = (
        "{% for m in messages %}{% for c in m.content %}"
        "{{ '<image>' if c.type == 'image' else c.text }}{% endfor %}{% endfor %}"
    )
    (image,) = bridged.images((30, 30))
    content = [{"type": "image", "image": Image.fromarray(image)}, {"type": "text", "text": "what?"}]
    made = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    plain = processor(images=image, text="<image>what?", return_tensors="pt")
    assert torch.equal(made["input_ids"], plain["input_ids"])
    assert torch.equal(made["pixel_values"], plain["pixel_values"])
