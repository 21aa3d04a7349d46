"""Train a tiny vision-language model to name handwritten digits, on a CPU, in about a minute.

Needs scikit-learn, which brings the digits, and peft: ``pip install '.[demo,lora]'``. Nothing is downloaded:
the tower is ``tiny-digits``, whose weights come with the package, and the language model is trained here.

    python examples/train_llava.py --output tiny-llava      # trains, saves, and names digits it has not seen
    python examples/train_llava.py --ask tiny-llava a.png   # loads what was saved, and names an image
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from vision_composer import build_vlm, compose, register_transformers
from vision_composer.demo.digits import PARTS, as_images, load_pixels

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUESTION = "which digit is this? "
SEEN = slice(PARTS["encoder"].start, PARTS["probe_train"].stop)
UNSEEN = PARTS["probe_test"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of single letters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = ["<s>", "</s>", "<pad>", "<unk>", *"abcdefghijklmnopqrstuvwxyz ?\n"]
    letters = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=letters,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def train(
    model: Any, batch: dict[str, Tensor], *, prompt: int, steps: int, rate: float, num_images: int = 64
) -> float:
    """Train what requires gradients to continue ``prompt`` tokens as the batch does; return the last loss."""
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    labels[:, :prompt] = -100
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        some = torch.randint(len(labels), (num_images,))
        loss = model(**{name: tensor[some] for name, tensor in batch.items()}, labels=labels[some]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    return float(loss.detach())


def make_language_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A language model that answers the question with any digit's name, because it sees nothing."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    texts = tokenizer([f"<s>\n{QUESTION}{name}</s>" for name in NAMES], padding=True, return_tensors="pt")
    loss = train(model, dict(texts), prompt=1, steps=200, rate=3e-3)
    print(f"language model  {model.num_parameters():,} parameters, loss {loss:.2f}: it guesses")
    return model


def add_lora(model: Any) -> Any:
    """Freeze all but the projector, and put LoRA matrices beside the language model's own."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
        modules_to_save=["multi_modal_projector"],
    )
    return get_peft_model(model, config)


def answers(model: Any, processor: Any, images: Sequence[Image.Image]) -> list[str]:
    """What the model calls each image."""
    inputs = processor(
        images=list(images), text=[f"<s><image>\n{QUESTION}"] * len(images), return_tensors="pt"
    )
    made = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    return processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def run(folder: Path) -> float:
    """Train, save into ``folder``, and return the share of unseen digits that are named rightly."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    encoder = compose("tiny-digits", overrides=["select_layers=[-1]"])
    model, processor = build_vlm(encoder, make_language_model(tokenizer), tokenizer, {"type": "llava"})

    pixels, labels = load_pixels()
    texts = [f"<s><image>\n{QUESTION}{NAMES[label]}</s>" for label in labels[SEEN]]
    batch = processor(images=as_images(pixels[SEEN]), text=texts, padding=True, return_tensors="pt")
    prompt = len(processor(images=as_images(pixels[:1]), text=f"<s><image>\n{QUESTION}")["input_ids"][0])

    model = add_lora(model)
    trained, all_of_them = model.get_nb_trainable_parameters()
    print(f"vlm             {trained:,} of {all_of_them:,} parameters are trained: projector and LoRA")
    loss = train(model, dict(batch), prompt=prompt, steps=200, rate=4e-3)
    model = model.merge_and_unload()

    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    named = answers(model, processor, as_images(pixels[UNSEEN]))
    right = sum(name == NAMES[label] for name, label in zip(named, labels[UNSEEN], strict=True))
    print(f"                loss {loss:.2f}, {right} of {len(named)} unseen digits are named rightly")
    print(f"saved           {folder}")
    check_another_process(folder, as_images(pixels[UNSEEN])[:10], named[:10])
    return right / len(named)


def check_another_process(folder: Path, images: Sequence[Image.Image], expected: Sequence[str]) -> None:
    """Have another process load the model, and compare its answers."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = [str(Path(scratch) / f"{i}.png") for i in range(len(images))]
        for image, path in zip(images, paths, strict=True):
            image.save(path)
        command = [sys.executable, __file__, "--ask", str(folder), *paths]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.split() == list(expected), (printed, expected)
    print(f"loaded          another process says the same: {', '.join(expected)}")


def ask(folder: Path, paths: Sequence[str]) -> None:
    """Load a saved model, and print what it calls each image."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    register_transformers()
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    print(*answers(model, processor, images), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("tiny-llava"), help="folder to save into")
    parser.add_argument("--ask", nargs="+", metavar=("FOLDER", "IMAGE"), help="load FOLDER, and name images")
    arguments = parser.parse_args()
    if arguments.ask:
        ask(Path(arguments.ask[0]), arguments.ask[1:])
    else:
        run(arguments.output)


if __name__ == "__main__":
    main()
