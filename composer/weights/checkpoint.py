"""From a checkpoint to a loaded tower: which tensors are its, whether they fit, and reading only those."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import torch

from ..encoders import AnyFamily, Shapes
from ..errors import BackendError, WeightsError
from ..schemas import EncoderConfig
from ..text import shortened
from .adapter import Adapter
from .foreign import foreign_prefixes, translated
from .header import TensorHeader
from .kinds import refuse_kinds
from .names import TensorNames, find_prefix, meant, names_under, prefixes_of
from .own_config import check_own_config
from .pickled import forget
from .quiet import quiet_transformers
from .source import Checkpoint, open_checkpoint, refuse_adapter
from .staging import Staging
from .tensors import Unread, check_readable, read_tensor
from .vlm_names import class_in_vlm, is_named_as_in_vlm, names_in_vlm

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..schemas import WeightsConfig

_NO_WEIGHTS = ("position_ids", "inv_freq", "num_batches_tracked", "relative_position_index", "mask_token")
"""Last parts of names of what old checkpoints hold beside a tower's weights: computed, or pre-training's."""


def load_model(
    family: AnyFamily,
    encoder: EncoderConfig,
    weights: WeightsConfig,
    *,
    num_blocks: int,
    post_norm: bool,
    head: bool,
    dtype: torch.dtype,
    attn_implementation: str,
    device: torch.device,
    stored: str | None = None,
) -> PreTrainedModel:
    """Build transformers' module of the tower, cut to what is used, with its weights.

    Without ``weights.source`` the weights are random. With it, every parameter of the returned module was
    read from the checkpoint, or this raises. The memory of the host holds one tensor of it at a time.

    Args:
        family: The encoder's adapter.
        encoder: The encoder's config block, at full depth.
        weights: Where the weights are.
        num_blocks: Blocks to build.
        post_norm: Whether to keep the post-norm.
        head: Whether to keep the pooling head.
        dtype: dtype of the parameters.
        attn_implementation: transformers' name of the attention backend.
        device: Where the parameters are made or read to. What is computed beside them, and random weights of
            a model that can only be built on the CPU, is left there.
        stored: dtype of quantised weights in the file, whose integers are then the parameters' values.

    Raises:
        WeightsError: If the checkpoint is missing, broken, or not of this encoder; it names file and tensor.
    """
    config = family.transformers_config(encoder, num_blocks, head=head)
    model_class = family.transformers_class(config)
    unused = list(family.unused(num_blocks))
    if not head and not family.head_field:
        unused.extend(family.head_modules())  # transformers builds them always
    if not post_norm and family.post_norm:
        unused.append(family.post_norm)

    if weights.source is None:
        build = partial(_build, model_class, config, dtype=dtype, attn_implementation=attn_implementation)
        return drop(_built_on(device, build), unused)
    try:
        with Staging(device) as staging:
            checkpoint = open_checkpoint(weights.source, weights.hub_revision, file_format=weights.format)
            adapter = (
                None if weights.adapter is None else Adapter(weights.adapter, weights.hub_adapter_revision)
            )
            if adapter is None:
                refuse_adapter(checkpoint)
            check_own_config(checkpoint, family, encoder)
            shapes = family.shapes(encoder, num_blocks, post_norm=post_norm, head=head)
            names, loaded_class = _names(family, model_class, config, unused, checkpoint, shapes)
            own = prefixes_of(checkpoint, names)
            prefixes = own or foreign_prefixes(checkpoint.files)
            refuse_kinds(checkpoint, meant(prefixes, weights.prefix, names.root) or prefixes)
            if prefixes and not own:
                checkpoint = translated(checkpoint, names, family, encoder, weights.prefix)
            prefix = find_prefix(checkpoint, names, weights.prefix)
            unread = _unread(
                checkpoint,
                encoder,
                names,
                num_blocks=num_blocks,
                prefix=prefix,
                optional=family.optional,
                dtype=dtype,
                staging=staging,
                stored=stored,
            )
            with quiet_transformers():
                model, info = _from_pretrained(
                    loaded_class,
                    checkpoint,
                    config=config,
                    state_dict=unread,
                    dtype=dtype,
                    attn_implementation=attn_implementation,
                )
            model = drop(model, unused)
            if loaded_class is not model_class:
                model.__class__ = model_class
                del model._weight_conversions  # it is saved under its own names
            _check_loaded(checkpoint, model, info, family.optional)
            if adapter is not None:
                adapter.merge(model, _names_over_time(family, encoder), prefix, staging)
    finally:
        forget()
    return model


def _built_on(device: torch.device, build: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """Build a model of random weights on a device, or on the CPU where it cannot be built there."""
    try:
        with device:
            return build()
    except BackendError:
        if device.type == "cpu":
            raise
        # A model that the generic adapter runs may compute with tensors of the CPU while it is built.
        return build()


def _from_pretrained(model_class: Any, checkpoint: Checkpoint, **options: Any) -> tuple[PreTrainedModel, Any]:
    """Let transformers put tensors into a module; return it, and what became of each of them."""
    try:
        model, info = model_class.from_pretrained(None, output_loading_info=True, **options)
    except torch.OutOfMemoryError:  # of the device
        raise
    except RuntimeError as error:
        raise WeightsError(f"{checkpoint.label}: transformers cannot load it: {error}") from error
    return model, info


def _check_loaded(
    checkpoint: Checkpoint, model: PreTrainedModel, info: Mapping[str, Any], optional: Iterable[str]
) -> None:
    missing = sorted(
        name
        for name in set(info["missing_keys"]) & set(model.state_dict())
        if not any(part in name for part in optional)
    )
    if missing or info["mismatched_keys"]:
        raise WeightsError(
            f"{checkpoint.label}: transformers did not load {', '.join(missing) or info['mismatched_keys']}"
        )


def _names_over_time(family: AnyFamily, encoder: EncoderConfig) -> dict[str, str]:
    """Return the names that the whole tower's tensors have in transformers, and had, and its name now."""
    head = encoder.has_head
    config = family.transformers_config(encoder, encoder.num_hidden_layers, head=head)
    with torch.device("meta"):
        whole = _build(family.transformers_class(config), config, attn_implementation="eager")
    shapes = family.shapes(encoder, encoder.num_hidden_layers, post_norm=encoder.has_post_norm, head=head)
    names = TensorNames(whole, shapes)
    before = {name: targets[0] for name in shapes or () if len(targets := names(name)) == 1}
    return before | {name: name for name in names.needed}


def _names(
    family: AnyFamily,
    model_class: Any,
    config: Any,
    unused: list[str],
    checkpoint: Checkpoint,
    shapes: Shapes | None,
) -> tuple[TensorNames, Any]:
    """Return how the checkpoint names the tower's tensors, and the class that loads them in transformers."""
    with torch.device("meta"):
        own = drop(_build(model_class, config, attn_implementation="eager"), unused)
        if family.vlm:
            in_vlm_class = class_in_vlm(family, model_class)
            in_vlm = drop(_build(in_vlm_class, config, attn_implementation="eager"), unused)
            planned = names_in_vlm(in_vlm, family.vlm_root)
            if is_named_as_in_vlm(checkpoint, planned, own.state_dict()):
                return TensorNames(in_vlm, planned, root=f"{family.vlm_root}."), in_vlm_class
    return TensorNames(own, shapes), model_class


def _build(model_class: Any, config: Any, **options: Any) -> PreTrainedModel:
    try:
        with torch.no_grad():
            model: PreTrainedModel = model_class._from_config(config, **options)
            return model
    except (
        Exception
    ) as error:  # values of any type reach transformers' code, and the generic adapter any model
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BackendError(f"transformers cannot build this {config.model_type}: {reason}") from error


def drop(model: PreTrainedModel, paths: Iterable[str]) -> PreTrainedModel:
    """Remove the parameters and submodules at ``paths`` from ``model``, as far as they are there."""
    for path in paths:
        parent_path, _, name = path.rpartition(".")
        parent = model.get_submodule(parent_path)
        if getattr(parent, name, None) is not None:
            setattr(parent, name, None)
    return model


def _unread(
    checkpoint: Checkpoint,
    encoder: EncoderConfig,
    names: TensorNames,
    *,
    num_blocks: int,
    prefix: str,
    optional: tuple[str, ...],
    dtype: torch.dtype,
    staging: Staging,
    stored: str | None,
) -> dict[str, Unread]:
    """Find the tensors that the tower needs, named as in its own checkpoint; check all but their values."""
    sources: dict[str, str] = {}
    covered: set[str] = set()
    unknown: list[str] = []
    depth = 0
    for name in names_under(checkpoint, prefix + names.root):  # some renamings depend on the order
        stripped = name.removeprefix(prefix)
        targets = names(stripped)
        depth = max(depth, names.depth(targets))
        if not names.needed.keys().isdisjoint(targets):
            sources[stripped] = name
            covered.update(targets)
        elif names.in_a_part(targets) and not name.endswith(_NO_WEIGHTS):
            unknown.append(name)
    _check_depth(checkpoint, encoder, depth, num_blocks)
    _check_complete(checkpoint, names, prefix, covered | names.left_out(covered, optional))
    if unknown:
        more = f", and {len(unknown) - 1} more," if len(unknown) > 1 else ""
        raise WeightsError(
            f"{checkpoint.label}: holds tensor {shortened(checkpoint.called(unknown[0]))}{more} for which "
            f"this {encoder.model_type} has no place: encoder.model_type, or another field of encoder, is "
            "not that of the checkpoint"
        )
    headers = checkpoint.headers(sources.values())
    for stripped, name in sources.items():
        check_readable(checkpoint, name, headers[name], stored=stored)
        _check_shape(checkpoint, name, headers[name], names, stripped)
    return {
        names.for_transformers(stripped): Unread(
            partial(read_tensor, checkpoint, name, headers[name], dtype, staging), staging
        )
        for stripped, name in sources.items()
    }


def _check_depth(checkpoint: Checkpoint, encoder: EncoderConfig, depth: int, num_blocks: int) -> None:
    if depth > encoder.num_hidden_layers:
        raise WeightsError(
            f"{checkpoint.label}: holds {depth} blocks, but encoder.num_hidden_layers is "
            f"{encoder.num_hidden_layers}; it must be the full depth, which negative select_layers count from"
        )
    if 0 < depth < num_blocks:
        raise WeightsError(
            f"{checkpoint.label}: holds {depth} blocks, and the selected hidden states need {num_blocks}"
        )


def _check_complete(checkpoint: Checkpoint, names: TensorNames, prefix: str, covered: set[str]) -> None:
    missing = names.missing(covered)
    if missing:
        more = f", and {len(missing) - 1} more of this encoder's" if len(missing) > 1 else ""
        where = sorted(set(checkpoint.files.values()))
        file = f" ({where[0]})" if len(where) == 1 else ""
        raise WeightsError(
            f"{checkpoint.label}{file}: tensor {checkpoint.called(prefix + missing[0])} is missing{more}"
            f"{checkpoint.unread_index}"
        )


def _check_shape(
    checkpoint: Checkpoint, name: str, header: TensorHeader, names: TensorNames, stripped: str
) -> None:
    name = checkpoint.called(name)
    expected = names.shape(stripped)
    if expected is not None and header.shape != expected:
        raise WeightsError(
            f"{header.file}: tensor {name} has shape {header.shape}, and this encoder's is {expected}"
        )
    if prod(header.shape) > (most := names.values(stripped)):
        raise WeightsError(
            f"{header.file}: tensor {name} has shape {header.shape}, more than the {most:,} values that this "
            "encoder has of it"
        )
