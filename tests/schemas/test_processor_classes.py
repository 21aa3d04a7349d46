"""The table of image processors beside transformers' own classes."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import image_utils
from transformers.image_processing_backends import PilBackend
from transformers.processing_utils import ImagesKwargs

from vision_composer.schemas import PROCESSOR_CLASSES
from vision_composer.schemas.processor_class import ARGUMENTS

RUNTIME = {
    *("data_format", "input_data_format", "device", "return_tensors", "disable_grouping", "image_seq_length"),
    *("min_pixels", "max_pixels"),  # become Qwen's size
}
MODULES = {
    "DINOv3ViTImageProcessor": "dinov3_vit",
    "Cohere2VisionImageProcessor": "cohere2_vision",
    "Llama4ImageProcessor": "llama4",
    "Kimi_K25ImageProcessor": "kimi_k25",
    "Lfm2VlImageProcessor": "lfm2_vl",
    "MiniMaxM3VLImageProcessor": "minimax_m3_vl",
    "Molmo2ImageProcessor": "molmo2",
    "MuseGlimmerImageProcessor": "muse_glimmer",
    "Inkling2ImageProcessor": "inkling2",
    "Phi4MultimodalImageProcessor": "phi4_multimodal",
}
"""Classes that transformers has on torchvision only, which cannot be imported without it."""


def plain(value: Any) -> Any:
    if hasattr(value, "longest_edge"):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "name", sorted(PROCESSOR_CLASSES.keys() - MODULES.keys() - {"VideoLlavaImageProcessor"})
)
def test_arguments_and_defaults_are_those_of_transformers(name: str) -> None:
    processor_class = getattr(transformers, f"{name}Pil")
    known = set(processor_class.valid_kwargs.__annotations__) - RUNTIME
    assert known == set(PROCESSOR_CLASSES[name].arguments)
    made = processor_class()
    theirs = {key: plain(getattr(made, key, None)) for key in known}
    defaults = PROCESSOR_CLASSES[name].defaults
    assert {key: defaults.get(key) for key in known} == theirs


def test_video_llavas_is_clips() -> None:
    theirs = transformers.VideoLlavaImageProcessor().to_dict()
    defaults = PROCESSOR_CLASSES["VideoLlavaImageProcessor"].defaults
    assert {key: plain(value) for key, value in theirs.items() if key in ARGUMENTS} == {
        key: value for key, value in defaults.items() if key != "default_to_square"
    }


@pytest.mark.parametrize("name", MODULES)
def test_defaults_are_those_in_transformers_source(name: str) -> None:
    folder = Path(import_module("transformers.models").__path__[0]) / MODULES[name]
    module = ast.parse((folder / f"image_processing_{MODULES[name]}.py").read_text(encoding="utf-8"))
    bodies = {node.name: node.body for node in module.body if isinstance(node, ast.ClassDef)}
    scope = {**vars(image_utils), "PILImageResampling": image_utils.PILImageResampling}
    theirs = {
        node.targets[0].id: plain(eval(compile(ast.Expression(node.value), "", "eval"), dict(scope)))
        for node in bodies[name]
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id not in ("valid_kwargs", "model_input_names")
    }
    own = {
        node.target.id
        for node in bodies.get(f"{name}Kwargs", [])
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    base = {key: getattr(PilBackend, key) for key in ("default_to_square", "rescale_factor")}
    known = PROCESSOR_CLASSES[name]
    theirs = {key: value for key, value in theirs.items() if key in known.arguments}
    assert base | theirs == known.defaults
    assert ARGUMENTS | (own - RUNTIME) == known.arguments
    assert set(ImagesKwargs.__annotations__) - RUNTIME == ARGUMENTS
