"""ViT's pooling head, which may be of another width than the blocks."""

from __future__ import annotations

from support import tiny

from vision_composer import plan


def test_the_head_is_one_product_of_the_class_token() -> None:
    encoder = tiny.ENCODERS["vit/narrow"]
    side = encoder["image_size"]
    with_head, without = (
        plan({"schema": 1, "encoder": encoder, "head": head}).flops(side, side) for head in (True, False)
    )
    assert with_head - without == 2 * encoder["hidden_size"] * encoder["pooler_output_size"]
