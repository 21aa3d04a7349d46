"""Functions out of the source of transformers' modules that cannot be imported without torchvision."""

from __future__ import annotations

import ast
import functools
import itertools
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def function_of(model: str, name: str) -> Callable[..., Any]:
    """A function of the module with a model's image processor, which needs only numbers."""
    found: Callable[..., Any] = _run(_functions(_module(model)))[name]
    return found


def methods_of(model: str, *names: str, **scope: Any) -> Any:
    """An object with methods of a model's image processor, which need numbers, each other and ``scope``."""
    module = _module(model)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    methods = [node for one in classes for node in _functions(one) if node.name in names]
    made = _run([*_functions(module), *methods], **scope)
    return type("Methods", (), {name: made[name] for name in names})()


def _module(model: str) -> ast.Module:
    folder = Path(import_module("transformers.models").__path__[0]) / model
    return ast.parse((folder / f"image_processing_{model}.py").read_text(encoding="utf-8"))


def _functions(inside: ast.Module | ast.ClassDef) -> list[ast.FunctionDef]:
    return [node for node in inside.body if isinstance(node, ast.FunctionDef)]


def _run(functions: list[ast.FunctionDef], **names: Any) -> dict[str, Any]:
    scope: dict[str, Any] = {"itertools": itertools, "math": math, "lru_cache": functools.lru_cache, **names}
    code = ast.Module(list(functions), [])
    exec(compile(code, "transformers", "exec", flags=annotations.compiler_flag), scope)
    return scope
