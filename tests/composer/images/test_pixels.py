"""Images read as 8-bit pixels and finished later, beside the same image processor in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from support.compiled import WAYS, choose
from support.images import noise_image
from support.processors import CROPPED, dense, ragged, settings

from vision_composer.images.image_steps import ImageSteps
from vision_composer.images.patch_order import PatchOrder
from vision_composer.images.pixels import ProcessorSteps
from vision_composer.images.preprocess import DensePreprocessor, ImagePreprocessor
from vision_composer.images.preprocess_tiles import TiledPreprocessor
from vision_composer.images.processors import process_dense, process_ragged, uint8_or_float32
from vision_composer.images.tiling import TILINGS, tiling_of
from vision_composer.schemas import PROCESSOR_CLASSES
from vision_composer.schemas.tiling import tiling_config
from vision_composer.schemas.tiling.base import TilingConfig

WHOLE = {"MllamaImageProcessor", "Inkling2ImageProcessor", "Phi4MultimodalImageProcessor"}
"""Classes that put pixels into floats even without arithmetic: they pad with what is no 8-bit pixel, or
resize behind it."""
RESIZING = {
    *("Kimi_K25ImageProcessor", "Lfm2VlImageProcessor", "Idefics3ImageProcessor", "SmolVLMImageProcessor"),
    *("AriaImageProcessor", "Glm5NextImageProcessor", "Molmo2ImageProcessor", *WHOLE),
}
"""Classes that resize twice, pad as they resize, or resize whatever they are told."""
PADDING = {
    *(
        "DeepseekVLImageProcessor",
        "JanusImageProcessor",
        "VideoLlama3ImageProcessor",
        "PixtralImageProcessor",
    ),
    *("Siglip2ImageProcessor", "Gemma4ImageProcessor", "Idefics2ImageProcessor", "MuseGlimmerImageProcessor"),
}
"""Classes that pad behind the resize, or return more than pixels and a grid."""
SIZES = [(640, 480), (211, 90), (41, 1000)]


def preprocessor(name: str, **values: Any) -> ImagePreprocessor:
    made = settings(name, **values)
    return dense(made) if made.processor_class.inputs == "pixels" else ragged(made)


def in_one_piece(preprocess: ImagePreprocessor, size: tuple[int, int]) -> dict[str, np.ndarray[Any, Any]]:
    """What the processor itself makes of an image, arithmetic and all."""
    image, processor = noise_image(*size), preprocess.processor
    is_dense = isinstance(preprocess, DensePreprocessor)
    arrays = process_dense(processor, image, 3) if is_dense else process_ragged(processor, image)
    return {**arrays, "pixel_values": arrays["pixel_values"].astype(np.float32)}


def check(preprocess: ImagePreprocessor, size: tuple[int, int]) -> None:
    """Ours and the processor's own: the same names, dtypes, shapes and bits."""
    wanted = in_one_piece(preprocess, size)
    got = preprocess([noise_image(*size)])
    assert got.keys() == wanted.keys()
    assert got["pixel_values"].dtype == torch.float32
    for name, array in wanted.items():
        assert got[name].numpy().dtype == array.dtype
        assert np.array_equal(got[name].numpy(), array), name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PROCESSOR_CLASSES)
def test_every_processor_in_two_halves_is_the_processor_to_the_bit(
    name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(way, monkeypatch)
    preprocess = preprocessor(name)
    assert (preprocess.levels is None) == (name in WHOLE)
    read = preprocess.reader.read
    assert (isinstance(read, ProcessorSteps) and read.size is None) == (name in RESIZING)
    assert isinstance(read, ImageSteps) == (name not in RESIZING | PADDING)
    for size in SIZES:
        check(preprocess, size)
        (arrays,) = preprocess.read([noise_image(*size)])
        assert (arrays["pixel_values"].dtype == np.uint8) == (name not in WHOLE)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("CLIPImageProcessor", {"do_pad": True, "pad_size": {"height": 300, "width": 300}}),
        ("CLIPImageProcessor", {"do_rescale": False, "image_mean": [9.0, 8.0, 7.0]}),
        ("CLIPImageProcessor", {"do_normalize": False, "rescale_factor": 1 / 127}),
        ("CLIPImageProcessor", {"do_rescale": False, "do_normalize": False}),
        ("CLIPImageProcessor", {"do_resize": False}),
        ("LlavaImageProcessor", {"do_pad": True}),
        ("Llama4ImageProcessor", {"do_normalize": False}),
        ("Qwen2VLImageProcessor", {"merge_size": 1, "temporal_patch_size": 3}),
        ("Cosmos3EdgeImageProcessor", {"merge_size": 3, "temporal_patch_size": 2}),
        ("HunYuanVLImageProcessor", {"resample": 2, "merge_size": 4}),
        ("Gemma4ImageProcessor", {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3]}),
        ("SiglipImageProcessor", {"resample": 0}),
        ("DeepseekVLImageProcessor", {"resample": 0}),
    ],
)
def test_other_arguments(name: str, values: dict[str, Any]) -> None:
    preprocess = preprocessor(name, **values)
    for size in SIZES:
        if values.get("do_resize") is not False or min(size) >= 224:
            check(preprocess, size)


def test_padding_behind_the_arithmetic_of_some_sizes_only() -> None:
    """The image that both ways are tried with has none: nothing shows in it."""
    values = {"do_center_crop": False, "do_pad": True, "pad_size": {"height": 224, "width": 298}}
    preprocess = preprocessor("CLIPImageProcessor", **values)
    for size in [(64, 48), (50, 50)]:
        check(preprocess, size)


@pytest.mark.parametrize("name", ["PixtralImageProcessor", "Idefics2ImageProcessor", "Siglip2ImageProcessor"])
def test_padding_between_images_is_zero_and_not_black(name: str) -> None:
    preprocess = preprocessor(name, **({"do_image_splitting": False} if name.startswith("Idefics") else {}))
    batch = preprocess([noise_image(*size) for size in SIZES])
    images = [preprocess([noise_image(*size)]) for size in SIZES]
    joined = preprocess.collate(images)
    assert batch.keys() == joined.keys()
    assert all(torch.equal(batch[key], joined[key]) for key in joined)
    assert (batch["pixel_values"] == 0).sum() > 1000


def test_images_read_one_by_one_are_a_batch() -> None:
    preprocess = preprocessor("Qwen2VLImageProcessor")
    images = [noise_image(*size) for size in SIZES[:2]]
    read = [inputs for image in images for inputs in preprocess.read([image])]
    batch, finished = preprocess(images), preprocess.finish(read)
    assert all(torch.equal(batch[key], finished[key]) for key in batch)
    # A quarter of the bytes, and each patch once rather than for two frames.
    assert sum(inputs["pixel_values"].nbytes for inputs in read) * 8 == batch["pixel_values"].nbytes


def test_a_grey_tower_reads_grey_pixels() -> None:
    preprocess = dense(settings("CLIPImageProcessor", **CROPPED), num_channels=1)
    (read,) = preprocess.read([noise_image(57, 49)])
    assert (read["pixel_values"].dtype, read["pixel_values"].shape) == (np.uint8, (1, 1, 40, 40))
    direct = process_dense(preprocess.processor, noise_image(57, 49).convert("L"), 1)["pixel_values"]
    # The table is computed in float32 with the means of three channels, as there.
    assert np.array_equal(preprocess.finish([read])["pixel_values"].numpy(), direct)


TILED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "cohere2_vision": ("Cohere2VisionImageProcessor", {}, {"size": 16}),
    "gemma3": (
        "Gemma3ImageProcessor",
        {
            "pan_and_scan_min_crop_size": 20,
            "pan_and_scan_max_num_crops": 3,
            "pan_and_scan_min_ratio_to_activate": 1.3,
        },
        {"size": 16},
    ),
    "got_ocr2": ("GotOcr2ImageProcessor", {"min_patches": 2, "max_patches": 7}, {"size": 16}),
    "granite_docling": (
        "GraniteDoclingImageProcessor",
        {"max_patches": 7},
        {"size": 16},
    ),
    "ovis2": ("Ovis2ImageProcessor", {"min_patches": 1, "max_patches": 7}, {"size": 16}),
    "idefics2": ("Idefics2ImageProcessor", {}, {"size": {"shortest_edge": 12, "longest_edge": 40}}),
    "idefics3": (
        "Idefics3ImageProcessor",
        {"longest_edge": 64},
        {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 16}},
    ),
    "lfm2_vl": (
        "Lfm2VlImageProcessor",
        {"max_tiles": 4, "tile_size": 24},
        {"encoder_patch_size": 4, "tile_size": 24, "min_image_tokens": 12, "max_image_tokens": 40},
    ),
    "llama4": ("Llama4ImageProcessor", {}, {"size": 16}),
    "molmo2": (
        "Molmo2ImageProcessor",
        {"max_crops": 5, "overlap_margins": [1, 1]},
        {"size": {"height": 16, "width": 16}, "patch_size": 4},
    ),
    "perception_lm": ("CLIPImageProcessor", {"max_num_tiles": 7}, {"size": 16, "crop_size": 16}),
    "phi4_multimodal": (
        "Phi4MultimodalImageProcessor",
        {"dynamic_hd": 7},
        {"size": {"height": 16, "width": 16}, "patch_size": 4},
    ),
    "llava_next": (
        "LlavaNextImageProcessor",
        {"image_grid_pinpoints": [[16, 32], [48, 48]]},
        {"size": 16, "crop_size": 16},
    ),
    "llava_onevision": (
        "LlavaOnevisionImageProcessor",
        {"image_grid_pinpoints": [[16, 32], [48, 48]]},
        {"size": [16, 16]},
    ),
}
"""Tiling -> an image processor, fields of the tiling's block, and the processor's arguments."""
IN_ONE_PIECE = {"granite_docling", "idefics2", "phi4_multimodal"}
"""Tilings whose image processors pad tiles with floats, or resize behind their arithmetic."""


@pytest.mark.parametrize("name", sorted(TILINGS))
def test_tiles_in_two_halves_are_the_processors_to_the_bit(name: str) -> None:
    processor, fields, values = TILED[name]
    made = settings(processor, **values)
    whole = preprocessor(processor, **values)
    block = tiling_config({"type": name, **fields})
    assert isinstance(block, TilingConfig)
    tiling = tiling_of(block, 16, whole.reader.resize)
    tiled = TiledPreprocessor(whole, tiling, made)
    for size in [(16, 16), (90, 40), (31, 77)]:
        (read,) = tiled.read([noise_image(*size)])
        assert (read["pixel_values"].dtype == np.uint8) == (name not in IN_ONE_PIECE)
        wanted = uint8_or_float32(tiling.cut(tiled.processor, noise_image(*size))["pixel_values"])
        assert np.array_equal(tiled.finish([read])["pixel_values"].numpy(), wanted)


# --- processors that cannot be split ------------------------------------------------------------------


def test_arithmetic_that_looks_at_other_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a mean over the image: 256 results a channel do not say what it does."""

    def normalize(self: Any, image: Any, mean: Any, std: Any, **_: Any) -> Any:
        return image - image.mean()

    monkeypatch.setattr(transformers.CLIPImageProcessorPil, "normalize", normalize)
    preprocess = preprocessor("CLIPImageProcessor", **CROPPED)
    assert preprocess.levels is None
    check(preprocess, (57, 49))


def test_an_order_of_patches_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def patchify(self: Any, image: Any, **values: Any) -> Any:
        return original(self, image[:, ::-1], **values)

    original = transformers.Qwen2VLImageProcessorPil.patchify
    monkeypatch.setattr(transformers.Qwen2VLImageProcessorPil, "patchify", patchify)
    preprocess = preprocessor("Qwen2VLImageProcessor")
    assert PatchOrder.of(preprocess.processor) is None
    assert preprocess.levels is None
    check(preprocess, (57, 49))
