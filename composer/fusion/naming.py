"""Errors that name the one of several towers that they are about. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError, ImageError, VisionComposerError
from .grids import MisfitError


@contextmanager
def naming(tower: str) -> Iterator[None]:
    """A context in which errors name a tower, unless its name is empty; a ConfigError does so by its path."""
    try:
        yield
    except (ConfigError, MisfitError):
        raise
    except Exception as error:
        if not tower:
            raise
        if isinstance(error, ImageError):
            raise ImageError(error.name, f"tower {tower}: {error.reason}") from error
        if isinstance(error, VisionComposerError):
            raise type(error)(f"tower {tower}: {error}") from error
        error.add_note(f"tower {tower}")
        raise
