"""Every family's features and gradients on the device, beside those of the CPU in float64."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vision_composer import ComposedVisionEncoder, plan
from vision_composer.running.attention import plan_attention

from ..compare import largest_error
from ..measure import brief, set_tf32
from ..recorder import Recorder
from ..towers import families, moved, sample_inputs, tiny


def check(record: Recorder) -> None:
    for model_type in families():
        record(model_type, partial(parity, record, model_type))


def parity(record: Recorder, model_type: str) -> list[dict[str, Any]]:
    """Errors are relative to the largest value; those of the gradients, to the largest gradient of all."""
    reference = tiny(model_type)
    weights = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    inputs = sample_inputs(reference)
    want, want_gradients = features_and_gradients(reference.double(), inputs)
    rows = []
    cpu = torch.device("cpu")
    places = [(cpu, "float32", "ieee"), (cpu, "bfloat16", "ieee")]
    if record.on_gpu:
        kinds = (("float32", "ieee"), ("float32", "tf32"), ("bfloat16", "ieee"))
        places += [(record.device, *kind) for kind in kinds]
    for device, dtype, precision in places:
        planned = plan(reference.config, overrides=[f"weights.dtype={dtype}"])
        working = [backend.value for backend in plan_attention(planned, device, training=True).working]
        for backend in working[:1] if device.type == "cpu" or precision == "tf32" else working:
            row: dict[str, Any] = {"device": device.type, "dtype": dtype}
            row |= {"float32": precision, "backend": backend}
            try:
                set_tf32(precision == "tf32")
                tower = tiny(model_type, f"weights.dtype={dtype}", f"attn_backend={backend}", device=device)
                tower.load_state_dict(weights)
                got, gradients = features_and_gradients(tower, moved(inputs, device))
                row |= {"features": largest_error(got, want)}
                row |= {"gradients": gradient_error(gradients, want_gradients)}
                row |= {"finite": all(bool(t.isfinite().all()) for t in (*got, *gradients.values()))}
            except Exception as error:
                row |= {"error": brief(error)}
            finally:
                set_tf32(False)
            rows.append(row)
    return rows


def features_and_gradients(
    encoder: ComposedVisionEncoder, inputs: Mapping[str, Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    encoder.zero_grad()
    features = list(encoder(**inputs))
    torch.stack([part.double().square().mean() for part in features]).sum().backward()
    gradients = {name: p.grad.cpu().double() for name, p in encoder.named_parameters() if p.grad is not None}
    return [part.detach().cpu().double() for part in features], gradients


def gradient_error(got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> float:
    if missing := want.keys() - got.keys():
        raise RuntimeError(f"no gradient for {', '.join(sorted(missing)[:5])}")
    return largest_error([got[name] for name in want], list(want.values()))
