"""The other formats run where this package is not, and give the encoder's features there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.tiny import config

from vision_composer import compose, export_encoder
from vision_composer.errors import ExportError
from vision_composer.export.formats import FORMATS, OPSET
from vision_composer.export.runtime import load


def exported(name: str, format: str, folder: Path) -> tuple[Any, Path]:
    encoder = compose(config(name, select_layers=[1], post_norm="none"))
    path = folder / f"tower{FORMATS[format].suffix}"
    parity = export_encoder(encoder, path, format).parity
    assert load(path).metadata["parity"] == parity
    return encoder, path


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.empty(2**30, device="meta"), "more than the 2 GiB of an ONNX file"),
        (torch.empty(2, dtype=torch.bfloat16), "no bfloat16"),
    ],
)
def test_weights_that_onnx_cannot_hold(weights: torch.Tensor, message: str, tmp_path: Path) -> None:
    program: Any = SimpleNamespace(state_dict={"weight": weights}, constants={})
    with pytest.raises(ExportError, match=message):
        FORMATS["onnx"].write(program, ["pixel_values"], tmp_path / "tower.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_vision_model", "hunyuan_vl_vision", "minimax_m3_vl_vision"])
def test_onnx(name: str, tmp_path: Path) -> None:
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    _, path = exported(name, "onnx", tmp_path)
    assert [path.name] == [each.name for each in tmp_path.iterdir()]
    model = onnx.load(path)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    assert not model.functions
    session = ort.InferenceSession(path)
    assert [each.name for each in session.get_outputs()] == ["features"]
    assert session.get_inputs()[0].name == "pixel_values"
    whole = path.read_bytes()
    for content in (whole[:1000], whole[: len(whole) // 2], b"\x08" + bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(ExportError, match=r"onnxruntime cannot load it|no exported encoder"):
            load(path)


@pytest.mark.slow
def test_compiled_code_runs_where_torch_alone_is_imported(tmp_path: Path) -> None:
    encoder, path = exported("clip_vision_model", "aoti", tmp_path)
    code = f"""
import sys, torch
pixels = torch.randn(5, 3, 32, 32)
features = torch._inductor.aoti_load_package({str(path)!r})(pixels)
torch.save((pixels, features), {str(tmp_path / "found.pt")!r})
assert not {{"vision_composer", "transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    pixels, found = torch.load(tmp_path / "found.pt")
    with torch.no_grad():
        wanted = encoder(pixel_values=pixels)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
