"""Images to the inputs of an exported encoder, by the few steps that its metadata names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..images.decode import ImageLike
from ..images.image_steps import ImageSteps
from ..images.levels import Levels
from ..images.patch_order import PatchOrder
from ..images.reading import ImageReader
from ..images.steps import Steps

_RULES = ("..images.resize", "..images.budgets", "..images.steps")
"""The modules that have the rules of sizes; they are pure arithmetic."""


@dataclass(frozen=True)
class Preprocessing:
    """Reads images by Pillow's steps, and looks their pixels up.

    Attributes:
        steps: What is done before the arithmetic.
        levels: The image processor's arithmetic.
    """

    steps: ImageSteps
    levels: Levels

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Preprocessing:
        """Read what :meth:`described` wrote.

        Raises:
            InputError: If the metadata says that there are no such steps.
        """
        if "refused" in metadata:
            raise InputError(metadata["refused"])
        rule = None
        if (described := metadata["rule"]) is not None:
            name, fields = described["name"], described["fields"]
            modules = (import_module(module, __package__) for module in _RULES)
            rule = next(getattr(module, name) for module in modules if hasattr(module, name))(
                **{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
            )
        order = metadata["order"] and PatchOrder(
            **{**metadata["order"], "row": tuple(metadata["order"]["row"])}
        )
        crop = metadata["crop"] and tuple(metadata["crop"])
        table = np.asarray(metadata["levels"], dtype=np.float32)
        return cls(ImageSteps(rule, metadata["resample"], crop, order), Levels(table, order))

    def described(self) -> dict[str, Any]:
        """Return the steps as JSON-ready values."""
        steps = self.steps
        rule: Any = steps.rule
        return {
            "rule": None if rule is None else {"name": type(rule).__name__, "fields": asdict(rule)},
            "resample": int(steps.resample),
            "crop": steps.crop,
            "order": None if steps.order is None else asdict(steps.order),
            "levels": self.levels.table.tolist(),
        }

    def __call__(self, images: Sequence[ImageLike]) -> dict[str, Tensor]:
        """Make the inputs of a batch; errors as ``ExportedTower.make_inputs``."""
        channels = len(self.levels.table)
        reader = ImageReader(self.steps, self.steps.rule or Steps(), num_channels=channels, grey=True)
        read = reader(images)
        if self.steps.order is None and len({each["pixel_values"].shape for each in read}) > 1:
            raise InputError("these images keep different sizes, which make no batch; bring them one by one")
        joined = {name: np.concatenate([each[name] for each in read]) for name in read[0]}
        return self.levels({name: torch.from_numpy(array) for name, array in joined.items()})
