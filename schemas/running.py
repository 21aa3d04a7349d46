"""How a tower runs: quantised, compiled, spread over processes, and in training. Parts of the root config."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..text import did_you_mean
from .base import ConfigModel, invalid, problem

_BLOCKS = re.compile(r"blocks\[:([1-9][0-9]{0,5})\]")
_MOST_PARTS = 16
_PART = r"^(all|stem|blocks\[:[1-9][0-9]{0,5}\])$"


def _known_part(value: str) -> str:
    if not re.fullmatch(_PART, value):
        hint = did_you_mean(value, ("all", "stem", "blocks[:1]"))
        message = f"expected all, stem, or blocks[:k] for the first k blocks, got {value!r}{hint}"
        raise PydanticCustomError("VC104", "{message}", {"message": message})
    return value


FrozenPart = Annotated[str, AfterValidator(_known_part), WithJsonSchema({"type": "string", "pattern": _PART})]
"""``all``, ``stem``, or ``blocks[:k]`` for the first k blocks."""


Quantize = Literal["none", "int8", "int8-dynamic", "float8"]


class CompileConfig(ConfigModel):
    """How torch.compile is applied; ``compile: true`` takes the defaults."""

    mode: Literal[
        "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs", "max-performance"
    ] = "default"
    """torch.compile's mode, or ``max-performance``: on CPU, weights frozen into the code of each block, for
    inference at few batch sizes, with the matrix products that ``bench --calibrate-products`` found faster,
    if it was run; elsewhere autotuned kernels."""
    dynamic: Annotated[bool | None, Field(examples=[False])] = None
    """Whether one code serves batches and token counts of any size. null: those that the encoder can have,
    but CUDA graphs, and frozen weights of an encoder of one size, are for fixed shapes."""
    backend: str = "inductor"
    """A registered torch.compile backend."""
    scope: Literal["blocks", "tower"] = "blocks"
    """``blocks`` compiles one block and reuses its code for all; ``tower`` compiles the whole forward."""
    token_budgets: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2**20)], ...],
        Field(strict=False, max_length=8, examples=[[4096, 16384]]),
    ] = ()
    """On CUDA, record the tower as one graph for each of these numbers of patches, and pad batches to the
    least that is enough. Batches of more patches run without."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        problems = []
        if self.token_budgets and self.scope != "blocks":
            message = "with token_budgets the whole tower is recorded, of compiled blocks; leave scope out"
            problems.append(problem("VC210", message, "scope", value=self.scope))
        if self.mode != "max-performance":
            if problems:
                raise invalid("compile", *problems)
            return self
        if self.backend != "inductor":
            message = "mode max-performance is a set of inductor's options; take another mode or inductor"
            problems.append(problem("VC210", message, "backend", value=self.backend))
        if self.scope != "blocks":
            message = "mode max-performance is for single blocks; leave scope out"
            problems.append(problem("VC210", message, "scope", value=self.scope))
        if problems:
            raise invalid("compile", *problems)
        return self


class ParallelConfig(ConfigModel):
    """How images are spread over the processes of torch.distributed."""

    mode: Literal["data"]
    """``data``: every rank holds the whole tower and encodes some of the images."""
    inputs: Literal["replicated", "sharded"] = "replicated"
    """``replicated``: every rank is called with the whole batch, and images are dealt. ``sharded``: with
    images of its own, which it encodes itself."""
    balance: Literal["cost", "patches", "none"] = "cost"
    """How images are dealt: ``cost`` (estimated operations or times), ``patches`` (their numbers), ``none``
    (in the order of the batch)."""
    cost_table: Annotated[Annotated[str, Field(min_length=1)] | None, Field(examples=["./costs.json"])] = None
    """File of measured costs to balance by; a path in a YAML file is relative to it. null: operations."""
    gather: Literal["all", "none"] = "all"
    """``all``: every rank returns all features. ``none``: those of the images that it encoded."""
    weights: Literal["node", "broadcast"] = "node"
    """``node``: one process of every machine reads the weights first, the others from its cache.
    ``broadcast``: rank 0 alone reads and sends them."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.inputs == "sharded" and "balance" in self.model_fields_set:
            message = "with inputs: sharded every rank encodes its own images; leave this out"
            raise invalid("parallel", problem("VC104", message, "balance", value=self.balance))
        if self.cost_table is not None and (self.balance != "cost" or self.inputs == "sharded"):
            message = "is read for balance: cost only; leave this out"
            raise invalid("parallel", problem("VC104", message, "cost_table", value=self.cost_table))
        return self


class TrainingConfig(ConfigModel):
    """What is trained, and how; without effect in inference."""

    freeze: Annotated[
        tuple[FrozenPart, ...], Field(strict=False, examples=["all", ["stem", "blocks[:6]"]])
    ] = ()
    """Parts without gradients: ``stem``, ``blocks[:k]`` (the first k blocks), ``all``; one, or a list."""
    gradient_checkpointing: bool = False
    """Compute the blocks' activations again in the backward pass instead of keeping them."""

    @field_validator("freeze", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        if isinstance(value, (list, tuple)) and len(value) > _MOST_PARTS:
            message = (
                f"name at most {_MOST_PARTS} parts, not {len(value)}; blocks[:k] names the first k blocks"
            )
            raise invalid("training", problem("VC104", message, value=value))
        return [value] if isinstance(value, str) else value  # a list everywhere but in what is written

    @property
    def trains_some(self) -> bool:
        """Whether it asks for a part to be trained, and not only leaves that open."""
        return self.gradient_checkpointing or bool(self.freeze and "all" not in self.freeze)

    @property
    def frozen_blocks(self) -> int:
        """How many of the first blocks are frozen by ``blocks[:k]``."""
        matches = map(_BLOCKS.fullmatch, self.freeze)
        return max((int(match[1]) for match in matches if match), default=0)
