"""Towers whose names in a VLM's checkpoint only that VLM's conversion mapping in transformers knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..encoders import AnyFamily, Shapes
from .source import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def class_in_vlm(family: AnyFamily, model_class: Any) -> Any:
    """A subclass of ``model_class`` that transformers loads by the conversion mapping of ``family.vlm``.

    transformers finds a mapping by the name of the class it loads, and the VLM's is not that of its tower.
    The mapping is registered for the subclass alone, so that the tower's own class keeps its behaviour.
    """
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        register_checkpoint_conversion_mapping,
    )
    from transformers.core_model_loading import PrefixChange

    name = f"{model_class.__name__}Of{family.vlm}"
    transforms = get_checkpoint_conversion_mapping(family.vlm) or []  # type: ignore[no-untyped-call]  # untyped there
    transforms.append(PrefixChange(prefix_to_remove=rf"model\.{family.vlm_module}"))
    register_checkpoint_conversion_mapping(name, transforms, overwrite=True)
    return type(name, (model_class,), {"__module__": __name__})


def names_in_vlm(model: PreTrainedModel, root: str) -> Shapes:
    """The tensors of a model of such a subclass, under the names that the VLM's checkpoint has for them.

    Args:
        model: On the meta device; its tensors are not read.
        root: What the tower is called in the VLM's checkpoints.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import revert_weight_conversion

    # Without this attribute transformers leaves out changes of prefixes.
    model._weight_conversions = get_model_conversion_mapping(model, add_legacy=False)  # type: ignore[assignment]  # its stub says Tensor
    reverted = revert_weight_conversion(model, model.state_dict())
    del model._weight_conversions
    # The conversion mapping may give the tower's place in transformers' model, which begins with "model.".
    return {
        name if name.startswith(f"{root}.") else name.removeprefix("model."): tuple(tensor.shape)
        for name, tensor in reverted.items()
    }


def is_named_as_in_vlm(checkpoint: Checkpoint, in_vlm: Iterable[str], own: Iterable[str]) -> bool:
    """Whether a checkpoint names the tower as the VLM does, and not as the tower's own class."""
    own = list(own)
    telling = [name for name in in_vlm if not any(name.endswith(f".{mine}") for mine in own)]
    return any(file == name or file.endswith(f".{name}") for name in telling[:1] for file in checkpoint.files)
