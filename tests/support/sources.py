"""Functions out of the source of transformers' modules that cannot be imported without torchvision."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def function_of(model: str, name: str) -> Callable[..., Any]:
    """A function of the module with a model's image processor, which needs only numbers."""
    folder = Path(import_module("transformers.models").__path__[0]) / model
    module = ast.parse((folder / f"image_processing_{model}.py").read_text(encoding="utf-8"))
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    scope: dict[str, Any] = {"itertools": itertools, "math": math}
    exec(compile(ast.Module(functions, []), name, "exec", flags=annotations.compiler_flag), scope)
    found: Callable[..., Any] = scope[name]
    return found
