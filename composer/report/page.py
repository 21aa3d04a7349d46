"""The page: everything that an inspection found, as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from .._version import __version__
from ..planning.rows import plan_rows
from ..schemas.yaml.dump import to_yaml
from .charts import norms_chart, similarity_chart
from .counting import Reckoning
from .diagram import diagrams
from .inspecting import InspectedImage, InspectedLayer, InspectedOutput, InspectedTower, Inspection
from .markup import Markup, element, folded, joined, photo, png, table
from .pixels import Picture
from .views import View

_LONGEST = 768
"""Longest side in pixels of a picture that is embedded."""
_LONGEST_OF_MANY = 320
"""The same where an image has several planes."""


def page(inspection: Inspection) -> str:
    """Return an inspection as an HTML document."""
    plan = inspection.plan
    name = plan.config.name or "Unnamed encoder"
    style, script = (_beside(file) for file in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The browser itself refuses whatever would load or run something else.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{name}, inspected"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the images", class_="skip", href="#images"),
        _header(name, inspection),
        element("main", _vision_half(inspection), _images(inspection), _failures(inspection)),
        element(
            "footer", element("p", f"Made by vision-composer {__version__}. This file loads nothing else.")
        ),
        element("script", Markup(script)),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _beside(file: str) -> str:
    return files(__package__).joinpath(file).read_text(encoding="utf-8")


def _header(name: str, inspection: Inspection) -> Markup:
    summary = inspection.plan.config.summary
    return element(
        "header",
        element(
            "div",
            element("h1", name),
            element("p", summary, class_="summary") if summary else None,
        ),
        element("button", "Dark", type="button", id="theme", aria_pressed="false", hidden=True),
    )


def _vision_half(inspection: Inspection) -> Markup:
    plan, first = inspection.plan, inspection.images[0]
    drawn = [
        joined(element("h3", title) if title else None, diagram)
        for title, diagram in diagrams(plan, first.size)
    ]
    # Frames of a video have one size.
    sizes = dict.fromkeys((image.size.width, image.size.height) for image in inspection.images)
    facts = table([], _rows(plan.to_dict(sizes)), "The plan", numbers=False)
    return element(
        "section",
        element("h2", "The vision half"),
        element(
            "p",
            "What happens to an image on its way to the output. "
            f"Sizes and counts are those of {first.name}, {first.size}.",
            class_="note",
        ),
        element(
            "div",
            element("div", *(element("div", part) for part in drawn), class_="diagrams"),
            element("div", facts, folded("The config", _config(inspection))),
            class_="half",
        ),
    )


def _rows(facts: dict[str, Any]) -> list[list[str]]:
    """Return the plan's rows; what has no label of its own goes to the row above."""
    rows: list[list[str]] = []
    for label, text in plan_rows(facts):
        if label.strip():
            rows.append([label.strip(), element("div", text)])
        else:
            rows[-1][1] = joined(Markup(rows[-1][1]), element("div", text))
    return rows


def _config(inspection: Inspection) -> Markup:
    values = inspection.plan.config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return element("pre", to_yaml(values), tabindex="0", role="group", aria_label="The config as YAML")


# --- images -------------------------------------------------------------------------------------------


def _images(inspection: Inspection) -> Markup:
    images = inspection.images
    links = [element("li", element("a", image.name, href=f"#image-{i}")) for i, image in enumerate(images)]
    return element(
        "section",
        element("h2", "Images"),
        element("nav", element("ul", *links), aria_label="Images") if len(images) > 1 else None,
        *(_image(f"image-{i}", image) for i, image in enumerate(images)),
        id="images",
    )


def _image(identifier: str, image: InspectedImage) -> Markup:
    towers = [
        _tower(f"{identifier}-{i}", name, image, tower)
        for i, (name, tower) in enumerate(image.towers.items())
    ]
    return element(
        "article",
        element("h3", image.name, " ", element("small", str(image.size))),
        *towers,
        element(
            "div",
            _reckonings(image.reckonings),
            _output(image.output),
            class_="pair",
        ),
        id=identifier,
    )


def _tower(identifier: str, name: str, image: InspectedImage, tower: InspectedTower) -> Markup:
    read = [layer.index for layer in tower.layers if layer.read]
    shown = max(read) if read else len(tower.layers) - 1
    who = f"the tower {name}" if name else "the encoder"
    views = [_view(view, tower, shown, who) for view in tower.views]
    cut = any(view.cut for view in tower.views)
    return element(
        "section",
        element("h4", f"What {who} sees, and its features"),
        _controls(identifier, tower.layers, shown, cut=cut),
        element(
            "div",
            *views,
            class_="strip" if len(views) > 2 else "views",
            **({"tabindex": "0", "role": "group", "aria_label": "Frames"} if len(views) > 2 else {}),
        ),
        element(
            "p",
            "Colours are the first three principal components of this image's patches, as red, green and "
            "blue, each stretched to its own range.",
            class_="note",
        ),
        element(
            "div",
            norms_chart(tower.layers),
            similarity_chart(tower.layers, tower.similarity, tower.num_compared),
            class_="pair",
        ),
        class_="tower",
        data_shown=str(shown),
    )


def _controls(identifier: str, layers: Sequence[InspectedLayer], shown: int, *, cut: bool) -> Markup:
    last = len(layers) - 1
    slider = element(
        "input",
        type="range",
        id=f"{identifier}-layer",
        min="0",
        max=str(last),
        step="1",
        value=str(shown),
        aria_valuetext=_described(layers[shown], last),
        class_="layer",
    )
    ticks = [
        element("span", style=f"left:{100 * layer.index / max(last, 1):.2f}%")
        for layer in layers
        if layer.read
    ]
    return element(
        "div",
        element(
            "div",
            element("label", "Hidden state", for_=f"{identifier}-layer"),
            element(
                "div", slider, element("div", *ticks, class_="ticks", aria_hidden="true"), class_="slide"
            ),
            element("output", _described(layers[shown], last), for_=f"{identifier}-layer"),
            class_="slider",
        ),
        element(
            "div",
            _switch(f"{identifier}-grid", "Patch grid", "grid"),
            _switch(f"{identifier}-tiles", "Tiles", "tiles") if cut else None,
            class_="switches",
        ),
        *(element("span", _described(layer, last), hidden=True, class_="described") for layer in layers),
        class_="controls",
    )


def _described(layer: InspectedLayer, last: int) -> str:
    """Say which hidden state it is, and what its colours show."""
    parts = [f"{layer.index} of {last}", "read by the encoder" if layer.read else "not read"]
    return f"{', '.join(parts)} · variance {_shares(layer.explained)}"


def _shares(explained: Sequence[float]) -> str:
    return " + ".join(f"{100 * share:.0f}" for share in explained) + " %"


def _switch(identifier: str, label: str, what: str) -> Markup:
    box = element("input", type="checkbox", id=identifier, checked=True, data_switch=what)
    return element("label", box, f" {label}", for_=identifier)


def _view(view: View, tower: InspectedTower, shown: int, who: str) -> Markup:
    """Draw what the encoder sees beside the features of every hidden state."""
    longest = _LONGEST if len(tower.planes) == 1 else _LONGEST_OF_MANY
    patches = _patches(view, tower)
    seen, maps = [], []
    for number, piece in enumerate(view.pieces, 1):
        place = (
            f"left:{100 * piece.left:.4f}%;top:{100 * piece.top:.4f}%;"
            f"width:{100 * piece.width:.4f}%;height:{100 * piece.height:.4f}%"
        )
        picture, (rows, columns) = tower.planes[piece.plane], patches[piece.plane]
        over = [_grid(rows, columns), element("b", str(number), class_="tile") if view.cut else None]
        small = "pixels" if max(picture.shape[:2]) <= 160 else None
        address = photo(picture, longest)
        seen.append(
            element(
                "div", element("img", src=address, alt="", class_=small), *over, class_="piece", style=place
            )
        )
        layers = [
            element(
                "img",
                src=png(layer.maps[piece.plane]),
                alt="",
                class_="pixels map",
                data_layer=str(layer.index),
                hidden=layer.index != shown,
            )
            for layer in tower.layers
        ]
        maps.append(element("div", *layers, *over, class_="piece", style=place))
    at = f", {view.label}" if view.label else ""
    height, width = tower.planes[view.pieces[0].plane].shape[:2]
    rows, columns = patches[view.pieces[0].plane]
    tiles = f"{len(view.pieces)} tiles, each of " if view.cut else ""
    saw = f"What {who} sees{at}: {tiles}{width} × {height} pixels in {columns} × {rows} patches"
    made = f"Features in the plane of the image{at}, as colours: hidden state"
    frame = f"aspect-ratio:{view.width:g}/{view.height:g};--ratio:{view.width / view.height:.4f}"
    return element(
        "figure",
        element(
            "div",
            element("div", *seen, class_="frame", style=frame, role="img", aria_label=saw),
            element(
                "div",
                *maps,
                class_="frame features",
                style=frame,
                role="img",
                aria_label=f"{made} {shown}",
                data_label=made,
            ),
            class_="frames",
        ),
        element("figcaption", view.label) if view.label else None,
        class_="view",
    )


def _patches(view: View, tower: InspectedTower) -> dict[int, tuple[int, int]]:
    """Return rows and columns of the patches of every plane of a view."""
    maps = tower.layers[0].maps
    return {piece.plane: (maps[piece.plane].shape[0], maps[piece.plane].shape[1]) for piece in view.pieces}


def _grid(rows: int, columns: int) -> Markup:
    """Draw the lines between patches."""
    lines = "".join(f"M0 {row}H{columns}" for row in range(1, rows))
    lines += "".join(f"M{column} 0V{rows}" for column in range(1, columns))
    return element(
        "svg",
        element("path", d=lines),
        class_="grid",
        viewBox=f"0 0 {columns} {rows}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _reckonings(reckonings: Sequence[Reckoning]) -> Markup:
    parts = [
        joined(
            element("h5", reckoning.title) if reckoning.title else None,
            element("ol", *(element("li", step) for step in reckoning.steps), class_="steps"),
        )
        for reckoning in reckonings
    ]
    return element("section", element("h4", "How its tokens are counted"), *parts)


def _output(output: InspectedOutput) -> Markup:
    figures = [_output_map(picture) for picture in output.maps]
    shape = f"{output.num_rows:,} × {output.width:,}"
    if figures:
        rows, columns = output.maps[0].shape[:2]
        frames = f" for each of {len(figures)} in time" if len(figures) > 1 else ""
        text = (
            f"{shape} features, {columns} across and {rows} down{frames}; "
            f"variance {_shares(output.explained)}."
        )
    else:
        text = (
            f"{shape} features. They do not stand row by row in the plane of the image, so there is no map."
        )
    return element(
        "section",
        element("h4", "Output"),
        element("p", text, class_="note"),
        element("div", *figures, class_="outputs") if figures else None,
    )


def _output_map(picture: Picture) -> Markup:
    rows, columns = picture.shape[:2]
    return element(
        "img",
        src=png(picture),
        alt=f"The output in the plane of the image, {columns} × {rows}, as colours",
        class_="pixels",
        style=f"aspect-ratio:{columns}/{rows};--ratio:{columns / rows:.4f}",
    )


def _failures(inspection: Inspection) -> Markup | None:
    if not inspection.failures:
        return None
    named = [
        element("li", element("strong", failure.name), f": {failure.reason}")
        for failure in inspection.failures
    ]
    return element(
        "section", element("h2", "Images that could not be read"), element("ul", *named), id="failures"
    )
