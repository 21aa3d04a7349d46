"""The page is whole: one file, nothing loaded, every name escaped, an entry for every layer."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import fused, tiny
from support.images import noise_image
from support.tiled_vlm import TILED

from vision_composer import compose, inspect_images
from vision_composer.report.counting import Size
from vision_composer.report.diagram import diagrams
from vision_composer.report.markup import element
from vision_composer.report.page import page

VOID = {"meta", "img", "input"}
NAME = "<script>alert(1)<script>&\"'.png"


class Page(HTMLParser):
    """A page's elements, each with its attributes and its text; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        self.found.append((tag, dict(attrs), text))
        if tag not in VOID:
            self._open.append((tag, text))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, text in self._open:
            text.append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (found, "".join(text))
            for name, found, text in self.found
            if name == tag
            and all(
                value in (found.get(key.rstrip("_").replace("_", "-")) or "").split()
                for key, value in attributes.items()
            )
        ]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("images") / NAME
    noise_image(40, 30).save(path)
    return str(path)


@pytest.fixture(scope="module")
def text(image: str) -> str:
    torch.manual_seed(0)
    config = {
        "schema": 1,
        "name": "small",
        "summary": "<b>a & b",
        "encoder": tiny.ENCODERS["clip_vision_model"],
    }
    encoder = compose({**config, "select_layers": [-2, 1], "feature_select_strategy": "default"})
    return page(inspect_images(encoder, [image, "<i>missing.png"]))


def test_names_are_escaped(text: str) -> None:
    found = Page(text)
    assert len(found.all("script")) == 1
    assert found.all("b") == found.all("i") == []
    assert found.all("p", class_="summary")[0][1] == "<b>a & b"
    assert found.all("h3")[-1][1] == f"{NAME} 40 × 30 pixels"
    assert "<i>missing.png: no such file" in found.all("section", id="failures")[0][1]


def test_nothing_is_loaded(text: str) -> None:
    assert not re.search(r"(src|href|action|data)=[\"'](?!data:image/|#)", text)
    rest = re.sub(r"data:image/[a-z]+;base64,[\w+/=]+", "", text)
    assert not re.search(r"https?:|url\(|@import|//[a-z]|fetch|XMLHttp|import\(", rest)
    (policy,) = [meta["content"] for meta, _ in Page(text).all("meta") if "http-equiv" in meta]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_there_is_a_map_for_every_layer_and_the_deepest_that_is_read_is_shown(text: str) -> None:
    maps = Page(text).all("img", class_="map")
    assert [found["data-layer"] for found, _ in maps] == ["0", "1", "2", "3"]
    assert [found["data-layer"] for found, _ in maps if "hidden" not in found] == ["3"]
    (slider,) = [found for found, _ in Page(text).all("input", class_="layer")]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "3", "3")


def test_pictures_are_those_of_the_inspection(image: str) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.ENCODERS["siglip_vision_model"]})
    inspection = inspect_images(encoder, [image])
    maps = Page(page(inspection)).all("img", class_="map")
    layers = inspection.images[0].towers[""].layers
    for (found, _), layer in zip(maps, layers, strict=True):
        content = base64.b64decode((found["src"] or "").removeprefix("data:image/png;base64,"))
        assert (np.asarray(Image.open(io.BytesIO(content))) == layer.maps[0]).all()


def test_it_can_be_read_without_seeing_it(text: str) -> None:
    found = Page(text)
    assert found.all("html")[0][0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _, _ in found.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    assert all("alt" in image for image, _ in found.all("img"))
    pictures = [svg for svg, _ in found.all("svg") if "aria-hidden" not in svg]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    labels = {label["for"] for label, _ in found.all("label")}
    assert {box["id"] for box, _ in found.all("input")} == labels
    assert len(found.all("table")) == 3
    identifiers = [found["id"] for _, found, _ in found.found if "id" in found]
    assert len(identifiers) == len(set(identifiers))


def test_the_diagram_says_what_is_built_and_read() -> None:
    plan: Any = compose(
        {"schema": 1, "encoder": tiny.ENCODERS["clip_vision_model"], "select_layers": [-2, 1]}
    ).plan
    ((title, svg),) = diagrams(plan, Size(40, 30))
    (found,) = [attributes for attributes, _ in Page(svg).all("svg")]
    assert title == ""
    assert found["aria-label"] is not None
    assert "Blocks: 3 of 4 built, 1 cut; hidden states read: 1, 3." in found["aria-label"]
    assert "17 × 64" in found["aria-label"]
    drawn = Page(svg)
    assert (len(drawn.all("rect", class_="built")), len(drawn.all("rect", class_="cut"))) == (3, 1)
    assert len(drawn.all("circle", class_="tap")) == 2


def test_tiles_are_drawn_where_they_were_cut(image: str) -> None:
    found = Page(page(inspect_images(compose(TILED), [noise_image(100, 100)])))
    numbers = [text for _, text in found.all("b", class_="tile")]
    assert numbers == [str(i) for i in range(1, 10)] * 2
    assert len(found.all("img", class_="map")) == 10 * 4
    places = {piece["style"] for piece, _ in found.all("div", class_="piece")}
    assert "left:33.3333%;top:66.6667%;width:33.3333%;height:33.3333%" in places


@pytest.mark.parametrize(
    "config",
    [
        fused.config(align={"grid": [4, 4]}),
        {"schema": 1, "encoder": tiny.ALL["siglip_vision_model"], "head": True},
        {"schema": 1, "encoder": tiny.ALL["mllama_vision_model"]},
        {"schema": 1, "encoder": tiny.ALL["pixtral"], "reduce": {"type": "pool", "keep": 0.25}},
    ],
    ids=["several towers", "a pooling head", "tiles of the tower", "a reduction"],
)
def test_any_encoder_has_a_page(config: dict[str, Any]) -> None:
    found = Page(page(inspect_images(compose(config), [noise_image(60, 40)])))
    towers = config.get("towers", {"": None})
    assert len(found.all("section", class_="tower")) == len(towers)
    assert len(found.all("svg", class_="diagram")) == len(towers) + (len(towers) > 1)


def test_a_clip_is_a_strip_of_frames() -> None:
    encoder = compose({"schema": 1, "encoder": tiny.ALL["qwen2_vl_vision"]})
    found = Page(page(inspect_images(encoder, [[noise_image(60, 40)] * 5])))
    ((strip, _),) = found.all("div", class_="strip")
    assert strip["tabindex"] == "0"
    assert len(found.all("figure", class_="view")) == 3


def test_elements_escape_text_and_values() -> None:
    made = element("p", "<&", element("b", '"'), None, title='"<', data_x=1.5, hidden=True, open=False)
    assert made == '<p title="&quot;&lt;" data-x="1.5" hidden>&lt;&amp;<b>&quot;</b></p>'
    assert element("img", alt="") == '<img alt="">'
