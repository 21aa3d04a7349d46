"""Writing a composed tower to a folder that ``compose`` reads back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..errors import WeightsError
from ..schemas.config import DType
from ..schemas.yaml.dump import to_yaml
from .quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..encoder import ComposedVisionEncoder


def save_tower(tower: ComposedVisionEncoder, folder: Path) -> None:
    """Write ``tower.yaml``, ``model.safetensors`` and the image processor's config into ``folder``.

    transformers writes the weights, so that they carry the names of its checkpoints.
    """
    dtype = str(tower.dtype).removeprefix("torch.")
    if dtype not in get_args(DType):
        raise WeightsError(
            f"{folder}: a tower of {dtype} cannot be saved; cast it to one of {get_args(DType)}"
        )
    try:
        _write(tower, folder, dtype)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _write(tower: ComposedVisionEncoder, folder: Path, dtype: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model: PreTrainedModel = tower.model  # type: ignore[assignment]  # an nn.Module to the tower itself
    with quiet_transformers():
        model.save_pretrained(folder)
    tower.preprocessor.processor.save_pretrained(folder)
    config = tower.config.to_dict()
    config["weights"] = {"source": "./model.safetensors", "dtype": dtype}
    (folder / "tower.yaml").write_text(to_yaml(config), encoding="utf-8")
