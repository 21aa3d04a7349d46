"""The vision half as a diagram: what happens to an image, from the image processor to the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..connectors import ImageOfTiles
from ..encoders.facts import Grid
from ..images.tiling import TilePlan
from ..planning import FusedPlan, Plan
from ..tower.readout import OwnOutput, PooledHead
from ..tower.rows import OutputRows
from .counting import Size
from .markup import Markup, element, joined

_WIDTH, _BOX, _GAP, _PITCH = 440, 48, 20, 14
_BARS_LEFT, _BARS_WIDTH, _RAIL = 20, 128, 412
_LONGEST = 60


@dataclass(frozen=True)
class Step:
    """A box of the diagram.

    Attributes:
        title: What it is.
        detail: More about it.
        figure: The size of what comes out of it.
    """

    title: str
    detail: str
    figure: str

    def __str__(self) -> str:
        return f"{self.title}: {self.detail}; {self.figure}."


@dataclass(frozen=True)
class Blocks:
    """The blocks of a tower.

    Attributes:
        built: Blocks that are built.
        depth: Blocks of the full encoder.
        read: Hidden states that are read.
        normed: Those of them that go through the post-norm.
    """

    built: int
    depth: int
    read: frozenset[int]
    normed: frozenset[int]

    @property
    def summary(self) -> str:
        """How many are built."""
        if self.built == self.depth:
            return f"all {self.depth} built"
        return f"{self.built} of {self.depth} built, {self.depth - self.built} cut"

    def __str__(self) -> str:
        states = ", ".join(map(str, sorted(self.read))) or "none, but the model's own output"
        normed = f"; the post-norm is on {', '.join(map(str, sorted(self.normed)))}" if self.normed else ""
        return f"Blocks: {self.summary}; hidden states read: {states}{normed}."


def diagrams(plan: Plan | FusedPlan, size: Size) -> list[tuple[str, Markup]]:
    """Draw an encoder.

    Args:
        plan: The encoder's.
        size: Of the image whose tokens are counted.

    Returns:
        An SVG for each part, and in front of it the part's title, which is empty for the only tower.
    """
    if isinstance(plan, Plan):
        image = plan.image_of_tiles(size.width, size.height, size.frames)
        given = (size.width, size.height)
        return [("", _drawn([*_tower(plan, given, image), *_behind(plan, image)]))]
    grids = plan.grids(size.width, size.height, size.frames)
    shared = plan.shared_rule
    given = (size.width, size.height) if shared is None else shared(size.width, size.height)
    found = [
        (name, _drawn(_tower(tower, given, ImageOfTiles(TilePlan(), grid))))
        for (name, tower), grid in zip(plan.towers.items(), grids, strict=True)
    ]
    return [*found, ("All towers", _drawn(_fused(plan, grids)))]


def _tower(plan: Plan, given: tuple[int, int], image: ImageOfTiles) -> list[Step | Blocks]:
    """From the image processor to what is read off the blocks."""
    info, readout = plan.info, plan.readout
    resized = info.resized(*given)
    sizes = [resized] if plan.tiling is None else plan.tiling.sizes(image.tiles)
    shown = " + ".join(
        f"{f'{count} of ' if count > 1 else ''}{width} × {height}"
        for (width, height), count in Counter(sizes).items()
    )
    steps: list[Step | Blocks] = [
        Step("Image processor", plan.processor.type.removesuffix("ImageProcessor"), f"{shown} pixels")
    ]
    if plan.tiling is not None:
        tiles = image.tiles
        cut = f"{tiles.rows} × {tiles.columns}" if tiles.rows else "not cut"
        whole = " and the image as a whole" if tiles.rows and tiles.whole != "none" else ""
        steps.append(Step("Tiles", f"{plan.tiling.type}: {cut}{whole}", _many(tiles.num_tiles, "tile")))
    patch = f"{info.patch_size} × {info.patch_size}"
    patch += f" in {info.temporal_patch_size} frames" if info.temporal_patch_size > 1 else ""
    others = info.num_prefix_tokens + info.num_suffix_tokens
    beside = f", and {_many(others, 'other token')} beside them" if others else ""
    inside = sum(map(info.num_block_tokens, image.grid_of_each))
    steps.append(Step("Stem", f"patches of {patch}{beside}", _rows(inside, info.hidden_size)))
    steps.append(Blocks(readout.num_blocks, info.num_hidden_layers, readout.keep, readout.norm_layers))
    read = sum(map(readout.num_tokens, image.grid_of_each))
    return [*steps, Step(*_readout(plan), _rows(read, readout.width))]


def _readout(plan: Plan) -> tuple[str, str]:
    info, readout = plan.info, plan.readout
    if isinstance(readout, PooledHead):
        return "Pooling head", "one token for each image"
    strategy = readout.selection.strategy
    name = strategy if isinstance(strategy, str) else getattr(strategy, "__name__", "a function")
    kept = {
        "full": "all tokens are kept",
        "default": "the patches alone are kept",
        "class": "the class token alone is kept",
    }.get(name, f"feature_select_strategy: {name}")
    if isinstance(readout, OwnOutput):
        if info.merges:
            return "Merger", f"{info.merge_size} × {info.merge_size} patches become one token"
        return "The tower's own output", kept
    number = len(plan.select_layers)
    states = "one hidden state" if number == 1 else f"{number} hidden states side by side"
    return "Features", f"{states}; {kept}"


def _behind(plan: Plan, image: ImageOfTiles) -> list[Step]:
    """From the tower's features to the output."""
    rows, width, steps = OutputRows(plan.readout, plan.connector, plan.reduction), plan.output_width, []
    if plan.connector is not None:
        steps.append(Step("Connector", plan.connector.type, _rows(rows.unreduced(image), width)))
    if plan.reduction is not None:
        steps.append(Step("Reduction", plan.reduction.type, _rows(rows.count(image), width)))
    return [*steps, Step("Output", f"{plan.config.output}, {plan.dtype}", _rows(rows.count(image), width))]


def _fused(plan: FusedPlan, grids: Sequence[Grid]) -> list[Step | Blocks]:
    """From the features of all towers to the output."""
    fusion, joint = plan.fusion, plan.fusion.grid_of(grids)
    steps: list[Step | Blocks] = []
    if fusion.grid is not None:
        rows, columns = fusion.grid
        steps.append(Step("Align", f"{fusion.resample}, every tower", f"{rows} × {columns} tokens"))
    for tower in fusion.towers:
        if tower.projected is not None:
            figure = f"{tower.own_width:,} to {tower.projected:,} wide"
            steps.append(Step("Projection", f"a linear layer on {tower.name}", figure))
    how = {"channel": "side by side", "sequence": "one after the other", "sum": "added"}[fusion.fuse]
    tokens = fusion.num_tokens(grids)
    steps.append(Step("Join", f"fuse: {fusion.fuse}, {how}", _rows(tokens, fusion.width)))
    if plan.connector is not None:
        tokens = plan.connector.num_rows(ImageOfTiles(TilePlan(), joint))
        steps.append(Step("Connector", plan.connector.type, _rows(tokens, plan.output_width)))
    figure = _rows(tokens, plan.output_width)
    return [*steps, Step("Output", f"{plan.config.output}, {plan.dtype}", figure)]


def _rows(number: int, width: int) -> str:
    return f"{number:,} × {width:,}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# --- drawing ------------------------------------------------------------------------------------------


def _drawn(steps: Sequence[Step | Blocks]) -> Markup:
    """Draw steps from top to bottom."""
    parts: list[str] = []
    top = 2.0
    for i, step in enumerate(steps):
        if i:
            before = steps[i - 1]
            if not (isinstance(before, Blocks) and before.read):  # which draws what is read
                parts.append(_arrow(top))
            top += _GAP
        if isinstance(step, Step):
            parts.append(_box(step, top))
            top += _BOX
        else:
            drawn, height = _bars(step, top)
            parts.append(drawn)
            top += height
    text = " ".join(map(str, steps))
    return element(
        "svg",
        *parts,
        class_="diagram",
        viewBox=f"0 0 {_WIDTH} {top + 2:g}",
        role="img",
        aria_label=f"Diagram, from top to bottom. {text}",
    )


def _arrow(top: float) -> Markup:
    middle, end = _WIDTH / 2, top + _GAP - 2
    path = f"M{middle} {top + 2}V{end}m-4 -5l4 5l4 -5"
    return element("path", class_="arrow", d=path)


def _box(step: Step, top: float) -> Markup:
    inner = _WIDTH - 16
    return element(
        "g",
        element("title", str(step)),
        element("rect", class_="box", x=2, y=top, width=_WIDTH - 4, height=_BOX, rx=6),
        element("text", step.title, class_="title", x=16, y=top + 20),
        element("text", step.figure, class_="figure", x=inner, y=top + 20, text_anchor="end"),
        element("text", _short(step.detail), class_="detail", x=16, y=top + 38),
    )


def _bars(blocks: Blocks, top: float) -> tuple[Markup, float]:
    """Draw a bar for every block, and what is read between them; return the height, too."""
    start = top + 42
    height = 42 + blocks.depth * _PITCH + 12
    parts = [
        element("title", str(blocks)),
        element("rect", class_="box", x=2, y=top, width=_WIDTH - 4, height=height, rx=6),
        element("text", "Blocks", class_="title", x=16, y=top + 20),
        element("text", blocks.summary, class_="figure", x=_WIDTH - 16, y=top + 20, text_anchor="end"),
    ]
    for block in range(blocks.depth):
        built = block < blocks.built
        parts.append(
            element(
                "rect",
                class_="built" if built else "cut",
                x=_BARS_LEFT,
                y=start + block * _PITCH + 2,
                width=_BARS_WIDTH,
                height=_PITCH - 4,
                rx=2,
            )
        )
    for layer in sorted(blocks.read):
        at = start + layer * _PITCH
        normed = ", post-norm" if layer in blocks.normed else ""
        left = _BARS_LEFT + _BARS_WIDTH + 6
        text = f"hidden state {layer}{normed}"
        parts += [
            element("circle", class_="tap", cx=left, cy=at, r=2.5),
            element("text", text, class_="state", x=left + 8, y=at + 3.5),
            element("path", class_="read", d=f"M{left + 14 + 6.1 * len(text):.0f} {at}H{_RAIL}"),
        ]
    if blocks.read:
        first = start + min(blocks.read) * _PITCH
        path = f"M{_RAIL} {first}V{top + height + _GAP - 3}m-4 -5l4 5l4 -5"
        parts.append(element("path", class_="read", d=path))
    return joined(*parts), height


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
