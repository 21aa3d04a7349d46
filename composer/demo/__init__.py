"""The demonstration: the embedded encoder on scikit-learn's handwritten digits, nothing downloaded."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ..errors import MissingDependencyError


def require(module: str, distribution: str) -> ModuleType:
    """Import a module that only the demo and its digits need.

    Raises:
        MissingDependencyError: If ``distribution`` is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"the demo and its digits need {distribution}, which is not installed: "
            "pip install 'vision-composer[demo]'"
        ) from error
