"""From a checkpoint to a loaded tower: which tensors are its, whether they fit, and reading only those."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ..encoders import EncoderFamily
from ..errors import WeightsError
from ..schemas import EncoderConfig, GenericEncoderConfig
from .files import TensorHeader, read_tensor
from .source import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import PreTrainedModel

    from ..schemas import WeightsConfig

_TRAINING_ONLY = re.compile(
    r"dropout|drop_path|initializer|^pos_embed_|^layer_?scale|^projection_dim$|mask_token|head$"
)
"""Fields of an encoder block that do not change what an inference computes."""


def load_model(
    family: EncoderFamily,
    encoder: EncoderConfig,
    weights: WeightsConfig,
    *,
    num_blocks: int,
    post_norm: bool,
    head: bool,
    dtype: torch.dtype,
    attn_implementation: str,
) -> PreTrainedModel:
    """transformers' module of the tower, cut to what is used, with its weights.

    Without ``weights.source`` the weights are random. With it, every parameter of the returned module was
    read from the checkpoint, or this raises.

    Args:
        family: The encoder's adapter.
        encoder: The encoder's config block, at full depth.
        weights: Where the weights are.
        num_blocks: Blocks to build.
        post_norm: Whether to keep the post-norm.
        head: Whether to keep the pooling head.
        dtype: dtype of the parameters.
        attn_implementation: transformers' name of the attention backend.

    Raises:
        WeightsError: The checkpoint is missing, broken, or not of this encoder; names file and tensor.
    """
    config = family.transformers_config(encoder, num_blocks, head=head)
    model_class = family.transformers_class(config)
    unused = list(family.unused(num_blocks))
    if not head and not family.head_field:
        unused.append(family.head)  # transformers builds it always
    if not post_norm and not isinstance(encoder, GenericEncoderConfig):
        unused.append(family.post_norm)

    if weights.source is None:
        with torch.no_grad():
            untrained = model_class._from_config(config, dtype=dtype, attn_implementation=attn_implementation)
        return drop(untrained, unused)

    with torch.device("meta"):
        wanted = drop(model_class._from_config(config, attn_implementation="eager"), unused)
    checkpoint = open_checkpoint(weights.source, weights.revision, file_format=weights.format)
    _check_config(checkpoint, encoder, config)
    state_dict = _read(checkpoint, encoder, wanted, prefix=weights.prefix)
    with _quiet():
        model, info = model_class.from_pretrained(
            None,
            config=config,
            state_dict=state_dict,
            dtype=dtype,
            attn_implementation=attn_implementation,
            output_loading_info=True,
        )
    model = drop(model, unused)
    missing = sorted(set(info["missing_keys"]) & set(model.state_dict()))
    if missing or info["mismatched_keys"]:
        raise WeightsError(
            f"{checkpoint.label}: transformers did not load {', '.join(missing) or info['mismatched_keys']}"
        )
    return model


def drop(model: PreTrainedModel, paths: Iterable[str]) -> PreTrainedModel:
    """``model`` without the parameters and submodules at ``paths``, as far as they are there."""
    for path in paths:
        parent_path, _, name = path.rpartition(".")
        parent = model.get_submodule(parent_path)
        if getattr(parent, name, None) is not None:
            setattr(parent, name, None)
    return model


def _read(
    checkpoint: Checkpoint, encoder: EncoderConfig, wanted: PreTrainedModel, *, prefix: str | None
) -> dict[str, Tensor]:
    """The tensors that ``wanted``, a module on the meta device, needs; named as in a tower's checkpoint."""
    names = _Renamer(wanted)
    prefix = _find_prefix(checkpoint, names, prefix)
    sources: dict[str, str] = {}
    covered: set[str] = set()
    depth = 0
    for name in checkpoint.files:
        if not name.startswith(prefix):
            continue
        stripped = name.removeprefix(prefix)
        targets = names(stripped)
        depth = max(depth, names.depth(targets))
        if names.needed.keys() & targets:
            sources[stripped] = name
            covered |= targets
    _check_depth(checkpoint, encoder, depth)
    missing = sorted(names.needed.keys() - covered)
    if missing:
        raise WeightsError(
            f"{checkpoint.label}: tensor {prefix}{missing[0]} is missing"
            + (f", and {len(missing) - 1} more of this encoder's" if len(missing) > 1 else "")
        )
    headers = checkpoint.headers(sources.values())
    for stripped, name in sources.items():
        _check_shape(name, headers[name], names, stripped)
    return {stripped: _read_tensor(name, headers[name]) for stripped, name in sources.items()}


class _Renamer:
    """A checkpoint's tensor name -> the names it gets in transformers' module, by transformers' own rules."""

    def __init__(self, model: PreTrainedModel) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter

        transforms = get_model_conversion_mapping(model)
        self.converters = [t for t in transforms if isinstance(t, WeightConverter)]
        self.renamings: list[Any] = [t for t in transforms if not isinstance(t, WeightConverter)]
        self.needed = dict(model.state_dict())
        self._block = re.compile(r"(?:^|\.)(?:layers?|blocks)\.(\d+)\.")

    def __call__(self, name: str) -> set[str]:
        from transformers.core_model_loading import rename_source_key

        renamed, pattern = rename_source_key(name, self.renamings, self.converters)
        if pattern is None:
            return {renamed}
        converter = next(c for c in self.converters if pattern in c.source_patterns)
        first, *others = converter.target_patterns
        return {renamed, *(renamed.replace(first, other) for other in others)}

    def is_converted(self, targets: set[str]) -> bool:
        """Whether the tensor is split or joined on the way, so that its shape is not the target's."""
        return len(targets) > 1

    def depth(self, targets: set[str]) -> int:
        """One more than the block that a tensor belongs to; 0 for one outside the blocks."""
        matches = [self._block.search(target) for target in targets]
        return max((int(match[1]) + 1 for match in matches if match), default=0)


def _find_prefix(checkpoint: Checkpoint, names: _Renamer, asked: str | None) -> str:
    """What stands before the tower's names, as in ``vision_tower.vision_model.``.

    Found by a tensor that every tower has and no language model does: its patch embedding.
    """
    sentinel = next(
        name for name, tensor in names.needed.items() if tensor.dim() >= 4 and name.endswith("weight")
    )
    found = sorted(
        {
            name.removesuffix(sentinel)
            for name in checkpoint.files
            if name.endswith(sentinel) and (name == sentinel or name[: -len(sentinel)].endswith("."))
        }
    )
    if asked is not None:
        asked = asked if not asked or asked.endswith(".") else f"{asked}."
        if asked not in found:
            raise WeightsError(
                f"{checkpoint.label}: no tensor {asked}{sentinel}; prefixes with it: {found or 'none'}"
            )
        return asked
    if not found:
        some = ", ".join(list(checkpoint.files)[:3]) or "no tensor at all"
        raise WeightsError(
            f"{checkpoint.label}: holds no such encoder: no tensor is named {sentinel}, with or without a "
            f"prefix (it has {some}, ...)"
        )
    if len(found) > 1:
        raise WeightsError(
            f"{checkpoint.label}: holds {len(found)} towers that fit, under {', '.join(map(repr, found))}; "
            "say which with weights.prefix"
        )
    return found[0]


def _check_depth(checkpoint: Checkpoint, encoder: EncoderConfig, depth: int) -> None:
    if depth > encoder.num_hidden_layers:
        raise WeightsError(
            f"{checkpoint.label}: holds {depth} blocks, but encoder.num_hidden_layers is "
            f"{encoder.num_hidden_layers}; it must be the full depth, which negative select_layers count from"
        )


def _check_shape(name: str, header: TensorHeader, names: _Renamer, stripped: str) -> None:
    targets = names(stripped)
    if names.is_converted(targets):
        return
    expected = tuple(names.needed[next(iter(targets))].shape)
    if header.shape != expected:
        raise WeightsError(
            f"{header.file}: tensor {name} has shape {header.shape}, and this encoder's is {expected}"
        )


def _read_tensor(name: str, header: TensorHeader) -> Tensor:
    tensor = read_tensor(header.file, name)
    if not tensor.is_floating_point():
        raise WeightsError(
            f"{header.file}: tensor {name} is {tensor.dtype}; quantised weights are not supported"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise WeightsError(f"{header.file}: tensor {name} holds NaN or infinity")
    return tensor


def _check_config(checkpoint: Checkpoint, encoder: EncoderConfig, config: Any) -> None:
    """Refuse a checkpoint whose own config.json contradicts ours: an epsilon or an activation changes every
    feature and no shape.
    """
    own = checkpoint.config()
    while own is not None and own.get("model_type") != encoder.model_type:
        own = own.get("vision_config")
    if own is None:
        return
    try:
        theirs = type(config).from_dict(own)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{checkpoint.label}: transformers refuses its config.json: {error}") from error
    for key in type(encoder).model_fields:
        if _TRAINING_ONLY.search(key) or not hasattr(config, key) or _follows_selection(key, encoder):
            continue
        value, expected = (_listed(getattr(side, key, None)) for side in (theirs, config))
        if value != expected:
            raise WeightsError(
                f"{checkpoint.label}: its config.json means {key}: {value!r}, and this config says "
                f"encoder.{key}: {expected!r}"
            )


def _follows_selection(key: str, encoder: EncoderConfig) -> bool:
    """Whether a field says how much was built rather than what: a saved tower may be cut to less."""
    if key == "deepstack_visual_indexes":
        return not getattr(encoder, key)
    return key in ("num_hidden_layers", "depth")


def _listed(value: Any) -> Any:
    """JSON knows no tuples."""
    return list(value) if isinstance(value, tuple) else value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting what is dropped right after, and from drawing bars."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
