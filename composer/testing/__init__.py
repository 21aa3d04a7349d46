"""The conformance check of an encoder family: what every family here passes, for authors of others.

Call it in a test of your own::

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

from ..encoders import family_of
from ..errors import ConformanceError, InputError
from ..schemas import EncoderConfig, encoder_config
from .properties import CHECKS
from .subject import Subject

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
"""Fields of a small encoder, by the names that most families give them."""


def check_encoder(encoder: str | Mapping[str, Any] | EncoderConfig) -> None:
    """Check that an encoder family keeps what the rest of the package relies on.

    ``hidden states``: each equals that of transformers' class, as does the encoder's own output, merged where
    it merges, and the pooled output: image by image, clips too where grids have frames.
    ``order``: patches come out in the order of the input.
    ``tokens``: as many come out as planned, for images of several sizes.
    ``truncation``: no block is built beyond the deepest selected, and fewer blocks change no features.
    ``gradients``: every parameter gets one.
    ``independence``: an image's features do not depend on the others of its batch, even if they are NaN.
    ``planned tensors``: they are the module's parameters, under the names that it saves.
    ``saving``: a saved tower composed again is the same.

    Takes seconds, on the CPU, with random float32 weights; leaves torch's random state as it was.

    Args:
        encoder: A registered model_type, to check at a tiny size with the config's other defaults; or a
            config block, as a mapping or validated. Its weights are made, so keep it small.

    Raises:
        ConformanceError: The first property that does not hold, and how; an AssertionError too. Whatever
            else the family raises on the way is its cause.
        InputError: No valid config block, or one of the generic adapter.
    """
    config = _config(encoder)
    family = family_of(config)
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with _checking(config, next(iter(CHECKS))):
            subject = Subject(config, family, Path(folder))
        for name, check in CHECKS.items():
            with _checking(config, name):
                check(subject)


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
        raise InputError(f"not a valid encoder block: {reasons}") from None
    if config.generic:
        raise InputError("the generic adapter makes none of the promises that check_encoder checks")
    return config


@contextmanager
def _checking(encoder: EncoderConfig, name: str) -> Iterator[None]:
    """Names the encoder and the property in whatever is raised inside."""
    try:
        yield
    except ConformanceError as error:
        raise ConformanceError(f"{encoder.model_type}: {name}: {error}") from None
    except Exception as error:  # a family's own code can raise anything
        raise ConformanceError(
            f"{encoder.model_type}: {name}: {type(error).__name__} was raised: {error}"
        ) from error


__all__ = ["check_encoder"]
