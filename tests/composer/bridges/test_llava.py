"""The model of build_vlm: the language model reads what the encoder makes, and generates from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import bridged
from transformers import LlavaForConditionalGeneration

from vision_composer.errors import InputError

EACH = pytest.mark.parametrize("case", bridged.EVERY_CASE)


@EACH
def test_the_language_model_reads_the_projected_features(case: str, tmp_path: Path) -> None:
    encoder, model, processor = bridged.built(case, tmp_path)
    images = bridged.images(*bridged.SIZES)
    inputs = processor(
        images=images, text=[bridged.PROMPT, bridged.PROMPT], return_tensors="pt", padding=True
    )
    with torch.no_grad():
        features = torch.cat(encoder.encode(images))
        rows = model.model.multi_modal_projector(features)
        embeds = model.get_input_embeddings()(inputs["input_ids"])
        embeds[inputs["input_ids"] == processor.image_token_id] = rows
        mask = inputs["attention_mask"]
        expected = model.model.language_model(inputs_embeds=embeds, attention_mask=mask)[0]
        assert torch.allclose(model(**inputs).logits, model.lm_head(expected), rtol=1e-4, atol=1e-5)
    assert (type(model) is LlavaForConditionalGeneration) == (case == "dense")


@EACH
def test_it_generates_what_it_would_say_token_by_token(case: str, tmp_path: Path) -> None:
    _, model, processor = bridged.built(case, tmp_path)
    inputs = processor(images=bridged.images(bridged.SIZES[0]), text=bridged.PROMPT, return_tensors="pt")
    made = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None)
    tokens, rest = inputs.pop("input_ids"), {k: v for k, v in inputs.items() if k != "attention_mask"}
    for _ in range(4):
        with torch.no_grad():
            last = model(input_ids=tokens, **rest).logits[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, last], dim=1)
    rest.pop("token_type_ids", None)
    assert torch.equal(made, tokens)


def test_text_alone_is_the_language_models() -> None:
    for case in ("dense", "packed"):
        _, model, processor = bridged.built(case)
        inputs = processor(text="abc", return_tensors="pt")
        with torch.no_grad():
            expected = bridged.language_model()(input_ids=inputs["input_ids"]).logits
            assert torch.equal(model(**inputs).logits[..., : expected.shape[-1]], expected)


def test_other_tokens_than_the_processors_are_refused() -> None:
    _, model, processor = bridged.built("packed")
    inputs = processor(images=bridged.images((90, 30)), text=bridged.PROMPT, return_tensors="pt")
    with pytest.raises(InputError, match="images need input_ids"):
        model(**{**inputs, "input_ids": None})
    with pytest.raises(InputError, match="images need input_ids"):
        model.generate(**{name: value for name, value in inputs.items() if name != "input_ids"})
    inputs["input_ids"] = inputs["input_ids"][:, 1:]
    with pytest.raises(InputError, match="image tokens, and the images have"):
        model(**inputs)
