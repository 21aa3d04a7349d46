"""Training what a VLM is made of: a step changes what it should, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import bridged, tiny

from vision_composer import build_vlm, compose

SIGLIP = {**tiny.ENCODERS["siglip_vision_model"], "num_hidden_layers": 2}


def vlm(**keys: Any) -> tuple[Any, dict[str, Any]]:
    """A model, and a batch to train it on."""
    encoder = compose({"schema": 1, "encoder": SIGLIP, **keys})
    tiny.scramble(encoder.model)
    model, processor = build_vlm(encoder, bridged.language_model(), bridged.tokenizer())
    batch = processor(images=bridged.images((40, 40)), text="<image>\nabc", return_tensors="pt")
    return model, {**batch, "labels": batch["input_ids"].masked_fill(batch["input_ids"] > 40, -100)}


def changed_by_a_step(model: torch.nn.Module, batch: dict[str, Any]) -> set[str]:
    """The parameters that one step of an optimizer over all that require gradients changes."""
    before = copy.deepcopy(dict(model.named_parameters()))
    model.train()
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0)
    model(**batch).loss.backward()
    optimizer.step()
    return {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}


def in_parts(names: Iterable[str]) -> set[str]:
    parts = ("vision_tower", "multi_modal_projector", "language_model", "lm_head")
    return {next(part for part in parts if part in name) for name in names}


def test_a_frozen_tower_stays_and_the_projector_moves() -> None:
    model, batch = vlm()
    model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(True)
    changed = changed_by_a_step(model, batch)
    assert changed == {name for name, _ in model.named_parameters() if "multi_modal_projector" in name}


def test_every_parameter_of_an_unfrozen_tower_moves() -> None:
    model, batch = vlm(select_layers=[-1])
    changed = changed_by_a_step(model, batch)
    assert in_parts(changed) == {"vision_tower", "multi_modal_projector", "language_model", "lm_head"}
    tower = {name for name, _ in model.named_parameters() if "vision_tower" in name}
    assert {name for name in tower if "k_proj.bias" not in name} <= changed  # softmax forgets a key's bias


@pytest.mark.parametrize("part", ["language_model", "vision_tower"])
def test_lora_on_one_part_changes_its_own_matrices_alone(part: str) -> None:
    peft = pytest.importorskip("peft")
    model, batch = vlm()
    targets = rf".*{part}.*\.(q|v)_proj"
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=targets, init_lora_weights=False))
    changed = changed_by_a_step(wrapped, batch)
    lora = {name for name, _ in wrapped.named_parameters() if ".lora_" in name}
    assert changed == lora
    assert in_parts(lora) == {part}
    assert len(lora) == 2 * 2 * 2  # blocks, projections, and the two matrices of each


def test_lora_on_the_tower_comes_back_from_disk(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    encoder = compose({"schema": 1, "encoder": SIGLIP})
    tiny.scramble(encoder.model)
    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    wrapped = peft.get_peft_model(encoder.as_transformers(), config)
    pixels = tiny.pixels(SIGLIP)
    with torch.no_grad():
        adapted = wrapped(pixels).last_hidden_state
        wrapped.save_pretrained(tmp_path)
        with wrapped.disable_adapter():
            plain = wrapped(pixels).last_hidden_state
        wrapped.unload()
        assert torch.equal(encoder(pixels), plain)
        loaded = peft.PeftModel.from_pretrained(encoder.as_transformers(), tmp_path)
        assert torch.equal(loaded(pixels).last_hidden_state, adapted)
    assert not torch.equal(plain, adapted)


@pytest.mark.parametrize("task", [None, "FEATURE_EXTRACTION"])
def test_peft_wraps_the_encoder_itself(task: str | None) -> None:
    peft = pytest.importorskip("peft")
    encoder = compose({"schema": 1, "encoder": SIGLIP})
    pixels = tiny.pixels(SIGLIP)
    with torch.no_grad():
        plain = encoder(pixels)
        wrapped = peft.get_peft_model(encoder, peft.LoraConfig(target_modules=["q_proj"], task_type=task))
        assert torch.equal(wrapped(pixel_values=pixels), plain)  # an adapter begins as nothing
        encoder.as_transformers()


def test_a_trainer_trains_it(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    model, batch = vlm()
    model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(True)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=1,
        max_steps=2,
        learning_rate=0.1,
        remove_unused_columns=False,
        report_to=[],
        save_strategy="steps",
        save_steps=2,
        use_cpu=True,
    )
    rows = [{name: tensor[0] for name, tensor in batch.items()}] * 2
    before = copy.deepcopy(dict(model.named_parameters()))
    Trainer(model, arguments, train_dataset=rows).train()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert in_parts(changed) == {"multi_modal_projector"}
    model.eval()
    loaded = type(model).from_pretrained(tmp_path / "checkpoint-2")
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)
