"""Compare a composed vision half with the vision-language model in transformers that it was read from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..composing import compose_tower
from ..config_json import tower_of_config_json
from ..errors import ConformanceError, InputError
from ..presets import load_config
from ..schemas import TowerConfig, one_tower
from .vlm_states import TowerStates

_SIZES = ((64, 64), (37, 211), (150, 40), (97, 103))
"""Width and height in pixels of the images that are compared by default."""
ROWS_BOUND = 1e-4
"""The largest difference of rows relative to the largest value: float32 arithmetic in another order."""
_ADDING = frozenset({"molmo2"})
"""model_type of the VLMs that add an image's rows to the embeddings of their places in the text."""
PIXELS_BOUND = 1e-5
"""The largest difference of normalised pixels: float32 arithmetic in another order."""


@dataclass(frozen=True)
class ImageComparison:
    """What became of one image here and in transformers' model.

    Attributes:
        width: The image's width in pixels.
        height: Its height.
        pixels: The largest difference between the two inputs of the tower, in the units of normalised pixels;
            infinite if they differ in shape. None if transformers has the model's image processor for
            another library only: then both sides get the same pixels.
        planned: Rows that were planned before anything was built.
        rows: Rows that came out here.
        expected: Rows that the model puts among its input embeddings.
        difference: The largest difference between the two, relative to the largest value; infinite if their
            numbers differ.
        states: Hidden state of the tower that is read, 0 to N -> the largest difference from the model's own,
            relative to the largest value.
    """

    width: int
    height: int
    pixels: float | None
    planned: int
    rows: int
    expected: int
    difference: float
    states: Mapping[int, float]

    @property
    def equal(self) -> bool:
        """Whether pixels, hidden states and rows are the same, and as many as were planned."""
        counts = self.planned == self.rows == self.expected
        differences = (self.difference, *self.states.values())
        rows = all(difference <= ROWS_BOUND for difference in differences)
        return counts and rows and (self.pixels or 0.0) <= PIXELS_BOUND


def check_vlm(folder: str | Path, images: Sequence[Image.Image] | None = None) -> list[ImageComparison]:
    """Check that the vision half composed from a VLM's folder makes what the VLM's language model reads.

    The VLM runs in transformers, in float32, with its own image processor. What it puts into its input
    embeddings is held against ``encode(images)`` with ``output: embeds``, each image alone and then all of
    them at once; the hidden states that the tower is read at against those of the VLM's tower; and the number
    of rows against the plan.

    Args:
        folder: The VLM's folder: config.json, weights, and the image processor's config.
        images: The images to compare. Default: four random ones of odd sizes.

    Returns:
        One comparison per image.

    Raises:
        ConformanceError: If an image's pixels, hidden states or rows differ, or the rows are not as many as
            planned.
    """
    found = compare_vlm(one_tower(load_config(tower_of_config_json(str(folder)))), images or random_images())
    wrong = [line for line in found if not line.equal]
    if wrong:
        raise ConformanceError("\n".join(map(str, wrong)))
    return found


def compare_vlm(config: TowerConfig, images: Sequence[Image.Image]) -> list[ImageComparison]:
    """Run images through a composed vision half and through the whole VLM that its weights are read from.

    Args:
        config: A config with a checkpoint of a VLM as ``weights.source``. Both sides run in float32.
        images: The images, in RGB.

    Raises:
        InputError: If the config names no checkpoint.
        ConformanceError: If the VLM puts no image's rows among its embeddings, or has no such tower.
    """
    if config.weights.source is None:
        raise InputError("the config has no weights.source, so that there is no model to compare with")
    encoder = compose_tower(config, overrides=["output=embeds", "weights.dtype=float32"])
    model, processor = load_vlm(config.weights.source, config.weights.hub_revision)
    states = TowerStates(encoder, model)
    compared = []
    together = encoder.encode(list(images))
    for image, beside in zip(images, together, strict=True):
        ours = encoder.preprocess([image])
        inputs = ours if processor is None else image_inputs(model, processor, image)
        (rows,) = encoder.encode([image])
        with states.watching():
            expected = embeddings(model, inputs, encoder.num_tokens(*image.size))
        compared.append(
            ImageComparison(
                *image.size,
                pixels=_pixel_difference(ours["pixel_values"], inputs["pixel_values"]) if processor else None,
                planned=encoder.num_tokens(*image.size),
                rows=len(rows),
                expected=len(expected),
                difference=max(_difference(rows, expected), _difference(beside, expected)),
                states={layer: _difference(*both) for layer, both in states.pairs(ours).items()},
            )
        )
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


def load_vlm(source: str, revision: str | None = None) -> tuple[Any, Any]:
    """Load a VLM and its image processor, both transformers' own.

    The processor is None if transformers has it for a library that is not installed, but for Molmo2, whose
    own runs without it.
    """
    from transformers import AutoImageProcessor, AutoModelForImageTextToText
    from transformers.utils.import_utils import is_torchvision_available

    where: dict[str, Any] = {"revision": revision} if revision else {}
    model: Any = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32, **where)
    try:
        if model.config.model_type == "molmo2" and not is_torchvision_available():
            from .molmo2 import Molmo2WithoutTorchvision

            return model.eval(), Molmo2WithoutTorchvision.from_pretrained(source, **where)
        processor = AutoImageProcessor.from_pretrained(source, backend="pil", **where)  # type: ignore[no-untyped-call]  # untyped there
    except (ImportError, ValueError) as error:
        if "torchvision" not in str(error):
            raise
        processor = None
    return model.eval(), processor


def image_inputs(model: Any, processor: Any, image: Image.Image) -> dict[str, Tensor]:
    """Return what a VLM's own image processor makes of an image."""
    options = _image_options(model.config.model_type) | {"return_tensors": "pt"}
    made: dict[str, Tensor] = dict(processor(images=[image], **options))
    if "pixel_values_images" in made:  # Video-LLaVA's name, which its model calls deprecated
        made["pixel_values"] = made.pop("pixel_values_images")
    return made


def embeddings(model: Any, inputs: Mapping[str, Tensor], num_rows: int) -> Tensor:
    """Return the rows (rows, width) that a VLM puts into its input embeddings for an image or a clip.

    Of one that hands them to cross-attention instead, as BLIP and Llama 3.2, those of the tiles that are not
    padding.

    Args:
        model: The VLM.
        inputs: What its image processor made of the image, or its video processor of the clip.
        num_rows: How many image or video tokens to write into the prompt; another number if the model has
            other rows.

    Raises:
        ConformanceError: If it puts nothing there.
    """
    known = signature(model.forward).parameters
    if "pixel_values" in known:  # or else it hands everything on
        inputs = {name: value for name, value in inputs.items() if name in known}
    # Some take image tokens for clips, too.
    kinds = ("image", "video") if "pixel_values_videos" in inputs else ("image",)
    tokens = [token for kind in kinds for token in _tokens(model.config, kind)]
    word = next(i for i in range(3, 9) if i not in tokens)
    ids = torch.tensor([[*tokens * num_rows, word]])
    if model.config.model_type in _ADDING:
        model.get_input_embeddings().weight.data[tokens] = 0.0
    try:
        with _stopping_at_the_scatter(), _stopping_at_cross_attention(model), torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs)
    except _Scattered as found:
        tiles = inputs.get("aspect_ratio_mask")
        rows = found.rows if tiles is None else found.rows[tiles.flatten().bool()]
        return rows.flatten(0, -2)
    except ValueError as error:
        # It has other rows than there are places in the prompt: those are what was asked for.
        counted = re.search(r"features: (\d+)", str(error))
        if counted is None or int(counted[1]) == num_rows:
            raise
        return embeddings(model, inputs, int(counted[1]))
    raise ConformanceError(f"{model.config.model_type} puts no image's rows among its input embeddings")


def _tokens(config: Any, kind: str) -> list[int]:
    """Return the token that stands for an image or a video in a prompt; BLIP has none."""
    names = (f"{kind}_token_id", f"{kind}_token_index")
    return [getattr(config, name) for name in names if hasattr(config, name)][:1]


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


class _Scattered(Exception):  # noqa: N818  # no error: what was looked for
    """Ends a model's forward when it has come to what is looked for."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows


@contextmanager
def _stopping_at_the_scatter() -> Iterator[None]:
    """Stop a model where it puts images' rows among its text's embeddings: it writes into masked places."""
    own = Tensor.masked_scatter

    def masked_scatter(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
        raise _Scattered(source.view(-1, self.shape[-1]) if source.dim() == 1 else source)

    Tensor.masked_scatter = masked_scatter  # type: ignore[method-assign,assignment]  # for a while
    try:
        yield
    finally:
        Tensor.masked_scatter = own  # type: ignore[method-assign]  # back again


@contextmanager
def _stopping_at_cross_attention(model: Any) -> Iterator[None]:
    """Stop a model where its language model is given an image's rows beside its text's embeddings."""

    def look(module: Any, args: Any, inputs: Mapping[str, Any]) -> None:
        for name in ("cross_attention_states", "encoder_hidden_states"):
            if inputs.get(name) is not None:
                raise _Scattered(inputs[name])

    decoder = getattr(model, "text_decoder", None) or model.get_decoder()
    hook = decoder.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _pixel_difference(pixels: Tensor, expected: Tensor) -> float:
    if pixels.numel() != expected.numel():
        return float("inf")
    return float((pixels.flatten() - expected.to(pixels).flatten()).abs().max())


def _difference(rows: Tensor, expected: Tensor) -> float:
    if rows.shape != expected.shape:
        return float("inf")
    scale = float(expected.abs().max()) or 1.0
    return float((rows - expected).abs().max()) / scale
