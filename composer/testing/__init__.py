"""Check an encoder family of your own for everything that the families of this package are checked for.

Call it in a test::

    from vision_composer.testing import check_encoder

    def test_my_family():
        check_encoder("my_model_type")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError

from ..composing import usable_device
from ..encoders import family_of
from ..errors import ConformanceError, InputError
from ..schemas import EncoderConfig, encoder_config
from .properties import CHECKS
from .subject import Subject
from .vlm import check_vlm

_TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "depth": 3,
    "num_attention_heads": 4,
    "num_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
"""Fields of a small encoder, under the names that most families use."""


def check_encoder(
    encoder: str | Mapping[str, Any] | EncoderConfig, *, device: torch.device | str = "cpu"
) -> None:
    """Check that an encoder family has the properties that the rest of the package relies on.

    ``hidden states``: every hidden state equals that of transformers' class, and so do the encoder's own
    output and the pooled one, for every image, and for a clip if grids have frames.
    ``order``: patches come out in the order of the input.
    ``tokens``: as many tokens come out as planned, for images of several sizes.
    ``truncation``: no block beyond the deepest selected one is built, and features do not change by it.
    ``gradients``: every parameter gets a gradient.
    ``independence``: an image's features do not depend on the others of its batch, even if those are NaN.
    ``planned tensors``: the plan's tensors are the module's parameters, under the names that it saves.
    ``saving``: a tower that is saved and composed again is the same.

    The check takes seconds. It uses random float32 weights, and leaves torch's random state as it was. On
    CUDA, products and convolutions are computed in float32 while it runs, and not in TF32.

    Args:
        encoder: A registered model_type, which is checked at a tiny size with the config's other defaults; or
            a config block, as a mapping or validated, which is checked at its own size: keep it small.
        device: Where the towers and transformers' own module run.

    Raises:
        ConformanceError: If a property does not hold; the message names the first one and says how. It is an
            AssertionError too. If the family raises an error, that error is the cause.
        InputError: If the config block is not valid or is one of the generic adapter, or if the device cannot
            be used.
    """
    config = _config(encoder)
    family = family_of(config)
    where = usable_device(device)
    with TemporaryDirectory() as folder, _random_state_kept(where), _exact_float32():
        torch.manual_seed(0)
        with _checking(config, next(iter(CHECKS))):
            subject = Subject(config, family, Path(folder), where)
        for name, check in CHECKS.items():
            with _checking(config, name):
                check(subject)


def tiny_encoder(model_type: str) -> EncoderConfig:
    """The config block of a small encoder of a family.

    Raises:
        InputError: If no such family is registered, or its fields do not allow so small an encoder.
    """
    return _config(model_type)


def _config(encoder: str | Mapping[str, Any] | EncoderConfig) -> EncoderConfig:
    try:
        if isinstance(encoder, str):
            default = encoder_config({"model_type": encoder})
            tiny = {key: value for key, value in _TINY.items() if key in type(default).model_fields}
            encoder = {"model_type": encoder, **tiny, **family_of(default).tiny}
        config = encoder_config(encoder)
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, line['loc']))}: {line['msg']}" for line in error.errors(include_url=False)
        )
        raise InputError(f"the encoder block is not valid: {reasons}") from None
    if config.generic:
        raise InputError(
            "check_encoder cannot check the generic adapter, which does not promise these properties; give a "
            "block without prefix_tokens"
        )
    return config


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Compute float32 as such on CUDA, where convolutions run in TF32 by default."""
    backends: Any = torch.backends  # torch leaves them untyped
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


@contextmanager
def _checking(encoder: EncoderConfig, name: str) -> Iterator[None]:
    """Name the encoder and the property in every error that is raised inside."""
    try:
        yield
    except ConformanceError as error:
        raise ConformanceError(f"{encoder.model_type}: {name}: {error}") from None
    except Exception as error:  # a family's own code can raise anything
        raise ConformanceError(
            f"{encoder.model_type}: {name}: {type(error).__name__} was raised: {error}"
        ) from error


__all__ = ["check_encoder", "check_vlm", "tiny_encoder"]
