"""Writing a composed tower to a folder that ``compose`` reads back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..schemas.dump import to_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..tower import ComposedVisionEncoder


def save_tower(tower: ComposedVisionEncoder, folder: Path) -> None:
    """Write ``tower.yaml``, ``model.safetensors`` and the image processor's config into ``folder``.

    transformers writes the weights, so that they carry the names of its checkpoints.
    """
    model: PreTrainedModel = tower.model  # type: ignore[assignment]  # an nn.Module to the tower itself
    model.save_pretrained(folder)
    tower.preprocessor.processor.save_pretrained(folder)
    config = tower.config.to_dict()
    config["weights"] = {"source": "./model.safetensors", "dtype": str(tower.dtype).removeprefix("torch.")}
    (folder / "tower.yaml").write_text(to_yaml(config), encoding="utf-8")
