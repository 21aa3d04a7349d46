"""Writing a composed tower to a folder that ``compose`` reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from safetensors import SafetensorError

from ..connectors.base import parts
from ..errors import WeightsError
from ..images.settings import PROCESSOR_FILES, ProcessorSettings
from ..schemas import AnyConfig, FusedConfig, TowerConfig
from ..schemas.weights import DType
from ..schemas.yaml.dump import to_yaml
from .plain import plain
from .quantised import taken_apart, write_scales
from .quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

_TOWER_FILE = "model.safetensors"
_CONNECTOR_FILE = "connector.safetensors"
_PROJECT_FILE = "project.safetensors"


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

    transformers writes the weights, so that they carry the names of its checkpoints. Of quantised weights
    the integers stand there, and their scales in a file of their own beside it.

    Args:
        model: transformers' module.
        processor: The image processor and its values.
        config: The config that the tower was composed from.
        folder: Made if it does not exist.
        connector: The connector's module, which goes into a file of its own; None if it was not built.
        dtype: dtype of the parameters.
        merge_adapters: Whether to merge adapters of peft in what is written; else they are refused.

    Raises:
        WeightsError: If the folder cannot be written, or has the processor config of another model; the dtype
            is not one that a config can name; or the weights are not plain tensors, as with adapters and with
            quantisation that is not the config's.
    """
    name = _saved_dtype(dtype, folder)
    if (folder / PROCESSOR_FILES[0]).exists():
        raise WeightsError(
            f"{folder}: has a {PROCESSOR_FILES[0]}, which would be read in place of the tower's image "
            "processor; save into another folder"
        )
    quantised = config.quantize != "none"
    model = _checked(model, folder, merge_adapters, quantised)  # type: ignore[assignment]  # of the same class
    connector = None if connector is None else _checked(connector, folder, merge_adapters, quantised)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        state, scales = taken_apart(model)
        with quiet_transformers():
            model.save_pretrained(folder, state_dict=state)
        write_scales(scales, folder / _TOWER_FILE)
        text = json.dumps(processor.to_json(), indent=2, sort_keys=True) + "\n"
        (folder / PROCESSOR_FILES[1]).write_text(text, encoding="utf-8")
        written = config.to_dict()
        keys = written | {"weights": {"source": f"./{_TOWER_FILE}", "dtype": name}}
        if connector is not None:
            _write(connector, folder / _CONNECTOR_FILE)
            keys["connector"] |= {"weights": {"source": f"./{_CONNECTOR_FILE}"}}
        else:
            keys |= _connector_left(config)
        (folder / "tower.yaml").write_text(to_yaml(keys), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise _unwritable(folder, error) from error


def save_fused(
    config: FusedConfig,
    folder: Path,
    *,
    project: nn.ModuleDict,
    connector: nn.Module | None,
    dtype: torch.dtype,
    merge_adapters: bool = False,
) -> None:
    """Write ``tower.yaml`` of several towers, which were saved into folders of their names in ``folder``.

    Args:
        config: The config that the encoder was composed from.
        folder: Where the towers' folders are.
        project: The linear layers on the towers' tokens; they and the connector go into files of their own.
        connector: The connector's module; None if it was not built.
        dtype: dtype of the parameters.
        merge_adapters: As for :func:`save_tower`.

    Raises:
        WeightsError: As :func:`save_tower`.
    """
    name = _saved_dtype(dtype, folder)
    keys = config.to_dict() | {
        "towers": {tower: f"./{tower}" for tower in config.towers},
        "weights": {"dtype": name},
    }
    try:
        if project:
            _write(_checked(parts(project=project), folder, merge_adapters, False), folder / _PROJECT_FILE)
            for block in keys["project"].values():
                block["weights"] = {"source": f"./{_PROJECT_FILE}"}
        if connector is not None:
            quantised = config.quantize != "none"
            _write(_checked(connector, folder, merge_adapters, quantised), folder / _CONNECTOR_FILE)
            keys["connector"] |= {"weights": {"source": f"./{_CONNECTOR_FILE}"}}
        else:
            keys |= _connector_left(config)
        (folder / "tower.yaml").write_text(to_yaml(keys), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}")


def _saved_dtype(dtype: torch.dtype, folder: Path) -> str:
    """Return how a config names a dtype.

    Raises:
        WeightsError: If it cannot.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in get_args(DType):
        raise WeightsError(
            f"{folder}: a tower of {name} cannot be saved; cast it to one of {get_args(DType)}"
        )
    return name


def _checked(module: nn.Module, folder: Path, merge_adapters: bool, quantised: bool) -> nn.Module:
    """Return a module of plain tensors, but for quantised ones where these are expected.

    Raises:
        WeightsError: If its are not.
    """
    try:
        return plain(module, merge_adapters=merge_adapters, quantised=quantised)
    except WeightsError as error:
        raise WeightsError(f"{folder}: {error}") from None


def _write(module: nn.Module, file: Path) -> None:
    from safetensors.torch import save_file

    state, scales = taken_apart(module)
    tensors = {key: tensor.detach().contiguous() for key, tensor in state.items()}
    save_file(tensors, file, metadata={"format": "pt"})
    write_scales(scales, file)


def _connector_left(config: AnyConfig) -> dict[str, Any]:
    """Return the ``connector`` of a config that was not built: its weights stay where they are.

    A merged adapter may change the connector, too, so whoever builds it then has to name its weights. Beside
    one tower they are missing until then; beside several they would be random, so the block is left out.
    """
    written = config.to_dict()
    if config.connector is None or config.connector.weights is not None or not config.weights.source:
        return {}
    if config.weights.adapter is not None:
        return {"connector": None} if isinstance(config, FusedConfig) else {}
    where = {key: written["weights"].get(key) for key in ("source", "revision", "format")}
    return {
        "connector": written["connector"] | {"weights": {key: value for key, value in where.items() if value}}
    }
