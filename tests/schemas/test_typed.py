"""Blocks of several types: found beside one another, and told apart by their ``type``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from vision_composer.schemas.typed import TypedBlock, blocks_beside, typed_block


class Base(TypedBlock):
    pass


class Linear(Base):
    type: Literal["linear"]
    width: int = 1


class Pool(Base):
    type: Literal["pool"]


BLOCKS: dict[str, type[Base]] = {"linear": Linear, "pool": Pool}


def refusal(data: object) -> tuple[str, tuple[str | int, ...], str]:
    with pytest.raises(ValidationError) as caught:
        typed_block(data, BLOCKS, Base, "step")
    (line,) = caught.value.errors()
    return line["type"], line["loc"], line["msg"]


def test_the_type_decides_which_keys_there_are() -> None:
    made = typed_block({"type": "linear", "width": 3}, BLOCKS, Base, "step")
    assert made == Linear(type="linear", width=3)
    assert typed_block(made, BLOCKS, Base, "step") is made
    assert refusal({"type": "pool", "width": 3})[:2] == ("VC101", ("width",))


@pytest.mark.parametrize(
    ("data", "code", "loc", "message"),
    [
        ("linear", "VC103", (), "expected a mapping with a type, such as {type: linear}"),
        ({"width": 1}, "VC102", ("type",), "missing key: which step it is; one of linear, pool"),
        ({"type": 3}, "string_type", ("type",), "expected a string"),
        ({"type": "liner"}, "VC104", ("type",), "unknown step 'liner' (did you mean 'linear'?)"),
        ({"type": "xyz"}, "VC104", ("type",), "unknown step 'xyz'; take one of linear, pool"),
    ],
)
def test_what_is_no_block(data: Any, code: str, loc: tuple[str, ...], message: str) -> None:
    assert refusal(data) == (code, loc, message)


def test_a_base_of_several_types_has_no_name() -> None:
    class Several(Base):
        type: Literal["linear", "pool"]

    assert Several.type_name() == ""
    assert (TypedBlock.type_name(), Base.type_name(), Pool.type_name()) == ("", "", "pool")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "blocks_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    block = "class {0}(TypedBlock):\n    type: Literal['{1}']\n"
    head = "from typing import Literal\nfrom vision_composer.schemas.typed import TypedBlock\n"
    (folder / "z.py").write_text(head + block.format("First", "first") + block.format("Also", "also"))
    (folder / "a.py").write_text(head + "from .z import First\n" + block.format("Other", "other"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("blocks_of_a_test")]:
        del sys.modules[name]


def test_every_block_is_found_in_its_own_module(package: Path) -> None:
    found = blocks_beside("blocks_of_a_test", [str(package)], TypedBlock)
    assert [(name, block.__name__) for name, block in found.items()] == [
        ("also", "Also"),
        ("first", "First"),
        ("other", "Other"),
    ]
    assert {block.__module__ for block in found.values()} == {"blocks_of_a_test.a", "blocks_of_a_test.z"}
