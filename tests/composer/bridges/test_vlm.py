"""build_vlm: what it makes of its parts, what it refuses, and that another process loads both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import bridged

from vision_composer import build_vlm, compose
from vision_composer.errors import InputError

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


@pytest.mark.slow  # a process that imports everything
@pytest.mark.parametrize("case", ["dense", "packed", "tiles", "embeds", "towers"])
def test_another_process_loads_both(case: str, tmp_path: Path) -> None:
    import numpy as np

    _, model, processor = bridged.built(case, tmp_path)
    (image,) = bridged.images((50, 40))
    np.save(tmp_path / "image.npy", image)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    inputs = processor(images=image, text=bridged.PROMPT, return_tensors="pt")
    subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), bridged.PROMPT], check=True, capture_output=True
    )
    their_inputs, logits = torch.load(tmp_path / "made.pt")
    assert inputs.keys() == their_inputs.keys()
    assert all(torch.equal(inputs[name], tensor) for name, tensor in their_inputs.items())
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, logits)


def test_parts_are_shared_and_the_image_token_gets_a_row() -> None:
    language_model, tokenizer = bridged.language_model(vocab_size=len(bridged.WORDS)), bridged.tokenizer()
    encoder = compose({"schema": 1, **bridged.CASES["dense"]})
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
    encoder = compose({"schema": 1, **bridged.CASES["packed"]})
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
    encoder = compose({"schema": 1, **bridged.CASES["dense"], **keys})
    with pytest.raises(InputError, match=message):
        build_vlm(encoder, language_model(), bridged.tokenizer(), connector)
