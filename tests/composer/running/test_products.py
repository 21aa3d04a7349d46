"""Which matrix products frozen blocks use, and what is kept of a measurement."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from support import tiny
from support.compare import assert_close
from support.packed import batch_of

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.running import compilation
from vision_composer.running.compilation import FrozenBlocks, compile_settings, compile_tower
from vision_composer.running.products import (
    MKL,
    ONEDNN,
    Measured,
    Product,
    has_choice,
    keep,
    library_for,
    machine,
    packs_any_rows,
    products_file,
    recall,
)
from vision_composer.schemas import CompileConfig

FROZEN = CompileConfig(mode="max-performance")
MEASURED = {Product(17, 32, 64): ONEDNN, Product(17, 64, 32): MKL}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _encoder(name: str = "siglip_vision_model", **changes: object) -> ComposedVisionEncoder:
    torch.manual_seed(0)
    return tiny.scramble(
        compose({"schema": 1, "encoder": {**(tiny.ENCODERS | tiny.PACKED)[name], **changes}})
    )


def test_what_was_measured_is_used_for_weights_of_the_same_shapes() -> None:
    tower = _encoder(hidden_size=32, intermediate_size=64).tower
    assert recall(tower) == {}
    assert keep(MEASURED) == products_file()
    assert recall(tower) == MEASURED
    assert recall(_encoder(hidden_size=32, intermediate_size=80).tower) == {}
    assert recall(_encoder(hidden_size=64, intermediate_size=32).tower) == MEASURED
    settings = compile_tower(tower, FROZEN)
    assert settings.products == MEASURED
    assert "post_grad_custom_pre_pass" in settings.options["options"]


def test_in_half_precision_there_is_nothing_to_choose_from() -> None:
    keep(MEASURED)
    tower = _encoder(hidden_size=32, intermediate_size=64).tower.to(torch.bfloat16)
    assert recall(tower) is None
    assert not has_choice(torch.bfloat16)
    settings = compile_tower(tower, FROZEN)
    assert settings.freeze
    assert "post_grad_custom_pre_pass" not in settings.options["options"]


@pytest.mark.parametrize(
    ("rows", "name"), [(1, MKL), (17, MKL), (50, MKL), (70, ONEDNN), (250, ONEDNN), (9000, MKL)]
)
def test_the_nearest_number_of_rows_tells(rows: int, name: str) -> None:
    """Nearest by ratio: 50 is closer to 17 than to 200, and 70 is not."""
    measured = {
        Product(17, 4, 8): MKL,
        Product(200, 4, 8): ONEDNN,
        Product(900, 4, 8): MKL,
        Product(rows, 8, 4): ONEDNN if name == MKL else MKL,
    }
    assert library_for(Product(rows, 4, 8), measured) == name


def test_products_that_were_not_measured_are_mkls() -> None:
    assert library_for(Product(17, 8, 8), {Product(17, 4, 8): ONEDNN, Product(17, 8, 4): ONEDNN}) == MKL


def test_what_is_measured_is_added_to_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep({Product(1, 2, 3): ONEDNN, Product(4, 5, 6): MKL})
    here = machine()
    keep({Product(4, 5, 6): ONEDNN})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    keep({Product(1, 2, 3): MKL})
    assert json.loads(products_file().read_text())["machines"] == {
        here: {"1x2x3": ONEDNN, "4x5x6": ONEDNN},
        machine(): {"1x2x3": MKL},
    }
    assert [path.name for path in products_file().parent.iterdir()] == ["products.json"]


@pytest.mark.parametrize("changed", ["threads", "instructions", "libraries", "torch"])
def test_a_measurement_holds_for_what_it_was_made_on(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine()
    if changed == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    elif changed == "instructions":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    elif changed == "libraries":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    else:
        monkeypatch.setattr(torch, "__version__", "2.99")
    assert machine() != before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Expecting property"),
        (b"\xff", "UTF-8"),
        (b"{}", "format"),
        (b'{"format": "vision-composer products 1", "products": {}}', "format"),
        (b'{"format": "vision-composer products 2", "machines": []}', "format"),
        (b'{"format": "vision-composer products 2", "machines": {"a": 1}}', "1 are no products"),
        (b'{"format": "vision-composer products 2", "machines": {"a": {"1x2x3": "acl"}}}', "called 'acl'"),
        (b'{"format": "vision-composer products 2", "machines": {"a": {"1x2x3": [1]}}}', r"called \[1\]"),
        (
            b'{"format": "vision-composer products 2", "machines": {"a": {"1x2": "mkl"}}}',
            "'1x2' is no product",
        ),
        (b'{"format": "vision-composer products 2", "machines": {"a": {"0x2x3": "mkl"}}}', "'0x2x3' is no"),
        (b'{"format": "vision-composer products 2", "machines": {"a": {"1xbx3": "mkl"}}}', "'1xbx3' is no"),
    ],
)
def test_a_file_of_something_else_is_passed_over(content: bytes, reason: str) -> None:
    products_file().parent.mkdir(parents=True)
    products_file().write_bytes(content)
    tower = _encoder(hidden_size=32, intermediate_size=64).tower
    with pytest.warns(UserWarning, match=rf"products\.json: passed over.*{reason}"):
        assert recall(tower) == {}
    with pytest.warns(UserWarning, match="passed over"):
        keep(MEASURED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recall(tower) == MEASURED


def test_a_folder_in_its_place_is_passed_over() -> None:
    products_file().mkdir(parents=True)
    with pytest.warns(UserWarning, match="a folder"):
        assert recall(_encoder().tower) == {}


def test_nothing_is_asked_where_weights_are_not_frozen() -> None:
    def ask() -> Measured:
        raise AssertionError

    for config, fixed in [(FROZEN, False), (CompileConfig(), True)]:
        settings = compile_settings(config, "cpu", fixed_shapes=fixed, find_products=ask)
        assert settings.products is None
    assert compile_settings(FROZEN, "cuda", fixed_shapes=True, find_products=ask).products is None


def test_nothing_is_asked_where_the_number_of_rows_varies() -> None:
    def ask() -> Measured:
        raise AssertionError

    for config, fixed in [(FROZEN, False), (CompileConfig(mode="max-performance", dynamic=True), True)]:
        settings = compile_settings(config, "cpu", fixed_shapes=fixed, packs_any_rows=True, find_products=ask)
        assert settings.freeze
        assert settings.products is None


@pytest.mark.parametrize(
    ("dtype", "capability", "supported", "packs"),
    [
        (torch.bfloat16, "AVX2", True, True),
        (torch.bfloat16, "AVX512", False, False),
        (torch.float32, "AVX512", False, True),
        (torch.float32, "AVX2", True, False),
        (torch.float16, "AVX512", True, False),
    ],
)
def test_float32_is_packed_for_any_rows_with_avx_512_and_bfloat16_where_onednn_has_it(
    dtype: torch.dtype, capability: str, supported: bool, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert packs_any_rows(dtype) is packs


@pytest.mark.parametrize(
    ("packs", "frozen"),
    [(False, {"siglip_vision_model"}), (True, {"siglip_vision_model", "dinov2", "pixtral"})],
)
def test_encoders_of_any_size_are_frozen_where_weights_are_packed_for_any_number_of_rows(
    packs: bool, frozen: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "packs_any_rows", lambda dtype: packs)
    found = set()
    for name in ("siglip_vision_model", "dinov2", "pixtral"):
        tower = _encoder(name).tower
        compile_tower(tower, FROZEN)
        if isinstance(tower.run_block, FrozenBlocks):
            found.add(name)
    assert found == frozen


@pytest.mark.parametrize("measured", [{}, MEASURED], ids=["nothing", "something"])
def test_inductor_knows_the_options(measured: Measured) -> None:
    known = torch._inductor.config.get_config_copy()
    settings = compile_settings(FROZEN, "cpu", fixed_shapes=True, find_products=lambda: measured)
    assert settings.options["options"].keys() <= known.keys()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles C++ on CPU")
@pytest.mark.parametrize(
    "onednn", [(), ((64, 32),), ((32, 32), (64, 32), (32, 64))], ids=["MKL's", "both", "oneDNN's"]
)
@torch.no_grad()
def test_products_give_the_same_features(onednn: tuple[tuple[int, int], ...]) -> None:
    """``onednn``: the shapes of the weights with which oneDNN's products were measured to be faster."""
    changes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    encoder = _encoder(**changes)
    pixel_values = tiny.pixels(tiny.ENCODERS["siglip_vision_model"])
    expected = encoder(pixel_values=pixel_values)
    torch._dynamo.reset()
    shapes = {tuple(weight.shape) for weight in encoder.tower.blocks[0].parameters() if weight.dim() == 2}
    assert shapes == {(32, 32), (64, 32), (32, 64)}
    measured = {Product(16, i, o): ONEDNN if (o, i) in onednn else MKL for o, i in shapes}
    settings = compile_settings(FROZEN, "cpu", fixed_shapes=True, find_products=lambda: measured)
    encoder.tower.run_block = FrozenBlocks(settings)
    assert_close(encoder(pixel_values=pixel_values), expected)
    with torch.profiler.profile() as profile:
        encoder(pixel_values=pixel_values)
    ran = {event.key: event.count for event in profile.key_averages()}
    assert ran.get("mkldnn::_linear_pointwise", 0) == sum(4 if shape == (32, 32) else 1 for shape in onednn)
    assert ran.get("mkl::_mkl_linear", 0) == 6 - ran.get("mkldnn::_linear_pointwise", 0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles C++ on CPU")
@pytest.mark.skipif(not packs_any_rows(torch.bfloat16), reason="oneDNN has no bfloat16 on this processor")
def test_frozen_packed_towers_take_any_grids_by_products_of_onednn() -> None:
    name = "qwen2_5_vl_vision"
    eager, frozen = _encoder(name).bfloat16(), _encoder(name).bfloat16()
    torch._dynamo.reset()
    compile_tower(frozen.tower, FROZEN)
    exact = copy.deepcopy(eager).double()
    products, seen = [], set()
    for grids in ([(1, 4, 8), (1, 8, 4)], [(1, 4, 4), (1, 12, 8), (1, 8, 8)], [(1, 8, 12), (1, 4, 8)]):
        batch = batch_of(name, grids)
        pixels = batch.pop("pixel_values").bfloat16()
        with torch.no_grad(), torch.profiler.profile() as profile:
            found = torch.cat(frozen(pixel_values=pixels, **batch))
        expected = torch.cat(exact(pixel_values=pixels.double(), **batch))
        noise = (torch.cat(eager(pixel_values=pixels, **batch)) - expected).abs().max()
        assert (found - expected).abs().max() <= 2 * noise
        products.append(sum("mkldnn::_linear_pointwise" in event.name for event in profile.events()))
        seen.add(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert products[1] == products[2] > 0  # the first forward compiles, too
    assert len(seen) == 1
