"""Images of many sizes, what our processors make of them whole, and torch's resize of 8-bit pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from support.processors import dense, ragged
from vision_composer.images.settings import ProcessorSettings

RNG = np.random.default_rng(0)
SIZES = [(37, 211), (640, 480), (1280, 33), (50, 50), (3, 64), (41, 39), (1, 1), (1000, 7)]
LEVEL = 1.01 / 255
"""What one grey level, and rounding, change in a pixel from 0 to 1."""
SMALL: dict[str, dict[str, Any]] = {
    "CLIPImageProcessor": {"size": 40, "crop_size": 36},
    "BitImageProcessor": {"size": {"shortest_edge": 40, "longest_edge": 60}, "crop_size": 36},
    "LlavaImageProcessor": {"size": 40, "crop_size": 40, "do_pad": True},
    "LlavaNextImageProcessor": {"size": 40, "crop_size": 40, "image_grid_pinpoints": [[40, 80], [80, 80]]},
    "LlavaOnevisionImageProcessor": {"size": [40, 40], "image_grid_pinpoints": [[40, 80], [80, 80]]},
    "DeepseekVLImageProcessor": {"size": 40, "image_mean": [0.3, 0.4, 0.5]},
    "JanusImageProcessor": {"size": 40, "image_mean": [0.3, 0.4, 0.5]},
    "SiglipImageProcessor": {"size": {"height": 30, "width": 40}},
    "ViTImageProcessor": {"size": 40, "do_center_crop": True, "crop_size": {"height": 44, "width": 33}},
    "DeiTImageProcessor": {"size": 40, "crop_size": 36},
    "BlipImageProcessor": {"size": 40, "resample": 2},
    "GotOcr2ImageProcessor": {"size": 40, "crop_to_patches": True},
    "Ovis2ImageProcessor": {"size": 40, "crop_to_patches": True, "do_center_crop": True, "crop_size": 36},
    "GraniteDoclingImageProcessor": {"size": 40},
    "Gemma3ImageProcessor": {
        "size": 40,
        "do_pan_and_scan": True,
        "pan_and_scan_min_crop_size": 16,
        "pan_and_scan_max_num_crops": 4,
        "pan_and_scan_min_ratio_to_activate": 1.2,
    },
    "Qwen2VLImageProcessor": {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 20},
    "CohereCompassImageProcessor": {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 20},
    "Glm4vImageProcessor": {"size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 40}},
    "Glm46VImageProcessor": {"size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 40}},
    "PixtralImageProcessor": {"size": {"longest_edge": 112}, "patch_size": 28},
    "Siglip2ImageProcessor": {"max_num_patches": 20},
    "Gemma4ImageProcessor": {"max_soft_tokens": 70},
    "Idefics2ImageProcessor": {
        "size": {"shortest_edge": 20, "longest_edge": 90},
        "do_image_splitting": True,
    },
    "Idefics3ImageProcessor": {"size": {"longest_edge": 160}, "max_image_size": {"longest_edge": 40}},
    "SmolVLMImageProcessor": {"size": {"longest_edge": 100}, "max_image_size": {"longest_edge": 40}},
    "AriaImageProcessor": {"max_image_size": 490},
    "MllamaImageProcessor": {"size": 40},
}
"""Class -> arguments that make small images, tiles and all."""


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def ours(made: ProcessorSettings, image: Image.Image) -> np.ndarray[Any, Any]:
    if made.processor_class.inputs == "pixels":
        return dense(made)([image])["pixel_values"][0].numpy()
    pixels = ragged(made)([image])["pixel_values"].numpy()
    while made.processor_class.inputs in ("idefics2", "idefics3", "pixtral") and pixels.ndim > 3:
        pixels = pixels[0]
    return pixels


def resized(image: Image.Image, width: int, height: int, mode: str) -> torch.Tensor:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    return interpolate(pixels, size=(height, width), mode=mode, antialias=True)[0]
