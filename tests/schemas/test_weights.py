"""Where weights come from: a source, what belongs to one, and what an adapter is merged into."""

from __future__ import annotations

from typing import Any

import pytest
from support.loading import faults

from vision_composer.schemas.weights import WeightsConfig, is_commit

HUB = {"source": "a/b"}
PATH = {"source": "./model.safetensors"}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, []),
        (HUB | {"revision": "main"}, []),
        (PATH, []),
        ({"revision": "main"}, [("VC104", ("revision",))]),
        ({"source": "./x", "revision": "main"}, [("VC104", ("revision",))]),
        (PATH | {"revision": "main"}, [("VC104", ("revision",))]),
        ({"source": "https://a.org/b"}, [("VC104", ("source",))]),
        ({"source": ""}, [("string_too_short", ("source",))]),
        (HUB | {"adapter": "c/d"}, []),
        (HUB | {"adapter": "./lora"}, []),
        ({"adapter": "c/d"}, [("VC104", ("adapter",))]),
        (HUB | {"adapter": "https://c.org/d"}, [("VC104", ("adapter",))]),
        (HUB | {"adapter": ""}, [("string_too_short", ("adapter",))]),
        (HUB | {"adapter": "c/d", "adapter_revision": "main"}, []),
        (HUB | {"adapter_revision": "main"}, [("VC104", ("adapter_revision",))]),
        (HUB | {"adapter": "./lora", "adapter_revision": "main"}, [("VC104", ("adapter_revision",))]),
        (HUB | {"revision": "unpinned", "adapter": "c/d", "adapter_revision": "unpinned"}, []),
        # As a config inherits it whose own source is another.
        (PATH | {"revision": "unpinned"}, []),
        ({"revision": "unpinned", "adapter_revision": "unpinned"}, []),
        (HUB | {"format": "pickles"}, [("literal_error", ("format",))]),
    ],
    ids=str,
)
def test_what_belongs_together(values: dict[str, Any], found: list[Any]) -> None:
    assert faults(WeightsConfig, values) == found


def test_only_a_commit_stays_what_it_is() -> None:
    commit = "ce19dc912ca5cd21c8a653c79e251e808ccabcd1"
    assert is_commit(commit)
    for other in ("main", commit[:-1], f"{commit}0", commit.upper(), f"{commit}\n", "v" + commit[1:]):
        assert not is_commit(other)


def test_unpinned_asks_the_hub_for_its_default_branch() -> None:
    for written, asked in ((None, None), ("unpinned", None), ("main", "main")):
        weights = WeightsConfig(source="a/b", adapter="c/d", revision=written, adapter_revision=written)
        assert (weights.revision, weights.hub_revision) == (written, asked)
        assert (weights.adapter_revision, weights.hub_adapter_revision) == (written, asked)
