"""What an encoder family does when transformers does not have its classes."""

from __future__ import annotations

import pytest
import tiny
import transformers

from vision_composer.encoders.clip import CLIP
from vision_composer.errors import BackendError
from vision_composer.schemas import encoder_config

ENCODER = encoder_config(tiny.ENCODERS["clip_vision_model"])


class NewClass(CLIP):
    config_class = "CLIPVisionConfigOfTomorrow"
    since = "99.0"


class NewModule(CLIP):
    module = "transformers.models.clip_of_tomorrow"


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (NewClass, "has no transformers.CLIPVisionConfigOfTomorrow; it came with 99.0"),
        (NewModule, "has no transformers.models.clip_of_tomorrow.CLIPVisionConfig"),
    ],
)
def test_a_transformers_without_the_family(family: type[CLIP], message: str) -> None:
    with pytest.raises(BackendError) as error:
        family().transformers_config(ENCODER, 2, head=False)
    assert str(error.value) == f"clip_vision_model: transformers {transformers.__version__} {message}"
