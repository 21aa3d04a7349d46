"""Where the weights of a tower or of a connector come from. A block of the config."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .base import ConfigModel, invalid, problem
from .paths import is_weights_path, source_fault

DType = Literal["float32", "float16", "bfloat16"]

UNPINNED = "unpinned"
"""A revision that says that there is none on purpose: the hub's default branch, without a warning."""
_EXAMPLES = ["ce19dc912ca5cd21c8a653c79e251e808ccabcd1", UNPINNED]
_REVISION_SCHEMA: dict[str, Any] = {"anyOf": [{"const": UNPINNED}, {"type": "string"}, {"type": "null"}]}
"""An open choice: an editor offers the word, and any branch, tag or commit may stand there."""
Revision = Annotated[str | None, Field(examples=_EXAMPLES, json_schema_extra=_REVISION_SCHEMA)]

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which cannot move as a branch or a tag can."""
    return _COMMIT.fullmatch(revision) is not None


def asked_of_hub(revision: str | None) -> str | None:
    """Return what a hub is asked for: the branch, tag or commit; None for its default branch."""
    return None if revision == UNPINNED else revision


class SourceConfig(ConfigModel):
    """The files that weights come from."""

    source: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(examples=["openai/clip-vit-large-patch14-336", "./model.safetensors"]),
    ] = None
    """Hub id, folder or .safetensors file; paths in a YAML file are relative to it. null: random weights."""
    revision: Revision = None
    """Branch, tag or commit of a hub id; a commit pins it. A path has none. unpinned: the hub's default
    branch, whatever it holds, and validate does not warn of it."""
    format: Literal["safetensors", "pickle"] = "safetensors"
    """Which of the checkpoint's files are read. Pickles are read by torch's weights-only unpickler, and only
    when asked for here."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.source is not None and (fault := source_fault(self.source)):
            raise invalid("weights", problem("VC104", fault, "source", value=self.source))
        if self.hub_revision is not None and self.source is None:
            message = "revision without a source: name the hub id it belongs to"
            raise invalid("weights", problem("VC104", message, "revision", value=self.revision))
        if self.hub_revision is not None and self.source is not None and is_weights_path(self.source):
            message = "source is a path, and only a hub id has revisions; leave this out"
            raise invalid("weights", problem("VC104", message, "revision", value=self.revision))
        return self

    @property
    def hub_revision(self) -> str | None:
        """The branch, tag or commit to read of a hub id; None for the hub's default branch."""
        return asked_of_hub(self.revision)


class WeightsConfig(SourceConfig):
    """Where the weights come from."""

    prefix: Annotated[str | None, Field(examples=["vision_tower.vision_model."])] = None
    """What the tower's tensor names begin with in the checkpoint; null finds it. For checkpoints with
    several towers that fit."""
    adapter: Annotated[
        Annotated[str, Field(min_length=1)] | None, Field(examples=["./lora", "someone/llava-lora"])
    ] = None
    """Folder or hub id of a LoRA adapter, which is merged into the weights; paths in a YAML file are relative
    to it. null: none."""
    adapter_revision: Revision = None
    """Branch, tag, commit or unpinned, as ``revision``, of the adapter's hub id. A path has none."""
    dtype: DType = "float32"
    """Parameter and output dtype of the tower, whatever the checkpoint stores."""

    @model_validator(mode="after")
    def _adapter(self) -> Self:
        asked = asked_of_hub(self.adapter_revision)
        if asked is not None and (self.adapter is None or is_weights_path(self.adapter)):
            message = "adapter_revision without an adapter: name the hub id it belongs to"
            if self.adapter is not None:
                message = "adapter is a path, and only a hub id has revisions; leave this out"
            raise invalid("weights", problem("VC104", message, "adapter_revision", value=asked))
        if self.adapter is None:
            return self
        fault = source_fault(self.adapter)
        if self.source is None:
            fault = "adapter without a source: name the weights that it is merged into"
        if fault:
            raise invalid("weights", problem("VC104", fault, "adapter", value=self.adapter))
        return self

    @property
    def hub_adapter_revision(self) -> str | None:
        """The branch, tag or commit to read of the adapter's hub id; None for the hub's default branch."""
        return asked_of_hub(self.adapter_revision)
