"""A comparison as it is shown: a row for each program, and a chart."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.results import COMPILED, OURS, PEER, RESULT

from vision_composer.bench import Row
from vision_composer.bench.report import cells, check_plot, columns, heading, plot, quantisation, table
from vision_composer.errors import InputError, MissingDependencyError


def test_a_row_of_the_table() -> None:
    shown = dict(zip(columns(RESULT), cells(RESULT, OURS), strict=True))
    assert shown == {
        "ms": "200",
        "min-max": "100-400",
        "x transformers": "2.00",
        "GFLOP/s": "100",
        "of peak": "50%",
        "peak MiB": "3",
        "first s": "0.5",
        "graphs": "0",
        "recompiles": "0",
    }
    unknown = dict(zip(columns(RESULT), cells(replace(RESULT, flops=None), PEER), strict=True))
    assert [unknown[name] for name in ("GFLOP/s", "of peak", "peak MiB")] == ["-", "-", "-"]


def test_the_heading_says_what_was_run() -> None:
    text = heading(RESULT)
    for part in ("small: 3 of 4 blocks", "random weights", "2 of 32x32, 1 of 64x32", "64 patches"):
        assert part in text
    assert "weights of a/b" in heading(replace(RESULT, weights="a/b"))


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="it is optional")
    plot(RESULT, tmp_path / "bench.svg")
    text = (tmp_path / "bench.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(InputError, match=r"cannot be drawn: .*Is a directory"):
        plot(RESULT, tmp_path / "folder.svg")


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.unknown", r"must end in one of \..*, \.png, "), ("a", "must end"), ("b/a.svg", "no folder")],
)
def test_what_cannot_be_drawn_is_known_before_measuring(name: str, message: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="it is optional")
    with pytest.raises(InputError, match=f"cannot be drawn: .*{message}"):
        check_plot(tmp_path / name)
    check_plot(tmp_path / "a.SVG")
    assert not list(tmp_path.iterdir())


def test_a_plot_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="to draw bench needs matplotlib"):
        check_plot(Path("a.svg"))


def test_the_table_has_a_row_for_each_program() -> None:
    shown = table(RESULT)
    assert [column.header for column in shown.columns] == ["", *columns(RESULT)]
    names = [row.name for row in RESULT.rows]
    assert list(shown.columns[0].cells) == names
    assert list(shown.columns[1].cells) == [cells(RESULT, row)[0] for row in RESULT.rows]


def test_a_quantised_tower_that_is_slower_is_said_to_be() -> None:
    assert quantisation(RESULT) == []

    def row(compiled: str, seconds: float) -> Row:
        return Row(f"vision-composer, int8{compiled}", (seconds,), 0.5, None, 0, 0, 0.0123)

    rows = (OURS, row("", 0.1), COMPILED, row(", compiled", 0.4), PEER)
    assert quantisation(replace(RESULT, quantize="int8", rows=rows)) == [
        "vision-composer, int8 beside vision-composer: 2.00 times as fast; tokens differ by up to 1.2% of "
        "their norm",
        "vision-composer, int8, compiled beside vision-composer, compiled: 0.25 times as fast, which is "
        "slower; tokens differ by up to 1.2% of their norm",
    ]
