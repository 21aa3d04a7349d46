"""torch.compile changes nothing but speed."""

from __future__ import annotations

import copy
import shutil
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import assert_close, assert_gradients_close
from torch._dynamo.testing import CompileCounterWithBackend

from vision_composer import compose, load_config, should_torch_compile_mm_vit
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.encoders.dense import DenseBatch
from vision_composer.errors import BackendError, ConfigError
from vision_composer.running.compilation import (
    CompiledBlocks,
    CompileSettings,
    FrozenBlocks,
    compile_settings,
    compile_tower,
)
from vision_composer.schemas import CompileConfig

ENCODER = tiny.ENCODERS["siglip_vision_model"]


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> None:
    torch._dynamo.reset()


def _tower(encoder: dict[str, Any] = ENCODER, *overrides: str) -> ComposedVisionEncoder:
    torch.manual_seed(0)
    tower = compose({"schema": 1, "encoder": encoder, "select_layers": [-1]}, overrides=overrides)
    return tiny.scramble(tower)


def _counted(tower: ComposedVisionEncoder, **settings: Any) -> CompileCounterWithBackend:
    """Compile by a backend that counts what it is given, and does not need a C++ compiler."""
    counter = CompileCounterWithBackend("eager")
    chosen = {"dynamic": True, "freeze": False, "cuda_graphs": False, **settings}
    kind = FrozenBlocks if chosen["freeze"] else CompiledBlocks
    tower.tower.run_block = kind(CompileSettings(backend=counter, **chosen))
    return counter


def _codes(counter: CompileCounterWithBackend) -> int:
    """Graphs that were compiled, without those of attempts that dynamo gave up and began again."""
    return sum(len(graph.graph.nodes) > 0 for graph in counter.graphs)


@pytest.mark.parametrize("scope", ["blocks", "tower"])
def test_compiled_features_equal_eager_ones(scope: str) -> None:
    eager = _tower()
    compiled = _tower(ENCODER, f"compile={{backend: aot_eager, scope: {scope}}}")
    pixel_values = tiny.pixels(ENCODER)
    with torch.no_grad():
        assert_close(compiled(pixel_values=pixel_values), eager(pixel_values=pixel_values))
    assert isinstance(compiled.tower.run_block, CompiledBlocks) is (scope == "blocks")
    assert (compiled.tower._compiled_call_impl is not None) is (scope == "tower")


@pytest.mark.parametrize(  # blocks that differ in what they are called with
    "name",
    [
        "clip_vision_model",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("dinov3_vit", "llama4_vision_model", "got_ocr2_vision", "internvl_vision")
        ),
    ],
)
@torch.no_grad()
def test_one_code_serves_all_blocks_and_batches(name: str) -> None:
    tower = _tower(tiny.ENCODERS[name])
    counter = _counted(tower, dynamic=None)
    for images in (2, 3, 7):
        tower(pixel_values=tiny.pixels(tiny.ENCODERS[name], images=images))
    kinds = 2 if name == "got_ocr2_vision" else 1  # with windows, and without
    assert _codes(counter) == kinds
    tower(pixel_values=tiny.pixels(tiny.ENCODERS[name], images=1))
    assert _codes(counter) <= 2 * kinds  # torch takes a size of 1 for a constant


@torch.no_grad()
def test_image_sizes_do_not_recompile() -> None:
    encoder = tiny.ENCODERS["dinov2"]
    tower = _tower(encoder)
    counter = _counted(tower)
    for size in [(32, 32), (32, 48), (64, 24)]:
        tower(pixel_values=tiny.pixels(encoder, size=size))
    assert _codes(counter) == 1


@pytest.mark.slow
@torch.no_grad()
def test_towers_do_not_share_the_limit_on_recompilations() -> None:
    with torch._dynamo.config.patch(recompile_limit=2):
        for width in (8, 12, 16):
            encoder = {**ENCODER, "hidden_size": width, "num_hidden_layers": 1}
            tower = _tower(encoder)
            counter = _counted(tower, dynamic=None)
            tower(pixel_values=tiny.pixels(encoder))
            assert _codes(counter) == 1


@pytest.mark.slow
@torch.no_grad()
def test_beyond_the_limit_blocks_run_uncompiled() -> None:
    eager, tower = _tower(), _tower()
    counter = _counted(tower, dynamic=False)
    with torch._dynamo.config.patch(recompile_limit=2):
        for images in (2, 3):
            tower(pixel_values=tiny.pixels(ENCODER, images=images))
        pixel_values = tiny.pixels(ENCODER, images=4)
        with pytest.warns(UserWarning, match="runs uncompiled"):
            features = tower(pixel_values=pixel_values)
    assert _codes(counter) == 2
    assert torch.equal(features, eager(pixel_values=pixel_values))


def test_compiled_towers_train() -> None:
    eager, compiled = _tower(), _tower(ENCODER, "compile={backend: aot_eager}")
    pixel_values = tiny.pixels(ENCODER)
    for tower in (eager, compiled):
        tower(pixel_values=pixel_values).square().mean().backward()
    assert_gradients_close(*([p.grad for p in tower.parameters()] for tower in (compiled, eager)))


def test_a_copy_is_not_compiled() -> None:
    tower = _tower(ENCODER, "compile={backend: aot_eager}")
    twin = copy.deepcopy(tower)
    pixel_values = tiny.pixels(ENCODER)
    with torch.no_grad():
        assert torch.equal(twin(pixel_values=pixel_values), tower(pixel_values=pixel_values))
        next(twin.parameters()).add_(1)
        assert not torch.equal(twin(pixel_values=pixel_values), tower(pixel_values=pixel_values))
    assert not isinstance(twin.tower.run_block, CompiledBlocks)


# --- frozen weights -----------------------------------------------------------------------------------


def test_frozen_blocks_keep_their_own_weights_and_notice_new_ones() -> None:
    eager, frozen = _tower(), _tower()
    counter = _counted(frozen, freeze=True, dynamic=False)
    pixel_values = tiny.pixels(ENCODER)

    def assert_same_features() -> None:
        with torch.no_grad():
            assert_close(frozen(pixel_values=pixel_values), eager(pixel_values=pixel_values))

    assert_same_features()
    assert_same_features()
    assert _codes(counter) == len(frozen.blocks)  # one code each, found again
    for tower in (eager, frozen):
        with torch.no_grad():
            next(tower.blocks[1].parameters()).mul_(1.5)
    assert_same_features()
    assert _codes(counter) == len(frozen.blocks) + 1
    frozen.load_state_dict(_state := tiny.scramble(copy.deepcopy(eager), seed=3).state_dict())
    eager.load_state_dict(_state, assign=True)
    assert_same_features()


def test_frozen_blocks_run_uncompiled_where_gradients_flow() -> None:
    eager, frozen = _tower(), _tower()
    counter = _counted(frozen, freeze=True, dynamic=False)
    pixel_values = tiny.pixels(ENCODER)
    for tower in (eager, frozen):
        tower(pixel_values=pixel_values).square().mean().backward()
    assert all(
        torch.equal(one.grad, other.grad)
        for one, other in zip(frozen.parameters(), eager.parameters(), strict=True)
    )
    with torch.no_grad():
        frozen.train()(pixel_values=pixel_values)
    assert _codes(counter) == 0


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_frozen_blocks_notice_what_training_wrote_through_data(training: bool) -> None:
    frozen = _tower()
    counter = _counted(frozen, freeze=True, dynamic=False)
    pixel_values = tiny.pixels(ENCODER)
    with torch.no_grad():
        frozen(pixel_values=pixel_values)
    with torch.set_grad_enabled(not training):
        frozen.train(training)(pixel_values=pixel_values)
    for parameter in frozen.blocks.parameters():
        parameter.data.mul_(1.5)
    with torch.no_grad():
        frozen.eval()(pixel_values=pixel_values)
    assert _codes(counter) == 2 * len(frozen.blocks)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles C++ on CPU")
def test_inductor_freezes_weights() -> None:
    encoder = {**ENCODER, "num_hidden_layers": 2}
    eager, frozen = _tower(encoder), _tower(encoder)
    settings = CompileSettings("inductor", dynamic=False, freeze=True, cuda_graphs=False)
    frozen.tower.run_block = FrozenBlocks(settings)
    pixel_values = tiny.pixels(encoder)
    with torch.no_grad():
        assert_close(frozen(pixel_values=pixel_values), eager(pixel_values=pixel_values))


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "device", "fixed_shapes", "expected"),
    [
        ({}, "cpu", True, (None, False, False)),
        ({}, "cuda", False, (True, False, False)),
        ({"mode": "max-performance"}, "cpu", True, (False, True, False)),
        ({"mode": "max-performance"}, "cpu", False, (True, False, False)),
        ({"mode": "max-performance", "dynamic": True}, "cpu", True, (True, False, False)),
        ({"mode": "max-performance"}, "cuda", True, (None, False, False)),
        ({"mode": "reduce-overhead"}, "cuda", True, (False, False, True)),
        ({"mode": "reduce-overhead"}, "cuda", False, (True, False, False)),
        ({"mode": "max-autotune"}, "cuda", True, (False, False, True)),
        ({"mode": "max-autotune"}, "cuda", False, (True, False, False)),
        ({"mode": "reduce-overhead"}, "cpu", True, (None, False, False)),
        ({"dynamic": False}, "cpu", True, (False, False, False)),
        ({"dynamic": True}, "cpu", True, (True, False, False)),
    ],
)
def test_settings_follow_mode_device_and_shapes(
    block: dict[str, Any], device: str, fixed_shapes: bool, expected: tuple[bool, bool, bool]
) -> None:
    settings = compile_settings(CompileConfig(**block), device, fixed_shapes=fixed_shapes)
    assert (settings.dynamic, settings.freeze, settings.cuda_graphs) == expected


@pytest.mark.parametrize(
    ("block", "device", "fixed_shapes", "expected"),
    [
        ({"mode": "max-performance"}, "cpu", False, (True, True)),
        ({"mode": "max-performance"}, "cpu", True, (False, True)),
        ({"mode": "max-performance", "dynamic": True}, "cpu", True, (True, True)),
        ({"mode": "max-performance"}, "cuda", False, (True, False)),
        ({}, "cpu", False, (True, False)),
    ],
)
def test_weights_are_frozen_for_any_number_of_rows_where_they_are_packed_for_it(
    block: dict[str, Any], device: str, fixed_shapes: bool, expected: tuple[bool, bool]
) -> None:
    config = CompileConfig(**block)
    settings = compile_settings(config, device, fixed_shapes=fixed_shapes, packs_any_rows=True)
    assert (settings.dynamic, settings.freeze) == expected


@pytest.mark.parametrize(
    ("mode", "without"), [("reduce-overhead", {}), ("max-autotune", {"mode": "max-autotune-no-cudagraphs"})]
)
def test_towers_of_any_size_run_without_cuda_graphs(mode: Any, without: dict[str, str]) -> None:
    config = CompileConfig(mode=mode)
    assert compile_settings(config, "cuda", fixed_shapes=True).options == {"mode": mode}
    assert compile_settings(config, "cuda", fixed_shapes=False).options == without


@pytest.mark.parametrize(
    ("block", "device", "capability", "options"),
    [
        ({}, "cpu", "AVX2", {"post_grad_custom_post_pass"}),
        ({"mode": "max-performance", "dynamic": True}, "cpu", "AVX2", {"post_grad_custom_post_pass"}),
        ({}, "cpu", "AVX512", set()),
        ({}, "cuda", "AVX2", set()),
        ({"backend": "aot_eager"}, "cpu", "AVX2", set()),
        ({"mode": "max-performance"}, "cpu", "AVX2", {"max_autotune"}),
        ({"mode": "max-performance"}, "cpu", "AVX512", {"max_autotune"}),
    ],
)
def test_options_follow_the_processor(
    block: dict[str, Any],
    device: str,
    capability: str,
    options: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    settings = compile_settings(CompileConfig(**block), device, fixed_shapes=True)
    vectors = settings.options.get("options", {}).pop("cpp.simdlen", None)
    compiled_here = device == "cpu" and block.get("backend") != "aot_eager"
    assert vectors == ({"AVX2": 256, "AVX512": 512}[capability] if compiled_here else None)
    assert set(settings.options.get("options", {})) == options


@pytest.mark.parametrize("mode", ["max-performance", "default"])
def test_a_choice_of_products_is_none_of_the_moment(mode: Any) -> None:
    settings = compile_settings(CompileConfig(mode=mode), "cpu", fixed_shapes=True)
    assert settings.options.get("options", {}).get("max_autotune", False) is False


def test_max_performance_freezes_a_dense_tower_on_cpu() -> None:
    tower = _tower(ENCODER, "compile={mode: max-performance}")
    assert isinstance(tower.tower.run_block, FrozenBlocks)


@pytest.mark.slow
def test_outputs_of_cuda_graphs_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    import vision_composer.running.compilation as compilation

    tower = _tower(ENCODER)
    graphs = CompileSettings("aot_eager", dynamic=True, freeze=False, cuda_graphs=True)
    monkeypatch.setattr(compilation, "compile_settings", lambda *_, **__: graphs)
    with pytest.raises(BackendError, match=r"compile\.scope"):
        compile_tower(tower.tower, CompileConfig(mode="reduce-overhead", scope="tower"))
    compile_tower(tower.tower, CompileConfig(mode="reduce-overhead"))
    static = torch.empty(2, 16, 32)
    monkeypatch.setattr(DenseBatch, "split", lambda *_: static)
    assert tower(pixel_values=tiny.pixels(ENCODER)).data_ptr() != static.data_ptr()


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(BackendError, match="did you mean 'inductor'"):
        compose({"schema": 1, "encoder": ENCODER, "compile": {"backend": "inductr"}})
    with pytest.raises(ConfigError, match=r"compile\.mode"):
        compose({"schema": 1, "encoder": ENCODER, "compile": {"mode": "max"}})


@pytest.mark.parametrize(("value", "answer"), [("true", True), ("false", False), ("{mode: default}", True)])
def test_should_torch_compile_answers_from_the_config(value: str, answer: bool) -> None:
    config = load_config({"schema": 1, "encoder": ENCODER}, overrides=[f"compile={value}"])
    assert should_torch_compile_mm_vit(config) is answer


GENERIC = {"vit": 1, "deit": 2, "beit": 1, "ijepa": 0, "vit_msn": 1, "data2vec-vision": 1}
"""model_type -> prefix tokens of an encoder for the generic adapter."""


def _generic(model_type: str, depth: int = 2) -> dict[str, Any]:
    mask = {"use_mask_token": False} if model_type == "beit" else {}
    fields = ENCODER | {"num_hidden_layers": depth} | mask
    return fields | {"model_type": model_type, "prefix_tokens": GENERIC[model_type]}


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("model_type", GENERIC)
def test_the_blocks_of_a_generic_encoder_are_found(model_type: str, depth: int) -> None:
    encoder = compose({"schema": 1, "encoder": _generic(model_type, depth)})
    seen: list[int] = []
    for k, block in enumerate(encoder.blocks):
        block.register_forward_hook(lambda block, inputs, output, k=k: seen.append(k))
    encoder(pixel_values=tiny.pixels(ENCODER))
    assert seen == list(range(depth))


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["blocks", "tower"])
@pytest.mark.parametrize("model_type", ["vit", "beit"])
@torch.no_grad()
def test_generic_encoders_are_compiled(model_type: str, scope: str) -> None:
    eager = _tower(_generic(model_type))
    compiled = _tower(_generic(model_type), f"compile={{backend: aot_eager, scope: {scope}}}")
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for images in (2, 3):
        pixel_values = tiny.pixels(ENCODER, images=images)
        assert_close(compiled(pixel_values=pixel_values), eager(pixel_values=pixel_values))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before


def test_blocks_that_nothing_tells_are_refused() -> None:
    encoder = compose({"schema": 1, "encoder": _generic("vit")})
    encoder.tower.model.more = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    with pytest.raises(BackendError, match="this vit: it has 2 lists of 2 modules, not one"):
        _ = encoder.blocks


@pytest.mark.slow
@torch.no_grad()
def test_a_whole_encoder_is_traced_without_a_break() -> None:
    encoder = _tower()
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    for images in (1, 3):
        pixel_values = tiny.pixels(ENCODER, images=images)
        assert torch.equal(compiled(pixel_values=pixel_values), encoder(pixel_values=pixel_values))


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_encoder_takes_any_number_of_images(strict: bool) -> None:
    encoder = _tower()
    pixel_values = tiny.pixels(ENCODER, images=3)
    dynamic = {"pixel_values": {0: torch.export.Dim("images", min=1)}}
    exported = torch.export.export(
        encoder, (), {"pixel_values": pixel_values}, dynamic_shapes=dynamic, strict=strict
    ).module()
    for images in (1, 5):
        other = tiny.pixels(ENCODER, images=images, seed=images)
        assert_close(exported(pixel_values=other), encoder(pixel_values=other))
