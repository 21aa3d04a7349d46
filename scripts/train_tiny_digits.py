"""Train the embedded encoder: ``python scripts/train_tiny_digits.py`` rewrites ``tiny-digits``' weights.

A vision tower of SigLIP's architecture learns, with SigLIP's sigmoid loss, to put an image's pooled feature
beside the embedding of its label and away from the nine others. It sees the ``encoder`` part of the digits
only, through the image processor that every later use goes through. The numbers printed are of the part
``probe_train``, on which the recipe below was chosen; ``probe_test`` is left to the demo.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from vision_composer.demo.digits import PARTS, SPLIT, as_images, load_pixels
from vision_composer.demo.probe import linear_probe
from vision_composer.presets import load_config

EPOCHS = 100
BATCH = 96
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
SEED = 0
# Bounds of the random affine maps: degrees, shares of the size, and shares of the image's side.
ROTATION, SCALE, SHEAR, SHIFT = 15.0, 0.15, 0.2, 0.1

TRAIN, HELD_OUT = PARTS["encoder"], PARTS["probe_train"]


class LabelEmbeddings(nn.Module):
    """The text side of SigLIP, shrunk to a table: one embedding a label, a temperature and a bias."""

    def __init__(self, width: int, labels: int = 10) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(labels, width) * 0.1)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-5.0))

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits ``(images, labels)`` of pooled features ``(images, width)``."""
        cosines = F.normalize(pooled, dim=-1) @ F.normalize(self.table, dim=-1).T
        return cosines * self.log_temperature.exp() + self.bias


def sigmoid_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """SigLIP's loss: each pair of image and label is a yes-or-no question of its own."""
    signs = 2 * F.one_hot(labels, logits.shape[1]) - 1
    return -F.logsigmoid(signs * logits).sum(dim=-1).mean()


def jitter(images: Tensor) -> Tensor:
    """Turn, stretch, shear and shift each of ``images`` ``(n, 3, side, side)`` a little, at random."""
    n = len(images)

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(n) - 1) * bound

    angle = torch.deg2rad(uniform(ROTATION))
    rows = [
        torch.stack([angle.cos(), -angle.sin()], dim=-1),
        torch.stack([angle.sin(), angle.cos()], dim=-1),
    ]
    stretch = [
        torch.stack([1 + uniform(SCALE), uniform(SHEAR)], dim=-1),
        torch.stack([torch.zeros(n), 1 + uniform(SCALE)], dim=-1),
    ]
    # affine_grid measures from -1 to 1: a share of the side is twice that.
    shift = torch.stack([uniform(2 * SHIFT), uniform(2 * SHIFT)], dim=-1)
    maps = torch.cat([torch.stack(rows, dim=1) @ torch.stack(stretch, dim=1), shift[:, :, None]], dim=-1)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    # grid_sample fills with 0, paper is -1.
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


def train(
    model: SiglipVisionModel, labels: LabelEmbeddings, images: Tensor, targets: Tensor, epochs: int
) -> None:
    """Train both sides in place, on ``images`` ``(n, 3, side, side)`` and ``targets`` ``(n,)``."""
    optimizer = torch.optim.AdamW(
        [{"params": model.parameters()}, {"params": labels.parameters(), "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
    )
    batches = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=epochs * batches, pct_start=0.1
    )
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images))[: batches * BATCH].split(BATCH):
            loss = sigmoid_loss(labels(model(jitter(images[rows])).pooler_output), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1:3d}: loss {total / batches:.3f}", flush=True)


@torch.inference_mode()
def report(
    model: SiglipVisionModel, labels: LabelEmbeddings, images: Tensor, targets: npt.NDArray[np.int64]
) -> None:
    """Print what the trained encoder, and its architecture alone, are worth on images they never saw."""

    def probes(encoder: SiglipVisionModel) -> str:
        states = encoder.eval()(images, output_hidden_states=True).hidden_states
        features = [state.mean(dim=1).numpy() for state in states]
        return "  ".join(f"{linear_probe(x, targets, TRAIN, HELD_OUT).accuracy:.3f}" for x in features)

    guesses = labels(model.eval()(images[HELD_OUT]).pooler_output).argmax(dim=-1).numpy()
    raw = linear_probe(images[:, 0].flatten(1).numpy(), targets, TRAIN, HELD_OUT)
    print(f"held out: {raw.total} digits of other sheets; accuracy of")
    print(f"  nearest label embedding            {np.mean(guesses == targets[HELD_OUT]):.3f}")
    print(f"  linear probe on pixels             {raw}")
    print(f"  linear probe on each hidden state  {probes(model)}")
    print(f"  the same with random weights       {probes(SiglipVisionModel(model.config))}")


def main() -> None:
    default = Path(__file__).resolve().parents[1] / "presets" / "tiny" / "digits.safetensors"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()

    # One thread: the order of sums, and with it the result, does not depend on the number of cores.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    pixels, targets = load_pixels()
    fields: dict[str, Any] = load_config("tiny-digits").encoder.model_dump(exclude={"model_type"})
    side = fields["image_size"]
    processor = SiglipImageProcessorPil(size={"height": side, "width": side})
    images: Tensor = processor(as_images(pixels), return_tensors="pt")["pixel_values"]

    model = SiglipVisionModel(SiglipVisionConfig(**fields))
    labels = LabelEmbeddings(model.config.hidden_size)
    train(model, labels, images[TRAIN], torch.from_numpy(targets)[TRAIN], args.epochs)
    metadata = {
        "format": "pt",
        "license": "Apache-2.0",
        "trained_by": "scripts/train_tiny_digits.py",
        "data": f"scikit-learn load_digits, rows {TRAIN.start} to {TRAIN.stop - 1} (split {SPLIT})",
        "seed": str(SEED),
        "epochs": str(args.epochs),
    }
    save_file(model.state_dict(), args.output, metadata)
    print(f"wrote {args.output} ({args.output.stat().st_size:,} bytes)")
    report(model, labels, images, targets)


if __name__ == "__main__":
    main()
