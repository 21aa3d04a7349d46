"""Charts of an image's hidden states: the norms of tokens, and the similarity of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, isnan, log10
from typing import Any

import numpy.typing as npt

from .inspecting import InspectedLayer
from .markup import Markup, element, folded, joined, table

_WIDTH, _HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 40
_LOGARITHMIC = 50
"""From which ratio of the largest norm to the smallest the axis is logarithmic."""


def norms_chart(layers: Sequence[InspectedLayer]) -> Markup:
    """Draw the norms of tokens by hidden state, with a table of the numbers."""
    norms = [layer.norms for layer in layers]
    low, high = min(norm.low for norm in norms), max(norm.largest for norm in norms)
    high = max([high, *(norm.others for norm in norms if norm.others is not None)])
    logarithmic = low > 0 and high / low > _LOGARITHMIC
    ticks = _powers(low, high) if logarithmic else _even(high)
    place = _scale(ticks[0], ticks[-1], logarithmic)
    xs = _places(len(layers))

    def line(values: Sequence[float], class_: str) -> Markup:
        points = " ".join(f"{x:.1f},{place(value):.1f}" for x, value in zip(xs, values, strict=True))
        return element("polyline", class_=class_, points=points)

    band = [*zip(xs, [n.high for n in norms], strict=True)]
    band += reversed([*zip(xs, [n.low for n in norms], strict=True)])
    parts = [_grid(ticks, place), _layer_axis(layers, xs)]
    parts.append(
        element("polygon", class_="band", points=" ".join(f"{x:.1f},{place(y):.1f}" for x, y in band))
    )
    parts.append(line([norm.largest for norm in norms], "largest"))
    others = [norm.others for norm in norms if norm.others is not None]
    if others:
        parts.append(line(others, "others"))
    parts.append(line([norm.median for norm in norms], "median"))
    parts += [
        element("circle", class_="tap", cx=x, cy=place(layer.norms.median), r=3.5)
        for x, layer in zip(xs, layers, strict=True)
        if layer.read
    ]
    parts.append(element("path", class_="now", d=f"M0 {_TOP}V{_HEIGHT - _BOTTOM}"))
    keys = [("median", "median patch"), ("band", "5th to 95th percentile"), ("largest", "largest patch")]
    keys += [("others", "class and other tokens, mean")] if others else []
    keys += [("tap", "read by the encoder")]
    first, last = norms[0].median, norms[-1].median
    spoken = (
        f"Norms of tokens by hidden state: the median of the patches goes from {first:.3g} to {last:.3g}."
    )
    return element(
        "figure",
        element("figcaption", "Norms of tokens" + (" (logarithmic)" if logarithmic else "")),
        _svg(parts, spoken, _HEIGHT, data_start=xs[0], data_end=xs[-1]),
        element(
            "ul",
            *(element("li", element("span", class_=f"key {name}"), text) for name, text in keys),
            class_="legend",
        ),
        folded("Norms as a table", _norms_table(layers, bool(others))),
        class_="chart",
    )


def _norms_table(layers: Sequence[InspectedLayer], others: bool) -> Markup:
    head = ["Hidden state", "Read", "5th %", "Median", "95th %", "Largest"] + (["Others"] if others else [])
    rows = []
    for layer in layers:
        norms = layer.norms
        values = [norms.low, norms.median, norms.high, norms.largest]
        values += [] if norms.others is None else [norms.others]
        rows.append([str(layer.index), "yes" if layer.read else "no", *(f"{value:,.4g}" for value in values)])
    return table(head, rows, "Euclidean norms of tokens, by hidden state")


def similarity_chart(
    layers: Sequence[InspectedLayer], similarity: npt.NDArray[Any], num_compared: int
) -> Markup:
    """Draw the similarity of every two hidden states as a heat map, with a table of the numbers."""
    number, side = len(layers), _WIDTH - _LEFT - _RIGHT
    cell = side / number
    known = [value for value in similarity.reshape(-1).tolist() if not isnan(value)]
    lowest = min(known, default=0.0)
    floor_ = floor(lowest * 20 - 1e-9) / 20 if lowest < 1 else 0.0
    parts = []
    for row in range(number):
        for column in range(number):
            value = float(similarity[row, column])
            strength = 0.0 if isnan(value) else 0.06 + 0.94 * (value - floor_) / (1 - floor_)
            parts.append(
                element(
                    "rect",
                    x=_LEFT + column * cell,
                    y=_TOP + row * cell,
                    width=cell,
                    height=cell,
                    fill_opacity=round(max(strength, 0), 3),
                )
            )
    cells = element("g", *parts, class_="cells")
    labels = []
    for i in _labelled(number):
        middle = (i + 0.5) * cell
        labels.append(element("text", str(i), x=_LEFT + middle, y=_TOP + side + 16, text_anchor="middle"))
        labels.append(element("text", str(i), x=_LEFT - 8, y=_TOP + middle + 4, text_anchor="end"))
    labels.append(
        element(
            "text",
            "hidden state",
            x=_LEFT + side / 2,
            y=_TOP + side + 34,
            text_anchor="middle",
            class_="axis",
        )
    )
    spoken = f"Linear CKA between every two hidden states, from {lowest:.2f} to 1, on {num_compared} patches."
    return element(
        "figure",
        element("figcaption", "Similarity of layers (linear CKA)"),
        _svg([cells, *labels], spoken, round(_TOP + side + 44)),
        element(
            "p",
            element("span", f"{floor_:.2f}"),
            element("span", class_="ramp"),
            element("span", "1.00"),
            class_="range",
            aria_hidden="true",
        ),
        folded("Similarity as a table", _similarity_table(similarity)),
        class_="chart",
    )


def _similarity_table(similarity: npt.NDArray[Any]) -> Markup:
    rows = [
        [str(i), *("–" if isnan(value) else f"{value:.2f}" for value in row)]
        for i, row in enumerate(similarity.tolist())
    ]
    head = ["Hidden state", *map(str, range(len(rows)))]
    return table(head, rows, "Linear CKA between hidden states")


def _svg(parts: Sequence[str], spoken: str, height: float, **attributes: float) -> Markup:
    return element(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=spoken, **attributes
    )


def _grid(ticks: Sequence[float], place: Callable[[float], float]) -> Markup:
    parts = []
    for tick in ticks:
        y = place(tick)
        parts.append(element("path", class_="rule", d=f"M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"))
        parts.append(element("text", f"{tick:,.4g}", x=_LEFT - 8, y=y + 4, text_anchor="end"))
    return joined(*parts)


def _layer_axis(layers: Sequence[InspectedLayer], xs: Sequence[float]) -> Markup:
    parts = [
        element("text", str(i), x=xs[i], y=_HEIGHT - _BOTTOM + 16, text_anchor="middle")
        for i in _labelled(len(layers))
    ]
    middle = (xs[0] + xs[-1]) / 2
    caption = element("text", "hidden state", x=middle, y=_HEIGHT - 6, text_anchor="middle", class_="axis")
    return joined(*parts, caption)


def _labelled(number: int) -> list[int]:
    """Return which of so many hidden states have their number written beside them."""
    step = next(step for step in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 32, 64) if number / step <= 14)
    return list(range(0, number, step))


def _places(number: int) -> list[float]:
    """Return where each of so many hidden states stands on the horizontal axis."""
    width = _WIDTH - _LEFT - _RIGHT - 16
    return [_LEFT + 8 + (width * i / (number - 1) if number > 1 else width / 2) for i in range(number)]


def _scale(low: float, high: float, logarithmic: bool) -> Callable[[float], float]:
    def position(value: float) -> float:
        return log10(max(value, low)) if logarithmic else value

    first, last = position(low), position(high)
    height = _HEIGHT - _TOP - _BOTTOM
    return lambda value: _TOP + height * (1 - (position(value) - first) / (last - first))


def _even(high: float) -> list[float]:
    """Return ticks from zero to at least ``high``, at steps that are easy to read."""
    if high <= 0:
        return [0.0, 1.0]
    power = 10 ** floor(log10(high / 4))
    step = next(step for step in (1, 2, 2.5, 5, 10) if step * power * 5 >= high) * power
    return [i * step for i in range(ceil(high / step - 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Return powers of ten that ``low`` and ``high`` lie between."""
    return [10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1)]
