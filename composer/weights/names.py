"""Names of tensors: in a checkpoint, in transformers' module, and what stands before them in a VLM's."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from ..encoders import Shapes
from ..errors import WeightsError
from ..text import shortened
from .source import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BLOCK = re.compile(r"(?:^|\.)(?:layers?|blocks)\.(\d{1,6})\.")
_UP_TO_BLOCK = re.compile(r"(?:.*?\.)?(?:layers?|blocks)\.\d{1,6}\.")
_TOWER_TENSORS = 4_000
"""Most tensors under a tower's prefix; a tower of 45 blocks has 700."""
_NAME_LENGTH = 200
"""Longest name of a tensor there: some of transformers' patterns take time that grows with its square."""


class TensorNames:
    """A checkpoint's tensor name -> the names it gets in transformers' module, by transformers' own rules.

    Args:
        model: The module to load, on the meta device.
        planned: Its tensors under the names of a checkpoint, where the family knows them.
        root: What those names begin with, for a tower that is named as in a VLM.

    Attributes:
        needed: The module's tensors, by the module's names.
    """

    def __init__(self, model: PreTrainedModel, planned: Shapes | None, root: str = "") -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter

        transforms = get_model_conversion_mapping(model)
        self._converters = [t for t in transforms if isinstance(t, WeightConverter)]
        self._renamings: list[Any] = [t for t in transforms if not isinstance(t, WeightConverter)]
        self._planned = planned
        self.root = root
        self.needed = dict(model.state_dict())
        self._parts = {_part(name) for name in self.needed} - {""}

    def __call__(self, name: str) -> list[str]:
        """The names in the module: several for a tensor that is split on loading."""
        renamed, converter = self._rename(name)
        if converter is None:
            return [renamed]
        first = converter.target_patterns[0]
        return [renamed.replace(first, target) for target in converter.target_patterns]

    def for_transformers(self, name: str) -> str:
        """The name under which transformers takes a tensor: without the root, if no pattern takes that off.

        The whole model of transformers needs no pattern for that: there the root is a part of the name.
        """
        own = name.removeprefix(self.root)
        return own if self._rename(name) == (own, None) else name

    def _rename(self, name: str) -> tuple[str, Any]:
        from transformers.core_model_loading import rename_source_key

        renamed, pattern = rename_source_key(name, self._renamings, self._converters)
        if pattern is None:
            return name.removeprefix(self.root) if renamed == name else renamed, None
        return renamed, next(c for c in self._converters if pattern in c.source_patterns)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape that a tensor must have in the checkpoint; None where transformers reshapes it freely."""
        targets = [tuple(self.needed[target].shape) for target in self(name)]
        _, converter = self._rename(name)
        if converter is None:
            return targets[0]
        if {type(operation).__name__ for operation in converter.operations} <= {"Chunk", "PermuteForRope"}:
            return (sum(shape[0] for shape in targets), *targets[0][1:])
        return None

    def values(self, name: str) -> int:
        """The most values that a tensor can have in the checkpoint: those of all that it becomes."""
        return sum(self.needed[target].numel() for target in self(name))

    def missing(self, covered: set[str]) -> list[str]:
        """What the module still needs beside the module names ``covered``, as a checkpoint would name it."""
        absent = self.needed.keys() - covered
        if not absent or self._planned is None:
            return sorted(absent)
        return sorted(name for name in self._planned if not absent.isdisjoint(self(name))) or sorted(absent)

    def left_out(self, covered: set[str], optional: Iterable[str]) -> set[str]:
        """The module's tensors of those ``optional`` parts of names of which ``covered`` has none."""
        parts = [{name for name in self.needed if part in name} for part in optional]
        return set().union(*(part for part in parts if part.isdisjoint(covered)))

    def checkpoint_names(self) -> set[str]:
        """What the module needs, as a checkpoint would name it."""
        return set(self._planned or self.needed)

    def patch_embedding(self) -> set[str]:
        """The names that a tensor of the patch embedding may have in a checkpoint of the tower."""
        convolutions = [name for name, tensor in self.needed.items() if tensor.dim() >= 4]
        named = [name for name in self.needed if "patch" in name]
        target = next(iter(convolutions or named or self.needed))
        return {self.root + target, *(name for name in self._planned or () if self(name) == [target])}

    def in_a_part(self, targets: list[str]) -> bool:
        """Whether tensors of these names would belong to a block of the module, or to another part of it."""
        return any(_part(target) in self._parts for target in targets)

    def depth(self, targets: list[str]) -> int:
        """One more than the block that a tensor belongs to; 0 for one outside the blocks."""
        matches = [_BLOCK.search(target) for target in targets]
        return max((int(match[1]) + 1 for match in matches if match), default=0)


def _part(name: str) -> str:
    """Return what the name of a tensor's block begins with; outside the blocks the name of its module."""
    found = _UP_TO_BLOCK.match(name)
    return found[0] if found else name.rpartition(".")[0]


def prefixes_of(checkpoint: Checkpoint, names: TensorNames) -> set[str]:
    """What may stand before the tower's names.

    Found by a tensor that every tower has and no language model does: its patch embedding.
    """
    return prefixes_before(checkpoint.files, names.patch_embedding())


def prefixes_before(files: Iterable[str], endings: Iterable[str]) -> set[str]:
    """What stands before those names that are one of ``endings``, or end in one behind a dot."""
    endings = tuple(endings)
    dotted = tuple(f".{ending}" for ending in endings)
    found = [file for file in files if file.endswith(dotted) or file in endings]
    return {
        file.removesuffix(ending)
        for file in found
        for ending in endings
        if file == ending or file.endswith(f".{ending}")
    }


def meant(prefixes: Collection[str], asked: str | None, root: str = "") -> list[str]:
    """Those prefixes that a user may mean who named one, or a part that tells it apart; all without one."""
    if asked is None:
        return sorted(prefixes)
    asked = (asked if not asked or asked.endswith(".") else f"{asked}.").removesuffix(root)
    if asked in prefixes:
        return [asked]
    return [prefix for prefix in sorted(prefixes) if asked and f".{asked}" in f".{prefix}"]


def find_prefix(checkpoint: Checkpoint, names: TensorNames, asked: str | None) -> str:
    """What stands before the tower's names, as in ``vision_tower.vision_model.``.

    Args:
        checkpoint: The checkpoint.
        names: The tower's tensors.
        asked: The prefix that the user named, or a part of it that tells it apart; None to find it.

    Raises:
        WeightsError: If the checkpoint holds no such tower, or several.
    """
    sentinel = " or ".join(sorted(names.patch_embedding()))
    found = prefixes_of(checkpoint, names)
    if asked is not None:
        fitting = meant(found, asked, names.root)
        if len(fitting) != 1:
            asked = (asked if not asked or asked.endswith(".") else f"{asked}.").removesuffix(names.root)
            others = _some(found) or "none"
            raise WeightsError(f"{checkpoint.label}: no tensor {asked}{sentinel}; prefixes with it: {others}")
        return fitting[0]
    if not found:
        some = _some(checkpoint.files) or "no tensor at all"
        raise WeightsError(
            f"{checkpoint.label}: holds no such encoder: no tensor is named {sentinel}, with or without a "
            f"prefix (it has {some}){checkpoint.unread_index}"
        )
    if len(found) > 1:
        raise WeightsError(
            f"{checkpoint.label}: holds {len(found):,} towers that fit, under {_some(found)}; "
            "say which with weights.prefix"
        )
    return found.pop()


def names_under(checkpoint: Checkpoint, prefix: str) -> list[str]:
    """The checkpoint's tensors whose names begin with a tower's prefix, sorted.

    Raises:
        WeightsError: If there are more of them than a tower has, or one has a name of unlikely length.
    """
    names = [name for name in checkpoint.files if name.startswith(prefix)]
    if len(names) > _TOWER_TENSORS:
        where = f" under {shortened(prefix)}" if prefix else ""
        raise WeightsError(
            f"{checkpoint.label}: holds {len(names):,} tensors{where}, and a tower has {_TOWER_TENSORS:,} at "
            "most"
        )
    longest = max(names, key=len, default="")
    if len(longest) > _NAME_LENGTH:
        raise WeightsError(
            f"{checkpoint.label}: the name of a tensor has {_NAME_LENGTH} characters at most, "
            f"not {shortened(longest)}"
        )
    return sorted(names)


def _some(names: Collection[str]) -> str:
    """Three of the names, as a message shows them."""
    more = ", ..." if len(names) > 3 else ""
    return ", ".join(map(shortened, nsmallest(3, names))) + more
