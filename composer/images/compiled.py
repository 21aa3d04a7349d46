"""Passes over pixels that numba has compiled, once a process has enough of them."""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType

_WORTHWHILE = 1 << 23
"""Pixels that a process takes without numba before it loads it. They take a tenth of a second or two, and
loading takes longer, so a command for one image never does."""

_taken = 0


def passes(num_pixels: int = 0) -> ModuleType | None:
    """Return :mod:`vision_composer.images.passes`, if numba is installed and worth loading.

    Args:
        num_pixels: How many the caller is about to take without them, if it gets None; they count for the
            next call. A caller that never counts uses what others had loaded.
    """
    global _taken
    if _taken < _WORTHWHILE:
        _taken += num_pixels
        return None
    return _loaded()


def load() -> bool:
    """Load them now, rather than after the first images; return whether numba is installed."""
    global _taken
    _taken = _WORTHWHILE
    return _loaded() is not None


@cache
def _loaded() -> ModuleType | None:
    try:
        from . import passes as loaded
    except ImportError:  # numba is an extra
        return None
    except Exception as error:  # whatever keeps numba from compiling: pixels do not depend on it
        warnings.warn(f"numba does not work, so Pillow resizes images: {error}", stacklevel=2)
        return None
    return loaded
