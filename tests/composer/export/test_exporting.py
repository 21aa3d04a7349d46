"""What is exported is the encoder, or nothing is left and one sentence says why."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.fused import composed as fused
from support.tiny import ENCODERS, PACKED, PADDED, TILED

from vision_composer import compose, export_encoder
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import ExportError
from vision_composer.export import exporting
from vision_composer.export.graph import trace
from vision_composer.export.runtime import load

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs/export.md").read_text(encoding="utf-8")
REFUSED = dict(re.findall(r"^\| `(\w+)` \| (its .+) \|$", GUIDE, flags=re.MULTILINE))
"""model_type -> the reason for which the guide says that it cannot be exported."""
FAMILIES = {name: block for name, block in (ENCODERS | PACKED | PADDED | TILED).items() if "/" not in name}


def encoder(name: str = "clip_vision_model", **keys: Any) -> ComposedVisionEncoder:
    composed = compose(
        {"schema": 1, "encoder": FAMILIES[name], "select_layers": [0], "post_norm": "none"} | keys
    )
    assert isinstance(composed, ComposedVisionEncoder)
    return composed


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tower.pt2"
    flash = encoder()
    flash.attention = SimpleNamespace(implementation="flash_attention_2")  # type: ignore[assignment]  # as on a GPU
    for composed, message in (
        (encoder(compile=True), "is compiled; compose it with compile=false"),
        (flash, "runs attention by flash_attention_2.*attn_backend=sdpa"),
    ):
        with pytest.raises(ExportError, match=message):
            export_encoder(composed, file)
    for path, format, message in (
        (file, "tflite", "format is 'tflite'; it must be pt2, aoti, onnx, gguf"),
        (tmp_path / "tower.bin", "pt2", "ends in .pt2"),
        (tmp_path / "tower.pt2", "gguf", "ends in .gguf"),
        (tmp_path / "no" / "tower.pt2", "pt2", "cannot be written"),
    ):
        with pytest.raises(ExportError, match=message):
            export_encoder(encoder(), path, format)  # type: ignore[arg-type]  # what is refused
    file.write_bytes(b"somebody's")
    with pytest.raises(ExportError, match="there already"):
        export_encoder(encoder(), file)
    assert file.read_bytes() == b"somebody's"


def test_several_towers_are_exported_one_by_one(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="several towers; export each by itself"):
        export_encoder(fused(fuse="sequence"), tmp_path / "tower.pt2")


@pytest.mark.slow
def test_other_features_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_other_weights(vision: Any, *args: Any, **options: Any) -> Any:
        program = trace(copy.deepcopy(vision), *args, **options)
        with torch.no_grad():
            for parameter in vision.parameters():
                parameter.mul_(1.001)
        return program

    monkeypatch.setattr(exporting, "trace", of_other_weights)
    with pytest.raises(ExportError, match=r"features of 3 images .* differ .* by \d\.\de-0\d .* 1e-05 is"):
        export_encoder(encoder(), tmp_path / "tower.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_graph_of_one_batch_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        exporting, "trace", lambda a, b, examples, packed, strict: trace(a, b, examples[:1], strict=False)
    )
    with pytest.raises(ExportError, match="the export does not take 3 images"):
        export_encoder(encoder(), tmp_path / "tower.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_exported_or_refused_as_the_guide_says(name: str, tmp_path: Path) -> None:
    composed = encoder(name, select_layers=[1])
    file = tmp_path / "tower.pt2"
    if name in REFUSED:
        with pytest.raises(ExportError, match=re.escape(REFUSED[name].strip())):
            export_encoder(composed, file)
        assert list(tmp_path.iterdir()) == []
        return
    parity = export_encoder(composed, file).parity
    assert len(parity) == 3
    assert max(parity.values()) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2_5_vl_vision", "qwen3_vl_vision"])
def test_packed_images_in_another_process(name: str, tmp_path: Path) -> None:
    """The tower's own output, with merger and DeepStack, on images of sizes that no check has seen."""
    composed = compose({"schema": 1, "encoder": FAMILIES[name]})
    assert isinstance(composed, ComposedVisionEncoder)
    file = export_encoder(composed, tmp_path / "tower.pt2").path
    code = f"""
import sys
import numpy as np, torch
from vision_composer.export.runtime import load
tower = load({str(file)!r})
draw = np.random.default_rng(5)
images = [draw.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((90, 300), (64, 64), (200, 90))]
torch.save((images, tower(**tower.make_inputs(images))), {str(tmp_path / "found.pt")!r})
assert not {{"transformers", "pydantic"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    images, found = torch.load(tmp_path / "found.pt", weights_only=False)
    for wanted, features in zip(composed.encode(images), found, strict=True):
        assert torch.allclose(features, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.slow
def test_clips_are_frames_of_one_layout(tmp_path: Path) -> None:
    composed = encoder("qwen2_vl_vision", select_layers=[1])
    exported = load(export_encoder(composed, tmp_path / "tower.pt2").path)
    grids = torch.tensor([[2, 4, 6], [1, 2, 2], [3, 2, 4]])
    inputs = {"pixel_values": torch.randn(int(grids.prod(1).sum()), 96), "image_grid_thw": grids}
    with torch.no_grad():
        wanted = composed(**inputs)
    for mine, other in zip(exported(**inputs), wanted, strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-5 * float(other.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "connector"),
    [
        ("clip_vision_model", {"type": "llava", "hidden_size": 24}),
        ("siglip_vision_model", {"type": "gemma3", "hidden_size": 24, "mm_tokens_per_image": 4}),
        ("minimax_m3_vl_vision", {"type": "minimax_m3_vl", "hidden_size": 24}),
    ],
)
def test_the_connector_goes_along(name: str, connector: dict[str, Any], tmp_path: Path) -> None:
    composed = encoder(name, select_layers=[1], connector=connector, output="embeds")
    exported = load(export_encoder(composed, tmp_path / "tower.pt2").path)
    assert exported.metadata["width"] == 24
    assert exported.metadata["per_image"]


def test_the_guide_refuses_no_family_that_is_none() -> None:
    assert REFUSED
    assert set(REFUSED) <= set(FAMILIES)
