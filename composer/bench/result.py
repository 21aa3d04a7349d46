"""What a comparison found. Loads no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

OURS = "vision-composer"


@dataclass(frozen=True)
class Row:
    """What one program needed.

    Attributes:
        name: ``vision-composer``, the same with ``, compiled``, or a peer's.
        seconds: Wall time of a forward in each round.
        first_seconds: From a module with its weights in memory to its first features: compilation or export
            and one forward.
        peak_bytes: The most that a forward holds at once beside weights and inputs; None where it is not
            known.
        graphs: Graphs that torch.compile made until the first features.
        recompiles: Graphs that it made after that.
        difference: The largest difference of a token's features from those of the uncompiled tower,
            relative to their norm.
    """

    name: str
    seconds: tuple[float, ...]
    first_seconds: float
    peak_bytes: int | None
    graphs: int
    recompiles: int
    difference: float

    @property
    def median(self) -> float:
        """Median of the rounds, in seconds."""
        return median(self.seconds)


@dataclass(frozen=True)
class BenchResult:
    """A comparison: what was run, where, and a row for each program.

    Attributes:
        config: Name of the config, or None.
        model_type: The encoder's.
        num_blocks: Blocks that the tower has.
        num_hidden_layers: Blocks of the full encoder, which peers build.
        weights: Where they are from; None for random ones.
        dtype: Of the weights.
        quantize: The config's ``quantize``; other than ``none``, rows of towers that are quantised so are
            among ``rows``, and named by it.
        device: What ran it.
        threads: Threads that torch uses on a CPU.
        images: Width and height of each image of the batch.
        num_patches: Patches of all of them, as the encoder cuts them.
        flops: Floating-point operations that the features need, by the plan; None for the generic adapter.
        peak_flops_per_second: Of the fastest of the matrix products that were measured between the rounds.
        versions: Of torch and of what was compared.
        rows: The programs, ours first.
        products_measured: Whether frozen code used the matrix products that were measured to be faster; None
            where there was nothing to choose from.
    """

    config: str | None
    model_type: str
    num_blocks: int
    num_hidden_layers: int
    weights: str | None
    dtype: str
    quantize: str
    device: str
    threads: int
    images: tuple[tuple[int, int], ...]
    num_patches: int
    flops: int | None
    peak_flops_per_second: float
    versions: dict[str, str]
    rows: tuple[Row, ...]
    products_measured: bool | None = None

    @property
    def peers(self) -> tuple[Row, ...]:
        """The rows of other programs."""
        return tuple(row for row in self.rows if not row.name.startswith(OURS))

    def speed(self, row: Row, peer: Row) -> float:
        """How many times as fast as ``peer`` a row is, by medians."""
        return peer.median / row.median

    @property
    def quantised(self) -> tuple[tuple[Row, Row], ...]:
        """Each row of a quantised tower, with that of the tower as it is."""
        rows = {row.name: row for row in self.rows}
        mark = f", {self.quantize}"
        return tuple((row, rows[row.name.replace(mark, "")]) for row in self.rows if mark in row.name)

    def flops_per_second(self, row: Row) -> float | None:
        """Operations that the features need, per second. What a program computes beside them is no gain."""
        return None if self.flops is None else self.flops / row.median

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values: the attributes, and in each row the derived ones."""
        facts = asdict(self)
        for fields, row in zip(facts["rows"], self.rows, strict=True):
            fields["median_seconds"] = row.median
            fields["flops_per_second"] = self.flops_per_second(row)
            fields["speed_against"] = {peer.name: self.speed(row, peer) for peer in self.peers}
        return facts
