"""From a checkpoint to a loaded connector: only its tensors are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from ..connectors import AnyConnector
from ..errors import BackendError, WeightsError
from ..schemas import WeightsConfig
from ..text import shortened
from .adapter import Adapter
from .pickled import forget
from .source import Checkpoint, open_checkpoint
from .staging import Staging
from .tensors import check_readable, read_tensor

if TYPE_CHECKING:
    from torch import nn

    from ..schemas.weights import SourceConfig


def load_connector(
    connector: AnyConnector,
    weights: SourceConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
    stored: str | None = None,
) -> nn.Module:
    """Build a connector's module with its weights.

    Without ``weights.source`` the weights are random. With it, every tensor of the module was read from the
    checkpoint, or this raises.

    Args:
        connector: The connector.
        weights: Where the weights are.
        dtype: dtype of the parameters.
        device: Where the module is made, and its parameters are read to.
        stored: dtype of quantised weights in the file, whose integers are then the parameters' values.

    Raises:
        WeightsError: If the checkpoint is missing or broken, or has no such connector.
        BackendError: If transformers cannot build it.
    """
    try:
        with device:
            module = _in_dtype(connector, connector.build(), dtype)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BackendError(f"transformers cannot build the connector {connector.type!r}: {error}") from error
    what = f"the connector {connector.type!r}"
    disk_names = connector.names_on_disk()
    fill(module, weights, what=what, key="connector.weights", disk_names=disk_names, stored=stored)
    return module


def fill(
    module: nn.Module,
    weights: SourceConfig,
    *,
    what: str,
    key: str,
    disk_names: Mapping[str, str] = MappingProxyType({}),
    stored: str | None = None,
) -> None:
    """Read every tensor of a module from a checkpoint to its device; without a source they stay as they are.

    Args:
        module: The module, whose state dict has the tensors' names.
        weights: Where the weights are.
        what: What errors call it.
        key: The key of a config that says where the weights are.
        disk_names: What a name may begin with on disk -> in the module, where the two differ.
        stored: dtype of quantised weights in the file.

    Raises:
        WeightsError: If the checkpoint is missing or broken, or does not have the tensors.
    """
    tensors = module.state_dict()
    if weights.source is None or not tensors:
        return
    try:
        checkpoint = open_checkpoint(weights.source, weights.hub_revision, file_format=weights.format)
        sources = _sources(checkpoint, tensors, disk_names, f"{what} needs", key)
        _refuse_adapted(weights, sources.values())
        headers = checkpoint.headers(sources.values())
        with Staging(next(iter(tensors.values())).device) as staging:
            for name, tensor in tensors.items():
                source = sources[name]
                header = headers[source]
                if header.shape != tuple(tensor.shape):
                    raise WeightsError(
                        f"{header.file}: tensor {source} has shape {header.shape}, and that of {what} is "
                        f"{tuple(tensor.shape)}"
                    )
                check_readable(checkpoint, source, header, stored=stored)
                tensor.copy_(read_tensor(checkpoint, source, header, tensor.dtype, staging))
    finally:
        forget()


def _in_dtype(connector: AnyConnector, module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return the module in a dtype, but for what transformers keeps in float32."""
    module = module.to(dtype)
    for name, parameter in module.named_parameters():
        if dtype == torch.float16 and name.startswith(connector.in_float32):
            parameter.data = parameter.data.float()
    return module


def _refuse_adapted(weights: SourceConfig, sources: Iterable[str]) -> None:
    """Refuse an adapter that is merged into the tower and changes the connector, too.

    Raises:
        WeightsError: If it is one.
    """
    if not isinstance(weights, WeightsConfig) or weights.adapter is None:
        return
    adapter = Adapter(weights.adapter, weights.hub_adapter_revision)
    touched = adapter.touches(name.removeprefix("model.") for name in sources)
    if touched:
        raise WeightsError(
            f"{weights.adapter}: changes the connector, too (tensor {shortened(touched)}), into which it is "
            "not merged here: merge it with peft (merge_and_unload) and save the model again"
        )


def _sources(
    checkpoint: Checkpoint, names: Iterable[str], disk_names: Mapping[str, str], needs: str, key: str
) -> dict[str, str]:
    """Return the checkpoint's name of each of the module's tensors.

    Raises:
        WeightsError: If one is missing, or several tensors could be it.
    """
    found: dict[str, str] = {}
    for name in names:
        spellings = {name}
        for on_disk, in_module in disk_names.items():
            if name.startswith(in_module):
                spellings.add(on_disk + name.removeprefix(in_module))
        matches = [
            file
            for file in checkpoint.files
            if any(f".{file}".endswith(f".{spelling}") for spelling in spellings)
        ]
        if len(matches) != 1:
            some = f"several tensors are: {', '.join(sorted(matches)[:3])}" if matches else "no tensor is"
            raise WeightsError(
                f"{checkpoint.label}: {needs} {name}, and {some} named so; {key} says where its weights are, "
                "and source: null that they are random"
                f"{checkpoint.unread_index}"
            )
        found[name] = matches[0]
    return found
