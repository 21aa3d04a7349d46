"""Which products are taken, of given times and of blocks that are not compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from torch import Tensor, nn
from typer.testing import CliRunner

from vision_composer import compose
from vision_composer.bench import compare, products
from vision_composer.bench.products import choose_products, fastest, time_products
from vision_composer.cli import app
from vision_composer.errors import BackendError, InputError
from vision_composer.running.compilation import CompileSettings
from vision_composer.running.products import candidates, keep, products_file
from vision_composer.schemas.yaml.dump import to_yaml
from vision_composer.tower.module import run_block

LIBRARY = (10.0, 10.2, 10.1, 9.9, 30.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[CompileSettings]:
    """What blocks are to be compiled with; they run uncompiled."""
    seen: list[CompileSettings] = []

    def uncompiled(settings: CompileSettings) -> Any:
        seen.append(settings)
        return run_block

    monkeypatch.setattr(products, "FrozenBlocks", uncompiled)
    return seen


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ({}, "library"),
        ({"onednn": (8.0, 8.1, 8.0, 8.2, 8.0)}, "onednn"),
        ({"onednn": (8.0,) * 5, "inductor": (7.0,) * 5}, "inductor"),
        ({"onednn": (9.8, 10.0, 9.9, 9.8, 9.7)}, "library"),  # by less than the machine's noise
        ({"onednn": (9.0, 9.0, 9.0, 12.0, 31.0)}, "library"),  # in three of five rounds
        ({"onednn": (12.0, 12.0, 12.0, 12.0, 8.0)}, "library"),
    ],
)
def test_others_are_taken_only_if_they_are_clearly_faster(others: dict[str, Any], chosen: str) -> None:
    assert fastest({"library": LIBRARY, **others}) == chosen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_kind_is_timed_and_the_tower_left_as_it_was(
    dtype: torch.dtype, settings: list[CompileSettings]
) -> None:
    encoder = compose(tiny.config("clip_vision_model"), dtype=dtype)
    seconds = time_products(encoder, rounds=2)
    assert tuple(seconds) == candidates(dtype)
    assert [how.products.name for how in settings if how.products] == list(candidates(dtype))
    assert all(how.freeze and len(times) == 2 for how, times in zip(settings, seconds.values(), strict=True))
    assert encoder.tower.run_block is run_block


def test_wrong_products_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
        return run_block(block, hidden_states, **inputs) * 1.01

    monkeypatch.setattr(products, "FrozenBlocks", lambda settings: wrong)
    with pytest.raises(BackendError, match="a block with library products"):
        choose_products(compose(tiny.config("clip_vision_model")), rounds=1)
    assert not products_file().exists()


def test_towers_whose_weights_are_not_frozen_are_refused() -> None:
    with pytest.raises(InputError, match="pixtral on cpu: products are chosen"):
        time_products(compose(tiny.config("pixtral")), rounds=1)


def test_a_file_that_cannot_be_written_is_named(
    settings: list[CompileSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"products\.json: cannot be written"):
        choose_products(compose(tiny.config("clip_vision_model")), rounds=1)


def test_the_command_says_what_it_measured_and_kept(
    settings: list[CompileSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "fastest", lambda seconds: "inductor")
    file = tmp_path / "tower.yaml"
    file.write_text(to_yaml(tiny.config("clip_vision_model", compile={"mode": "max-performance"})))
    result = CliRunner().invoke(app, ["bench", str(file), "--calibrate-products", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    *rows, kept = result.stdout.splitlines()
    assert [row.split()[0] for row in rows] == list(candidates(torch.float32))
    assert kept.startswith(f"inductor is kept in {products_file()} for ")


def test_a_comparison_says_whose_products_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    import vision_composer.running.compilation as compilation

    monkeypatch.setattr(compilation, "FrozenBlocks", lambda settings: run_block)
    source = tiny.config("clip_vision_model", compile={"mode": "max-performance"})
    assert compare(source, rounds=1).products == "library, the default"
    keep(compose(source).tower, "inductor")
    assert compare(source, rounds=1).products == "inductor, measured on this machine"
