"""Everything that transformers' classes tell of an encoder, read by building small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..encoders import Shapes
from ..errors import InputError
from ..schemas import PROCESSOR_CLASSES, DenseEncoderConfig
from ..schemas.processor_class import plain_name
from .classes import Classes
from .fields import Keys, keys_of
from .observed import OTHER, SMALL, Observed, built, channels_of, observe, own_names, prefix_of, saved_tensors
from .shapes import Blocks, Sizes, blocks_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Encoder:
    """An encoder of transformers, as far as its classes tell.

    Attributes:
        classes: Its classes.
        keys: The keys of its block.
        observed: What a run of it shows.
        prefix: Python for the number of its prefix tokens; None if it is not known.
        sizes: What its tensors' shapes are made of.
        more: A flag with its other value, as Python -> the tensors that are there only then.
        own_names: The tensors as saved -> their names in the encoder.
        blocks: The tensors of its blocks; None if their names do not tell.
        image_processor: The image processor that transformers has for it; None if it has none.
    """

    classes: Classes
    keys: Keys
    observed: Observed
    prefix: str | None
    sizes: Sizes
    more: Mapping[str, Shapes]
    own_names: Mapping[str, str]
    blocks: Blocks | None
    image_processor: str | None

    @property
    def knows_processor(self) -> bool:
        """Whether a config can name the image processor, and it makes what a dense encoder takes."""
        known = PROCESSOR_CLASSES.get(self.image_processor or "")
        return known is not None and known.inputs == "pixels"


def read_encoder(classes: Classes) -> Encoder:
    """Build, save and run small encoders of a model type.

    Raises:
        InputError: If transformers cannot build or run one on images of one size.
    """
    model = built(classes, SMALL)
    keys = keys_of(classes, model)
    observed = observe(model)
    counts = _counts(keys)
    more = {name: count + 1 for name, count in counts.items()}
    saved = saved_tensors(model)
    small = _shapes(saved)
    try:
        other = _shapes(saved_tensors(built(classes, OTHER | more)))
    except InputError:  # these counts do not go together
        more = counts
        other = _shapes(saved_tensors(built(classes, OTHER)))
    conditions, more_tensors = _flags(classes, keys, small)
    channels = {"num_channels": channels_of(model)}
    has_channels = hasattr(classes.config, "num_channels")
    values = counts | SMALL | channels
    others = more | OTHER | ({} if has_channels else channels)
    known = [name for name in values if name in DenseEncoderConfig.model_fields or name in keys.values]
    sizes = Sizes(
        small,
        other,
        {name: values[name] for name in known},
        {name: others[name] for name in known},
        conditions,
    )
    return Encoder(
        classes,
        keys,
        observed,
        _prefix(classes, observed.num_prefix_tokens, counts),
        sizes,
        more_tensors,
        own_names(model, saved),
        blocks_of(small, SMALL["num_hidden_layers"]),
        _image_processor(classes.model_type),
    )


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _counts(keys: Keys) -> dict[str, int]:
    """Return the whole numbers that the encoder's code names, beside the sizes that every encoder has."""
    return {
        name: value
        for name, value in keys.values.items()
        if type(value) is int and name not in OTHER and name not in keys.inert
    }


def _flags(classes: Classes, keys: Keys, small: Shapes) -> tuple[dict[str, str], dict[str, Shapes]]:
    """Turn every flag that the encoder's code names, one at a time.

    Returns:
        The tensors that vanish, with Python for when they are there; and for each flag whose other value
        brings tensors, those tensors.
    """
    conditions: dict[str, str] = {}
    more: dict[str, Shapes] = {}
    for name, default in keys.values.items():
        if type(default) is not bool or DenseEncoderConfig.is_inert(name) or name in keys.inert:
            continue
        try:
            turned = _shapes(saved_tensors(built(classes, SMALL | {name: not default})))
        except InputError:  # with others turned, too, it may be built
            continue
        conditions |= {
            tensor: f"{'' if default else 'not '}encoder.{name}" for tensor in small if tensor not in turned
        }
        if added := {tensor: shape for tensor, shape in turned.items() if tensor not in small}:
            more[f"encoder.{name}" if not default else f"not encoder.{name}"] = added
    return conditions, more


def _prefix(classes: Classes, count: int | None, counts: Mapping[str, int]) -> str | None:
    """Return Python for the number of prefix tokens: a number, or the key that it grows with."""
    if count is None:
        return None
    for name, value in counts.items():
        try:
            grown = prefix_of(built(classes, SMALL | {name: value + 1}))
        except InputError:
            continue
        if grown == count + 1 and value <= count:
            return f"self.{name}" if value == count else f"{count - value} + self.{name}"
    return str(count)


def _image_processor(model_type: str) -> str | None:
    from transformers.models.auto import image_processing_auto

    names: Any = image_processing_auto  # it exports none by name
    named = names.IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type)
    if isinstance(named, Mapping):
        named = next(iter(named.values()), None)
    if isinstance(named, (tuple, list)):
        named = next(filter(None, named), None)
    return None if named is None else plain_name(str(named))
