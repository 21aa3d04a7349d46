"""What was suspected of GPUs where none was at hand, each tried once."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from typing import Any

import torch
from torch.nn import attention as torch_attention

from vision_composer import compose
from vision_composer.attention import AttentionBackend
from vision_composer.attention.packed_kernels import packed_kernel
from vision_composer.attention.segments import Segments
from vision_composer.bench import calibrate, compare
from vision_composer.bench.comparison import noise
from vision_composer.testing import check_encoder, tiny_encoder

from ..compare import largest_error
from ..kernels import exact, packed
from ..measure import attempt, listening, microseconds, shortened
from ..packages import FLASH_PACKAGES, version, versions
from ..ranks import ranks
from ..recorder import Recorder
from ..towers import different_inputs, moved, sample_inputs, tiny


def check(record: Recorder) -> None:
    record("a checkpoint under set_default_device", partial(default_device, record))
    record("ranks", partial(ranks, record))
    record("check_encoder on the device", partial(conformance, record))
    record("costs that bench --calibrate finds", partial(calibration, record))
    record("flex_attention beyond the limit on recompilations", partial(flex_limit, record))
    record("flash kernels of other packages", partial(flash_packages, record))
    record("bench against programs that may be missing", partial(missing_peers, record))


def default_device(record: Recorder) -> dict[str, Any]:
    """Errors of saved towers that are composed while tensors are made on the device by default."""
    row: dict[str, Any] = {}
    for model_type in ("clip_vision_model", "qwen2_5_vl_vision", "idefics3_vision", "siglip2_vision_model"):
        attempt(row, model_type, partial(recomposed, record.device, model_type))
    return row


def recomposed(device: torch.device, model_type: str) -> float:
    encoder = tiny(model_type)
    inputs = sample_inputs(encoder)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        encoder.save(folder)
        want = list(encoder(**inputs))
        torch.set_default_device(device)
        try:
            got = list(compose(folder)(**moved(inputs, device)))
            return largest_error([part.cpu() for part in got], want)
        finally:
            torch.set_default_device(None)


def conformance(record: Recorder) -> dict[str, Any]:
    """vision_composer.testing's check on the device, for a family of each kind."""
    kinds = ("clip_vision_model", "qwen2_5_vl_vision", "siglip2_vision_model", "mllama_vision_model")
    row: dict[str, Any] = {}
    for model_type in kinds if record.on_gpu else kinds[:1]:
        begun = time.perf_counter()
        attempt(row, model_type, partial(check_encoder, model_type, device=record.device))
        row[f"{model_type} s"] = time.perf_counter() - begun
    return row


def calibration(record: Recorder) -> dict[str, Any]:
    """What an image costs by the calibration, beside what one more image costs in a batch."""
    tower = tiny("pixtral", device=record.device)
    rounds = 5 if record.on_gpu else 1
    costs = calibrate(tower, [(side, side) for side in (16, 32, 48, 64)], rounds=rounds)
    with torch.inference_mode():
        one, many = (
            microseconds(partial(tower, **noise(tower, [(64, 64)] * count)), record.device)
            for count in (1, 32)
        )
    return {
        "calibrated us per image": costs.seconds_per_image * 1e6,
        "us of one image": one,
        "us of one more in a batch": (many - one) / 31,
    }


def flex_limit(record: Recorder) -> list[dict[str, Any]]:
    """Compiled flex_attention with more kinds of inputs than torch may compile for: errors, time, memory."""
    if not record.on_gpu:
        return [{"flex_attention": "is compiled on a GPU only"}]
    lengths = [1024, 1024, 512, 512]
    kernel = packed_kernel(AttentionBackend.FLEX_ATTENTION)
    flex = partial(packed, kernel, Segments(lengths, record.device))
    rows = []
    with torch._dynamo.config.patch(recompile_limit=2):
        for head_size in (16, 32, 64, 128):
            torch.manual_seed(0)
            shape = (1, sum(lengths), 4, head_size)
            q, k, v = (torch.randn(shape, device=record.device, dtype=torch.bfloat16) for _ in range(3))
            want = exact(lengths, q.double(), k.double(), v.double())
            torch.cuda.reset_peak_memory_stats()
            with torch.no_grad(), listening() as heard:
                got = flex(q, k, v)
            row: dict[str, Any] = {"head size": head_size, "error": largest_error([got], [want])}
            row["peak MiB"] = torch.cuda.max_memory_allocated() / 2**20
            with torch.no_grad():
                row["us"] = microseconds(partial(flex, q, k, v), record.device)
            rows.append(row | {"heard": shortened(heard)})
    return rows


def flash_packages(record: Recorder) -> dict[str, Any]:
    """Which are installed, which torch can switch to, and whether they trace whole."""
    row: dict[str, Any] = versions(*(package.distribution for package in FLASH_PACKAGES))
    attempt(row, "torch can switch to", lambda: str(torch_attention.list_flash_attention_impls()))
    attempt(row, "torch runs", lambda: str(torch_attention.current_flash_attention_impl()))
    for package in FLASH_PACKAGES:
        if record.on_gpu and version(package.distribution):
            attempt(row, f"{package.backend}, compiled", partial(compiled_shapes, record, package.backend))
    return row


def compiled_shapes(record: Recorder, backend: str) -> str:
    overrides = ("weights.dtype=bfloat16", f"attn_backend={backend}")
    tower = tiny("qwen2_5_vl_vision", *overrides, device=record.device, compile=True)
    with torch.inference_mode():
        return str([tuple(part.shape) for part in tower(**different_inputs(tower, 1))])


def missing_peers(record: Recorder) -> dict[str, Any]:
    row: dict[str, Any] = versions("onnxruntime", "onnxruntime-gpu", "timm")
    source = {"schema": 1, "encoder": tiny_encoder("clip_vision_model")}
    for peer in ("transformers", "timm", "onnxruntime") if record.on_gpu else ("transformers",):
        one = partial(compare, source, against=[peer], rounds=1, device=str(record.device))
        attempt(row, f"bench --against {peer}", one)
    return row
