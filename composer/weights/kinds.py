"""What a checkpoint is that is no tower of plain weights: told by its tensors' names, and refused by name."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

from ..errors import WeightsError
from ..text import shortened
from .header import NOT_QUANTISED
from .source import Checkpoint

UNMERGED = (
    "merge them where they were trained (peft: merge_and_unload) and save again, or name the base model as "
    "weights.source and the adapter's folder as weights.adapter"
)
_LOOKED_AT = 10_000
"""Most names that are searched: a tower has fewer."""
_PREFIXES = 8
"""Most towers of one checkpoint that are looked at; of more, the prefix has to be named first."""
_PLAIN = "save it again after torch.nn.utils.parametrize.remove_parametrizations"


class _Kind(NamedTuple):
    """A kind of checkpoint that is refused.

    Attributes:
        marks: What no name of a tower of plain weights has: with a dot or an underscore at the end, anywhere;
            else at the end of the name.
        what: What the tensor shows.
        remedy: What to do.
    """

    marks: tuple[str, ...]
    what: str
    remedy: str


def _quantised(method: str, *marks: str) -> _Kind:
    return _Kind(marks, f"weights quantised by {method}", NOT_QUANTISED)


_KINDS = (
    _Kind(
        (
            ".lora_",
            ".base_layer.",
            ".modules_to_save.",
            ".original_module.",
            ".ia3_l",
            ".hada_",
            ".lokr_",
            ".vera_",
        ),
        "an adapter's weights, not merged",
        UNMERGED,
    ),
    _quantised(
        "bitsandbytes",
        ".SCB",
        ".weight_format",
        ".absmax",
        ".nested_absmax",
        ".quant_map",
        ".weight.quant_state.",
    ),
    _quantised("GPTQ", ".g_idx"),
    _quantised("AWQ or GPTQ", ".qweight", ".qzeros"),
    _quantised("torchao", "._weight_qdata", "._weight_scale", "._weight_scale_and_zero"),
    _quantised("compressed-tensors", ".weight_packed", ".weight_shape", ".weight_zero_point"),
    _quantised(
        "fp8 or int8 scales", ".weight_scale", ".weight_scale_inv", ".input_scale", ".activation_scale"
    ),
    _quantised("quanto", ".weight._data", ".weight._scale", ".weight._shift"),
    _quantised("HQQ", ".W_q"),
    _Kind(
        (".weight_g", ".weight_v", ".parametrizations.weight.original0"), "weights under weight norm", _PLAIN
    ),
    _Kind((".parametrizations.",), "weights under a parametrization", _PLAIN),
)
"""Sought one after the other: what tells one from another stands before what both have."""

_METHODS = {
    "aqlm": "AQLM",
    "awq": "AWQ",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "eetq": "EETQ",
    "fbgemm_fp8": "fp8 (fbgemm)",
    "fp8": "fp8",
    "gptq": "GPTQ",
    "hqq": "HQQ",
    "mxfp4": "mxfp4",
    "quanto": "quanto",
    "torchao": "torchao",
}
"""``quant_method`` of a ``quantization_config`` -> what a message calls it."""


def refuse_kinds(checkpoint: Checkpoint, prefixes: Collection[str]) -> None:
    """Refuse a checkpoint whose tower is not there as plain weights.

    A model whose language model alone is quantised or adapted is none: its tower can be read.

    Args:
        checkpoint: The checkpoint.
        prefixes: What may stand before the tower's names; without any, the whole checkpoint is meant.

    Raises:
        WeightsError: If it is one; it says what it is and what to do.
    """
    if len(prefixes) > _PREFIXES:
        return
    start = tuple(prefixes)
    under = (name for name in checkpoint.files if not start or name.startswith(start))
    text = "".join(f"{name}\n" for name in islice(under, _LOOKED_AT))  # searched as one, which is fast
    for kind in _KINDS:
        for mark in kind.marks:
            if (at := text.find(mark if mark.endswith((".", "_")) else f"{mark}\n")) < 0:
                continue
            example = text[text.rfind("\n", 0, at) + 1 : text.index("\n", at)]
            what = kind.what
            if kind.remedy is NOT_QUANTISED and (method := quantised_by(checkpoint)):
                what = f"weights quantised by {method}"
            raise WeightsError(
                f"{checkpoint.label}: holds {what} (tensor {shortened(example)}), which are not read: "
                f"{kind.remedy}"
            )


def quantised_by(checkpoint: Checkpoint) -> str:
    """Return how a checkpoint's own config.json says that it is quantised; "" if it does not."""
    own = checkpoint.config() or {}
    said = own.get("quantization_config")
    method = said.get("quant_method") if isinstance(said, dict) else None
    return _METHODS.get(method, "") if isinstance(method, str) else ""
