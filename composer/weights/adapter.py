"""LoRA adapters, as peft saves them, merged into a tower: each weight W becomes W + B A * alpha / r."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import WeightsError
from ..locks.names import ADAPTER_CONFIG
from ..text import shortened
from .source import open_adapter
from .staging import Staging
from .tensors import check_readable, is_finite, read_tensor

if TYPE_CHECKING:
    from torch import Tensor, nn

_WITH_PEFT = "merge it with peft (merge_and_unload) and save the model again"
_LORA = re.compile(
    r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.default)?(?:\.weight)?"
)
_IN_A_WRAPPER = re.compile(r"\.(?:base_layer|modules_to_save(?:\.default)?)(?=\.)")
_ROOT = "base_model.model."
"""What peft puts before the names of the model that it wraps."""
_NOT_A_TOWER = re.compile(r"text|lang|llm|qformer|decoder")
"""Stands in the names of what a language model or a text encoder is called."""
_KEPT = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to initialise A and B that leave the base model's weights as they are."""
_NO_DIFFERENCE = {
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "trainable_token_indices",
}
"""Keys of an adapter_config.json that do not change what is merged: what is there is seen in the tensors."""

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Rank = Annotated[int, Field(ge=1, le=1 << 16)]


class _LoraConfig(BaseModel):
    """What an adapter_config.json says of the sizes; other keys must not change anything."""

    model_config = ConfigDict(extra="allow", strict=True)

    peft_type: Literal["LORA"]
    r: _Rank
    lora_alpha: _Positive
    use_rslora: bool = False
    init_lora_weights: bool | str | None = True
    rank_pattern: dict[str, _Rank] | None = None
    alpha_pattern: dict[str, _Positive] | None = None

    def scale(self, rank: int, module: str) -> float:
        """What the product of a module's two matrices is multiplied by."""
        alpha: float = _of(self.alpha_pattern, module, self.lora_alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def rank(self, module: str) -> int:
        """The rows of a module's A."""
        rank: int = _of(self.rank_pattern, module, self.r)
        return rank


def _of(pattern: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    for key, value in (pattern or {}).items():
        name = key.removeprefix("^")
        if module == name or (name == key and module.endswith(f".{key}")):
            return value
    return default


@dataclass(frozen=True)
class _Low:
    """The two matrices of one weight, by their names in the adapter."""

    module: str
    sides: dict[str, str]
    embedding: bool


class Adapter:
    """A LoRA adapter whose tensors are named but not read.

    Args:
        source: Its folder, or a hub id.
        revision: Branch, tag or commit of a hub id.

    Raises:
        WeightsError: If there is none, or it is of another kind than LoRA.
    """

    def __init__(self, source: str, revision: str | None = None) -> None:
        self.checkpoint, said = open_adapter(source, revision)
        self._config = _read_config(self.checkpoint.label, said)

    def merge(self, model: nn.Module, names: Mapping[str, str], prefix: str, staging: Staging) -> None:
        """Merge what the adapter holds of a tower into it; what it holds of other parts is passed over.

        Args:
            model: The tower, whose parameters are changed. It may lack blocks that are not needed.
            names: Names of the whole tower's tensors, as transformers has and had them -> that in ``model``.
            prefix: What the tower's names begin with in the checkpoint; of several towers that the adapter
                may mean, it is the one of that name.
            staging: What the adapter's tensors pass on their way to the parameters' device.

        Raises:
            WeightsError: If the adapter holds nothing of the tower, or what is not understood or does not
                fit.
        """
        found = {name: place for name in self.checkpoint.files if (place := _placed(name, names))}
        before = self._prefix({place[0] for place in found.values()}, prefix)
        parameters = dict(model.named_parameters()) | dict(model.named_buffers())
        low: dict[str, _Low] = {}
        for name in self.checkpoint.files:
            if not name.startswith(before):
                continue
            if ".original_module." in name:
                continue  # the base model's, beside what was trained in its place
            if name not in found or found[name][0] != before:
                raise WeightsError(
                    f"{self.checkpoint.label}: tensor {shortened(name)} is not understood; {_WITH_PEFT}"
                )
            target = found[name][1]
            if target not in parameters:
                continue  # of a block or a head that is not built
            if part := _LORA.fullmatch(name):
                module = part["module"].removeprefix(_ROOT)
                entry = low.setdefault(target, _Low(module, {}, bool(part["embedding"])))
                entry.sides[part["side"]] = name
            else:
                self._replace(parameters[target], name, staging)
        for target, entry in low.items():
            self._add(parameters[target], entry, staging)

    def touches(self, endings: Iterable[str]) -> str | None:
        """Return a tensor for a weight whose name ends in one of ``endings``; None if there is none."""
        dotted = tuple(f".{ending}" for ending in endings)
        return next((name for name in self.checkpoint.files if f".{_weight(name)}".endswith(dotted)), None)

    def _prefix(self, prefixes: set[str], asked: str) -> str:
        label, count = self.checkpoint.label, len(self.checkpoint.files)
        fitting = sorted(prefix for prefix in prefixes if not _NOT_A_TOWER.search(prefix))
        if not fitting:
            raise WeightsError(
                f"{label}: holds nothing of this tower: of its {count:,} tensors, one is "
                f"{shortened(min(self.checkpoint.files, default=''))}; leave weights.adapter out"
            )
        same = [prefix for prefix in fitting if asked and f".{prefix}".endswith(f".{asked}")]
        fitting = same if len(same) == 1 else fitting
        if len(fitting) > 1:
            some = ", ".join(map(shortened, fitting[:3]))
            raise WeightsError(f"{label}: may mean several towers, under {some}; {_WITH_PEFT}")
        return fitting[0]

    def _replace(self, parameter: Tensor, name: str, staging: Staging) -> None:
        header = self.checkpoint.headers([name])[name]
        check_readable(self.checkpoint, name, header)
        if header.shape != tuple(parameter.shape):
            raise WeightsError(
                f"{header.file}: tensor {shortened(name)} has shape {header.shape}, and this tower's is "
                f"{tuple(parameter.shape)}"
            )
        parameter.data.copy_(read_tensor(self.checkpoint, name, header, parameter.dtype, staging))

    def _add(self, parameter: Tensor, low: _Low, staging: Staging) -> None:
        label = self.checkpoint.label
        if low.sides.keys() != {"A", "B"}:
            raise WeightsError(f"{label}: of {shortened(low.module)}, only lora_{min(low.sides)} is there")
        rank = self._config.rank(low.module)
        headers = self.checkpoint.headers(low.sides.values())
        for side, name in low.sides.items():
            expected = _expected(tuple(parameter.shape), side, rank, embedding=low.embedding)
            header = headers[name]
            if header.shape != expected:
                raise WeightsError(
                    f"{header.file}: tensor {shortened(name)} has shape {header.shape}, and a rank of {rank} "
                    f"makes it {expected} here"
                )
            check_readable(self.checkpoint, name, header)
        exact = torch.promote_types(parameter.dtype, torch.float32)
        a, b = (
            read_tensor(self.checkpoint, name, headers[name], exact, staging).flatten(1)
            for name in (low.sides["A"], low.sides["B"])
        )
        change = (b @ a).mul_(self._config.scale(rank, low.module))
        change = change.T if low.embedding else change.view(parameter.shape)
        merged = parameter.data.to(exact).add_(change).to(parameter.dtype)
        if not is_finite(merged):
            raise WeightsError(f"{label}: what is merged into {shortened(low.module)} is not finite")
        parameter.data.copy_(merged)


def _weight(name: str) -> str:
    """The name of the parameter that a tensor of an adapter is for."""
    if part := _LORA.fullmatch(name):
        return f"{part['module']}.weight"
    return _IN_A_WRAPPER.sub("", name)


def _placed(name: str, names: Mapping[str, str]) -> tuple[str, str] | None:
    """What stands before the tower's names in a tensor's, and the parameter; None for another part's."""
    parts = _weight(name).split(".")
    for start in range(len(parts)):
        if target := names.get(".".join(parts[start:])):
            return "".join(f"{part}." for part in parts[:start]), target
    return None


def _expected(shape: tuple[int, ...], side: str, rank: int, *, embedding: bool) -> tuple[int, ...]:
    """The shape of A or B for a parameter of a linear layer, a convolution or an embedding."""
    if embedding:
        return (rank, shape[0]) if side == "A" else (shape[1], rank)
    return (rank, *shape[1:]) if side == "A" else (shape[0], rank, *(1 for _ in shape[2:]))


def _read_config(label: str, said: Mapping[str, Any]) -> _LoraConfig:
    kind = said.get("peft_type")
    if kind != "LORA":
        raise WeightsError(f"{label}: is an adapter of type {repr(kind)[:80]}, and not LORA; {_WITH_PEFT}")
    try:
        config = _LoraConfig.model_validate(dict(said))
    except ValidationError as error:
        line = error.errors(include_url=False)[0]
        where = ".".join(map(str, line["loc"]))[:80]
        raise WeightsError(f"{label}: its {ADAPTER_CONFIG}: {where}: {line['msg']}") from None
    extra = config.model_extra or {}
    for key in sorted(extra.keys() - _NO_DIFFERENCE):
        if extra[key]:
            raise WeightsError(
                f"{label}: its {ADAPTER_CONFIG} sets {shortened(key)}, more than LoRA; {_WITH_PEFT}"
            )
    if config.init_lora_weights not in _KEPT:
        raise WeightsError(
            f"{label}: its init_lora_weights {shortened(str(config.init_lora_weights))} changed the base "
            f"model; {_WITH_PEFT}"
        )
    for key in (*(config.rank_pattern or ()), *(config.alpha_pattern or ())):
        if not re.fullmatch(r"\^?[\w.]+", key):
            raise WeightsError(f"{label}: its pattern {shortened(key)} is no module's name; {_WITH_PEFT}")
    return config
