"""Writing a composed tower to a folder that ``compose`` reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..errors import WeightsError
from ..images.settings import PROCESSOR_FILES, ProcessorSettings
from ..schemas import TowerConfig
from ..schemas.weights import DType
from ..schemas.yaml.dump import to_yaml
from .plain import plain
from .quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

_CONNECTOR_FILE = "connector.safetensors"


def save_tower(
    model: PreTrainedModel,
    processor: ProcessorSettings,
    config: TowerConfig,
    folder: Path,
    *,
    connector: nn.Module | None,
    dtype: torch.dtype,
    merge_adapters: bool = False,
) -> None:
    """Write ``tower.yaml``, ``model.safetensors`` and the image processor's config into ``folder``.

    transformers writes the weights, so that they carry the names of its checkpoints.

    Args:
        model: transformers' module.
        processor: The image processor and its values.
        config: The config that the tower was composed from.
        folder: Made if it does not exist.
        connector: The connector's module, which goes into a file of its own; None if it was not built.
        dtype: dtype of the parameters.
        merge_adapters: Whether to merge adapters of peft in what is written; else they are refused.

    Raises:
        WeightsError: If the folder cannot be written, the dtype is not one that a config can name, or the
            weights are not plain tensors, as with adapters and quantisation.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in get_args(DType):
        raise WeightsError(
            f"{folder}: a tower of {name} cannot be saved; cast it to one of {get_args(DType)}"
        )
    try:
        model = plain(model, merge_adapters=merge_adapters)  # type: ignore[assignment]  # of the same class
        connector = connector and plain(connector, merge_adapters=merge_adapters)
    except WeightsError as error:
        raise WeightsError(f"{folder}: {error}") from None
    from safetensors.torch import save_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            model.save_pretrained(folder)
        text = json.dumps(processor.to_json(), indent=2, sort_keys=True) + "\n"
        (folder / PROCESSOR_FILES[1]).write_text(text, encoding="utf-8")
        written = config.to_dict()
        keys = written | {"weights": {"source": "./model.safetensors", "dtype": name}}
        if connector is not None:
            tensors = {key: tensor.detach().contiguous() for key, tensor in connector.state_dict().items()}
            save_file(tensors, folder / _CONNECTOR_FILE, metadata={"format": "pt"})
            keys["connector"] |= {"weights": {"source": f"./{_CONNECTOR_FILE}"}}
        elif config.connector is not None and config.connector.weights is None and config.weights.source:
            # It was not built, and so stays where it was read from.
            where = {key: written["weights"].get(key) for key in ("source", "revision")}
            keys["connector"] |= {"weights": {key: value for key, value in where.items() if value}}
        (folder / "tower.yaml").write_text(to_yaml(keys), encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written: {error.strerror or error}") from error
