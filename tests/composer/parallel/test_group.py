"""What ranks tell each other before data moves; ``test_ranks`` lets them."""

from __future__ import annotations

from typing import Any

import pytest

from vision_composer.errors import DistributedError
from vision_composer.parallel import group
from vision_composer.parallel.group import Report, _describe, together


@pytest.mark.parametrize("error", ["", "\U0001f5bc" * 5000, '"' * 5000, "\x1b[2J" * 5000])
def test_a_report_has_one_size_and_comes_back(error: str) -> None:
    report = Report({"config": "a" * 64, "batch": "2 images"}, error, 2, "float32", (3, 24), True)
    sent = report.to_bytes()
    assert len(sent) == len(Report().to_bytes())
    back = Report.from_bytes(sent)
    assert (back.facts, back.count, back.dtype, back.shape, back.requires_grad) == (
        report.facts,
        2,
        "float32",
        (3, 24),
        True,
    )
    assert error.startswith(back.error.partition(" ")[0])


def test_a_long_message_does_not_cost_the_notes() -> None:
    error = RuntimeError("CUDA out of memory. " + "x" * 1000)
    error.add_note("in a batch of images 3, 5")
    told = Report.from_bytes(Report(error=_describe(error)).to_bytes()).error
    assert told.startswith("RuntimeError: CUDA out of memory. xxx")
    assert told.endswith("x (in a batch of images 3, 5)")
    assert len(told) == 400
    error.add_note("y" * 1000)
    told = Report.from_bytes(Report(error=_describe(error)).to_bytes()).error
    assert "x (in a batch of images 3, 5) (yyy" in told
    assert len(told) == 400


@pytest.mark.parametrize(
    "facts", [[{}, {"batch": "x"}], [{"batch": "x"}, {}], [{"batch": "x"}, {"batch": "y"}]]
)
def test_a_fact_that_one_rank_has_not_is_a_difference(
    facts: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [Report(of_rank) for of_rank in facts]
    monkeypatch.setattr(group, "_exchange", lambda *_: reports)
    nobody: Any = None
    with pytest.raises(DistributedError, match="rank 1 has another batch than rank 0"):
        together(nobody, lambda: (None, reports[0]), what="encode images")
