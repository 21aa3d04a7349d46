"""The scripts in examples/ do what they say."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_tiny_vlm_learns_to_name_digits_and_another_process_answers_the_same(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    assert example("train_llava").run(tmp_path) > 0.9
