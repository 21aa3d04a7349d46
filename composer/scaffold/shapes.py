"""The tensors of an encoder as Python: which keys of its block their shapes are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..encoders import Shapes

_MOST_TIMES = 8
UNKNOWN = "..."
"""A size that is not known."""


@dataclass(frozen=True)
class Sizes:
    """The tensors of one encoder at two sets of sizes.

    Attributes:
        small: Its tensors.
        other: Its tensors at other sizes.
        values: The numbers of its block at the small sizes.
        other_values: At the other sizes.
        conditions: A tensor that is there with one value of a flag only -> Python for that.
    """

    small: Shapes
    other: Shapes
    values: Mapping[str, int]
    other_values: Mapping[str, int]
    conditions: Mapping[str, str]

    def python(self, prefix: str, names: list[str]) -> list[str]:
        """Return the items of a dict display, one a line, for tensors whose names begin with ``prefix``.

        Args:
            prefix: What is cut off the names.
            names: The tensors.
        """
        modules: dict[str, dict[str, str]] = {}
        for name in names:
            module, _, last = name.removeprefix(prefix).rpartition(".")
            modules.setdefault(module, {})[last] = name
        return [line for module, own in modules.items() for line in self._module(module, own)]

    def unknown(self, names: list[str]) -> Shapes:
        """Return those of some tensors whose sizes are not all known."""
        return {name: self.small[name] for name in names if UNKNOWN in self._shape(name)}

    def dimension(self, value: int, other: int) -> str:
        """Return Python for one dimension at the small and at the other sizes; ``...`` if it is not known."""
        for python, small, large in self._candidates():
            if (small, large) == (value, other):
                return python
        return str(value) if value == other else UNKNOWN

    def _candidates(self) -> Iterator[tuple[str, int, int]]:
        yield "1", 1, 1
        for name in sorted(self.values, key=lambda name: name != "hidden_size"):
            yield f"encoder.{name}", self.values[name], self.other_values[name]
        patches, others = (
            (values["image_size"] // values["patch_size"]) ** 2 for values in (self.values, self.other_values)
        )
        yield "num_positions(encoder)", patches, others
        for extra in range(1, _MOST_TIMES + 1):
            yield f"{extra} + num_positions(encoder)", patches + extra, others + extra
        for name, value in self.values.items():
            other = self.other_values[name]
            for times in range(2, _MOST_TIMES + 1):
                yield f"{times} * encoder.{name}", times * value, times * other
                if value % times == 0 and other % times == 0:
                    yield f"encoder.{name} // {times}", value // times, other // times
        for name, value in self.values.items():
            yield (
                f"encoder.{name} + num_positions(encoder)",
                patches + value,
                others + self.other_values[name],
            )
        width, other_width = self.values["hidden_size"], self.other_values["hidden_size"]
        for name, value in self.values.items():
            yield (
                f"encoder.hidden_size * encoder.{name}",
                width * value,
                other_width * self.other_values[name],
            )
        heads, other_heads = (values["num_attention_heads"] for values in (self.values, self.other_values))
        size, other_size = width // heads, other_width // other_heads
        yield "encoder.head_size", size, other_size
        yield "encoder.head_size // 2", size // 2, other_size // 2

    def _module(self, module: str, own: Mapping[str, str]) -> Iterator[str]:
        shapes = {last: self._shape(name) for last, name in own.items()}
        conditions = {last: self.conditions.get(name, "") for last, name in own.items()}
        weight, bias = shapes.get("weight", []), shapes.get("bias")
        always = conditions.get("weight") == ""
        if set(own) == {"weight", "bias"} and always and bias == weight[:1] and len(weight) in (1, 2, 4):
            condition = conditions["bias"]
            last = f", bias={condition})" if condition else ")"
            if len(weight) == 1 and not condition:
                yield f'**layer_norm("{module}", {weight[0]}),'
                return
            if len(weight) == 2:
                yield f'**linear("{module}", {weight[1]}, {weight[0]}{last},'
                return
            if weight == _PATCH:
                yield f'**conv_patches("{module}", encoder{last},'
                return
        if set(own) == {"weight"} and always and weight == _PATCH:
            yield f'**conv_patches("{module}", encoder, bias=False),'
            return
        for last, dims in shapes.items():
            name = f"{module}.{last}".lstrip(".")
            shape = f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"
            condition = conditions[last]
            if condition:
                yield f'**({{"{name}": {shape}}} if {condition} else {{}}),'
            else:
                yield f'"{name}": {shape},'

    def _shape(self, name: str) -> list[str]:
        dims = self.small[name]
        others = self.other.get(name, (0,) * len(dims))
        return [self.dimension(*pair) for pair in zip(dims, others, strict=True)]


_PATCH = ["encoder.hidden_size", "encoder.num_channels", "encoder.patch_size", "encoder.patch_size"]


@dataclass(frozen=True)
class Blocks:
    """The names of the tensors of blocks.

    Attributes:
        before: What stands before a block's index.
        names: The tensors of a block, relative to it.
        alike: Whether all blocks have the same.
    """

    before: str
    names: tuple[str, ...]
    alike: bool

    def has(self, name: str) -> bool:
        """Whether a tensor is one of a block's."""
        index = name.removeprefix(self.before).partition(".")[0]
        return name.startswith(self.before) and index.isdecimal()


def blocks_of(shapes: Shapes, depth: int) -> Blocks | None:
    """Find the tensors of the blocks among those of an encoder; None if there are not ``depth`` of them."""
    found: dict[str, dict[int, list[str]]] = {}
    for name in shapes:
        for match in re.finditer(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)", name):
            indices = found.setdefault(name[: match.start()], {})
            indices.setdefault(int(match[0]), []).append(name[match.end() + 1 :])
    candidates = {before: by for before, by in found.items() if sorted(by) == list(range(depth))}
    if not candidates:
        return None
    before = max(candidates, key=lambda key: sum(map(len, candidates[key].values())))
    first, *others = (candidates[before][index] for index in range(depth))
    return Blocks(before, tuple(first), all(set(other) == set(first) for other in others))
