"""Compare a composed vision half with the vision-language model in transformers that it was read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..composing import compose
from ..config_json import tower_of_config_json
from ..encoder import ComposedVisionEncoder
from ..errors import ConformanceError

_SIZES = ((64, 64), (37, 211), (150, 40), (97, 103))
"""Width and height in pixels of the images that are compared by default."""
_BOUND = 1e-4
"""The largest difference relative to the largest value: float32 arithmetic in another order."""


@dataclass(frozen=True)
class ImageComparison:
    """What became of one image here and in transformers' model.

    Attributes:
        width: The image's width in pixels.
        height: Its height.
        planned: Rows that were planned before anything was built.
        rows: Rows that came out here.
        expected: Rows that the model puts into its language model.
        difference: The largest difference between the two, relative to the largest value; infinite if their
            numbers differ.
    """

    width: int
    height: int
    planned: int
    rows: int
    expected: int
    difference: float

    @property
    def equal(self) -> bool:
        """Whether the same rows came out, as many as were planned."""
        return self.planned == self.rows == self.expected and self.difference <= _BOUND


def check_vlm(folder: str | Path, images: Sequence[Image.Image] | None = None) -> list[ImageComparison]:
    """Check that the vision half composed from a VLM's folder makes what the VLM's language model reads.

    The VLM runs in transformers, in float32, with its own image processor. What it puts into its input
    embeddings is held against ``encode(images)`` with ``output: embeds``, each image alone and then all of
    them at once; and the number of rows against the plan.

    Args:
        folder: The VLM's folder: config.json, weights, and the image processor's config.
        images: The images to compare. Default: four random ones of odd sizes.

    Returns:
        One comparison per image.

    Raises:
        ConformanceError: If an image's rows differ, or their number is not the planned one.
    """
    found = compare_vlm(str(folder), images or random_images())
    wrong = [line for line in found if not line.equal]
    if wrong:
        raise ConformanceError("\n".join(map(str, wrong)))
    return found


def compare_vlm(folder: str, images: Sequence[Image.Image]) -> list[ImageComparison]:
    """Run images through a VLM in transformers and through its vision half; see :func:`check_vlm`."""
    encoder = compose(tower_of_config_json(folder), overrides=["output=embeds", "weights.dtype=float32"])
    model, processor = load_vlm(folder)
    compared = []
    together = encoder.encode(list(images))
    for image, beside in zip(images, together, strict=True):
        (rows,) = encoder.encode([image])
        expected = embeddings(model, processor, encoder, image)
        difference = max(_difference(rows, expected), _difference(beside, expected))
        planned = encoder.num_tokens(*image.size)
        compared.append(ImageComparison(*image.size, planned, len(rows), len(expected), difference))
    return compared


def random_images(sizes: Sequence[tuple[int, int]] = _SIZES) -> list[Image.Image]:
    """Make random RGB images of these widths and heights, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return [
        Image.fromarray(
            torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy()
        )
        for width, height in sizes
    ]


def load_vlm(folder: str) -> tuple[Any, Any]:
    """Load a VLM and its image processor, both transformers' own."""
    from transformers import AutoImageProcessor, AutoModelForImageTextToText

    model: Any = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")  # type: ignore[no-untyped-call]  # untyped there
    return model.eval(), processor


def embeddings(model: Any, processor: Any, encoder: ComposedVisionEncoder, image: Image.Image) -> Tensor:
    """Return the rows (rows, width) that a VLM puts into its input embeddings for an image.

    Args:
        model: The VLM.
        processor: Its image processor.
        encoder: Tells how many image tokens to write into the prompt.
        image: The image.
    """
    inputs = processor(images=[image], return_tensors="pt", **_image_options(model.config.model_type))
    known = signature(model.forward).parameters
    inputs = {name: value for name, value in inputs.items() if name in known}
    token = next(
        getattr(model.config, name)
        for name in ("image_token_id", "image_token_index")
        if hasattr(model.config, name)
    )
    ids = torch.full((1, encoder.num_tokens(*image.size) + 1), token)
    ids[0, -1] = next(i for i in range(3, 9) if i != token)
    if "mm_token_type_ids" in known:  # tells image tokens, 1, from text, 0, for a rope over images
        inputs["mm_token_type_ids"] = (ids == token).int()
    with _scattered() as seen, torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs)
    return seen[0].flatten(0, -2)


def _image_options(model_type: str) -> dict[str, Any]:
    """Return the options that a VLM's own processor hands to its image processor."""
    from transformers.models.auto import processing_auto as auto

    names: Mapping[str, str] = vars(auto)["PROCESSOR_MAPPING_NAMES"]
    name = names.get(model_type)
    try:
        processor = None if name is None else auto.processor_class_from_name(name)
        return dict(getattr(processor, "images_kwargs", {}))
    except ImportError:  # transformers' stand-in for a class whose library is missing
        return {}


@contextmanager
def _scattered() -> Iterator[list[Tensor]]:
    """Collect what is written into masked places: so VLMs put images' rows among their text's embeddings."""
    seen: list[Tensor] = []
    own = Tensor.masked_scatter

    def masked_scatter(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
        seen.append(source.detach().clone())
        return own(self, mask, source)

    Tensor.masked_scatter = masked_scatter  # type: ignore[method-assign,assignment]  # for a while
    try:
        yield seen
    finally:
        Tensor.masked_scatter = own  # type: ignore[method-assign]  # back again


def _difference(rows: Tensor, expected: Tensor) -> float:
    if rows.shape != expected.shape:
        return float("inf")
    scale = float(expected.abs().max()) or 1.0
    return float((rows - expected).abs().max()) / scale
