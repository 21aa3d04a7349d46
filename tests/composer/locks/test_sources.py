"""The sources of a config are found wherever they stand, and their revisions changed there alone."""

from __future__ import annotations

from vision_composer import load_config
from vision_composer.locks.sources import Source, sources_of, with_revisions

CONFIG = {
    "schema": 1,
    "encoder": {"model_type": "clip_vision_model"},
    "weights": {"source": "a/b", "revision": "unpinned", "adapter": "c/d", "adapter_revision": "v1"},
    "connector": {
        "type": "steps",
        "hidden_size": 8,
        "steps": [{"type": "linear", "width": 8}],
        "weights": {"source": "e/f", "format": "pickle"},
    },
}


def test_every_source_once() -> None:
    found = sources_of(load_config(CONFIG))
    assert set(found) == {Source("a/b", None), Source("c/d", "v1"), Source("e/f", None, "pickle")}


def test_other_revisions() -> None:
    config = load_config(CONFIG)
    changed = with_revisions(config, lambda source: None if source.source == "c/d" else "0" * 40)
    assert changed.weights.revision == "0" * 40
    assert changed.weights.adapter_revision == "v1"
    assert changed.connector is not None
    assert changed.connector.weights is not None
    assert changed.connector.weights.revision == "0" * 40
    assert config.weights.revision == "unpinned"
    assert with_revisions(config, lambda _: None) is config
