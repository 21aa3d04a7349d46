"""Encoders inside transformers: round trips, and tiny language models with their tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vision_composer import build_vlm, compose

from . import fused, tiny
from .vlms import save_vlm

TEXT = {
    "vocab_size": 64,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
"""A language model of two layers."""
WORDS = ["<s>", "</s>", "<pad>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", "\n", "?", "."]

SIGLIP = {**tiny.ENCODERS["siglip_vision_model"], "num_hidden_layers": 2}
PROMPT = "<image>\nwhat is this?"
CASES: dict[str, Any] = {
    "dense": {"encoder": SIGLIP, "select_layers": [-2, 1]},
    "packed": {"encoder": tiny.PACKED["qwen2_5_vl_vision"]},
    "padded": {"encoder": tiny.PADDED["siglip2_vision_model"], "select_layers": [-2]},
    "pixtral": {"encoder": tiny.PACKED["pixtral"]},
    "towers": {"towers": {"siglip": fused.SIGLIP, "dino": fused.DINO}, "align": {"grid": [3, 4]}},
}
"""Encoders of every kind that need no files."""
EVERY_CASE = (*CASES, "tiles", "embeds")
SIZES = ((40, 50), (90, 30))


def language_model(**changes: Any) -> Any:
    """A tiny random Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    return tiny.scramble(LlamaForCausalLM(LlamaConfig(**{**TEXT, **changes})))


def tokenizer() -> Any:
    """A tokenizer of single letters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=letters, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def images(*sizes: tuple[int, int], seed: int = 0) -> list[Any]:
    """Random images of these widths and heights."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in sizes]


def rows(features: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Features as a model of transformers returns them."""
    return features if isinstance(features, Tensor) else torch.cat(features).unsqueeze(0)


def saved_and_loaded(model: Any, folder: Path) -> Any:
    """What transformers loads of what it saved, with every tensor in its place."""
    from transformers import AutoModel

    model.save_pretrained(folder)
    loaded, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    for (name, buffer), (_, other) in zip(model.named_buffers(), loaded.named_buffers(), strict=True):
        assert torch.equal(buffer, other), name
    return loaded


def encoder_of(case: str, folder: Path) -> Any:
    """An encoder of every kind; "tiles" and "embeds" are LLaVA-NeXT's, the second with its connector."""
    torch.manual_seed(0)
    if case in ("tiles", "embeds"):
        return compose(save_vlm("llava_next", folder / "vlm"), overrides=[f"output={case}"])
    return tiny.scramble(compose({"schema": 1, **CASES[case]}))


def built(case: str, folder: Path = Path()) -> tuple[Any, Any, Any]:
    """Such an encoder, a model of it and of a tiny language model, and the processor."""
    encoder = encoder_of(case, folder)
    width = encoder.output_width if case == "embeds" else 24
    return encoder, *build_vlm(encoder, language_model(hidden_size=width), tokenizer())
