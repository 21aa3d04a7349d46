"""What several tests let hypothesis draw."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]


def nested(leaves: Strategy, keys: Strategy, *, most: int = 6) -> Strategy:
    """A leaf, or lists and mappings of up to ``most`` leaves, in one another."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=most,
    )
