"""What the fields of a config mean: the text that stands below each of them in its class.

pydantic can collect it whenever a class is made, which takes longer than making the class. Here it is read
when somebody asks for it.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import pairwise
from textwrap import dedent

from pydantic import BaseModel


def field_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the descriptions of a model's fields, by the fields' names.

    A field that a class declares again without a text has that of the class above it.
    """
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if issubclass(parent, BaseModel) and parent is not BaseModel:
            found |= _own_descriptions(parent)
    return {name: text for name, text in found.items() if name in model.model_fields}


@cache
def _own_descriptions(model: type[BaseModel]) -> dict[str, str]:
    found = {}
    try:
        (definition,) = ast.parse(dedent(inspect.getsource(model))).body
    except (OSError, TypeError):  # a class that was made where no source is kept, such as a prompt
        return {}
    assert isinstance(definition, ast.ClassDef)
    for field, text in pairwise(definition.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as string)):
                found[name] = inspect.cleandoc(string)
    return found
