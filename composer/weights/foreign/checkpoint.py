"""A checkpoint of another library, read as one of transformers' layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from ...errors import WeightsError
from ..header import TensorHeader
from ..source import Checkpoint
from .recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from ..staging import Staging


@dataclass(frozen=True)
class MadeHeader(TensorHeader):
    """What a tensor will be that is made of others.

    Attributes:
        parts: What the file says of those.
    """

    parts: tuple[TensorHeader, ...]


@dataclass(frozen=True)
class TranslatedCheckpoint(Checkpoint):
    """A checkpoint under the names of transformers' layout.

    Attributes:
        original: The checkpoint under its own names.
        recipes: Our name -> what the tensor is made of; also of tensors that the checkpoint lacks.
    """

    original: Checkpoint = field(kw_only=True)
    recipes: dict[str, Recipe] = field(kw_only=True)

    def headers(self, names: Iterable[str]) -> dict[str, TensorHeader]:
        names = list(names)
        found = self.original.headers({source for name in names for source in self.recipes[name].sources})
        return {name: self._header(name, found) for name in names}

    def _header(self, name: str, found: dict[str, TensorHeader]) -> MadeHeader:
        recipe = self.recipes[name]
        parts = tuple(found[source] for source in recipe.sources)
        first = parts[0]
        with torch.device("meta"):
            try:
                made = recipe.make(*(torch.empty(part.shape) for part in parts))
            except (RuntimeError, ValueError, IndexError) as error:
                shapes = ", ".join(str(part.shape) for part in parts)
                raise WeightsError(
                    f"{first.file}: tensor {self.called(name)} has shape {shapes}, which does not fit "
                    "this encoder"
                ) from error
        for source, part in zip(recipe.sources, parts, strict=True):
            if part.dtype != first.dtype:
                raise WeightsError(
                    f"{part.file}: tensor {source} is {part.dtype}, and {recipe.sources[0]} beside it "
                    f"{first.dtype}"
                )
        return MadeHeader(first.file, tuple(made.shape), first.dtype, first.start, first.size, parts)

    def read(self, name: str, header: TensorHeader, staging: Staging) -> Tensor:
        assert isinstance(header, MadeHeader)  # of `headers`
        recipe = self.recipes[name]
        sources = zip(recipe.sources, header.parts, strict=True)
        made = recipe.make(
            *(self.original.read(source, part, staging) for source, part in sources)
        ).contiguous()
        # A part of a tensor would keep the whole of it in memory.
        return made if made.nbytes == made.untyped_storage().nbytes() else made.clone()

    def called(self, name: str) -> str:
        recipe = self.recipes.get(name)
        return name if recipe is None else " and ".join(recipe.sources)
