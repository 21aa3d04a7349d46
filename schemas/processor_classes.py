"""transformers' image processors as a config and a plan know them: their arguments and defaults.

The names are those of transformers without ``Fast`` and ``Pil``: a processor on torchvision and its twin on
Pillow have the same arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .processor_class import BICUBIC, BILINEAR, LANCZOS, Inputs, ProcessorClass, Values, square

_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_STEPS = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}


def _areas(least: int, most: int) -> Values:
    return {"size": {"shortest_edge": least, "longest_edge": most}}


def _fit_box(side: int) -> Values:
    return {"size": square(side)}


def _fit_cropped_box(side: int) -> Values:
    return {"size": square(side), "crop_size": square(side)}


def _fit_cropped_edge(side: int) -> Values:
    return {"size": {"shortest_edge": side}, "crop_size": square(side)}


def _fit_longest_edge(side: int) -> Values:
    return {"size": {"longest_edge": side}}


def _fit_edges(side: int) -> Values:
    return {"size": {"shortest_edge": min(378, side), "longest_edge": side}}


def _fit_tile(side: int) -> Values:
    return {"size": {"longest_edge": 4 * side}, "max_image_size": {"longest_edge": side}}


def _fit_canvas(side: int) -> Values:
    return {"max_image_size": side}


def _class(
    name: str,
    inputs: Inputs,
    keys: str,
    *defaults: Values,
    fit: Callable[[int], Values] | None = None,
    **others: Any,
) -> ProcessorClass:
    merged: dict[str, Any] = {"default_to_square": True}
    for values in (_STEPS, *defaults, others):
        merged |= values
    return ProcessorClass(
        f"{name}ImageProcessor", inputs, frozenset(keys.split()), MappingProxyType(merged), fit
    )


_LOOK = "resample mean std"
_BOXED = {"do_resize": True, "default_to_square": True}
_EDGED = {
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "default_to_square": False,
    "crop_size": square(224),
    "do_center_crop": True,
    "resample": BICUBIC,
}
_CROPS = {"crop_to_patches": False, "min_patches": 1, "max_patches": 12}
_QWEN = {
    "do_convert_rgb": True,
    "do_resize": True,
    "default_to_square": False,
    "resample": BICUBIC,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
}
_PATCHES = {"do_convert_rgb": True, "patch_size": 14}
_FRAME = _QWEN | {"temporal_patch_size": 1}
_IDEFICS = {"do_convert_rgb": True, "do_resize": True, "do_pad": True}
_IDEFICS3 = {
    **_IDEFICS,
    "size": {"longest_edge": 4 * 364},
    "resample": LANCZOS,
    "do_image_splitting": True,
    "max_image_size": {"longest_edge": 364},
    "return_row_col_info": False,
}
_ONEVISION_PINPOINTS = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]
_ARIA_RESOLUTIONS = [
    [490 * rows, 490 * columns]
    for rows, columns in (
        *((1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (2, 4), (2, 3), (2, 2), (2, 1), (3, 1)),
        *((3, 2), (4, 1), (4, 2), (5, 1), (6, 1), (7, 1), (8, 1)),
    )
]


def _classes() -> list[ProcessorClass]:
    crop, pad = f"size crop {_LOOK}", f"size crop pad {_LOOK}"
    areas = f"size min_pixels max_pixels {_LOOK}"
    glm_areas = _areas(112 * 112, 28 * 28 * 15000)
    return [
        # images of one size
        _class("CLIP", "pixels", crop, _CLIP, _EDGED, fit=_fit_cropped_edge),
        _class("VideoLlava", "pixels", crop, _CLIP, _EDGED, fit=_fit_cropped_edge),
        _class("Bit", "pixels", crop, _CLIP, _EDGED, fit=_fit_cropped_edge),
        _class("Llava", "pixels", pad, _CLIP, _EDGED, do_pad=False, fit=_fit_cropped_edge),
        _class(
            *("LlavaNext", "pixels", crop, _CLIP, _EDGED),
            do_pad=True,
            image_grid_pinpoints=[[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
            fit=_fit_cropped_box,
        ),
        _class(
            *("LlavaOnevision", "pixels", crop, _CLIP),
            do_convert_rgb=True,
            do_resize=True,
            size=square(384),
            default_to_square=False,
            resample=BICUBIC,
            do_pad=True,
            image_grid_pinpoints=_ONEVISION_PINPOINTS,
            fit=_fit_cropped_box,
        ),
        *(
            _class(
                *(name, "pixels", f"size pad {_LOOK}", _CLIP, _BOXED),
                size=square(384),
                resample=BICUBIC,
                do_pad=True,
                min_size=14,
                fit=_fit_box,
            )
            for name in ("DeepseekVL", "Janus")
        ),
        _class(
            *("Siglip", "pixels", crop, _HALF),
            do_convert_rgb=True,
            do_resize=True,
            size=square(224),
            default_to_square=False,
            resample=BICUBIC,
            fit=_fit_cropped_box,
        ),
        _class(
            "ViT", "pixels", crop, _HALF, _BOXED, size=square(224), resample=BILINEAR, fit=_fit_cropped_box
        ),
        _class(
            *("DINOv3ViT", "pixels", crop, _IMAGENET, _BOXED),
            size=square(224),
            resample=BILINEAR,
            fit=_fit_cropped_box,
        ),
        _class(
            *("DeiT", "pixels", crop, _HALF, _BOXED),
            size=square(256),
            crop_size=square(224),
            do_center_crop=True,
            resample=BICUBIC,
            fit=_fit_cropped_box,
        ),
        _class(
            *("Blip", "pixels", crop, _CLIP, _BOXED),
            do_convert_rgb=True,
            size=square(384),
            resample=BICUBIC,
            fit=_fit_cropped_box,
        ),
        _class(
            *("GotOcr2", "pixels", f"size {_LOOK}", _CLIP, _BOXED, _CROPS),
            do_convert_rgb=True,
            size=square(384),
            resample=BICUBIC,
            fit=_fit_box,
        ),
        _class(
            *("Ovis2", "pixels", f"size crop {_LOOK}", _CLIP, _BOXED, _CROPS),
            do_convert_rgb=True,
            size=square(384),
            resample=BICUBIC,
            use_covering_area_grid=True,
            fit=_fit_cropped_box,
        ),
        _class(
            "PPChart2Table",
            "pixels",
            f"size {_LOOK}",
            _CLIP,
            _BOXED,
            size=square(1024),
            resample=BICUBIC,
            fit=_fit_box,
        ),
        _class(
            *("GraniteDocling", "pixels", f"size {_LOOK}", _CLIP, _BOXED, _CROPS),
            do_convert_rgb=True,
            size=square(512),
            resample=BICUBIC,
            crop_to_patches=True,
            max_patches=32,
            fine_route=False,
            dense_max_patches=0,
            dense_max_scale=0.0,
            dense_min_aspect=0.0,
            dense_max_aspect=0.0,
            fit=_fit_box,
        ),
        _class(
            *("Cohere2Vision", "pixels", f"size {_LOOK}", _CLIP, _BOXED, _CROPS),
            do_convert_rgb=True,
            size=square(512),
            resample=BICUBIC,
            crop_to_patches=True,
            fit=_fit_box,
        ),
        _class(
            *("Gemma3", "pixels", f"size {_LOOK}", _HALF, _BOXED),
            do_convert_rgb=True,
            size=square(224),
            resample=BILINEAR,
            do_pan_and_scan=None,
            pan_and_scan_min_crop_size=None,
            pan_and_scan_max_num_crops=None,
            pan_and_scan_min_ratio_to_activate=None,
            fit=_fit_box,
        ),
        _class(
            *("Llama4", "pixels", f"size {_LOOK}", _HALF, _BOXED),
            do_convert_rgb=True,
            size=square(336),
            resample=BILINEAR,
            max_patches=16,
            resize_to_max_canvas=False,
            fit=_fit_box,
        ),
        # images at their own aspect ratio
        *(
            _class(name, "qwen_patches", areas, _CLIP, _QWEN, _areas(56 * 56, 28 * 28 * 1280))
            for name in ("Qwen2VL", "CohereCompass")
        ),
        _class("MiniMaxM3VL", "qwen_patches", areas, _CLIP, _QWEN, _areas(4 * 28 * 28, 451584)),
        _class("Ernie4_5_VLMoe", "qwen_patches", areas, _CLIP, _FRAME, _areas(56 * 56, 28 * 28 * 6177)),
        _class("PaddleOCRVL", "paddleocr_patches", areas, _CLIP, _FRAME, _areas(384 * 384, 1536 * 1536)),
        _class(
            *("HunYuanVL", "hunyuan_patches", "size min_pixels max_pixels mean std", _CLIP, _FRAME),
            _areas(512 * 512, 2048 * 2048),
            patch_size=16,
        ),
        _class(
            *("HYV4VL", "hunyuan_patches", "size min_pixels max_pixels mean std", _CLIP, _FRAME),
            _areas(512 * 512, 2048 * 2048),
            patch_size=16,
        ),
        _class(
            *("Cosmos3Edge", "cosmos3_edge_patches", areas, _HALF, _FRAME, _areas(256 * 256, 4096 * 4096)),
            patch_size=16,
        ),
        _class("Glm4v", "qwen_patches", areas, _CLIP, _QWEN, glm_areas),
        _class("Glm46V", "qwen_patches", areas, _CLIP, _QWEN, glm_areas),
        _class("Glmga", "qwen_patches", areas, _CLIP, _QWEN, glm_areas, patch_expand_factor=1),
        _class(
            *("Glm5Next", "qwen_patches", f"min_pixels max_pixels {_LOOK}", _CLIP, _QWEN),
            size={"longest_edge": 1},
            patch_expand_factor=1,
            min_image_tokens=16,
            max_image_tokens=8000,
        ),
        _class("Inkling2", "inkling2_squares", "mean std", _HALF, do_convert_rgb=True, size=square(40)),
        _class(
            *("MuseGlimmer", "muse_patches", f"max_pixels {_LOOK}", _HALF, _QWEN),
            size=None,
            resample=LANCZOS,
            max_image_tokens=4096,
        ),
        _class(
            *("VideoLlama3", "video_llama_3_patches", areas, _HALF, _FRAME),
            _areas(56 * 56, 28 * 28 * 1280),
            merge_size=1,
        ),
        _class(
            *("Kimi_K25", "kimi_patches", f"max_pixels {_LOOK}", _HALF),
            do_convert_rgb=True,
            do_resize=True,
            size={"max_height": 512, "max_width": 512},
            resample=BICUBIC,
            max_patches=16384,
            patch_size=14,
            merge_size=2,
        ),
        _class(
            *("Pixtral", "pixtral", f"size patch_size {_LOOK}", _CLIP, _BOXED),
            do_convert_rgb=True,
            size={"longest_edge": 1024},
            resample=BICUBIC,
            do_pad=True,
            patch_size=square(16),
            fit=_fit_longest_edge,
        ),
        _class(
            *("Siglip2", "naflex", f"max_pixels {_LOOK}", _HALF),
            do_resize=True,
            resample=BILINEAR,
            patch_size=16,
            max_num_patches=256,
        ),
        _class(
            *("Lfm2Vl", "naflex", f"min_pixels max_pixels {_LOOK}", _HALF, _BOXED),
            size=square(512),
            resample=BILINEAR,
            do_pad=True,
            downsample_factor=2,
            do_image_splitting=True,
            min_tiles=2,
            max_tiles=10,
            use_thumbnail=True,
            min_image_tokens=64,
            max_image_tokens=256,
            encoder_patch_size=16,
            tile_size=512,
            max_pixels_tolerance=2.0,
            return_row_col_info=False,
        ),
        _class(
            *("Phi4Multimodal", "phi4_multimodal", "mean std", _HALF, _PATCHES),
            size=square(448),
            resample=BICUBIC,
            dynamic_hd=36,
            fit=_fit_box,
        ),
        _class(
            *("Molmo2", "molmo2", "mean std", _HALF, _PATCHES, _BOXED),
            size=square(378),
            resample=BILINEAR,
            max_crops=8,
            overlap_margins=[4, 4],
            pooling_size=[2, 2],
            fit=_fit_box,
        ),
        _class(
            *("Gemma4", "gemma4", "max_pixels resample"),
            do_convert_rgb=True,
            do_resize=True,
            resample=BICUBIC,
            do_normalize=False,
            image_mean=[0.0, 0.0, 0.0],
            image_std=[1.0, 1.0, 1.0],
            patch_size=16,
            max_soft_tokens=280,
            pooling_kernel_size=3,
        ),
        _class(
            *("Idefics2", "idefics2", f"size {_LOOK}", _HALF, _IDEFICS),
            size={"shortest_edge": 378, "longest_edge": 980},
            default_to_square=False,
            resample=BILINEAR,
            do_image_splitting=False,
            fit=_fit_edges,
        ),
        _class("Idefics3", "idefics3", f"size {_LOOK}", _HALF, _IDEFICS3, fit=_fit_tile),
        _class("SmolVLM", "idefics3", f"size {_LOOK}", _HALF, _IDEFICS3, fit=_fit_tile),
        _class(
            *("Aria", "idefics3", f"size {_LOOK}", _HALF),
            do_convert_rgb=True,
            resample=BICUBIC,
            max_image_size=980,
            min_image_size=336,
            split_image=False,
            split_resolutions=_ARIA_RESOLUTIONS,
            fit=_fit_canvas,
        ),
        # images cut into tiles
        _class(
            *("Mllama", "mllama", _LOOK, _HALF, _BOXED),
            do_convert_rgb=True,
            size=square(224),
            resample=BILINEAR,
            do_pad=True,
            max_image_tiles=4,
        ),
    ]


PROCESSOR_CLASSES: Mapping[str, ProcessorClass] = MappingProxyType({cls.name: cls for cls in _classes()})
"""Name -> image processor, of those that this package knows."""
