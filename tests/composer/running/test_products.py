"""Which matrix products frozen blocks use, and what is kept of a measurement."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from support import tiny
from support.compare import assert_close

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.running.compilation import FrozenBlocks, compile_settings, compile_tower
from vision_composer.running.products import (
    ProductChoice,
    candidates,
    keep,
    product_key,
    product_options,
    products_file,
    recall,
)
from vision_composer.schemas import CompileConfig

FROZEN = CompileConfig(mode="max-performance")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _encoder(name: str = "siglip_vision_model", **changes: object) -> ComposedVisionEncoder:
    torch.manual_seed(0)
    return tiny.scramble(compose({"schema": 1, "encoder": {**tiny.ENCODERS[name], **changes}}))


def test_what_was_measured_is_used_for_towers_of_the_same_widths() -> None:
    tower = _encoder().tower
    assert recall(tower) == ProductChoice("library", measured=False)
    file = keep(tower, "inductor")
    assert file == products_file()
    assert recall(_encoder().tower) == ProductChoice("inductor", measured=True)
    assert recall(_encoder(intermediate_size=80).tower) == ProductChoice("library", measured=False)
    settings = compile_tower(_encoder().tower, FROZEN)
    assert str(settings.products) == "inductor, measured on this machine"
    assert settings.options["options"]["max_autotune_gemm_backends"] == "CPP"


def test_a_choice_is_added_to_those_that_are_kept() -> None:
    keep(_encoder().tower, "inductor")
    keep(_encoder(intermediate_size=80).tower, "library")
    assert list(json.loads(products_file().read_text())["products"].values()) == ["inductor", "library"]
    assert [path.name for path in products_file().parent.iterdir()] == ["products.json"]


@pytest.mark.parametrize("changed", ["threads", "dtype", "instructions", "libraries", "torch"])
def test_a_measurement_holds_for_what_it_was_made_on(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = _encoder().tower
    before = product_key(tower)
    if changed == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    elif changed == "dtype":
        tower.to(torch.bfloat16)
    elif changed == "instructions":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    elif changed == "libraries":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    else:
        monkeypatch.setattr(torch, "__version__", "2.99")
    assert product_key(tower) != before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Expecting property"),
        (b"\xff", "UTF-8"),
        (b"{}", "format"),
        (b'{"format": "vision-composer products 1", "products": []}', "format"),
        (b'{"format": "vision-composer products 1", "products": {"a": "mkl"}}', "called 'mkl'"),
        (b'{"format": "vision-composer products 1", "products": {"a": [1]}}', r"called \[1\]"),
    ],
)
def test_a_file_of_something_else_is_passed_over(content: bytes, reason: str) -> None:
    products_file().parent.mkdir(parents=True)
    products_file().write_bytes(content)
    tower = _encoder().tower
    with pytest.warns(UserWarning, match=rf"products\.json: passed over.*{reason}"):
        assert recall(tower) == ProductChoice()
    with pytest.warns(UserWarning, match="passed over"):
        keep(tower, "inductor")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recall(tower).name == "inductor"


def test_a_folder_in_its_place_is_passed_over() -> None:
    products_file().mkdir(parents=True)
    with pytest.warns(UserWarning, match="a folder"):
        assert recall(_encoder().tower) == ProductChoice()


def test_nothing_is_asked_where_weights_are_not_frozen() -> None:
    def ask() -> ProductChoice:
        raise AssertionError

    for config, fixed in [(FROZEN, False), (CompileConfig(), True)]:
        settings = compile_settings(config, "cpu", fixed_shapes=fixed, find_products=ask)
        assert settings.products is None
    assert compile_settings(FROZEN, "cuda", fixed_shapes=True, find_products=ask).products is None


@pytest.mark.parametrize("name", ["library", "onednn", "inductor"])
def test_inductor_knows_the_options(name: str) -> None:
    known = torch._inductor.config.get_config_copy()
    assert product_options(name).keys() <= known.keys()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles C++ on CPU")
@pytest.mark.parametrize("name", candidates(torch.float32))
@torch.no_grad()
def test_products_give_the_same_features(name: str) -> None:
    encoder = _encoder(num_hidden_layers=1)
    pixel_values = tiny.pixels(tiny.ENCODERS["siglip_vision_model"])
    expected = encoder(pixel_values=pixel_values)
    torch._dynamo.reset()
    find = ProductChoice(name)
    settings = compile_settings(FROZEN, "cpu", fixed_shapes=True, find_products=lambda: find)
    encoder.tower.run_block = FrozenBlocks(settings)
    assert_close(encoder(pixel_values=pixel_values), expected)
    with torch.profiler.profile() as profile:
        encoder(pixel_values=pixel_values)
    ran = {event.key for event in profile.key_averages()}
    assert ("mkldnn::_linear_pointwise" in ran) is (name == "onednn")
    assert ("mkl::_mkl_linear" in ran) is (name == "library")
