"""An exported file runs without transformers, and gives what the encoder gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vision_composer import compose, export_encoder
from vision_composer.errors import ImageError, InputError
from vision_composer.export.runtime import ExportedTower, load, segment_tables

OVERRIDES = ["select_layers=[1]", "post_norm=none"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preset with weights, cut to one block."""
    encoder = compose("tiny-digits", overrides=OVERRIDES)
    return export_encoder(encoder, tmp_path_factory.mktemp("exported") / "tower.pt2").path


@pytest.fixture(scope="module")
def exported(file: Path) -> ExportedTower:
    return load(file)


def drawn(*sizes: tuple[int, int]) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def test_features_of_images_are_the_encoders(exported: ExportedTower) -> None:
    encoder = compose("tiny-digits", overrides=OVERRIDES)
    for images in (drawn((40, 30)), drawn((32, 32), (100, 7), (9, 64), (33, 31), (8, 8))):
        inputs, wanted = exported.make_inputs(images), encoder.preprocess(images)
        assert inputs.keys() == wanted.keys()
        assert torch.equal(inputs["pixel_values"], wanted["pixel_values"])
        with torch.no_grad():
            features = encoder(**wanted)
        found = exported(**inputs)
        assert isinstance(found, torch.Tensor)
        assert not found.requires_grad
        assert torch.allclose(found, features, rtol=0, atol=1e-5 * float(features.abs().max()))


def test_the_file_says_what_it_is(exported: ExportedTower) -> None:
    metadata = exported.metadata
    assert metadata["config"]["name"] == "tiny-digits"
    assert metadata["config"]["select_layers"] == [1]
    assert metadata["versions"]["torch"] == torch.__version__
    assert metadata["width"] == 64
    assert len(metadata["parity"]) == 3
    assert max(metadata["parity"].values()) < 1e-5


def test_what_does_not_fit_is_refused(exported: ExportedTower, tmp_path: Path) -> None:
    pixels = torch.zeros(2, 3, 32, 32)
    for inputs, message in (
        ({}, "takes pixel_values, not nothing"),
        ({"pixel_values": pixels, "image_grid_thw": pixels}, "takes pixel_values, not image_grid_thw"),
        ({"pixel_values": pixels[0]}, "must be .any, 3, 32, 32."),
        ({"pixel_values": pixels[..., :16]}, "must be .any, 3, 32, 32."),
        ({"pixel_values": pixels[:0]}, "no image"),
    ):
        with pytest.raises(InputError, match=message):
            exported(**inputs)
    with pytest.raises(InputError, match="no images"):
        exported.make_inputs([])
    with pytest.raises(InputError, match="a list of images"):
        exported.make_inputs(tmp_path / "empty.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty.png"):
        exported.make_inputs([tmp_path / "empty.png"])


@pytest.mark.slow
def test_whatever_its_engine_raises_is_of_the_inputs(exported: ExportedTower) -> None:
    def failing(*tensors: torch.Tensor) -> torch.Tensor:
        raise LookupError  # onnxruntime's errors are of no class that others have

    with pytest.raises(InputError, match=r"does not take tensors of .*: LookupError"):
        ExportedTower(failing, exported.metadata)(pixel_values=torch.zeros(1, 3, 32, 32))


def test_it_loads_neither_transformers_nor_pydantic(file: Path) -> None:
    code = f"""
import json, sys
from vision_composer.export.runtime import load
tower = load({str(file)!r})
import numpy as np
features = tower(**tower.make_inputs([np.zeros((20, 30, 3), np.uint8)] * 3))
print(json.dumps([list(features.shape), sorted(sys.modules)]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shape, modules = json.loads(result.stdout)
    assert shape == [3, 16, 64]
    assert {"transformers", "pydantic", "omegaconf", "safetensors", "yaml"}.isdisjoint(modules)
    ours = {module.partition(".")[2] for module in modules if module.startswith("vision_composer.")}
    assert {name.partition(".")[0] for name in ours} <= {"_version", "errors", "export", "files", "images"}
    assert not any(name.startswith("images.preprocess") for name in ours)


def test_tables_hold_every_token_once() -> None:
    table, place = segment_tables([2, 3, 1])
    assert table.tolist() == [[0, 1, -1], [2, 3, 4], [5, -1, -1]]
    assert table.flatten()[place].tolist() == list(range(6))
