"""What an encoder family does when transformers does not have its classes."""

from __future__ import annotations

from importlib.metadata import requires

import pytest
import transformers
from packaging.requirements import Requirement
from packaging.version import Version
from support import tiny

from vision_composer.encoders import FAMILIES
from vision_composer.encoders.clip import CLIP
from vision_composer.errors import BackendError
from vision_composer.schemas import encoder_config

ENCODER = encoder_config(tiny.ENCODERS["clip_vision_model"])


class NewFamily(CLIP):
    since = "99.0"


class NewClass(CLIP):
    since = "1.0"
    config_class = "CLIPVisionConfigOfTomorrow"


class NewModule(CLIP):
    module = "transformers.models.clip_of_tomorrow"


INSTALLED = transformers.__version__


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (NewFamily, f"clip_vision_model needs transformers 99.0 or newer, but {INSTALLED} is installed"),
        (
            NewClass,
            f"clip_vision_model cannot be built: transformers {INSTALLED} has no "
            "transformers.CLIPVisionConfigOfTomorrow; install a newer one",
        ),
        (
            NewModule,
            f"clip_vision_model cannot be built: transformers {INSTALLED} has no "
            "transformers.models.clip_of_tomorrow.CLIPVisionConfig; install a newer one",
        ),
    ],
)
def test_a_transformers_without_the_family(family: type[CLIP], message: str) -> None:
    with pytest.raises(BackendError) as error:
        family().transformers_config(ENCODER, 2, head=False)
    assert str(error.value) == message


def test_only_families_newer_than_the_oldest_supported_transformers_name_a_version() -> None:
    (required,) = (r for r in map(Requirement, requires("vision-composer") or ()) if r.name == "transformers")
    oldest = min(Version(part.version) for part in required.specifier)
    versions = {name: Version(family.since) for name, family in FAMILIES.items() if family.since}
    assert versions
    assert all(since > oldest for since in versions.values()), versions


def test_versions_are_compared_as_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(CLIP):
        since = "5.9"

    monkeypatch.setattr(transformers, "__version__", "5.24.0")
    assert Earlier().transformers_config(ENCODER, 2, head=False).num_hidden_layers == 2


def test_plugins_of_the_first_version_find_what_they_import() -> None:
    from vision_composer.encoders import base, facts, shapes

    for name in ("Shapes", "conv_patches", "layer_norm", "linear", "num_positions"):
        assert getattr(base, name) is getattr(shapes, name)
    for name in ("Grid", "VisionEncoderInfo"):
        assert getattr(base, name) is getattr(facts, name)
