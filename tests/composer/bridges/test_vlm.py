"""build_vlm: the model reads what the encoder makes, and its processor counts right, for every image."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support import bridged, tiny
from support.vlms import save_vlm
from transformers import LlavaForConditionalGeneration

from vision_composer import build_vlm, compose
from vision_composer.errors import ImageError, InputError

SIGLIP = {**tiny.ENCODERS["siglip_vision_model"], "num_hidden_layers": 2}
TEXT = "<image>\nwhat is this?"
CASES = {
    "dense": {"encoder": SIGLIP, "select_layers": [-2, 1]},
    "packed": {"encoder": tiny.PACKED["qwen2_5_vl_vision"]},
    "padded": {"encoder": tiny.PADDED["siglip2_vision_model"], "select_layers": [-2]},
    "pixtral": {"encoder": tiny.PACKED["pixtral"]},
}
SIZES = ((40, 50), (90, 30))


def encoder_of(case: str, folder: Path) -> Any:
    """An encoder of every kind; "tiles" and "embeds" are LLaVA-NeXT's, the second with its connector."""
    torch.manual_seed(0)
    if case in ("tiles", "embeds"):
        return compose(save_vlm("llava_next", folder / "vlm"), overrides=[f"output={case}"])
    encoder = compose({"schema": 1, **CASES[case]})
    tiny.scramble(encoder.model)
    return encoder


def built(case: str, folder: Path) -> tuple[Any, Any, Any]:
    encoder = encoder_of(case, folder)
    width = encoder.output_width if case == "embeds" else 24
    language_model = bridged.language_model(hidden_size=width)
    return encoder, *build_vlm(encoder, language_model, bridged.tokenizer())


EACH = pytest.mark.parametrize("case", [*CASES, "tiles", "embeds"])
MOSTLY_SLOW = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case in ("pixtral", "tiles") else pytest.mark.slow)
        for case in (*CASES, "tiles", "embeds")
    ],
)


@EACH
def test_the_language_model_reads_the_projected_features(case: str, tmp_path: Path) -> None:
    encoder, model, processor = built(case, tmp_path)
    images = bridged.images(*SIZES)
    inputs = processor(images=images, text=[TEXT, TEXT], return_tensors="pt", padding=True)
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
    _, model, processor = built(case, tmp_path)
    inputs = processor(images=bridged.images(SIZES[0]), text=TEXT, return_tensors="pt")
    made = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None)
    tokens, rest = inputs.pop("input_ids"), {k: v for k, v in inputs.items() if k != "attention_mask"}
    for _ in range(4):
        with torch.no_grad():
            last = model(input_ids=tokens, **rest).logits[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, last], dim=1)
    rest.pop("token_type_ids", None)
    assert torch.equal(made, tokens)


LOAD = """
import sys, torch, numpy as np
from transformers import AutoModelForImageTextToText, AutoProcessor
from vision_composer import register_transformers
register_transformers()
folder = sys.argv[1]
model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
assert not any(report.values()), report
processor = AutoProcessor.from_pretrained(folder)
inputs = processor(images=np.load(folder + "/image.npy"), text=sys.argv[2], return_tensors="pt")
with torch.no_grad():
    torch.save((dict(inputs), model(**inputs).logits), folder + "/made.pt")
"""


@pytest.mark.parametrize(
    "case", ["dense", *(pytest.param(case, marks=pytest.mark.slow) for case in ("packed", "tiles", "embeds"))]
)
def test_another_process_loads_both(case: str, tmp_path: Path) -> None:
    import numpy as np

    _, model, processor = built(case, tmp_path)
    (image,) = bridged.images((50, 40))
    np.save(tmp_path / "image.npy", image)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    inputs = processor(images=image, text=TEXT, return_tensors="pt")
    subprocess.run([sys.executable, "-c", LOAD, str(tmp_path), TEXT], check=True, capture_output=True)
    their_inputs, logits = torch.load(tmp_path / "made.pt")
    assert inputs.keys() == their_inputs.keys()
    assert all(torch.equal(inputs[name], tensor) for name, tensor in their_inputs.items())
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, logits)


@MOSTLY_SLOW
def test_counts_agree_for_every_size(case: str, tmp_path: Path) -> None:
    encoder, model, processor = built(case, tmp_path)
    sizes, names = random.Random(case), model.model.vision_tower.config.image_inputs
    for _ in range(500):
        size = sizes.randint(8, 240), sizes.randint(8, 240)
        image = Image.new("RGB", size)
        try:
            inputs = processor(images=image, text=TEXT, return_tensors="pt")
        except (ImageError, InputError):
            with pytest.raises((ImageError, InputError)):
                encoder.preprocess([image])
            continue
        tokens = int((inputs["input_ids"] == processor.image_token_id).sum())
        own = {name: inputs[name] for name in names}
        assert encoder.vision.rows_of_batch(encoder.vision.read(own)) == [tokens], size
        assert processor.num_image_tokens(*size) == tokens


def test_counts_are_those_of_an_upright_image() -> None:
    encoder = compose({"schema": 1, **CASES["pixtral"]})
    _, processor = build_vlm(encoder, bridged.language_model(), bridged.tokenizer())
    image = Image.new("RGB", (60, 20))
    image.getexif()[0x0112] = 6
    (rows,) = encoder.encode([image])
    inputs = processor(images=[image], text=TEXT)
    assert inputs["input_ids"][0].count(processor.image_token_id) == len(rows)


def test_images_stand_where_the_texts_have_them() -> None:
    _, model, processor = built("packed", Path())
    wide, tall = bridged.images((90, 30), (20, 70))
    inputs = processor(images=[[wide, tall], []], text=["<image>a<image>", "b"], padding=True)
    assert inputs["input_ids"][0].count(processor.image_token_id) == sum(
        processor.num_image_tokens(*size) for size in ((90, 30), (20, 70))
    )
    with pytest.raises(InputError, match=r"the texts have \[1, 1\] image tokens, but are given \[2, 0\]"):
        processor(images=[[wide, tall], []], text=["<image>a", "<image>b"])
    with pytest.raises(InputError, match="the text has 1 times <image>, and there are 0 images"):
        processor(text=TEXT)
    with pytest.raises(InputError, match="reads images"):
        processor(text="a", videos=[wide])
    with pytest.raises(InputError, match="neither images nor text"):
        processor()
    with pytest.raises(InputError, match="do_resize: how images are processed"):
        processor(images=wide, images_kwargs={"do_resize": False})
    inputs = processor(images=wide, text=TEXT, return_tensors="pt")
    inputs["input_ids"] = inputs["input_ids"][:, 1:]
    with pytest.raises(InputError, match="image tokens, and the images have"):
        model(**inputs)


def test_text_alone_is_the_language_models() -> None:
    for case in ("dense", "packed"):
        _, model, processor = built(case, Path())
        inputs = processor(text="abc", return_tensors="pt")
        with torch.no_grad():
            expected = bridged.language_model()(input_ids=inputs["input_ids"]).logits
            assert torch.equal(model(**inputs).logits[..., : expected.shape[-1]], expected)


def test_a_conversation() -> None:
    _, _, processor = built("dense", Path())
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


def test_parts_are_shared_and_the_image_token_gets_a_row() -> None:
    language_model, tokenizer = bridged.language_model(vocab_size=len(bridged.WORDS)), bridged.tokenizer()
    encoder = compose({"schema": 1, **CASES["dense"]})
    model, processor = build_vlm(encoder, language_model, tokenizer, {"type": "llava", "act": "relu"})
    assert processor.image_token_id == len(bridged.WORDS)
    assert model.get_input_embeddings().num_embeddings == len(bridged.WORDS) + 1
    theirs = {id(parameter) for part in (encoder, language_model) for parameter in part.parameters()}
    new = [name for name, parameter in model.named_parameters() if id(parameter) not in theirs]
    assert all(name.startswith("model.multi_modal_projector.") for name in new)
    assert len(new) == 4
    assert model.config.projector_hidden_act == "relu"
    assert model.config.image_seq_length == 16


@pytest.mark.parametrize("tied", [False, True])
def test_tied_embeddings_stay_tied(tied: bool, tmp_path: Path) -> None:
    encoder = compose({"schema": 1, **CASES["packed"]})
    model, _ = build_vlm(encoder, bridged.language_model(tie_word_embeddings=tied), bridged.tokenizer())
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert (loaded.lm_head.weight is loaded.get_input_embeddings().weight) == tied


def gemma() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    fields = {**bridged.TEXT, "head_dim": 12, "final_logit_softcapping": 0.1}
    return Gemma2ForCausalLM(Gemma2Config(**fields)).eval()


@pytest.mark.parametrize(
    ("keys", "language_model", "connector", "message"),
    [
        ({}, bridged.language_model, {"type": "internvl"}, "compose the encoder with it and output: embeds"),
        ({}, bridged.language_model, {"type": "llava", "hidden_size": 7}, "hidden_size is 7"),
        ({}, bridged.language_model, {"type": "llava", "bias": "x"}, r"^connector\.bias: "),
        ({}, lambda: bridged.language_model().half(), None, r"give compose dtype=torch\.float16"),
        ({}, gemma, None, "a LLaVA cannot be built of a Gemma2ForCausalLM: its logits are not"),
        ({"connector": {"type": "llava", "hidden_size": 8}, "output": "embeds"}, bridged.language_model, None,
         "rows have 8 features, and the language model reads 24"),
        ({"connector": {"type": "llava", "hidden_size": 24}, "output": "embeds"}, bridged.language_model,
         {"type": "llava"}, "a connector of its own"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(
    keys: dict[str, Any], language_model: Any, connector: Any, message: str
) -> None:
    encoder = compose({"schema": 1, **CASES["dense"], **keys})
    with pytest.raises(InputError, match=message):
        build_vlm(encoder, language_model(), bridged.tokenizer(), connector)
