"""What callers wait. Nothing here depends on how long anything takes."""

from __future__ import annotations

import pytest
from support.tiny import config

from vision_composer import compose
from vision_composer.bench import LatencyResult, measure_latency, report
from vision_composer.errors import InputError


def test_every_image_is_counted() -> None:
    encoder = compose(config("clip_vision_model"))
    result = measure_latency(
        encoder, rate=500, number=30, images=[(40, 30), (64, 64)], batching={"readers": 1}
    )
    assert len(result.seconds) == 30
    assert min(result.seconds) > 0
    assert 1 <= result.forwards <= 30
    assert result.percentile(50) <= result.percentile(90) <= result.percentile(99) <= max(result.seconds)
    assert not encoder._forward_hooks


def test_figures() -> None:
    waits = tuple(i / 1000 for i in range(1, 101))
    result = LatencyResult(((8, 9),), "a CPU", 50.0, waits, forwards=20, span=4.0)
    assert result.percentile(50) == pytest.approx(0.0505)
    assert result.served == 25.0
    assert result.to_dict()["p99"] == pytest.approx(0.09901)
    assert report.latency(result).splitlines() == [
        "100 JPEGs of 8x9 at 50 a second, a CPU",
        "waited: p50 50.5 ms, p90 90.1 ms, p99 99.0 ms",
        "done: 25.0 a second, 5.0 in a forward",
    ]


@pytest.mark.parametrize(("rate", "number"), [(0, 5), (-1, 5), (float("nan"), 5), (float("inf"), 5), (5, 0)])
def test_what_measures_nothing_is_refused(rate: float, number: int) -> None:
    with pytest.raises(InputError, match="both must be above 0"):
        measure_latency(compose(config("clip_vision_model")), rate=rate, number=number)
